"""Batches over HTTPS: one is a group of jobs of the batch's name; how far it is follows from the group's tally.

A batch that was accepted is kept whole: its item in the table, its lines in one object of the bucket, and a message on
the queue by which the batch function puts the lines there one by one. It exists from the moment its item is written.
"""

import datetime as dt
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from cost_router.core.groups import Tally
from cost_router.core.paging import Page

PREFIX: Final = "msgbatch_"
ID: Final = re.compile(rf"{PREFIX}[A-Za-z0-9]{{24}}")
EXPIRES_AFTER: Final = dt.timedelta(hours=24)  # told as by the API; lines that wait for a budget are not given up then
KEPT_FOR: Final = dt.timedelta(
    days=29
)  # as by the API; source: platform.claude.com/docs/en/build-with-claude/batch-processing
IN_PROGRESS: Final = "in_progress"
CANCELING: Final = "canceling"
ENDED: Final = "ended"


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests of a batch by what has become of them; a line that expired at Claude counts as errored."""

    processing: int
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0


@dataclass(frozen=True, slots=True)
class MessageBatch:
    """A batch as it was accepted. ended: when, and how; None while that is not known."""

    id: str
    tenant: str
    lines: int
    created_at: dt.datetime
    canceled_at: dt.datetime | None = None
    unpacked: bool = False  # whether all lines were put on the queue
    ended: tuple[dt.datetime, Counts] | None = None

    @property
    def expires_at(self) -> dt.datetime:
        """When the API would end it."""
        return self.created_at + EXPIRES_AFTER

    @property
    def status(self) -> str:
        """`in_progress`, `canceling` or `ended`."""
        if self.ended:
            return ENDED
        return CANCELING if self.canceled_at else IN_PROGRESS


class MessageBatches(Protocol):
    """Batches that were accepted, durable. All methods raise `StoreError`."""

    async def accept(self, batch: MessageBatch) -> None:
        """Keep a new batch: from now on it exists."""

    async def find(self, id_: str, now: dt.datetime) -> MessageBatch | None:
        """The batch, whosever it is; None when there is none, or none any more."""

    async def page(
        self, tenant: str, limit: int, *, after: MessageBatch | None, before: MessageBatch | None, now: dt.datetime
    ) -> Page[MessageBatch]:
        """A tenant's batches, the newest first: the first ones, those right after one of them, or right before one."""

    async def unpacked(self, batch: MessageBatch) -> None:
        """All lines of the batch were put on the queue."""

    async def cancel(self, batch: MessageBatch, now: dt.datetime) -> MessageBatch:
        """The batch as it is once its cancellation has been asked for; the first time counts."""

    async def end(self, batch: MessageBatch) -> None:
        """Keep how the batch has ended."""


class BatchFiles(Protocol):
    """What of a batch is in the results bucket. All methods raise `StoreError`."""

    async def keep(self, id_: str, lines: Sequence[bytes]) -> None:
        """Keep the lines of a batch, each the message of a job."""

    async def lines(self, id_: str) -> list[bytes] | None:
        """The lines of a batch; None when they are not there."""

    async def forget(self, id_: str) -> None:
        """Delete the lines of a batch, if they are there."""

    def results(self, id_: str, tenant: str) -> AsyncIterator[bytes]:
        """The results of a tenant's jobs in a batch, each as JSON in one line, in any order.

        Iterating raises `StoreError`.
        """


def progress(batch: MessageBatch, tally: Tally) -> Counts:
    """How far a batch is; all counts add up to its lines."""
    if batch.ended:
        return batch.ended[1]
    return Counts(max(0, batch.lines - tally.ended), tally.done, tally.failed, tally.canceled)


def end_of(batch: MessageBatch, tally: Tally, now: dt.datetime) -> tuple[dt.datetime, Counts] | None:
    """When and how a batch has ended; None while lines of it have no result."""
    if tally.ended < batch.lines:
        return None
    return tally.changed_at or now, progress(batch, tally)
