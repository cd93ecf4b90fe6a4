"""Long calls and large answers over HTTP: deadlines, heartbeats, callers who leave, and what Lambda cannot return."""

import datetime as dt
import json
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import anthropic
import httpx2
import pytest

from cost_router.contract import Env
from infra.local.processes import Children, free_port, listens
from infra.local.stack import FUNCTIONS, ROOT, LocalStack, function_environment, start_uvicorn
from infra.operate.report import read_entries
from tests.integration.meter import Meter, poll, price

Unique = Callable[[str], str]
Entries = Callable[[str], list[dict[str, Any]]]


def ask(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "opus", "max_tokens": 300, "messages": [{"role": "user", "content": text}], **more}


def key_of(stack: LocalStack) -> dict[str, str]:
    return {"x-api-key": stack.description["gateway_key"], "anthropic-version": "2026-10-21"}


@pytest.fixture(scope="module")
def children(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Children]:
    found = Children(tmp_path_factory.mktemp("limits"))
    yield found
    found.end()


@pytest.fixture(scope="module")
def lively(children: Children, stack: LocalStack) -> str:
    """The app under uvicorn with a heartbeat of tenths of seconds, and three seconds for a call."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "tests.integration.lively_app:app", "--port", str(port)]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "ANTHROPIC_"))}
    env |= function_environment(stack.emulator, stack.outputs) | stack.emulator.environment()
    env |= {"PYTHONPATH": f"{ROOT}{os.pathsep}{FUNCTIONS}", Env.DEADLINE_SECONDS: "3"}
    children.start("lively", command, env, cwd=ROOT).wait_until(lambda: listens(port))
    return f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def hasty(children: Children, stack: LocalStack) -> str:
    """The app under uvicorn with two seconds for a call, and three for a stream."""
    return start_uvicorn(children, stack.emulator, stack.outputs, "2", "3")[1]


# --- deadlines


def check_late(answer: httpx2.Response, entries: Entries) -> None:
    """A 504 that names the ways out, and as much booked as may have been spent."""
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (504, "timeout_error")
    assert "queue" in error["message"]
    assert "/v1/messages/batches" in error["message"]
    assert answer.headers["x-should-retry"] == "false"
    booked = entries(answer.headers["x-router-request-id"])
    assert {tuple(entry["flags"]) for entry in booked} == {("ambiguous",)}
    assert Decimal(answer.headers["x-router-cost-usd"]) == sum(entry["cost_usd"] for entry in booked)


@pytest.mark.parametrize("more", [{}, {"stream": True}], ids=["whole", "streamed"])
def test_under_uvicorn_a_missed_deadline_is_a_504_and_booked(
    hasty: str, stack: LocalStack, meter: Meter, unique: Unique, entries: Entries, more: dict[str, Any]
) -> None:
    meter.script(latency=60.0)
    answer = httpx2.post(f"{hasty}/v1/messages", json=ask(unique("Hi"), **more), headers=key_of(stack))
    check_late(answer, entries)


def test_behind_the_buffered_gateway_too_before_it_gives_up_itself(
    stack: LocalStack, meter: Meter, unique: Unique, entries: Entries
) -> None:
    """Both kinds at once: each takes all of the 24 s that there are."""
    meter.script(latency=60.0)
    url = f"{stack.description['base_url']}/v1/messages"

    def send(more: dict[str, Any]) -> httpx2.Response:
        return httpx2.post(url, json=ask(unique("Hi"), **more), headers=key_of(stack), timeout=60)

    with ThreadPoolExecutor(2) as pool:
        for answer in pool.map(send, ({}, {"stream": True})):
            check_late(answer, entries)


def test_a_stream_that_is_not_whole_in_time_ends_with_an_error_event_and_is_booked(
    hasty: str, stack: LocalStack, meter: Meter, unique: Unique, entries: Entries
) -> None:
    meter.script(chunk_delay=0.5)
    answer = httpx2.post(f"{hasty}/v1/messages", json=ask(unique("Hi"), stream=True), headers=key_of(stack), timeout=60)
    data = json.loads(answer.text.split("event: error\ndata: ")[1].split("\n")[0])
    assert (answer.status_code, data["error"]["type"]) == (200, "timeout_error")
    assert "queue" in data["error"]["message"]
    assert "/v1/messages/batches" in data["error"]["message"]
    (entry,) = entries(answer.headers["x-router-request-id"])
    assert entry["flags"] == ["ambiguous"]
    assert entry["cost_usd"] > price(meter.calls()[0])


# --- heartbeats


def test_a_long_unstreamed_call_is_kept_alive_and_its_cost_is_told_afterwards(
    lively: str, stack: LocalStack, meter: Meter, unique: Unique, entries: Entries
) -> None:
    meter.script(latency=1.0)
    with httpx2.Client(base_url=lively, headers=key_of(stack), timeout=60) as http:
        answer = http.post("/v1/messages", json=ask(unique("Hi")))
        told = http.get(f"/v1/requests/{answer.headers['x-router-request-id']}").json()
    (call,) = meter.calls()
    beats = len(answer.text) - len(answer.text.lstrip("\n"))
    assert beats >= 2
    assert (answer.json()["model"], answer.json()["stop_reason"]) == (call["model"], "end_turn")
    assert answer.headers["x-router-tier"] == "opus"
    assert "x-router-cost-usd" not in answer.headers
    (entry,) = entries(answer.headers["x-router-request-id"])
    assert (entry["cost_usd"], entry["flags"]) == (price(call), [])
    assert Decimal(told["cost_usd"]) == price(call)


def test_the_unmodified_sdk_waits_for_it(lively: str, stack: LocalStack, meter: Meter, unique: Unique) -> None:
    meter.script(latency=1.0)
    key = stack.description["gateway_key"]
    with anthropic.Anthropic(base_url=lively, api_key=key, max_retries=0, timeout=0.6) as client:
        message = client.messages.create(**ask(unique("Hi")))  # its timeout is one between two bytes
    assert message.stop_reason == "end_turn"


def test_after_the_beginning_a_missed_deadline_is_an_error_in_the_body_and_booked(
    lively: str, stack: LocalStack, meter: Meter, unique: Unique, entries: Entries
) -> None:
    meter.script(latency=60.0)
    answer = httpx2.post(f"{lively}/v1/messages", json=ask(unique("Hi")), headers=key_of(stack), timeout=60)
    assert (answer.status_code, answer.json()["error"]["type"]) == (200, "timeout_error")
    assert "queue" in answer.json()["error"]["message"]
    assert [entry["flags"] for entry in entries(answer.headers["x-router-request-id"])] == [["ambiguous"]]


def test_under_uvicorn_a_caller_who_does_not_wait_for_a_whole_answer_is_booked(
    stack: LocalStack, meter: Meter, unique: Unique
) -> None:
    meter.script(latency=30.0)
    raw, began = json.dumps(ask(unique("Hi"))).encode(), dt.datetime.now(dt.UTC)
    port = int(stack.description["streaming_url"].rpartition(":")[2])
    head = "POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-router-tags: leaves=early\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in key_of(stack).items())
    with socket.create_connection(("127.0.0.1", port)) as caller:
        caller.sendall(head.encode() + f"content-length: {len(raw)}\r\n\r\n".encode() + raw)
        poll(meter.calls, "the call that nobody will wait for", seconds=10)

    def left() -> list[dict[str, Any]]:
        return [entry for entry in read_entries(stack.target, began.date()) if entry["tags"] == {"leaves": "early"}]

    (entry,) = poll(left, "the entry of a call whose caller has left", seconds=10)
    assert dt.datetime.now(dt.UTC) - began < dt.timedelta(seconds=25), "it was cancelled, not waited for"
    assert entry["flags"] == ["ambiguous", "abandoned"]
    assert entry["cost_usd"] > price(meter.calls()[0])


# --- large answers

LARGE = {
    "whole": ("[[bytes:7000000]]", {"max_tokens": 128_000}, "json"),
    "streamed": ("[[bytes:1200000]]", {"max_tokens": 128_000, "stream": True}, "sse"),
}


@pytest.mark.parametrize("story", LARGE)
def test_an_answer_that_lambda_cannot_return_is_kept_in_the_bucket_and_announced(
    stack: LocalStack, meter: Meter, unique: Unique, entries: Entries, story: str
) -> None:
    text, more, ending = LARGE[story]
    url = f"{stack.description['base_url']}/v1/messages"
    answer = httpx2.post(
        url, json=ask(unique(f"Write {text}"), **{"model": "haiku", **more}), headers=key_of(stack), timeout=60
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], answer.headers["x-should-retry"]) == (500, "api_error", "false")
    assert error["details"]["bytes"] > error["details"]["most_bytes"] == 6_291_556
    request_id, (call,) = answer.headers["x-router-request-id"], meter.calls()
    bucket, key = stack.description["results_bucket"], f"answers/demo/{request_id}.{ending}"
    assert error["details"]["location"] == f"s3://{bucket}/{key}"
    kept = stack.emulator.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode()
    assert httpx2.get(error["details"]["url"], timeout=60).text == kept
    if ending == "json":
        assert len(json.loads(kept)["content"][0]["text"]) == 7_000_000
    else:
        assert sum(len(part) for part in re.findall(r'"text":"([^"]*)"', kept.replace("\\n", "n"))) == 1_200_000
        assert "event: message_stop" in kept
    assert answer.headers["request-id"] == call["request_id"]
    assert Decimal(answer.headers["x-router-cost-usd"]) == price(call)
    (entry,) = entries(request_id)
    assert (entry["cost_usd"], entry["flags"]) == (price(call), [])


def test_under_uvicorn_the_same_answer_just_comes(stack: LocalStack, meter: Meter, unique: Unique) -> None:
    body = ask(unique("Write [[bytes:7000000]]"), model="haiku", max_tokens=128_000)
    url = f"{stack.description['streaming_url']}/v1/messages"
    answer = httpx2.post(url, json=body, headers=key_of(stack), timeout=60)
    assert len(answer.json()["content"][0]["text"]) == 7_000_000
    assert Decimal(answer.headers["x-router-cost-usd"]) == price(meter.calls()[0])
