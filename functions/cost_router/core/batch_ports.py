"""What the batch lane needs of the outside world, beside `core/ports.py`."""

import datetime as dt
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from cost_router.core.batch_lane import Batch, Line, State
from cost_router.core.budget import Reservation
from cost_router.core.groups import End
from cost_router.core.job_ports import Lease, Spent
from cost_router.core.ledger import Entry
from cost_router.core.pricing import Usage


@dataclass(frozen=True, slots=True)
class Seen:
    """A Message Batch as the API shows it."""

    id: str
    created_at: dt.datetime
    lines: int
    ended: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """One line of a batch's results. result: as Claude sent it; usage: None unless it tells what was used."""

    custom_id: str
    result: Mapping[str, Any] = field(repr=False)
    usage: Usage | None


@dataclass(frozen=True, slots=True)
class Settled:
    """What a line came to: its entry, or nothing when it was not billed, and the money put aside for it."""

    entry: Entry | None
    reservation: Reservation


@dataclass(frozen=True, slots=True)
class Ended:
    """How the job of a line ended, and what it has cost in all."""

    end: End
    spent: Spent


class Batches(Protocol):
    """The Message Batches API. All methods raise `UpstreamError`, `NotConfigured` and `StoreError`."""

    async def create(self, lines: Sequence[tuple[str, bytes]], seconds: float) -> Seen:
        """Submit lines, each a custom id and its params as JSON; never repeated, given up after `seconds`."""

    async def find(self, batch_id: str) -> Seen | None:
        """The batch; None when the API does not have it, which may pass."""

    async def cancel(self, batch_id: str) -> None:
        """Ask for a batch to end without its lines that were not begun; one that has ended stays as it is."""

    def listed(self) -> AsyncGenerator[Seen, None]:
        """All batches of the workspace, the newest first."""

    def results(self, batch_id: str) -> AsyncGenerator[Outcome, None]:
        """The results of a batch that has ended, in no order, read as they come."""


class BatchStore(Protocol):
    """Lines and batches, durable. All methods raise `StoreError`.

    A line is parked, then in one batch, then done or parked again. Moves are conditional: of two that make the same
    move at once, one succeeds.
    """

    async def park(self, line: Line, lease: Lease, message: Mapping[str, Any], now: dt.datetime) -> None:
        """Keep a line until it is packed, if the lease still holds. Raises `InvalidRequest`."""

    def parked(self, group: str, *, urgent: bool) -> AsyncIterator[Line]:
        """The lines of a group that wait, the oldest first; those with a deadline, or those without."""

    async def message(self, line: Line) -> bytes | None:
        """The job of a line as JSON, as it was dropped on the queue; None when it is gone."""

    async def join(self, line: Line, marker: str) -> bool:
        """Move a parked line into a batch."""

    async def part(self, line: Line, marker: str) -> bool:
        """Move a line of a batch back among the parked ones."""

    async def promote(self, line: Line, marker: str | None, now: dt.datetime) -> bool:
        """Take a line out of its batch, or of those that wait, and hold it for the direct lane."""

    async def done(self, line: Line, marker: str | None, end: Ended, now: dt.datetime) -> None:
        """Take a line that has its result out of its batch, or of those that wait; its message is forgotten."""

    async def members(self, marker: str) -> list[Line]:
        """The lines of a batch that are not done."""

    async def batches(self) -> list[Batch]:
        """All batches that are not closed."""

    async def begin(self, batch: Batch) -> None:
        """Keep a new batch."""

    async def take(self, batch: Batch, now: dt.datetime, until: dt.datetime) -> Batch | None:
        """Lease a batch that nobody works on, as it is now; None when somebody does, or it is closed."""

    async def move(self, batch: Batch, was: State) -> bool:
        """Keep what has become of a batch, if it still is in state `was`."""

    async def release(self, batch: Batch, now: dt.datetime) -> None:
        """End the lease of a batch, whatever its state."""

    async def close(self, batch: Batch, now: dt.datetime) -> None:
        """Nothing is left to do for a batch."""


class LineLedger(Protocol):
    """The money of many lines at once. Both methods raise `StoreError`."""

    async def put_aside(self, reservations: Sequence[Reservation]) -> set[str]:
        """Put money aside for each as long as its budgets last; gives the ids of those covered. Repeatable."""

    async def settle(self, settled: Sequence[Settled]) -> None:
        """Book what each line cost and give back what was put aside for it; each once, however often it is repeated."""
