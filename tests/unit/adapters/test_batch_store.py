"""Lines and batches in the `jobs` table: every move once, though replies are lost and others move at the same time."""

import dataclasses
import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from cost_router.adapters.attempts import DynamoAttempts
from cost_router.adapters.aws import Aws
from cost_router.adapters.batch_items import batch_in, batch_item
from cost_router.adapters.batch_store import DynamoBatchStore
from cost_router.adapters.job_store import DynamoJobs
from cost_router.core.batch_lane import Aside, Batch, Line, State
from cost_router.core.batch_ports import Ended
from cost_router.core.budget import Period, Scope
from cost_router.core.errors import InvalidRequest, StoreError
from cost_router.core.groups import End, Tally
from cost_router.core.job_ports import HeldJob, Kept, Lease, Occupied, Spent, Why
from cost_router.core.ledger import Shadow
from cost_router.core.words import Label, Tier
from tests.builders import NOW, run
from tests.unit.adapters.test_job_store import LosesReplies, all_at_once, make_jobs, messages, outcomes_of, over
from tests.unit.adapters.test_job_store import held as all_held
from tests.unit.adapters.test_job_store import item as job_item
from tests.unit.adapters.test_job_store import tally as job_tally

LINE = Line(
    request_id="req_000000000000000000000001",
    group="nightly",
    custom_id="a",
    tenant="acme",
    tags={"customer": "globex"},
    session="agent-7",
    label=Label.SIMPLE,
    cause="classifier",
    model="claude-haiku-5-5",
    asked="auto",
    most_prompt_tokens=2_100,
    max_tokens=100,
    body_bytes=80,
    classifier_cost_usd=Decimal("0.0000441"),
    parked_at=NOW,
    spent_usd=Decimal("0.001"),
    effort="low",
)
SCOPES = (Scope("account", Decimal("10.5")), Scope("tenant#acme", Decimal(3), Period.MONTH))
WITH_MONEY = dataclasses.replace(LINE, aside=Aside(Decimal("0.00123"), NOW, SCOPES), tries=1)
URGENT = dataclasses.replace(LINE, answer_by=NOW + dt.timedelta(hours=3))
MESSAGE = {"custom_id": "a", "params": {"messages": [{"role": "user", "content": "Zoë's \u2028 shoes"}]}}
AS_KEPT = '{"custom_id":"a","params":{"messages":[{"role":"user","content":"Zoë\'s \u2028 shoes"}]}}'.encode()
BATCH = Batch("m" * 24, State.PACKING, NOW, NOW + dt.timedelta(minutes=16))
LATER = NOW + dt.timedelta(minutes=17)
UNTIL = NOW + dt.timedelta(minutes=15)
DONE = Ended(End.DONE, Spent(Decimal("0.0020441"), Decimal("0.0123")))


@pytest.fixture
def jobs(aws: Aws) -> DynamoJobs:
    return make_jobs(aws)


@pytest.fixture
def store(jobs: DynamoJobs) -> DynamoBatchStore:
    return DynamoBatchStore(jobs.table, jobs.messages)


@pytest.fixture(params=[False, True], ids=["token_known", "token_forgotten"])
def losing(store: DynamoBatchStore, request: pytest.FixtureRequest) -> DynamoBatchStore:
    """The same table and bucket, by way of a net that loses replies."""
    jobs = over(LosesReplies(forgets=request.param), store.table.name)
    return DynamoBatchStore(jobs.table, jobs.messages)


def jobs_of(store: DynamoBatchStore) -> DynamoJobs:
    return DynamoJobs(store.table, store.messages)


def leased(store: DynamoBatchStore, line: Line = LINE) -> Lease:
    """The lease of who is about to park a line."""
    taking = jobs_of(store).take(line.group, line.custom_id, "print", line.request_id, (NOW, UNTIL))
    found = run(taking)
    assert isinstance(found, Lease)
    return found


def park(store: DynamoBatchStore, line: Line = LINE) -> None:
    run(store.park(line, leased(store, line), MESSAGE, line.parked_at))


def parked(store: DynamoBatchStore, *, urgent: bool = False, group: str = "nightly") -> list[Line]:
    async def all_of_them() -> list[Line]:
        return [line async for line in store.parked(group, urgent=urgent)]

    return run(all_of_them())


def held(store: DynamoBatchStore) -> list[HeldJob]:
    return all_held(jobs_of(store))


def tally(store: DynamoBatchStore) -> Tally:
    return job_tally(jobs_of(store))


def kept_keys(store: DynamoBatchStore) -> list[str]:
    return messages(jobs_of(store))


def item(store: DynamoBatchStore, job: str = LINE.job) -> dict[str, Any]:
    return job_item(jobs_of(store), job)


# --- park


def test_a_line_is_read_as_it_was_written_and_its_prompt_is_not_in_the_table(store: DynamoBatchStore) -> None:
    park(store)
    assert parked(store) == [LINE]
    assert run(store.join(WITH_MONEY, BATCH.marker))
    assert run(store.members(BATCH.marker)) == [WITH_MONEY]
    assert parked(store) == []
    assert "shoes" not in repr(item(store))
    assert run(store.message(LINE)) == AS_KEPT


def test_a_line_without_label_session_and_deadline_and_one_with_all_are_read_as_they_were_written(
    store: DynamoBatchStore,
) -> None:
    bare = dataclasses.replace(LINE, custom_id="bare", request_id="req_bare", label=None, session=None, tags={})
    seen = Shadow(Label.COMPLEX, Tier.OPUS, "claude-opus-4-8")
    tried = dataclasses.replace(URGENT, arm="control", shadow=seen, aside=WITH_MONEY.aside, tries=1)
    full = dataclasses.replace(tried, custom_id="full", request_id="req_full")
    park(store, bare)
    park(store, full)
    assert (parked(store), parked(store, urgent=True)) == ([bare], [full])


def test_a_parked_job_is_no_longer_leased_and_does_not_expire(store: DynamoBatchStore) -> None:
    park(store)
    found = item(store)
    assert found["state"] == {"S": "parked"}
    assert "lease" not in found
    assert "expires_at" not in found
    copy = jobs_of(store).take("nightly", "a", "print", "req_2", (LATER, LATER))
    assert run(copy) == Occupied(Why.WAITING)
    assert tally(store) == Tally(started=1)


def test_lines_with_a_deadline_wait_apart_and_groups_too(store: DynamoBatchStore) -> None:
    urgent = dataclasses.replace(URGENT, custom_id="b", request_id="req_b")
    other = dataclasses.replace(LINE, group="daily", request_id="req_other")
    for line in (LINE, urgent, other):
        park(store, line)
    assert (parked(store), parked(store, urgent=True)) == ([LINE], [urgent])
    assert (parked(store, group="daily"), parked(store, urgent=True, group="daily")) == ([other], [])


def test_the_oldest_line_comes_first(store: DynamoBatchStore) -> None:
    for name, seconds in (("late", 2.5), ("early", 1.0), ("middle", 2.0)):
        at = NOW + dt.timedelta(seconds=seconds)
        park(store, dataclasses.replace(LINE, custom_id=name, request_id=f"req_{name}", parked_at=at))
    assert [line.custom_id for line in parked(store)] == ["early", "middle", "late"]


def test_of_eight_that_park_the_same_job_who_has_the_lease_does_and_the_messages_of_the_others_are_forgotten(
    store: DynamoBatchStore,
) -> None:
    lease = leased(store)
    leases = [lease, *(dataclasses.replace(lease, owner=f"req_{number}") for number in range(7))]
    lines = [dataclasses.replace(LINE, request_id=each.owner) for each in leases]
    parking = [store.park(line, each, MESSAGE, NOW) for line, each in zip(lines, leases, strict=True)]
    run(all_at_once(parking))
    assert parked(store) == [LINE]
    assert kept_keys(store) == [f"batches/{LINE.request_id}.json"]


def test_who_has_lost_the_lease_parks_nothing_and_leaves_the_message_to_who_has_it(store: DynamoBatchStore) -> None:
    first = jobs_of(store)
    run(first.hold(leased(store), "acme", MESSAGE, NOW))
    lost = run(first.retake("nightly", "a", "req_2", (NOW, UNTIL)))
    assert isinstance(lost, Lease)
    assert isinstance(run(first.retake("nightly", "a", "req_3", (UNTIL, LATER))), Lease)
    before = item(store)
    run(store.park(dataclasses.replace(LINE, request_id="req_2"), lost, MESSAGE, UNTIL))
    assert (item(store), parked(store)) == (before, [])
    assert run(first.kept("nightly", "a")) == Kept(AS_KEPT, None)
    assert kept_keys(store) == [f"batches/{LINE.request_id}.json"]


def test_nobody_parks_with_a_lease_that_is_like_another_in_its_owner_or_end_only(store: DynamoBatchStore) -> None:
    lease = leased(store)
    before = item(store)
    for other in (dataclasses.replace(lease, owner="req_2"), dataclasses.replace(lease, until=LATER)):
        run(store.park(dataclasses.replace(LINE, request_id="req_2"), other, MESSAGE, NOW))
        assert (item(store), parked(store), kept_keys(store)) == (before, [], [])


def test_a_line_of_a_job_that_was_held_needs_one_message_only(store: DynamoBatchStore) -> None:
    first = jobs_of(store)
    run(first.hold(leased(store), "acme", MESSAGE, NOW))
    lease = run(first.retake("nightly", "a", "req_2", (NOW, UNTIL)))
    assert isinstance(lease, Lease)
    line = dataclasses.replace(LINE, request_id="req_2")
    run(store.park(line, lease, MESSAGE, NOW))
    assert (parked(store), held(store)) == ([line], [])
    assert kept_keys(store) == ["batches/req_2.json"]
    assert run(first.kept("nightly", "a")) is None, "a copy of the message that brought it back is done"


def test_a_line_is_parked_with_its_message_though_the_reply_was_lost(
    store: DynamoBatchStore, losing: DynamoBatchStore
) -> None:
    run(losing.park(LINE, leased(store), MESSAGE, NOW))
    assert (parked(store), run(store.message(LINE))) == ([LINE], AS_KEPT)


def test_a_message_that_json_cannot_carry_is_refused_before_anything_is_kept(store: DynamoBatchStore) -> None:
    with pytest.raises(InvalidRequest):
        run(store.park(LINE, leased(store), {"x": "\ud800"}, NOW))
    assert (parked(store), kept_keys(store)) == ([], [])
    assert item(store)["state"] == {"S": "leased"}


def test_a_failed_attempt_of_the_job_does_not_let_its_line_expire(store: DynamoBatchStore) -> None:
    attempts = DynamoAttempts(store.table)
    run(attempts.failed("nightly", "a", NOW))
    park(store)
    assert "expires_at" not in item(store)
    run(attempts.failed("nightly", "a", NOW))
    run(store.join(WITH_MONEY, BATCH.marker))
    assert "expires_at" not in item(store)
    run(attempts.failed("nightly", "a", NOW))
    run(store.promote(WITH_MONEY, BATCH.marker, NOW))
    assert "expires_at" not in item(store)


# --- join, part


def test_a_line_is_moved_by_one_only_and_only_from_where_it_is(store: DynamoBatchStore) -> None:
    park(store)
    assert not run(store.part(WITH_MONEY, "first")), "it is in no batch"
    assert run(store.join(WITH_MONEY, "first"))
    assert not run(store.join(WITH_MONEY, "second"))
    assert not run(store.part(LINE, "second"))
    again = dataclasses.replace(LINE, tries=2)
    assert run(store.part(again, "first"))
    assert (parked(store), run(store.members("first"))) == ([again], [])


def test_of_eight_rounds_that_pack_a_line_one_does(store: DynamoBatchStore) -> None:
    park(store)
    lines = [dataclasses.replace(LINE, tries=number) for number in range(8)]
    found = run(all_at_once([store.join(line, f"marker-{line.tries}") for line in lines]))
    assert sum(found) == 1
    won = found.index(True)
    assert run(store.members(f"marker-{won}")) == [lines[won]]


def test_an_urgent_line_is_parked_again_among_the_urgent_ones(store: DynamoBatchStore) -> None:
    park(store, URGENT)
    assert run(store.join(URGENT, BATCH.marker))
    assert run(store.part(URGENT, BATCH.marker))
    assert (parked(store), parked(store, urgent=True)) == ([], [URGENT])


def test_a_line_that_is_parked_again_keeps_its_place(store: DynamoBatchStore) -> None:
    park(store)
    park(store, dataclasses.replace(LINE, custom_id="b", request_id="req_b", parked_at=LATER))
    run(store.join(LINE, BATCH.marker))
    run(store.part(LINE, BATCH.marker))
    assert [line.custom_id for line in parked(store)] == ["a", "b"]


def test_moves_whose_reply_was_lost_are_known_to_be_made(store: DynamoBatchStore, losing: DynamoBatchStore) -> None:
    park(store)
    assert run(losing.join(WITH_MONEY, BATCH.marker))
    assert run(losing.part(LINE, BATCH.marker))
    run(losing.begin(BATCH))
    assert run(losing.take(BATCH, LATER, LATER + dt.timedelta(minutes=16)))
    creating = dataclasses.replace(BATCH, state=State.CREATING, lines=3, groups=("daily", "nightly"))
    assert run(losing.move(creating, was=State.PACKING))
    assert run(losing.promote(LINE, None, NOW))


# --- promote


def test_a_promoted_line_is_held_for_the_direct_lane_with_its_message_and_what_it_cost(
    store: DynamoBatchStore,
) -> None:
    park(store, URGENT)
    run(store.join(URGENT, BATCH.marker))
    assert run(store.promote(URGENT, BATCH.marker, LATER))
    assert (run(store.members(BATCH.marker)), parked(store, urgent=True)) == ([], [])
    assert held(store) == [HeldJob("nightly", "a", LINE.request_id, "acme", Spent(Decimal("0.0010441")))]
    found = item(store)
    assert (found["state"], found["lane"], found["kept"]) == ({"S": "held"}, {"S": "direct"}, {"S": LINE.request_id})
    assert "line" not in found
    assert "expires_at" not in found
    jobs = jobs_of(store)
    assert run(jobs.kept("nightly", "a")) == Kept(AS_KEPT, "direct")
    lease = run(jobs.retake("nightly", "a", "req_2", (LATER, LATER)))
    assert lease == Lease("nightly", "a", "req_2", LATER, spent_usd=Decimal("0.0010441"), kept=LINE.request_id)
    assert tally(store) == Tally(started=1)


def test_a_line_that_waits_is_promoted_from_where_it_waits(store: DynamoBatchStore) -> None:
    park(store, URGENT)
    assert not run(store.promote(LINE, None, NOW)), "it waits among the urgent ones"
    assert run(store.promote(URGENT, None, NOW))
    assert (parked(store, urgent=True), len(held(store))) == ([], 1)


def test_a_line_is_promoted_once_and_only_from_where_it_is(store: DynamoBatchStore) -> None:
    park(store, URGENT)
    run(store.join(URGENT, "first"))
    assert not run(store.promote(URGENT, None, NOW))
    assert not run(store.promote(URGENT, "second", NOW))
    assert run(store.members("first")) == [URGENT]
    assert run(store.promote(URGENT, "first", NOW))
    before = item(store)
    assert not run(store.promote(URGENT, "first", LATER))
    assert item(store) == before


def test_a_promoted_line_can_be_neither_done_nor_moved_by_who_still_has_it_in_a_batch(
    store: DynamoBatchStore,
) -> None:
    park(store, URGENT)
    run(store.join(URGENT, BATCH.marker))
    run(store.promote(URGENT, BATCH.marker, NOW))
    before = item(store)
    run(store.done(URGENT, BATCH.marker, DONE, NOW))
    run(store.done(URGENT, None, DONE, NOW))
    assert not run(store.part(URGENT, BATCH.marker))
    assert not run(store.join(URGENT, "second"))
    assert (item(store), tally(store)) == (before, Tally(started=1))
    assert run(jobs_of(store).kept("nightly", "a")) == Kept(AS_KEPT, "direct")


# --- done


def test_a_done_line_is_counted_in_its_group_once_and_its_message_is_forgotten(store: DynamoBatchStore) -> None:
    park(store)
    run(store.join(WITH_MONEY, BATCH.marker))
    for _ in range(2):
        run(store.done(WITH_MONEY, BATCH.marker, DONE, NOW))
    assert tally(store) == Tally(1, 1, 0, 0, Decimal("0.0020441"), Decimal("0.0123"))
    assert (run(store.members(BATCH.marker)), run(store.message(LINE)), kept_keys(store)) == ([], None, [])


def test_a_done_line_is_counted_once_though_the_reply_was_lost(
    store: DynamoBatchStore, losing: DynamoBatchStore
) -> None:
    park(store)
    run(store.join(WITH_MONEY, BATCH.marker))
    run(losing.done(WITH_MONEY, BATCH.marker, DONE, NOW))
    assert tally(store) == Tally(1, 1, 0, 0, Decimal("0.0020441"), Decimal("0.0123"))
    assert kept_keys(store) == []


@pytest.mark.parametrize(("end", "counted"), [(End.FAILED, Tally(1, 0, 1, 0)), (End.CANCELED, Tally(1, 0, 0, 1))])
def test_a_line_that_waits_ends_where_it_waits(store: DynamoBatchStore, end: End, counted: Tally) -> None:
    park(store, URGENT)
    run(store.done(URGENT, None, Ended(end, Spent()), NOW))
    assert (tally(store), parked(store, urgent=True), kept_keys(store)) == (counted, [], [])
    copy = jobs_of(store).take("nightly", "a", "print", "req_2", (LATER, LATER))
    assert run(copy) == Occupied(Why.ENDED)


def test_a_line_is_not_done_by_who_has_it_no_longer_and_keeps_its_message(store: DynamoBatchStore) -> None:
    park(store)
    run(store.join(WITH_MONEY, "first"))
    for stale in (None, "second"):
        run(store.done(WITH_MONEY, stale, DONE, NOW))
    assert run(store.members("first")) == [WITH_MONEY], "it is not in that batch"
    assert (tally(store), run(store.message(LINE))) == (Tally(started=1), AS_KEPT)
    run(store.part(LINE, "first"))
    run(store.done(WITH_MONEY, "first", DONE, NOW))
    assert (parked(store), tally(store), run(store.message(LINE))) == ([LINE], Tally(started=1), AS_KEPT)


def test_a_done_line_is_remembered_for_fifteen_days_and_may_come_again_after_that(store: DynamoBatchStore) -> None:
    park(store)
    run(store.done(LINE, None, DONE, NOW))
    assert item(store)["expires_at"] == {"N": "1796731200"}  # 2026-12-08 12:00 UTC
    end = NOW + dt.timedelta(days=15)
    almost = end - dt.timedelta(seconds=1)
    until = end + dt.timedelta(minutes=15)
    jobs, again = jobs_of(store), dataclasses.replace(LINE, request_id="req_again", parked_at=end)
    assert run(jobs.take("nightly", "a", "print", "req_again", (almost, until))) == Occupied(Why.ENDED)
    lease = run(jobs.take("nightly", "a", "print", "req_again", (end, until)))
    assert lease == Lease("nightly", "a", "req_again", until)
    run(store.park(again, lease, MESSAGE, end))
    assert (parked(store), run(store.message(again))) == ([again], AS_KEPT)


# --- batches


def test_a_batch_is_read_as_it_was_written_with_and_without_what_is_optional() -> None:
    full = Batch(
        marker="n" * 24,
        state=State.CREATED,
        began_at=NOW,
        lease=LATER,
        lines=3,
        submitted_at=NOW + dt.timedelta(seconds=1),
        upstream_id="msgbatch_1",
        cancel_at=NOW + dt.timedelta(hours=2, microseconds=5),
        canceled_at=NOW + dt.timedelta(hours=2, minutes=1),
        groups=("daily", "nightly", "night.ly-2"),
    )
    assert batch_in(batch_item(full)) == full
    assert batch_in(batch_item(BATCH)) == BATCH
    one = dataclasses.replace(BATCH, groups=("nightly",))
    assert batch_in(batch_item(one)) == one


def test_a_batch_goes_from_state_to_state_once(store: DynamoBatchStore) -> None:
    run(store.begin(BATCH))
    creating = dataclasses.replace(
        BATCH, state=State.CREATING, lines=3, submitted_at=NOW, cancel_at=LATER, groups=("daily", "nightly")
    )
    assert run(store.move(creating, was=State.PACKING))
    assert not run(store.move(dataclasses.replace(creating, lines=4), was=State.PACKING))
    created = dataclasses.replace(creating, state=State.CREATED, upstream_id="msgbatch_1", canceled_at=LATER)
    assert run(store.move(created, was=State.CREATING))
    assert run(store.batches()) == [created]
    run(store.close(created, NOW))
    assert run(store.batches()) == []
    assert not run(store.move(created, was=State.CREATED)), "a closed batch is not opened again"
    assert item(store, "batch#mmmmmmmmmmmmmmmmmmmmmmmm")["expires_at"] == {"N": "1796731200"}


def test_a_batch_is_leased_to_one_at_a_time(store: DynamoBatchStore) -> None:
    run(store.begin(BATCH))
    until = LATER + dt.timedelta(minutes=16)
    assert run(store.take(BATCH, NOW, until)) is None
    ends = [until + dt.timedelta(microseconds=number) for number in range(8)]  # each of the eight has its own
    found = run(all_at_once([store.take(BATCH, LATER, end) for end in ends]))
    (won,) = [batch for batch in found if batch]
    assert won == dataclasses.replace(BATCH, lease=ends[found.index(won)])
    assert run(store.batches()) == [won]
    run(store.release(BATCH, LATER))
    assert run(store.take(BATCH, LATER, until))
    run(store.close(BATCH, LATER))
    assert run(store.take(BATCH, until, until + dt.timedelta(minutes=16))) is None


@pytest.mark.parametrize(("early", "taken"), [(1, False), (0, True)])
def test_a_batch_may_be_taken_at_the_end_of_its_lease(
    store: DynamoBatchStore,
    early: int,
    taken: bool,  # noqa: FBT001  a column
) -> None:
    run(store.begin(BATCH))
    assert (run(store.take(BATCH, BATCH.lease - dt.timedelta(seconds=early), LATER)) is not None) is taken


def test_a_batch_that_was_closed_is_neither_released_nor_closed_again(store: DynamoBatchStore) -> None:
    run(store.begin(BATCH))
    run(store.close(BATCH, NOW))
    before = item(store, "batch#mmmmmmmmmmmmmmmmmmmmmmmm")
    run(store.release(BATCH, LATER))
    run(store.close(BATCH, LATER))
    assert item(store, "batch#mmmmmmmmmmmmmmmmmmmmmmmm") == before


# --- nobody there


def test_a_table_or_bucket_that_cannot_be_reached_is_a_store_error(broken_aws: Aws) -> None:
    jobs = over(broken_aws, "jobs")
    store, lease = DynamoBatchStore(jobs.table, jobs.messages), Lease("nightly", "a", "req_1", UNTIL)

    async def listed() -> list[Line]:
        return [line async for line in store.parked("nightly", urgent=False)]

    found = run(
        outcomes_of(
            {
                "park": store.park(LINE, lease, MESSAGE, NOW),
                "parked": listed(),
                "message": store.message(LINE),
                "join": store.join(LINE, BATCH.marker),
                "part": store.part(LINE, BATCH.marker),
                "promote": store.promote(LINE, None, NOW),
                "done": store.done(LINE, None, DONE, NOW),
                "members": store.members(BATCH.marker),
                "batches": store.batches(),
                "begin": store.begin(BATCH),
                "take": store.take(BATCH, NOW, LATER),
                "move": store.move(BATCH, State.PACKING),
                "release": store.release(BATCH, NOW),
                "close": store.close(BATCH, NOW),
            }
        )
    )
    assert found == dict.fromkeys(found, StoreError)
