"""Groups that are paused, resumed, canceled, and finished: what becomes of their jobs wherever these are."""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from cost_router.core.errors import StoreError
from cost_router.core.groups import KEPT_OPEN, QUIET, GroupState, Tally
from cost_router.core.job_ports import HeldJob
from tests.builders import job, message_body, raw_job, rejected, run
from tests.bulk import Killed
from tests.unit.core.test_batch_lane import MINUTE, Lane

SECOND = dt.timedelta(seconds=1)
HOUR = dt.timedelta(hours=1)


def send(lane: Lane, *messages: Mapping[str, Any]) -> list[str]:
    """The messages that stay on the queue."""
    left = run(lane.world.door().drain({"Records": list(messages)}, 900.0))
    return [failure["itemIdentifier"] for failure in left["batchItemFailures"]]


def direct(name: str = "a", **router: Any) -> dict[str, Any]:
    return job(name, params=message_body(f"{name}: easy", model="haiku"), **{"group": "g", **router})


def pointers(lane: Lane) -> list[dict[str, Any]]:
    """The messages that went back to the queue, as they come; forgets them."""
    sent = [raw_job(f'{{"job": "{row.job}"}}', f"back-{place}") for place, row in enumerate(lane.returns.sent)]
    lane.returns.sent.clear()
    return sent


def paused(*names: str, **router: Any) -> Lane:
    """A paused group with its jobs held."""
    lane = Lane()
    send(lane, direct("first"))
    lane.world.groups.set("g", GroupState.PAUSED)
    assert send(lane, *(direct(name, **router) for name in names)) == []
    return lane


def outcomes(lane: Lane) -> list[str | None]:
    return [told.outcome for told in lane.world.telemetry.records]


def tally(lane: Lane, group: str = "g") -> Tally:
    return lane.world.jobs.tallies[group]


# -- Paused ------------------------------------------------------------------------------------------------------------


def test_a_paused_groups_jobs_are_held_their_messages_done_and_nothing_is_called() -> None:
    lane = paused("a", "b")
    assert len(lane.world.claude.calls) == 1, "that of the job before"
    assert outcomes(lane) == ["done", "held", "held"]
    assert [lane.world.jobs.state(f"g/{name}") for name in "ab"] == ["held", "held"]
    assert (tally(lane).started, tally(lane).running) == (3, 2)
    for _ in range(10):
        lane.round()
    assert lane.returns.sent == []
    assert list(lane.results) == ["first"]


def test_a_copy_of_a_held_job_is_done() -> None:
    lane = paused("a")
    assert send(lane, direct("a")) == []
    assert outcomes(lane)[-1] == "already_done"


def test_after_resume_held_jobs_go_back_to_the_queue_in_the_next_round_and_run_once_though_they_come_twice() -> None:
    lane = paused("a", "b")
    lane.world.groups.set("g", GroupState.RUNNING)
    lane.round()
    assert [(row.job, row.tenant) for row in lane.returns.sent] == [("g/a", "default"), ("g/b", "default")]
    back = pointers(lane)
    lane.round()
    assert lane.returns.sent == [], "once"
    assert send(lane, *back, *back) == ["back-0", "back-1"], "the copies wait for those who work"
    assert send(lane, *back) == []
    assert lane.kinds == dict.fromkeys(["first", "a", "b"], "succeeded")
    assert len(lane.world.claude.calls) == 3
    assert (tally(lane).started, tally(lane).done) == (3, 3)
    assert lane.world.jobs.messages == {}, "kept messages are forgotten"


def test_a_job_that_the_queue_did_not_take_goes_back_in_the_round_after() -> None:
    lane = paused("a", "b")
    lane.world.groups.set("g", GroupState.RUNNING)
    lane.returns.refused = 1
    lane.round()
    assert [row.job for row in lane.returns.sent] == ["g/b"]
    lane.returns.refused = 0
    lane.round()
    assert [row.job for row in lane.returns.sent] == ["g/b", "g/a"]


def test_a_collector_that_dies_after_it_put_jobs_back_puts_them_back_again_and_they_run_once() -> None:
    lane = paused("a")
    lane.world.groups.set("g", GroupState.RUNNING)
    lane.world.jobs.dies = {"released"}
    with pytest.raises(Killed):
        lane.round()
    lane.world.jobs.dies = set()
    first = pointers(lane)
    assert send(lane, *first) == []
    lane.round()
    assert pointers(lane) == [], "it has ended meanwhile"
    assert send(lane, *first) == []
    assert (len(lane.world.claude.calls), tally(lane).done) == (2, 2)


def test_a_job_whose_group_is_paused_again_is_held_again() -> None:
    lane = paused("a")
    lane.world.groups.set("g", GroupState.RUNNING)
    lane.round()
    lane.world.groups.set("g", GroupState.PAUSED)
    assert send(lane, *pointers(lane)) == []
    assert lane.world.jobs.state("g/a") == "held"
    lane.world.groups.set("g", GroupState.RUNNING)
    lane.round()
    assert send(lane, *pointers(lane)) == []
    assert lane.kinds["a"] == "succeeded"
    assert len(lane.world.claude.calls) == 2


def test_a_job_that_came_back_and_was_put_back_goes_on_from_its_message() -> None:
    lane = paused("a")
    lane.world.groups.set("g", GroupState.RUNNING)
    lane.round()
    lane.world.claude.script.append(rejected(403, account=True))
    back = pointers(lane)
    assert send(lane, *back) == ["back-0"]
    assert send(lane, *back) == []
    assert lane.kinds["a"] == "succeeded"


def test_jobs_of_the_batch_lane_are_held_unlabelled_and_parked_when_they_come_back() -> None:
    lane = paused()
    assert lane.drop("a") == []
    assert (lane.world.claude.classifier_calls, lane.store.waiting) == ([], [])
    lane.world.groups.set("g", GroupState.RUNNING)
    lane.round()
    assert send(lane, *pointers(lane)) == []
    assert lane.store.waiting == ["g/a"]
    lane.round()
    lane.round()
    assert lane.results["a"]["router"]["lane"] == "batch"


def test_parked_lines_of_a_paused_group_stay_parked_and_what_was_submitted_comes_back() -> None:
    lane = Lane()
    lane.drop("submitted")
    lane.round()
    lane.drop("parked")
    lane.drop("other", group="h")
    lane.world.groups.set("g", GroupState.PAUSED)
    lane.round()
    lane.round()
    assert lane.kinds == {"submitted": "succeeded", "other": "succeeded"}
    assert lane.store.waiting == ["g/parked"]
    lane.world.groups.set("g", GroupState.RUNNING)
    lane.round()
    lane.round()
    assert lane.kinds["parked"] == "succeeded"


# -- Canceled ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lane_name", ["direct", "batch"])
def test_a_canceled_groups_jobs_on_the_queue_end_canceled_unpaid(lane_name: str) -> None:
    lane = Lane()
    send(lane, direct("first"))
    lane.world.groups.set("g", GroupState.CANCELED)
    assert send(lane, direct("a", lane=lane_name)) == []
    assert lane.results["a"]["result"] == {"type": "canceled"}
    assert (lane.results["a"]["router"]["cost_usd"], lane.results["a"]["router"]["tenant"]) == ("0", "default")
    assert (len(lane.world.claude.calls), outcomes(lane)[-1]) == (1, "canceled")
    assert (tally(lane).done, tally(lane).canceled, tally(lane).running) == (1, 1, 0)


def test_a_canceled_groups_held_jobs_end_canceled_unpaid() -> None:
    lane = paused("a", "b")
    lane.world.groups.set("g", GroupState.CANCELED)
    lane.round()
    assert lane.kinds == {"first": "succeeded", "a": "canceled", "b": "canceled"}
    assert (tally(lane).canceled, tally(lane).running, lane.world.jobs.messages) == (2, 0, {})
    assert lane.returns.sent == []
    assert len(lane.world.claude.calls) == 1


def test_a_job_on_its_way_back_to_the_queue_when_its_group_is_canceled_ends_canceled() -> None:
    lane = paused("a")
    lane.world.groups.set("g", GroupState.RUNNING)
    lane.round()
    lane.world.groups.set("g", GroupState.CANCELED)
    lane.round()
    assert lane.world.jobs.state("g/a") == "held"
    assert send(lane, *pointers(lane)) == []
    assert (lane.kinds["a"], tally(lane).canceled) == ("canceled", 1)


def test_a_canceled_groups_parked_lines_end_canceled_and_cost_what_their_labels_did() -> None:
    lane = Lane()
    lane.drop("a", params=message_body("one thing"))
    lane.drop("b", params=message_body("another"), answer_by="2026-11-24T06:00:00Z")
    lane.world.groups.set("g", GroupState.CANCELED)
    lane.round()
    assert lane.kinds == {"a": "canceled", "b": "canceled"}
    assert [lane.results[name]["router"]["cost_usd"] for name in "ab"] == ["0.000044", "0.000044"]
    assert (tally(lane).canceled, tally(lane).cost_usd) == (2, Decimal("0.000088"))
    assert (lane.store.waiting, lane.store.bodies, lane.batches.made) == ([], {}, {})


def test_a_canceled_job_that_was_put_back_before_costs_what_was_booked_for_it() -> None:
    lane = Lane()
    lane.world.claude.script.append(rejected(403, account=True))
    labelled = job("a", params=message_body("what is it?"), group="g")
    send(lane, labelled)
    lane.world.groups.set("g", GroupState.PAUSED)
    assert send(lane, labelled) == []
    lane.world.groups.set("g", GroupState.CANCELED)
    lane.round()
    assert lane.kinds == {"a": "canceled"}
    assert lane.results["a"]["router"]["cost_usd"] == "0.000044"
    assert tally(lane) == Tally(started=1, canceled=1, cost_usd=Decimal("0.000044"))


def test_a_submitted_batch_of_only_canceled_groups_is_cancelled() -> None:
    lane = Lane()
    lane.drop("a")
    lane.drop("b", group="h")
    lane.batches.ended = False
    lane.round()
    lane.world.groups.set("g", GroupState.CANCELED)
    lane.world.groups.set("h", GroupState.CANCELED)
    lane.round()
    assert lane.batches.canceled == ["msgbatch_1"]
    lane.round()
    assert lane.kinds == {"a": "canceled", "b": "canceled"}
    assert (lane.answers, lane.world.ledger.open, lane.store.waiting) == ([], {}, [])
    assert (tally(lane).canceled, tally(lane, "h").canceled) == (1, 1)


def test_a_mixed_batch_is_not_cancelled_and_its_answers_are_delivered() -> None:
    lane = Lane()
    lane.drop("a")
    lane.drop("b", group="h")
    lane.batches.ended = False
    lane.round()
    lane.world.groups.set("g", GroupState.CANCELED)
    lane.round()
    assert lane.batches.canceled == []
    lane.batches.ended = True
    lane.round()
    assert lane.kinds == {"a": "succeeded", "b": "succeeded"}
    assert tally(lane).done == 1, "it was paid for"


def test_a_batch_that_was_cancelled_for_groups_that_were_resumed_meanwhile_is_packed_anew() -> None:
    lane = Lane()
    lane.drop("a")
    lane.batches.ended = False
    lane.round()
    lane.world.groups.set("g", GroupState.CANCELED)
    lane.round()
    lane.world.groups.set("g", GroupState.RUNNING)
    lane.batches.ended = True
    lane.round()
    lane.round()
    assert (lane.kinds, len(lane.batches.made)) == ({"a": "succeeded"}, 2)
    assert lane.world.ledger.open == {}


def test_a_batch_of_too_many_groups_to_remember_is_never_cancelled_for_them() -> None:
    lane = Lane()
    for number in range(51):
        lane.drop("a", group=f"g-{number}")
    lane.batches.ended = False
    lane.round()
    for number in range(51):
        lane.world.groups.set(f"g-{number}", GroupState.CANCELED)
    lane.round()
    assert lane.batches.canceled == []


@pytest.mark.parametrize("step", ["end_held", "done"])
def test_a_collector_that_dies_while_it_cancels_goes_on_in_the_next_round_and_counts_once(step: str) -> None:
    lane = paused("a", "b")
    lane.world.groups.set("g", GroupState.RUNNING)
    lane.drop("c")
    lane.world.groups.set("g", GroupState.CANCELED)
    lane.world.jobs.dies, lane.store.dies = {step}, {step}
    with pytest.raises(Killed):
        lane.round()
    lane.world.jobs.dies, lane.store.dies = set(), set()
    lane.round()
    lane.round()
    assert {lane.kinds[name] for name in "abc"} == {"canceled"}
    assert (tally(lane).canceled, tally(lane).running) == (3, 0)


# -- Finished ----------------------------------------------------------------------------------------------------------


def test_a_finished_group_is_told_once_and_again_after_more_jobs() -> None:
    lane = Lane()
    send(lane, direct("a", group_size=2))
    lane.round()
    assert lane.events.told == []
    send(lane, direct("b"))
    for _ in range(3):
        lane.round()
    assert [(name, told.done) for name, told in lane.events.told] == [("g", 2)]
    send(lane, direct("c"))
    for _ in range(3):
        lane.round()
    assert [(name, told.done) for name, told in lane.events.told] == [("g", 2), ("g", 3)]


def test_an_announced_group_with_a_job_that_runs_is_not_told() -> None:
    lane = Lane()
    send(lane, direct("a", group_size=1))
    lane.drop("b")
    lane.round()
    assert lane.events.told == []
    lane.round()
    assert [told.ended for _, told in lane.events.told] == [2]


@pytest.mark.parametrize(("quiet", "told"), [(QUIET - SECOND, 0), (QUIET, 1)])
def test_a_group_that_nobody_announced_is_told_after_five_quiet_minutes(quiet: dt.timedelta, told: int) -> None:
    lane = Lane()
    send(lane, direct("a"))
    lane.round(after=quiet)
    assert len(lane.events.told) == told


def test_an_event_that_was_sent_by_a_round_that_failed_then_may_be_sent_again_and_says_the_same() -> None:
    lane = Lane()
    send(lane, direct("a", group_size=1))
    told = lane.world.groups.told

    async def failing(*_: object) -> None:
        raise StoreError("dynamodb.update_item: ReadTimeoutError")

    lane.world.groups.told = failing  # type: ignore[method-assign, assignment]  # the fake's own
    with pytest.raises(StoreError):
        lane.round()
    lane.world.groups.told = told  # type: ignore[method-assign]  # the fake's own
    lane.round()
    lane.round()
    assert len(lane.events.told) == 2
    assert lane.events.told[0] == lane.events.told[1]


@pytest.mark.parametrize(("after", "closed"), [(KEPT_OPEN - SECOND, []), (KEPT_OPEN, ["g"])])
def test_a_group_is_closed_ten_minutes_after_its_last_job_when_it_was_told(
    after: dt.timedelta, closed: list[str]
) -> None:
    lane = Lane()
    send(lane, direct("a", group_size=1))
    lane.round()
    assert len(lane.events.told) == 1
    lane.round(after=after - MINUTE)
    assert lane.world.groups.closed == closed


def test_a_group_is_not_closed_before_it_was_told_nor_while_something_is_running() -> None:
    lane = Lane()
    lane.drop("a", group_size=1)
    lane.batches.ended = False
    for _ in range(5):
        lane.round(after=HOUR)
    assert (lane.world.groups.closed, lane.events.told) == ([], [])
    lane.batches.ended = True
    lane.round()
    assert (lane.world.groups.closed, len(lane.events.told)) == ([], 1)
    lane.round()
    assert lane.world.groups.closed == ["g"]


def test_a_job_that_comes_later_opens_its_group_again() -> None:
    lane = Lane()
    send(lane, direct("a", group_size=1))
    lane.round()
    lane.round(after=HOUR)
    assert lane.world.groups.closed == ["g"]
    lane.drop("b")
    lane.round()
    lane.round()
    assert lane.kinds["b"] == "succeeded"
    assert [told.ended for _, told in lane.events.told] == [1, 2]


def test_more_held_jobs_than_a_round_has_time_for_are_released_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cost_router.core.releasing.TOGETHER", 2)
    lane = paused(*(f"job-{number}" for number in range(5)))
    lane.world.groups.set("g", GroupState.RUNNING)
    put_back = lane.returns.put_back

    async def slowly(jobs: list[HeldJob]) -> list[HeldJob]:
        lane.world.clock.advance(241.0)
        return await put_back(jobs)

    lane.returns.put_back = slowly  # type: ignore[method-assign, assignment]  # the fake's own
    lane.round()
    assert len(lane.returns.sent) == 2
    for _ in range(3):
        lane.round()
    assert sorted(row.custom_id for row in lane.returns.sent) == [f"job-{number}" for number in range(5)]


def test_the_collector_keeps_looking_after_other_things_when_a_group_fails() -> None:
    lane = paused("a")
    lane.world.groups.set("g", GroupState.RUNNING)
    lane.drop("b", group="h")

    async def put_back(jobs: list[HeldJob]) -> list[HeldJob]:
        raise StoreError("sqs.send_message_batch: ReadTimeoutError")

    lane.returns.put_back = put_back  # type: ignore[method-assign, assignment]  # the fake's own
    with pytest.raises(StoreError):
        lane.round()
    assert len(lane.batches.submitted) == 1
