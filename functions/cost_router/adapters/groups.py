"""Groups in DynamoDB: an item for each, its counts in parts, and the event bus that tells when one is finished."""

import datetime as dt
import json
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from cost_router.adapters import jobs_table as table
from cost_router.adapters.aws import Aws
from cost_router.adapters.jobs_table import ANNOUNCED, GROUPS, STATE, Item, JobsTable, group_key
from cost_router.contract import GROUP_EVENT, GROUP_EVENT_SOURCE, Table
from cost_router.core.errors import StoreError
from cost_router.core.groups import SHARDS, Group, GroupState, Tally
from cost_router.core.pricing import dollars

REMEMBERED: Final = dt.timedelta(seconds=10)  # by a process: what a change by an operator takes to be in force
BY_JOB: Final = "router"  # who announced, when a job itself did


@dataclass(slots=True)
class DynamoGroups:
    """`Groups` in the jobs table."""

    table: JobsTable
    _seen: dict[str, tuple[GroupState, dt.datetime]] = field(default_factory=dict)
    _announced: set[tuple[str, int]] = field(default_factory=set)

    async def look(self, name: str, tenant: str, size: int | None, now: dt.datetime) -> GroupState:
        """What is to be done with a job of the group; makes the group, and keeps it open."""
        state, seen = self._seen.get(name, (GroupState.RUNNING, None))
        if seen is None or now - seen >= REMEMBERED:
            state = await self._see(name, tenant, now)
            self._seen[name] = (state, now)
        if size is not None and (name, size) not in self._announced:  # not every job of a group says it
            await self.table.announce(name, BY_JOB, size)
            self._announced.add((name, size))
        return state

    async def _see(self, name: str, tenant: str, now: dt.datetime) -> GroupState:
        item = await self.table.update(
            group_key(name),
            "SET #batch = :groups, #since = if_not_exists(#since, :since), #tenant = if_not_exists(#tenant, :tenant), "
            "#seen = :now, #state = if_not_exists(#state, :running) REMOVE #ttl",
            groups=GROUPS,
            since=f"{now.isoformat()}#{name}",
            tenant=tenant,
            now=now.isoformat(),
            running=GroupState.RUNNING,
        )
        return GroupState((item or {})[STATE]["S"])

    async def open(self) -> list[Group]:
        """All groups that are not closed, the oldest first."""
        return [group_in(item) async for item in self.table.indexed(GROUPS)]

    async def tally(self, name: str) -> Tally:
        """How far a group is."""
        return tally_of(await self.table.items(count_keys(name)))

    async def told(self, group: Group, ended: int) -> None:
        """The group was told to be finished when so many of its jobs had ended."""
        await self.table.update(group_key(group.name), "SET #told = :ended", ended=ended)

    async def close(self, group: Group, now: dt.datetime) -> None:
        """Nothing is left to do for a group, unless a job of it has come meanwhile."""
        await self.table.update(
            group_key(group.name),
            "SET #ttl = :ttl REMOVE #batch, #since",
            "#seen = :seen",
            ttl=table.expiry(now, table.COUNTS_KEPT_FOR),
            seen=group.seen_at.isoformat(),
        )

    async def cancel(self, name: str, tenant: str, now: dt.datetime) -> None:
        """Have the jobs of a group end unpaid, for good, also of one of which no job has come yet."""
        await self.table.update(
            group_key(name),
            "SET #state = :canceled, #tenant = if_not_exists(#tenant, :tenant), #seen = if_not_exists(#seen, :now)",
            canceled=GroupState.CANCELED,
            tenant=tenant,
            now=now.isoformat(),
        )


@dataclass(frozen=True, slots=True)
class BusEvents:
    """`GroupEvents` on the account's default event bus."""

    aws: Aws
    bucket: str
    stage: str

    async def finished(self, group: Group, tally: Tally, now: dt.datetime) -> None:
        """All jobs of the group have ended. Raises `StoreError`."""
        detail = {
            "stage": self.stage,
            "group": group.name,
            "tenant": group.tenant,
            "state": group.state.value,
            "jobs": tally.ended,
            "done": tally.done,
            "failed": tally.failed,
            "canceled": tally.canceled,
            "cost_usd": dollars(tally.cost_usd),
            "baseline_usd": dollars(tally.baseline_usd),
            "saved_usd": dollars(tally.baseline_usd - tally.cost_usd),
            "results": f"s3://{self.bucket}/results/{group.name}/",
        }
        event = {"Source": GROUP_EVENT_SOURCE, "DetailType": GROUP_EVENT, "Detail": json.dumps(detail), "Time": now}
        reply = await self.aws.call("events", "put_events", Entries=[event])
        if reply["FailedEntryCount"]:
            raise StoreError(f"events.put_events: {reply['Entries'][0].get('ErrorCode')}")


def group_in(item: Item) -> Group:
    """The group of an item."""
    announced: dict[str, int] = {}  # who announces a group anew when it grows says how many jobs it has by then
    for text in item.get(ANNOUNCED, {}).get("SS", ()):
        who, _, jobs = text.rpartition(":")
        announced[who] = max(int(jobs), announced.get(who, 0))
    return Group(
        name=item[Table.JOBS_KEY]["S"].removeprefix(group_key("")),
        tenant=item["tenant"]["S"],
        state=GroupState(item[STATE]["S"]),
        # A closed group has left the index, whose key tells since when it is there.
        since=dt.datetime.fromisoformat(table.text(item, Table.JOBS_SINCE).partition("#")[0] or item["seen_at"]["S"]),
        seen_at=dt.datetime.fromisoformat(item["seen_at"]["S"]),
        expected=sum(announced.values()) if announced else None,
        told=int(item["told"]["N"]) if "told" in item else None,
    )


def count_keys(name: str) -> list[str]:
    """The items that hold a group's counts."""
    return [f"{group_key(name)}#{shard}" for shard in range(SHARDS)]


def tally_of(items: list[Item]) -> Tally:
    """The sum of a group's counts."""

    def total(name: str) -> Decimal:
        return sum((table.number(item, name) for item in items), Decimal(0))

    # Each change of a count has moved its expiry.
    changed = max((table.number(item, Table.TTL) for item in items), default=Decimal(0))
    return Tally(
        started=int(total("started")),
        done=int(total("done")),
        failed=int(total("failed")),
        canceled=int(total("canceled")),
        cost_usd=total("cost_usd"),
        baseline_usd=total("baseline_usd"),
        changed_at=dt.datetime.fromtimestamp(int(changed), dt.UTC) - table.COUNTS_KEPT_FOR if changed else None,
    )
