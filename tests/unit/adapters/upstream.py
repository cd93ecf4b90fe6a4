"""A small server in place of the Claude API, on loopback, that says what a test tells it to."""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import uvicorn
from anthropic import AsyncAnthropic
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from cost_router.adapters.claude import AnthropicClaude
from tests.builders import run

T = TypeVar("T")

MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "content": [{"type": "text", "text": "Hi"}],
    "usage": {"input_tokens": 3, "output_tokens": 2},
}


@dataclass
class Seen:
    """The requests that arrived."""

    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)  # of the callers: the same port is the same connection


@dataclass
class Upstream:
    """The server's URL, what it saw, and what it says next."""

    url: str
    seen: Seen = field(default_factory=Seen)
    reply: Response | None = None


@contextmanager
def serving() -> Iterator[Upstream]:
    """The server in a thread, until the block ends."""
    upstream = Upstream("")

    async def messages(request: Request) -> Response:
        upstream.seen.headers.append(dict(request.headers))
        upstream.seen.bodies.append(await request.body())
        upstream.seen.ports.append(request.client.port if request.client else 0)
        return upstream.reply or JSONResponse(MESSAGE, headers={"request-id": "req_up"})

    with listening(Starlette(routes=[Route("/v1/messages", messages, methods=["POST"])])) as upstream.url:
        yield upstream


def through_the_sdk(url: str, work: Callable[[AnthropicClaude], Awaitable[T]]) -> T:
    """What `work` gives with Claude at `url`, by a client of its own."""

    async def go() -> T:
        async with AsyncAnthropic(api_key="our-own-key", base_url=url, max_retries=0) as client:

            async def make() -> AsyncAnthropic:
                return client

            return await work(AnthropicClaude(make))

    return run(go())


@contextmanager
def listening(app: Starlette) -> Iterator[str]:
    """The URL of an app that is served in a thread, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # asyncio sets this on its own listeners only; without it a reply may wait for an acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=0)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(5)


def trickling(pause: float) -> Response:
    """A 200 whose body comes one byte at a time, for ever."""

    async def drops() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(pause)

    return StreamingResponse(drops(), media_type="application/json")


def broken_off() -> Response:
    """A 200 that promises more than it sends."""
    return Response(b"{", headers={"content-length": "100"})


def refusal(status: int, kind: str, *, code: str | None = None, headers: dict[str, str] | None = None) -> Response:
    error: dict[str, Any] = {"type": kind, "message": f"refused with {status}"}
    if code:
        error["details"] = {"error_code": code}
    return JSONResponse(
        {"type": "error", "error": error, "request_id": "req_e"}, status, {"request-id": "req_e", **(headers or {})}
    )


def raw(text: str | bytes, content_type: str = "application/json", status: int = 200) -> Response:
    return Response(text, status, {"request-id": "req_up"}, media_type=content_type)


def message(**changes: Any) -> Response:
    return raw(json.dumps({**MESSAGE, **changes}))
