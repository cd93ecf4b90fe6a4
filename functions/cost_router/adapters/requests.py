"""The `requests` table: receipts of a day, by our id, and beside each a pointer to it by Claude's id.

The pointer costs a second write unit and no second call: both go in one `BatchWriteItem`. An index would cost the same
and could not be read at once.
"""

import asyncio
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from cost_router.adapters.aws import Aws
from cost_router.adapters.ledger_items import read, terms_row, write
from cost_router.contract import Table
from cost_router.core.errors import StoreError
from cost_router.core.ledger import Bill, usage_in
from cost_router.core.pricing import TOKENS
from cost_router.core.receipt import Receipt
from cost_router.core.words import Label, Tier

KEPT_FOR: Final = dt.timedelta(hours=24)
WRITE_SECONDS: Final = 2.0  # an answer waits for the write, which must not hold it up for long
POINTS_TO: Final = "of"


@dataclass(frozen=True, slots=True)
class DynamoRequests:
    """A `RequestLog` in DynamoDB."""

    aws: Aws
    table: str

    async def put(self, receipt: Receipt) -> None:
        """Keep the receipt for 24 hours from the end of its request."""
        ended = receipt.at + dt.timedelta(milliseconds=receipt.latency_ms)
        expires = int((ended + KEPT_FOR).timestamp())
        rows = [{Table.REQUESTS_KEY: receipt.id, Table.TTL: expires, **_row(receipt)}]
        if receipt.upstream_request_id and receipt.upstream_request_id != receipt.id:
            pointer = {Table.REQUESTS_KEY: receipt.upstream_request_id, Table.TTL: expires, POINTS_TO: receipt.id}
            rows.append(pointer)
        puts = [{"PutRequest": {"Item": {name: write(value) for name, value in row.items()}}} for row in rows]
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                reply = await self.aws.call("dynamodb", "batch_write_item", RequestItems={self.table: puts})
        except TimeoutError as error:
            raise StoreError(f"dynamodb.batch_write_item: no reply within {WRITE_SECONDS:.0f} s") from error
        if reply.get("UnprocessedItems"):
            raise StoreError("dynamodb.batch_write_item: UnprocessedItems")

    async def get(self, id_: str, now: dt.datetime) -> Receipt | None:
        """The receipt, unless there is none or it has expired: DynamoDB deletes expired items days late."""
        row = await self._row(id_, now)
        if row and POINTS_TO in row:
            row = await self._row(row[POINTS_TO], now)
        return _receipt(row) if row else None

    async def _row(self, id_: str, now: dt.datetime) -> Mapping[str, Any] | None:
        key = {Table.REQUESTS_KEY: {"S": id_}}
        reply = await self.aws.call("dynamodb", "get_item", TableName=self.table, Key=key, ConsistentRead=True)
        row = read(reply.get("Item", {}))
        return row if row and row[Table.TTL] > now.timestamp() else None


def _row(receipt: Receipt) -> dict[str, Any]:
    """The attributes of a receipt, tokens as in the ledger; nothing where there is nothing to say."""
    told = {
        "at": receipt.at.isoformat(timespec="milliseconds"),
        "tenant": receipt.tenant,
        "tags": dict(receipt.tags),
        "status": receipt.status,
        "error": receipt.error,
        "model": receipt.model,
        "tier": receipt.tier.word if receipt.tier else None,
        "label": receipt.label.value if receipt.label else None,
        "cause": receipt.cause,
        "adapted": list(receipt.adapted),
        "upstream_request_id": receipt.upstream_request_id,
        **{bucket: getattr(receipt.usage, bucket) for bucket in TOKENS},
        **terms_row(receipt.usage),
        "cost_usd": receipt.bill.cost_usd,
        "classifier_cost_usd": receipt.bill.classifier_cost_usd,
        "baseline_usd": receipt.bill.baseline_usd,
        "cache_saved_usd": receipt.bill.cache_saved_usd or None,
        "ambiguous": receipt.ambiguous,
        "latency_ms": receipt.latency_ms,
        "arm": receipt.arm,
    }
    return {name: value for name, value in told.items() if value is not None}


def _receipt(row: Mapping[str, Any]) -> Receipt:
    """The receipt whose attributes `_row` gave."""
    return Receipt(
        id=row[Table.REQUESTS_KEY],
        at=dt.datetime.fromisoformat(row["at"]),
        tenant=row["tenant"],
        tags=row["tags"],
        status=row["status"],
        error=row.get("error"),
        model=row.get("model"),
        tier=Tier.parse(row["tier"]) if row.get("tier") else None,
        label=Label(row["label"]) if row.get("label") else None,
        cause=row.get("cause"),
        adapted=tuple(row["adapted"]),
        upstream_request_id=row.get("upstream_request_id"),
        usage=usage_in(row),
        bill=Bill(
            row["cost_usd"],
            row["classifier_cost_usd"],
            row["baseline_usd"],
            row.get("cache_saved_usd", Decimal(0)),
        ),
        ambiguous=int(row["ambiguous"]),
        latency_ms=int(row["latency_ms"]),
        arm=row.get("arm"),
    )
