"""`GET /v1/requests/{id}` through the deployed stack, with the unmodified SDK."""

import datetime as dt
import re
import socket
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import anthropic
import httpx2
import pytest

from infra.local.stack import LocalStack
from infra.operate.keys import Policy, create
from tests.integration.meter import Meter, poll
from tests.integration.test_streams import ask, request_bytes, told

Unique = Callable[[str], str]
Entries = Callable[[str], list[dict[str, Any]]]
TOKENS = (
    "input_tokens",
    "cache_read_input_tokens",
    "cache_creation_5m_input_tokens",
    "cache_creation_1h_input_tokens",
    "output_tokens",
)


def look(client: anthropic.Anthropic, id_: str) -> dict[str, Any]:
    """As a user of the SDK asks for it."""
    return client.get(f"/v1/requests/{id_}", cast_to=dict[str, Any])


def test_what_an_answer_cost_is_what_its_headers_and_the_ledger_say(
    client: anthropic.Anthropic, meter: Meter, unique: Unique, entries: Entries
) -> None:
    body = ask(unique("[[label:moderate]] Draft a reply"))
    raw = client.messages.with_raw_response.create(**body, extra_headers={"x-router-tags": "customer=acme"})
    found = look(client, raw.headers["x-router-request-id"])
    booked = {entry["purpose"]: entry for entry in entries(raw.headers["x-router-request-id"])}
    assert (found["type"], found["status"], found["tenant"]) == ("request", "answered", "demo")
    assert (found["model"], found["tier"], found["label"]) == ("claude-sonnet-5-5", "sonnet", "moderate")
    assert (found["cause"], found["error"], found["tags"]) == ("classifier", None, {"customer": "acme"})
    assert found["usage"] == {name: int(booked["answer"][name]) for name in TOKENS}
    assert found["cost_usd"] == raw.headers["x-router-cost-usd"]
    assert Decimal(found["cost_usd"]) == booked["answer"]["cost_usd"] + booked["classifier"]["cost_usd"]
    assert Decimal(found["classifier_cost_usd"]) == booked["classifier"]["cost_usd"] > 0
    assert Decimal(found["saved_usd"]) == Decimal(found["baseline_usd"]) - Decimal(found["cost_usd"])
    assert (found["ambiguous"], found["latency_ms"] > 0) == (0, True)
    assert dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(found["at"]) < dt.timedelta(minutes=1)


def test_the_id_that_the_sdk_knows_finds_it_too(client: anthropic.Anthropic, meter: Meter, unique: Unique) -> None:
    message = client.messages.create(**ask(unique("Hi"), model="haiku"))
    assert message._request_id == meter.calls()[0]["request_id"]
    assert look(client, str(message._request_id))["upstream_request_id"] == message._request_id


def test_a_stream_is_told_as_soon_as_its_final_cost_has_come(
    stack: LocalStack, client: anthropic.Anthropic, entrance: str, meter: Meter, unique: Unique
) -> None:
    with client.messages.stream(**ask(unique("Hi"), model="opus")) as stream:
        output = stream.get_final_message().usage.output_tokens
        found = look(client, stream.response.headers["x-router-request-id"])
    assert (found["status"], found["cause"], found["usage"]["output_tokens"]) == ("answered", "pinned", output)
    headers = {"x-api-key": stack.description["gateway_key"]}
    with (
        httpx2.Client(base_url=entrance, headers=headers, timeout=60) as http,
        http.stream("POST", "/v1/messages", json=ask(unique("Hi"), model="opus", stream=True)) as answer,
    ):
        text = ""
        for part in answer.iter_text():
            text += part
            if ": x-router-cost-usd=" in text and text.endswith("\n\n"):
                found = look(client, answer.headers["x-router-request-id"])  # before the end of the reply is read
                break
    assert found["cost_usd"] == told(text)["x-router-cost-usd"]


def test_a_request_that_claude_refused_is_told_as_failed(
    client: anthropic.Anthropic, meter: Meter, unique: Unique, entries: Entries
) -> None:
    meter.script(faults=[{"times": 1, "purpose": "answer", "status": 400, "message": "a canary"}])
    with pytest.raises(anthropic.BadRequestError) as raised:
        client.messages.create(**ask(unique("[[label:simple]] Hi")))
    id_ = raised.value.response.headers["x-router-request-id"]
    found = look(client, id_)
    assert (found["status"], found["error"]) == ("failed", "invalid_request_error")
    assert Decimal(found["cost_usd"]) == sum(entry["cost_usd"] for entry in entries(id_)) > 0
    assert "canary" not in str(found)
    assert look(client, str(raised.value.request_id))["id"] == id_


def test_an_abandoned_stream_is_told_at_what_it_is_booked_at(
    stack: LocalStack, meter: Meter, unique: Unique, entries: Entries
) -> None:
    meter.script(chunk_delay=0.2)
    url, key = stack.description["streaming_url"], stack.description["gateway_key"]
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as caller:
        caller.sendall(request_bytes(stack, ask(unique("Hi"), model="opus", stream=True)))
        got = b""
        while b"content_block_delta" not in got:
            got += caller.recv(4_096)
    (id_,) = re.findall(r"x-router-request-id: (\S+)", got.decode())
    with httpx2.Client(base_url=url, headers={"x-api-key": key}) as http:
        found = poll(
            lambda: [row.json() for row in [http.get(f"/v1/requests/{id_}")] if row.status_code == 200],
            "a request whose caller has left",
            seconds=10,
        )[0]
    (entry,) = entries(id_)
    assert (found["status"], found["ambiguous"], entry["flags"]) == ("abandoned", 1, ["ambiguous", "abandoned"])
    assert Decimal(found["cost_usd"]) == entry["cost_usd"]


def test_another_tenant_does_not_see_it_and_one_that_reads_the_account_does(
    stack: LocalStack, client: anthropic.Anthropic, entrance: str, meter: Meter, unique: Unique
) -> None:
    message = client.messages.create(**ask(unique("Hi"), model="haiku"))
    id_, now = str(message._request_id), dt.datetime.now(dt.UTC)
    stranger = create(stack.target, "stranger", Policy(), now)
    auditor = create(stack.target, "auditor", Policy(reads_account=True), now)
    with anthropic.Anthropic(base_url=entrance, api_key=stranger, max_retries=0) as theirs:
        for unseen in (id_, look(client, id_)["id"], "req_never_made"):
            with pytest.raises(anthropic.NotFoundError) as raised:
                look(theirs, unseen)
            assert raised.value.response.json()["error"]["type"] == "not_found_error"
    with anthropic.Anthropic(base_url=entrance, api_key=auditor, max_retries=0) as theirs:
        assert look(theirs, id_)["tenant"] == "demo"


def test_after_a_day_it_is_unknown_whether_or_not_dynamodb_has_deleted_it(
    stack: LocalStack, client: anthropic.Anthropic, meter: Meter, unique: Unique
) -> None:
    id_ = client.messages.with_raw_response.create(**ask(unique("Hi"), model="haiku")).headers["x-router-request-id"]
    table = stack.target.tables["requests"]
    look(client, id_)
    stack.target.client("dynamodb").update_item(
        TableName=table,
        Key={"id": {"S": id_}},
        UpdateExpression="SET expires_at = :past",
        ExpressionAttributeValues={":past": {"N": str(int(dt.datetime.now(dt.UTC).timestamp()) - 1)}},
    )
    with pytest.raises(anthropic.NotFoundError):
        look(client, id_)
