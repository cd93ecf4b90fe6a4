"""The `jobs` table: how often a job failed through no fault of its own or of a rate limit.

SQS's own receive count rises with every deferral, so it cannot tell a poisonous job from a patient one.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Final

from cost_router.adapters.aws import Aws
from cost_router.contract import Table

KEPT_FOR: Final = dt.timedelta(days=15)  # one day longer than a message can wait on the queue


@dataclass(frozen=True, slots=True)
class DynamoAttempts:
    """`Attempts` in DynamoDB."""

    aws: Aws
    table: str

    async def failed(self, group: str, custom_id: str, now: dt.datetime) -> int:
        """Count one more failure and return how many there are. Raises `StoreError`."""
        reply = await self.aws.call(
            "dynamodb",
            "update_item",
            TableName=self.table,
            Key={Table.JOBS_KEY: {"S": f"{group}/{custom_id}"}},
            UpdateExpression="ADD attempts :one SET #ttl = :ttl",
            ExpressionAttributeNames={"#ttl": Table.TTL},
            ExpressionAttributeValues={
                ":one": {"N": "1"},
                ":ttl": {"N": str(int((now + KEPT_FOR).timestamp()))},
            },
            ReturnValues="UPDATED_NEW",
        )
        return int(reply["Attributes"]["attempts"]["N"])
