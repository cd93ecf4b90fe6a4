"""Answers that are too large to be sent: `answers/TENANT/REQUEST_ID.json`, or `.sse`, in the results bucket."""

from dataclasses import dataclass
from typing import Final

from cost_router.adapters.aws import Aws
from cost_router.contract import ANSWERS_PREFIX

URL_SECONDS: Final = 3_600


@dataclass(frozen=True, slots=True)
class S3Answers:
    """`LargeAnswers` in S3."""

    aws: Aws
    bucket: str

    async def keep(self, tenant: str, name: str, content: bytes, media_type: str) -> tuple[str, str]:
        """Keep an answer; gives its location, and a URL with which anybody can get it for an hour.

        The URL is signed with the function's own role: it ends with the role's session, should that be sooner. Raises
        `StoreError`.
        """
        there = {"Bucket": self.bucket, "Key": f"{ANSWERS_PREFIX}/{tenant}/{name}"}
        await self.aws.call("s3", "put_object", **there, Body=content, ContentType=media_type)
        url = await self.aws.call(
            "s3", "generate_presigned_url", ClientMethod="get_object", Params=there, ExpiresIn=URL_SECONDS
        )
        return f"s3://{there['Bucket']}/{there['Key']}", str(url)
