"""Groups: jobs submitted together. What may be done with one, how far it is, and when it is finished.

A group needs no announcement: its first job makes it. Counts are kept in `SHARDS` parts, so that jobs which end at the
same moment do not conflict on one item.
"""

import datetime as dt
import enum
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Protocol, TypeVar

T = TypeVar("T")
SHARDS: Final = 8
QUIET: Final = dt.timedelta(minutes=5)  # without a new job: then a group that nobody announced is taken for whole
KEPT_OPEN: Final = dt.timedelta(minutes=10)  # after the last job came: longer than a process remembers a group as open
MOST_REFUSED: Final = 100  # lines of a group in a row that a budget does not cover, before its others wait a round too


class GroupState(enum.StrEnum):
    """What an operator wants done with a group's jobs."""

    RUNNING = "running"
    PAUSED = "paused"  # jobs are held: what has been sent to Claude comes back, nothing more is sent
    CANCELED = "canceled"  # jobs end unpaid with a result of type `canceled`


class End(enum.StrEnum):
    """How a job ended."""

    DONE = "done"
    FAILED = "failed"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True)
class Group:
    """A group as it is registered.

    expected: jobs that its submitters announced; None when nobody did. told: how many of its jobs had ended when it was
    last told to be finished.
    """

    name: str
    tenant: str  # of the job that made it
    state: GroupState
    since: dt.datetime
    seen_at: dt.datetime  # when a job of it was last taken from the queue, give or take what processes remember
    expected: int | None = None
    told: int | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """How far a group is; dollars are of the jobs that have ended. changed_at: when it last changed, to the second."""

    started: int = 0
    done: int = 0
    failed: int = 0
    canceled: int = 0
    cost_usd: Decimal = Decimal(0)
    baseline_usd: Decimal = Decimal(0)
    changed_at: dt.datetime | None = field(default=None, compare=False)

    @property
    def ended(self) -> int:
        """Jobs that have a result."""
        return self.done + self.failed + self.canceled

    @property
    def running(self) -> int:
        """Jobs that were taken from the queue and have no result: in a call, in a batch, held, or put back."""
        return self.started - self.ended


class Groups(Protocol):
    """Groups, durable. All methods raise `StoreError`."""

    async def look(self, name: str, tenant: str, size: int | None, now: dt.datetime) -> GroupState:
        """What is to be done with a job of the group; makes the group, and keeps it open. May be seconds old.

        size: how many jobs the group has, where the job says so.
        """

    async def open(self) -> list[Group]:
        """All groups that are not closed, the oldest first."""

    async def tally(self, name: str) -> Tally:
        """How far a group is."""

    async def told(self, group: Group, ended: int) -> None:
        """The group was told to be finished when so many of its jobs had ended."""

    async def close(self, group: Group, now: dt.datetime) -> None:
        """Nothing is left to do for a group, unless a job of it has come meanwhile."""

    async def cancel(self, name: str, tenant: str, now: dt.datetime) -> None:
        """Have the jobs of a group end unpaid, for good, also of one of which no job has come yet."""


class GroupEvents(Protocol):
    """Where those who wait for a group are told."""

    async def finished(self, group: Group, tally: Tally, now: dt.datetime) -> None:
        """All jobs of the group have ended. Raises `StoreError`."""


def shard_of(custom_id: str) -> int:
    """Which part of its group's counts a job belongs to."""
    return zlib.crc32(custom_id.encode()) % SHARDS


def queue_group(tenant: str, group: str) -> str:
    """The message group of a group's jobs on the queue: SQS keeps a long one from delaying the others.

    Source: docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues.html; 128 characters.
    """
    return f"{tenant}.{group}"[:128]


def is_finished(group: Group, tally: Tally, now: dt.datetime) -> bool:
    """Whether all jobs of the group have ended: all that were announced, else all that came, and none for a while."""
    if not tally.ended or tally.running > 0:
        return False
    if group.expected is not None:
        return tally.ended >= group.expected
    return now - group.seen_at >= QUIET


async def in_turn(
    groups: Sequence[Group], lines: Callable[[Group], AsyncIterator[T]]
) -> AsyncIterator[tuple[Group, T]]:
    """Lines of all groups, one of each tenant in turn, and of a tenant's groups in turn: none can hold up another."""
    tenants: dict[str, list[tuple[Group, AsyncIterator[T]]]] = {}
    for group in groups:
        tenants.setdefault(group.tenant, []).append((group, lines(group)))
    while tenants:
        for tenant in list(tenants):
            waiting = tenants[tenant]
            while waiting:
                group, iterator = waiting.pop(0)
                line = await anext(iterator, None)
                if line is not None:
                    waiting.append((group, iterator))
                    yield group, line
                    break
            if not waiting:
                del tenants[tenant]
