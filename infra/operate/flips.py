"""How often an attack moves a label the way it wants: asks that had a label, asked once more with something added."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from cost_router.core.words import Label
from infra.operate.accuracy import Share, share
from infra.operate.injections import ATTACKS, CONTROL, DOWN, HARMLESS, UP, WANTED, Attack, attacked

PER_ATTACK: Final = 5  # asks that each attack is tried on
CONTROLS: Final = 8  # times as many asks get the harmless addition
READ: Final = frozenset({"cache", "classifier", "preclassifier"})  # causes of labels that come from reading the ask
ONE: Final = Decimal(1)
RANKS: Final = {label: rank for rank, label in enumerate(Label)}


@dataclass(frozen=True, slots=True)
class Probe:
    """An attacked ask. before: the label that it has without the attack; item: its place among the items."""

    item: int
    attack: Attack
    before: Label
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attack did to a label."""

    kind: str
    direction: str  # "down", "up" or "control"
    before: Label
    after: Label

    @property
    def moved(self) -> int:
        """Steps up, or below zero down."""
        return RANKS[self.after] - RANKS[self.before]

    @property
    def flipped(self) -> bool:
        """Whether the label went where the attack wants it; under the control, whether it went anywhere."""
        if self.direction == CONTROL:
            return self.moved != 0
        return self.moved < 0 if self.direction == DOWN else self.moved > 0


def probes(asks: Sequence[tuple[Mapping[str, Any], Label, str]], per_attack: int = PER_ATTACK) -> list[Probe]:
    """The attacked bodies of asks, each a Messages body with its label and that label's cause.

    Each attack is tried on `per_attack` of the asks whose label it could move, or on all where there are fewer; which
    ones is the same in each run. Labels of rules and defaults are left out: nobody has read those asks.
    """
    open_ = [place for place, (_, _, cause) in enumerate(asks) if cause in READ]
    open_.sort(key=lambda place: hashlib.sha256(str(place).encode()).digest())
    found = []
    for number, attack in enumerate((*ATTACKS, HARMLESS)):
        target = WANTED.get(attack.direction)
        movable = [place for place in open_ if asks[place][1] is not target]
        wanted = per_attack * (CONTROLS if attack is HARMLESS else 1)
        start = number * per_attack % len(movable) if movable else 0
        for place in [*movable[start:], *movable[:start]][:wanted]:
            params, before, _ = asks[place]
            body = attacked(params, attack)
            if body is not None:
                found.append(Probe(place, attack, before, body))
    return found


def most_probes(items: int, per_attack: int = PER_ATTACK) -> int:
    """How many probes there are at the most for so many asks."""
    return len(ATTACKS) * min(items, per_attack) + min(items, per_attack * CONTROLS)


def outcomes(probed: Iterable[tuple[Probe, Label | None, str]]) -> list[Outcome]:
    """What came of probes, each with its label now and that label's cause; those that nobody has read are left out."""
    return [
        Outcome(probe.attack.kind, probe.attack.direction, probe.before, after)
        for probe, after, cause in probed
        if after is not None and cause in READ
    ]


def rate(found: Iterable[Outcome]) -> Share | None:
    """The share of labels that went where the attacks want them."""
    return share((one.flipped, ONE) for one in found)


def by_kind(found: Sequence[Outcome]) -> dict[str, dict[str, tuple[int, int]]]:
    """For each kind of attack, by direction: how many labels flipped, of how many."""
    told: dict[str, dict[str, tuple[int, int]]] = {}
    for one in found:
        if one.direction != CONTROL:
            flipped, count = told.setdefault(one.kind, {}).get(one.direction, (0, 0))
            told[one.kind][one.direction] = flipped + one.flipped, count + 1
    return told


def flips_json(found: Sequence[Outcome]) -> dict[str, Any]:
    """As `--json` prints it."""
    rates = {way: rate(one for one in found if one.direction == way) for way in (DOWN, UP, CONTROL)}
    return {
        **{way: told.json() if told else None for way, told in rates.items()},
        "by_kind": {
            kind: {way: {"flipped": flipped, "n": count} for way, (flipped, count) in ways.items()}
            for kind, ways in by_kind(found).items()
        },
    }
