"""Samples in the results bucket."""

import asyncio
import json
import time
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from cost_router.adapters import samples
from cost_router.adapters.aws import Aws
from cost_router.adapters.samples import S3Samples
from cost_router.core.errors import StoreError
from cost_router.core.samples import Sample
from cost_router.core.words import Label, Tier
from tests.builders import NOW, message_body, run

SAMPLE = Sample(
    id="req_1",
    at=NOW,
    tenant="acme",
    tags={"team": "shop"},
    params=message_body("\ud800 half a character, and \u202e"),
    answer={"content": [{"type": "text", "text": "the answer"}]},
    label=Label.SIMPLE,
    cause="classifier",
    tier=Tier.HAIKU,
    model="claude-haiku-5-5",
    arm=None,
    cost_usd=Decimal("0.0000310"),
    baseline_usd=Decimal("0.00124"),
)


@dataclass
class Bucket:
    """A client of S3 whose writes go nowhere."""

    down: bool = False
    puts: list[dict[str, Any]] = field(default_factory=list)

    def put_object(self, **arguments: Any) -> None:
        if self.down:
            raise ReadTimeoutError(endpoint_url="https://s3.test")
        self.puts.append(arguments)


def test_a_sample_is_one_object_under_its_day_whatever_its_prompt_holds() -> None:
    bucket = Bucket()
    run(S3Samples(Aws({"s3": bucket}), "results-bucket").put(SAMPLE))
    [put] = bucket.puts
    assert (put["Bucket"], put["Key"]) == ("results-bucket", "samples/2026-11-23/req_1.json")
    assert json.loads(put["Body"]) == {
        "id": "req_1",
        "at": "2026-11-23T12:00:00.000+00:00",
        "tenant": "acme",
        "tags": {"team": "shop"},
        "params": SAMPLE.params,
        "answer": SAMPLE.answer,
        "routed": {
            "label": "simple",
            "cause": "classifier",
            "tier": "haiku",
            "model": "claude-haiku-5-5",
            "arm": None,
            "cost_usd": "0.000031",
            "baseline_usd": "0.00124",
        },
    }
    assert put["Body"].isascii()


def test_a_bucket_out_of_reach_is_a_store_error() -> None:
    with pytest.raises(StoreError, match=r"^s3\.put_object: ReadTimeoutError$"):
        run(S3Samples(Aws({"s3": Bucket(down=True)}), "results-bucket").put(SAMPLE))


def test_a_write_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hung(*_arguments: object, **_more: object) -> None:
        await asyncio.Event().wait()

    aws = Aws({})
    monkeypatch.setattr(samples, "WRITE_SECONDS", 0.01)
    monkeypatch.setattr(aws, "call", hung)
    began = time.monotonic()
    with pytest.raises(StoreError, match="no reply within"):
        run(S3Samples(aws, "results-bucket").put(SAMPLE))
    assert time.monotonic() - began < 2
