"""What AWS asks for a million jobs, from what some hundred jobs asked of it.

List prices of us-east-1, November 2026, free tiers left out; Claude's own price is not in it.
"""

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

MILLION: Final = 1_000_000
LAMBDA_GB_SECOND: Final = Decimal("0.0000133334")  # arm64
LAMBDA_REQUEST: Final = Decimal("0.20") / MILLION
MEMORY_GB: Final = Decimal("0.5")
SQS_REQUEST: Final = Decimal("0.40") / MILLION
SQS_PER_JOB: Final = Decimal("0.3")  # sent, received and deleted in tens
WRITE_UNIT: Final = Decimal("0.625") / MILLION
READ_UNIT: Final = Decimal("0.125") / MILLION
S3_PUT: Final = Decimal("5.00") / MILLION
S3_GET: Final = Decimal("0.40") / MILLION
LOGS_PER_JOB: Final = Decimal("0.50") * 2 / MILLION  # $0.50 a GB, about 2 kB a job: its line and its metrics
CLAUDE_SECONDS: Final = Decimal(2)  # that an answer is assumed to take; ten calls wait in one invocation
AT_ONCE: Final = 10


@dataclass(frozen=True, slots=True)
class Counted:
    """What jobs asked of AWS: calls by `service.operation`, units of DynamoDB, CPU seconds."""

    calls: Counter[str]
    write_units: int
    read_units: int
    cpu_seconds: float
    jobs: int


def prices(counted: Counted, lane: str) -> tuple[Decimal, str]:
    """Dollars for a million jobs, and what they are made of."""
    jobs = Decimal(counted.jobs)
    waiting = CLAUDE_SECONDS / AT_ONCE if lane == "direct" else Decimal(0)
    seconds = Decimal(repr(counted.cpu_seconds)) / jobs + waiting
    sqs = sum(count for name, count in counted.calls.items() if name.startswith("sqs."))
    puts = counted.calls["s3.PutObject"]
    parts = {
        "Lambda": seconds * MEMORY_GB * LAMBDA_GB_SECOND + LAMBDA_REQUEST / AT_ONCE,
        "DynamoDB": (counted.write_units * WRITE_UNIT + counted.read_units * READ_UNIT) / jobs,
        "S3": (puts * S3_PUT + counted.calls["s3.GetObject"] * S3_GET) / jobs,
        "SQS": (Decimal(sqs) / jobs + SQS_PER_JOB) * SQS_REQUEST,
        "logs": LOGS_PER_JOB,
    }
    total = sum(parts.values(), Decimal(0)) * MILLION
    told = ", ".join(f"{name} ${amount * MILLION:.2f}" for name, amount in parts.items())
    units = f"{counted.write_units / counted.jobs:.1f} write units, {puts / counted.jobs:.1f} PUTs a job"
    return total, f"{told}; {units}; Claude answers in {CLAUDE_SECONDS} s, {AT_ONCE} at once"
