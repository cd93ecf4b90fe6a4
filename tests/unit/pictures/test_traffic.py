"""Simulated traffic is the same every time, and its metrics are those of its ledger."""

import datetime as dt
from decimal import Decimal

import pytest

from cost_router.contract import Metric
from infra.operate.report import totals
from infra.pictures.metrics import metrics_of
from infra.pictures.traffic import Traffic, simulate

NOW = dt.datetime(2026, 11, 23, 18, 40, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def traffic() -> Traffic:
    return simulate(NOW)


def test_the_same_end_gives_the_same_traffic(traffic: Traffic) -> None:
    assert simulate(NOW).days == traffic.days


def test_the_days_spend_is_the_sum_of_its_entries(traffic: Traffic) -> None:
    today = totals(traffic.days[NOW.date()])
    assert traffic.spent == today.cost_usd
    assert traffic.records[-1][1].spend_today_usd == today.cost_usd
    midnight = dt.datetime.combine(NOW.date(), dt.time(), dt.UTC)
    assert sum((paid for slot, paid in traffic.rate.items() if slot >= midnight), Decimal(0)) == today.cost_usd


def test_the_metrics_of_the_last_day_are_what_the_code_emits_for_its_records(traffic: Traffic) -> None:
    data = [datum for _, datum in metrics_of(traffic, "prod", {"widgets": []})]
    since = NOW - dt.timedelta(days=1)
    recent = [datum for datum in data if datum["MetricName"] == Metric.SPEND and datum["Timestamp"] >= since]
    whole = [datum for datum in recent if len(datum["Dimensions"]) == 1]
    by_model = [datum for datum in recent if len(datum["Dimensions"]) == 2]
    paid = float(sum((record.bill.cost_usd for _, record in traffic.records), Decimal(0)))
    for found in (whole, by_model):
        assert sum(value for datum in found for value in datum["Values"]) == pytest.approx(paid)
    models = {part["Value"] for datum in by_model for part in datum["Dimensions"] if part["Name"] == "model"}
    assert models == {"claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5", "claude-opus-4-8"}
