"""Entries against metered calls, one by one."""

import datetime as dt
from typing import Any

import pytest

from infra.operate.matching import Matching, match, names_of
from tests.unit.operate.entries import DAY, ambiguous, entry


def call(request_id: str = "req_1", **changes: Any) -> dict[str, Any]:
    """The metered call of an `entry`."""
    usage = {
        "input_tokens": 1_000,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 100,
    }
    usual = {
        "request_id": request_id,
        "model": "claude-haiku-5-5",
        "usage": usage,
        "processing": "realtime",
        "at": "2026-11-23T09:30:00.000Z",
        "purpose": "answer",
    }
    return usual | changes


def booked(upstream: str | None = "req_1", **changes: Any) -> dict[str, Any]:
    return entry(**{"upstream_request_id": upstream} | changes)


def unsure(**changes: Any) -> dict[str, Any]:
    """An ambiguous entry: no answer came back, so no id did."""
    return ambiguous(**{"upstream_request_id": None} | changes)


def counts(made: Matching) -> tuple[int, int, int, int]:
    return made.same, len(made.different), len(made.only_in_ledger), len(made.only_in_meter)


def test_the_same_call_in_both_books_agrees() -> None:
    made = match(DAY, [booked()], [call()])
    assert (counts(made), made.agrees, names_of(made)) == ((1, 0, 0, 0), True, [])


def test_a_call_that_is_in_one_book_only_is_named() -> None:
    made = match(DAY, [booked("req_2")], [call()])
    assert (counts(made), made.agrees) == ((0, 0, 1, 1), False)
    assert names_of(made) == [
        "only in the ledger: r1#1 (answer by claude-haiku-5-5 at 2026-11-23T09:30:00.000+00:00)",
        "only in the meter: req_1 (answer by claude-haiku-5-5 at 2026-11-23T09:30:00.000Z)",
    ]


@pytest.mark.parametrize("changes", [{"output_tokens": 101}, {"model": "claude-opus-5-5"}, {"processing": "batch"}])
def test_a_call_with_other_figures_is_different(changes: dict[str, Any]) -> None:
    made = match(DAY, [booked(**changes)], [call()])
    assert (counts(made), made.agrees) == ((0, 1, 0, 0), False)
    assert "metered as claude-haiku-5-5 realtime, (1000, 0, 0, 0, 100)" in names_of(made)[0]


def test_each_entry_takes_one_call_of_those_with_its_id() -> None:
    other = call(model="claude-opus-5-5")
    made = match(DAY, [booked(), booked(model="claude-opus-5-5"), booked()], [other, call()])
    assert counts(made) == (2, 0, 1, 0)


def test_calls_of_other_days_are_left_out() -> None:
    made = match(DAY, [], [call(at="2026-11-22T23:59:59.999Z"), call(at="2026-11-24T00:00:00.000Z")])
    assert counts(made) == (0, 0, 0, 0)


@pytest.mark.parametrize(("later", "billed"), [(-30.001, False), (-30, True), (30, True), (30.001, False)])
def test_an_ambiguous_entry_may_be_a_call_of_its_model_within_half_a_minute(later: float, billed: object) -> None:
    at = dt.datetime(2026, 11, 23, 9, 30, tzinfo=dt.UTC) + dt.timedelta(seconds=later)
    made = match(DAY, [unsure()], [call(at=at.isoformat())])
    [(_, found)] = made.ambiguous
    assert (found is not None) is billed
    assert made.agrees is billed


def test_an_ambiguous_entry_takes_the_nearest_call_and_only_one() -> None:
    near, far = call("req_1", at="2026-11-23T09:30:01.000Z"), call("req_2", at="2026-11-23T09:29:50.000Z")
    made = match(DAY, [unsure()], [far, near])
    assert [found for _, found in made.ambiguous] == [near]
    assert list(made.only_in_meter) == [far]


def test_an_ambiguous_entry_is_no_call_of_another_model_purpose_or_id() -> None:
    assert counts(match(DAY, [unsure(model="claude-opus-5-5")], [call()])) == (0, 0, 0, 1)
    assert counts(match(DAY, [unsure(purpose="classifier")], [call()])) == (0, 0, 0, 1)
    assert counts(match(DAY, [unsure(upstream_request_id="req_9")], [call()])) == (0, 0, 0, 1)


def test_an_ambiguous_entry_that_knows_its_id_takes_that_call_and_never_one_that_is_booked() -> None:
    mine, other = call("req_9", at="2026-11-23T10:30:00.000Z"), call("req_1")
    made = match(DAY, [unsure(upstream_request_id="req_9"), booked()], [other, mine])
    assert [found for _, found in made.ambiguous] == [mine]
    assert (counts(made), made.agrees) == ((1, 0, 0, 0), True)
