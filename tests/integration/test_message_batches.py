"""Batches of the unmodified SDK through the deployed stack: created, polled, listed, canceled, and their results."""

import datetime as dt
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse

from infra.local.stack import LocalStack
from infra.operate.keys import Policy, create
from infra.operate.report import read_entries
from tests.integration.meter import Meter, poll, price
from tests.integration.test_batch_lane import indexed, round_of
from tests.integration.test_jobs import waiting

Unique = Callable[[str], str]
PATH = "/v1/messages/batches"
NOWHERE = "msgbatch_" + "a" * 24


def line(custom_id: str, text: str, model: str = "auto", **more: Any) -> dict[str, Any]:
    params = {"model": model, "max_tokens": 32, "messages": [{"role": "user", "content": text}]}
    return {"custom_id": custom_id, "params": params, **more}


def mixed(unique: Unique, count: int = 6) -> list[Any]:
    labels = ("simple", "complex")
    return [line(f"line-{n}", unique(f"[[label:{labels[n % 2]}]] Hi")) for n in range(count)]


def ended(stack: LocalStack, client: anthropic.Anthropic, id_: str) -> MessageBatch:
    """The batch once it has ended, with rounds of the collector meanwhile."""

    def look() -> MessageBatch | None:
        round_of(stack)
        batch = client.messages.batches.retrieve(id_)
        return batch if batch.processing_status == "ended" else None

    found: MessageBatch = poll(look, f"end of {id_}")
    return found


def results(client: anthropic.Anthropic, id_: str) -> dict[str, MessageBatchIndividualResponse]:
    return {row.custom_id: row for row in client.messages.batches.results(id_)}


def router_of(row: MessageBatchIndividualResponse) -> dict[str, Any]:
    """What the router adds to a line: the SDK keeps members that it does not know."""
    found: dict[str, Any] = (row.model_extra or {})["router"]
    return found


def entries_of(stack: LocalStack, id_: str) -> list[dict[str, Any]]:
    today = dt.datetime.now(dt.UTC).date()
    return [row for row in read_entries(stack.target, today) if str(row.get("job", "")).startswith(f"{id_}/")]


Make = Callable[..., MessageBatch]


@pytest.fixture
def make(stack: LocalStack, client: anthropic.Anthropic) -> Iterator[Make]:
    """Creates batches in the lane of a header; those that have not ended by the end of the test are canceled then."""
    made: list[str] = []

    def create_batch(*requests: Any, **headers: str) -> MessageBatch:
        extra = {f"x-router-{name}": value for name, value in headers.items()}
        made.append((batch := client.messages.batches.create(requests=requests, extra_headers=extra)).id)
        return batch

    yield create_batch
    left = [id_ for id_ in made if client.messages.batches.retrieve(id_).processing_status != "ended"]
    for id_ in left:
        client.messages.batches.cancel(id_)
    for id_ in left:
        ended(stack, client, id_)


@pytest.fixture(scope="module")
def other_key(stack: LocalStack) -> str:
    return create(stack.target, "other", Policy(), dt.datetime.now(dt.UTC))


@pytest.fixture
def other(stack: LocalStack, entrance: str, other_key: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=entrance, api_key=other_key, max_retries=0) as made:
        yield made


def test_lines_for_auto_come_back_at_half_price_each_from_its_own_tier(
    stack: LocalStack, meter: Meter, client: anthropic.Anthropic, make: Make, entrance: str, unique: Unique
) -> None:
    made = make(*mixed(unique))
    assert made.id.startswith("msgbatch_")
    assert (made.processing_status, made.results_url, made.ended_at) == ("in_progress", None, None)
    assert made.expires_at - made.created_at == dt.timedelta(hours=24)
    assert made.request_counts.processing == 6
    batch = ended(stack, client, made.id)
    assert batch.results_url == f"{entrance}{PATH}/{made.id}/results"
    assert batch.request_counts.to_dict() == {
        "processing": 0, "succeeded": 6, "errored": 0, "canceled": 0, "expired": 0
    }  # fmt: skip
    assert batch.ended_at
    assert made.created_at - dt.timedelta(seconds=1) <= batch.ended_at <= dt.datetime.now(dt.UTC)
    found = results(client, made.id)
    assert {name: row.result.message.model for name, row in found.items() if row.result.type == "succeeded"} == {
        f"line-{n}": ("claude-haiku-5-5", "claude-opus-5-5")[n % 2] for n in range(6)
    }
    assert {router_of(row)["lane"] for row in found.values()} == {"batch"}
    metered = [call for call in meter.calls("answer") if call["processing"] == "batch"]
    entries = [row for row in entries_of(stack, made.id) if row["purpose"] == "answer"]
    assert sorted(price(call) for call in metered) == sorted(row["cost_usd"] for row in entries)
    assert {row["tenant"] for row in entries} == {"demo"}
    assert {row["job"] for row in entries} == {f"{made.id}/{name}" for name in found}
    assert client.messages.batches.retrieve(made.id) == batch, "how it has ended does not change any more"


def test_a_lane_and_hints_hold_for_all_lines_and_a_lines_own_win(
    stack: LocalStack, meter: Meter, client: anthropic.Anthropic, make: Make, unique: Unique
) -> None:
    own = {"lane": "batch", "floor": "opus"}
    lines = (line("direct", unique("[[label:simple]] Hi")), line("own", unique("[[label:simple]] Hi"), router=own))
    made = make(*lines, lane="direct", floor="sonnet", tags="customer=acme")
    ended(stack, client, made.id)
    found = {name: router_of(row) for name, row in results(client, made.id).items()}
    assert {name: (row["lane"], row["model"]) for name, row in found.items()} == {
        "direct": ("direct", "claude-sonnet-5-5"),
        "own": ("batch", "claude-opus-5-5"),
    }
    assert {row["tags"]["customer"] for row in found.values()} == {"acme"}
    assert sorted(call["processing"] for call in meter.calls("answer")) == ["batch", "realtime"]


def test_params_too_large_for_a_message_go_by_way_of_the_bucket(
    stack: LocalStack, meter: Meter, client: anthropic.Anthropic, make: Make, unique: Unique
) -> None:
    lines = (line("large", unique("word " * 60_000), "haiku"), line("small", unique("Hi"), "haiku"))
    made = make(*lines, lane="direct")
    ended(stack, client, made.id)
    kinds = {name: row.result.type for name, row in results(client, made.id).items()}
    assert kinds == {"large": "succeeded", "small": "succeeded"}
    assert len(meter.calls("answer")) == 2


def test_lines_that_claude_refuses_are_errored_and_counted_so(
    stack: LocalStack, client: anthropic.Anthropic, make: Make, unique: Unique
) -> None:
    refused, unknown = line("refused", unique("Hi"), "haiku"), line("unknown", unique("Hi"), "claude-9")
    refused["params"]["no_such_field"] = 1
    made = make(refused, unknown, line("good", unique("Hi"), "haiku"), lane="direct")
    counts = ended(stack, client, made.id).request_counts
    assert (counts.succeeded, counts.errored, counts.processing) == (1, 2, 0)
    rows = results(client, made.id)
    errors = {name: row.result.error.error for name, row in rows.items() if row.result.type == "errored"}
    assert "no_such_field" in errors["refused"].message
    assert errors["unknown"].type == "not_found_error"


def test_batches_are_listed_page_by_page_the_newest_first(
    client: anthropic.Anthropic, make: Make, unique: Unique
) -> None:
    made = [make(line("a", unique("Hi"), "haiku")).id for _ in range(3)]
    first = client.messages.batches.list(limit=2)
    assert [batch.id for batch in first.data] == [made[2], made[1]]
    assert (first.first_id, first.last_id, first.has_more) == (made[2], made[1], True)
    assert first.get_next_page().data[0].id == made[0]
    before = client.messages.batches.list(limit=1, before_id=made[0])
    assert ([batch.id for batch in before.data], before.has_more) == ([made[1]], True)
    assert [batch.id for batch in client.messages.batches.list(limit=1)][:3] == made[::-1], "pages follow each other"


def test_a_canceled_batch_ends_unpaid(
    stack: LocalStack, meter: Meter, client: anthropic.Anthropic, make: Make, unique: Unique
) -> None:
    made = make(*(line(f"line-{n}", unique("Hi"), "haiku") for n in range(12)))
    poll(lambda: len(indexed(stack, f"parked#{made.id}")) == 12, "parked lines")
    canceling = client.messages.batches.cancel(made.id)
    assert canceling.processing_status == "canceling"
    assert canceling.cancel_initiated_at
    again = client.messages.batches.cancel(made.id)
    assert again.cancel_initiated_at == canceling.cancel_initiated_at
    batch = ended(stack, client, made.id)
    assert batch.request_counts.canceled == 12
    found = results(client, made.id)
    assert {row.result.type for row in found.values()} == {"canceled"}
    assert {Decimal(router_of(row)["cost_usd"]) for row in found.values()} == {Decimal(0)}
    assert meter.calls() == []
    assert entries_of(stack, made.id) == []
    with pytest.raises(anthropic.BadRequestError, match="already ended"):
        client.messages.batches.cancel(made.id)


def test_a_batch_is_its_tenants_alone(
    stack: LocalStack, client: anthropic.Anthropic, other: anthropic.Anthropic, make: Make, unique: Unique
) -> None:
    made = make(line("a", unique("Hi"), "haiku"), lane="direct")
    url = ended(stack, client, made.id).results_url
    assert url
    calls: list[Callable[[], object]] = [
        lambda: other.messages.batches.retrieve(made.id),
        lambda: other.messages.batches.cancel(made.id),
        lambda: list(other.messages.batches.results(made.id)),
        lambda: other.messages.batches.list(after_id=made.id),
        lambda: other.get(url, cast_to=httpx2.Response),
        lambda: client.messages.batches.retrieve(NOWHERE),
    ]
    for call in calls:
        with pytest.raises(anthropic.NotFoundError) as error:
            call()
        assert error.value.type == "not_found_error"
    assert made.id not in {batch.id for batch in other.messages.batches.list()}


def test_there_are_no_results_before_the_end(http: httpx2.Client, make: Make, unique: Unique) -> None:
    made = make(line("a", unique("Hi"), "haiku"))
    answer = http.get(f"{PATH}/{made.id}/results")
    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "not_found_error"
    assert "no results yet" in answer.json()["error"]["message"]


def test_nothing_is_kept_of_a_batch_with_a_wrong_line(
    stack: LocalStack, client: anthropic.Anthropic, make: Make, unique: Unique
) -> None:
    def known() -> tuple[set[str], int]:
        objects = stack.emulator.client("s3").list_objects_v2(
            Bucket=stack.description["results_bucket"], Prefix="accepted/"
        )
        return {batch.id for batch in client.messages.batches.list(limit=1000)}, objects.get("KeyCount", 0)

    before = known()
    wrong = line("b", unique("Hi"))
    del wrong["params"]["max_tokens"]
    with pytest.raises(anthropic.BadRequestError, match=r"requests\.1\.params\.max_tokens: Field required"):
        make(line("a", unique("Hi")), wrong)
    assert known() == before


def test_a_copy_of_the_message_of_a_batch_puts_nothing_on_the_queue(
    stack: LocalStack, meter: Meter, client: anthropic.Anthropic, make: Make, unique: Unique
) -> None:
    made = make(line("a", unique("Hi"), "haiku"), lane="direct")
    batch = ended(stack, client, made.id)
    url = stack.description["queue_url"]
    stack.emulator.client("sqs").send_message(QueueUrl=url, MessageBody=json.dumps({"batch": made.id}))
    poll(lambda: waiting(stack, "queue_url") == 0, "empty queue")
    assert len(meter.calls("answer")) == 1
    assert client.messages.batches.retrieve(made.id) == batch


def test_a_disabled_or_wrong_key_is_refused(entrance: str) -> None:
    with (
        anthropic.Anthropic(base_url=entrance, api_key="ccr-nobodys", max_retries=0) as client,
        pytest.raises(anthropic.AuthenticationError),
    ):
        client.messages.batches.list()
