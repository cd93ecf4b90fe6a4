"""Jobs in DynamoDB: each is worked on by one owner and counted once, though replies are lost and workers die."""

import asyncio
import datetime as dt
import uuid
from collections.abc import Coroutine, Sequence
from decimal import Decimal
from typing import Any

import pytest

from cost_router.adapters.aws import Aws
from cost_router.adapters.groups import DynamoGroups
from cost_router.adapters.job_store import DynamoJobs
from cost_router.adapters.jobs_table import JobsTable
from cost_router.adapters.kept import KeptMessages
from cost_router.adapters.system import SystemChance
from cost_router.adapters.transactions import Transactions
from cost_router.contract import Table
from cost_router.core.errors import InvalidRequest, StoreError
from cost_router.core.groups import End, Tally
from cost_router.core.job_ports import BROKEN, HeldJob, JobState, Kept, Lease, Occupied, Spent, Why
from tests.builders import NOW, FakeClock, run

SECOND = dt.timedelta(seconds=1)
UNTIL = NOW + dt.timedelta(minutes=15)
LATER = UNTIL + dt.timedelta(minutes=15)
EXPIRED = NOW + dt.timedelta(days=15)
PRINT = "print-of-a"
MESSAGE = {"custom_id": "a", "params": {"messages": [{"role": "user", "content": "Zoë's \u2028 shoes"}]}}
AS_KEPT = '{"custom_id":"a","params":{"messages":[{"role":"user","content":"Zoë\'s \u2028 shoes"}]}}'.encode()
SPENT = Spent(Decimal("0.0000441"), Decimal("0.000735"))


# --- a table and a bucket, also used by tests of what else is in them


def make_jobs(aws: Aws) -> DynamoJobs:
    """A new table with its index, and a new bucket."""
    name = f"jobs-{uuid.uuid4()}"
    keys = (Table.JOBS_KEY, Table.JOBS_BATCH, Table.JOBS_SINCE)
    aws.client("dynamodb").create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        KeySchema=[{"AttributeName": Table.JOBS_KEY, "KeyType": "HASH"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": Table.JOBS_INDEX,
                "KeySchema": [
                    {"AttributeName": Table.JOBS_BATCH, "KeyType": "HASH"},
                    {"AttributeName": Table.JOBS_SINCE, "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    aws.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-north-1"})
    return over(aws, name)


def over(aws: Aws, name: str) -> DynamoJobs:
    """The store in a table and a bucket of that name."""
    return DynamoJobs(JobsTable(aws, name, Transactions(aws, FakeClock(), SystemChance())), KeptMessages(aws, name))


class LosesReplies(Aws):
    """Each write has its effect, then its first reply is lost: botocore, or a transaction's caller, makes it again.

    forgets: so late that DynamoDB no longer knows the transaction by its token.
    """

    def __init__(self, *, forgets: bool = False) -> None:
        super().__init__()
        self.forgets = forgets
        self.lost: set[str] = set()

    async def call(self, service: str, operation: str, **arguments: Any) -> Any:
        if operation == "transact_write_items":
            token = arguments["ClientRequestToken"]
            if token not in self.lost:
                self.lost.add(token)
                await super().call(service, operation, **arguments)
                raise StoreError(f"{service}.{operation}: ReadTimeoutError")
            if self.forgets:
                arguments["ClientRequestToken"] = uuid.uuid4().hex
        elif operation in {"update_item", "put_item"}:
            await super().call(service, operation, **arguments)
        return await super().call(service, operation, **arguments)


async def all_at_once(calls: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
    return await asyncio.gather(*calls)


async def outcomes_of(calls: dict[str, Coroutine[Any, Any, object]]) -> dict[str, type]:
    """What kind of thing each call gave, or raised."""
    outcomes = await asyncio.gather(*calls.values(), return_exceptions=True)
    return {name: type(outcome) for name, outcome in zip(calls, outcomes, strict=True)}


def tally(store: DynamoJobs, group: str = "nightly") -> Tally:
    return run(DynamoGroups(store.table).tally(group))


def item(store: DynamoJobs, job: str = "nightly/a") -> dict[str, Any]:
    return run(store.table.item(job))


def set_state(store: DynamoJobs, state: JobState) -> None:
    run(store.table.update("nightly/a", "SET #state = :state", state=state.value))


def messages(store: DynamoJobs) -> list[str]:
    """The keys of the messages that are kept."""
    found = store.messages.aws.client("s3").list_objects_v2(Bucket=store.messages.bucket)
    return [row["Key"] for row in found.get("Contents", [])]


def held(store: DynamoJobs, group: str = "nightly") -> list[HeldJob]:
    async def all_of_them() -> list[HeldJob]:
        return [job async for job in store.held(group)]

    return run(all_of_them())


@pytest.fixture
def store(aws: Aws) -> DynamoJobs:
    return make_jobs(aws)


@pytest.fixture(params=[False, True], ids=["token_known", "token_forgotten"])
def losing(store: DynamoJobs, request: pytest.FixtureRequest) -> DynamoJobs:
    """The same table and bucket, by way of a net that loses replies."""
    return over(LosesReplies(forgets=request.param), store.table.name)


def take(
    store: DynamoJobs, owner: str = "req_1", now: dt.datetime = NOW, until: dt.datetime = UNTIL, print_: str = PRINT
) -> Lease | Occupied:
    return run(store.take("nightly", "a", print_, owner, (now, until)))


def leased(store: DynamoJobs, owner: str = "req_1", now: dt.datetime = NOW, until: dt.datetime = UNTIL) -> Lease:
    found = take(store, owner, now, until)
    assert isinstance(found, Lease)
    return found


def retake(
    store: DynamoJobs, owner: str = "req_2", now: dt.datetime = NOW, until: dt.datetime = UNTIL
) -> Lease | Occupied:
    return run(store.retake("nightly", "a", owner, (now, until)))


def held_job(store: DynamoJobs) -> HeldJob:
    """A job that was put back once, with what that cost, and is held since."""
    run(store.put_back(leased(store, "req_0"), NOW, attempts=2, lost=1, spent=SPENT))
    run(store.hold(leased(store, "req_1"), "acme", MESSAGE, NOW))
    return HeldJob("nightly", "a", "req_1", "acme", SPENT)


# --- take


def test_a_new_job_is_leased_and_started_in_its_groups_counts(store: DynamoJobs) -> None:
    assert take(store) == Lease("nightly", "a", "req_1", UNTIL)
    assert item(store) == {
        "job": {"S": "nightly/a"},
        "state": {"S": "leased"},
        "owner": {"S": "req_1"},
        "lease": {"S": "2026-11-23T12:15:00+00:00"},
        "fingerprint": {"S": "print-of-a"},
        "expires_at": {"N": "1796731200"},  # 2026-12-08 12:00 UTC
    }
    assert tally(store) == Tally(started=1)


def test_counts_are_kept_in_eight_parts_and_for_ninety_days(store: DynamoJobs) -> None:
    for number in range(40):
        run(store.take("nightly", f"job-{number}", PRINT, "req_1", (NOW, UNTIL)))
    parts = [item(store, f"group#nightly#{shard}") for shard in range(8)]
    assert all(int(part["started"]["N"]) > 0 for part in parts)
    assert {part["expires_at"]["N"] for part in parts} == {"1803211200"}  # 2027-02-21 12:00 UTC
    assert (tally(store).started, item(store, "group#nightly#8")) == (40, {})


@pytest.mark.parametrize(
    ("now", "found"),
    [
        (NOW, Occupied(Why.BUSY, UNTIL)),
        (UNTIL - SECOND, Occupied(Why.BUSY, UNTIL)),
        (UNTIL, Lease("nightly", "a", "req_2", LATER, attempts=1)),
    ],
)
def test_a_job_is_busy_until_its_lease_ends(store: DynamoJobs, now: dt.datetime, found: Lease | Occupied) -> None:
    take(store)
    assert take(store, "req_2", now, LATER) == found
    assert tally(store) == Tally(started=1)


def test_each_lease_that_ended_before_a_call_counts_as_an_attempt_and_lost_nothing(store: DynamoJobs) -> None:
    take(store)
    second, third = leased(store, "req_2", UNTIL, LATER), leased(store, "req_3", LATER, LATER + SECOND)
    assert [(lease.attempts, lease.lost) for lease in (second, third)] == [(1, 0), (2, 0)]


def test_each_lease_that_ended_in_a_call_counts_as_lost_and_not_as_an_attempt(store: DynamoJobs) -> None:
    assert run(store.calling(leased(store)))
    second = leased(store, "req_2", UNTIL, LATER)
    assert run(store.calling(second))
    third = leased(store, "req_3", LATER, LATER + SECOND)
    assert [(lease.attempts, lease.lost) for lease in (second, third)] == [(0, 1), (0, 2)]


def test_of_eight_that_take_a_new_job_one_has_it(store: DynamoJobs) -> None:
    calls = [store.take("nightly", "a", PRINT, f"req_{number}", (NOW, UNTIL)) for number in range(8)]
    found = run(all_at_once(calls))
    (won,) = [lease for lease in found if isinstance(lease, Lease)]
    assert item(store)["owner"] == {"S": won.owner}
    assert [other for other in found if other != won] == [Occupied(Why.BUSY, UNTIL)] * 7
    assert tally(store) == Tally(started=1)


def test_of_eight_that_take_a_job_whose_lease_ended_in_a_call_one_has_it_and_it_is_lost_once(
    store: DynamoJobs,
) -> None:
    run(store.calling(leased(store)))
    calls = [store.take("nightly", "a", PRINT, f"req_{number}", (UNTIL, LATER)) for number in range(2, 10)]
    found = run(all_at_once(calls))
    (won,) = [lease for lease in found if isinstance(lease, Lease)]
    assert won == Lease("nightly", "a", won.owner, LATER, lost=1)
    assert [other for other in found if other != won] == [Occupied(Why.BUSY, LATER)] * 7


def test_a_lease_whose_reply_was_lost_is_ours_and_counted_once(store: DynamoJobs, losing: DynamoJobs) -> None:
    assert take(losing) == Lease("nightly", "a", "req_1", UNTIL)
    assert tally(store) == Tally(started=1)


def test_a_lease_taken_over_whose_reply_was_lost_is_ours_and_the_call_before_is_lost_once(
    store: DynamoJobs, losing: DynamoJobs
) -> None:
    run(store.calling(leased(store)))
    assert take(losing, "req_2", UNTIL, LATER) == Lease("nightly", "a", "req_2", LATER, lost=1)


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("now", [NOW, UNTIL])
def test_a_job_with_another_body_is_another_job_in_every_state(
    store: DynamoJobs, state: JobState, now: dt.datetime
) -> None:
    take(store)
    set_state(store, state)
    before = item(store)
    assert take(store, "req_2", now, LATER, "another-print") == Occupied(Why.OTHER)
    assert take(store, "req_2", now, LATER, BROKEN) == Occupied(Why.OTHER)
    assert (item(store), tally(store)) == (before, Tally(started=1))


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (JobState.PARKED, Why.WAITING),
        (JobState.HELD, Why.WAITING),
        (JobState.DONE, Why.ENDED),
        (JobState.FAILED, Why.ENDED),
        (JobState.CANCELED, Why.ENDED),
    ],
)
def test_a_copy_of_a_job_that_waits_or_has_ended_is_told_so(store: DynamoJobs, state: JobState, why: Why) -> None:
    take(store)
    set_state(store, state)
    assert take(store, "req_2", UNTIL, LATER) == Occupied(why)


def broken_and_failed(store: DynamoJobs) -> None:
    lease = take(store, "req_0", print_=BROKEN)
    assert isinstance(lease, Lease)
    run(store.end(lease, End.FAILED, Spent(), NOW))
    assert tally(store) == Tally(started=1, failed=1)


def test_a_mended_message_takes_the_place_of_a_broken_one_which_no_longer_counts_as_failed(store: DynamoJobs) -> None:
    broken_and_failed(store)
    assert take(store) == Lease("nightly", "a", "req_1", UNTIL)
    assert tally(store) == Tally(started=1)
    assert take(store, "req_2", print_="another-print") == Occupied(Why.OTHER)
    assert take(store, "req_2", print_=BROKEN) == Occupied(Why.OTHER)


def test_of_eight_mended_messages_one_takes_the_place_of_a_broken_one(store: DynamoJobs) -> None:
    broken_and_failed(store)
    calls = [store.take("nightly", "a", PRINT, f"req_{number}", (NOW, UNTIL)) for number in range(1, 9)]
    found = run(all_at_once(calls))
    assert sum(isinstance(lease, Lease) for lease in found) == 1
    assert found.count(Occupied(Why.BUSY, UNTIL)) == 7
    assert tally(store) == Tally(started=1)


def test_a_mended_message_whose_lease_was_lost_on_the_way_has_it_all_the_same(
    store: DynamoJobs, losing: DynamoJobs
) -> None:
    broken_and_failed(store)
    assert take(losing) == Lease("nightly", "a", "req_1", UNTIL)
    assert tally(store) == Tally(started=1)


def test_a_broken_message_that_comes_again_has_ended(store: DynamoJobs) -> None:
    broken_and_failed(store)
    assert take(store, print_=BROKEN) == Occupied(Why.ENDED)


def test_an_ended_job_is_remembered_for_fifteen_days_and_is_new_after_that_though_its_item_is_there(
    store: DynamoJobs,
) -> None:
    run(store.put_back(leased(store, "req_0"), NOW, attempts=4, lost=1, spent=SPENT))
    run(store.end(leased(store), End.DONE, SPENT, NOW))
    until = EXPIRED + dt.timedelta(minutes=15)
    assert take(store, "req_2", EXPIRED - SECOND, until) == Occupied(Why.ENDED)
    again = take(store, "req_2", EXPIRED, until, "another-print")
    assert again == Lease("nightly", "a", "req_2", until)
    assert tally(store).started == 2
    assert run(store.calling(again))
    last = take(store, "req_3", until, until + SECOND, "another-print")
    assert last == Lease("nightly", "a", "req_3", until + SECOND, lost=1), "nothing of the earlier job is left"


# --- calling, put_back, end


def test_a_call_is_noted_as_often_as_it_is_told_and_also_when_the_reply_was_lost(
    store: DynamoJobs, losing: DynamoJobs
) -> None:
    lease = leased(store)
    assert run(store.calling(lease))
    assert run(losing.calling(lease))
    assert item(store)["state"] == {"S": "calling"}


def test_what_a_job_failed_lost_and_cost_is_known_to_its_next_owner_at_once(store: DynamoJobs) -> None:
    lease = leased(store)
    run(store.calling(lease))
    run(store.put_back(lease, NOW, attempts=2, lost=1, spent=SPENT))
    assert item(store)["state"] == {"S": "queued"}
    assert take(store, "req_2", NOW) == Lease(
        "nightly", "a", "req_2", UNTIL, 2, 1, Decimal("0.0000441"), Decimal("0.000735")
    )
    assert tally(store) == Tally(started=1)


def test_a_job_is_put_back_once_though_the_reply_was_lost(store: DynamoJobs, losing: DynamoJobs) -> None:
    run(losing.put_back(leased(store), NOW + SECOND, attempts=1, lost=0, spent=SPENT))
    assert take(store, "req_2", NOW) == Occupied(Why.BUSY, NOW + SECOND)
    assert leased(store, "req_2", NOW + SECOND).attempts == 1


@pytest.mark.parametrize("method", ["calling", "put_back", "hold", "end"])
def test_who_has_lost_the_lease_changes_nothing(store: DynamoJobs, method: str) -> None:
    lost = leased(store)
    take(store, "req_2", UNTIL, LATER)
    before = item(store)
    calls: dict[str, Coroutine[Any, Any, object]] = {
        "calling": store.calling(lost),
        "put_back": store.put_back(lost, UNTIL, attempts=5, lost=5, spent=SPENT),
        "hold": store.hold(lost, "acme", MESSAGE, UNTIL),
        "end": store.end(lost, End.DONE, SPENT, UNTIL),
    }
    for name, call in calls.items():
        if name == method:
            assert not run(call)
        else:
            call.close()
    assert (item(store), tally(store), messages(store)) == (before, Tally(started=1), [])


@pytest.mark.parametrize("method", ["calling", "put_back", "hold"])
def test_who_has_put_a_job_back_has_its_lease_no_longer(store: DynamoJobs, method: str) -> None:
    lease = leased(store)
    run(store.put_back(lease, NOW, attempts=1, lost=0, spent=SPENT))
    before = item(store)
    if method == "calling":
        assert not run(store.calling(lease))
    elif method == "put_back":
        run(store.put_back(lease, LATER, attempts=5, lost=5, spent=Spent()))
    else:
        run(store.hold(lease, "acme", MESSAGE, NOW))
    assert (item(store), messages(store)) == (before, [])


def test_a_job_ends_once_however_often_that_is_told(store: DynamoJobs) -> None:
    lease = leased(store)
    for end in (End.DONE, End.DONE, End.FAILED):
        run(store.end(lease, end, SPENT, NOW))
    assert tally(store) == Tally(1, 1, 0, 0, Decimal("0.0000441"), Decimal("0.000735"))
    assert item(store)["state"] == {"S": "done"}
    assert item(store)["expires_at"] == {"N": "1796731200"}


def test_a_job_ends_once_though_the_reply_was_lost(store: DynamoJobs, losing: DynamoJobs) -> None:
    run(losing.end(leased(store), End.FAILED, SPENT, NOW))
    assert tally(store) == Tally(1, 0, 1, 0, Decimal("0.0000441"), Decimal("0.000735"))


def test_a_job_ends_although_its_lease_has_while_nobody_else_has_it(store: DynamoJobs) -> None:
    run(store.end(leased(store), End.DONE, SPENT, LATER))
    assert tally(store).done == 1


def test_what_jobs_cost_is_summed_exactly(store: DynamoJobs) -> None:
    costs = ("0.1", "0.2", "0.0000000000000001", "1E-7", "123456789.123456789")
    for number, cost in enumerate(costs):
        times = (NOW, UNTIL)
        lease = run(store.take("nightly", f"job-{number}", PRINT, "req_1", times))
        assert isinstance(lease, Lease)
        run(store.end(lease, End.DONE, Spent(Decimal(cost), -Decimal(cost)), NOW))
    found = tally(store)
    assert found.cost_usd == Decimal("123456789.4234568890000001")
    assert found.baseline_usd == Decimal("-123456789.4234568890000001")


# --- hold, released, retake


def test_a_job_that_is_held_is_listed_and_its_message_is_kept_and_not_in_the_table(store: DynamoJobs) -> None:
    assert held(store) == []
    job = held_job(store)
    assert held(store) == [job]
    assert held(store, "daily") == []
    assert run(store.kept("nightly", "a")) == Kept(AS_KEPT, None)
    found = item(store)
    assert "shoes" not in repr(found)
    assert "expires_at" not in found, "it may be held for longer than a message can wait"


def test_the_job_that_was_held_first_comes_first(store: DynamoJobs) -> None:
    for custom_id, seconds in (("late", 2.5), ("early", 1.0), ("middle", 2.0)):
        lease = run(store.take("nightly", custom_id, PRINT, f"req_{custom_id}", (NOW, UNTIL)))
        assert isinstance(lease, Lease)
        run(store.hold(lease, "acme", MESSAGE, NOW + dt.timedelta(seconds=seconds)))
    assert [job.custom_id for job in held(store)] == ["early", "middle", "late"]


def test_a_message_that_json_cannot_carry_is_refused_and_its_job_stays_leased(store: DynamoJobs) -> None:
    with pytest.raises(InvalidRequest):
        run(store.hold(leased(store), "acme", {"x": "\ud800"}, NOW))
    assert (item(store)["state"], held(store), messages(store)) == ({"S": "leased"}, [], [])


def test_a_job_is_held_with_its_message_though_the_reply_was_lost(store: DynamoJobs, losing: DynamoJobs) -> None:
    run(losing.hold(leased(store), "acme", MESSAGE, NOW))
    assert held(store) == [HeldJob("nightly", "a", "req_1", "acme")]
    assert run(store.kept("nightly", "a")) == Kept(AS_KEPT, None)


def test_nothing_is_kept_of_a_job_that_was_never_held_or_never_came(store: DynamoJobs) -> None:
    take(store)
    assert run(store.kept("nightly", "a")) is None
    assert run(store.kept("nightly", "b")) is None


def test_a_released_job_is_no_longer_listed_and_is_leased_with_all_that_it_had(store: DynamoJobs) -> None:
    job = held_job(store)
    run(store.released(job))
    assert held(store) == []
    assert run(store.kept("nightly", "a")) == Kept(AS_KEPT, None)
    assert retake(store) == Lease(
        "nightly", "a", "req_2", UNTIL, 2, 1, Decimal("0.0000441"), Decimal("0.000735"), kept="req_1"
    )
    assert tally(store) == Tally(started=1)
    assert item(store)["expires_at"] == {"N": "1796731200"}


def test_a_job_that_the_queue_has_before_that_is_noted_is_leased_and_no_longer_listed(store: DynamoJobs) -> None:
    job = held_job(store)
    assert isinstance(retake(store), Lease)
    assert held(store) == []
    before = item(store)
    run(store.released(job))
    assert item(store) == before


def test_a_copy_of_the_message_of_a_held_job_finds_it_waiting_also_when_it_is_released(store: DynamoJobs) -> None:
    job = held_job(store)
    assert take(store, "req_2", LATER, LATER + SECOND) == Occupied(Why.WAITING)
    run(store.released(job))
    assert take(store, "req_2", LATER, LATER + SECOND) == Occupied(Why.WAITING)


def test_of_eight_copies_of_a_released_job_one_has_it(store: DynamoJobs) -> None:
    run(store.released(held_job(store)))
    found = run(all_at_once([store.retake("nightly", "a", f"req_{n}", (NOW, UNTIL)) for n in range(2, 10)]))
    assert sum(isinstance(lease, Lease) for lease in found) == 1
    assert found.count(Occupied(Why.BUSY, UNTIL)) == 7


def test_a_released_job_whose_lease_was_lost_on_the_way_is_ours(store: DynamoJobs, losing: DynamoJobs) -> None:
    run(losing.released(held_job(store)))
    found = retake(losing)
    assert isinstance(found, Lease)
    assert (found.owner, found.kept) == ("req_2", "req_1")


@pytest.mark.parametrize(
    ("now", "found"), [(UNTIL - SECOND, Occupied(Why.BUSY, UNTIL)), (UNTIL, Lease("nightly", "a", "req_3", LATER))]
)
def test_a_released_job_is_busy_until_its_lease_ends_and_then_keeps_its_message(
    store: DynamoJobs, now: dt.datetime, found: Lease | Occupied
) -> None:
    held_job(store)
    retake(store)
    again = retake(store, "req_3", now, LATER)
    assert type(again) is type(found)
    if isinstance(again, Lease):
        assert (again.owner, again.until, again.kept) == ("req_3", LATER, "req_1")
    assert run(store.kept("nightly", "a")) == Kept(AS_KEPT, None)


@pytest.mark.parametrize(
    ("state", "why"),
    [(JobState.PARKED, Why.WAITING), (JobState.DONE, Why.ENDED), (JobState.CANCELED, Why.ENDED)],
)
def test_a_copy_of_a_released_job_that_went_on_is_told_so(store: DynamoJobs, state: JobState, why: Why) -> None:
    held_job(store)
    retake(store)
    set_state(store, state)
    assert retake(store, "req_3", LATER, LATER + SECOND) == Occupied(why)


def test_a_released_job_that_is_gone_has_ended(store: DynamoJobs) -> None:
    assert retake(store) == Occupied(Why.ENDED)


def test_a_job_that_is_held_again_is_not_released_by_who_sent_it_the_first_time(store: DynamoJobs) -> None:
    first = held_job(store)
    again = retake(store)
    assert isinstance(again, Lease)
    run(store.hold(again, "acme", MESSAGE, NOW))
    run(store.released(first))
    assert held(store) == [HeldJob("nightly", "a", "req_2", "acme", SPENT)]
    assert run(store.kept("nightly", "a")) == Kept(AS_KEPT, None)
    assert messages(store) == ["batches/req_2.json"], "of the two messages one is enough"


def test_a_job_that_ends_after_it_was_held_leaves_no_message(store: DynamoJobs) -> None:
    held_job(store)
    lease = retake(store)
    assert isinstance(lease, Lease)
    run(store.end(lease, End.DONE, SPENT, NOW))
    assert (messages(store), run(store.kept("nightly", "a"))) == ([], None)
    assert tally(store).done == 1


def test_a_job_that_ends_after_it_was_held_leaves_no_message_though_the_reply_was_lost(
    store: DynamoJobs, losing: DynamoJobs
) -> None:
    held_job(store)
    lease = retake(store)
    assert isinstance(lease, Lease)
    run(losing.end(lease, End.DONE, SPENT, NOW))
    assert (messages(store), tally(store).done) == ([], 1)


@pytest.mark.parametrize("method", ["put_back", "hold", "end"])
def test_who_has_lost_the_lease_of_a_job_that_was_held_leaves_its_message_to_the_next_owner(
    store: DynamoJobs, method: str
) -> None:
    held_job(store)
    lost = retake(store)
    assert isinstance(lost, Lease)
    assert isinstance(retake(store, "req_3", UNTIL, LATER), Lease)
    if method == "put_back":
        run(store.put_back(lost, UNTIL, attempts=0, lost=0, spent=SPENT))
    elif method == "hold":
        run(store.hold(lost, "acme", MESSAGE, UNTIL))
    else:
        run(store.end(lost, End.DONE, SPENT, UNTIL))
    assert run(store.kept("nightly", "a")) == Kept(AS_KEPT, None)
    assert messages(store) == ["batches/req_1.json"]


# --- end_held


def test_a_held_job_is_canceled_once_however_often_that_is_told(store: DynamoJobs) -> None:
    job = held_job(store)
    for _ in range(2):
        run(store.end_held(job, NOW))
    assert tally(store) == Tally(1, 0, 0, 1, Decimal("0.0000441"), Decimal("0.000735"))
    assert (held(store), messages(store)) == ([], [])
    assert item(store)["expires_at"] == {"N": "1796731200"}
    assert take(store, "req_2") == Occupied(Why.ENDED)
    assert retake(store) == Occupied(Why.ENDED)


def test_a_held_job_is_canceled_once_though_the_reply_was_lost(store: DynamoJobs, losing: DynamoJobs) -> None:
    run(losing.end_held(held_job(store), NOW))
    assert tally(store) == Tally(1, 0, 0, 1, Decimal("0.0000441"), Decimal("0.000735"))
    assert messages(store) == []


def test_a_job_that_is_released_may_still_be_canceled_until_somebody_has_it(store: DynamoJobs) -> None:
    job = held_job(store)
    run(store.released(job))
    run(store.end_held(job, NOW))
    assert (tally(store).canceled, retake(store)) == (1, Occupied(Why.ENDED))


def test_a_job_that_somebody_has_again_is_not_canceled_and_keeps_its_message(store: DynamoJobs) -> None:
    job = held_job(store)
    retake(store)
    before = item(store)
    run(store.end_held(job, NOW))
    assert (item(store), tally(store)) == (before, Tally(started=1))
    assert run(store.kept("nightly", "a")) == Kept(AS_KEPT, None)


def test_a_job_that_is_held_again_is_not_canceled_by_who_saw_it_the_first_time(store: DynamoJobs) -> None:
    first = held_job(store)
    again = retake(store)
    assert isinstance(again, Lease)
    run(store.hold(again, "acme", MESSAGE, NOW))
    run(store.end_held(first, NOW))
    assert held(store) == [HeldJob("nightly", "a", "req_2", "acme", SPENT)]
    assert run(store.kept("nightly", "a")) == Kept(AS_KEPT, None)
    assert tally(store) == Tally(started=1)


# --- nobody there


def test_a_table_or_bucket_that_cannot_be_reached_is_a_store_error(broken_aws: Aws) -> None:
    store, lease, job = over(broken_aws, "jobs"), Lease("g", "a", "req_1", UNTIL), HeldJob("g", "a", "req_1", "acme")

    async def listed() -> list[HeldJob]:
        return [job async for job in store.held("g")]

    found = run(
        outcomes_of(
            {
                "take": store.take("g", "a", PRINT, "req_1", (NOW, UNTIL)),
                "retake": store.retake("g", "a", "req_1", (NOW, UNTIL)),
                "kept": store.kept("g", "a"),
                "calling": store.calling(lease),
                "put_back": store.put_back(lease, NOW, attempts=0, lost=0, spent=SPENT),
                "hold": store.hold(lease, "acme", MESSAGE, NOW),
                "end": store.end(lease, End.DONE, SPENT, NOW),
                "held": listed(),
                "released": store.released(job),
                "end_held": store.end_held(job, NOW),
                "messages.read": store.messages.read("req_1"),
                "messages.forget": store.messages.forget("req_1"),
            }
        )
    )
    assert found == dict.fromkeys(found, StoreError)
