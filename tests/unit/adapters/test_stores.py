"""Labels, tenants, attempts, results and the queue against an emulated AWS, and against none."""

import asyncio
import datetime as dt
import json
import uuid
from collections.abc import Coroutine
from typing import Any

import pytest

from cost_router.adapters.attempts import DynamoAttempts
from cost_router.adapters.aws import Aws
from cost_router.adapters.jobs_table import JobsTable
from cost_router.adapters.labels import DynamoLabels
from cost_router.adapters.queue import SqsQueue
from cost_router.adapters.results import S3Results
from cost_router.adapters.tenants import DynamoTenants
from cost_router.adapters.transactions import Transactions
from cost_router.contract import DEFAULT_TENANT, DEFAULT_TENANT_KEY, Table
from cost_router.core.errors import NotConfigured, StoreError
from cost_router.core.words import Label, Tier
from tests.builders import NOW, FakeClock, FixedChance, run
from tests.unit.adapters.tables import make_table

TTL = dt.timedelta(days=7)


# --- labels


def labels(aws: Aws) -> DynamoLabels:
    return DynamoLabels(aws, make_table(aws, Table.LABELS_KEY), TTL)


def test_a_label_is_found_until_it_expires_although_dynamodb_deletes_late(aws: Aws) -> None:
    store = labels(aws)
    run(store.put("k", Label.COMPLEX, NOW))
    assert run(store.get("k", NOW + TTL - dt.timedelta(seconds=1))) is Label.COMPLEX
    assert run(store.get("k", NOW + TTL)) is None
    assert run(store.get("other", NOW)) is None


def test_a_label_carries_its_time_to_live(aws: Aws) -> None:
    store = labels(aws)
    run(store.put("k", Label.SIMPLE, NOW))
    item = aws.client("dynamodb").get_item(TableName=store.table, Key={"key": {"S": "k"}})["Item"]
    assert item == {"key": {"S": "k"}, "label": {"S": "simple"}, "expires_at": {"N": str(int((NOW + TTL).timestamp()))}}


def test_a_label_of_another_version_is_a_miss(aws: Aws) -> None:
    store = labels(aws)
    item = {"key": {"S": "k"}, "label": {"S": "trivial"}, "expires_at": {"N": "99999999999"}}
    aws.client("dynamodb").put_item(TableName=store.table, Item=item)
    assert run(store.get("k", NOW)) is None


# --- tenants


def tenants(aws: Aws, *items: dict[str, Any]) -> tuple[DynamoTenants, FakeClock]:
    clock = FakeClock()
    store = DynamoTenants(aws, make_table(aws, Table.TENANTS_KEY), clock)
    for item in items:
        put(store, item)
    return store, clock


def put(store: DynamoTenants, item: dict[str, Any]) -> None:
    store.aws.client("dynamodb").put_item(TableName=store.table, Item=item)


KEY = {"pk": {"S": "key#abc"}, "tenant": {"S": "acme"}}
ACME = {
    "pk": {"S": "tenant#acme"},
    "label_key": {"B": b"k" * 32},
    "floor": {"S": "sonnet"},
    "tags": {"M": {"team": {"S": "shop"}}},
}
OFF = {"disabled": {"BOOL": True}}


def test_a_key_finds_its_tenant_and_the_tenants_policy(aws: Aws) -> None:
    store, _ = tenants(aws, KEY, ACME)
    found = run(store.by_key("abc"))
    assert found is not None
    assert (found.name, found.label_key, found.floor, found.ceiling) == ("acme", b"k" * 32, Tier.SONNET, None)
    assert found.tags == {"team": "shop"}
    assert run(store.by_name("acme")) == found


@pytest.mark.parametrize(
    ("items", "name"),
    [((), "abc"), ((KEY,), "abc"), ((KEY | OFF, ACME), "abc"), ((KEY, ACME | OFF), "abc"), ((KEY, ACME), "ABC")],
)
def test_unknown_and_disabled_keys_and_tenants_are_nobody(
    aws: Aws, items: tuple[dict[str, Any], ...], name: str
) -> None:
    store, _ = tenants(aws, *items)
    assert run(store.by_key(name)) is None


@pytest.mark.parametrize(("seconds", "seen"), [(59.0, False), (60.0, True)])
def test_a_change_takes_effect_within_a_minute(aws: Aws, seconds: float, seen: bool) -> None:  # noqa: FBT001  a column
    store, clock = tenants(aws, KEY, ACME)
    run(store.by_key("abc"))
    put(store, KEY | OFF)
    clock.advance(seconds)
    assert (run(store.by_key("abc")) is None) is seen


def test_a_new_key_works_at_once(aws: Aws) -> None:
    store, _ = tenants(aws, ACME)
    assert run(store.by_key("abc")) is None
    put(store, KEY)
    assert run(store.by_key("abc")) is not None


def test_the_default_tenant_is_made_when_it_is_missing_and_stays_the_same(aws: Aws) -> None:
    store, clock = tenants(aws)
    first = run(store.by_name(DEFAULT_TENANT))
    assert first is not None
    assert len(first.label_key) == 32
    clock.advance(3_600)
    assert run(store.by_name(DEFAULT_TENANT)) == first
    assert run(store.by_name("somebody")) is None


def test_many_who_make_the_default_tenant_at_once_agree(aws: Aws) -> None:
    store, clock = tenants(aws)
    others = [DynamoTenants(aws, store.table, clock) for _ in range(8)]

    async def all_at_once() -> set[bytes]:
        found = await asyncio.gather(*(other.by_name(DEFAULT_TENANT) for other in others))
        return {tenant.label_key for tenant in found if tenant}

    assert len(run(all_at_once())) == 1


def test_a_disabled_default_tenant_is_not_made_anew(aws: Aws) -> None:
    store, _ = tenants(aws, {"pk": {"S": DEFAULT_TENANT_KEY}, "label_key": {"B": b"k" * 32}} | OFF)
    assert run(store.by_name(DEFAULT_TENANT)) is None


@pytest.mark.parametrize(
    "damage",
    [
        {"floor": {"S": "Sonnet"}},
        {"ceiling": {"N": "5"}},
        {"label_key": {"S": "text"}},
        {"tags": {"S": "a=b"}},
        {"allows": {"S": "speed"}},
        {"allows": {"L": [{"S": "speed"}, {"S": "Cache_1h"}]}},
        {"allows": {"BOOL": True}},
    ],
)
def test_a_tenant_edited_wrongly_by_hand_is_named(aws: Aws, damage: dict[str, Any]) -> None:
    store, _ = tenants(aws, KEY, ACME | damage)
    with pytest.raises(NotConfigured, match="tenant 'acme' is not written as it should be"):
        run(store.by_key("abc"))


def test_a_tenant_may_what_its_policy_says_and_nothing_without_one(aws: Aws) -> None:
    allowed = {"allows": {"L": [{"S": "speed"}, {"S": "cache_1h"}]}}
    store, _ = tenants(aws, KEY, ACME | allowed)
    found = run(store.by_key("abc"))
    assert found
    assert found.allows == {"speed", "cache_1h"}
    none: list[dict[str, Any]] = [{}, {"allows": {"L": []}}]
    for nothing in none:
        store, _ = tenants(aws, KEY, ACME | nothing)
        found = run(store.by_name("acme"))
        assert found
        assert found.allows == frozenset()


# --- attempts, results, queue


def table_of(aws: Aws, name: str) -> JobsTable:
    return JobsTable(aws, name, Transactions(aws, FakeClock(), FixedChance()))


def test_attempts_count_up_per_job_and_expire(aws: Aws) -> None:
    store = DynamoAttempts(table_of(aws, make_table(aws, Table.JOBS_KEY)))
    assert [run(store.failed("g", "a", NOW)) for _ in range(3)] == [1, 2, 3]
    assert run(store.failed("g", "b", NOW)) == 1
    item = aws.client("dynamodb").get_item(TableName=store.table.name, Key={"job": {"S": "g/a"}})["Item"]
    assert item["expires_at"]["N"] == str(int((NOW + dt.timedelta(days=15)).timestamp()))


def test_a_result_is_one_json_object_in_its_group(aws: Aws) -> None:
    bucket = f"results-{uuid.uuid4()}"
    aws.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-north-1"})
    store = S3Results(aws, bucket)
    assert run(store.read("g", "a")) is None
    run(store.put("g", "a", {"custom_id": "a", "text": "Grüße 😀"}))
    assert run(store.read("g", "a")) == {"custom_id": "a", "text": "Grüße 😀"}
    assert run(store.read("g", "b")) is None
    found = aws.client("s3").get_object(Bucket=bucket, Key="results/g/a.json")
    assert json.loads(found["Body"].read()) == {"custom_id": "a", "text": "Grüße 😀"}
    assert found["ContentType"] == "application/json"


def test_a_result_that_is_there_stays_when_only_the_first_is_to_be_kept(aws: Aws) -> None:
    bucket = f"results-{uuid.uuid4()}"
    aws.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-north-1"})
    store = S3Results(aws, bucket)
    for text in ("first", "second"):
        run(store.put_first("g", "a", {"text": text}))
    assert run(store.read("g", "a")) == {"text": "first"}


def queue(aws: Aws) -> SqsQueue:
    urls = [aws.client("sqs").create_queue(QueueName=f"queue-{uuid.uuid4()}")["QueueUrl"] for _ in range(2)]
    return SqsQueue(aws, urls[0], urls[1])


def receive(aws: Aws, url: str) -> list[dict[str, Any]]:
    reply = aws.client("sqs").receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], VisibilityTimeout=100
    )
    messages: list[dict[str, Any]] = reply.get("Messages", [])
    return messages


def test_a_deferred_message_is_hidden_for_its_time(aws: Aws) -> None:
    jobs = queue(aws)
    aws.client("sqs").send_message(QueueUrl=jobs.url, MessageBody="a")
    (message,) = receive(aws, jobs.url)
    run(jobs.defer(message["ReceiptHandle"], 0.4))
    (again,) = receive(aws, jobs.url)
    run(jobs.defer(again["ReceiptHandle"], 900.0))
    assert receive(aws, jobs.url) == []
    run(jobs.defer(again["ReceiptHandle"], 1e9))  # SQS allows 12 hours at the most


def test_what_is_set_aside_goes_to_the_dead_letter_queue_with_its_reason(aws: Aws) -> None:
    jobs = queue(aws)
    run(jobs.set_aside('{"custom_id": "a"}', "ZeroDivisionError after 3 attempts"))
    (message,) = receive(aws, jobs.dead_letter_url)
    assert message["Body"] == '{"custom_id": "a"}'
    assert message["MessageAttributes"]["reason"]["StringValue"] == "ZeroDivisionError after 3 attempts"


# --- nobody there


def operations(aws: Aws) -> dict[str, Coroutine[Any, Any, object]]:
    jobs = SqsQueue(aws, "http://127.0.0.1:9/q", "http://127.0.0.1:9/d")
    return {
        "labels.get": DynamoLabels(aws, "t", TTL).get("k", NOW),
        "labels.put": DynamoLabels(aws, "t", TTL).put("k", Label.SIMPLE, NOW),
        "tenants.by_key": DynamoTenants(aws, "t", FakeClock()).by_key("k"),
        "tenants.by_name": DynamoTenants(aws, "t", FakeClock()).by_name("default"),
        "attempts": DynamoAttempts(table_of(aws, "t")).failed("g", "a", NOW),
        "results.read": S3Results(aws, "bucket").read("g", "a"),
        "results.put_first": S3Results(aws, "bucket").put_first("g", "a", {}),
        "results.put": S3Results(aws, "bucket").put("g", "a", {}),
        "queue.defer": jobs.defer("h", 1.0),
        "queue.set_aside": jobs.set_aside("b", "r"),
    }


def test_every_store_that_cannot_be_reached_is_a_store_error(broken_aws: Aws) -> None:
    async def all_of_them() -> dict[str, object]:
        found = operations(broken_aws)
        outcomes = await asyncio.gather(*found.values(), return_exceptions=True)
        return dict(zip(found, outcomes, strict=True))

    outcomes = run(all_of_them())
    assert {name: type(outcome) for name, outcome in outcomes.items()} == dict.fromkeys(outcomes, StoreError)
    assert all("EndpointConnectionError" in str(outcome) for outcome in outcomes.values())


def test_a_machine_without_a_region_is_a_store_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(StoreError, match=r"dynamodb\.get_item: NoRegionError"):
        run(DynamoLabels(Aws(), "t", TTL).get("k", NOW))
