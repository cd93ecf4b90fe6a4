"""One upstream call and its ledger entry: nothing calls Claude but through here."""

import asyncio
import contextlib
import datetime as dt
import math
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeVar

from cost_router.core import ledger, pricing
from cost_router.core.backoff import wait_before
from cost_router.core.errors import CapExceeded, DeadlinePassed, Failure, NoPrice, NotCovered, StoreError, UpstreamError
from cost_router.core.ports import Chance, Claude, Clock, Ledger, Reply, Telemetry
from cost_router.core.pricing import dollars
from cost_router.core.streams import Live
from cost_router.core.trip import Call, Trip, entry_of, reservation_of
from cost_router.core.turns import Turns

T = TypeVar("T")

TOO_LATE: Final = (
    "no answer came in time; what was spent is booked; longer work belongs on the jobs queue, or in a Message Batch "
    "(POST /v1/messages/batches)"
)
SHORTEST_CALL: Final = 0.05  # seconds; with less than this left a call is not begun
LEASE_MARGIN: Final = dt.timedelta(seconds=120)  # after a request's deadline, for booking; then its process is dead
CAP: Final = "max-cost"  # the rule that a request's own cap is called


@dataclass(frozen=True, slots=True)
class Patience:
    """How hard a call is tried before the next tier is, or the caller gets the error."""

    retries: int  # of one call
    failures: int  # of those retries, how many for other failures than limits: such calls may have been paid for
    longest_wait: float  # seconds; the call is not retried when Claude asks for more
    fall_back: bool
    least_time: float  # seconds; with less left a try is not begun: it would be paid for and cut off
    pays_again: bool  # whether a call is repeated that may have been paid for; jobs count such calls across deliveries

    def covers(self, error: UpstreamError) -> bool:
        """Whether the same call is worth another try."""
        soon = (error.retry_after or 0.0) <= self.longest_wait
        again = self.pays_again or not error.maybe_billed
        return soon and again and error.passes_with_time and error.failure is not Failure.TIMEOUT


INTERACTIVE: Final = Patience(
    retries=1, failures=1, longest_wait=2.0, fall_back=True, least_time=SHORTEST_CALL, pays_again=True
)
# Jobs have time: they wait for the right tier instead of taking a lesser one, and for another invocation's whole time.
QUEUED: Final = Patience(
    retries=1_000, failures=1, longest_wait=60.0, fall_back=False, least_time=120.0, pays_again=False
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Makes calls within a deadline and writes down what each one cost."""

    claude: Claude
    ledger: Ledger
    clock: Clock
    chance: Chance
    telemetry: Telemetry
    without_store: bool = False  # whether calls are made though the store of budgets cannot be reached
    turns: Turns | None = None  # of calls that keep to the account's limits; nobody who waits for an answer does

    async def persist(
        self,
        once: Callable[[float], Awaitable[T]],
        call: Call,
        deadline: float,
        patience: Patience,
        *,
        each: float = math.inf,
    ) -> T:
        """What `once` gives, after as many tries as `patience` and the deadline allow; raises as it does.

        once: `call` or `stream` of the call, given a deadline. each: seconds that a single try may take.
        """
        attempt = failures = 0
        met: UpstreamError | None = None
        while True:
            attempt += 1
            if deadline - self.clock.monotonic() < patience.least_time:
                raise DeadlinePassed(TOO_LATE)
            if self.turns:
                await self.turns.take(call, deadline - patience.least_time)
            try:
                return await once(min(deadline, self.clock.monotonic() + each))
            except NotCovered:
                if met is None:
                    raise
                raise met from None  # a budget ends the tries; the caller is told what Claude's answer was
            except UpstreamError as error:
                met = error
                failures += not error.is_limit
                if self.turns and error.is_limit:
                    continue  # the next turn comes when the limit allows
                wait = wait_before(attempt, self.chance.fraction(), error.retry_after, cap=patience.longest_wait)
                in_time = self.clock.monotonic() + wait + patience.least_time < deadline
                exhausted = attempt > patience.retries or failures > patience.failures
                if exhausted or not in_time or not patience.covers(error):
                    raise
                await self.clock.sleep(wait)

    async def call(self, call: Call, trip: Trip, deadline: float) -> Reply:
        """Claude's reply; adds its entry to the trip.

        A call that may have been paid for without telling its usage is entered at its upper bound, flagged `ambiguous`.
        Raises `DeadlinePassed` before a call that has no time left, `NotCovered` before one that a budget or the
        request's cap does not cover, `NoPrice`, `StoreError` and `UpstreamError`.
        """
        began = self.clock.monotonic()
        at, bound = await self._admit(call, trip, deadline)
        try:
            with self._entering_if_lost(call, trip, at, bound):
                sent = self.clock.monotonic()
                reply = await self.claude.send(call.body, call.headers, deadline - sent)
        finally:
            if call.purpose == ledger.CLASSIFIER:  # of the last try: waiting for a limit is not the classifier's
                trip.record.classifier_ms = (self.clock.monotonic() - began) * 1000
        self._enter(call, trip, at, reply, bound)
        if self.turns:
            self.turns.answered(call, reply, sent)
        return reply

    async def stream(self, call: Call, trip: Trip, deadline: float) -> Live:
        """The call as a stream whose first content event has come before `deadline`; its end enters it in the trip.

        Raises as `call` does, until that event; then the call has ended and is entered.
        """
        at, bound = await self._admit(call, trip, deadline)
        with self._entering_if_lost(call, trip, at, bound):
            stream = await self.claude.open(call.body, call.headers, deadline - self.clock.monotonic())
        live = Live(call, trip, at, bound, stream, self.clock)
        await live.begin(deadline)
        return live

    async def _admit(self, call: Call, trip: Trip, deadline: float) -> tuple[dt.datetime, Decimal]:
        """The time of a call and its upper bound, once that is put aside."""
        if deadline - self.clock.monotonic() < SHORTEST_CALL:
            raise DeadlinePassed(TOO_LATE)
        at = self.clock.now()
        bound = call.bound(at.date())
        trip.under_way.append((at.date(), bound))
        try:
            await self.put_aside(Decimal(0), call, trip, at)
            if call.purpose == trip.request.purpose:
                await trip.begin()
        except BaseException:
            trip.under_way.remove((at.date(), bound))
            raise
        return at, bound

    @contextlib.contextmanager
    def _entering_if_lost(self, call: Call, trip: Trip, at: dt.datetime, bound: Decimal) -> Iterator[None]:
        """Enter a call at its bound when it may have been paid for without telling its usage."""
        try:
            yield
        except BaseException as error:
            trip.under_way.remove((at.date(), bound))
            if isinstance(error, UpstreamError):
                trip.record.rate_limits += error.is_limit
                if self.turns:
                    self.turns.failed(call, error)
                if error.maybe_billed:
                    self._enter_bound(call, trip, at, bound, request_id=error.request_id)
            elif isinstance(error, asyncio.CancelledError):  # whoever waited has gone; Claude may have been working
                self._enter_bound(call, trip, at, bound, ledger.ABANDONED)
            raise

    def _enter(self, call: Call, trip: Trip, at: dt.datetime, reply: Reply, bound: Decimal) -> None:
        """Enter what the reply cost. One at a speed or place without a known price was paid for all the same."""
        trip.under_way.remove((at.date(), bound))
        try:
            cost = pricing.cost(call.model, reply.usage, on=at.date())
        except NoPrice:
            self._enter_bound(call, trip, at, bound, request_id=reply.request_id)
            return
        trip.record.answers += call.purpose == trip.request.purpose
        baseline = pricing.cost_elsewhere(call.baseline, reply.usage, on=at.date()) if call.baseline else Decimal(0)
        known = {"usage": reply.usage, "baseline_usd": baseline, "upstream_request_id": reply.request_id}
        trip.trail.entries.append(entry_of(call, trip, at, cost, **known))

    async def put_aside(self, amount: Decimal, call: Call, trip: Trip, at: dt.datetime) -> None:
        """Put aside what is missing to the calls under way and `amount` more, `call` being the dearest of them.

        at: the moment by which the money counts, that of the call, so that both belong to the same day. Every call has
        a reservation, with a budget or without: it is what is booked when this process dies in mid-call. Raises
        `NotCovered`, and `StoreError` unless calls are to be made without the store.
        """
        due, cap = trip.under_way_usd(at.date()) + amount, trip.request.hints.max_cost_usd
        if cap is not None and trip.trail.bill.cost_usd + due > cap:
            raise over_cap(trip.trail.bill.cost_usd + due, cap)
        missing = due - trip.aside_usd(at.date())
        if missing <= 0:
            return
        left = dt.timedelta(seconds=max(0.0, trip.request.over_at - self.clock.monotonic()))
        reservation = reservation_of(missing, call, trip, at, at + left + LEASE_MARGIN)
        trip.reservations.append(reservation)  # before it is made: it may be made although no reply tells so
        try:
            await to_its_end(asyncio.ensure_future(self.ledger.reserve(reservation)))
        except NotCovered:
            trip.reservations.remove(reservation)
            raise
        except StoreError as error:
            if not self.without_store:
                raise
            trip.record.unreserved += 1
            self.telemetry.note("unreserved", request_id=trip.request.id, error=str(error))

    def _enter_bound(
        self, call: Call, trip: Trip, at: dt.datetime, bound: Decimal, *flags: str, request_id: str | None = None
    ) -> None:
        trip.record.ambiguous += call.purpose != ledger.SPECULATIVE
        trip.record.answers += call.purpose == trip.request.purpose
        known = {"upstream_request_id": request_id, "flags": (ledger.AMBIGUOUS, *flags)}
        trip.trail.entries.append(entry_of(call, trip, at, bound, **known))


def over_cap(amount: Decimal, cap: Decimal) -> CapExceeded:
    """The refusal of a request that may cost `amount` under a cap of its own."""
    return CapExceeded(
        CAP,
        f"{CAP}: the request may cost up to ${dollars(amount)}, which is above its cap of ${dollars(cap)}; "
        "accepted: a higher cap, a smaller max_tokens, a shorter prompt, or a tier by name, which saves the classifier",
    )


async def to_its_end(task: asyncio.Task[T]) -> T:
    """Wait for a write, also when the waiting is cancelled: half a write that lands later would be nobody's."""
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)  # what came of it is nobody's any more, but it has come
        raise
