"""How far a group is, from its items."""

import datetime as dt
from decimal import Decimal
from typing import Any

from cost_router.adapters.groups import group_in
from cost_router.core.groups import Group, GroupState, Tally
from infra.operate.groups import Standing, is_gone

NOW = dt.datetime(2026, 11, 24, 12, 0, tzinfo=dt.UTC)


def standing(expected: int | None = None, state: GroupState = GroupState.RUNNING, **counts: Any) -> Standing:
    return Standing(Group("nightly", "support", state, NOW, NOW, expected), Tally(**counts))


def test_what_was_announced_and_not_taken_yet_is_queued() -> None:
    found = standing(10, started=4, done=1, failed=1, canceled=1)
    assert (found.submitted, found.queued, found.tally.running, found.percent) == (10, 6, 1, Decimal("30.0"))


def test_without_an_announcement_the_jobs_that_came_are_all_there_are() -> None:
    found = standing(None, started=4, done=1)
    assert (found.submitted, found.queued, found.percent) == (4, 0, Decimal("25.0"))


def test_jobs_dropped_beside_those_announced_are_counted() -> None:
    assert (standing(3, started=4).submitted, standing(3, started=4).queued) == (4, 0)


def test_an_announced_group_is_finished_when_all_have_ended_and_waits_no_longer() -> None:
    assert not standing(3, started=2, done=2).is_finished(NOW)
    assert standing(3, started=3, done=1, failed=1, canceled=1).is_finished(NOW)


def test_another_group_is_finished_when_all_that_came_have_ended() -> None:
    assert not standing(None).is_finished(NOW)
    assert not standing(None, started=2, done=1).is_finished(NOW)
    assert standing(None, started=2, done=2).is_finished(NOW)


def test_figures_are_printed_as_decimal_strings() -> None:
    counts: dict[str, Any] = {
        "started": 2,
        "done": 2,
        "cost_usd": Decimal("0.000031"),
        "baseline_usd": Decimal("0.00124"),
    }
    assert standing(2, **counts).json(NOW) == {
        "group": "nightly",
        "tenant": "support",
        "state": "running",
        "submitted": 2,
        "announced": True,
        "queued": 0,
        "running": 0,
        "done": 2,
        "failed": 0,
        "canceled": 0,
        "percent": 100.0,
        "cost_usd": "0.000031",
        "baseline_usd": "0.00124",
        "saved_usd": "0.001209",
        "finished": True,
    }


def test_an_empty_group_is_at_nothing() -> None:
    assert (standing(None).percent, standing(None).submitted) == (Decimal("0.0"), 0)


def test_a_closed_group_is_read_too() -> None:
    item = {
        "job": {"S": "group#nightly"},
        "tenant": {"S": "support"},
        "state": {"S": "canceled"},
        "seen_at": {"S": NOW.isoformat()},
        "announced": {"SS": ["aa:3", "bb:4"]},
    }
    found = group_in(item)
    assert (found.name, found.state, found.expected, found.since) == ("nightly", GroupState.CANCELED, 7, NOW)


def test_an_item_past_its_time_is_gone_though_it_is_there() -> None:
    second = int(NOW.timestamp())
    assert is_gone({"expires_at": {"N": str(second)}}, NOW)
    assert not is_gone({"expires_at": {"N": str(second + 1)}}, NOW)
    assert not is_gone({}, NOW)
