"""Samples: requests of a deployment's own traffic, whole, for people who label them."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from cost_router.core.arms import place
from cost_router.core.record import REQUEST
from cost_router.core.trip import Trip
from cost_router.core.words import AUTO, Label, Tier

WHOLE: Final = 100  # percent


@dataclass(frozen=True, slots=True)
class Sample:
    """One answered request. It holds what no other record does: the prompt and the answer."""

    id: str  # ours, as in the ledger
    at: dt.datetime  # UTC; when it was answered
    tenant: str
    tags: Mapping[str, str]
    params: Mapping[str, Any] = field(repr=False)  # the body as the client sent it, without `router`
    answer: Mapping[str, Any] = field(repr=False)  # Claude's message
    label: Label | None
    cause: str | None
    tier: Tier | None
    model: str | None
    arm: str | None
    cost_usd: Decimal  # all calls made for it
    baseline_usd: Decimal

    @property
    def day(self) -> str:
        """The UTC day, as `YYYY-MM-DD`."""
        return self.at.date().isoformat()


def takes(trip: Trip, percent: int) -> bool:
    """Whether a request is one of the share that is kept: for an answer over HTTPS, left to the router, not exempt.

    The share is a stable hash of the request's id: nothing of the request itself decides.
    """
    request = trip.request
    asked = trip.record.kind == REQUEST and request.model == AUTO and request.may_be_sampled
    return asked and place(f"sample/{request.id}") < percent / WHOLE


def sample_of(trip: Trip, answer: Mapping[str, Any], now: dt.datetime) -> Sample:
    """The sample of a request that has been answered, with what was decided and paid on the way."""
    record, bill = trip.record, trip.trail.bill
    return Sample(
        id=record.request_id,
        at=now,
        tenant=trip.request.tenant.name,
        tags=trip.request.tags,
        params=trip.request.body,
        answer=answer,
        label=record.label,
        cause=record.cause,
        tier=record.tier,
        model=record.model,
        arm=record.arm,
        cost_usd=bill.cost_usd,
        baseline_usd=bill.baseline_usd,
    )
