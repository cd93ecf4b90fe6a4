import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from infra.operate.report import BadReport, days_asked, forecast, rows
from infra.operate.show import remarks
from tests.unit.operate.entries import DAY, NOON, ambiguous, classifier, entry, report_of

TOTALS = ("requests", "cost_usd", "classifier_cost_usd", "baseline_usd", "saved_usd")


def totals_of(*entries: dict[str, Any]) -> tuple[Any, ...]:
    made = report_of(*entries).json()["totals"]
    return tuple(made[name] for name in TOTALS)


def test_no_entries_cost_nothing_and_save_nothing() -> None:
    made = report_of().json()
    assert tuple(made["totals"][name] for name in TOTALS) == (0, "0", "0", "0", "0")
    assert (made["rows"], made["forecast_usd"], made["what_if"]) == ([], "0", None)
    assert made["ambiguous"] == {"calls": 0, "cost_usd": "0"}


def test_only_classifier_entries_are_no_requests_and_a_negative_saving() -> None:
    assert totals_of(classifier()) == (0, "0.000085", "0.000085", "0", "-0.000085")


def test_savings_are_net_of_classifier_and_ambiguous_calls() -> None:
    assert totals_of(classifier(), ambiguous(), entry()) == (1, "0.020235", "0.000085", "0.006", "-0.014235")
    assert totals_of(classifier(), entry()) == (1, "0.000235", "0.000085", "0.006", "0.005765")


def test_what_markers_of_the_routers_saved_is_told_apart() -> None:
    made = report_of(entry(cache_saved_usd=Decimal("0.001")), entry("r2", cache_saved_usd=Decimal("-0.0004")), entry())
    assert (made.json()["totals"]["cache_saved_usd"], made.json()["totals"]["saved_usd"]) == ("0.0006", "0.01755")
    assert "Saved by the router's cache markers, beside what is above: $0.000600." in remarks(made)
    assert not any("markers" in line for line in remarks(report_of(entry())))


def test_a_classifier_call_counts_for_the_model_that_answered() -> None:
    opus = entry(tier="opus", model="claude-opus-5-5", cost_usd=Decimal("0.006"))
    found = rows([classifier(), opus], "model")
    assert {key: figures.cost_usd for key, figures in found.items()} == {"claude-opus-5-5": Decimal("0.006085")}


def test_rows_by_tag_have_one_for_what_has_no_such_tag() -> None:
    assert list(rows([entry("r1"), entry("r2", tags={})], "tag:customer")) == ["acme", "(none)"]


def test_the_forecast_is_a_straight_line_from_the_second_hour_on() -> None:
    spent = Decimal("1.5")
    assert forecast(spent, NOON.replace(hour=0, minute=30)) is None
    assert forecast(spent, NOON.replace(hour=0, minute=59, second=59)) is None
    assert forecast(spent, NOON.replace(hour=1)) == 36
    assert forecast(spent, NOON) == 3


def test_forecast_and_budget_left_are_told_for_today_only() -> None:
    today = report_of(entry(), budget_usd=Decimal(2)).json()
    assert (today["forecast_usd"], today["budget_left_usd"], today["daily_budget_usd"]) == ("0.0003", "1.99985", "2")
    tomorrow = report_of(entry(), budget_usd=Decimal(2), now=NOON + dt.timedelta(days=1)).json()
    assert (tomorrow["forecast_usd"], tomorrow["budget_left_usd"]) == (None, None)
    assert report_of(entry(), budget_usd=Decimal("0.0001")).json()["budget_left_usd"] == "0"


def test_several_days_are_told_one_by_one_and_today_alone_is_forecast() -> None:
    yesterday = DAY - dt.timedelta(days=1)
    before = entry("r0", at="2026-11-22T23:59:59.999+00:00", cost_usd=Decimal("0.5"))
    made = report_of(days={yesterday: [before], DAY: [entry()]}).json()
    assert [(row["day"], row["cost_usd"]) for row in made["days"]] == [("2026-11-22", "0.5"), ("2026-11-23", "0.00015")]
    assert (made["totals"]["cost_usd"], made["day"], made["forecast_usd"]) == ("0.50015", "2026-11-23", "0.0003")


def test_the_days_of_a_report_end_today() -> None:
    first = dt.date(2026, 11, 22)
    assert days_asked(None, None, DAY) == [DAY]
    assert days_asked(None, 2, DAY) == [first, DAY]
    assert days_asked("2026-11-22", None, DAY) == [first]


@pytest.mark.parametrize(
    ("day", "count", "said"),
    [
        ("yesterday", None, "'yesterday'"),
        (None, 0, "days 0"),
        (None, 367, "days 367"),
        ("2026-11-22", 2, "contradict"),
    ],
)
def test_a_wrong_day_is_quoted(day: str | None, count: int | None, said: str) -> None:
    with pytest.raises(BadReport, match=said):
        days_asked(day, count, DAY)


def test_what_was_swept_and_reversed_is_no_ambiguous_payment_any_more() -> None:
    lost = ambiguous("r1", entry_id="r1#0#swept", flags=["ambiguous", "swept"])
    back = ambiguous("r1", entry_id="r1#0#reversal", flags=["ambiguous", "reversal"], cost_usd=-lost["cost_usd"])
    made = report_of(entry("r1"), lost, back, ambiguous("r2"))
    assert [row["entry_id"] for row in made.ambiguous] == ["r2#2"]
    assert made.total.cost_usd == Decimal("0.00015") + Decimal("0.02")
    assert made.total.requests == 1
