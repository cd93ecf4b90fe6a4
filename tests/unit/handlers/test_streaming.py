"""Streamed answers at the door: bytes, headers, the last comment, errors, and callers who leave."""

import asyncio
import json
import re
import socket
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx2
import pytest
from mangum import Mangum

from cost_router.core.errors import Failure, UpstreamError
from cost_router.core.pricing import Usage
from cost_router.handlers.streaming import STALLED_SECONDS, EventStream, comment
from tests.builders import KEY, NEVER, World, event, failing, message_body, record, rejected, run, streamed_steps
from tests.unit.adapters.upstream import listening
from tests.unit.handlers.client import error_of, post, post_all
from tests.unit.handlers.test_entry import event as lambda_event
from tests.unit.handlers.test_entry import lambdas_loop  # noqa: F401  a fixture

USAGE = Usage(input_tokens=1_000, output_tokens=100)
START, TEXT = event("message_start", USAGE), event("content_block_delta", text="a")
OVERLOADED_BODY = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_up"}'
OVERLOADED = UpstreamError(Failure.OVERLOADED, 529, body=OVERLOADED_BODY, maybe_billed=True)


def ask(**fields: Any) -> dict[str, Any]:
    return message_body(stream=True, **fields)


def claudes(steps: list[Any]) -> bytes:
    return b"".join(step.raw for step in steps)


def last_comment(text: str) -> dict[str, str]:
    """The NAME=VALUE pairs of the comment that ends a stream; anything else there fails the test."""
    found = re.search(r"(?:^|\n\n): ([^\n]*)\n\n$", text)
    assert found, text[-200:]
    return dict(pair.split("=") for pair in found[1].split(" "))


def test_the_body_is_claudes_bytes_then_one_comment_with_the_cost() -> None:
    world = World(label="moderate", script=[streamed_steps(USAGE)])
    response = post(world, ask())
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.content.startswith(claudes(streamed_steps(USAGE)))
    assert response.content[len(claudes(streamed_steps(USAGE))) :] == (
        b": x-router-cost-usd=0.003044 x-router-classifier-cost-usd=0.000044 x-router-baseline-usd=0.006 "
        b"x-router-budget-remaining-usd=9.996956\n\n"
    )


def test_what_is_known_at_the_start_comes_as_headers_and_cost_does_not() -> None:
    world = World(label="moderate", script=[streamed_steps(USAGE)])
    headers = post(world, ask()).headers
    assert {name: value for name, value in headers.items() if name.startswith("x-router-")} == {
        "x-router-model": "claude-sonnet-5-5",
        "x-router-tier": "sonnet",
        "x-router-label": "moderate",
        "x-router-cause": "classifier",
        "x-router-request-id": f"req_{1:024d}",
    }
    assert headers["request-id"] == "req_upstream"
    assert headers["cache-control"] == "no-cache"
    assert "content-length" not in headers


def test_the_record_is_told_once_at_the_end_with_the_final_cost() -> None:
    world = World(script=[streamed_steps(USAGE)])
    post(world, ask(model="opus"))
    (record,) = world.telemetry.records
    assert (record.status, record.error, record.usage) == (200, None, USAGE)
    assert record.bill.cost_usd == Decimal("0.006")
    assert record.upstream_request_id == "req_upstream"


def test_the_stream_flag_goes_upstream() -> None:
    world = World()
    post(world, ask(model="haiku"))
    assert world.claude.answer_calls[0].body["stream"] is True


@pytest.mark.parametrize("flag", [{}, {"stream": False}, {"stream": None}])
def test_without_the_flag_the_answer_comes_whole(flag: dict[str, Any]) -> None:
    assert post(World(), message_body(**flag)).json()["content"][0]["text"] == "the answer"


# --- failures


def test_before_any_event_a_failure_is_an_http_error() -> None:
    response = post(World(script=[rejected(400)]), ask(model="haiku"))
    assert response.status_code == 400
    assert error_of(response)["message"] == "refused with 400"


def test_a_stream_that_breaks_before_its_content_on_every_tier_is_an_http_error_too() -> None:
    world = World(script=[[START, OVERLOADED]] * 9)
    response = post(world, ask(model="haiku"))
    assert (response.status_code, error_of(response)["type"]) == (529, "overloaded_error")
    assert response.headers["x-should-retry"] == "false"
    assert Decimal(response.headers["x-router-cost-usd"]) > 0


def test_a_fallback_before_the_content_leaves_no_trace_in_the_body() -> None:
    world = World(script=[failing(), [START, OVERLOADED], streamed_steps(USAGE)])
    response = post(world, ask(model="opus"))
    assert response.headers["x-router-cause"] == "fallback:opus"
    assert response.content.startswith(claudes(streamed_steps(USAGE)))
    assert response.text.count("message_start") == 2  # name and type of one event


def test_claudes_error_event_ends_the_stream_in_its_own_words() -> None:
    world = World(script=[[START, TEXT, OVERLOADED]])
    response = post(world, ask(model="opus"))
    assert response.status_code == 200
    assert response.content.startswith(claudes([START, TEXT]) + b"event: error\ndata: ")
    data = json.loads(response.text.split("event: error\ndata: ")[1].split("\n")[0])
    assert data == json.loads(OVERLOADED_BODY)
    assert Decimal(last_comment(response.text)["x-router-cost-usd"]) > 0
    (record,) = world.telemetry.records
    assert (record.status, record.error, record.ambiguous) == (529, "overloaded_error", 1)


@pytest.mark.parametrize(
    ("end", "kind", "status"),
    [
        (UpstreamError(Failure.CONNECTION, maybe_billed=True), "api_error", 502),
        (UpstreamError(Failure.SERVER, 502, maybe_billed=True), "api_error", 502),
        (200.0, "timeout_error", 504),
        (RuntimeError("canary"), "api_error", 500),
    ],
)
def test_a_broken_stream_ends_with_an_error_event_and_the_cost(end: object, kind: str, status: int) -> None:
    world = World(script=[[START, TEXT, end]])
    response = post(world, ask(model="opus"))
    data = json.loads(response.text.split("event: error\ndata: ")[1].split("\n")[0])
    assert (data["type"], data["error"]["type"], data["request_id"]) == ("error", kind, "req_upstream")
    assert "canary" not in response.text
    assert Decimal(last_comment(response.text)["x-router-cost-usd"]) > 0
    (record,) = world.telemetry.records
    assert (record.status, record.error) == (status, kind)
    assert len(world.ledger.entries) == 1
    assert world.ledger.open == {}


def test_a_ledger_that_cannot_be_written_does_not_end_the_stream() -> None:
    world = World(script=[streamed_steps(USAGE)])
    world.ledger.down = True
    response = post(world, ask(model="opus"))
    assert last_comment(response.text)["x-router-cost-usd"] == "0.006"
    assert [entry.cost_usd for entry in world.telemetry.lost] == [Decimal("0.006")]


def test_a_comment_is_one_line_that_clients_skip() -> None:
    assert comment({"a": "1", "b": "2"}) == b": a=1 b=2\n\n"


# --- many at once


def test_fifty_streams_at_once_do_not_mix() -> None:
    world = World()
    tokens = list(range(1, 51))
    world.claude.script.extend(streamed_steps(Usage(input_tokens=1_000, output_tokens=count)) for count in tokens)
    responses = post_all(world, [ask(model="haiku") for _ in tokens])
    told = sorted(Decimal(last_comment(response.text)["x-router-cost-usd"]) for response in responses)
    assert told == [Decimal(1_000 * 10 + count * 50) / 100_000_000 for count in tokens]
    ids = {response.headers["x-router-request-id"]: response for response in responses}
    assert len(ids) == 50
    for entry in world.ledger.entries:
        assert last_comment(ids[entry.request_id].text)["x-router-cost-usd"] == f"{entry.cost_usd:f}".rstrip("0")
    for row in world.telemetry.records:
        assert last_comment(ids[row.request_id].text)["x-router-cost-usd"] == f"{row.bill.cost_usd:f}".rstrip("0")


# --- the buffered entrance


@pytest.mark.usefixtures("lambdas_loop")
def test_the_buffered_entrance_answers_one_whole_transcript() -> None:
    world = World(script=[streamed_steps(USAGE)])
    reply = Mangum(world.app(), lifespan="off")(lambda_event(json.dumps(ask(model="opus"))), {})  # type: ignore[arg-type]
    assert (reply["statusCode"], reply["isBase64Encoded"]) == (200, False)
    assert reply["headers"]["content-type"].startswith("text/event-stream")
    assert reply["body"].encode().startswith(claudes(streamed_steps(USAGE)))
    assert last_comment(reply["body"])["x-router-cost-usd"] == "0.006"


# --- over a socket


def until(ready: Callable[[], Any], seconds: float = 10.0) -> Any:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
    return ready()


def test_events_go_out_one_by_one_while_the_stream_is_open() -> None:
    world = World(script=[[START, TEXT, TEXT, NEVER]])
    with listening(world.app()) as url, httpx2.Client(base_url=url, headers={"x-api-key": KEY}) as client:
        with client.stream("POST", "/v1/messages", json=ask(model="opus")) as response:
            expected, got = claudes([START, TEXT, TEXT]), b""
            for chunk in response.iter_raw():
                got += chunk
                if got == expected:
                    break
        until(lambda: world.telemetry.records)
    assert got == expected


@pytest.mark.parametrize("steps", [[START, TEXT, NEVER], [START, NEVER]], ids=["in mid-answer", "before the content"])
def test_a_caller_who_leaves_ends_the_call_and_it_is_booked(steps: list[Any]) -> None:
    world = World(script=[steps])
    body = json.dumps(ask(model="opus")).encode()
    head = f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-length: {len(body)}\r\n\r\n"
    with listening(world.app()) as url:
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as caller:
            caller.sendall(head.encode() + body)
            until(lambda: world.claude.streams and len(world.claude.streams[0].steps) == 0)
        (record,) = until(lambda: world.telemetry.records)
    assert world.claude.streams[0].closed
    assert [entry.flags for entry in world.ledger.entries] == [("ambiguous", "abandoned")]
    assert world.ledger.open == {}
    assert (record.status, record.error) == (499, "abandoned")
    assert record.bill.cost_usd == world.ledger.entries[0].cost_usd > 0


@pytest.mark.parametrize("began", [False, True], ids=["before anything", "while the headers are sent"])
def test_a_caller_who_leaves_before_the_first_event_ends_the_call_and_it_is_booked(*, began: bool) -> None:
    """The call is open by then: its headers name the tier."""
    world = World(script=[[START, TEXT, NEVER]])
    scope = {"type": "http", "asgi": {"version": "3.0"}, "method": "POST", "path": "/v1/messages", "query_string": b""}
    scope |= {
        "raw_path": b"/v1/messages",
        "root_path": "",
        "scheme": "http",
        "http_version": "1.1",
        "headers": [(b"x-api-key", KEY.encode())],
    }
    body = {"type": "http.request", "body": json.dumps(ask(model="opus")).encode(), "more_body": False}

    async def go() -> None:
        sending, asked = asyncio.Event(), [body]

        async def receive() -> Any:
            if asked:
                return asked.pop()
            if began:
                await sending.wait()
            elif not world.claude.streams:
                await asyncio.Event().wait()
            return {"type": "http.disconnect"}

        async def send(_message: Any) -> None:
            sending.set()
            await asyncio.Event().wait()  # a connection that takes nothing

        await world.app()(scope, receive, send)

    run(go())
    assert [stream.closed for stream in world.claude.streams] == [True]
    assert [entry.flags for entry in world.ledger.entries] == [("ambiguous", "abandoned")]
    assert world.ledger.open == {}
    assert [(record.status, record.error) for record in world.telemetry.records] == [(499, "abandoned")]


def test_a_caller_who_takes_nothing_until_the_time_is_up_has_left_and_is_sent_nothing_more() -> None:
    world = World(script=[[START, TEXT, NEVER]])
    sent: list[Any] = []

    async def go() -> None:
        answer = await world.router.answer_stream(world.request(model="opus", stream=True), told)
        world.clock.advance(answer.seconds_left + STALLED_SECONDS)  # with nothing left, the first wait is one too many

        async def send(message: Any) -> None:
            sent.append(message["type"])
            if len(sent) > 1:
                await asyncio.Event().wait()

        async def receive() -> Any:
            await asyncio.Event().wait()

        await EventStream(answer, told, world.telemetry)({}, receive, send)

    told = record()
    run(asyncio.wait_for(go(), 10))
    assert sent == ["http.response.start", "http.response.body"]
    assert (told.status, told.error) == (499, "abandoned")
    assert world.telemetry.defects == []
    assert [entry.flags for entry in world.ledger.entries] == [("ambiguous", "abandoned")]


def test_a_caller_who_takes_nothing_holds_claude_back() -> None:
    """Back-pressure: what the caller's socket cannot hold is not read from Claude; memory stays flat."""
    block = event("content_block_delta", text="x" * 100_000)
    world = World(script=[[START, *[block] * 2_000, event("message_stop")]])
    body = json.dumps(ask(model="opus")).encode()
    head = f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-length: {len(body)}\r\n\r\n"
    with listening(world.app()) as url:
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as caller:
            caller.sendall(head.encode() + body)
            steps = until(lambda: world.claude.streams)[0].steps
            left, same = len(steps), 0
            while same < 20:  # until nothing has moved for a while
                time.sleep(0.01)
                same, left = (same + 1, left) if len(steps) == left else (0, len(steps))
            assert left > 1_500
        until(lambda: world.telemetry.records)
    assert world.claude.streams[0].closed


def test_what_is_in_mid_air_when_the_server_ends_is_booked() -> None:
    world = World(script=[[START, TEXT, NEVER]])
    body = json.dumps(ask(model="opus")).encode()
    messages: list[dict[str, Any]] = []

    async def go() -> None:
        app = world.app()
        scope = {"type": "http", "method": "POST", "path": "/v1/messages", "query_string": b""}
        scope["headers"] = [(b"x-api-key", KEY.encode())]
        inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        inbox.put_nowait({"type": "http.request", "body": body, "more_body": False})

        begun = asyncio.Event()

        async def send(message: Any) -> None:
            messages.append(message)
            if len(messages) == 3:
                begun.set()

        life: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        life.put_nowait({"type": "lifespan.startup"})
        told: list[Any] = []

        async def tell(message: Any) -> None:
            told.append(message["type"])

        living = asyncio.create_task(app({"type": "lifespan", "app": app}, life.get, tell))
        request = asyncio.create_task(app(scope, inbox.get, send))
        await begun.wait()
        request.cancel()  # as uvicorn does when its graceful timeout is over, before it ends the lifespan
        life.put_nowait({"type": "lifespan.shutdown"})
        await living
        assert told == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
        assert request.done()

    run(go())
    assert [entry.flags for entry in world.ledger.entries] == [("ambiguous", "abandoned")]
    assert world.ledger.open == {}
