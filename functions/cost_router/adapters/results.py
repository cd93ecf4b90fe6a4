"""The `results` bucket: one JSON object per finished job, at `results/GROUP/CUSTOM_ID.json`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cost_router.adapters.aws import Aws, error_code
from cost_router.core.errors import StoreError


@dataclass(frozen=True, slots=True)
class S3Results:
    """`Results` in S3."""

    aws: Aws
    bucket: str

    async def exists(self, group: str, custom_id: str) -> bool:
        """Whether the job has a result already."""
        try:
            await self.aws.call("s3", "head_object", Bucket=self.bucket, Key=key(group, custom_id))
        except StoreError as error:
            if error_code(error.__cause__) in {"404", "NoSuchKey", "NotFound"}:
                return False
            raise
        return True

    async def put(self, group: str, custom_id: str, result: Mapping[str, Any]) -> None:
        """Keep the result of a job."""
        await self.aws.call(
            "s3",
            "put_object",
            Bucket=self.bucket,
            Key=key(group, custom_id),
            Body=json.dumps(result, ensure_ascii=False).encode(),
            ContentType="application/json",
        )


def key(group: str, custom_id: str) -> str:
    """The object key of a job's result."""
    return f"results/{group}/{custom_id}.json"
