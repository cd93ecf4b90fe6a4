"""The door and the real adapter together, between a caller's socket and a server in Claude's place."""

import asyncio
import json
import socket
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anthropic
import httpx2
import pytest
from starlette.responses import StreamingResponse

from cost_router.adapters.claude import AnthropicClaude
from tests.builders import KEY, World, message_body, run
from tests.unit.adapters import upstream
from tests.unit.adapters.test_claude_stream import DELTA, PING, START, STOP, TEXT, sent
from tests.unit.adapters.upstream import Upstream, listening
from tests.unit.handlers.test_streaming import until

BLOCK = sent("content_block_delta", index=0, delta={"type": "text_delta", "text": "x" * 60_000})
BODY = json.dumps(message_body(model="haiku", stream=True)).encode()


@pytest.fixture
def claude_api() -> Iterator[Upstream]:
    with upstream.serving() as found:
        yield found


def world_before(url: str) -> World:
    """A world whose Claude is the real adapter; its client is made in the loop that uses it and keeps no connection."""
    clients: list[anthropic.AsyncAnthropic] = []

    async def make() -> anthropic.AsyncAnthropic:
        if not clients:
            transport = httpx2.AsyncClient(limits=httpx2.Limits(max_keepalive_connections=0))
            key = "our-own-key"
            clients.append(anthropic.AsyncAnthropic(api_key=key, base_url=url, max_retries=0, http_client=transport))
        return clients[0]

    world = World()
    world.claude = AnthropicClaude(make)  # type: ignore[assignment]
    return world


def replying(claude_api: Upstream, *parts: bytes, times: int = 1, for_ever: bytes = b"") -> list[str]:
    """Let Claude's place stream `parts`; gives a list that tells when its caller has gone."""
    told: list[str] = []

    async def chunks() -> AsyncIterator[bytes]:
        try:
            for part in parts:
                for _ in range(times if part is BLOCK else 1):
                    yield part
            while for_ever:
                yield for_ever
                await asyncio.sleep(0.01)
        except (asyncio.CancelledError, GeneratorExit):
            told.append("cancelled")
            raise

    claude_api.reply = StreamingResponse(chunks(), media_type="text/event-stream", headers={"request-id": "req_up"})
    return told


def test_claudes_bytes_reach_the_caller_unchanged(claude_api: Upstream) -> None:
    replying(claude_api, START, PING, TEXT, DELTA, STOP)
    world = world_before(claude_api.url)
    with listening(world.app()) as url:
        answer = httpx2.post(f"{url}/v1/messages", content=BODY, headers={"x-api-key": KEY})
    assert answer.content.startswith(START + PING + TEXT + DELTA + STOP + b": x-router-cost-usd=")
    assert answer.headers["request-id"] == "req_up"
    assert json.loads(claude_api.seen.bodies[0])["stream"] is True


def chunks_of(url: str, body: bytes, on_chunk: Callable[[int], None] = lambda _count: None) -> list[bytes]:
    """The chunks of an answer as they are on the wire: what the server sent at once."""
    head = f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-length: {len(body)}\r\n\r\n"
    found: list[bytes] = []
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10) as caller:
        caller.sendall(head.encode() + body)
        with caller.makefile("rb") as wire:
            while wire.readline() != b"\r\n":
                pass
            while size := int(wire.readline(), 16):
                found.append(wire.read(size))
                wire.readline()
                on_chunk(len(found))
    return found


def test_each_event_goes_out_by_itself_though_many_came_at_once(claude_api: Upstream) -> None:
    events = [START, PING, *[TEXT] * 20, DELTA, STOP]
    replying(claude_api, b"".join(events))
    with listening(world_before(claude_api.url).app()) as url:
        *found, comment = chunks_of(url, BODY)
    assert found == events
    assert comment.startswith(b": x-router-cost-usd=")


def test_no_event_waits_for_the_next(claude_api: Upstream) -> None:
    """Claude's place sends an event only when the caller has the one before."""
    events = [START, TEXT, *[TEXT, PING] * 5, DELTA, STOP]
    taken = [threading.Event() for _ in events]

    async def chunks() -> AsyncIterator[bytes]:
        for place, event in enumerate(events):
            if place > 1:  # the first two go out together: until there is content, another tier could take its place
                await asyncio.to_thread(taken[place - 1].wait, 5)
                assert taken[place - 1].is_set(), "the event before was held back"
            yield event

    claude_api.reply = StreamingResponse(chunks(), media_type="text/event-stream")
    with listening(world_before(claude_api.url).app()) as url:
        found = chunks_of(url, BODY, lambda count: taken[min(count, len(events)) - 1].set())
    assert found[:-1] == events


def test_when_the_caller_of_a_whole_answer_leaves_claudes_connection_is_closed_too(claude_api: Upstream) -> None:
    told = replying(claude_api, for_ever=b" ")
    world = world_before(claude_api.url)
    body = json.dumps(message_body(model="haiku")).encode()
    head = f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-length: {len(body)}\r\n\r\n"
    with listening(world.app()) as url:
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as caller:
            caller.sendall(head.encode() + body)
            until(lambda: claude_api.seen.bodies)
        until(lambda: told)
        until(lambda: world.telemetry.records)
    (entry,) = world.ledger.entries
    assert entry.flags == ("ambiguous", "abandoned")


def test_when_the_caller_leaves_claudes_connection_is_closed(claude_api: Upstream) -> None:
    told = replying(claude_api, START, TEXT, for_ever=PING)
    world = world_before(claude_api.url)
    head = f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-length: {len(BODY)}\r\n\r\n"
    with listening(world.app()) as url:
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as caller:
            caller.sendall(head.encode() + BODY)
            got = b""
            while b"content_block_delta" not in got:
                got += caller.recv(4_096)
        until(lambda: told)
        until(lambda: world.telemetry.records)
    (entry,) = world.ledger.entries
    assert (entry.flags, entry.upstream_request_id) == (("ambiguous", "abandoned"), "req_up")


def test_memory_stays_flat_whatever_the_length(claude_api: Upstream) -> None:
    replying(claude_api, START, BLOCK, DELTA, STOP, times=500)  # 30 MB
    world = world_before(claude_api.url)
    size = 0

    async def receive() -> dict[str, Any]:
        if not asked:
            asked.append(True)
            return {"type": "http.request", "body": BODY, "more_body": False}
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        nonlocal size
        size += len(message.get("body", b""))

    asked: list[bool] = []
    scope = {"type": "http", "method": "POST", "path": "/v1/messages", "query_string": b""}
    scope["headers"] = [(b"x-api-key", KEY.encode())]

    async def go() -> None:
        await world.app()(scope, receive, send)
        await (await world.claude.make_client()).close()  # type: ignore[attr-defined]

    tracemalloc.start()
    try:
        run(go())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > 30_000_000
    assert peak < 8_000_000
