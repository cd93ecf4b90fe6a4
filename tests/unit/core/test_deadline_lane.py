"""Jobs with a deadline: half price while there is time, called directly when it comes near, unpaid when it is over."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from cost_router.core.batch_lane import ENOUGH_TIME, IN_TIME
from cost_router.core.errors import UpstreamError
from cost_router.core.groups import GroupState
from cost_router.core.job import lane_for
from tests.builders import NOW, limited, message_body
from tests.bulk import Killed
from tests.lane import USED
from tests.unit.core.test_batch_lane import LOST, MINUTE, Lane, errored
from tests.unit.core.test_releasing import pointers, send, tally

SECOND = dt.timedelta(seconds=1)
HOUR = dt.timedelta(hours=1)
SOON = NOW + 3 * HOUR
REALTIME = Decimal("0.000015")  # 100 tokens at 0.10 and 10 at 0.50 dollars per million
HALF = Decimal("0.000085")  # 1,000 input, 2,000 cache reads and 100 output at half the price


def pinned(lane: Lane, /, *names: str, answer_by: dt.datetime | None = SOON, **router: Any) -> None:
    """Jobs that need no label; by their deadline they go into the batch lane."""
    given = {} if answer_by is None else {"answer_by": answer_by.isoformat()}
    assert lane.drop(*names, params=message_body(model="haiku"), **{"lane": None, **given, **router}) == []


def submitted(*names: str, answer_by: dt.datetime = SOON) -> Lane:
    """A batch of these jobs that does not end by itself."""
    lane = Lane()
    lane.batches.ended = False
    pinned(lane, *names, answer_by=answer_by)
    lane.round()
    assert len(lane.batches.submitted) == len(names)
    return lane


def until(lane: Lane, at: dt.datetime) -> None:
    """The round at that moment."""
    lane.round(after=at - lane.world.clock.now())


# -- Which lane --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lane", "left", "expected"),
    [
        (None, ENOUGH_TIME, "batch"),
        (None, ENOUGH_TIME - SECOND, "direct"),
        (None, ENOUGH_TIME + SECOND, "batch"),
        (None, None, "direct"),
        (None, -HOUR, "direct"),
        ("direct", 24 * HOUR, "direct"),
        ("batch", MINUTE, "batch"),
        ("batch", None, "batch"),
    ],
)
def test_a_deadline_with_two_hours_left_takes_the_batch_lane_unless_a_lane_is_given(
    lane: str | None, left: dt.timedelta | None, expected: str
) -> None:
    assert dt.timedelta(hours=2) == ENOUGH_TIME
    assert lane_for(lane, None if left is None else NOW + left, NOW) == expected


@pytest.mark.parametrize(("left", "waiting", "done"), [(ENOUGH_TIME, 1, 0), (ENOUGH_TIME - SECOND, 0, 1)])
def test_the_lane_of_a_deadline_is_taken_at_the_door(left: dt.timedelta, waiting: int, done: int) -> None:
    lane = Lane()
    pinned(lane, "a", answer_by=NOW + left)
    assert (len(lane.store.waiting), len(lane.kinds)) == (waiting, done)


# -- Which batch -------------------------------------------------------------------------------------------------------


def hours(lane: Lane) -> list[list[str]]:
    """Which jobs are in which batch."""
    names = {line.request_id: line.custom_id for _, line in lane.store.lines.values()}
    return [
        sorted(names[custom_id.partition("-")[2]] for custom_id, _ in lines) for _, lines in lane.batches.made.values()
    ]


def test_lines_of_different_hours_are_in_different_batches_and_none_with_lines_that_have_no_deadline() -> None:
    lane = Lane()
    lane.batches.ended = False
    pinned(lane, "a", answer_by=NOW + 3 * HOUR)
    pinned(lane, "b", answer_by=NOW + 4 * HOUR - SECOND)
    pinned(lane, "c", answer_by=NOW + 4 * HOUR)
    pinned(lane, "d", answer_by=(NOW + 3 * HOUR).astimezone(dt.timezone(5.5 * HOUR)))
    pinned(lane, "e", "f", answer_by=None, lane="batch")
    lane.round()
    assert hours(lane) == [["a", "b", "d"], ["c"], ["e", "f"]]
    dues = [batch.cancel_at for batch in lane.store.all_batches.values()]
    assert dues == [NOW + 2.5 * HOUR, NOW + 3.5 * HOUR, None], "half an hour before the first deadline"


def test_lines_that_arrive_later_for_the_same_hour_go_into_the_next_batch() -> None:
    lane = submitted("a")
    pinned(lane, "b")
    lane.round()
    assert hours(lane) == [["a"], ["b"]]


# -- Promoted ----------------------------------------------------------------------------------------------------------


def test_a_batch_with_time_left_is_not_cancelled() -> None:
    lane = submitted("a")
    until(lane, SOON - IN_TIME - SECOND)
    assert lane.batches.canceled == []


def test_a_line_pending_half_an_hour_before_its_deadline_is_called_directly_once_at_the_realtime_price() -> None:
    lane = submitted("a")
    until(lane, SOON - IN_TIME)
    assert lane.batches.canceled == ["msgbatch_1"]
    assert lane.returns.sent == []
    lane.round()
    assert lane.world.jobs.state("g/a") == "held"
    assert (lane.answers, lane.world.ledger.open) == ([], {}), "nothing at the batch price"
    lane.round()
    back = pointers(lane)
    assert send(lane, *back) == []
    assert send(lane, *back) == []
    (entry,) = lane.answers
    assert (entry.processing, entry.cost_usd) == ("realtime", REALTIME)
    router = lane.results["a"]["router"]
    assert (lane.kinds, router["lane"], router["cost_usd"]) == ({"a": "succeeded"}, "direct", "0.000015")
    for _ in range(3):
        lane.round()
    assert (len(lane.world.claude.calls), len(lane.batches.made), lane.returns.sent) == (1, 1, [])
    assert (tally(lane).started, tally(lane).done, tally(lane).cost_usd) == (1, 1, REALTIME)
    assert lane.world.jobs.messages == {}
    assert [event for event, _ in lane.world.telemetry.notes].count("batch_line_promoted") == 1


def test_a_promoted_line_is_back_on_the_queue_within_two_rounds_of_the_end_of_its_batch() -> None:
    lane = submitted("a")
    until(lane, SOON - IN_TIME)
    lane.round()
    lane.round()
    assert [row.job for row in lane.returns.sent] == ["g/a"]
    assert lane.world.clock.now() == SOON - IN_TIME + 2 * MINUTE


def test_lines_of_the_same_batch_that_had_succeeded_keep_their_batch_price() -> None:
    lane = submitted("a", "b")
    cancel = lane.batches.cancel

    async def cancel_but_a(batch_id: str) -> None:
        await cancel(batch_id)
        lane.batches.scripted.pop(f"{lane.batch.marker}-{lane.request_id('a')}", None)

    lane.batches.cancel = cancel_but_a  # type: ignore[method-assign]  # the fake's own
    until(lane, SOON - IN_TIME)
    lane.round()
    assert lane.kinds == {"a": "succeeded"}
    lane.round()
    assert send(lane, *pointers(lane)) == []
    booked = {entry.job: (entry.processing, entry.cost_usd, entry.usage == USED) for entry in lane.answers}
    assert booked == {"g/a": ("batch", HALF, True), "g/b": ("realtime", REALTIME, False)}
    assert (tally(lane).done, tally(lane).cost_usd) == (2, HALF + REALTIME)


def test_a_promoted_line_costs_what_its_label_did_and_what_it_is_called_for() -> None:
    lane = Lane()
    lane.batches.ended = False
    lane.drop("a", lane=None, answer_by=SOON.isoformat(), cache="off")
    lane.round()
    until(lane, SOON - IN_TIME)
    lane.round()
    lane.round()
    assert send(lane, *pointers(lane)) == []
    booked = sum(entry.cost_usd for entry in lane.world.ledger.entries)
    assert booked == Decimal("0.000103"), "two labels and an answer"
    assert lane.results["a"]["router"]["cost_usd"] == "0.000103"
    assert tally(lane).cost_usd == booked


def test_a_job_of_the_batch_lane_by_name_with_a_deadline_is_promoted_too_and_not_parked_again() -> None:
    lane = Lane()
    lane.batches.ended = False
    pinned(lane, "a", lane="batch")
    lane.round()
    until(lane, SOON - IN_TIME)
    lane.round()
    lane.round()
    assert send(lane, *pointers(lane)) == []
    assert (lane.store.waiting, lane.kinds) == ([], {"a": "succeeded"})
    assert lane.results["a"]["router"]["lane"] == "direct"


def test_a_promoted_line_that_meets_limits_stays_in_the_direct_lane() -> None:
    lane = submitted("a")
    until(lane, SOON - IN_TIME)
    lane.round()
    lane.round()
    back = pointers(lane)
    lane.world.claude.script.append(limited(429, 900.0))
    assert send(lane, *back) == ["back-0"]
    assert send(lane, *back) == []
    assert (lane.kinds, lane.store.waiting) == ({"a": "succeeded"}, [])


def test_a_parked_line_near_its_deadline_is_promoted_without_a_batch_to_cancel() -> None:
    lane = Lane()
    pinned(lane, "a", "b")
    lane.batches.down = True
    for _ in range(3):
        lane.round()
    lane.batches.down = False
    until(lane, SOON - IN_TIME)
    assert (lane.store.waiting, lane.batches.made, lane.batches.canceled) == ([], {}, [])
    lane.round()
    assert send(lane, *pointers(lane)) == []
    assert lane.kinds == {"a": "succeeded", "b": "succeeded"}
    assert {entry.processing for entry in lane.answers} == {"realtime"}


@pytest.mark.parametrize(("before", "batches"), [(IN_TIME + SECOND, 1), (IN_TIME, 0)])
def test_a_line_is_packed_until_half_an_hour_before_its_deadline(before: dt.timedelta, batches: int) -> None:
    lane = Lane()
    pinned(lane, "a")
    until(lane, SOON - before)
    assert len(lane.batches.made) == batches


def test_a_line_that_claude_could_not_serve_near_its_deadline_is_promoted_and_not_packed_again() -> None:
    lane = submitted("a")
    lane.batches.scripted[f"{lane.batch.marker}-{lane.request_id('a')}"] = errored("overloaded_error")
    lane.batches.ended = True
    until(lane, SOON - IN_TIME)
    lane.round()
    assert send(lane, *pointers(lane)) == []
    assert (lane.kinds, len(lane.batches.made)) == ({"a": "succeeded"}, 1)


def test_a_job_whose_deadline_has_passed_before_it_starts_fails_unpaid() -> None:
    lane = submitted("a")
    until(lane, SOON - IN_TIME)
    lane.round()
    lane.round()
    lane.world.clock.advance((SOON - lane.world.clock.now()).total_seconds())
    assert send(lane, *pointers(lane)) == []
    assert (lane.kinds, lane.world.claude.calls, lane.answers) == ({"a": "errored"}, [], [])
    assert lane.results["a"]["router"]["cost_usd"] == "0"
    assert (tally(lane).failed, tally(lane).running) == (1, 0)


def test_the_deadline_is_the_last_moment_at_which_a_job_is_not_started() -> None:
    lane = submitted("a")
    until(lane, SOON - IN_TIME)
    lane.round()
    lane.round()
    lane.world.clock.advance((SOON - SECOND - lane.world.clock.now()).total_seconds())
    assert send(lane, *pointers(lane)) == []
    assert lane.kinds == {"a": "succeeded"}


def test_lines_canceled_by_somebody_else_are_delivered_canceled() -> None:
    lane = submitted("a")
    lane.batches.scripted[f"{lane.batch.marker}-{lane.request_id('a')}"] = {"type": "canceled"}
    lane.batches.ended = True
    lane.round()
    assert (lane.kinds, tally(lane).canceled, lane.world.ledger.open) == ({"a": "canceled"}, 1, {})
    for _ in range(3):
        lane.round()
    assert lane.returns.sent == []


def test_a_batch_that_ended_before_its_cancelling_keeps_its_answers() -> None:
    lane = submitted("a")
    lane.batches.ended = True
    until(lane, SOON - IN_TIME)
    assert lane.kinds == {"a": "succeeded"}
    assert [entry.processing for entry in lane.answers] == ["batch"]


@pytest.mark.parametrize("dies", [True, False])
def test_lines_of_a_batch_whose_cancelling_was_begun_are_known_to_be_canceled_by_us(
    dies: bool,  # noqa: FBT001  a column
) -> None:
    """Also when the collector died after it asked, or the reply was lost."""
    lane = submitted("a")
    cancel = lane.batches.cancel

    async def cancel_and_fail(batch_id: str) -> None:
        await cancel(batch_id)
        raise Killed("cancel") if dies else LOST

    lane.batches.cancel = cancel_and_fail  # type: ignore[method-assign]  # the fake's own
    if dies:
        with pytest.raises(Killed):
            until(lane, SOON - IN_TIME)
    else:
        until(lane, SOON - IN_TIME)
    lane.batches.cancel = cancel  # type: ignore[method-assign]  # the fake's own
    lane.round(after=17 * MINUTE)
    lane.round()
    assert send(lane, *pointers(lane)) == []
    assert (lane.kinds, len(lane.batches.made)) == ({"a": "succeeded"}, 1)


def test_a_cancel_that_never_got_through_is_asked_for_again() -> None:
    lane = submitted("a")
    cancel, asked = lane.batches.cancel, 0

    async def fail(batch_id: str) -> None:
        nonlocal asked
        asked += 1
        raise UpstreamError(LOST.failure)

    lane.batches.cancel = fail  # type: ignore[method-assign]  # the fake's own
    until(lane, SOON - IN_TIME)
    lane.round()
    lane.batches.cancel = cancel  # type: ignore[method-assign]  # the fake's own
    lane.round()
    assert (asked, lane.batches.canceled) == (2, ["msgbatch_1"])


@pytest.mark.parametrize("step", ["promote", "close"])
def test_a_collector_that_dies_while_it_promotes_goes_on_and_each_line_is_called_once(step: str) -> None:
    lane = submitted("a", "b")
    until(lane, SOON - IN_TIME)
    lane.store.dies = {step}
    with pytest.raises(Killed):
        lane.round()
    lane.store.dies = set()
    lane.round(after=17 * MINUTE)
    lane.round()
    assert send(lane, *pointers(lane)) == []
    assert lane.kinds == {"a": "succeeded", "b": "succeeded"}
    assert (len(lane.world.claude.calls), lane.world.ledger.open) == (2, {})


def test_the_lines_of_a_canceled_group_in_a_batch_that_is_cancelled_for_its_deadline_end_canceled() -> None:
    lane = submitted("a")
    pinned(lane, "b", group="h")
    lane.round()
    lane.world.groups.set("g", GroupState.CANCELED)
    until(lane, SOON - IN_TIME)
    lane.round()
    lane.round()
    assert send(lane, *pointers(lane)) == []
    assert lane.kinds == {"a": "canceled", "b": "succeeded"}
    assert len(lane.world.claude.calls) == 1


def test_a_promoted_line_of_a_paused_group_is_held_until_it_is_resumed() -> None:
    lane = submitted("a")
    lane.world.groups.set("g", GroupState.PAUSED)
    until(lane, SOON - IN_TIME)
    for _ in range(5):
        lane.round()
    assert (lane.world.jobs.state("g/a"), lane.returns.sent) == ("held", [])
    lane.world.groups.set("g", GroupState.RUNNING)
    lane.round()
    assert send(lane, *pointers(lane)) == []
    assert lane.results["a"]["router"]["lane"] == "direct"
