"""Lines and batches of the batch lane: items of the `jobs` table, their messages in the results bucket."""

import datetime as dt
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from cost_router.adapters import batch_items as items
from cost_router.adapters import jobs_table as table
from cost_router.adapters.job_store import counts, held_key
from cost_router.adapters.jobs_table import OPEN, JobsTable, text
from cost_router.adapters.kept import KeptMessages
from cost_router.contract import Table
from cost_router.core.batch_lane import Batch, Line, State
from cost_router.core.batch_ports import Ended
from cost_router.core.job_ports import JobState, Lease
from cost_router.core.job_results import DIRECT


@dataclass(frozen=True, slots=True)
class DynamoBatchStore:
    """A `BatchStore` in DynamoDB and S3."""

    table: JobsTable
    messages: KeptMessages

    async def park(self, line: Line, lease: Lease, message: Mapping[str, Any], now: dt.datetime) -> None:
        """Keep a line until it is packed, if the lease still holds. Raises `InvalidRequest`."""
        await self.messages.write(line.request_id, message)
        found = await self.table.update(
            line.job,
            "SET #state = :parked, #batch = :batch, #since = :since, #line = :line REMOVE #ttl, #lease, #kept",
            "#owner = :owner AND #lease = :until",
            parked=JobState.PARKED,
            batch=waiting_key(line),
            since=f"{now.isoformat()}#{line.request_id}",
            line=items.written(line),
            owner=lease.owner,
            until=lease.until.isoformat(),
        )
        unneeded = (lease.kept,) if found else (lease.kept, line.request_id)
        await self.messages.forget_unless_named(self.table, line.job, *unneeded)

    async def parked(self, group: str, *, urgent: bool) -> AsyncIterator[Line]:
        """The lines of a group that wait, the oldest first; those with a deadline, or those without."""
        async for item in self.table.indexed(_waiting(group, urgent=urgent)):
            yield items.line_in(item)

    async def message(self, line: Line) -> bytes | None:
        """The job of a line as JSON, as it was dropped on the queue; None when it is gone."""
        return await self.messages.read(line.request_id)

    async def join(self, line: Line, marker: str) -> bool:
        """Move a parked line into a batch."""
        return await self._move(line, waiting_key(line), marker)

    async def part(self, line: Line, marker: str) -> bool:
        """Move a line of a batch back among the parked ones."""
        return await self._move(line, marker, waiting_key(line))

    async def promote(self, line: Line, marker: str | None, now: dt.datetime) -> bool:
        """Take a line out of its batch, or of those that wait, and hold it for the direct lane."""
        since = f"{now.isoformat()}#{line.request_id}"
        found = await self.table.update(
            line.job,
            "SET #state = :held, #batch = :to, #since = :since, #kept = :kept, #tenant = :tenant, #lane = :lane, "
            "#spent = :spent REMOVE #line, #ttl",
            "#batch = :was",
            held=JobState.HELD,
            to=held_key(line.group),
            since=since,
            kept=line.request_id,
            tenant=line.tenant,
            lane=DIRECT,
            spent=line.booked_usd,
            was=marker or waiting_key(line),
        )
        item = found or await self.table.item(line.job)  # as it is after a first try whose reply was lost
        return text(item, "lane") == DIRECT and text(item, Table.JOBS_SINCE) == since

    async def done(self, line: Line, marker: str | None, end: Ended, now: dt.datetime) -> None:
        """Take a line that has its result out of its batch, or of those that wait; its message is forgotten."""
        ended = self.table.part(
            line.job,
            "SET #state = :end, #ttl = :ttl REMOVE #batch, #since",
            "#batch = :was",
            end=end.end,
            ttl=table.expiry(now),
            was=marker or waiting_key(line),
        )
        await self.table.write(ended, self.table.count(line.group, line.custom_id, now, **counts(end.end, end.spent)))
        await self.messages.forget_unless_named(self.table, line.job, line.request_id)

    async def members(self, marker: str) -> list[Line]:
        """The lines of a batch that are not done."""
        return [items.line_in(item) async for item in self.table.indexed(marker)]

    async def batches(self) -> list[Batch]:
        """All batches that are not closed."""
        return [items.batch_in(item) async for item in self.table.indexed(OPEN)]

    async def begin(self, batch: Batch) -> None:
        """Keep a new batch."""
        await self.table.put(items.batch_item(batch))

    async def take(self, batch: Batch, now: dt.datetime, until: dt.datetime) -> Batch | None:
        """Lease a batch that nobody works on, as it is now; None when somebody does, or it is closed."""
        found = await self.table.update(
            items.batch_key(batch),
            "SET #lease = :until",
            "#batch = :open AND #lease <= :now",
            open=OPEN,
            now=now.isoformat(),
            until=until.isoformat(),
        )
        if found is None:  # nobody else's lease ends in the same microsecond: the reply of the first try was lost
            there = await self.table.item(items.batch_key(batch))
            found = there if table.text(there, table.LEASE) == until.isoformat() else None
        return None if found is None else items.batch_in(found)

    async def release(self, batch: Batch, now: dt.datetime) -> None:
        """End the lease of a batch, whatever its state."""
        await self.table.update(
            items.batch_key(batch), "SET #lease = :now", "#batch = :open", now=now.isoformat(), open=OPEN
        )

    async def move(self, batch: Batch, was: State) -> bool:
        """Keep what has become of a batch, if it still is in state `was`."""
        item = items.batch_item(batch)
        if await self.table.put_if(item, "#state = :was AND #batch = :open", was=was.value, open=OPEN):
            return True
        return await self.table.item(items.batch_key(batch)) == item

    async def close(self, batch: Batch, now: dt.datetime) -> None:
        """Nothing is left to do for a batch."""
        await self.table.update(
            items.batch_key(batch),
            "SET #ttl = :ttl REMOVE #batch, #since",
            "#batch = :open",
            ttl=table.expiry(now),
            open=OPEN,
        )

    async def _move(self, line: Line, was: str, to: str) -> bool:
        found = await self.table.update(
            line.job,
            "SET #batch = :to, #line = :line REMOVE #ttl",  # `attempts.py` sets one
            "#batch = :was",
            to=to,
            was=was,
            line=items.written(line),
        )
        return found is not None or await self._is_so(line, to)

    async def _is_so(self, line: Line, batch: str) -> bool:
        """Whether a move whose condition fails was made all the same: the reply of the first try may have been lost."""
        item = await self.table.item(line.job)
        here = item.get(Table.JOBS_BATCH, {}).get("S") == batch
        return bool(here and item[table.LINE]["S"] == items.written(line))


def waiting_key(line: Line) -> str:
    """Where a line that waits is in the index."""
    return _waiting(line.group, urgent=line.answer_by is not None)


def _waiting(group: str, *, urgent: bool) -> str:
    return f"{'urgent' if urgent else 'parked'}#{group}"
