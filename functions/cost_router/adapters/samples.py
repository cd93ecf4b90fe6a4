"""Samples in the results bucket: `samples/DAY/REQUEST_ID.json`, prompts and answers as they were."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Final

from cost_router.adapters.aws import Aws
from cost_router.contract import SAMPLES_PREFIX
from cost_router.core.errors import StoreError
from cost_router.core.pricing import dollars
from cost_router.core.samples import Sample

WRITE_SECONDS: Final = 1.0  # an answer waits for the write at the most; it runs beside the booking


@dataclass(frozen=True, slots=True)
class S3Samples:
    """A `SampleStore` in S3."""

    aws: Aws
    bucket: str

    async def put(self, sample: Sample) -> None:
        """Keep the sample. Raises `StoreError`, also when it takes long."""
        key = f"{SAMPLES_PREFIX}/{sample.day}/{sample.id}.json"
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                content = await asyncio.to_thread(_content, sample)
                await self.aws.call(
                    "s3", "put_object", Bucket=self.bucket, Key=key, Body=content, ContentType="application/json"
                )
        except TimeoutError as error:
            raise StoreError(f"s3.put_object: no reply within {WRITE_SECONDS:.0f} s") from error


def _content(sample: Sample) -> bytes:
    """A sample as JSON; ASCII, so that whatever a prompt holds can be written."""
    return json.dumps(document(sample)).encode()


def document(sample: Sample) -> dict[str, Any]:
    """A sample as it is stored; dollars as decimal strings."""
    return {
        "id": sample.id,
        "at": sample.at.isoformat(timespec="milliseconds"),
        "tenant": sample.tenant,
        "tags": dict(sample.tags),
        "params": dict(sample.params),
        "answer": dict(sample.answer),
        "routed": {
            "label": sample.label.value if sample.label else None,
            "cause": sample.cause,
            "tier": sample.tier.word if sample.tier else None,
            "model": sample.model,
            "arm": sample.arm,
            "cost_usd": dollars(sample.cost_usd),
            "baseline_usd": dollars(sample.baseline_usd),
        },
    }
