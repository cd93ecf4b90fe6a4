"""Feedback in the `ledger` table: partition `feedback#DAY` of the request's UTC day, sort key the request's id.

It stands beside the ledger's entries of the same day and has their attributes by the same names, so that reports sum
both by the same keys. The last feedback on a request replaces those before.
"""

from dataclasses import dataclass
from typing import Any

from cost_router.adapters.aws import Aws
from cost_router.adapters.ledger_items import key, write
from cost_router.contract import FEEDBACK_PARTITION
from cost_router.core.feedback import Feedback


@dataclass(frozen=True, slots=True)
class DynamoFeedback:
    """A `FeedbackStore` in DynamoDB."""

    aws: Aws
    table: str

    async def put(self, feedback: Feedback) -> None:
        """Keep the feedback, in place of what was said of the same request before. Raises `StoreError`."""
        address = f"{FEEDBACK_PARTITION}#{feedback.day}", feedback.request_id
        item = {name: write(value) for name, value in row(feedback).items() if value is not None}
        await self.aws.call("dynamodb", "put_item", TableName=self.table, Item={**key(address), **item})


def row(feedback: Feedback) -> dict[str, Any]:
    """The attributes of a feedback, named as those of ledger entries; None where there is nothing to say."""
    return {
        "request_id": feedback.request_id,
        "at": feedback.at.isoformat(timespec="milliseconds"),
        "given_at": feedback.given_at.isoformat(timespec="milliseconds"),
        "tenant": feedback.tenant,
        "tags": dict(feedback.tags),
        "arm": feedback.arm,
        "label": feedback.label.value if feedback.label else None,
        "tier": feedback.tier.word if feedback.tier else None,
        "model": feedback.model,
        "cause": feedback.cause,
        "cost_usd": feedback.cost_usd,
        "baseline_usd": feedback.baseline_usd,
        "score": feedback.score,
        "comment": feedback.comment,
    }
