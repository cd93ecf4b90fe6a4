"""Groups of jobs as an operator sees them: how far each is, what it cost; and pausing, resuming, canceling one."""

import asyncio
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from cost_router.adapters.aws import Aws
from cost_router.adapters.groups import DynamoGroups, group_in
from cost_router.adapters.jobs_table import Item, JobsTable, group_key
from cost_router.adapters.system import SystemChance, SystemClock
from cost_router.adapters.transactions import Transactions
from cost_router.contract import Table
from cost_router.core.groups import Group, GroupState, Tally, is_finished
from cost_router.core.pricing import dollars
from infra.operate.target import Target

FINAL: Final = "was canceled, which cannot be undone; accepted: a group of another name"


class GroupProblem(ValueError):
    """A group cannot be found or changed; the message quotes it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a group is; dollars are of the jobs that have ended."""

    group: Group
    tally: Tally

    @property
    def submitted(self) -> int:
        """Jobs that were announced; those that came when that is more, or when nobody announced any."""
        return max(self.group.expected or 0, self.tally.started)

    @property
    def queued(self) -> int:
        """Jobs that nobody has taken from the queue yet."""
        return self.submitted - self.tally.started

    @property
    def saved_usd(self) -> Decimal:
        """What all opus had cost more."""
        return self.tally.baseline_usd - self.tally.cost_usd

    @property
    def percent(self) -> Decimal:
        """Of the submitted jobs, those that have ended; to a tenth."""
        share = Decimal(100 * self.tally.ended) / self.submitted if self.submitted else Decimal(0)
        return share.quantize(Decimal("0.1"))

    def is_finished(self, now: dt.datetime) -> bool:
        """Whether all jobs have ended: all that were announced, else all that have come so far."""
        if self.group.expected is None:
            return self.tally.ended > 0 >= self.tally.running
        return is_finished(self.group, self.tally, now)

    def json(self, now: dt.datetime) -> dict[str, Any]:
        """As `--json` prints it; dollars as decimal strings."""
        return {
            "group": self.group.name,
            "tenant": self.group.tenant,
            "state": self.group.state.value,
            "submitted": self.submitted,
            "announced": self.group.expected is not None,
            "queued": self.queued,
            "running": self.tally.running,
            "done": self.tally.done,
            "failed": self.tally.failed,
            "canceled": self.tally.canceled,
            "percent": float(self.percent),  # of jobs, not money
            "cost_usd": dollars(self.tally.cost_usd),
            "baseline_usd": dollars(self.tally.baseline_usd),
            "saved_usd": dollars(self.saved_usd),
            "finished": self.is_finished(now),
        }


@dataclass(frozen=True, slots=True)
class GroupDesk:
    """The groups of a deployment. All methods raise `StoreError`."""

    table: JobsTable
    groups: DynamoGroups

    @classmethod
    def of(cls, target: Target) -> "GroupDesk":
        """The groups in a deployment's jobs table."""
        aws = Aws({"dynamodb": target.client("dynamodb")})
        table = JobsTable(aws, target.tables["jobs"], Transactions(aws, SystemClock(), SystemChance()))
        return cls(table, DynamoGroups(table))

    async def item(self, name: str) -> Item:
        """The item of a group; empty when there is none, or none any more."""
        item = await self.table.item(group_key(name))
        return {} if not _is_group(item) or is_gone(item, dt.datetime.now(dt.UTC)) else item

    async def standing(self, name: str) -> Standing:
        """How far a group is; raises `GroupProblem` for an unknown one."""
        item, tally = await asyncio.gather(self.item(name), self.groups.tally(name))
        if not item:
            raise await self._unknown(name)
        return Standing(group_in(item), tally)

    async def open(self) -> list[Standing]:
        """The groups that are not closed, the oldest first."""
        groups = await self.groups.open()
        tallies = await asyncio.gather(*(self.groups.tally(group.name) for group in groups))
        return [Standing(group, tally) for group, tally in zip(groups, tallies, strict=True)]

    async def change(self, name: str, state: GroupState) -> Standing:
        """Set what is to be done with a group's jobs; raises `GroupProblem` for an unknown and for a canceled group."""
        values: dict[str, str] = {"new": state.value}
        condition = "attribute_exists(#state)"  # else the update would make an item that is no group
        if state is not GroupState.CANCELED:
            condition, values = f"{condition} AND #state <> :canceled", values | {"canceled": GroupState.CANCELED.value}
        known = await self.item(name)
        if not known:
            raise await self._unknown(name)
        if await self.table.update(group_key(name), "SET #state = :new", condition, **values) is None:
            raise GroupProblem(f"group {name!r} {FINAL}")
        return await self.standing(name)

    async def _unknown(self, name: str) -> GroupProblem:
        known = ", ".join(group.name for group in await self.groups.open())
        return GroupProblem(f"no group is called {name!r}; open groups: {known or 'none'}")


def list_groups(target: Target) -> list[Standing]:
    """The groups that are not closed, the oldest first."""
    return asyncio.run(GroupDesk.of(target).open())


def read_group(target: Target, name: str) -> Standing:
    """How far a group is; raises `GroupProblem`."""
    return asyncio.run(GroupDesk.of(target).standing(name))


def change_group(target: Target, name: str, state: GroupState) -> Standing:
    """Pause, resume or cancel a group; raises `GroupProblem`."""
    return asyncio.run(GroupDesk.of(target).change(name, state))


def is_gone(item: Mapping[str, Any], now: dt.datetime) -> bool:
    """Whether an item has expired: DynamoDB deletes it days late."""
    return Table.TTL in item and int(item[Table.TTL]["N"]) <= now.timestamp()


def _is_group(item: Mapping[str, Any]) -> bool:
    """Whether an item is a group's: an announcement alone makes none."""
    return "seen_at" in item
