"""What was said of answers (`POST /v1/feedback`), by the keys of the cost report."""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from cost_router.adapters.ledger_items import partition, read
from cost_router.contract import FEEDBACK_PARTITION
from cost_router.core.ports import Row
from cost_router.core.spend import key_of
from infra.operate.target import Target

SHOWN: Final = Decimal("0.001")


@dataclass(slots=True)
class Rated:
    """Requests that feedback was given on. total: the sum of their scores."""

    requests: int = 0
    total: Decimal = Decimal(0)

    @property
    def mean(self) -> Decimal | None:
        """The mean score, 0 to 1, to a thousandth; None without any."""
        return (self.total / self.requests).quantize(SHOWN) if self.requests else None

    def add(self, feedback: Row) -> None:
        """Count one feedback."""
        self.requests += 1
        self.total += feedback["score"]

    def json(self) -> dict[str, Any]:
        """Count and mean; the mean as a decimal string, null without any."""
        return {"requests": self.requests, "mean_score": None if self.mean is None else str(self.mean)}


def read_feedback(target: Target, days: Iterable[dt.date]) -> list[Row]:
    """The feedback on the requests of these UTC days."""
    query = target.client("dynamodb").get_paginator("query")
    return [
        read(item)
        for day in days
        for page in query.paginate(**partition(target.tables["ledger"], f"{FEEDBACK_PARTITION}#{day.isoformat()}"))
        for item in page["Items"]
    ]


def rated(feedback: Iterable[Row]) -> Rated:
    """All of it together."""
    found = Rated()
    for row in feedback:
        found.add(row)
    return found


def rated_by(feedback: Iterable[Row], by: str) -> dict[str, Rated]:
    """By `model`, `tier`, `label`, ... as in the cost report, the worst first."""
    found: dict[str, Rated] = defaultdict(Rated)
    for row in feedback:
        found[key_of(row, by)].add(row)
    return dict(sorted(found.items(), key=lambda pair: (pair[1].total / pair[1].requests, pair[0])))


def feedback_json(feedback: Iterable[Row], by: str) -> dict[str, Any]:
    """As `cost-router report --json` has it; no comment is in it."""
    rows = list(feedback)
    keyed = [{"key": key, **found.json()} for key, found in rated_by(rows, by).items()]
    return {**rated(rows).json(), "rows": keyed}
