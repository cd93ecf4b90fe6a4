"""Streamed answers through both entrances, with the unmodified SDK: what comes, what is booked, and what breaks."""

import itertools
import json
import re
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest

from infra.local.processes import Children
from infra.local.stack import LocalStack, start_uvicorn
from tests.integration.meter import Meter, poll, price

Unique = Callable[[str], str]
Entries = Callable[[str], list[dict[str, Any]]]
TOOL: Any = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def ask(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "auto", "max_tokens": 300, "messages": [{"role": "user", "content": text}], **more}


def told(text: str) -> dict[str, str]:
    """What the last comment of a stream says."""
    found = re.search(r"\n\n: ([^\n]*)\n\n$", text)
    assert found, text[-300:]
    return dict(pair.split("=") for pair in found[1].split(" "))


def events_of(text: str) -> list[str]:
    return re.findall(r"^event: (\w+)$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("text", "more", "blocks"),
    [
        ("Say something", {}, ["text"]),
        ("Look it up [[tool]]", {"tools": [TOOL]}, ["tool_use"]),
        ("Think first [[think]]", {}, ["thinking", "text"]),
    ],
    ids=["text", "tool input deltas", "thinking"],
)
def test_the_sdk_reads_a_stream_and_ledger_and_meter_agree(
    client: anthropic.Anthropic,
    meter: Meter,
    unique: Unique,
    entries: Entries,
    text: str,
    more: dict[str, Any],
    blocks: list[str],
) -> None:
    with client.messages.stream(**ask(unique(f"[[label:moderate]] {text}"), **more)) as stream:
        kinds = [event.type for event in stream]
        message, headers = stream.get_final_message(), stream.response.headers
    assert [block.type for block in message.content] == blocks
    if blocks == ["tool_use"]:
        assert message.content[0].input == {"city": "stand-in"}  # type: ignore[union-attr]
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"
    assert (headers["x-router-tier"], headers["x-router-cause"]) == ("sonnet", "classifier")
    booked = poll(lambda: entries(headers["x-router-request-id"]), "ledger entries")
    calls = {call["request_id"]: call for call in meter.calls()}
    assert {entry["upstream_request_id"] for entry in booked} == set(calls)
    for entry in booked:
        assert entry["cost_usd"] == price(calls[entry["upstream_request_id"]]) > 0
        assert entry["flags"] == []
    assert message.usage.output_tokens == calls[headers["request-id"]]["usage"]["output_tokens"]


def test_the_transcript_is_claudes_and_the_last_comment_tells_the_cost(
    http: httpx2.Client, meter: Meter, unique: Unique, entries: Entries
) -> None:
    answer = http.post("/v1/messages", json=ask(unique("Hi"), model="haiku", stream=True))
    assert answer.headers["content-type"].startswith("text/event-stream")
    kinds = events_of(answer.text)
    assert kinds[:3] == ["message_start", "ping", "content_block_start"]
    assert kinds[-2:] == ["message_delta", "message_stop"]
    (entry,) = entries(answer.headers["x-router-request-id"])
    money = told(answer.text)
    assert Decimal(money["x-router-cost-usd"]) == entry["cost_usd"] == price(meter.calls()[0])
    assert Decimal(money["x-router-baseline-usd"]) == entry["baseline_usd"]
    assert money["x-router-classifier-cost-usd"] == "0"
    assert Decimal(money["x-router-budget-remaining-usd"]) > 0


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "error event": ({"kind": "sse_error"}, "overloaded_error"),
    "cut": ({"kind": "sse_cut"}, "api_error"),
    "end": ({"kind": "sse_end", "after": 5}, "api_error"),
}


@pytest.mark.parametrize("story", BROKEN)
def test_a_stream_that_breaks_after_its_content_is_told_and_booked_above_the_bill(
    http: httpx2.Client, meter: Meter, unique: Unique, entries: Entries, story: str
) -> None:
    fault, kind = BROKEN[story]
    meter.script(faults=[fault])
    answer = http.post("/v1/messages", json=ask(unique("Hi"), model="opus", stream=True))
    assert answer.status_code == 200
    assert events_of(answer.text)[-1] == "error"
    data = json.loads(answer.text.split("event: error\ndata: ")[1].split("\n")[0])
    assert (data["type"], data["error"]["type"]) == ("error", kind)
    (entry,) = entries(answer.headers["x-router-request-id"])
    (call,) = meter.calls()
    assert entry["flags"] == ["ambiguous"]
    assert entry["input_tokens"] == call["usage"]["input_tokens"]
    assert entry["cost_usd"] == Decimal(call["usage"]["input_tokens"] * 4 + 300 * 20) / 1_000_000 > price(call)
    assert Decimal(told(answer.text)["x-router-cost-usd"]) == entry["cost_usd"]


def test_an_end_without_message_stop_after_the_final_usage_is_told_and_booked_exactly(
    http: httpx2.Client, meter: Meter, unique: Unique, entries: Entries
) -> None:
    meter.script(faults=[{"kind": "sse_end"}])
    answer = http.post("/v1/messages", json=ask(unique("Hi"), model="opus", stream=True))
    assert events_of(answer.text)[-2:] == ["message_delta", "error"]
    (entry,) = entries(answer.headers["x-router-request-id"])
    assert (entry["cost_usd"], entry["flags"]) == (price(meter.calls()[0]), [])


def test_an_answer_without_usage_is_passed_on_and_booked_at_its_bound(
    http: httpx2.Client, meter: Meter, unique: Unique, entries: Entries
) -> None:
    meter.script(faults=[{"kind": "no_usage"}])
    answer = http.post("/v1/messages", json=ask(unique("Hi"), model="opus", stream=True))
    assert events_of(answer.text)[-1] == "message_stop"
    (entry,) = entries(answer.headers["x-router-request-id"])
    assert entry["flags"] == ["ambiguous"]
    assert entry["cost_usd"] > price(meter.calls()[0])


@pytest.mark.parametrize("kind", ["sse_error", "sse_cut", "sse_end", "html"])
def test_what_breaks_before_the_content_falls_back_and_every_call_is_booked(
    http: httpx2.Client, meter: Meter, unique: Unique, entries: Entries, kind: str
) -> None:
    after = {} if kind == "html" else {"after": 2}
    meter.script(faults=[{"times": None, "model": "claude-opus-5-5", "kind": kind, **after}])
    answer = http.post("/v1/messages", json=ask(unique("Hi"), model="opus", stream=True))
    assert answer.headers["x-router-cause"] == "fallback:opus"
    assert events_of(answer.text)[-1] == "message_stop"
    assert events_of(answer.text).count("message_start") == 1
    booked = entries(answer.headers["x-router-request-id"])
    assert sorted((entry["tier"], tuple(entry["flags"])) for entry in booked) == [
        ("opus", ("ambiguous",)),
        ("opus", ("ambiguous",)),
        ("sonnet", ()),
    ]
    assert len(meter.calls()) == 3
    assert Decimal(told(answer.text)["x-router-cost-usd"]) == sum(entry["cost_usd"] for entry in booked)


@pytest.mark.parametrize("status", [400, 429, 529])
def test_an_error_before_the_stream_is_an_http_error(
    client: anthropic.Anthropic, meter: Meter, unique: Unique, status: int
) -> None:
    meter.script(faults=[{"times": None, "status": status}])
    with (
        pytest.raises(anthropic.APIStatusError) as raised,
        client.messages.stream(**ask(unique("Hi"), model="haiku")) as stream,
    ):
        stream.get_final_message()
    assert raised.value.status_code == status


def test_the_sdk_raises_when_a_stream_breaks(client: anthropic.Anthropic, meter: Meter, unique: Unique) -> None:
    meter.script(faults=[{"kind": "sse_cut"}])
    with (
        pytest.raises(anthropic.APIStatusError) as raised,
        client.messages.stream(**ask(unique("Hi"), model="haiku")) as stream,
    ):
        stream.get_final_message()
    assert raised.value.body["type"] == "error"  # type: ignore[index]


# --- under uvicorn


def test_events_come_one_by_one_as_claude_sends_them(stack: LocalStack, meter: Meter, unique: Unique) -> None:
    meter.script(chunk_delay=0.05)
    url, key = f"{stack.description['streaming_url']}/v1/messages", stack.description["gateway_key"]
    body = ask(unique("Hi"), model="haiku", stream=True)
    with httpx2.stream("POST", url, json=body, headers={"x-api-key": key}, timeout=60) as answer:
        arrived = [time.monotonic() for line in answer.iter_lines() if line.startswith("event: content_block_delta")]
    gaps = [later - earlier for earlier, later in itertools.pairwise(arrived)]
    assert len(gaps) > 2  # the shortest answer of the stand-in has more deltas than that
    assert sorted(gaps)[len(gaps) // 2] > 0.03  # in the median; a loaded machine may bunch a few


def request_bytes(stack: LocalStack, body: dict[str, Any]) -> bytes:
    raw = json.dumps(body).encode()
    head = f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {stack.description['gateway_key']}\r\n"
    return head.encode() + f"content-length: {len(raw)}\r\n\r\n".encode() + raw


def test_a_caller_who_leaves_is_booked(stack: LocalStack, meter: Meter, unique: Unique, entries: Entries) -> None:
    meter.script(chunk_delay=0.2)
    port = int(stack.description["streaming_url"].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as caller:
        caller.sendall(request_bytes(stack, ask(unique("Hi"), model="opus", stream=True)))
        got = b""
        while b"content_block_delta" not in got:
            got += caller.recv(4_096)
    request_id = re.search(rb"x-router-request-id: (\S+)", got)[1].decode()  # type: ignore[index]
    (entry,) = poll(lambda: entries(request_id), "the entry of a call whose caller has left", seconds=10)
    (call,) = meter.calls()
    assert entry["flags"] == ["ambiguous", "abandoned"]
    assert entry["upstream_request_id"] == call["request_id"]
    assert entry["cost_usd"] > price(call)


def test_a_process_that_is_told_to_end_books_what_is_in_mid_air(
    stack: LocalStack, meter: Meter, unique: Unique, entries: Entries, tmp_path: Path
) -> None:
    meter.script(chunk_delay=1.0)
    children = Children(tmp_path)
    try:
        _, url = start_uvicorn(children, stack.emulator, stack.outputs)
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as caller:
            caller.sendall(request_bytes(stack, ask(unique("Hi"), model="opus", stream=True)))
            got = b""
            while b"content_block_start" not in got:
                got += caller.recv(4_096)
            children.end()
    finally:
        children.end()
    request_id = re.search(rb"x-router-request-id: (\S+)", got)[1].decode()  # type: ignore[index]
    (entry,) = entries(request_id)
    assert entry["flags"] == ["ambiguous", "abandoned"]


def test_fifty_streams_at_once_do_not_mix(stack: LocalStack, meter: Meter, unique: Unique, entries: Entries) -> None:
    meter.script(chunk_delay=0.01)
    url, key = f"{stack.description['streaming_url']}/v1/messages", stack.description["gateway_key"]
    tiers = ["haiku", "sonnet", "opus"]

    def one(number: int) -> httpx2.Response:
        body = ask(unique("Hi"), model=tiers[number % 3], stream=True)
        headers = {"x-api-key": key, "x-router-tags": f"number={number}"}
        return httpx2.post(url, json=body, headers=headers, timeout=60)

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(one, range(50)))
    calls = {call["request_id"]: call for call in meter.calls()}
    assert len(calls) == 50
    lines = {}
    for text in (stack.folder / "uvicorn.log").read_text(encoding="utf-8").splitlines():
        fields = json.loads(text) if text.startswith("{") else {}
        if "model_used" in fields:
            lines[fields["request_id"]] = fields
    for number, answer in enumerate(answers):
        call, request_id = calls[answer.headers["request-id"]], answer.headers["x-router-request-id"]
        assert answer.headers["x-router-tier"] == tiers[number % 3]
        assert f"[stand-in answer from {call['model']}]"[:20] in "".join(re.findall(r'"text":"([^"]*)"', answer.text))
        assert Decimal(told(answer.text)["x-router-cost-usd"]) == price(call)
        line = lines[request_id]
        assert (line["upstream_request_id"], line["tags"]) == (call["request_id"], {"number": str(number)})
        assert Decimal(line["cost_usd"]) == price(call)
    for number in (0, 17, 49):
        (entry,) = entries(answers[number].headers["x-router-request-id"])
        assert (entry["cost_usd"], entry["tags"]) == (
            price(calls[answers[number].headers["request-id"]]),
            {"number": str(number)},
        )
