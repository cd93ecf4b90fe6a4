"""The jobs queue, as seen by the function that drains it: put a job back for later, or set it aside."""

from dataclasses import dataclass

from cost_router.adapters.aws import Aws


@dataclass(frozen=True, slots=True)
class SqsQueue:
    """The jobs queue and its dead-letter queue."""

    aws: Aws
    url: str
    dead_letter_url: str

    async def defer(self, receipt_handle: str, seconds: float) -> None:
        """Show the message again after `seconds` (whole, 43,200 at the most). Raises `StoreError`."""
        await self.aws.call(
            "sqs",
            "change_message_visibility",
            QueueUrl=self.url,
            ReceiptHandle=receipt_handle,
            VisibilityTimeout=min(43_200, max(0, round(seconds))),
        )

    async def set_aside(self, body: str, reason: str) -> None:
        """Put a copy on the dead-letter queue with the reason. Raises `StoreError`."""
        await self.aws.call(
            "sqs",
            "send_message",
            QueueUrl=self.dead_letter_url,
            MessageBody=body,
            MessageAttributes={"reason": {"DataType": "String", "StringValue": reason}},
        )
