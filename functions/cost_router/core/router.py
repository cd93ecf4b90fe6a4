"""The road of one request: label, decide, adapt, call, fall back, book."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from cost_router.core import budget, pricing, shadowing
from cost_router.core.budget import Period
from cost_router.core.calls import INTERACTIVE, Caller, Patience, to_its_end
from cost_router.core.cascade import Cascade
from cost_router.core.catalogue import Lineup
from cost_router.core.deciding import Decider
from cost_router.core.errors import StoreError
from cost_router.core.ledger import Bill
from cost_router.core.policy import Choice
from cost_router.core.ports import Chance, Clock, Ledger, Reply, RequestLog, Telemetry
from cost_router.core.receipt import Receipt, receipt_of
from cost_router.core.record import REQUEST, Record
from cost_router.core.request import Request
from cost_router.core.sampling import Sampler
from cost_router.core.serving import Server
from cost_router.core.shaping import Shape, shape_of
from cost_router.core.speculation import Speculation
from cost_router.core.streamed import StreamedAnswer
from cost_router.core.trip import Trip
from cost_router.core.words import Label


@dataclass(frozen=True, slots=True)
class Answer:
    """Claude's message as it came, and what the router did for it."""

    reply: Reply
    choice: Choice
    label: Label | None
    bill: Bill
    remaining_usd: Decimal | None  # under the tightest budget, after this request; None without one


@dataclass(frozen=True, slots=True)
class Route:
    """What would happen to a request."""

    choice: Choice
    label: Label | None
    estimated_cost_usd: Decimal  # as if the answer used all of `max_tokens`
    estimated_input_tokens: int
    shape: Shape  # what its label sets in its body
    max_tokens: int  # of its body, as it goes to the model
    bill: Bill  # of the classifier, which a dry run pays too


@dataclass(frozen=True, slots=True)
class Steps:
    """What has to happen on the way of an answer that must not be paid for twice.

    calling: before the first call that may answer it. deliver: between the answer and its booking, so that one that
    is booked is never lost; what either raises ends the request.
    """

    calling: Callable[[], Awaitable[None]] | None = None
    deliver: Callable[[Answer], Awaitable[None]] | None = None


NO_STEPS: Final = Steps()


@dataclass(frozen=True, slots=True)
class Router:
    """Answers requests; every part is given to it."""

    lineup: Lineup
    decider: Decider
    server: Server
    cascade: Cascade
    caller: Caller
    ledger: Ledger
    clock: Clock
    chance: Chance
    telemetry: Telemetry
    log: RequestLog | None = None  # None where nobody asks afterwards: jobs have results
    sampler: Sampler | None = None  # None where no samples are kept

    async def answer(
        self, request: Request, record: Record, patience: Patience = INTERACTIVE, steps: Steps = NO_STEPS
    ) -> Answer:
        """Claude's answer from the right tier. Raises the errors of `core/errors.py`; whatever was paid is booked."""
        trip = await self.decider.trip(request, record)
        trip.before_answer = steps.calling
        early = Speculation(self.decider, self.caller, self.clock, trip)
        try:
            decision, label = await self.cascade.decide(trip, patience, beside=early.begin)
            shadowing.begin(self.decider, trip, patience)
            choice, reply = await self.server.serve(early.whole, decision, label, trip, patience)
            choice, label, reply = await self.cascade.checked(choice, label, reply, trip, patience)
            _fill(record, choice, reply)
            await to_its_end(asyncio.ensure_future(self._join(trip)))
            answer = Answer(reply, choice, label, trip.trail.bill, None)
            if steps.deliver:
                await steps.deliver(answer)
        except BaseException as error:
            await self._settle(trip, error)
            raise
        if self.sampler:
            self.sampler.keep(trip, reply)
        return dataclasses.replace(answer, remaining_usd=await self._settle(trip))

    async def answer_stream(self, request: Request, record: Record) -> StreamedAnswer:
        """Claude's answer from the right tier, begun: read its events to the end, or leave, within `async with`.

        Until its first content event a failure is retried, falls back and raises as in `answer`; whatever was paid then
        is booked.
        """
        trip = await self.decider.trip(request, record)
        tape = self.sampler.tape(trip) if self.sampler else None
        early = Speculation(self.decider, self.caller, self.clock, trip)
        try:
            decision, label = await self.decider.decide(trip, INTERACTIVE, beside=early.begin)
            shadowing.begin(self.decider, trip, INTERACTIVE)
            choice, live = await self.server.serve(early.stream, decision, label, trip, INTERACTIVE)
        except BaseException as error:
            await self._settle(trip, error)
            raise
        record.fallback = choice.cause.startswith("fallback:")
        return StreamedAnswer(live, trip, self._settle, tape)

    async def route(self, request: Request, record: Record, patience: Patience = INTERACTIVE) -> Route:
        """The decision for a request without the answer call; a classifier call it takes is paid and booked."""
        trip = await self.decider.trip(request, record)
        try:
            decision, label = await self.cascade.decide(trip, patience, ahead=False)
            if request.job:  # a line of the batch lane, which will be answered
                shadowing.begin(self.decider, trip, patience)
        finally:
            await self._settle(trip)
        model, call = decision.choice.model, self.decider.call(decision.choice, label, trip)
        record.model, record.tier, record.cause = model.id, decision.choice.tier, decision.choice.cause
        record.adapted = call.adapted
        tokens = request.ask.estimated_tokens(model.tokenizer)
        usage = pricing.expected(request.ask.terms, tokens, call.max_tokens)
        cost = pricing.cost(model, usage, on=self.clock.now().date(), processing=request.processing)
        shape = shape_of(request, trip.plan.routing, label)
        return Route(decision.choice, label, cost, tokens, shape, call.max_tokens, trip.trail.bill)

    async def _settle(self, trip: Trip, error: BaseException | None = None) -> Decimal | None:
        """Book the trip and let its other writes end; the booking does not depend on them. error: how it ended."""
        try:
            return await to_its_end(asyncio.ensure_future(self._end(trip, error)))
        finally:
            await self._all(trip, trip.pending)

    async def _end(self, trip: Trip, error: BaseException | None) -> Decimal | None:
        await self._join(trip)
        self.decider.caching.remember(trip)
        self._keep_receipt(trip, error)
        return await self._book(trip)

    async def _join(self, trip: Trip) -> None:
        """Let what runs beside the trip come to its end, once, so that it is booked together with it."""
        ends, trip.before_settling = trip.before_settling, []
        await self._all(trip, [end() for end in ends])

    async def _all(self, trip: Trip, ends: Iterable[Awaitable[None]]) -> None:
        for outcome in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(outcome, Exception):
                self.telemetry.defect(trip.request.id, outcome)

    async def _book(self, trip: Trip) -> Decimal | None:
        """Write the trip's entries; what cannot be written goes to the log, whole, so that no payment is lost.

        Gives what is left under the tightest budget, as far as it is known without asking again: what was spent when
        the request came and what the request cost.
        """
        entries, bill = trip.trail.entries, trip.trail.bill
        trip.record.bill = bill
        if entries or trip.reservations:
            try:
                await self.ledger.book(entries, trip.reservations)
            except StoreError as error:  # what was put aside is booked in its place when its time is up
                self.telemetry.unbooked(entries, error)
        self._tell_gauge(trip)
        return budget.remaining(trip.standings, bill.cost_usd)

    def _keep_receipt(self, trip: Trip, error: BaseException | None) -> None:
        """Begin to write what the caller may ask for afterwards, so that it lands while the trip is booked."""
        if self.log is None or trip.record.kind != REQUEST:
            return
        seconds = self.clock.monotonic() - trip.record.began
        receipt = receipt_of(trip, self.clock.now(), seconds, error)
        if receipt:
            trip.pending.append(asyncio.ensure_future(self._log(receipt, self.log)))

    async def _log(self, receipt: Receipt, log: RequestLog) -> None:
        try:
            await log.put(receipt)
        except StoreError as error:
            self.telemetry.note("request_log_failed", request_id=receipt.id, error=str(error))

    def _tell_gauge(self, trip: Trip) -> None:
        """The day's spend with the request's own; nothing when midnight has passed since the day's was read."""
        record, today = trip.record, Period.DAY.of(self.clock.now())
        if record.spend_today_usd is not None:
            own = sum((entry.cost_usd for entry in trip.trail.entries if entry.day == today), Decimal(0))
            record.spend_today_usd = record.spend_today_usd + own if trip.day == today else None


def _fill(record: Record, choice: Choice, reply: Reply) -> None:
    record.usage = reply.usage
    record.upstream_request_id = reply.request_id
    record.fallback = choice.cause.startswith("fallback:")
