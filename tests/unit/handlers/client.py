"""Requests through the real ASGI interface, without a socket."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any

import httpx2

from tests.builders import KEY, World, run

WITH_KEY = {"x-api-key": KEY}


async def send(
    client: httpx2.AsyncClient, content: object, path: str = "/v1/messages", headers: Mapping[str, str] | None = None
) -> httpx2.Response:
    """POST bytes as they are, or anything else as JSON."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return await client.post(path, content=raw, headers={**WITH_KEY, **(headers or {})})


def client_of(world: World) -> httpx2.AsyncClient:
    """A client whose requests go straight to the app; what escapes the app is raised here."""
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(world.app()), base_url="http://router.test")


def post(
    world: World, content: object, path: str = "/v1/messages", headers: Mapping[str, str] | None = None
) -> httpx2.Response:
    return post_all(world, [content], path, headers)[0]


def post_all(
    world: World, contents: Iterable[object], path: str = "/v1/messages", headers: Mapping[str, str] | None = None
) -> list[httpx2.Response]:
    """The replies to several bodies sent over one client, all at once."""

    async def go() -> list[httpx2.Response]:
        async with client_of(world) as client:
            return list(await asyncio.gather(*(send(client, content, path, headers) for content in contents)))

    return run(go())


def request(world: World, method: str, path: str, headers: Mapping[str, str] | None = None) -> httpx2.Response:
    async def go() -> httpx2.Response:
        async with client_of(world) as client:
            return await client.request(method, path, headers=headers)

    return run(go())


def error_of(response: httpx2.Response) -> dict[str, Any]:
    """The error in Anthropic's shape; anything else fails the test."""
    body = response.json()
    assert body["type"] == "error"
    assert body["request_id"] == response.headers["request-id"]
    error: dict[str, Any] = body["error"]
    assert isinstance(error["type"], str)
    assert isinstance(error["message"], str)
    return error
