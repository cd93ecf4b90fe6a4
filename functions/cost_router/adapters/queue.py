"""The jobs queue, as seen by the functions: put a job back for later, set it aside, send one that was held."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cost_router.adapters.aws import Aws
from cost_router.core.groups import queue_group
from cost_router.core.job_ports import HeldJob

LONGEST: Final = 43_200  # seconds, SQS's limit of a visibility timeout
TOGETHER: Final = 10  # messages of one call


@dataclass(frozen=True, slots=True)
class SqsQueue:
    """The jobs queue and its dead-letter queue."""

    aws: Aws
    url: str
    dead_letter_url: str = ""

    async def defer(self, receipt_handle: str, seconds: float) -> None:
        """Show the message again after `seconds` (whole, 43,200 at the most). Raises `StoreError`."""
        await self.aws.call(
            "sqs",
            "change_message_visibility",
            QueueUrl=self.url,
            ReceiptHandle=receipt_handle,
            VisibilityTimeout=_whole(seconds),
        )

    async def claim(self, receipt_handles: Sequence[str], seconds: float) -> None:
        """Show messages again after `seconds`, unless they are done by then. Raises `StoreError`."""
        for start in range(0, len(receipt_handles), TOGETHER):
            rows, hidden = enumerate(receipt_handles[start : start + TOGETHER]), _whole(seconds)
            entries = [
                {"Id": str(place), "ReceiptHandle": handle, "VisibilityTimeout": hidden} for place, handle in rows
            ]
            await self.aws.call("sqs", "change_message_visibility_batch", QueueUrl=self.url, Entries=entries)

    async def put_back(self, jobs: Sequence[HeldJob]) -> list[HeldJob]:
        """Send a message for each job; gives those that the queue has now. Raises `StoreError`."""
        sent: list[HeldJob] = []
        for start in range(0, len(jobs), TOGETHER):
            rows = jobs[start : start + TOGETHER]
            entries = [
                {
                    "Id": str(place),
                    "MessageBody": json.dumps({"job": job.job}),
                    "MessageGroupId": queue_group(job.tenant, job.group),
                }
                for place, job in enumerate(rows)
            ]
            reply = await self.aws.call("sqs", "send_message_batch", QueueUrl=self.url, Entries=entries)
            sent += [rows[int(row["Id"])] for row in reply.get("Successful", ())]
        return sent

    async def set_aside(self, body: str, reason: str) -> None:
        """Put a copy on the dead-letter queue with the reason. Raises `StoreError`."""
        await self.aws.call(
            "sqs",
            "send_message",
            QueueUrl=self.dead_letter_url,
            MessageBody=body,
            MessageAttributes={"reason": {"DataType": "String", "StringValue": reason}},
        )


def _whole(seconds: float) -> int:
    return min(LONGEST, max(0, round(seconds)))
