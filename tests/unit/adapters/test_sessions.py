"""Sessions and sightings of prefixes in the `labels` table."""

import datetime as dt

import pytest

from cost_router.adapters.aws import Aws
from cost_router.adapters.labels import DynamoLabels
from cost_router.adapters.sessions import DynamoPrefixes, DynamoSessions
from cost_router.contract import Table
from cost_router.core.errors import StoreError
from cost_router.core.sessions import Session
from cost_router.core.words import Label
from tests.builders import NOW, run
from tests.unit.adapters.tables import make_table

SESSION = Session("claude-opus-5-5", 60_000, 400, 1_000, 50_000, 3, NOW.replace(microsecond=123_000), "1h")
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
