"""Feedback in the ledger table, read back as the report reads it, and what is told of it."""

import dataclasses
from decimal import Decimal
from typing import Any

import pytest

from cost_router.adapters.aws import Aws
from cost_router.adapters.feedback import DynamoFeedback, row
from cost_router.adapters.ledger_items import partition, read
from cost_router.contract import Table
from cost_router.core.errors import StoreError
from cost_router.core.feedback import Feedback
from tests.builders import run
from tests.unit.adapters.tables import make_table
from tests.unit.adapters.test_telemetry import RATED, dimensions, lines, make, metrics

BARE = dataclasses.replace(RATED, arm=None, label=None, tier=None, model=None, cause=None, comment=None)


def kept(store: DynamoFeedback, day: str) -> list[dict[str, Any]]:
    reply = store.aws.client("dynamodb").query(**partition(store.table, f"feedback#{day}"))
    return [read(item) for item in reply["Items"]]


@pytest.mark.parametrize("given", [RATED, BARE], ids=["everything", "the least"])
def test_feedback_stands_under_the_day_of_its_request_with_the_attributes_of_entries(aws: Aws, given: Feedback) -> None:
    store = DynamoFeedback(aws, make_table(aws, Table.LEDGER_PK, Table.LEDGER_SK))
    run(store.put(given))
    [found] = kept(store, "2026-11-23")
    keys = {Table.LEDGER_PK: "feedback#2026-11-23", Table.LEDGER_SK: "req_1"}
    assert found == keys | {name: value for name, value in row(given).items() if value is not None}
    assert found["score"] == Decimal("0.333333333333333333")


def test_the_last_feedback_on_a_request_replaces_the_one_before_whole(aws: Aws) -> None:
    store = DynamoFeedback(aws, make_table(aws, Table.LEDGER_PK, Table.LEDGER_SK))
    run(store.put(RATED))
    run(store.put(dataclasses.replace(RATED, score=Decimal(1), comment=None)))
    [found] = kept(store, "2026-11-23")
    assert (found["score"], found.get("comment")) == (1, None)


def test_a_table_out_of_reach_is_a_store_error(broken_aws: Aws) -> None:
    with pytest.raises(StoreError, match=r"dynamodb\.put_item"):
        run(DynamoFeedback(broken_aws, "ledger").put(RATED))


def test_a_rating_is_a_gauge_and_a_log_line_without_the_comment(capsys: pytest.CaptureFixture[str]) -> None:
    make().rated(RATED)
    [line], [emf] = lines(capsys)
    assert (line["message"], line["request_id"], line["score"]) == ("routing_quality", "req_1", "0.333333333333333333")
    assert (line["model_used"], line["complexity_label"], line["cost_usd"]) == (
        "claude-sonnet-5-5",
        "moderate",
        "0.000344",
    )
    assert metrics(emf) == {"RoutingQuality": pytest.approx(1 / 3)}
    assert dimensions(emf) == {"service"}
    assert "canary" not in str(line) + str(emf)
