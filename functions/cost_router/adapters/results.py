"""The `results` bucket: one JSON object per finished job, at `results/GROUP/CUSTOM_ID.json`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cost_router.adapters.aws import Aws, error_code
from cost_router.adapters.kept import read_object
from cost_router.core.errors import StoreError

THERE: Final = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict"})  # S3's words for: it has one


@dataclass(frozen=True, slots=True)
class S3Results:
    """`Results` in S3."""

    aws: Aws
    bucket: str

    async def read(self, group: str, custom_id: str) -> Mapping[str, Any] | None:
        """The result of a job; None when it has none yet."""
        content = await read_object(self.aws, self.bucket, key(group, custom_id))
        found: Mapping[str, Any] | None = None if content is None else json.loads(content)
        return found

    async def put_first(self, group: str, custom_id: str, result: Mapping[str, Any]) -> None:
        """Keep the result of a job unless it has one, which may have been paid for."""
        try:
            await self.put(group, custom_id, result, IfNoneMatch="*")
        except StoreError as error:
            if error_code(error.__cause__) not in THERE:
                raise

    async def put(self, group: str, custom_id: str, result: Mapping[str, Any], **conditions: str) -> None:
        """Keep the result of a job."""
        await self.aws.call(
            "s3",
            "put_object",
            Bucket=self.bucket,
            Key=key(group, custom_id),
            Body=json.dumps(result, ensure_ascii=False).encode(),
            ContentType="application/json",
            **conditions,
        )


def key(group: str, custom_id: str) -> str:
    """The object key of a job's result."""
    return f"results/{group}/{custom_id}.json"
