"""The `labels` table: labels by keyed hash, with a time to live."""

import datetime as dt
from dataclasses import dataclass

from cost_router.adapters.aws import Aws
from cost_router.contract import Table
from cost_router.core.words import Label


@dataclass(frozen=True, slots=True)
class DynamoLabels:
    """A `LabelStore` in DynamoDB."""

    aws: Aws
    table: str
    ttl: dt.timedelta

    async def get(self, key: str, now: dt.datetime) -> Label | None:
        """The label, unless there is none or it has expired: DynamoDB deletes expired items days late."""
        reply = await self.aws.call("dynamodb", "get_item", TableName=self.table, Key={Table.LABELS_KEY: {"S": key}})
        item = reply.get("Item")
        if item is None or int(item[Table.TTL]["N"]) <= now.timestamp():
            return None
        word = item["label"]["S"]
        return Label(word) if word in set(Label) else None  # written by another version: a miss

    async def put(self, key: str, label: Label, now: dt.datetime) -> None:
        """Keep the label for the time to live."""
        expires = int((now + self.ttl).timestamp())
        item = {Table.LABELS_KEY: {"S": key}, "label": {"S": label.value}, Table.TTL: {"N": str(expires)}}
        await self.aws.call("dynamodb", "put_item", TableName=self.table, Item=item)
