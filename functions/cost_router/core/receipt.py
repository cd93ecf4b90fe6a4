"""What one request cost and why it ran where it did, as its caller may ask for afterwards."""

import asyncio
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cost_router.core.errors import RouterError, UpstreamError, anthropic_shape
from cost_router.core.ledger import AMBIGUOUS, Bill
from cost_router.core.pricing import Usage
from cost_router.core.trip import Trip
from cost_router.core.words import Label, Tier

ANSWERED: Final = "answered"
FAILED: Final = "failed"
ABANDONED: Final = "abandoned"  # whoever waited for the answer had gone, or the process ended


@dataclass(frozen=True, slots=True)
class Receipt:
    """One request for an answer. Nothing of its prompt or its answer is in it."""

    id: str  # ours, as in `x-router-request-id`, ledger and logs
    at: dt.datetime  # UTC; when it came
    tenant: str
    tags: Mapping[str, str]
    status: str  # "answered", "failed" or "abandoned"
    error: str | None  # of one that failed: the type in its reply
    model: str | None
    tier: Tier | None
    label: Label | None
    cause: str | None
    adapted: tuple[str, ...]  # what of the body was changed for the model
    upstream_request_id: str | None  # Claude's id of the call that answered, or that failed last
    usage: Usage  # of the answer
    bill: Bill  # all calls made for it
    ambiguous: int  # how many of them are booked at their upper bound
    latency_ms: int  # until it was known what it cost
    arm: str | None = None  # which way to decide was taken, while there is a choice


def receipt_of(trip: Trip, now: dt.datetime, seconds: float, error: BaseException | None) -> Receipt | None:
    """The receipt of a request that ends after `seconds`, with an error or none.

    None for one that ended before anything was decided or paid.
    """
    record = trip.record
    if not (record.model or record.label or trip.trail.entries):
        return None
    return Receipt(
        id=record.request_id,
        at=now - dt.timedelta(seconds=seconds),
        tenant=trip.request.tenant.name,
        tags=trip.request.tags,
        status=_status(error),
        error=_kind(error),
        model=record.model,
        tier=record.tier,
        label=record.label,
        cause=record.cause,
        adapted=tuple(record.adapted),
        upstream_request_id=record.upstream_request_id or _upstream_id(error),
        usage=record.usage,
        bill=trip.trail.bill,
        ambiguous=sum(AMBIGUOUS in entry.flags for entry in trip.trail.entries),
        latency_ms=round(seconds * 1000),
        arm=record.arm,
    )


def _status(error: BaseException | None) -> str:
    if error is None:
        return ANSWERED
    return ABANDONED if isinstance(error, asyncio.CancelledError) else FAILED


def _kind(error: BaseException | None) -> str | None:
    if error is None or isinstance(error, asyncio.CancelledError):
        return None
    return str(anthropic_shape(error)["error"].get("type")) if isinstance(error, RouterError) else RouterError.kind


def _upstream_id(error: BaseException | None) -> str | None:
    return error.request_id if isinstance(error, UpstreamError) else None
