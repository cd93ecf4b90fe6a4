"""What the bulk lane needs of the outside world to do each job once, beside `core/ports.py`.

A job's states, each written before what it announces:

    leased    a worker has the job until the lease ends; nothing but its label was asked for
    calling   it is about to be answered: from a lease that ended here a payment may be lost
    queued    it was put back: nobody has it
    parked    labelled, waits for or is in a Message Batch (`core/batch_lane.py`)
    held      waits in the table for its paused group, or for the queue's turn
    done, failed, canceled   it has a result
"""

import datetime as dt
import enum
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Protocol

from cost_router.core.groups import End

BROKEN: Final = "broken"  # stands for the print of a message that is no job: a mended one may take its place


class JobState(enum.StrEnum):
    """How far a job is."""

    LEASED = "leased"
    CALLING = "calling"
    QUEUED = "queued"
    PARKED = "parked"
    HELD = "held"
    DONE = End.DONE.value
    FAILED = End.FAILED.value
    CANCELED = End.CANCELED.value


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a job until `until`; whoever has it is its owner."""

    group: str
    custom_id: str
    owner: str  # request id
    until: dt.datetime
    attempts: int = 0  # earlier failures that were not paid for, and workers that died before they called
    lost: int = 0  # earlier calls that may have been paid for without an answer
    spent_usd: Decimal = Decimal(0)  # booked for the job by earlier owners that put it back
    baseline_usd: Decimal = Decimal(0)
    kept: str | None = None  # id of the message that was kept while it was held

    @property
    def job(self) -> str:
        """`GROUP/CUSTOM_ID`."""
        return f"{self.group}/{self.custom_id}"


class Why(enum.Enum):
    """Why a job cannot be taken."""

    ENDED = enum.auto()  # it has its result
    WAITING = enum.auto()  # it is parked or held
    BUSY = enum.auto()  # somebody works on it, or died while doing so
    OTHER = enum.auto()  # its name belongs to a job with another body


@dataclass(frozen=True, slots=True)
class Occupied:
    """A job that cannot be taken. until: when the lease of whoever has it ends."""

    why: Why
    until: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """What was booked for a job, and what the same had cost on opus."""

    cost_usd: Decimal = Decimal(0)
    baseline_usd: Decimal = Decimal(0)


NOTHING_SPENT: Final = Spent()


@dataclass(frozen=True, slots=True)
class HeldJob:
    """A job that is held. tenant: whose policy it was admitted under; id: of the message that is kept for it."""

    group: str
    custom_id: str
    id: str
    tenant: str
    spent: Spent = NOTHING_SPENT  # for the job before it was held

    @property
    def job(self) -> str:
        """`GROUP/CUSTOM_ID`."""
        return f"{self.group}/{self.custom_id}"


@dataclass(frozen=True, slots=True)
class Kept:
    """A job that came back from being held: its message, and the lane that it has to take, if it was promoted."""

    message: bytes = field(repr=False)
    lane: str | None


class JobStore(Protocol):
    """The jobs, durable. All methods raise `StoreError`."""

    async def take(
        self, group: str, custom_id: str, fingerprint: str, owner: str, times: tuple[dt.datetime, dt.datetime]
    ) -> Lease | Occupied:
        """Lease a job from the first of two times until the second; its first lease counts it as started.

        A lease that ended while its worker should have had the job counts: as lost in `calling`, else as an attempt.
        """

    async def retake(
        self, group: str, custom_id: str, owner: str, times: tuple[dt.datetime, dt.datetime]
    ) -> Lease | Occupied:
        """The same for a job that was held."""

    async def kept(self, group: str, custom_id: str) -> Kept | None:
        """The message of a job that is, or was, held; None when there is none."""

    async def calling(self, lease: Lease) -> bool:
        """Note that it is about to be answered; false when somebody else has the job."""

    async def put_back(self, lease: Lease, now: dt.datetime, *, attempts: int, lost: int, spent: Spent) -> None:
        """End the lease of a job that stays on the queue, and set its counts."""

    async def hold(self, lease: Lease, tenant: str, message: Mapping[str, Any], now: dt.datetime) -> None:
        """Keep a job in the table, away from the queue."""

    async def end(self, lease: Lease, end: End, spent: Spent, now: dt.datetime) -> None:
        """The job has its result; counts it in its group, once. spent: for the job in all."""

    def held(self, group: str) -> AsyncIterator[HeldJob]:
        """The jobs of a group that are held, the oldest first."""

    async def released(self, job: HeldJob) -> None:
        """The queue has the job again."""

    async def end_held(self, job: HeldJob, now: dt.datetime) -> None:
        """A held job has its result: canceled."""
