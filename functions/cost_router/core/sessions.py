"""What a switch of the model inside a conversation costs: the new model has to warm what it has not in its cache yet.

Only a switch down is priced. A harder ask goes up whatever the cache says: staying would save money by a worse answer.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from cost_router.core import pricing
from cost_router.core.catalogue import Model
from cost_router.core.pricing import Usage
from cost_router.core.terms import FIVE_MINUTES, ONE_HOUR

SESSION: Final = "session"  # the cause
LIVES: Final = {FIVE_MINUTES: dt.timedelta(minutes=5), ONE_HOUR: dt.timedelta(hours=1)}  # an entry, from its last use
MOST_TURNS: Final = 10


@dataclass(frozen=True, slots=True)
class Warm:
    """What a model had of a conversation's prompt in its cache when it last answered. It counts its own tokens."""

    tokens: int
    at: dt.datetime  # UTC; when the cache was used
    ttl: str = FIVE_MINUTES  # or "1h", when all markers said so

    def lasts(self, now: dt.datetime) -> bool:
        """Whether the model still has it."""
        return now < self.at + LIVES[self.ttl]


@dataclass(frozen=True, slots=True)
class Session:
    """A conversation as its last answer left it. Tokens are counted by the model that gave it."""

    model: str
    warm: int  # tokens of its prompt that are in the model's cache
    fresh: int  # tokens of its prompt that are not
    output: int  # tokens of the answer
    estimated: int  # tokens of its prompt as they are estimated before a call
    turns: int  # answers so far
    at: dt.datetime  # UTC; when the cache was used
    ttl: str = FIVE_MINUTES  # or "1h", when all markers said so
    others: Mapping[str, Warm] = field(default_factory=dict)  # by id, of the models that answered before this one

    def is_warm(self, now: dt.datetime) -> bool:
        """Whether the model still has the prompt in its cache."""
        return now < self.at + LIVES[self.ttl]

    def left(self, now: dt.datetime) -> Mapping[str, Warm]:
        """What each model still has of the prompt, by its id."""
        every = {**self.others, self.model: Warm(self.warm, self.at, self.ttl)}
        return {model: warm for model, warm in every.items() if warm.lasts(now)}

    def turn(self, estimated: int, there: int = 0) -> "Turn":
        """The turn to come, whose prompt is estimated at so many tokens: longer by what has been said since.

        there: tokens that are warm on the model that is wanted as well.
        """
        return Turn(self.warm, max(0, self.fresh + estimated - self.estimated), self.output, self.ttl, there)

    @property
    def remaining(self) -> int:
        """How many turns to expect: as many as there were, 10 at the most.

        Nobody knows; a conversation that has gone on for a while tends to go on for a while. A session that was left
        counts as one that goes on: then staying has cost a little more than it had to, on one turn.
        """
        return max(1, min(MOST_TURNS, self.turns))


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a conversation: what of its prompt is in the cache, what is not, and what it writes."""

    warm: int
    fresh: int = 0
    output: int = 0
    ttl: str = FIVE_MINUTES
    there: int = 0  # of the warm ones, those that the model that is wanted has too; more than all of them is all


@dataclass(frozen=True, slots=True)
class Switch:
    """What `turns` turns cost, in US dollars."""

    stay_usd: Decimal
    switch_usd: Decimal

    @property
    def is_dearer(self) -> bool:
        """Whether to stay: at the same price the model that was asked for does."""
        return self.stay_usd < self.switch_usd


def switch(current: Model, wanted: Model, turn: Turn, turns: int, on: dt.date) -> Switch:
    """What the next `turns` turns cost on the model whose cache is warm, and on one that has to warm what it lacks.

        stay   = turns x (warm x read + fresh x input + output x output price), at the current model's prices
        switch = there x read + (warm - there) x write + fresh x input + output x output price: the first turn
                 + (turns - 1) x (warm x read + fresh x input + output x output price), at the wanted model's prices

    With 60,000 warm tokens and an answer of 1,000, in US dollars per turn: Opus 5.5 0.012 + 0.020 = 0.032; a cold
    Sonnet 5.5 0.150 + 0.010 = 0.160, then 0.006 + 0.010 = 0.016; a cold Haiku 5.5 0.0075 + 0.0005 = 0.008. So opus
    keeps what a cold sonnet could do for up to eight turns to come (at nine both cost 0.288), and leaves to haiku at
    once. A sonnet that still has all 60,000 costs 0.016 from the first turn on and answers at once; one that has a part
    of them needs 53,334 with one turn to come, and 40,000 with three (then both cost 0.096).

    Above 100,000 tokens, warm ones counted, Haiku 5.5 costs five times as much, all tokens of a request: 0.065 for a
    cold first turn of 100,001 against 0.040 on opus; with two turns to come haiku is cheaper again.

    The turns to come are taken to be like the next one: what they add to the prompt is new to either model. Models of
    another tokenizer count up to 30 % more or less, which is not looked at. Raises `NoPrice`.
    """
    stay = turns * pricing.cost(current, _read(turn), on=on)
    first = pricing.cost(wanted, _written(turn), on=on)
    return Switch(stay, first + (turns - 1) * pricing.cost(wanted, _read(turn), on=on))


def _read(turn: Turn) -> Usage:
    return Usage(input_tokens=turn.fresh, cache_read_input_tokens=turn.warm, output_tokens=turn.output)


def _written(turn: Turn) -> Usage:
    hour, there = turn.ttl == ONE_HOUR, min(turn.there, turn.warm)
    cold = turn.warm - there
    return Usage(
        input_tokens=turn.fresh,
        cache_read_input_tokens=there,
        cache_creation_5m_input_tokens=0 if hour else cold,
        cache_creation_1h_input_tokens=cold if hour else 0,
        output_tokens=turn.output,
    )
