"""Receipts against an emulated DynamoDB, and against none."""

import asyncio
import dataclasses
import datetime as dt
import time
from decimal import Decimal
from typing import Any

import pytest

from cost_router.adapters import requests
from cost_router.adapters.aws import Aws
from cost_router.adapters.requests import DynamoRequests
from cost_router.contract import Table
from cost_router.core.errors import StoreError
from cost_router.core.ledger import Bill
from cost_router.core.pricing import Usage
from cost_router.core.receipt import Receipt
from cost_router.core.words import Label, Tier
from tests.builders import NOW, run
from tests.unit.adapters.tables import make_table

DAY = dt.timedelta(hours=24)
FULL = Receipt(
    id="req_ours",
    at=NOW,
    tenant="acme",
    tags={"team": "shop"},
    status="failed",
    error="overloaded_error",
    model="claude-opus-5-5",
    tier=Tier.OPUS,
    label=Label.COMPLEX,
    cause="fallback:opus",
    adapted=("thinking", "temperature"),
    upstream_request_id="req_claudes",
    usage=Usage(1, 2, 3, 4, 5, web_search_requests=6, speed="fast", inference_geo="us"),
    bill=Bill(Decimal("0.000000000123"), Decimal("0.1"), Decimal("12345.6789"), Decimal("-0.0005")),
    ambiguous=2,
    latency_ms=90_000,
)
BARE = Receipt(
    id="req_bare",
    at=NOW,
    tenant="acme",
    tags={},
    status="answered",
    error=None,
    model=None,
    tier=None,
    label=None,
    cause=None,
    adapted=(),
    upstream_request_id=None,
    usage=Usage(),
    bill=Bill(),
    ambiguous=0,
    latency_ms=0,
)


def log(aws: Aws) -> DynamoRequests:
    return DynamoRequests(aws, make_table(aws, Table.REQUESTS_KEY))


def items(store: DynamoRequests) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = store.aws.client("dynamodb").scan(TableName=store.table)["Items"]
    return found


@pytest.mark.parametrize("receipt", [FULL, BARE], ids=["everything", "the least"])
def test_a_receipt_comes_back_as_it_was(aws: Aws, receipt: Receipt) -> None:
    store = log(aws)
    run(store.put(receipt))
    assert run(store.get(receipt.id, NOW)) == receipt


def test_it_is_found_by_claudes_id_and_by_no_other(aws: Aws) -> None:
    store = log(aws)
    run(store.put(FULL))
    assert run(store.get("req_claudes", NOW)) == FULL
    assert run(store.get("req_other", NOW)) is None


@pytest.mark.parametrize("id_", ["req_ours", "req_claudes"])
def test_it_is_found_for_a_day_after_its_end_although_dynamodb_deletes_late(aws: Aws, id_: str) -> None:
    store = log(aws)
    run(store.put(FULL))
    end = NOW + dt.timedelta(seconds=90) + DAY
    assert run(store.get(id_, end - dt.timedelta(seconds=1))) == FULL
    assert run(store.get(id_, end)) is None


def test_every_item_carries_its_time_to_live(aws: Aws) -> None:
    store = log(aws)
    run(store.put(FULL))
    end = str(int((NOW + dt.timedelta(seconds=90) + DAY).timestamp()))
    assert [item[Table.TTL] for item in items(store)] == [{"N": end}, {"N": end}]


@pytest.mark.parametrize("upstream", [None, "req_ours"])
def test_without_an_id_of_claudes_there_is_one_item(aws: Aws, upstream: str | None) -> None:
    store = log(aws)
    run(store.put(dataclasses.replace(FULL, upstream_request_id=upstream)))
    assert [item[Table.REQUESTS_KEY] for item in items(store)] == [{"S": "req_ours"}]


def test_a_receipt_and_its_pointer_take_one_write_unit_each(aws: Aws) -> None:
    store = log(aws)
    long = dataclasses.replace(FULL, tags={f"team-{number}": "a-name-of-usual-length" for number in range(5)})
    run(store.put(long))
    for item in items(store):
        size = sum(len(name) + len(str(value)) for name, value in item.items())  # no less than DynamoDB counts
        assert size <= 1_024


def test_both_methods_raise_store_errors(broken_aws: Aws) -> None:
    store = DynamoRequests(broken_aws, "requests")
    with pytest.raises(StoreError, match="dynamodb"):
        run(store.put(FULL))
    with pytest.raises(StoreError, match="dynamodb"):
        run(store.get("req_ours", NOW))


def test_what_dynamodb_leaves_out_is_a_store_error(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    store = log(aws)

    async def throttled(*_arguments: object, **_more: object) -> dict[str, Any]:
        return {"UnprocessedItems": {store.table: [{}]}}

    monkeypatch.setattr(aws, "call", throttled)
    with pytest.raises(StoreError, match="UnprocessedItems"):
        run(store.put(FULL))


def test_a_write_that_takes_too_long_is_given_up(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hung(*_arguments: object, **_more: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(requests, "WRITE_SECONDS", 0.01)
    monkeypatch.setattr(aws, "call", hung)
    began = time.monotonic()
    with pytest.raises(StoreError, match="no reply within"):
        run(DynamoRequests(aws, "requests").put(FULL))
    assert time.monotonic() - began < 2
