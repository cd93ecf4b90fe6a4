"""Batches over HTTPS: an item of the `jobs` table for each, its lines and results in the results bucket."""

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cost_router.adapters import jobs_table as table
from cost_router.adapters.aws import Aws
from cost_router.adapters.jobs_table import Item, JobsTable, number, text
from cost_router.adapters.kept import read_object
from cost_router.adapters.results import key
from cost_router.contract import ACCEPTED_PREFIX, Table
from cost_router.core.errors import StoreError
from cost_router.core.message_batches import KEPT_FOR, Counts, MessageBatch
from cost_router.core.paging import Page

READ_TOGETHER: Final = 16  # results
NOBODY: Final = "nobody"  # whose result it is when a message could not be read, or its tenant is disabled


@dataclass(frozen=True, slots=True)
class DynamoMessageBatches:
    """`MessageBatches` in the jobs table."""

    table: JobsTable

    async def accept(self, batch: MessageBatch) -> None:
        """Keep a new batch: from now on it exists."""
        await self.table.put(
            {
                Table.JOBS_KEY: {"S": _key(batch.id)},
                Table.JOBS_BATCH: {"S": _index_key(batch.tenant)},
                Table.JOBS_SINCE: {"S": _since(batch)},
                Table.TTL: {"N": str(table.expiry(batch.created_at, KEPT_FOR))},
                "tenant": {"S": batch.tenant},
                "created_at": {"S": batch.created_at.isoformat()},
                "lines": {"N": str(batch.lines)},
            }
        )

    async def find(self, id_: str, now: dt.datetime) -> MessageBatch | None:
        """The batch, whosever it is; None when there is none, or none any more."""
        item = await self.table.item(_key(id_))
        return None if not item or table.is_gone(item, now) else _batch_in(item)

    async def page(
        self, tenant: str, limit: int, *, after: MessageBatch | None, before: MessageBatch | None, now: dt.datetime
    ) -> Page[MessageBatch]:
        """A tenant's batches, the newest first: the first ones, those right after one of them, or right before one."""
        asked: dict[str, Any] = {
            "TableName": self.table.name,
            "IndexName": Table.JOBS_INDEX,
            "KeyConditionExpression": "#batch = :batch",
            "ExpressionAttributeNames": {"#batch": Table.JOBS_BATCH},
            "ExpressionAttributeValues": {":batch": {"S": _index_key(tenant)}},
            "ScanIndexForward": before is not None,
            "Limit": limit + 1,
        }
        if cursor := before or after:
            asked["KeyConditionExpression"] += f" AND #since {'>' if before else '<'} :since"
            asked["ExpressionAttributeNames"]["#since"] = Table.JOBS_SINCE
            asked["ExpressionAttributeValues"][":since"] = {"S": _since(cursor)}
        found: list[MessageBatch] = []
        async for item in self.table.aws.items("query", **asked):
            if not table.is_gone(item, now):
                found.append(_batch_in(item))
            if len(found) > limit:
                break
        kept = found[:limit]
        return Page(tuple(reversed(kept) if before else kept), has_more=len(found) > limit)

    async def unpacked(self, batch: MessageBatch) -> None:
        """All lines of the batch were put on the queue."""
        await self.table.update(_key(batch.id), "SET unpacked = :one", "attribute_exists(created_at)", one=1)

    async def cancel(self, batch: MessageBatch, now: dt.datetime) -> MessageBatch:
        """The batch as it is once its cancellation has been asked for; the first time counts."""
        item = await self.table.update(
            _key(batch.id),
            "SET canceled_at = if_not_exists(canceled_at, :now)",
            "attribute_exists(created_at)",
            now=now.isoformat(),
        )
        return _batch_in(item) if item else batch

    async def end(self, batch: MessageBatch) -> None:
        """Keep how the batch has ended."""
        if batch.ended is None:
            return
        at, counts = batch.ended
        await self.table.update(
            _key(batch.id),
            "SET ended_at = :at, succeeded = :succeeded, errored = :errored, canceled = :canceled",
            "attribute_exists(created_at)",
            at=at.isoformat(),
            succeeded=counts.succeeded,
            errored=counts.errored,
            canceled=counts.canceled,
        )


@dataclass(frozen=True, slots=True)
class S3BatchFiles:
    """`BatchFiles` in S3: `accepted/ID.jsonl`, which only the router function may write, and `results/ID/`."""

    aws: Aws
    bucket: str

    async def keep(self, id_: str, lines: Sequence[bytes]) -> None:
        """Keep the lines of a batch, each the message of a job."""
        content = b"".join(line + b"\n" for line in lines)
        await self.aws.call("s3", "put_object", Bucket=self.bucket, Key=_lines_key(id_), Body=content)

    async def lines(self, id_: str) -> list[bytes] | None:
        """The lines of a batch; None when they are not there."""
        content = await read_object(self.aws, self.bucket, _lines_key(id_))
        return None if content is None else content.split(b"\n")[:-1]

    async def forget(self, id_: str) -> None:
        """Delete the lines of a batch, if they are there."""
        await self.aws.call("s3", "delete_object", Bucket=self.bucket, Key=_lines_key(id_))

    async def results(self, id_: str, tenant: str) -> AsyncIterator[bytes]:
        """The results of a tenant's jobs in a batch, each as JSON in one line, in any order."""
        prefix, asked = key(id_, "").removesuffix(".json"), dict[str, str]()
        while True:
            page = await self.aws.call("s3", "list_objects_v2", Bucket=self.bucket, Prefix=prefix, **asked)
            keys = [str(row["Key"]) for row in page.get("Contents", ())]
            for start in range(0, len(keys), READ_TOGETHER):
                for content in await asyncio.gather(*map(self._read, keys[start : start + READ_TOGETHER])):
                    row = json.loads(content)
                    # Whoever may send to the queue may name any group: what they put there is not the batch's.
                    if (row.get("router") or {}).get("tenant") in {tenant, NOBODY}:
                        yield json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()
            if not page.get("IsTruncated"):
                return
            asked = {"ContinuationToken": page["NextContinuationToken"]}

    async def _read(self, name: str) -> bytes:
        content = await read_object(self.aws, self.bucket, name)
        if content is None:
            raise StoreError("s3.get_object: a result that was listed is gone")
        return content


def _key(id_: str) -> str:
    return f"accepted#{id_}"


def _index_key(tenant: str) -> str:
    return f"accepted#{tenant}"


def _since(batch: MessageBatch) -> str:
    return f"{batch.created_at.isoformat(timespec='microseconds')}#{batch.id}"


def _lines_key(id_: str) -> str:
    return f"{ACCEPTED_PREFIX}/{id_}.jsonl"


def _batch_in(item: Item) -> MessageBatch:
    lines, ended_at, canceled_at = int(number(item, "lines")), text(item, "ended_at"), text(item, "canceled_at")
    counts = Counts(0, *(int(number(item, name)) for name in ("succeeded", "errored", "canceled")))
    return MessageBatch(
        id=text(item, Table.JOBS_KEY).removeprefix(_key("")),
        tenant=text(item, "tenant"),
        lines=lines,
        created_at=dt.datetime.fromisoformat(text(item, "created_at")),
        canceled_at=dt.datetime.fromisoformat(canceled_at) if canceled_at else None,
        unpacked="unpacked" in item,
        ended=(dt.datetime.fromisoformat(ended_at), counts) if ended_at else None,
    )
