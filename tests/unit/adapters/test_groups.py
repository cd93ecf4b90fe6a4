"""Groups in DynamoDB: made by their first job, watched by all, closed once; and the bus that tells of their end."""

import datetime as dt
import json
import uuid
from collections.abc import Coroutine
from decimal import Decimal
from typing import Any

import pytest

from cost_router.adapters.aws import Aws
from cost_router.adapters.groups import BusEvents, DynamoGroups
from cost_router.adapters.job_store import DynamoJobs
from cost_router.adapters.jobs_table import group_key
from cost_router.core.errors import StoreError
from cost_router.core.groups import End, Group, GroupState, Tally
from cost_router.core.job_ports import Lease, Spent
from tests.builders import NOW, run
from tests.unit.adapters.test_job_store import LosesReplies, all_at_once, make_jobs, outcomes_of, over

SECOND = dt.timedelta(seconds=1)
TEN = dt.timedelta(seconds=10)
ALMOST = TEN - dt.timedelta(microseconds=1)
NIGHTLY = Group("nightly", "acme", GroupState.RUNNING, NOW, NOW)
TALLY = Tally(10, 7, 2, 1, Decimal("0.0000441"), Decimal("0.0012"))


@pytest.fixture
def jobs(aws: Aws) -> DynamoJobs:
    return make_jobs(aws)


@pytest.fixture
def groups(jobs: DynamoJobs) -> DynamoGroups:
    return DynamoGroups(jobs.table)


def others(groups: DynamoGroups) -> DynamoGroups:
    """Another process on the same table, which remembers nothing."""
    return DynamoGroups(groups.table)


def look(
    groups: DynamoGroups,
    now: dt.datetime = NOW,
    *,
    name: str = "nightly",
    tenant: str = "acme",
    size: int | None = None,
) -> GroupState:
    return run(groups.look(name, tenant, size, now))


def the_group(groups: DynamoGroups) -> Group:
    (found,) = run(groups.open())
    return found


def change(groups: DynamoGroups, state: GroupState) -> None:
    """What an operator does."""
    run(groups.table.update(group_key("nightly"), "SET #state = :new", new=state.value))


# --- look


def test_the_first_job_of_a_group_makes_it(groups: DynamoGroups) -> None:
    assert run(groups.open()) == []
    assert look(groups) is GroupState.RUNNING
    assert run(groups.open()) == [NIGHTLY]


def test_a_group_belongs_to_the_tenant_and_time_of_its_first_job(groups: DynamoGroups) -> None:
    look(groups)
    look(others(groups), NOW + SECOND, tenant="globex")
    assert the_group(groups) == Group("nightly", "acme", GroupState.RUNNING, NOW, NOW + SECOND)


@pytest.mark.parametrize("state", [GroupState.PAUSED, GroupState.CANCELED])
@pytest.mark.parametrize(("after", "seen"), [(ALMOST, False), (TEN, True)])
def test_what_an_operator_wants_is_known_within_ten_seconds(
    groups: DynamoGroups,
    state: GroupState,
    after: dt.timedelta,
    seen: bool,  # noqa: FBT001  a column
) -> None:
    look(groups)
    change(groups, state)
    assert look(groups, NOW + after) is (state if seen else GroupState.RUNNING)
    assert look(others(groups), NOW + SECOND) is state, "another process learns it at its first look"


def test_a_group_that_is_resumed_runs_within_ten_seconds(groups: DynamoGroups) -> None:
    look(groups)
    change(groups, GroupState.PAUSED)
    assert look(groups, NOW + TEN) is GroupState.PAUSED
    change(groups, GroupState.RUNNING)
    assert look(groups, NOW + TEN + ALMOST) is GroupState.PAUSED
    assert look(groups, NOW + TEN + TEN) is GroupState.RUNNING


@pytest.mark.parametrize(("after", "seen_at"), [(ALMOST, NOW), (TEN, NOW + TEN)])
def test_a_process_notes_every_ten_seconds_that_a_group_has_jobs(
    groups: DynamoGroups, after: dt.timedelta, seen_at: dt.datetime
) -> None:
    look(groups)
    look(groups, NOW + after)
    assert the_group(groups) == Group("nightly", "acme", GroupState.RUNNING, NOW, seen_at)


def test_what_is_remembered_of_one_group_says_nothing_of_another(groups: DynamoGroups) -> None:
    look(groups)
    change(groups, GroupState.PAUSED)
    assert look(groups, name="daily") is GroupState.RUNNING
    assert {group.name: group.state for group in run(groups.open())} == {
        "nightly": GroupState.PAUSED,
        "daily": GroupState.RUNNING,
    }


def test_eight_processes_that_make_a_group_at_once_make_one(groups: DynamoGroups) -> None:
    run(all_at_once([others(groups).look("nightly", "acme", 20, NOW) for _ in range(8)]))
    assert the_group(groups) == Group("nightly", "acme", GroupState.RUNNING, NOW, NOW, expected=20)


def test_a_look_whose_reply_was_lost_changes_nothing_more(groups: DynamoGroups) -> None:
    losing = DynamoGroups(over(LosesReplies(), groups.table.name).table)
    assert look(losing, size=20) is GroupState.RUNNING
    assert the_group(groups) == Group("nightly", "acme", GroupState.RUNNING, NOW, NOW, expected=20)


# --- announcements


def test_nobody_announced_a_group_whose_jobs_do_not_say_its_size(groups: DynamoGroups) -> None:
    look(groups)
    assert the_group(groups).expected is None


def test_the_size_that_jobs_tell_counts_once_in_whatever_process(groups: DynamoGroups) -> None:
    for number in range(3):
        look(groups, NOW + number * TEN, size=20)
        look(others(groups), NOW, size=20)
    assert the_group(groups).expected == 20


def test_the_size_is_announced_by_the_first_job_that_tells_it_though_the_group_was_just_looked_at(
    groups: DynamoGroups,
) -> None:
    look(groups)
    look(groups, NOW + SECOND, size=20)
    assert the_group(groups).expected == 20


def test_jobs_that_tell_a_larger_size_later_mean_the_whole_group(groups: DynamoGroups) -> None:
    look(groups, size=20)
    look(groups, NOW + SECOND, size=9)
    look(groups, NOW + TEN, size=100)
    assert the_group(groups).expected == 100


def test_what_several_announced_adds_up_and_each_counts_once(groups: DynamoGroups) -> None:
    look(groups)
    for who, jobs in (("file-1", 3), ("file-2", 4), ("file-1", 3), ("file:3", 50)):
        run(groups.table.announce("nightly", who, jobs))
    look(groups, NOW + TEN, size=5)
    assert the_group(groups).expected == 62


# --- open, told, close


def test_the_oldest_group_comes_first(groups: DynamoGroups) -> None:
    for name, seconds in (("a", 2.5), ("b", 1.0), ("c", 2.0)):
        look(groups, NOW + dt.timedelta(seconds=seconds), name=name)
    look(groups, NOW + 10 * TEN, name="b")
    assert [group.name for group in run(groups.open())] == ["b", "c", "a"]


def test_how_many_jobs_had_ended_when_it_was_told_is_kept(groups: DynamoGroups) -> None:
    look(groups)
    assert the_group(groups).told is None
    run(groups.told(NIGHTLY, 10))
    assert the_group(groups).told == 10
    run(groups.told(NIGHTLY, 12))
    assert the_group(groups).told == 12


def test_a_group_that_nobody_saw_since_is_closed_and_kept_for_ninety_days(groups: DynamoGroups) -> None:
    look(groups)
    for _ in range(2):
        run(groups.close(NIGHTLY, NOW))
    assert run(groups.open()) == []
    found = run(groups.table.item("group#nightly"))
    assert found["expires_at"] == {"N": "1803211200"}  # 2027-02-21 12:00 UTC
    assert found["state"] == {"S": "running"}


def test_a_group_of_which_a_job_came_meanwhile_is_not_closed(groups: DynamoGroups) -> None:
    look(groups)
    look(others(groups), NOW + dt.timedelta(microseconds=1))
    run(groups.close(NIGHTLY, NOW + TEN))
    assert the_group(groups).name == "nightly"
    assert "expires_at" not in run(groups.table.item("group#nightly"))


def test_a_closed_group_is_opened_again_by_its_next_job_and_is_as_it_was(groups: DynamoGroups) -> None:
    look(groups, size=20)
    run(groups.told(NIGHTLY, 20))
    change(groups, GroupState.CANCELED)
    run(groups.close(NIGHTLY, NOW))
    later = NOW + TEN
    assert look(groups, later, tenant="globex") is GroupState.CANCELED
    assert run(groups.open()) == [Group("nightly", "acme", GroupState.CANCELED, later, later, expected=20, told=20)]
    assert "expires_at" not in run(groups.table.item("group#nightly"))


# --- tally


def test_an_unknown_group_has_no_jobs(groups: DynamoGroups) -> None:
    assert run(groups.tally("nightly")) == Tally()


def test_a_tally_is_the_sum_of_all_parts_of_its_group_and_of_no_other(jobs: DynamoJobs, groups: DynamoGroups) -> None:
    ends = {"a": End.DONE, "b": End.FAILED, "c": End.CANCELED, "d": End.DONE, "e": None, "f": None}
    for custom_id, end in ends.items():
        for group in ("nightly", "nightly2"):
            lease = run(jobs.take(group, custom_id, "print", "req_1", (NOW, NOW + TEN)))
            assert isinstance(lease, Lease)
            if end and group == "nightly":
                run(jobs.end(lease, end, Spent(Decimal("0.1"), Decimal("0.35")), NOW))
    assert run(groups.tally("nightly")) == Tally(6, 2, 1, 1, Decimal("0.4"), Decimal("1.4"))
    assert run(groups.tally("nightly2")) == Tally(started=6)


def test_eight_jobs_that_end_at_once_are_all_counted(jobs: DynamoJobs, groups: DynamoGroups) -> None:
    def times() -> tuple[dt.datetime, dt.datetime]:
        return NOW, NOW + TEN

    leases = run(all_at_once([jobs.take("nightly", f"job-{n}", "print", "req_1", times()) for n in range(8)]))
    spent = Spent(Decimal("0.0000001"), Decimal("0.0000002"))
    run(all_at_once([jobs.end(lease, End.DONE, spent, NOW) for lease in leases]))
    assert run(groups.tally("nightly")) == Tally(8, 8, 0, 0, Decimal("0.0000008"), Decimal("0.0000016"))


# --- the bus


def listening(aws: Aws, stage: str) -> str:
    """The URL of a queue that gets the events of a stage."""
    sqs, events = aws.client("sqs"), aws.client("events")
    url: str = sqs.create_queue(QueueName=stage)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = {"source": ["claude-cost-router"], "detail-type": ["Job Group Finished"], "detail": {"stage": [stage]}}
    events.put_rule(Name=stage, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=stage, Targets=[{"Id": "queue", "Arn": arn}])
    return url


def test_who_waits_for_a_group_is_told_what_it_came_to_and_where_its_results_are(aws: Aws) -> None:
    stage = f"stage-{uuid.uuid4()}"
    url = listening(aws, stage)
    group = Group("nightly", "acme", GroupState.CANCELED, NOW, NOW, expected=10)
    run(BusEvents(aws, "the-bucket", stage).finished(group, TALLY, NOW))
    (message,) = aws.client("sqs").receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"]
    event = json.loads(message["Body"])
    assert (event["source"], event["detail-type"]) == ("claude-cost-router", "Job Group Finished")
    assert event["detail"] == {
        "stage": stage,
        "group": "nightly",
        "tenant": "acme",
        "state": "canceled",
        "jobs": 10,
        "done": 7,
        "failed": 2,
        "canceled": 1,
        "cost_usd": "0.0000441",
        "baseline_usd": "0.0012",
        "saved_usd": "0.0011559",
        "results": "s3://the-bucket/results/nightly/",
    }


class RefusingBus:
    """A client whose bus takes the call and not its event."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def put_events(self, **arguments: Any) -> dict[str, Any]:
        self.entries += arguments["Entries"]
        return {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"}]}


def test_an_event_that_the_bus_does_not_take_is_a_store_error() -> None:
    bus = RefusingBus()
    with pytest.raises(StoreError, match=r"events\.put_events: ThrottlingException"):
        run(BusEvents(Aws({"events": bus}), "the-bucket", "test").finished(NIGHTLY, TALLY, NOW))
    assert [entry["Time"] for entry in bus.entries] == [NOW]


# --- nobody there


def test_a_table_or_bus_that_cannot_be_reached_is_a_store_error(broken_aws: Aws) -> None:
    groups = DynamoGroups(over(broken_aws, "jobs").table)
    calls: dict[str, Coroutine[Any, Any, object]] = {
        "look": groups.look("nightly", "acme", 20, NOW),
        "open": groups.open(),
        "tally": groups.tally("nightly"),
        "told": groups.told(NIGHTLY, 10),
        "close": groups.close(NIGHTLY, NOW),
        "announce": groups.table.announce("nightly", "file-1", 3),
        "finished": BusEvents(broken_aws, "bucket", "test").finished(NIGHTLY, TALLY, NOW),
    }
    found = run(outcomes_of(calls))
    assert found == dict.fromkeys(found, StoreError)


def test_a_look_that_failed_is_not_remembered(groups: DynamoGroups, broken_aws: Aws) -> None:
    broken = DynamoGroups(over(broken_aws, groups.table.name).table)
    for _ in range(2):
        with pytest.raises(StoreError):
            look(broken, size=20)
