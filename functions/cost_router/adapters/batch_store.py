"""Lines and batches of the batch lane: items of the `jobs` table, bodies in the results bucket.

| `job` | `batch` (index) | what |
|---|---|---|
| `GROUP/CUSTOM_ID` | `parked`, a marker, or nothing | a line that waits, is in that batch, or is done |
| `batch#MARKER` | `open`, or nothing | a batch that is not closed, or is |

The index shows moves a moment late, so every move has its condition on the item itself. Prompts are in S3 only.
"""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import BotoCoreError

from cost_router.adapters import batch_items as items
from cost_router.adapters.aws import Aws, error_code
from cost_router.adapters.batch_items import OPEN, PARKED
from cost_router.adapters.claude import encode
from cost_router.contract import BATCH_PREFIX, Table
from cost_router.core.batch_lane import Batch, Line, State
from cost_router.core.errors import StoreError

KEPT_FOR: Final = dt.timedelta(days=15)  # of what is done: one day longer than a message can wait on the queue
REFUSED: Final = "ConditionalCheckFailedException"
NAMES: Final = {
    "#job": Table.JOBS_KEY,
    "#batch": Table.JOBS_BATCH,
    "#since": Table.JOBS_SINCE,
    "#ttl": Table.TTL,
    "#line": items.LINE,
    "#state": items.STATE,
    "#lease": items.LEASE,
}


@dataclass(frozen=True, slots=True)
class DynamoBatchStore:
    """A `BatchStore` in DynamoDB and S3."""

    aws: Aws
    table: str
    bucket: str

    async def is_parked(self, group: str, custom_id: str, now: dt.datetime) -> bool:
        """Whether the job has come before; what has expired is gone, though DynamoDB deletes it days late."""
        item = await self._item(f"{group}/{custom_id}")
        ends = int(item[Table.TTL]["N"]) if Table.TTL in item else None
        return items.LINE in item and (ends is None or ends > now.timestamp())

    async def park(self, line: Line, body: Mapping[str, Any], now: dt.datetime) -> bool:
        """Keep a line until it is packed; false when the job has come before. Raises `InvalidRequest`."""
        content = encode(body)
        await self.aws.call("s3", "put_object", Bucket=self.bucket, Key=_key(line), Body=content)
        parked = await self._update(
            line.job,
            "SET #batch = :batch, #since = :since, #line = :line REMOVE #ttl",
            "attribute_not_exists(#line) OR #ttl <= :now",
            batch=PARKED,
            since=f"{line.parked_at.isoformat()}#{line.request_id}",
            line=items.written(line),
            now=int(now.timestamp()),
        )
        if parked is None and not await self._is_so(line, PARKED):
            await self._forget(line)
            return False
        return True

    async def parked(self) -> AsyncIterator[Line]:
        """All lines that wait, the oldest first."""
        async for item in self._indexed(PARKED):
            yield items.line_in(item)

    async def body(self, line: Line) -> bytes | None:
        """The params of a line as JSON; None when they are gone."""
        try:
            reply = await self.aws.call("s3", "get_object", Bucket=self.bucket, Key=_key(line))
        except StoreError as error:
            if error_code(error.__cause__) in {"404", "NoSuchKey", "NotFound"}:
                return None
            raise
        try:
            content: bytes = await asyncio.to_thread(reply["Body"].read)
        except BotoCoreError as error:
            raise StoreError(f"s3.get_object: {error_code(error)}") from error
        return content

    async def join(self, line: Line, marker: str) -> bool:
        """Move a parked line into a batch."""
        return await self._move(line, PARKED, marker)

    async def part(self, line: Line, marker: str) -> bool:
        """Move a line of a batch back among the parked ones."""
        return await self._move(line, marker, PARKED)

    async def done(self, line: Line, marker: str, now: dt.datetime) -> None:
        """Take a line that has its result out of its batch; its body is forgotten."""
        await self._forget(line)
        await self._update(
            line.job, "SET #ttl = :ttl REMOVE #batch, #since", "#batch = :was", ttl=_expiry(now), was=marker
        )

    async def members(self, marker: str) -> list[Line]:
        """The lines of a batch that are not done."""
        return [items.line_in(item) async for item in self._indexed(marker)]

    async def batches(self) -> list[Batch]:
        """All batches that are not closed."""
        return [items.batch_in(item) async for item in self._indexed(OPEN)]

    async def begin(self, batch: Batch) -> None:
        """Keep a new batch."""
        await self.aws.call("dynamodb", "put_item", TableName=self.table, Item=items.batch_item(batch))

    async def take(self, batch: Batch, now: dt.datetime, until: dt.datetime) -> Batch | None:
        """Lease a batch that nobody works on, as it is now; None when somebody does, or it is closed."""
        free = "#batch = :open AND #lease <= :now"
        found = await self._update(
            items.batch_key(batch), "SET #lease = :until", free, open=OPEN, now=now.isoformat(), until=until.isoformat()
        )
        return None if found is None else items.batch_in(found)

    async def release(self, batch: Batch, now: dt.datetime) -> None:
        """End the lease of a batch, whatever its state."""
        await self._update(
            items.batch_key(batch), "SET #lease = :now", "#batch = :open", now=now.isoformat(), open=OPEN
        )

    async def move(self, batch: Batch, was: State) -> bool:
        """Keep what has become of a batch, if it still is in state `was`."""
        arguments = {
            "Item": items.batch_item(batch),
            "ConditionExpression": "#state = :was AND #batch = :open",
            "ExpressionAttributeNames": {name: NAMES[name] for name in ("#state", "#batch")},
            "ExpressionAttributeValues": {":was": {"S": was.value}, ":open": {"S": OPEN}},
        }
        if await self._unless_refused("put_item", **arguments) is not None:
            return True
        there = await self._item(items.batch_key(batch))
        return there == items.batch_item(batch)

    async def close(self, batch: Batch, now: dt.datetime) -> None:
        """Nothing is left to do for a batch."""
        await self._update(
            items.batch_key(batch),
            "SET #ttl = :ttl REMOVE #batch, #since",
            "#batch = :open",
            ttl=_expiry(now),
            open=OPEN,
        )

    async def _move(self, line: Line, was: str, to: str) -> bool:
        found = await self._update(
            line.job,
            "SET #batch = :to, #line = :line REMOVE #ttl",  # which a failed attempt at a double may have set
            "#batch = :was",
            to=to,
            was=was,
            line=items.written(line),
        )
        return found is not None or await self._is_so(line, to)

    async def _is_so(self, line: Line, batch: str) -> bool:
        """Whether a move whose condition fails was made all the same: the reply of the first try may have been lost."""
        item = await self._item(line.job)
        here = item.get(Table.JOBS_BATCH, {}).get("S") == batch
        return bool(here and item[items.LINE]["S"] == items.written(line))

    async def _item(self, job: str) -> dict[str, Any]:
        key = {Table.JOBS_KEY: {"S": job}}
        reply = await self.aws.call("dynamodb", "get_item", TableName=self.table, Key=key, ConsistentRead=True)
        item: dict[str, Any] = reply.get("Item", {})
        return item

    async def _update(self, job: str, change: str, condition: str, **values: str | int) -> Mapping[str, Any] | None:
        """The item after a change; None when its condition did not hold, or no longer: a lost reply is repeated."""
        used = {name: real for name, real in NAMES.items() if name in f"{change} {condition}"}
        reply = await self._unless_refused(
            "update_item",
            Key={Table.JOBS_KEY: {"S": job}},
            UpdateExpression=change,
            ConditionExpression=condition,
            ExpressionAttributeNames=used,
            ExpressionAttributeValues={
                f":{name}": {"N": str(value)} if isinstance(value, int) else {"S": value}
                for name, value in values.items()
            },
            ReturnValues="ALL_NEW",
        )
        return None if reply is None else reply["Attributes"]

    async def _unless_refused(self, operation: str, **arguments: Any) -> Mapping[str, Any] | None:
        try:
            reply: Mapping[str, Any] = await self.aws.call("dynamodb", operation, TableName=self.table, **arguments)
        except StoreError as error:
            if error_code(error.__cause__) == REFUSED:
                return None
            raise
        return reply

    async def _indexed(self, batch: str) -> AsyncIterator[dict[str, Any]]:
        asked = {
            "TableName": self.table,
            "IndexName": Table.JOBS_INDEX,
            "KeyConditionExpression": "#batch = :batch",
            "ExpressionAttributeNames": {"#batch": Table.JOBS_BATCH},
            "ExpressionAttributeValues": {":batch": {"S": batch}},
        }
        async for item in self.aws.items("query", **asked):
            yield item

    async def _forget(self, line: Line) -> None:
        await self.aws.call("s3", "delete_object", Bucket=self.bucket, Key=_key(line))


def _key(line: Line) -> str:
    return f"{BATCH_PREFIX}/{line.request_id}.json"


def _expiry(now: dt.datetime) -> int:
    return int((now + KEPT_FOR).timestamp())
