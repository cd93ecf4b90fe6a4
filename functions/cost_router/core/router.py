"""The road of one request: label, decide, adapt, call, fall back, book."""

import asyncio
import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from cost_router.core import budget, capability, policy, pricing
from cost_router.core.budget import Scope, Standing
from cost_router.core.calls import INTERACTIVE, SHORTEST_CALL, TOO_LATE, Call, Caller, Patience, Trip
from cost_router.core.catalogue import Catalogue, Lineup
from cost_router.core.errors import BudgetExhausted, DeadlinePassed, Failure, StoreError, UpstreamError
from cost_router.core.labelling import Labeller
from cost_router.core.ledger import ANSWER, Bill
from cost_router.core.policy import Bound, Choice, Decision, Wish
from cost_router.core.ports import Chance, Clock, Ledger, Reply, Telemetry
from cost_router.core.record import Record
from cost_router.core.request import Request
from cost_router.core.words import AUTO, TIER_WORDS, Label, Tier

SHARE_OF_THE_FIRST: Final = 2 / 3  # of the time left; a call that hangs must leave some to the tier below
WORTH_SHARING: Final = 15.0  # seconds; with less left, the tier that is asked gets it all


@dataclass(frozen=True, slots=True)
class Answer:
    """Claude's message as it came, and what the router did for it."""

    reply: Reply
    choice: Choice
    label: Label | None
    bill: Bill
    remaining_usd: Decimal | None  # under the tightest daily budget, after this request; None without one


@dataclass(frozen=True, slots=True)
class Route:
    """What would happen to a request."""

    choice: Choice
    label: Label | None
    estimated_cost_usd: Decimal  # as if the answer used all of `max_tokens`
    estimated_input_tokens: int
    bill: Bill  # of the classifier, which a dry run pays too


@dataclass(frozen=True, slots=True)
class Router:
    """Answers requests; every part is given to it."""

    catalogue: Catalogue
    lineup: Lineup
    labeller: Labeller
    caller: Caller
    ledger: Ledger
    clock: Clock
    chance: Chance
    telemetry: Telemetry
    daily_budget_usd: Decimal | None = None

    async def answer(self, request: Request, record: Record, patience: Patience = INTERACTIVE) -> Answer:
        """Claude's answer from the right tier. Raises the errors of `core/errors.py`; whatever was paid is booked."""
        trip = Trip(request, record, self._budgets(request))
        try:
            decision, label = await self._decide(trip, patience)
            choice, reply = await self._serve(decision, label, trip, patience)
        finally:
            remaining = await self._settle(trip)
        _fill(record, choice, reply)
        return Answer(reply, choice, label, trip.trail.bill, remaining)

    async def route(self, request: Request, record: Record) -> Route:
        """The decision for a request without the answer call; a classifier call it takes is paid and booked."""
        trip = Trip(request, record, self._budgets(request))
        try:
            decision, label = await self._decide(trip, INTERACTIVE)
        finally:
            await self._settle(trip)
        model = decision.choice.model
        record.model, record.tier, record.cause = model.id, decision.choice.tier, decision.choice.cause
        tokens = request.ask.estimated_tokens(model.tokenizer)
        usage = pricing.expected(request.ask.terms, tokens, request.max_tokens)
        cost = pricing.cost(model, usage, on=self.clock.now().date())
        return Route(decision.choice, label, cost, tokens, trip.trail.bill)

    async def _decide(self, trip: Trip, patience: Patience) -> tuple[Decision, Label | None]:
        request = trip.request
        pinned = self._pinned(request.model)
        candidates = [*self.lineup.models.values(), *([pinned.model] if pinned and pinned.model else [])]
        capability.check_output_limit(candidates, request.max_tokens)
        unable = capability.unable(candidates, request.ask, request.max_tokens)
        standings, found = await asyncio.gather(
            self._standings(trip) if trip.scopes else _nothing(),
            self.labeller.look_up(trip) if pinned is None else _nothing(),
        )
        standings = standings or []
        budget.check_not_spent(standings)
        floors, ceilings = list(_floors(request)), [*_ceilings(request), *budget.ceilings(standings)]
        if pinned:
            return policy.decide(pinned, self.lineup, floors=floors, ceilings=ceilings, unable=unable), None
        # A contradiction is refused before the classifier is paid.
        policy.decide(Wish(Tier.SONNET, "default"), self.lineup, floors=floors, ceilings=ceilings, unable=unable)
        labelled = found or await self.labeller.classify(trip, patience)
        trip.record.label = labelled.label
        wish = Wish(labelled.label.tier, labelled.cause)
        return (
            policy.decide(wish, self.lineup, floors=floors, ceilings=ceilings, unable=unable),
            labelled.label,
        )

    def _pinned(self, name: str) -> Wish | None:
        if name == AUTO:
            return None
        if name in TIER_WORDS:
            return Wish(Tier.parse(name), "pinned")
        model = self.catalogue.model(name)
        return Wish(model.tier, "pinned", model)

    async def _serve(
        self, decision: Decision, label: Label | None, trip: Trip, patience: Patience
    ) -> tuple[Choice, Reply]:
        """The first choice that answers; the first error when none does or when one is not to be passed on."""
        first: UpstreamError | None = None
        choices = (decision.choice, *(decision.fallbacks if patience.fall_back else ()))
        for choice in choices:
            if first and self._left(trip.request) < SHORTEST_CALL:
                break
            trip.record.model, trip.record.tier, trip.record.cause = choice.model.id, choice.tier, choice.cause
            try:
                call = self._call(choice, label, trip.request)
                each = math.inf if choice is choices[-1] else self._share(trip.request)
                return choice, await self.caller.persist(call, trip, trip.request.deadline, patience, each=each)
            except UpstreamError as error:
                first = first or error
                if not error.passes_with_time:
                    break
            except BudgetExhausted:
                if first is None:
                    raise
                break
            except DeadlinePassed:
                if first is None or first.failure is Failure.TIMEOUT:
                    raise
                break
        if first is None or self._out_of_time(first, trip):
            raise DeadlinePassed(TOO_LATE) from first
        raise first

    def _share(self, request: Request) -> float:
        """Seconds that a call may take when another tier could still be asked after it."""
        left = self._left(request)
        return left * SHARE_OF_THE_FIRST if left >= WORTH_SHARING else left

    def _left(self, request: Request) -> float:
        return request.deadline - self.clock.monotonic()

    def _out_of_time(self, error: UpstreamError, trip: Trip) -> bool:
        return error.failure is Failure.TIMEOUT and self._left(trip.request) < SHORTEST_CALL

    def _call(self, choice: Choice, label: Label | None, request: Request) -> Call:
        return Call(
            model=choice.model,
            body=capability.adapt(request.body, choice.model),
            headers=request.headers,
            most_prompt_tokens=request.ask.most_tokens(request.body_bytes, choice.model.context_window),
            max_tokens=request.max_tokens,
            purpose=ANSWER,
            cause=choice.cause,
            label=label,
            terms=request.ask.terms,
            baseline=self.lineup.baseline,
        )

    def _budgets(self, request: Request) -> tuple[Scope, ...]:
        """The scopes of a request that have a budget."""
        scopes = (self._account(), Scope(f"tenant#{request.tenant.name}", request.tenant.daily_budget_usd))
        return tuple(scope for scope in scopes if scope.limit_usd is not None)

    def _account(self) -> Scope:
        return Scope(budget.ACCOUNT, self.daily_budget_usd)

    async def _standings(self, trip: Trip) -> list[Standing]:
        """How far the account and the request's budgets have come; the account's spend goes to the gauge."""
        others = [scope for scope in trip.scopes if scope.key != budget.ACCOUNT]
        day = self.clock.now().date().isoformat()
        standings = await self.ledger.standings(day, [self._account(), *others])
        trip.record.spend_today_usd = standings[0].spent_usd
        return standings

    async def _settle(self, trip: Trip) -> Decimal | None:
        """Book the trip and let its other writes end; the booking does not depend on them."""
        try:
            return await self._book(trip)
        finally:
            for outcome in await asyncio.gather(*trip.pending, return_exceptions=True):
                if isinstance(outcome, Exception):
                    self.telemetry.defect(trip.request.id, outcome)

    async def _book(self, trip: Trip) -> Decimal | None:
        """Write the trip's entries; what cannot be written goes to the log, whole, so that no payment is lost."""
        entries = trip.trail.entries
        trip.record.bill = trip.trail.bill
        if not entries and not trip.reservations:
            return None
        try:
            await self.ledger.book(entries, trip.reservations)
        except StoreError as error:
            self.telemetry.unbooked(entries, error)
            if trip.reservations:  # they stay put aside until the day ends: too much, never too little
                self.telemetry.note("reservations_not_settled", request_id=trip.request.id)
            return None
        try:
            return budget.remaining(await self._standings(trip))
        except StoreError as error:
            self.telemetry.note("counter_read_failed", error=str(error))
            return None


async def _nothing() -> None:
    """What is not looked up."""


def _floors(request: Request) -> Iterable[Bound]:
    if request.hints.floor:
        yield Bound(request.hints.floor, "floor")
    if request.tenant.floor:
        yield Bound(request.tenant.floor, "tenant-floor")


def _ceilings(request: Request) -> Iterable[Bound]:
    if request.hints.ceiling:
        yield Bound(request.hints.ceiling, "ceiling")
    if request.tenant.ceiling:
        yield Bound(request.tenant.ceiling, "tenant-ceiling")


def _fill(record: Record, choice: Choice, reply: Reply) -> None:
    record.usage = reply.usage
    record.upstream_request_id = reply.request_id
    record.fallback = choice.cause.startswith("fallback:")
