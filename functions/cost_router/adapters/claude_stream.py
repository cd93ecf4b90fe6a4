"""A streamed answer of Claude: its events as they came, and what they tell of tokens and errors.

Usage is told twice: `message_start` has the input, `message_delta` cumulative totals that overwrite what they name.
Source: platform.claude.com/docs/en/build-with-claude/streaming, and `anthropic.lib.streaming` (2.12). What breaks a
stream after its 200 (an `error` event, a cut, an end without `message_stop`, an event that does not come in time) is an
`UpstreamError` here, like a failure before it.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2

from cost_router.adapters.claude_replies import HTTP_BAD_GATEWAY, failure_of, kept, read_usage, upstream_error
from cost_router.adapters.sse import EventReader, EventTooLarge, parse
from cost_router.core.errors import Failure, UpstreamError
from cost_router.core.ports import Event
from cost_router.core.pricing import Usage

EVENT_STREAM: Final = "text/event-stream"
LINGER_SECONDS: Final = 0.5  # for the end of the body after `message_stop`: a connection read to its end is kept
# Source: platform.claude.com/docs/en/api/errors.
ERROR_STATUSES: Final[Mapping[str, int]] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


async def opened(response: httpx2.Response, asked: Mapping[str, Any]) -> "ClaudeStream":
    """The stream in a 200 whose body is unread; raises `UpstreamError` when it is none: it was billed anyway."""
    stream = ClaudeStream(response, asked)
    if not response.headers.get("content-type", "").startswith(EVENT_STREAM):
        await stream.aclose()
        raise stream.broken()
    return stream


@dataclass(slots=True)
class ClaudeStream:
    """A `Stream` over a response of the SDK's transport."""

    response: httpx2.Response = field(repr=False)
    asked: Mapping[str, Any] = field(repr=False)  # the body: what usage leaves out is as it was asked for
    _chunks: AsyncGenerator[bytes, None] = field(init=False, repr=False)
    _reader: EventReader = field(default_factory=EventReader, repr=False)
    _whole: deque[bytes] = field(default_factory=deque, repr=False)  # events of the last chunk that nobody took yet
    _usage: dict[str, Any] = field(default_factory=dict, repr=False)
    _stopped: bool = False

    def __post_init__(self) -> None:
        """Read the body as it comes, in chunks as the network gives them."""
        self._chunks = self.response.aiter_bytes()

    @property
    def request_id(self) -> str | None:
        """Claude's id of the call."""
        return self.response.headers.get("request-id")

    @property
    def headers(self) -> Mapping[str, str]:
        """What goes on to the caller."""
        return kept(self.response.headers)

    async def next(self, seconds: float) -> Event | None:
        """The next event, within `seconds`; None at the end, which comes after `message_stop`. Raises `UpstreamError`.

        What goes wrong after `message_stop` is no failure of the answer: it is whole.
        """
        try:
            async with asyncio.timeout(min(seconds, LINGER_SECONDS) if self._stopped else seconds):
                raw = await self._raw()
        except (TimeoutError, httpx2.HTTPError, EventTooLarge) as error:
            if self._stopped:
                return None
            raise self._failure(error) from error
        if raw is None:
            if self._stopped:
                return None
            raise self.broken()
        return self._event(raw)

    async def aclose(self) -> None:
        """End the call: a connection whose answer was not read to its end is closed, which tells Claude to stop."""
        await self._chunks.aclose()
        await self.response.aclose()

    def broken(self) -> UpstreamError:
        """The error of an answer that is not what it should be; it may have been paid for."""
        headers = kept(self.response.headers)
        return UpstreamError(
            Failure.SERVER, HTTP_BAD_GATEWAY, request_id=self.request_id, maybe_billed=True, headers=headers
        )

    async def _raw(self) -> bytes | None:
        while not self._whole:
            chunk = await anext(self._chunks, None)
            if chunk is None:
                return None
            self._whole.extend(self._reader.feed(chunk))
        return self._whole.popleft()

    def _event(self, raw: bytes) -> Event:
        name, data = parse(raw)
        if not name and data:
            name = str(self._object(data).get("type"))
        if name == "error":
            raise self._told(data)
        if name == "message_start":
            self._merge(self._object(data).get("message"))
        elif name == "message_delta":
            body = self._object(data)
            self._merge(body)
            delta = body.get("delta")
            usage = self._read()
            stopped = isinstance(delta, Mapping) and delta.get("stop_reason") is not None
            return Event(raw, name, usage, final=usage is not None and stopped)
        self._stopped = self._stopped or name == "message_stop"
        return Event(raw, name, self._read() if name == "message_start" else None)

    def _merge(self, holder: object) -> None:
        usage = holder.get("usage") if isinstance(holder, Mapping) else None
        if isinstance(usage, Mapping):
            self._usage |= {name: value for name, value in usage.items() if value is not None}

    def _read(self) -> Usage | None:
        try:
            return read_usage(self._usage, self.asked)
        except (AttributeError, KeyError, TypeError, ValueError):
            return None

    def _object(self, data: bytes) -> Mapping[str, Any]:
        """The JSON object of an event; anything else breaks the stream."""
        try:
            found = json.loads(data)
        except (RecursionError, ValueError) as error:
            raise self.broken() from error
        if not isinstance(found, dict):
            raise self.broken()
        return found

    def _told(self, data: bytes) -> UpstreamError:
        """Claude's `error` event: after a 200 nobody tells whether it is billed."""
        error = self._object(data).get("error")
        kind = error.get("type") if isinstance(error, Mapping) else None
        status = ERROR_STATUSES.get(str(kind), 500)
        return UpstreamError(
            failure_of(status),
            status,
            body=data,
            request_id=self.request_id,
            maybe_billed=True,
            headers=kept(self.response.headers),
        )

    def _failure(self, error: Exception) -> UpstreamError:
        """A cut, or no event in time; the call was under way, so it may have been paid for."""
        if isinstance(error, EventTooLarge):
            return self.broken()
        found = upstream_error(error)
        found.request_id, found.maybe_billed = self.request_id, True
        return found
