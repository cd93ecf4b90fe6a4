"""What somebody says of an answer, joined with what the router knows of its request."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from cost_router.core.receipt import Receipt
from cost_router.core.words import Label, Tier


@dataclass(frozen=True, slots=True)
class Feedback:
    """How good an answer was. score: 0 (useless) to 1 (perfect), as it was given."""

    request_id: str  # ours, as in the ledger
    at: dt.datetime  # UTC; when the request came
    given_at: dt.datetime  # UTC
    tenant: str  # of the request
    tags: Mapping[str, str]
    arm: str | None
    label: Label | None
    tier: Tier | None
    model: str | None
    cause: str | None
    cost_usd: Decimal  # all calls made for the request
    baseline_usd: Decimal
    score: Decimal
    comment: str | None = field(default=None, repr=False)  # a person's words: for no log and no metric

    @property
    def day(self) -> str:
        """The UTC day of the request, as `YYYY-MM-DD`."""
        return self.at.date().isoformat()


def feedback_on(receipt: Receipt, score: Decimal, comment: str | None, now: dt.datetime) -> Feedback:
    """The feedback on the request of a receipt, given at `now`."""
    return Feedback(
        request_id=receipt.id,
        at=receipt.at,
        given_at=now,
        tenant=receipt.tenant,
        tags=receipt.tags,
        arm=receipt.arm,
        label=receipt.label,
        tier=receipt.tier,
        model=receipt.model,
        cause=receipt.cause,
        cost_usd=receipt.bill.cost_usd,
        baseline_usd=receipt.bill.baseline_usd,
        score=score,
        comment=comment,
    )
