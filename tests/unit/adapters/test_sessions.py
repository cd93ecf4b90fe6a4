"""Sessions and sightings of prefixes in the `labels` table."""

import dataclasses
import datetime as dt
from collections.abc import Mapping
from typing import Any

import pytest

from cost_router.adapters.aws import Aws
from cost_router.adapters.labels import DynamoLabels
from cost_router.adapters.ledger_items import write
from cost_router.adapters.sessions import DynamoPrefixes, DynamoSessions
from cost_router.contract import Table
from cost_router.core.errors import StoreError
from cost_router.core.sessions import Session, Warm
from cost_router.core.words import Label
from tests.builders import NOW, run
from tests.unit.adapters.tables import make_table

SESSION = Session("claude-opus-5-5", 60_000, 400, 1_000, 50_000, 3, NOW.replace(microsecond=123_000), "1h")
ROW = {"model": "m", "ttl": "5m", "at": int(NOW.timestamp() * 1_000)}
COUNTS = {"warm": 9, "fresh": 8, "output": 7, "estimated": 6, "turns": 5}
OPUS, HAIKU = "claude-opus-5-5", "claude-haiku-5-5"
SECOND = dt.timedelta(seconds=1)


def table(aws: Aws) -> str:
    return make_table(aws, Table.LABELS_KEY)


def test_a_session_is_found_as_it_was_until_its_cache_is_cold(aws: Aws) -> None:
    store = DynamoSessions(aws, table(aws))
    run(store.put("k", SESSION))
    end = SESSION.at + dt.timedelta(hours=1)
    assert run(store.get("k", end - SECOND)) == SESSION
    assert run(store.get("k", end)) is None
    assert run(store.get("other", NOW)) is None


def test_other_models_are_in_it_while_they_are_warm(aws: Aws) -> None:
    store = DynamoSessions(aws, table(aws))
    others = {HAIKU: Warm(50_000, NOW - SECOND), "claude-sonnet-5-5": Warm(40_000, NOW - 60 * SECOND, "1h")}
    run(store.put("k", dataclasses.replace(SESSION, others=others)))
    for seconds, left in ((298, 2), (299, 1)):
        found = run(store.get("k", NOW + seconds * SECOND))
        assert found
        assert found.others == dict(list(others.items())[-left:])


def put(aws: Aws, name: str, item: Mapping[str, Any]) -> None:
    aws.client("dynamodb").put_item(
        TableName=name, Item={"key": {"S": "session#k"}, **{k: write(v) for k, v in item.items()}}
    )


def test_an_item_of_a_version_that_kept_one_model_is_read(aws: Aws) -> None:
    name = table(aws)
    put(aws, name, {**ROW, **COUNTS})
    assert run(DynamoSessions(aws, name).get("k", NOW)) == Session("m", 9, 8, 7, 6, 5, NOW)


@pytest.mark.parametrize(
    "others",
    ["yesterday", None, {"s": None}, {"s": {}}, {"s": {"warm": 1, "at": ROW["at"], "ttl": "2d"}}],
)
def test_others_of_another_version_are_a_miss(aws: Aws, others: Any) -> None:
    name = table(aws)
    put(aws, name, {**ROW, **COUNTS, "others": others})
    assert run(DynamoSessions(aws, name).get("k", NOW)) is None


def test_a_prefix_tells_which_models_have_seen_it_within_five_minutes(aws: Aws) -> None:
    store = DynamoPrefixes(aws, table(aws))
    seen = {OPUS: NOW, HAIKU: NOW + 60 * SECOND}
    run(store.put("k", seen))
    assert run(store.get("k", NOW + 299 * SECOND)) == seen
    assert run(store.get("k", NOW + 300 * SECOND)) == {HAIKU: NOW + 60 * SECOND}
    assert run(store.get("k", NOW + 360 * SECOND)) == {}
    assert run(store.get("other", NOW)) == {}


def test_both_carry_a_time_to_live_and_stand_beside_labels_of_the_same_name(aws: Aws) -> None:
    name = table(aws)
    run(DynamoSessions(aws, name).put("k", SESSION))
    run(DynamoPrefixes(aws, name).put("k", {OPUS: NOW}))
    run(DynamoLabels(aws, name, dt.timedelta(days=7)).put("k", Label.SIMPLE, NOW))
    found = aws.client("dynamodb").scan(TableName=name)["Items"]
    times = {item["key"]["S"]: int(item["expires_at"]["N"]) - int(NOW.timestamp()) for item in found}
    assert times == {"session#k": 3_601, "prefix#k": 301, "k": 604_800}


@pytest.mark.parametrize("item", [{}, {"seen": {"S": "yesterday"}, "ttl": {"S": "2d"}, "at": {"S": "yesterday"}}])
def test_what_another_version_has_written_is_a_miss(aws: Aws, item: dict[str, dict[str, str]]) -> None:
    name = table(aws)
    for key in ("session#k", "prefix#k"):
        aws.client("dynamodb").put_item(TableName=name, Item={"key": {"S": key}, **item})
    assert run(DynamoSessions(aws, name).get("k", NOW)) is None
    assert run(DynamoPrefixes(aws, name).get("k", NOW)) == {}


def test_a_table_that_cannot_be_reached_is_said_in_our_words(broken_aws: Aws) -> None:
    with pytest.raises(StoreError):
        run(DynamoSessions(broken_aws, "labels").get("k", NOW))
    with pytest.raises(StoreError):
        run(DynamoPrefixes(broken_aws, "labels").put("k", {OPUS: NOW}))
