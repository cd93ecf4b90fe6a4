"""The cost report: the ledger's entries of a day, summed.

A request's classifier and failed calls count for the model, tier and label that answered it, so that savings are net of
what routing itself cost.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from boto3.dynamodb.types import TypeDeserializer

from cost_router.contract import Table
from cost_router.core.pricing import dollars
from infra.operate.target import Target

BY: Final = ("model", "tier", "label", "tenant")
TOKENS: Final = (
    "input_tokens",
    "cache_read_input_tokens",
    "cache_creation_5m_input_tokens",
    "cache_creation_1h_input_tokens",
    "output_tokens",
)
Row = Mapping[str, Any]
_read = TypeDeserializer().deserialize


class BadReport(ValueError):
    """The report cannot be made as asked; the message quotes the value."""


@dataclass(slots=True)
class Figures:
    """Sums over calls; dollars are exact."""

    requests: int = 0
    cost_usd: Decimal = Decimal(0)
    classifier_cost_usd: Decimal = Decimal(0)
    baseline_usd: Decimal = Decimal(0)

    def add(self, entry: Row) -> None:
        """Count one entry."""
        self.requests += entry["purpose"] == "answer" and "ambiguous" not in entry["flags"]
        self.cost_usd += entry["cost_usd"]
        self.classifier_cost_usd += entry["cost_usd"] if entry["purpose"] == "classifier" else Decimal(0)
        self.baseline_usd += entry["baseline_usd"]

    @property
    def saved_usd(self) -> Decimal:
        """What the same answers would have cost on opus, less everything paid."""
        return self.baseline_usd - self.cost_usd

    def json(self) -> dict[str, Any]:
        """The figures of DESIGN section 8; dollars as decimal strings."""
        return {
            "requests": self.requests,
            "cost_usd": dollars(self.cost_usd),
            "classifier_cost_usd": dollars(self.classifier_cost_usd),
            "baseline_usd": dollars(self.baseline_usd),
            "saved_usd": dollars(self.saved_usd),
        }


def read_entries(target: Target, day: dt.date) -> list[dict[str, Any]]:
    """The ledger's entries of a UTC day."""
    pages = (
        target.client("dynamodb")
        .get_paginator("query")
        .paginate(
            TableName=target.tables["ledger"],
            KeyConditionExpression="#pk = :pk",
            ExpressionAttributeNames={"#pk": Table.LEDGER_PK},
            ExpressionAttributeValues={":pk": {"S": f"entries#{day.isoformat()}"}},
        )
    )
    return [{name: _read(value) for name, value in item.items()} for page in pages for item in page["Items"]]


def totals(entries: Iterable[Row]) -> Figures:
    """The sum of all entries."""
    figures = Figures()
    for entry in entries:
        figures.add(entry)
    return figures


def rows(entries: Sequence[Row], by: str) -> dict[str, Figures]:
    """Figures by `model`, `tier`, `label`, `tenant` or `tag:NAME`, dearest first; raises `BadReport`."""
    if by not in BY and not by.startswith("tag:"):
        raise BadReport(f"by={by!r}; accepted: {', '.join(BY)}, tag:NAME")
    answers = {entry["request_id"]: entry for entry in sorted(entries, key=lambda entry: entry["entry_id"])}
    answers |= {entry["request_id"]: entry for entry in entries if entry["purpose"] == "answer"}
    found: dict[str, Figures] = defaultdict(Figures)
    for entry in entries:
        found[_key(answers[entry["request_id"]], by)].add(entry)
    return dict(sorted(found.items(), key=lambda pair: pair[1].cost_usd, reverse=True))


def report(entries: Sequence[Row], day: dt.date, by: str) -> dict[str, Any]:
    """The report as JSON."""
    return {
        "day": day.isoformat(),
        "currency": "USD",
        "totals": totals(entries).json(),
        "rows": [{"key": key, **figures.json()} for key, figures in rows(entries, by).items()],
    }


def tokens(entries: Iterable[Row], purpose: str) -> int:
    """All tokens of the calls made for a purpose."""
    return sum(int(entry[name]) for entry in entries if entry["purpose"] == purpose for name in TOKENS)


def _key(answer: Row, by: str) -> str:
    if by.startswith("tag:"):
        return str(answer["tags"].get(by.removeprefix("tag:"), "(none)"))
    return str(answer.get(by) or "(none)")
