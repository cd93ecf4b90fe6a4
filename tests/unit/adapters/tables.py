"""Tables of their own for each test, with the keys of the contract."""

import uuid

from cost_router.adapters.aws import Aws


def make_table(aws: Aws, *keys: str) -> str:
    """A new table whose key attributes, all strings, are `keys`: partition and, if two, sort key."""
    name = f"table-{uuid.uuid4()}"
    kinds = ("HASH", "RANGE")
    aws.client("dynamodb").create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, kinds, strict=False)],
        BillingMode="PAY_PER_REQUEST",
    )
    return name
