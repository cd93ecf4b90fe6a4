"""Lines and batches in the `jobs` table: every move once, though replies are lost and others move at the same time."""

import asyncio
import dataclasses
import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import pytest

from cost_router.adapters.attempts import DynamoAttempts
from cost_router.adapters.aws import Aws
from cost_router.adapters.batch_store import DynamoBatchStore
from cost_router.contract import Table
from cost_router.core.batch_lane import Aside, Batch, Line, State
from cost_router.core.budget import Period, Scope
from cost_router.core.errors import InvalidRequest, StoreError
from cost_router.core.words import Label
from tests.builders import NOW, run

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
)
SCOPES = (Scope("account", Decimal("10.5")), Scope("tenant#acme", Decimal(3), Period.MONTH))
WITH_MONEY = dataclasses.replace(LINE, aside=Aside(Decimal("0.00123"), NOW, SCOPES), tries=1)
BODY = {"model": "claude-haiku-5-5", "messages": [{"role": "user", "content": "Zoë's \u2028 shoes"}]}
BATCH = Batch("m" * 24, State.PACKING, NOW, NOW + dt.timedelta(minutes=16))
LATER = NOW + dt.timedelta(minutes=17)


@pytest.fixture
def store(aws: Aws) -> DynamoBatchStore:
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
    return DynamoBatchStore(aws, name, name)


def parked(store: DynamoBatchStore) -> list[Line]:
    async def all_of_them() -> list[Line]:
        return [line async for line in store.parked()]

    return run(all_of_them())


def item(store: DynamoBatchStore, job: str = LINE.job) -> dict[str, Any]:
    key = {Table.JOBS_KEY: {"S": job}}
    found: dict[str, Any] = store.aws.client("dynamodb").get_item(TableName=store.table, Key=key)["Item"]
    return found


class LosesReplies(Aws):
    """Makes each write and says that it failed; then botocore's own second try is refused by its condition."""

    async def call(self, service: str, operation: str, **arguments: Any) -> Any:
        if operation in {"update_item", "put_item"}:
            await super().call(service, operation, **arguments)
        return await super().call(service, operation, **arguments)


def test_a_line_is_read_as_it_was_written_and_its_prompt_is_not_in_the_table(store: DynamoBatchStore) -> None:
    assert run(store.park(LINE, BODY, NOW))
    assert parked(store) == [LINE]
    assert run(store.join(WITH_MONEY, BATCH.marker))
    assert run(store.members(BATCH.marker)) == [WITH_MONEY]
    assert parked(store) == []
    assert "shoes" not in repr(item(store))
    body = run(store.body(LINE))
    assert body == '{"model":"claude-haiku-5-5","messages":[{"role":"user","content":"Zoë\'s \u2028 shoes"}]}'.encode()


def test_the_oldest_line_comes_first(store: DynamoBatchStore) -> None:
    for name, seconds in (("late", 2), ("early", 1)):
        at = NOW + dt.timedelta(seconds=seconds)
        line = dataclasses.replace(LINE, custom_id=name, request_id=f"req_{name}", parked_at=at)
        run(store.park(line, BODY, NOW))
    assert [line.custom_id for line in parked(store)] == ["early", "late"]


def test_of_eight_that_park_the_same_job_one_does_and_the_bodies_of_the_others_are_forgotten(
    store: DynamoBatchStore,
) -> None:
    lines = [dataclasses.replace(LINE, request_id=f"req_{number}") for number in range(8)]

    async def all_of_them() -> list[bool]:
        return await asyncio.gather(*(store.park(line, BODY, NOW) for line in lines))

    won = run(all_of_them())
    assert sum(won) == 1
    assert [run(store.body(line)) is not None for line in lines] == won
    assert run(store.is_parked("nightly", "a", NOW))
    assert not run(store.is_parked("nightly", "b", NOW))


def test_a_failed_attempt_of_the_job_does_not_let_its_line_expire(store: DynamoBatchStore) -> None:
    attempt = {Table.JOBS_KEY: {"S": LINE.job}, "attempts": {"N": "2"}, Table.TTL: {"N": "1"}}
    store.aws.client("dynamodb").put_item(TableName=store.table, Item=attempt)
    assert run(store.park(LINE, BODY, NOW))
    assert Table.TTL not in item(store)
    run(DynamoAttempts(store.aws, store.table).failed("nightly", "a", NOW))
    run(store.join(WITH_MONEY, BATCH.marker))
    assert Table.TTL not in item(store)
    assert item(store)["attempts"] == {"N": "3"}


def test_a_done_line_is_remembered_for_fifteen_days_and_may_come_again_after_that(store: DynamoBatchStore) -> None:
    run(store.park(LINE, BODY, NOW))
    run(store.join(WITH_MONEY, BATCH.marker))
    run(store.done(WITH_MONEY, BATCH.marker, NOW))
    assert run(store.members(BATCH.marker)) == []
    assert run(store.body(LINE)) is None
    end = NOW + dt.timedelta(days=15)
    again = dataclasses.replace(LINE, request_id="req_again")
    almost = end - dt.timedelta(seconds=1)
    assert (run(store.is_parked("nightly", "a", almost)), run(store.park(again, BODY, almost))) == (True, False)
    assert (run(store.is_parked("nightly", "a", end)), run(store.park(again, BODY, end))) == (False, True)


def test_a_line_is_moved_by_one_only_and_only_from_where_it_is(store: DynamoBatchStore) -> None:
    run(store.park(LINE, BODY, NOW))
    assert run(store.join(WITH_MONEY, "first"))
    assert not run(store.join(WITH_MONEY, "second"))
    run(store.done(WITH_MONEY, "second", NOW))
    assert run(store.members("first")) == [WITH_MONEY], "it is not in that batch"
    again = dataclasses.replace(LINE, tries=2)
    assert run(store.part(again, "first"))
    assert parked(store) == [again]


def test_moves_whose_reply_was_lost_are_known_to_be_made(store: DynamoBatchStore, aws: Aws) -> None:
    losing = DynamoBatchStore(LosesReplies(), store.table, store.bucket)
    assert run(losing.park(LINE, BODY, NOW))
    assert run(losing.body(LINE)) is not None
    assert run(losing.join(WITH_MONEY, BATCH.marker))
    assert run(losing.part(LINE, BATCH.marker))
    run(store.begin(BATCH))
    assert run(losing.move(dataclasses.replace(BATCH, state=State.CREATING, lines=3), was=State.PACKING))


def test_a_batch_goes_from_state_to_state_once(store: DynamoBatchStore) -> None:
    run(store.begin(BATCH))
    creating = dataclasses.replace(BATCH, state=State.CREATING, lines=3, submitted_at=NOW)
    assert run(store.move(creating, was=State.PACKING))
    assert not run(store.move(dataclasses.replace(creating, lines=4), was=State.PACKING))
    created = dataclasses.replace(creating, state=State.CREATED, upstream_id="msgbatch_1")
    assert run(store.move(created, was=State.CREATING))
    assert run(store.batches()) == [created]
    run(store.close(created, NOW))
    assert run(store.batches()) == []
    assert not run(store.move(created, was=State.CREATED)), "a closed batch is not opened again"
    assert Table.TTL in item(store, f"batch#{BATCH.marker}")


def test_a_batch_is_leased_to_one_at_a_time(store: DynamoBatchStore) -> None:
    run(store.begin(BATCH))
    until = LATER + dt.timedelta(minutes=16)
    assert run(store.take(BATCH, NOW, until)) is None

    async def both() -> list[Batch | None]:
        return await asyncio.gather(*(store.take(BATCH, LATER, until) for _ in range(2)))

    won = [batch for batch in run(both()) if batch]
    assert won == [dataclasses.replace(BATCH, lease=until)]
    run(store.release(BATCH, LATER))
    assert run(store.take(BATCH, LATER, until))
    run(store.close(BATCH, LATER))
    assert run(store.take(BATCH, until, until)) is None


def test_a_body_that_json_cannot_carry_is_refused_before_anything_is_kept(store: DynamoBatchStore) -> None:
    with pytest.raises(InvalidRequest):
        run(store.park(LINE, {"x": "\ud800"}, NOW))
    assert not run(store.is_parked("nightly", "a", NOW))


def test_a_table_that_cannot_be_reached_is_a_store_error(broken_aws: Aws) -> None:
    store = DynamoBatchStore(broken_aws, "jobs", "results")
    with pytest.raises(StoreError):
        run(store.batches())
    with pytest.raises(StoreError):
        run(store.body(LINE))
