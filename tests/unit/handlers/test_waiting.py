"""Unstreamed answers that take long: white space, then the answer; errors, callers who leave, and what is booked."""

import asyncio
import dataclasses
import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import anthropic
import pytest

from cost_router.core.errors import Failure, StoreError, UpstreamError
from cost_router.core.ports import Reply
from cost_router.core.pricing import Usage
from cost_router.handlers.waiting import Heartbeat
from tests.builders import KEY, NEVER, FakeClaude, World, failing, message_body, rejected, reply, run
from tests.unit.adapters.upstream import listening
from tests.unit.handlers.client import error_of, post
from tests.unit.handlers.test_streaming import until

USAGE = Usage(input_tokens=1_000, output_tokens=100)
ANSWER = reply("claude-opus-5-5", "the answer", USAGE)
AT_ONCE = Heartbeat(after=0.02, every=0.001)  # once the decision is made, which takes turns of the loop but no time


@dataclass
class SlowClaude(FakeClaude):
    """Answers when it is told to."""

    ready: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, body: Mapping[str, Any], headers: Mapping[str, str], seconds: float) -> Reply:
        await self.ready.wait()
        return await super().send(body, headers, seconds)


@dataclass
class Caller:
    """The server's side of one call: what it gives to the app, and what it gets."""

    body: bytes
    sent: list[dict[str, Any]] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    asked: bool = False
    on_beat: Callable[[int], None] = lambda _beats: None

    async def receive(self) -> dict[str, Any]:
        if not self.asked:
            self.asked = True
            return {"type": "http.request", "body": self.body, "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)
        if message.get("body") == b"\n":
            self.on_beat(self.beats)

    @property
    def beats(self) -> int:
        return sum(message.get("body") == b"\n" for message in self.sent)

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def content(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


def scope(**more: Any) -> dict[str, Any]:
    headers = [(b"x-api-key", KEY.encode())]
    return {"type": "http", "method": "POST", "path": "/v1/messages", "query_string": b"", "headers": headers, **more}


def slow(world: World, **fields: Any) -> tuple[SlowClaude, Caller]:
    world.heartbeat = AT_ONCE
    world.claude = SlowClaude(world.clock, script=world.claude.script)
    return world.claude, Caller(json.dumps(message_body(**{"model": "opus", **fields})).encode())


def called(world: World, beats: int = 3) -> Caller:
    """One call whose answer, or error, comes after some beats."""

    async def go() -> Caller:
        claude, caller = slow(world)
        caller.on_beat = lambda count: claude.ready.set() if count >= beats else None
        await world.app()(scope(), caller.receive, caller.send)
        return caller

    return run(go())


def test_white_space_keeps_the_connection_until_claudes_own_bytes_come() -> None:
    caller = called(World(script=[ANSWER]))
    assert caller.beats >= 3
    assert caller.content == b"\n" * caller.beats + ANSWER.content
    assert json.loads(caller.content) == ANSWER.message
    assert [message.get("more_body") for message in caller.sent[1:]] == [True] * caller.beats + [False]


def test_the_headers_are_those_that_are_known_when_it_begins() -> None:
    world = World(script=[ANSWER])
    caller = called(world)
    assert caller.sent[0]["status"] == 200
    assert caller.headers == {
        "x-router-model": "claude-opus-5-5",
        "x-router-tier": "opus",
        "x-router-cause": "pinned",
        "x-router-request-id": f"req_{1:024d}",
        "request-id": f"req_{1:024d}",
        "content-type": "application/json",
    }


def test_what_it_cost_is_told_afterwards_by_its_id() -> None:
    world = World(script=[ANSWER])
    caller = called(world)
    receipt, _ = world.requests.items[caller.headers["x-router-request-id"]]
    assert (receipt.status, receipt.bill.cost_usd, receipt.usage) == ("answered", Decimal("0.006"), USAGE)
    assert [entry.cost_usd for entry in world.ledger.entries] == [Decimal("0.006")]


def test_the_record_is_told_once_and_at_the_end() -> None:
    world = World(script=[ANSWER])
    told: list[int] = []

    async def go() -> None:
        claude, caller = slow(world)

        def beat(count: int) -> None:
            told.append(len(world.telemetry.records))
            if count <= 3:  # another beat may come while the answer is on its way
                world.clock.advance(100.0)
            if count == 3:
                claude.ready.set()

        caller.on_beat = beat
        await world.app()(scope(), caller.receive, caller.send)

    world.router_settings = dataclasses.replace(world.router_settings, deadline_seconds=895.0)
    run(go())
    assert (told[:3], set(told)) == ([0, 0, 0], {0})
    (record,) = world.telemetry.records
    assert (record.status, record.error, record.bill.cost_usd) == (200, None, Decimal("0.006"))
    assert record.latency_ms == 300_000


ERRORS: dict[str, tuple[object, str, int]] = {
    "Claude's refusal": (rejected(400), "invalid_request_error", 400),
    "no answer in time": (UpstreamError(Failure.TIMEOUT, maybe_billed=True), "timeout_error", 504),
    "Claude's failure": (failing(500), "api_error", 500),
    "a table out of reach": (StoreError("dynamodb.get_item: ReadTimeoutError"), "api_error", 503),
    "a defect": (RuntimeError("canary"), "api_error", 500),
}


@pytest.mark.parametrize("story", ERRORS)
def test_an_error_after_the_beginning_is_anthropics_error_in_the_body(story: str) -> None:
    error, kind, status = ERRORS[story]
    world = World(script=[error] * 9)
    if kind == "timeout_error":
        world.claude.takes = 25.0
    caller = called_with_time(world) if kind == "timeout_error" else called(world)
    body = json.loads(caller.content)
    assert caller.sent[0]["status"] == 200
    assert (body["type"], body["error"]["type"]) == ("error", kind)
    assert body["request_id"]
    assert b"canary" not in caller.content
    (record,) = world.telemetry.records
    assert (record.status, record.error) == (status, kind)
    assert world.ledger.open == {}


def called_with_time(world: World) -> Caller:
    """As `called`, of a Claude who takes all the time there is."""

    async def go() -> Caller:
        takes = world.claude.takes
        claude, caller = slow(world)
        claude.takes = takes
        caller.on_beat = lambda _count: claude.ready.set()
        await world.app()(scope(), caller.receive, caller.send)
        return caller

    return run(go())


def test_before_the_beginning_an_error_has_its_own_status_and_an_answer_all_its_headers() -> None:
    refused = post(World(script=[rejected(400)]), message_body(model="opus"))
    assert (refused.status_code, error_of(refused)["type"]) == (400, "invalid_request_error")
    answered = post(World(script=[ANSWER]), message_body(model="opus"))
    assert answered.headers["x-router-cost-usd"] == "0.006"
    assert answered.headers["content-length"] == str(len(ANSWER.content))
    assert answered.content == ANSWER.content


@pytest.mark.parametrize("heartbeat", [Heartbeat(), AT_ONCE], ids=["before the beginning", "after it"])
def test_a_caller_who_leaves_ends_the_call_and_it_is_booked(heartbeat: Heartbeat) -> None:
    world = World(script=[NEVER])
    world.heartbeat = heartbeat
    body = json.dumps(message_body(model="opus")).encode()
    head = f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-length: {len(body)}\r\n\r\n"
    with listening(world.app()) as url:
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as caller:
            caller.sendall(head.encode() + body)
            if heartbeat is AT_ONCE:
                assert caller.recv(4_096).startswith(b"HTTP/1.1 200")
            until(lambda: world.claude.calls)
        (record,) = until(lambda: world.telemetry.records)
    assert [entry.flags for entry in world.ledger.entries] == [("ambiguous", "abandoned")]
    assert world.ledger.open == {}
    assert (record.status, record.error) == (499, "abandoned")
    assert record.bill.cost_usd == world.ledger.entries[0].cost_usd > 0


def test_what_is_waited_for_when_the_server_ends_is_booked() -> None:
    world = World(script=[ANSWER])

    async def go() -> None:
        _, caller = slow(world)
        beaten = asyncio.Event()
        caller.on_beat = lambda _count: beaten.set()
        waiting = asyncio.create_task(world.app()(scope(), caller.receive, caller.send))
        await beaten.wait()
        waiting.cancel()  # as uvicorn does when its graceful timeout is over
        with pytest.raises(asyncio.CancelledError):
            await waiting

    run(go())
    assert [entry.flags for entry in world.ledger.entries] == [("ambiguous", "abandoned")]
    assert world.ledger.open == {}
    assert [(record.status, record.error) for record in world.telemetry.records] == [(499, "abandoned")]


def test_the_unmodified_sdk_reads_an_answer_that_was_waited_for() -> None:
    world = World(script=[ANSWER])
    world.heartbeat = Heartbeat(after=0.0, every=0.0)
    with (
        listening(world.app()) as url,
        anthropic.Anthropic(base_url=url, api_key=KEY, max_retries=0) as client,
    ):
        raw = client.messages.with_raw_response.create(
            model="opus", max_tokens=100, messages=[{"role": "user", "content": "Hi"}]
        )
    assert "x-router-cost-usd" not in raw.headers
    assert raw.parse().model_dump()["content"][0]["text"] == "the answer"


def test_an_unstreamed_call_has_fifteen_minutes_and_a_stream_five_for_its_first_word() -> None:
    """A stream sends nothing before its content, and API Gateway cuts a connection that is silent for five minutes."""
    world = World()
    world.router_settings = dataclasses.replace(
        world.router_settings, deadline_seconds=895.0, stream_deadline_seconds=895.0
    )
    for streamed in (False, True):
        post(world, message_body(model="haiku", router={"ceiling": "haiku"}, stream=streamed))
    assert [call.seconds for call in world.claude.answer_calls] == [895.0, 295.0]
