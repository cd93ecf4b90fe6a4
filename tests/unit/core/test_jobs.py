"""The road of a job: answered once, put back for later, or failed for good."""

import datetime as dt

import pytest

from cost_router.core.errors import Failure, InvalidRequest, NotConfigured, StoreError, UpstreamError
from cost_router.core.job import Deferred, Finished, Job, Outcome, SetAside
from cost_router.core.record import Record
from tests.builders import NOW, World, failing, limited, record, rejected, run

CUT = UpstreamError(Failure.CONNECTION, maybe_billed=True)
SECOND = dt.timedelta(seconds=1)


def perform(
    world: World,
    *,
    answer_by: dt.datetime | None = None,
    receive_count: int = 1,
    seconds: float = 800.0,
    model: str = "auto",
    id_: str = "req_1",
) -> tuple[Outcome, Record]:
    request = world.request(model=model, deadline=world.clock.monotonic() + seconds, id_=id_)
    told = record()
    return run(world.runner.run(Job("nightly", "job-1", request, receive_count, answer_by), told)), told


def result(world: World) -> dict[str, object]:
    (found,) = world.results.items.values()
    return found


def test_an_answered_job_keeps_a_line_of_anthropics_batch_results_plus_router() -> None:
    world = World()
    outcome, _ = perform(world)
    assert outcome == Finished(failed=False)
    assert list(world.results.items) == ["nightly/job-1"]
    found = result(world)
    assert list(found) == ["custom_id", "result", "router"]
    assert found["custom_id"] == "job-1"
    assert found["result"]["type"] == "succeeded"  # type: ignore[index]
    assert found["result"]["message"]["content"][0]["text"] == "the answer"  # type: ignore[index]
    assert found["router"] == {
        "model": "claude-haiku-5-5",
        "tier": "haiku",
        "label": "simple",
        "cause": "classifier",
        "cost_usd": "0.000059",
        "classifier_cost_usd": "0.000044",
        "baseline_usd": "0.0006",
        "lane": "direct",
        "request_id": "req_1",
        "tenant": "acme",
        "tags": {},
    }


def test_a_redelivered_done_job_calls_nothing_and_changes_nothing() -> None:
    world = World()
    perform(world)
    before, calls = dict(world.results.items), len(world.claude.calls)
    outcome, told = perform(world, receive_count=2)
    assert (outcome, told.outcome) == (Finished(failed=False), "already_done")
    assert (world.results.items, len(world.claude.calls)) == (before, calls)


@pytest.mark.parametrize("limit", [limited(429, 90.0), limited(529, 90.0)], ids=str)
def test_a_limit_that_lasts_is_waited_for_and_then_puts_the_job_back_and_is_no_attempt(limit: UpstreamError) -> None:
    world = World(script=[limit] * 500)
    for delivery in range(1, 21):
        began = world.clock.seconds
        outcome, _ = perform(world, model="haiku", receive_count=delivery, id_=f"req_{delivery}")
        assert isinstance(outcome, Deferred)
        assert 5.0 <= outcome.seconds <= 900.0
        assert world.clock.seconds - began == 680.0, "all of its time but what a call needs"
    assert world.jobs.items["nightly/job-1"].lease.attempts == 0
    assert (world.attempts.counts, world.results.items) == ({}, {})


@pytest.mark.parametrize(
    ("receive_count", "seconds"),
    [(1, 5.0), (2, 5.0), (3, 8.0), (9, 512.0), (10, 512.0), (11, 512.0), (1_000, 512.0)],
)
def test_waits_grow_with_deliveries_between_5_and_900_seconds(receive_count: int, seconds: float) -> None:
    world = World()
    outcome, _ = perform(world, model="haiku", receive_count=receive_count, seconds=0.0)
    assert isinstance(outcome, Deferred)
    assert outcome.seconds == pytest.approx(min(seconds, 450.0))  # half of 900: the fraction of the tests is 0.5


def test_waits_never_exceed_900_seconds() -> None:
    world = World(script=[limited(429, 86_400.0)])
    outcome, _ = perform(world, model="haiku")
    assert outcome == Deferred(900.0)


@pytest.mark.parametrize("failure", [failing(500), UpstreamError(Failure.CONNECTION)], ids=str)
def test_the_fifth_server_failure_fails_the_job(failure: UpstreamError) -> None:
    world = World(script=[failure] * 99)
    outcomes = [perform(world, model="haiku")[0] for _ in range(4)]
    assert all(isinstance(outcome, Deferred) for outcome in outcomes)
    assert world.results.items == {}
    outcome, told = perform(world, model="haiku")
    assert outcome == Finished(failed=True)
    assert told.status >= 500
    assert result(world)["result"]["error"]["error"]["type"] == "api_error"  # type: ignore[index]


def test_after_a_call_that_may_have_been_paid_for_the_job_is_tried_once_more_and_no_third_time() -> None:
    world = World(script=[CUT] * 99)
    assert isinstance(perform(world, model="haiku")[0], Deferred)
    assert world.jobs.items["nightly/job-1"].lease.lost == 1
    outcome, told = perform(world, model="haiku", id_="req_2")
    assert outcome == Finished(failed=True)
    assert (len(world.claude.calls), told.status) == (2, 504)
    assert [entry.flags for entry in world.ledger.entries] == [("ambiguous",), ("ambiguous",)]
    spent = sum(entry.cost_usd for entry in world.ledger.entries)
    assert result(world)["router"]["cost_usd"] == f"{spent:f}".rstrip("0")  # type: ignore[index]


def test_a_job_whose_calls_never_end_is_not_paid_for_for_ever() -> None:
    world = World()
    world.claude.takes = 10_000.0
    outcomes = [perform(world, model="opus", id_=f"req_{number}")[0] for number in range(3)]
    assert outcomes[1:] == [Finished(failed=True), Finished(failed=False)]
    assert len(world.ledger.entries) == 2
    assert result(world)["result"]["error"]["error"]["type"] == "timeout_error"  # type: ignore[index]


def test_a_job_that_gets_no_turn_in_time_is_put_back_uncounted() -> None:
    world = World()
    outcome, _ = perform(world, model="haiku", seconds=0.0)
    assert isinstance(outcome, Deferred)
    assert (world.attempts.counts, world.claude.calls) == ({}, [])


@pytest.mark.parametrize("status", [400, 404, 413])
def test_what_claude_rejects_fails_at_once_with_claudes_words(status: int) -> None:
    world = World(script=[rejected(status)])
    outcome, told = perform(world, model="haiku")
    assert (outcome, told.status) == (Finished(failed=True), status)
    found = result(world)
    assert found["result"] == {
        "type": "errored",
        "error": {
            "type": "error",
            "error": {"type": "invalid_request_error", "message": f"refused with {status}"},
        },
    }
    whose = {"request_id": "req_1", "tenant": "acme", "tags": {}}
    assert found["router"] == {"label": None, "cause": "pinned", "cost_usd": "0", "lane": "direct", **whose}
    assert len(world.claude.calls) == 1


def test_a_failed_job_tells_what_its_classifier_cost() -> None:
    world = World(script=[rejected(400)])
    perform(world)
    assert result(world)["router"]["cost_usd"] == "0.000044"  # type: ignore[index]


@pytest.mark.parametrize("status", [400, 401, 402, 403, 429])
def test_a_fault_of_the_account_leaves_the_job_queued_uncounted(status: int) -> None:
    world = World(script=[rejected(status, account=True)] * 20)
    assert {perform(world, model="haiku")[0] for _ in range(20)} == {Deferred(900.0)}
    assert (world.attempts.counts, world.results.items) == ({}, {})


def test_a_deployment_without_a_key_leaves_the_job_queued() -> None:
    world = World(script=[NotConfigured("no key yet")])
    outcome, _ = perform(world, model="haiku")
    assert outcome == Deferred(900.0)
    assert world.telemetry.notes == [("not_configured", {"error": "no key yet"})]
    assert world.results.items == {}


@pytest.mark.parametrize(("answer_by", "fails"), [(NOW - SECOND, True), (NOW, True), (NOW + SECOND, False)])
def test_a_job_whose_time_has_passed_fails_unpaid(answer_by: dt.datetime, fails: bool) -> None:  # noqa: FBT001  a column
    world = World()
    outcome, _ = perform(world, answer_by=answer_by)
    assert outcome == Finished(failed=fails)
    assert bool(world.claude.calls) is not fails
    if fails:
        assert "answer_by: '2026-11-23T" in result(world)["result"]["error"]["error"]["message"]  # type: ignore[index]


def test_an_unknown_model_fails_the_job_unpaid() -> None:
    world = World()
    outcome, told = perform(world, model="gpt-5")
    assert (outcome, told.status, told.error) == (Finished(failed=True), 400, "not_found_error")
    assert world.claude.calls == []


def test_a_results_bucket_that_is_down_stops_the_job_before_it_is_paid_for() -> None:
    world = World()
    world.results.down = True
    with pytest.raises(StoreError):
        perform(world)
    assert world.claude.calls == []


def test_a_message_that_is_no_job_does_not_overwrite_the_result_of_the_job_it_names() -> None:
    world = World()
    perform(world)
    before = dict(world.results.items)
    outcome = run(world.runner.reject("nightly", "job-1", InvalidRequest("params: ..."), record()))
    assert (outcome, world.results.items) == (SetAside("params: ..."), before)
