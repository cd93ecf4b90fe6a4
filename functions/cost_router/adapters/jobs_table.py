"""The `jobs` table: its keys, conditional updates, counts of groups.

| `job` | `batch` (index) | what |
|---|---|---|
| `GROUP/CUSTOM_ID` | nothing | a job with an owner, or with a result |
| `GROUP/CUSTOM_ID` | `parked#GROUP`, `urgent#GROUP` | a line of the batch lane that waits |
| `GROUP/CUSTOM_ID` | a marker | a line in that batch |
| `GROUP/CUSTOM_ID` | `held#GROUP` | a job that is held |
| `batch#MARKER` | `open`, or nothing | a Message Batch that is not closed, or is |
| `group#GROUP` | `groups`, or nothing | a group that is not closed, or is |
| `group#GROUP#SHARD` | nothing | a part of a group's counts |
| `accepted#ID` | `accepted#TENANT` | a batch that came over HTTPS: the group ID |

No name of a group has a `#`. The index shows moves a moment late, so every move has its condition on the item itself.
"""

import datetime as dt
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from cost_router.adapters.aws import Aws, error_code
from cost_router.adapters.transactions import TRIES, Transactions
from cost_router.contract import Table
from cost_router.core.errors import StoreError
from cost_router.core.groups import shard_of
from cost_router.core.pricing import dollars

KEPT_FOR: Final = dt.timedelta(days=15)  # of what is done: one day longer than a message can wait on the queue
COUNTS_KEPT_FOR: Final = dt.timedelta(days=90)  # of a group, after its last change
REFUSED: Final = "ConditionalCheckFailedException"
OPEN: Final = "open"
GROUPS: Final = "groups"
LINE: Final = "line"
STATE: Final = "state"
ANNOUNCED: Final = "announced"  # of a group: a set of "WHO:JOBS", so that the same announcement counts once
LEASE: Final = "lease"
Item = dict[str, Any]  # as DynamoDB's own API has it
Value = str | int | Decimal
NAMES: Final = {
    "#job": Table.JOBS_KEY,
    "#batch": Table.JOBS_BATCH,
    "#since": Table.JOBS_SINCE,
    "#ttl": Table.TTL,
    "#line": LINE,
    "#state": STATE,
    "#lease": LEASE,
    "#owner": "owner",
    "#print": "fingerprint",
    "#attempts": "attempts",
    "#defects": "defects",
    "#lost": "lost",
    "#spent": "spent_usd",
    "#baseline": "baseline_usd",
    "#tenant": "tenant",
    "#kept": "kept",
    "#lane": "lane",
    "#seen": "seen_at",
    "#told": "told",
}


@dataclass(frozen=True, slots=True)
class JobsTable:
    """The table with what its users share."""

    aws: Aws
    name: str
    transactions: Transactions

    async def item(self, key: str) -> Item:
        """An item as it is now; empty when there is none. Raises `StoreError`."""
        asked = {Table.JOBS_KEY: {"S": key}}
        reply = await self.aws.call("dynamodb", "get_item", TableName=self.name, Key=asked, ConsistentRead=True)
        item: Item = reply.get("Item", {})
        return item

    async def items(self, keys: list[str]) -> list[Item]:
        """Those of up to a hundred items that are there. Raises `StoreError`."""
        asked: dict[str, Any] = {self.name: {"Keys": [{Table.JOBS_KEY: {"S": key}} for key in keys]}}
        found: list[Item] = []
        attempt = 0
        while asked:
            reply = await self.aws.call("dynamodb", "batch_get_item", RequestItems=asked)
            found += reply["Responses"].get(self.name, [])
            asked = reply.get("UnprocessedKeys") or {}
            if asked:
                attempt += 1
                if attempt == TRIES:
                    raise StoreError("dynamodb.batch_get_item: UnprocessedKeys")
                await self.transactions.pause(attempt)
        return found

    async def put(self, item: Mapping[str, Any]) -> None:
        """Write an item, whatever is there. Raises `StoreError`."""
        await self.aws.call("dynamodb", "put_item", TableName=self.name, Item=item)

    async def put_if(self, item: Mapping[str, Any], condition: str, **values: Value) -> bool:
        """Write an item if a condition holds; whether it did. Raises `StoreError`."""
        told = _told(condition, values)
        return await self._unless_refused("put_item", Item=item, ConditionExpression=condition, **told) is not None

    async def update(self, key: str, change: str, condition: str = "", **values: Value) -> Item | None:
        """The item after a change; None when its condition did not hold, or no longer: a lost reply is repeated."""
        reply = await self._unless_refused(
            "update_item", **_update(key, change, condition, values), ReturnValues="ALL_NEW"
        )
        return None if reply is None else reply["Attributes"]

    async def write(self, *parts: Mapping[str, Any]) -> list[str]:
        """Write parts made by `part` and `count`, all or none; gives the reasons when a condition failed."""
        return await self.transactions.write(list(parts))

    def part(self, key: str, change: str, condition: str, **values: Value) -> dict[str, Any]:
        """An update as a part of a transaction."""
        return {"Update": {"TableName": self.name, **_update(key, change, condition, values)}}

    def count(self, group: str, custom_id: str, now: dt.datetime, **counts: Value) -> dict[str, Any]:
        """Add to a group's counts, in the part that the job belongs to."""
        adds = ", ".join(f"{name} :{name}" for name in counts)
        update = _update(
            f"{group_key(group)}#{shard_of(custom_id)}",
            f"ADD {adds} SET #ttl = :ttl",
            "",
            {**counts, "ttl": expiry(now, COUNTS_KEPT_FOR)},
        )
        return {"Update": {"TableName": self.name, **update}}

    async def announce(self, group: str, who: str, jobs: int) -> None:
        """Note how many jobs somebody has for a group; the same twice counts once. Raises `StoreError`."""
        await self.aws.call(
            "dynamodb",
            "update_item",
            TableName=self.name,
            Key={Table.JOBS_KEY: {"S": group_key(group)}},
            UpdateExpression=f"ADD {ANNOUNCED} :announced",
            ExpressionAttributeValues={":announced": {"SS": [f"{who}:{jobs}"]}},
        )

    async def indexed(self, batch: str) -> AsyncIterator[Item]:
        """The items under a key of the index, the oldest first. Iterating raises `StoreError`."""
        asked = {
            "TableName": self.name,
            "IndexName": Table.JOBS_INDEX,
            "KeyConditionExpression": "#batch = :batch",
            "ExpressionAttributeNames": {"#batch": Table.JOBS_BATCH},
            "ExpressionAttributeValues": {":batch": {"S": batch}},
        }
        async for item in self.aws.items("query", **asked):
            yield item

    async def _unless_refused(self, operation: str, **arguments: Any) -> Mapping[str, Any] | None:
        try:
            reply: Mapping[str, Any] = await self.aws.call("dynamodb", operation, TableName=self.name, **arguments)
        except StoreError as error:
            if error_code(error.__cause__) == REFUSED:
                return None
            raise
        return reply


def group_key(group: str) -> str:
    """What a group's item is called."""
    return f"group#{group}"


def expiry(now: dt.datetime, kept_for: dt.timedelta = KEPT_FOR) -> int:
    """When DynamoDB may delete what is done now, in epoch seconds."""
    return int((now + kept_for).timestamp())


def is_gone(item: Mapping[str, Any], now: dt.datetime) -> bool:
    """Whether an item has expired: DynamoDB deletes it days late."""
    return Table.TTL in item and number(item, Table.TTL) <= now.timestamp()


def names_message(item: Mapping[str, Any], id_: str) -> bool:
    """Whether a job that waits, or waited and has not ended, does so with the message of that id."""
    return text(item, "kept") == id_ or text(item, Table.JOBS_SINCE).endswith(f"#{id_}")


def text(item: Mapping[str, Any], name: str) -> str:
    """A string of an item; empty when it is not there."""
    return str(item.get(name, {}).get("S", ""))


def number(item: Mapping[str, Any], name: str) -> Decimal:
    """A number of an item; zero when it is not there."""
    return Decimal(item.get(name, {}).get("N", "0"))


def _update(key: str, change: str, condition: str, values: Mapping[str, Value]) -> dict[str, Any]:
    conditional = {"ConditionExpression": condition} if condition else {}
    told = _told(f"{change} {condition}", values)
    return {"Key": {Table.JOBS_KEY: {"S": key}}, "UpdateExpression": change, **conditional, **told}


def _told(text: str, values: Mapping[str, Value]) -> dict[str, Any]:
    """The names and values that an expression uses."""
    used = {name: real for name, real in NAMES.items() if name in text}
    found: dict[str, Any] = {"ExpressionAttributeValues": {f":{name}": _value(value) for name, value in values.items()}}
    return found | ({"ExpressionAttributeNames": used} if used else {})


def _value(value: Value) -> dict[str, str]:
    if isinstance(value, str):
        return {"S": value}
    return {"N": dollars(value) if isinstance(value, Decimal) else str(value)}
