"""One upstream call and its ledger entry: nothing calls Claude but through here."""

import asyncio
import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from cost_router.core import ledger, pricing
from cost_router.core.backoff import wait_before
from cost_router.core.budget import Reservation, Scope
from cost_router.core.catalogue import Model
from cost_router.core.errors import BudgetExhausted, DeadlinePassed, Failure, NoPrice, UpstreamError
from cost_router.core.ledger import Entry, Trail
from cost_router.core.ports import Chance, Claude, Clock, Ledger, Reply
from cost_router.core.pricing import Usage
from cost_router.core.record import Record
from cost_router.core.request import Request
from cost_router.core.terms import Terms
from cost_router.core.words import Label

TOO_LATE: Final = "no answer came in time; what was spent is booked; longer work belongs on the jobs queue"
SHORTEST_CALL: Final = 0.05  # seconds; with less than this left a call is not begun


@dataclass(frozen=True, slots=True)
class Patience:
    """How hard a call is tried before the next tier is, or the caller gets the error."""

    retries: int  # of one call
    failures: int  # of those retries, how many for other failures than limits: such calls may have been paid for
    longest_wait: float  # seconds; the call is not retried when Claude asks for more
    fall_back: bool
    least_time: float  # seconds; with less left a try is not begun: it would be paid for and cut off

    def covers(self, error: UpstreamError) -> bool:
        """Whether the same call is worth another try."""
        soon = (error.retry_after or 0.0) <= self.longest_wait
        return soon and error.passes_with_time and error.failure is not Failure.TIMEOUT


INTERACTIVE: Final = Patience(retries=1, failures=1, longest_wait=2.0, fall_back=True, least_time=SHORTEST_CALL)
# Jobs have time: they wait for the right tier instead of taking a lesser one, and for another invocation's whole time.
QUEUED: Final = Patience(retries=1_000, failures=1, longest_wait=60.0, fall_back=False, least_time=120.0)


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked of which model, and what for."""

    model: Model
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    most_prompt_tokens: int
    max_tokens: int
    purpose: str
    cause: str
    label: Label | None
    terms: Terms = Terms()  # noqa: RUF009  frozen
    baseline: Model | None = None  # prices the same tokens for comparison; None when the call has no counterpart


@dataclass(slots=True)
class Trip:
    """One request on its way: what was called so far, and what will be told about it."""

    request: Request
    record: Record
    scopes: tuple[Scope, ...] = ()  # that the calls count for and that have a budget
    trail: Trail = field(default_factory=Trail)
    reservations: list[Reservation] = field(default_factory=list)
    pending: list[asyncio.Task[None]] = field(default_factory=list)  # writes that nobody has to wait for before the end


@dataclass(frozen=True, slots=True)
class Caller:
    """Makes calls within a deadline and writes down what each one cost."""

    claude: Claude
    ledger: Ledger
    clock: Clock
    chance: Chance

    async def persist(
        self, call: Call, trip: Trip, deadline: float, patience: Patience, *, each: float = math.inf
    ) -> Reply:
        """Claude's reply, after as many tries as `patience` and the deadline allow; raises as `call` does.

        each: seconds that a single try may take.
        """
        attempt = failures = 0
        met: UpstreamError | None = None
        while True:
            attempt += 1
            if deadline - self.clock.monotonic() < patience.least_time:
                raise DeadlinePassed(TOO_LATE)
            try:
                return await self.call(call, trip, min(deadline, self.clock.monotonic() + each))
            except BudgetExhausted:
                if met is None:
                    raise
                raise met from None  # a budget ends the tries; the caller is told what Claude's answer was
            except UpstreamError as error:
                met = error
                failures += not error.is_limit
                wait = wait_before(attempt, self.chance.fraction(), error.retry_after, cap=patience.longest_wait)
                in_time = self.clock.monotonic() + wait + patience.least_time < deadline
                exhausted = attempt > patience.retries or failures > patience.failures
                if exhausted or not in_time or not patience.covers(error):
                    raise
                await self.clock.sleep(wait)

    async def call(self, call: Call, trip: Trip, deadline: float) -> Reply:
        """Claude's reply; adds its entry to the trip.

        A call that may have been paid for without telling its usage is entered at its upper bound, flagged `ambiguous`.
        Raises `DeadlinePassed` before a call that has no time left, `BudgetExhausted` before one that a budget does not
        cover, `NoPrice`, and `UpstreamError`.
        """
        left = deadline - self.clock.monotonic()
        if left < SHORTEST_CALL:
            raise DeadlinePassed(TOO_LATE)
        at, began = self.clock.now(), self.clock.monotonic()
        bound = pricing.upper_bound(
            call.model,
            prompt_tokens=call.most_prompt_tokens,
            max_tokens=call.max_tokens,
            on=at.date(),
            terms=call.terms,
        )
        await self._cover(trip, bound, at)
        try:
            reply = await self.claude.send(call.body, call.headers, deadline - self.clock.monotonic())
        except UpstreamError as error:
            trip.record.rate_limits += error.is_limit
            if error.maybe_billed:
                self._enter_bound(call, trip, at, bound, error.request_id)
            raise
        except asyncio.CancelledError:  # whoever waited has gone; Claude may have been working all the same
            self._enter_bound(call, trip, at, bound, None)
            raise
        finally:
            if call.purpose == ledger.CLASSIFIER:  # of the last try: waiting for a limit is not the classifier's
                trip.record.classifier_ms = (self.clock.monotonic() - began) * 1000
        self._enter(call, trip, at, reply, bound)
        return reply

    def _enter(self, call: Call, trip: Trip, at: dt.datetime, reply: Reply, bound: Decimal) -> None:
        """Enter what the reply cost. One at a speed or place without a known price was paid for all the same."""
        try:
            cost = pricing.cost(call.model, reply.usage, on=at.date())
        except NoPrice:
            self._enter_bound(call, trip, at, bound, reply.request_id)
            return
        baseline = pricing.cost_elsewhere(call.baseline, reply.usage, on=at.date()) if call.baseline else Decimal(0)
        trip.trail.entries.append(self._entry(call, trip, at, reply.usage, cost, baseline, reply.request_id, ()))

    async def _cover(self, trip: Trip, bound: Decimal, at: dt.datetime) -> None:
        """Put aside what is missing to `bound`, when a budget is to hold; raises `BudgetExhausted` and `StoreError`."""
        put_aside = sum((reservation.amount_usd for reservation in trip.reservations), Decimal(0))
        missing = bound - max(Decimal(0), put_aside - trip.trail.bill.cost_usd)
        if not trip.scopes or missing <= 0:
            return
        number = len(trip.reservations)
        reservation = Reservation(f"{trip.request.id}#{number}", at.date().isoformat(), missing, trip.scopes)
        await self.ledger.reserve(reservation)
        trip.reservations.append(reservation)

    def _enter_bound(self, call: Call, trip: Trip, at: dt.datetime, bound: Decimal, request_id: str | None) -> None:
        trip.record.ambiguous += 1
        flags = (ledger.AMBIGUOUS,)
        trip.trail.entries.append(self._entry(call, trip, at, Usage(), bound, Decimal(0), request_id, flags))

    @staticmethod
    def _entry(  # noqa: PLR0913, PLR0917  the columns of a ledger row
        call: Call,
        trip: Trip,
        at: dt.datetime,
        usage: Usage,
        cost: Decimal,
        baseline: Decimal,
        upstream_request_id: str | None,
        flags: tuple[str, ...],
    ) -> Entry:
        request = trip.request
        return Entry(
            entry_id=f"{request.id}#{len(trip.trail.entries)}",
            at=at,
            request_id=request.id,
            upstream_request_id=upstream_request_id,
            tenant=request.tenant.name,
            tags=request.tags,
            label=call.label,
            cause=call.cause,
            tier=call.model.tier,
            model=call.model.id,
            purpose=call.purpose,
            usage=usage,
            cost_usd=cost,
            baseline_usd=baseline,
            flags=flags,
        )
