"""Fakes of what the bulk lane needs to do each job once, in memory: jobs, groups, the way back to the queue."""

import dataclasses
import datetime as dt
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from cost_router.core.errors import StoreError
from cost_router.core.groups import End, Group, GroupState, Tally
from cost_router.core.job_ports import BROKEN, HeldJob, JobState, Kept, Lease, Occupied, Spent, Why

Times = tuple[dt.datetime, dt.datetime]
ENDED = (JobState.DONE, JobState.FAILED, JobState.CANCELED)
LEASED = (JobState.LEASED, JobState.CALLING)
FREE = (*LEASED, JobState.QUEUED)  # once the lease has ended


class Killed(BaseException):
    """The process dies here."""


@dataclass
class Item:
    """A job as the table has it."""

    state: JobState
    lease: Lease
    fingerprint: str
    kept: str | None = None
    lane: str | None = None
    tenant: str = ""
    on_queue: bool = True  # of a held job: whether the queue has it again


@dataclass
class MemoryJobs:
    """A `JobStore` in memory; `dies` names methods after which the process dies, `down` makes all of them fail."""

    items: dict[str, Item] = field(default_factory=dict)
    messages: dict[str, bytes] = field(default_factory=dict)
    tallies: defaultdict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    dies: set[str] = field(default_factory=set)
    down: bool = False

    def _begin(self, method: str) -> None:
        if method in self.dies:
            raise Killed(method)
        if self.down:
            raise StoreError(f"dynamodb.{method}: ReadTimeoutError")

    async def take(self, group: str, custom_id: str, fingerprint: str, owner: str, times: Times) -> Lease | Occupied:
        self._begin("take")
        job, now = f"{group}/{custom_id}", times[0]
        item = self.items.get(job)
        if item is None:
            self.items[job] = Item(JobState.LEASED, Lease(group, custom_id, owner, times[1]), fingerprint)
            self.count(group, started=1)
            return self.items[job].lease
        if item.fingerprint == BROKEN != fingerprint and item.state is JobState.FAILED:
            self.items[job] = Item(JobState.LEASED, Lease(group, custom_id, owner, times[1]), fingerprint)
            self.count(group, failed=-1)
            return self.items[job].lease
        return Occupied(Why.OTHER) if item.fingerprint != fingerprint else self._take_over(item, owner, times, now)

    async def retake(self, group: str, custom_id: str, owner: str, times: Times) -> Lease | Occupied:
        self._begin("retake")
        item = self.items.get(f"{group}/{custom_id}")
        if item is None:
            return Occupied(Why.ENDED)
        if item.state is not JobState.HELD:
            return self._take_over(item, owner, times, times[0])
        item.state, item.lease = JobState.LEASED, dataclasses.replace(item.lease, owner=owner, until=times[1])
        return item.lease

    def _take_over(self, item: Item, owner: str, times: Times, now: dt.datetime) -> Lease | Occupied:
        if item.state in ENDED:
            return Occupied(Why.ENDED)
        if item.state in {JobState.PARKED, JobState.HELD}:
            return Occupied(Why.WAITING)
        if item.lease.until > now:
            return Occupied(Why.BUSY, item.lease.until)
        lost = item.lease.lost + (item.state is JobState.CALLING)
        attempts = item.lease.attempts + (item.state is JobState.LEASED)
        item.state = JobState.LEASED
        item.lease = dataclasses.replace(item.lease, owner=owner, until=times[1], lost=lost, attempts=attempts)
        return item.lease

    async def kept(self, group: str, custom_id: str) -> Kept | None:
        self._begin("kept")
        item = self.items.get(f"{group}/{custom_id}")
        message = self.messages.get(item.kept or "") if item else None
        return Kept(message, item.lane) if item and message else None

    async def calling(self, lease: Lease) -> bool:
        if not self.has(lease):
            return False
        self.items[lease.job].state = JobState.CALLING
        self._begin("calling")
        return True

    async def put_back(self, lease: Lease, now: dt.datetime, *, attempts: int, lost: int, spent: Spent) -> None:
        self._begin("put_back")
        item = self.items[lease.job]
        if self.has(lease):
            item.state = JobState.QUEUED
            item.lease = dataclasses.replace(
                lease,
                until=now,
                attempts=attempts,
                lost=lost,
                spent_usd=spent.cost_usd,
                baseline_usd=spent.baseline_usd,
            )

    async def hold(self, lease: Lease, tenant: str, message: Mapping[str, Any], now: dt.datetime) -> None:
        assert now.tzinfo
        self._begin("hold")
        self.messages[lease.owner] = json.dumps(message).encode()
        item = self.items[lease.job]
        if self.has(lease):
            item.state, item.kept, item.tenant, item.on_queue = JobState.HELD, lease.owner, tenant, False

    async def end(self, lease: Lease, end: End, spent: Spent, now: dt.datetime) -> None:
        assert now.tzinfo
        self._begin("end")
        item = self.items[lease.job]
        if item.state in FREE and item.lease.owner == lease.owner:
            self.finish(lease.group, lease.custom_id, end, spent)

    async def held(self, group: str) -> AsyncIterator[HeldJob]:
        self._begin("held")
        for job, item in list(self.items.items()):
            name, _, custom_id = job.partition("/")
            if name == group and item.state is JobState.HELD and not item.on_queue:
                spent = Spent(item.lease.spent_usd, item.lease.baseline_usd)
                yield HeldJob(group, custom_id, item.kept or "", item.tenant, spent)

    async def released(self, job: HeldJob) -> None:
        self._begin("released")
        if self._still(job):
            self.items[job.job].on_queue = True

    async def end_held(self, job: HeldJob, now: dt.datetime) -> None:
        assert now.tzinfo
        self._begin("end_held")
        if self._still(job):
            self.finish(job.group, job.custom_id, End.CANCELED, job.spent)

    def has(self, lease: Lease) -> bool:
        """Whether a lease still holds: a job that was put back, parked or held has none, nor one that has ended."""
        item = self.items[lease.job]
        return item.state in LEASED and item.lease == lease

    def _still(self, job: HeldJob) -> bool:
        item = self.items[job.job]
        return item.state is JobState.HELD and item.kept == job.id

    def finish(self, group: str, custom_id: str, end: End, spent: Spent) -> None:
        """A job has ended, for whatever reason."""
        item = self.items[f"{group}/{custom_id}"]
        item.state = JobState(end.value)
        self.messages.pop(item.kept or "", None)
        self.count(group, cost_usd=spent.cost_usd, baseline_usd=spent.baseline_usd, **{end.value: 1})

    def count(self, group: str, **counts: int | Decimal) -> None:
        tally = self.tallies[group]
        self.tallies[group] = dataclasses.replace(
            tally, **{name: getattr(tally, name) + value for name, value in counts.items()}
        )

    def state(self, job: str) -> str:
        return self.items[job].state.value


@dataclass
class MemoryGroups:
    """`Groups` in memory, over the counts of the jobs."""

    jobs: MemoryJobs
    groups: dict[str, Group] = field(default_factory=dict)
    closed: list[str] = field(default_factory=list)
    down: bool = False

    async def look(self, name: str, tenant: str, size: int | None, now: dt.datetime) -> GroupState:
        if self.down:
            raise StoreError("dynamodb.update_item: ReadTimeoutError")
        known = self.groups.get(name) or Group(name, tenant, GroupState.RUNNING, now, now)
        expected = known.expected if size is None else size
        self.groups[name] = dataclasses.replace(known, seen_at=now, expected=expected)
        if name in self.closed:
            self.closed.remove(name)
        return known.state

    async def open(self) -> list[Group]:
        return [group for group in self.groups.values() if group.name not in self.closed]

    async def tally(self, name: str) -> Tally:
        return self.jobs.tallies[name]

    async def told(self, group: Group, ended: int) -> None:
        self.groups[group.name] = dataclasses.replace(self.groups[group.name], told=ended)

    async def close(self, group: Group, now: dt.datetime) -> None:
        assert now.tzinfo
        self.closed.append(group.name)

    async def cancel(self, name: str, tenant: str, now: dt.datetime) -> None:
        if self.down:
            raise StoreError("dynamodb.update_item: ReadTimeoutError")
        known = self.groups.get(name) or Group(name, tenant, GroupState.RUNNING, now, now)
        self.groups[name] = dataclasses.replace(known, state=GroupState.CANCELED)

    def set(self, name: str, state: GroupState) -> None:
        self.groups[name] = dataclasses.replace(self.groups[name], state=state)


@dataclass
class RecordingReturns:
    """Keeps what goes back to the queue; the first `refused` jobs of each call do not get there."""

    sent: list[HeldJob] = field(default_factory=list)
    refused: int = 0

    async def put_back(self, jobs: Sequence[HeldJob]) -> list[HeldJob]:
        self.sent += jobs[self.refused :]
        return list(jobs[self.refused :])


@dataclass
class RecordingEvents:
    """Keeps what is told of groups."""

    told: list[tuple[str, Tally]] = field(default_factory=list)

    async def finished(self, group: Group, tally: Tally, now: dt.datetime) -> None:
        assert now.tzinfo
        self.told.append((group.name, tally))


@dataclass
class MemoryParams:
    """Params that are too large for a message."""

    objects: dict[str, bytes] = field(default_factory=dict)

    async def read(self, key: str) -> bytes | None:
        return self.objects.get(key)
