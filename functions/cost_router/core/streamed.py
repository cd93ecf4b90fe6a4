"""One streamed answer on its way to the caller, until it is booked."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from types import TracebackType
from typing import Final, Self

from cost_router.core.errors import DeadlinePassed, Failure, UpstreamError
from cost_router.core.ledger import Bill
from cost_router.core.ports import Event
from cost_router.core.sampling import Tape
from cost_router.core.streams import Live
from cost_router.core.trip import Trip

TOO_LONG: Final = (
    "the answer was not whole in time; what was spent is booked; longer work belongs on the jobs queue, or in a "
    "Message Batch (POST /v1/messages/batches)"
)


@dataclass(slots=True)
class StreamedAnswer:
    """Claude's events as they come; leaving its `async with` ends the call and books it, also when cancelled."""

    live: Live
    trip: Trip
    settle: Callable[[Trip, BaseException | None], Awaitable[Decimal | None]]  # given how it ended
    tape: Tape | None = None  # of one that is to be kept
    remaining_usd: Decimal | None = None  # under the tightest budget, once it is booked; None without one
    over: bool = False  # whether the call is being ended and booked, or has been

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        record, self.over = self.trip.record, True
        try:
            await self.live.end()
        finally:
            record.usage, record.upstream_request_id = self.live.usage, self.live.stream.request_id
            if self.tape and self.live.whole:
                self.tape.keep()
            left = error or asyncio.CancelledError()  # who reads no further has gone, as one who is cancelled has
            self.remaining_usd = await self.settle(self.trip, None if self.live.whole else left)

    async def leave(self) -> None:
        """End the call and book it, unless that is done: for who has gone before the first event could be sent."""
        if not self.over:
            async with self:
                pass

    @property
    def bill(self) -> Bill:
        """What was paid for the request; all of it once it is booked."""
        return self.trip.trail.bill

    @property
    def seconds_left(self) -> float:
        """Until the whole answer must have ended."""
        return self.trip.request.over_at - self.live.clock.monotonic()

    async def next(self) -> Event | None:
        """The next event; None at the end. What is not asked for is not read.

        Raises `UpstreamError` when the stream breaks and `DeadlinePassed` when the answer is not whole in time; no
        other tier is asked then, because the caller has a part of this answer already.
        """
        try:
            event = await self.live.next(self.trip.request.over_at)
        except UpstreamError as error:
            if error.failure is Failure.TIMEOUT and self.seconds_left <= 0:
                raise DeadlinePassed(TOO_LONG) from error
            raise
        if self.tape and event:
            self.tape.add(event)
        return event
