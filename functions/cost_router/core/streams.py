"""One streamed call in mid-air: its events pass through here one by one, and its tokens are seen on the way.

What is entered when it ends, however it ends:
- Claude has told why it stopped (a `message_delta` with a stop reason): the tokens told then, exactly;
- it broke before (cut, `error` event, no event in time, end without `message_stop`, the caller left), but
  `message_start` told the input: that input as told, and as output all of `max_tokens`, flagged `ambiguous`. Claude may
  have written, and bill, more than what arrived, but never more than that;
- no tokens were told that can be booked, or the broken call may search the web, which adds input as it goes: the upper
  bound of the whole call (decision 5), flagged `ambiguous`. So is one at a speed or place that has no price.
A call that ends because whoever waited for it has gone is flagged `abandoned` too. The entry's tokens are those told,
also where its cost is a bound. Nothing is ever entered at zero.
"""

import dataclasses
import datetime as dt
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from cost_router.core import ledger, pricing
from cost_router.core.errors import NoPrice, UpstreamError
from cost_router.core.ports import Clock, Event, Stream
from cost_router.core.pricing import Usage
from cost_router.core.trip import Call, Trip, entry_of

# Before any other event the caller has got nothing yet: another call can still take this one's place.
AHEAD_OF_CONTENT: Final = frozenset({"message_start", "ping", ""})
QUIET_SECONDS: Final = (
    240.0  # Claude pings while it works; the gateway cuts a connection that is quiet for five minutes
)
LAST_EVENT: Final = "message_stop"


@dataclass(slots=True)
class Live:
    """A streamed call whose money is put aside; `begin` and `next` read it, `end` enters it."""

    call: Call
    trip: Trip
    at: dt.datetime
    bound: Decimal
    stream: Stream
    clock: Clock
    ahead: list[Event] = field(default_factory=list)  # what came before the first content, and that; then empty
    usage: Usage = field(default_factory=Usage)  # told so far
    told: bool = False
    final: bool = False  # whether `usage` is all there will be
    whole: bool = False  # whether the last event has come
    failed: bool = False
    entered: bool = False

    async def begin(self, deadline: float) -> None:
        """Read up to the first content event, which the caller's answer can begin with.

        Raises `UpstreamError`; the call has ended then and is entered.
        """
        try:
            while not self.ahead or self.ahead[-1].type in AHEAD_OF_CONTENT:
                event = await self._read(deadline - self.clock.monotonic())
                if event is None:  # the end comes after `message_stop`, which is content enough
                    return
                self.ahead.append(event)
        except BaseException:
            await self.end()
            raise

    async def next(self, deadline: float) -> Event | None:
        """The next event; None at the end. Raises `UpstreamError`."""
        if self.ahead:
            return self.ahead.pop(0)
        return await self._read(min(QUIET_SECONDS, deadline - self.clock.monotonic()))

    async def end(self) -> None:
        """End the call, whole or not, and enter it in the trip, once."""
        if not self.entered:
            self.entered = True
            self._enter()
            await self.stream.aclose()

    async def _read(self, seconds: float) -> Event | None:
        try:
            event = await self.stream.next(seconds)
        except UpstreamError as error:
            self.failed = True
            self.trip.record.rate_limits += error.is_limit
            raise
        if event is not None:
            if event.usage is not None:
                self.usage, self.told, self.final = event.usage, True, event.final
            self.whole = self.whole or event.type == LAST_EVENT
        return event

    def _enter(self) -> None:
        call, on = self.call, self.at.date()
        self.trip.under_way.remove((on, self.bound))
        flags: list[str] = []
        known: dict[str, Any] = {"usage": self.usage, "upstream_request_id": self.stream.request_id}
        abandoned = not self.whole and not self.failed
        cost, exact = self._cost()
        if not exact:
            # One that was given up on purpose is counted by its own metric, not by the one that alarms.
            self.trip.record.ambiguous += call.purpose != ledger.SPECULATIVE
            flags.append(ledger.AMBIGUOUS)
        elif call.baseline and not abandoned:
            known["baseline_usd"] = pricing.cost_elsewhere(call.baseline, self.usage, on=on)
        if abandoned:
            flags.append(ledger.ABANDONED)
        self.trip.trail.entries.append(entry_of(call, self.trip, self.at, cost, flags=tuple(flags), **known))

    def _cost(self) -> tuple[Decimal, bool]:
        """What the call cost, or may have cost at the most, and whether that is exact."""
        most = dataclasses.replace(self.usage, output_tokens=max(self.usage.output_tokens, self.call.max_tokens))
        try:
            if self.final:
                return pricing.cost(self.call.model, self.usage, on=self.at.date()), True
            if self.told and not self.call.terms.web_searches:
                return pricing.cost(self.call.model, most, on=self.at.date()), False
        except NoPrice:
            pass
        return self.bound, False
