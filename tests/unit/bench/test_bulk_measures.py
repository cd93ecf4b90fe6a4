"""The arithmetic behind the measures of the bulk lane."""

from collections import Counter
from decimal import Decimal

import pytest

from infra.bench.costs import Counted, prices
from infra.bench.load import level
from infra.bench.measures import Measure


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (0.0, 100.0),  # 20 s worth of 5 a second: full
        (1.0, 75.0),  # 30 taken at 0, 5 flowed in
        (7.0, 100.0),  # full again after six seconds, and not fuller
        (11.0, 65.0),  # 40 taken at 10
    ],
)
def test_a_bucket_is_full_at_first_and_never_fuller(at: float, expected: float) -> None:
    assert level([(0.0, 30.0), (10.0, 40.0)], at, 5.0) == expected


@pytest.mark.parametrize(("value", "least", "reached"), [(0.95, True, True), (0.94, True, False), (0.96, False, False)])
def test_a_target_is_the_least_or_the_most(value: float, least: bool, reached: bool) -> None:  # noqa: FBT001  columns
    assert Measure("m", value, "x", 0.95, "", least=least).reached is reached


def test_a_million_jobs_cost_what_their_calls_cost() -> None:
    calls = Counter({"s3.PutObject": 100, "s3.GetObject": 100, "sqs.ChangeMessageVisibilityBatch": 10})
    total, parts = prices(Counted(calls, write_units=2_000, read_units=800, cpu_seconds=1.0, jobs=100), "batch")
    # Lambda 0.0667 + 0.02, DynamoDB 12.5 + 1, S3 5 + 0.4, SQS 0.4 * 0.4, logs 1
    assert total == Decimal("20.146667")
    assert "20.0 write units, 1.0 PUTs a job" in parts
