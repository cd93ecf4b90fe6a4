"""The cost report: the ledger's entries of one or more UTC days, summed.

A request's classifier and failed calls count for the model, tier and label that answered it, so that savings are net of
what routing itself cost.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any, Final

from boto3.dynamodb.types import TypeDeserializer

from cost_router.contract import Table
from cost_router.core.errors import InvalidRequest
from cost_router.core.ledger import AMBIGUOUS, REVERSAL, SWEPT
from cost_router.core.ports import Row
from cost_router.core.pricing import TOKENS, dollars
from cost_router.core.spend import BY, Figures, check_by, summed
from infra.operate.arms import Comparison, side_by_side
from infra.operate.feedback import feedback_json
from infra.operate.target import Target

MOST_DAYS: Final = 366
HOUR: Final = dt.timedelta(hours=1)
A_DAY: Final = dt.timedelta(days=1)
MICROSECOND: Final = dt.timedelta(microseconds=1)
MICRO_DOLLAR: Final = Decimal("0.000001")
_read = TypeDeserializer().deserialize


class BadReport(ValueError):
    """The report cannot be made as asked; the message quotes the value."""


def read_entries(target: Target, day: dt.date) -> list[dict[str, Any]]:
    """The ledger's entries of a UTC day."""
    return read_days(target, [day])[day]


def read_days(target: Target, days: Iterable[dt.date]) -> dict[dt.date, list[dict[str, Any]]]:
    """The ledger's entries of each UTC day, in the order of `days`."""
    query = target.client("dynamodb").get_paginator("query")
    found = {}
    for day in days:
        pages = query.paginate(
            TableName=target.tables["ledger"],
            KeyConditionExpression="#pk = :pk",
            ExpressionAttributeNames={"#pk": Table.LEDGER_PK},
            ExpressionAttributeValues={":pk": {"S": f"entries#{day.isoformat()}"}},
        )
        items = (item for page in pages for item in page["Items"])
        found[day] = [{name: _read(value) for name, value in item.items()} for item in items]
    return found


def totals(entries: Iterable[Row]) -> Figures:
    """The sum of all entries."""
    return summed(entries, BY[0]).total


def rows(entries: Iterable[Row], by: str) -> dict[str, Figures]:
    """Figures by `model`, `tier`, `label`, `tenant`, `group` or `tag:NAME`, dearest first; raises `BadReport`."""
    try:
        return summed(entries, check_by(by)).rows()
    except InvalidRequest as error:
        raise BadReport(str(error)) from error


def days_asked(day: str | None, count: int | None, today: dt.date) -> list[dt.date]:
    """The days of a report, oldest first: one day, or the last `count` with today; raises `BadReport`."""
    if day is not None and count is not None:
        raise BadReport(f"--day {day!r} and --days {count} contradict each other; give one of them")
    if count is not None and not 1 <= count <= MOST_DAYS:
        raise BadReport(f"days {count}; accepted: 1 to {MOST_DAYS}")
    if day is None:
        return [today - A_DAY * back for back in reversed(range(count or 1))]
    try:
        found = dt.date.fromisoformat(day)
    except ValueError:
        raise BadReport(f"day {day!r}; accepted: YYYY-MM-DD") from None
    if found > today:
        raise BadReport(f"day {day!r} has not begun; accepted: up to {today.isoformat()}")
    return [found]


def forecast(spent: Decimal, now: dt.datetime) -> Decimal | None:
    """What the UTC day will have cost if it goes on as it began, to the micro-dollar; None in the day's first hour."""
    elapsed = now - now.replace(hour=0, minute=0, second=0, microsecond=0)
    if elapsed < HOUR:
        return None
    return (spent * (A_DAY // MICROSECOND) / (elapsed // MICROSECOND)).quantize(MICRO_DOLLAR)


@dataclass(frozen=True)
class WhatIf:
    """The same traffic priced with another lineup."""

    lineup: str
    entries: Sequence[Row]  # priced anew

    def json(self, actual: Figures, by: str) -> dict[str, Any]:
        """Its figures, and how much dearer (or, negative, cheaper) it is than what was paid."""
        total = totals(self.entries)
        return {
            "lineup": self.lineup,
            "totals": total.json(),
            "difference_usd": dollars(total.cost_usd - actual.cost_usd),
            "rows": [{"key": key, **figures.json()} for key, figures in rows(self.entries, by).items()],
        }


@dataclass(frozen=True)
class Report:
    """All that a report says. Entries are priced against the baseline already."""

    days: Mapping[dt.date, Sequence[Row]]  # each UTC day's entries, oldest first
    by: str
    now: dt.datetime  # UTC
    deployment: str = "local"
    simulated: bool = False  # whether a stand-in gave the answers
    baseline: str = "opus"
    budget_usd: Decimal | None = None  # of the account's day; None when there is none, or none is known
    what_if: WhatIf | None = None
    feedback: Sequence[Row] = ()  # on requests of these days
    notes: tuple[str, ...] = ()

    @cached_property
    def entries(self) -> list[Row]:
        """The entries of all days."""
        return [entry for entries in self.days.values() for entry in entries]

    @cached_property
    def total(self) -> Figures:
        """The sum of all days."""
        return totals(self.entries)

    @cached_property
    def arms(self) -> Comparison | None:
        """The arms side by side; None where there was no candidate."""
        return side_by_side(self.entries, self.feedback)

    @property
    def compared(self) -> str:
        """What the baseline is, in words."""
        return "as asked" if self.baseline == "asked" else f"all {self.baseline}"

    @property
    def ambiguous(self) -> list[Row]:
        """Calls that may have been paid for without an answer, booked at the most that they can have cost."""
        found = [entry for entry in self.entries if AMBIGUOUS in entry["flags"]]
        settled = {_reservation(entry) for entry in found if REVERSAL in entry["flags"]}
        return [entry for entry in found if _reservation(entry) not in settled]

    @property
    def today_usd(self) -> Decimal | None:
        """What today has cost so far; None when the report is about other days."""
        today = self.now.date()
        return totals(self.days[today]).cost_usd if today in self.days else None

    @property
    def forecast_usd(self) -> Decimal | None:
        """The straight-line forecast for today, if the report has today and an hour of it has passed."""
        return None if self.today_usd is None else forecast(self.today_usd, self.now)

    @property
    def left_usd(self) -> Decimal | None:
        """What is left of the account's budget of today, never below zero."""
        if self.budget_usd is None or self.today_usd is None:
            return None
        return max(Decimal(0), self.budget_usd - self.today_usd)

    def json(self) -> dict[str, Any]:
        """The shape of `GET /v1/spend` (DESIGN section 8), with days, baseline, forecast, budget, what-if, feedback."""
        return {
            "day": max(self.days).isoformat(),
            "currency": "USD",
            "totals": self.total.json(),
            "rows": [{"key": key, **figures.json()} for key, figures in rows(self.entries, self.by).items()],
            "by": self.by,
            "days": [{"day": day.isoformat(), **totals(entries).json()} for day, entries in self.days.items()],
            "baseline": self.baseline,
            "ambiguous": {"calls": len(self.ambiguous), "cost_usd": dollars(totals(self.ambiguous).cost_usd)},
            "forecast_usd": _maybe(self.forecast_usd),
            "daily_budget_usd": _maybe(self.budget_usd),
            "budget_left_usd": _maybe(self.left_usd),
            "what_if": self.what_if.json(self.total, self.by) if self.what_if else None,
            "feedback": feedback_json(self.feedback, self.by),
            "arms": self.arms.json() if self.arms else None,
            "deployment": self.deployment,
            "simulated": self.simulated,
            "notes": list(self.notes),
        }


def _reservation(entry: Row) -> str:
    """What an entry is about: a swept one and its reversal are about the same."""
    return str(entry["entry_id"]).removesuffix(f"#{SWEPT}").removesuffix(f"#{REVERSAL}")


def tokens(entries: Iterable[Row], purpose: str) -> int:
    """All tokens of the calls made for a purpose."""
    return sum(int(entry[name]) for entry in entries if entry["purpose"] == purpose for name in TOKENS)


def _maybe(amount: Decimal | None) -> str | None:
    return None if amount is None else dollars(amount)
