"""Jobs in DynamoDB: who works on which, how often it failed, and what is held; messages of held jobs are in S3.

A job's item is changed only on condition of what was seen of it, so of two workers one has it. A job's start and end
count in its group by the same transaction, once.
"""

import datetime as dt
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from cost_router.adapters import jobs_table as table
from cost_router.adapters.jobs_table import LEASE, STATE, Item, JobsTable, number, text
from cost_router.adapters.kept import KeptMessages
from cost_router.adapters.transactions import FAILED
from cost_router.core.groups import End
from cost_router.core.job_ports import BROKEN, HeldJob, JobState, Kept, Lease, Occupied, Spent, Why

ENDED = frozenset(End)
FREE = frozenset({JobState.LEASED, JobState.CALLING, JobState.QUEUED})  # once the lease has ended
Times = tuple[dt.datetime, dt.datetime]


@dataclass(frozen=True, slots=True)
class DynamoJobs:
    """A `JobStore`."""

    table: JobsTable
    messages: KeptMessages

    async def take(self, group: str, custom_id: str, fingerprint: str, owner: str, times: Times) -> Lease | Occupied:
        """Lease a job from the first of two times until the second; its first lease counts it as started."""
        job, (now, until) = f"{group}/{custom_id}", times
        new = self.table.part(
            job,
            "SET #state = :leased, #owner = :owner, #lease = :until, #print = :print, #ttl = :ttl "
            "REMOVE #attempts, #lost, #spent, #baseline, #kept, #lane, #line, #batch, #since",
            "attribute_not_exists(#state) OR #ttl <= :now",
            **_leased(owner, times),
            print=fingerprint,
            now=int(now.timestamp()),
        )
        if FAILED not in await self.table.write(new, self.table.count(group, custom_id, now, started=1)):
            return Lease(group, custom_id, owner, until)
        item = await self.table.item(job)
        if text(item, "owner") == owner:  # the reply of the first try was lost
            return _lease(group, custom_id, item)
        stored = text(item, "fingerprint")
        if stored == BROKEN != fingerprint and _state(item) is JobState.FAILED:
            return await self._replace(group, custom_id, fingerprint, owner, times)
        if stored != fingerprint:
            return Occupied(Why.OTHER)
        return await self._take_over(group, custom_id, item, owner, times)

    async def retake(self, group: str, custom_id: str, owner: str, times: Times) -> Lease | Occupied:
        """The same for a job that was held."""
        item = await self.table.item(f"{group}/{custom_id}")
        if _state(item) is not JobState.HELD:
            return await self._take_over(group, custom_id, item, owner, times)
        found = await self.table.update(
            f"{group}/{custom_id}",
            "SET #state = :leased, #owner = :owner, #lease = :until, #ttl = :ttl REMOVE #batch, #since",
            "#state = :held",
            **_leased(owner, times),
            held=JobState.HELD,
        )
        return await self._taken(group, custom_id, found, owner)

    async def kept(self, group: str, custom_id: str) -> Kept | None:
        """The message of a job that is, or was, held; None when there is none."""
        item = await self.table.item(f"{group}/{custom_id}")
        message = await self.messages.read(text(item, "kept")) if "kept" in item else None
        return Kept(message, text(item, "lane") or None) if message is not None else None

    async def calling(self, lease: Lease) -> bool:
        """Note that its first call is about to be made; false when somebody else has the job."""
        found = await self.table.update(
            lease.job,
            "SET #state = :calling",
            "#owner = :owner AND #lease = :until",
            **_of(lease),
            calling=JobState.CALLING,
        )
        return found is not None

    async def put_back(self, lease: Lease, now: dt.datetime, *, attempts: int, lost: int, spent: Spent) -> None:
        """End the lease of a job that stays on the queue, and set its counts."""
        await self.table.update(
            lease.job,
            "SET #state = :queued, #lease = :now, #attempts = :attempts, #lost = :lost, #spent = :spent, "
            "#baseline = :baseline, #ttl = :ttl",
            "#owner = :owner AND #lease = :until",
            **_of(lease),
            queued=JobState.QUEUED,
            now=now.isoformat(),
            attempts=attempts,
            lost=lost,
            spent=spent.cost_usd,
            baseline=spent.baseline_usd,
            ttl=table.expiry(now),
        )

    async def hold(self, lease: Lease, tenant: str, message: Mapping[str, Any], now: dt.datetime) -> None:
        """Keep a job in the table, away from the queue. Raises `InvalidRequest`."""
        await self.messages.write(lease.owner, message)
        found = await self.table.update(
            lease.job,
            "SET #state = :held, #batch = :batch, #since = :since, #kept = :owner, #tenant = :tenant "
            "REMOVE #lease, #ttl",
            "#owner = :owner AND #lease = :until",
            **_of(lease),
            held=JobState.HELD,
            batch=held_key(lease.group),
            since=f"{now.isoformat()}#{lease.owner}",
            tenant=tenant,
        )
        unneeded = (lease.kept,) if found else (lease.kept, lease.owner)
        await self.messages.forget_unless_named(self.table, lease.job, *unneeded)

    async def end(self, lease: Lease, end: End, spent: Spent, now: dt.datetime) -> None:
        """The job has its result; counts it in its group, once. spent: for the job in all."""
        ended = self.table.part(
            lease.job,
            "SET #state = :end, #ttl = :ttl REMOVE #lease, #batch, #since, #kept",
            "#owner = :owner AND attribute_exists(#lease)",
            owner=lease.owner,
            end=end,
            ttl=table.expiry(now),
        )
        await self.table.write(ended, self.table.count(lease.group, lease.custom_id, now, **counts(end, spent)))
        await self.messages.forget_unless_named(self.table, lease.job, lease.kept)

    async def held(self, group: str) -> AsyncIterator[HeldJob]:
        """The jobs of a group that are held, the oldest first."""
        async for item in self.table.indexed(held_key(group)):
            custom_id = text(item, "job").partition("/")[2]
            spent = Spent(number(item, "spent_usd"), number(item, "baseline_usd"))
            yield HeldJob(group, custom_id, text(item, "kept"), text(item, "tenant"), spent)

    async def released(self, job: HeldJob) -> None:
        """The queue has the job again."""
        await self.table.update(
            job.job,
            "REMOVE #batch, #since",
            "#state = :held AND #kept = :kept",
            held=JobState.HELD,
            kept=job.id,
        )

    async def end_held(self, job: HeldJob, now: dt.datetime) -> None:
        """A held job has its result: canceled."""
        ended = self.table.part(
            job.job,
            "SET #state = :end, #ttl = :ttl REMOVE #batch, #since, #kept",
            "#state = :held AND #kept = :kept",
            end=End.CANCELED,
            ttl=table.expiry(now),
            held=JobState.HELD,
            kept=job.id,
        )
        counted = self.table.count(job.group, job.custom_id, now, **counts(End.CANCELED, job.spent))
        await self.table.write(ended, counted)
        await self.messages.forget_unless_named(self.table, job.job, job.id)

    async def _take_over(self, group: str, custom_id: str, item: Item, owner: str, times: Times) -> Lease | Occupied:
        """Lease a job whose lease has ended; one that ended with its worker counts."""
        state = _state(item)
        if state not in FREE:
            return Occupied(Why.WAITING if state in {JobState.PARKED, JobState.HELD} else Why.ENDED)
        ends = dt.datetime.fromisoformat(text(item, LEASE))
        if ends > times[0]:
            return Occupied(Why.BUSY, ends)
        died = {JobState.CALLING: "#lost", JobState.LEASED: "#attempts"}.get(state)
        counted = f", {died} = if_not_exists({died}, :none) + :one" if died else ""
        found = await self.table.update(
            f"{group}/{custom_id}",
            f"SET #state = :leased, #owner = :owner, #lease = :until, #ttl = :ttl{counted}",
            "#owner = :was AND #lease = :ended AND #state = :state",
            **_leased(owner, times),
            **({"none": 0, "one": 1} if died else {}),
            was=text(item, "owner"),
            ended=text(item, LEASE),
            state=state,
        )
        return await self._taken(group, custom_id, found, owner)

    async def _taken(self, group: str, custom_id: str, found: Item | None, owner: str) -> Lease | Occupied:
        """The lease in an item that was changed; of one that was not, unless the reply was lost, why."""
        item = found or await self.table.item(f"{group}/{custom_id}")
        if text(item, "owner") == owner:
            return _lease(group, custom_id, item)
        ends = text(item, LEASE)
        return Occupied(Why.BUSY, dt.datetime.fromisoformat(ends)) if ends else Occupied(Why.ENDED)

    async def _replace(
        self, group: str, custom_id: str, fingerprint: str, owner: str, times: Times
    ) -> Lease | Occupied:
        """Lease a job whose first message was none: that one no longer counts as failed."""
        replaced = self.table.part(
            f"{group}/{custom_id}",
            "SET #state = :leased, #owner = :owner, #lease = :until, #print = :print, #ttl = :ttl",
            "#state = :failed AND #print = :broken",
            **_leased(owner, times),
            print=fingerprint,
            failed=JobState.FAILED,
            broken=BROKEN,
        )
        await self.table.write(replaced, self.table.count(group, custom_id, times[0], failed=-1))
        return await self._taken(group, custom_id, None, owner)


def counts(end: End, spent: Spent) -> dict[str, int | Decimal]:
    """What an ended job adds to its group's counts."""
    return {end.value: 1, "cost_usd": spent.cost_usd, "baseline_usd": spent.baseline_usd}


def held_key(group: str) -> str:
    """Where the held jobs of a group are in the index."""
    return f"held#{group}"


def _leased(owner: str, times: Times) -> dict[str, Any]:
    now, until = times
    return {"leased": JobState.LEASED, "owner": owner, "until": until.isoformat(), "ttl": table.expiry(now)}


def _of(lease: Lease) -> dict[str, str]:
    return {"owner": lease.owner, "until": lease.until.isoformat()}


def _lease(group: str, custom_id: str, item: Item) -> Lease:
    return Lease(
        group=group,
        custom_id=custom_id,
        owner=text(item, "owner"),
        until=dt.datetime.fromisoformat(text(item, LEASE)),
        attempts=int(number(item, "attempts")),
        lost=int(number(item, "lost")),
        spent_usd=number(item, "spent_usd"),
        baseline_usd=number(item, "baseline_usd"),
        kept=text(item, "kept") or None,
    )


def _state(item: Item) -> JobState | None:
    return JobState(text(item, STATE)) if STATE in item else None
