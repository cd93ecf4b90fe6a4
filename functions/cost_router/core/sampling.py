"""Keeps a share of the answered requests as samples: opt-in, beside the booking, and never at the answer's expense."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cost_router.core.assembling import Assembly, Unassembled
from cost_router.core.errors import StoreError
from cost_router.core.ports import Clock, Event, Reply, Telemetry
from cost_router.core.routing_ports import SampleStore
from cost_router.core.samples import sample_of, takes
from cost_router.core.trip import Trip

# Of an answer, or of the events of one that is streamed, which are some times as long; a longer one is not kept.
MOST_BYTES: Final = 1_000_000
MOST_EVENT_BYTES: Final = 4_000_000


@dataclass(frozen=True, slots=True)
class Sampler:
    """Decides which requests are kept, and begins to write them."""

    store: SampleStore
    percent: int  # of the requests with model `auto`, 1 to 100
    clock: Clock
    telemetry: Telemetry

    def keep(self, trip: Trip, reply: Reply) -> None:
        """Begin to write a request that has been answered, if it is one to be kept; it ends with the trip."""
        if len(reply.content) <= MOST_BYTES:
            self._begin(trip, lambda: reply.message)

    def tape(self, trip: Trip) -> "Tape | None":
        """What takes the events of an answer that is streamed; None when its request is not one to be kept."""
        return Tape(self, trip) if takes(trip, self.percent) else None

    def keep_events(self, trip: Trip, events: list[Event]) -> None:
        """`keep` for a streamed answer that is whole."""
        self._begin(trip, lambda: _message(events))

    def _begin(self, trip: Trip, answer: Callable[[], Mapping[str, Any]]) -> None:
        """All else happens in one of the trip's pending writes, so that nothing here can cost a paid answer."""
        trip.pending.append(asyncio.ensure_future(self._put(trip, answer)))

    async def _put(self, trip: Trip, answer: Callable[[], Mapping[str, Any]]) -> None:
        if not takes(trip, self.percent):
            return
        try:
            await self.store.put(sample_of(trip, answer(), self.clock.now()))
        except (StoreError, Unassembled) as error:
            self.telemetry.note("sample_failed", request_id=trip.request.id, error=str(error))


@dataclass(slots=True)
class Tape:
    """The events of a streamed answer as they pass; kept once it is whole, unless there were too many."""

    sampler: Sampler
    trip: Trip
    size: int = 0
    events: list[Event] = field(default_factory=list, repr=False)

    def add(self, event: Event) -> None:
        """Take one event."""
        self.size += len(event.raw)
        if self.size <= MOST_EVENT_BYTES:
            self.events.append(event)
        else:
            self.events.clear()

    def keep(self) -> None:
        """Begin to write the request and its answer."""
        if self.size <= MOST_EVENT_BYTES:
            self.sampler.keep_events(self.trip, self.events)


def _message(events: list[Event]) -> Mapping[str, Any]:
    """Claude's message; raises `Unassembled`."""
    assembly = Assembly()
    for event in events:
        assembly.add(event)
    if not assembly.whole:
        raise Unassembled("the end of the message is missing")
    return assembly.message
