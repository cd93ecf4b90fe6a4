"""The Claude API through Anthropic's SDK: one call a call, its errors by one table.

The SDK does the signing, the transport and the error classes. Retries are off: the rules own them. Bodies go out as the
bytes of the dictionary given, because the typed methods refuse fields they do not know. The SDK's read timeouts are per
chunk, so the time limit here is one of our own over the whole call.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

import anthropic
import httpx2
from anthropic import AsyncAnthropic, AsyncStream

from cost_router.adapters.claude_replies import read_count, read_reply, upstream_error
from cost_router.adapters.claude_stream import ClaudeStream, opened
from cost_router.core.ports import Counted, Reply
from cost_router.core.wire import encode

CONNECT_SECONDS: Final = 5.0
CONNECT_SHARE: Final = 0.8  # of the time given: a call that never got through must not look as if it might be billed

_UNUSED: Final = AsyncStream[Any]  # the SDK wants the class of its own event streams, and makes none
ClientMaker = Callable[[], Awaitable[AsyncAnthropic]]


@dataclass(slots=True)
class AnthropicClaude:
    """A `Claude` over the SDK's asynchronous client, which is made at the first call (no socket in a snapshot)."""

    make_client: ClientMaker = field(repr=False)

    async def send(self, body: Mapping[str, Any], headers: Mapping[str, str], seconds: float) -> Reply:
        """One call, never retried, given up after `seconds` in total; raises `UpstreamError`."""
        return read_reply(await self._post(body, headers, seconds), body)

    async def open(self, body: Mapping[str, Any], headers: Mapping[str, str], seconds: float) -> ClaudeStream:
        """One call whose answer is streamed, never retried; `seconds` until its headers. Raises as `send` does."""
        return await opened(await self._post(body, headers, seconds, stream=True), body)

    async def count(self, body: Mapping[str, Any], headers: Mapping[str, str], seconds: float) -> Counted:
        """The tokens of a body, never retried, given up after `seconds` in total. Raises as `send` does."""
        return read_count(await self._post(body, headers, seconds, path="/v1/messages/count_tokens"))

    async def _post(
        self,
        body: Mapping[str, Any],
        headers: Mapping[str, str],
        seconds: float,
        *,
        stream: bool = False,
        path: str = "/v1/messages",
    ) -> httpx2.Response:
        content = encode(body)
        client: AsyncAnthropic | None = None
        connect = min(seconds * CONNECT_SHARE, CONNECT_SECONDS)
        try:
            async with asyncio.timeout(seconds):
                client = await self.make_client()
                found = await client.post(
                    path,
                    content=content,
                    cast_to=httpx2.Response,  # with it the SDK gives the response as it is, its body unread if streamed
                    stream=stream,
                    stream_cls=_UNUSED,
                    options={
                        "headers": {"Content-Type": "application/json", **headers},
                        # A stream's reads have deadlines of their own, one per event.
                        "timeout": httpx2.Timeout(seconds, connect=connect, read=None if stream else seconds),
                    },
                )
        except (TimeoutError, anthropic.AnthropicError, httpx2.HTTPError) as error:
            raise upstream_error(error, begun=client is not None) from error
        return cast("httpx2.Response", found)
