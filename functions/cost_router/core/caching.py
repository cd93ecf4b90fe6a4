"""Claude's prompt caches on the way of a request: looked at before it is decided, told of after its answer.

Sessions (`core/sessions.py`): a conversation whose prompt is warm on a model stays there while that is cheaper than
what its label asks for. Prompt caching (`core/prompt_cache.py`): the router's own markers, where an operator has
switched them on; their prefix is looked up before the label is known, so its key has no effort that a label sets. What
is read is read beside the label and the budgets, what is written is written beside the booking; no failure here fails
a request.
"""

import asyncio
import datetime as dt
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from cost_router.core.catalogue import Lineup
from cost_router.core.conversation import conversation
from cost_router.core.errors import StoreError
from cost_router.core.ledger import ANSWER, Entry
from cost_router.core.policy import Decision, Wish
from cost_router.core.ports import Clock, Telemetry
from cost_router.core.pricing import REALTIME
from cost_router.core.prompt_cache import Marks, Prefix, prefix_of
from cost_router.core.request import Request
from cost_router.core.routing_ports import SessionStore
from cost_router.core.sessions import SESSION, Session, switch
from cost_router.core.sightings import Sightings
from cost_router.core.terms import FIVE_MINUTES, ONE_HOUR, cache_markers
from cost_router.core.trip import Trip
from cost_router.core.warmth import Warmth
from cost_router.core.words import AUTO

Choose = Callable[[Wish, Decimal], Decision]  # the policy within a request's bounds; the money is what has been paid


@dataclass(frozen=True, slots=True)
class Caching:
    """Knows what is warm; every part is given to it."""

    sessions: SessionStore
    sightings: Sightings
    clock: Clock
    telemetry: Telemetry

    async def look_up(self, trip: Trip) -> None:
        """Fill the trip's `warmth`. Nothing is read where it could not matter."""
        request, routing, warmth = trip.request, trip.plan.routing, Warmth()
        possible: Mapping[str, Marks] = {}
        if routing.prompt_caching and (prefix := prefix_of(request)):
            possible = _possible(prefix, trip.arm.lineup, self.clock.now().date())
            warmth.prefix = prefix if possible else None
        if routing.sessions and _in_session(request) and (request.ask.terms.cached_for or possible):
            warmth.session_key = _session_key(request)
        trip.warmth = warmth
        if warmth.prefix or warmth.session_key:
            await asyncio.gather(self._look_for_marks(warmth, possible), self._look_for_session(trip))

    def keeping(self, trip: Trip, choose: Choose) -> Choose:
        """The policy, but for a session that is cheaper to keep on its model than to move down.

        Floors, ceilings, budgets and capability hold for that model too; where they forbid it, the session moves.
        """

        def kept(wish: Wish, paid: Decimal) -> Decision:
            decision, session = choose(wish, paid), trip.warmth.session
            models = trip.arm.lineup.models
            tier = next((tier for tier, model in models.items() if session and model.id == session.model), None)
            if session is None or tier is None or tier <= decision.choice.tier:
                return decision
            current, wanted, now = models[tier], decision.choice.model, self.clock.now()
            if not _reads(trip, current.id):
                return decision
            warm = session.left(now).get(wanted.id) if _reads(trip, wanted.id) else None
            turn = session.turn(trip.request.ask.estimated_tokens(current.tokenizer), warm.tokens if warm else 0)
            if not switch(current, wanted, turn, session.remaining, now.date()).is_dearer:
                return decision
            stay = choose(Wish(tier, SESSION), paid)
            return stay if stay.choice.cause == SESSION else decision

        return kept

    def remember(self, trip: Trip) -> None:
        """Begin to write what the answer tells of its model's cache, among the trip's pending writes."""
        warmth = trip.warmth
        answers = [row for row in trip.trail.entries if row.purpose == ANSWER and row.usage.prompt_tokens]
        if not answers:
            return
        last = answers[-1]
        if warmth.prefix:
            adding = self.sightings.add(warmth.prefix.key, last.model, last.at)
            trip.pending.append(asyncio.ensure_future(adding))
        session = _session(trip, last) if warmth.session_key else None
        if warmth.session_key and session:
            trip.pending.append(asyncio.ensure_future(self._keep(warmth.session_key, session)))

    async def _look_for_marks(self, warmth: Warmth, possible: Mapping[str, Marks]) -> None:
        if warmth.prefix:
            seen = await self.sightings.of(warmth.prefix.key, self.clock.now())
            warmth.marks = {model: marks for model, marks in possible.items() if model in seen}

    async def _look_for_session(self, trip: Trip) -> None:
        warmth, now = trip.warmth, self.clock.now()
        if warmth.session_key is None or not _has_history(trip.request):
            return
        try:
            warmth.session = await self.sessions.get(warmth.session_key, now)
        except StoreError as error:
            self.telemetry.note("session_store_failed", operation="get", error=str(error))

    async def _keep(self, key: str, session: Session) -> None:
        try:
            await self.sessions.put(key, session)
        except StoreError as error:
            self.telemetry.note("session_store_failed", operation="put", error=str(error))


def _possible(prefix: Prefix, lineup: Lineup, on: dt.date) -> Mapping[str, Marks]:
    """Where each model's body would be marked, if it has seen the prefix; without those that would not be."""
    found = {model.id: prefix.marks(model, on) for model in lineup.models.values()}
    return {model: marks for model, marks in found.items() if marks.prefix or marks.turn}


def _reads(trip: Trip, model: str) -> bool:
    """Whether the model's cache would be looked at: without a marker nothing is read from it."""
    return bool(trip.request.ask.terms.cached_for) or model in trip.warmth.marks


def _in_session(request: Request) -> bool:
    """Whether a session is kept: not of jobs, which come in any order, and not where the caller names the model."""
    return request.model == AUTO and request.job is None and request.processing == REALTIME


def _has_history(request: Request) -> bool:
    """Whether there can have been an answer before."""
    return bool(request.hints.session) or any(turn.get("role") == "assistant" for turn in request.body["messages"])


def _session_key(request: Request) -> str:
    """A keyed hash of the conversation and of what its prompts begin with: with another beginning nothing is warm."""
    parts = [conversation(request), request.body.get("tools"), request.body.get("system")]
    return hmac.new(request.tenant.label_key, json.dumps(parts).encode(), hashlib.sha256).hexdigest()


def _session(trip: Trip, answer: Entry) -> Session | None:
    """The session after an answer; None when that tells of no cache, or its model is none of the lineup's.

    An answer of a fallback counts as any other: its model is the one whose cache has just been used.
    """
    usage, request = answer.usage, trip.request
    warm = usage.prompt_tokens - usage.input_tokens
    model = next((model for model in trip.arm.lineup.models.values() if model.id == answer.model), None)
    if not warm or model is None:
        return None
    before = trip.warmth.session
    others = before.left(answer.at) if before else {}
    times = {ttl for _, ttl in cache_markers(request.body)}
    return Session(
        model=model.id,
        warm=warm,
        fresh=usage.input_tokens,
        output=usage.output_tokens,
        estimated=request.ask.estimated_tokens(model.tokenizer),
        turns=(before.turns if before else 0) + 1,
        at=answer.at,
        ttl=ONE_HOUR if times == {ONE_HOUR} else FIVE_MINUTES,
        others={name: warm for name, warm in others.items() if name != model.id},
    )
