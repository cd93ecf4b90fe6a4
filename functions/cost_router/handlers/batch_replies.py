"""What is told of a batch: its row, and its results line by line."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from cost_router.core.errors import DeadlinePassed
from cost_router.core.message_batches import Counts, MessageBatch

PATH: Final = "/v1/messages/batches"


@dataclass(frozen=True, slots=True)
class Standing:
    """A batch and how far it is."""

    batch: MessageBatch
    counts: Counts


def batch_row(standing: Standing, base: str) -> dict[str, Any]:
    """A batch as the API shows it; unlike there its counts move while it is in progress."""
    batch, counts = standing.batch, standing.counts
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": batch.status,
        "request_counts": {
            "processing": counts.processing,
            "succeeded": counts.succeeded,
            "errored": counts.errored,
            "canceled": counts.canceled,
            "expired": 0,
        },
        "created_at": _time(batch.created_at),
        "expires_at": _time(batch.expires_at),
        "ended_at": _time(batch.ended[0]) if batch.ended else None,
        "cancel_initiated_at": _time(batch.canceled_at) if batch.canceled_at else None,
        "archived_at": None,
        "results_url": f"{base}{PATH}/{batch.id}/results" if batch.ended else None,
    }


async def joined(lines: AsyncIterator[bytes], batch: MessageBatch, seconds: float) -> bytes:
    """All lines of a batch's results as one body, within `seconds`; raises `DeadlinePassed`."""
    try:
        async with asyncio.timeout(seconds):
            return b"".join([line async for line in lines])
    except TimeoutError:
        raise DeadlinePassed(
            f"the results of {batch.lines} lines could not be read in time; accepted: a deployment with "
            f"streaming=true, or `cost-router results {batch.id}`"
        ) from None


async def json_lines(first: bytes, rows: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Results as lines, the first of which has been read."""
    yield first + b"\n"
    async for row in rows:
        yield row + b"\n"


def _time(at: dt.datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
