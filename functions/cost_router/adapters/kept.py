"""Messages of jobs that wait away from the queue: `batches/REQUEST_ID.json` in the results bucket, prompts and all."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError

from cost_router.adapters.aws import Aws, error_code
from cost_router.adapters.jobs_table import JobsTable, names_message
from cost_router.contract import BATCH_PREFIX
from cost_router.core.errors import StoreError
from cost_router.core.wire import encode

MISSING = frozenset({"404", "NoSuchKey", "NotFound"})


@dataclass(frozen=True, slots=True)
class KeptMessages:
    """Messages by id. All methods raise `StoreError`."""

    aws: Aws
    bucket: str

    async def write(self, id_: str, message: Mapping[str, Any]) -> None:
        """Keep a message. Raises `InvalidRequest` when it cannot be written as JSON in UTF-8."""
        await self.aws.call("s3", "put_object", Bucket=self.bucket, Key=_key(id_), Body=encode(message))

    async def read(self, id_: str) -> bytes | None:
        """The message; None when it is gone."""
        return await read_object(self.aws, self.bucket, _key(id_))

    async def forget(self, id_: str) -> None:
        """Delete the message, if it is there."""
        await self.aws.call("s3", "delete_object", Bucket=self.bucket, Key=_key(id_))

    async def forget_unless_named(self, table: JobsTable, job: str, *ids: str | None) -> None:
        """Delete those messages that their job does not wait with: somebody else may have it, and need one of them."""
        known = [id_ for id_ in ids if id_]
        item = await table.item(job) if known else {}
        for id_ in known:
            if not names_message(item, id_):
                await self.forget(id_)


async def read_object(aws: Aws, bucket: str, key: str) -> bytes | None:
    """The content of an object; None when it is not there. Raises `StoreError`."""
    try:
        reply = await aws.call("s3", "get_object", Bucket=bucket, Key=key)
    except StoreError as error:
        if error_code(error.__cause__) in MISSING:
            return None
        raise
    try:
        content: bytes = await asyncio.to_thread(reply["Body"].read)
    except BotoCoreError as error:
        raise StoreError(f"s3.get_object: {error_code(error)}") from error
    return content


def _key(id_: str) -> str:
    return f"{BATCH_PREFIX}/{id_}.json"


@dataclass(frozen=True, slots=True)
class LargeParams:
    """Params that were too large for a message, where their sender put them in the results bucket."""

    aws: Aws
    bucket: str

    async def read(self, key: str) -> bytes | None:
        """The object; None when it is not there. Raises `StoreError`."""
        return await read_object(self.aws, self.bucket, key)
