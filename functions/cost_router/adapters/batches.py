"""The Message Batches API through Anthropic's SDK.

A batch is created from the bytes of its lines, for the reasons in `claude.py`, and its results are read as bytes, line
by line: the SDK would make a model of each, and what Claude sent is to be delivered as it came.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import anthropic
import httpx2
from anthropic.types.messages import MessageBatch

from cost_router.adapters.claude import CONNECT_SECONDS, ClientMaker
from cost_router.adapters.claude_replies import HTTP_BAD_GATEWAY, read_usage, upstream_error
from cost_router.core.batch_ports import Outcome, Seen
from cost_router.core.errors import Failure, UpstreamError

LOOK_SECONDS: Final = 30.0  # for one look at a batch, or one page of the list
LISTED: Final = 100  # of a page
CHUNK_SECONDS: Final = 60.0  # between two chunks of results
JSON_HEADERS: Final = {"Content-Type": "application/json"}
MET: Final = (TimeoutError, anthropic.AnthropicError, httpx2.HTTPError)


@dataclass(slots=True)
class AnthropicBatches:
    """`Batches` over the SDK's asynchronous client."""

    make_client: ClientMaker = field(repr=False)

    async def create(self, lines: Sequence[tuple[str, bytes]], seconds: float) -> Seen:
        """Submit lines, each a custom id and its params as JSON; never repeated, given up after `seconds`."""
        content = b'{"requests":[%s]}' % b",".join(
            b'{"custom_id":"%s","params":%s}' % (custom_id.encode(), params) for custom_id, params in lines
        )
        begun = False
        try:
            async with asyncio.timeout(seconds):
                client = await self.make_client()
                begun = True
                response = await client.post(
                    "/v1/messages/batches",
                    content=content,
                    cast_to=httpx2.Response,
                    options={
                        "headers": JSON_HEADERS,
                        "timeout": httpx2.Timeout(seconds, connect=CONNECT_SECONDS),
                    },
                )
            return _seen(MessageBatch.model_validate(json.loads(response.content)))
        except MET as error:
            raise upstream_error(error, begun=begun) from error
        except ValueError as error:  # a 200 that is no batch; pydantic's errors are such too
            raise UpstreamError(Failure.SERVER, status=HTTP_BAD_GATEWAY, maybe_billed=True) from error

    async def find(self, batch_id: str) -> Seen | None:
        """The batch; None when the API does not have it, which may pass."""
        try:
            client = await self.make_client()
            return _seen(await client.messages.batches.retrieve(batch_id, timeout=LOOK_SECONDS))
        except anthropic.NotFoundError:
            return None
        except MET as error:
            raise upstream_error(error) from error

    async def cancel(self, batch_id: str) -> None:
        """Ask for a batch to end without its lines that were not begun; one that has ended stays as it is."""
        try:
            client = await self.make_client()
            await client.messages.batches.cancel(batch_id, timeout=LOOK_SECONDS)
        except (
            anthropic.NotFoundError,
            anthropic.BadRequestError,
        ):  # not there yet, or it has ended: the next look tells
            return
        except MET as error:
            raise upstream_error(error) from error

    async def listed(self) -> AsyncGenerator[Seen, None]:
        """All batches of the workspace, the newest first."""
        try:
            client = await self.make_client()
            async for batch in client.messages.batches.list(limit=LISTED, timeout=LOOK_SECONDS):
                yield _seen(batch)
        except MET as error:
            raise upstream_error(error) from error

    async def results(self, batch_id: str) -> AsyncGenerator[Outcome, None]:
        """The results of a batch that has ended, in no order, read as they come."""
        timeout = httpx2.Timeout(CHUNK_SECONDS, connect=CONNECT_SECONDS)
        try:
            client = await self.make_client()
            streaming = client.messages.batches.with_streaming_response
            async with streaming.results(batch_id, timeout=timeout) as response:
                async for line in _lines(response.iter_bytes()):
                    yield _outcome(line)
        except MET as error:
            raise upstream_error(error) from error
        except (KeyError, TypeError, ValueError) as error:  # cut in the middle of a line
            raise UpstreamError(Failure.SERVER, status=HTTP_BAD_GATEWAY) from error


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Lines of JSON; only a line feed ends one: the other line ends of Unicode may stand in its strings."""
    rest = bytearray()
    async for chunk in chunks:
        rest += chunk
        *whole, last = rest.split(b"\n")
        for line in whole:
            if line.strip():
                yield bytes(line)
        rest = last
    if rest.strip():
        yield bytes(rest)


def _outcome(line: bytes) -> Outcome:
    row = json.loads(line)
    result = row["result"]
    try:
        usage = read_usage(result["message"]["usage"]) if result["type"] == "succeeded" else None
    except (AttributeError, KeyError, TypeError, ValueError):
        usage = None
    return Outcome(str(row["custom_id"]), result, usage)


def _seen(batch: MessageBatch) -> Seen:
    counts = batch.request_counts
    lines = counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired
    return Seen(batch.id, batch.created_at, lines, batch.processing_status == "ended")
