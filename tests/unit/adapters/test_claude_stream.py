"""Streamed calls to Claude against a real server on loopback: bytes, usage, and every way to break."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import anthropic
import pytest
from starlette.responses import Response, StreamingResponse

from cost_router.adapters.claude import AnthropicClaude
from cost_router.adapters.claude_stream import ERROR_STATUSES, ClaudeStream
from cost_router.core.errors import Failure, UpstreamError
from cost_router.core.ports import Event
from cost_router.core.pricing import Usage
from tests.builders import run
from tests.unit.adapters import upstream
from tests.unit.adapters.upstream import Upstream, raw, refusal

BODY = {"model": "claude-haiku-5-5", "max_tokens": 5, "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
START_USAGE = {"input_tokens": 3, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 9, "output_tokens": 1}
START_USAGE |= {"cache_creation": {"ephemeral_5m_input_tokens": 7, "ephemeral_1h_input_tokens": 2}}  # type: ignore[dict-item]


def sent(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


START = sent("message_start", message={"id": "msg_1", "usage": START_USAGE})
PING = sent("ping")
TEXT = sent("content_block_delta", index=0, delta={"type": "text_delta", "text": "Grüße 😀"})
DELTA = sent("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 12, "input_tokens": None})
STOP = sent("message_stop")
WHOLE = [START, PING, TEXT, DELTA, STOP]


@pytest.fixture(scope="module")
def server() -> Iterator[Upstream]:
    with upstream.serving() as found:
        yield found


def stream_of(*parts: bytes, cut: bool = False) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        for part in parts:
            yield part
        if cut:
            raise ConnectionAbortedError  # uvicorn closes the connection

    return StreamingResponse(chunks(), media_type="text/event-stream", headers={"request-id": "req_up"})


def silent_after(*parts: bytes) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        for part in parts:
            yield part
        await asyncio.sleep(60)

    return StreamingResponse(chunks(), media_type="text/event-stream")


def streaming(url: str, use: Callable[[ClaudeStream], Awaitable[Any]], seconds: float = 5.0) -> Any:
    async def go() -> Any:
        async with anthropic.AsyncAnthropic(api_key="our-own-key", base_url=url, max_retries=0) as client:

            async def make() -> anthropic.AsyncAnthropic:
                return client

            stream = await AnthropicClaude(make).open(BODY, {}, seconds)
            try:
                return await use(stream)
            finally:
                await stream.aclose()

    return run(go())


async def events_of(stream: ClaudeStream, seconds: float = 5.0) -> list[Event]:
    found = []
    while (event := await stream.next(seconds)) is not None:
        found.append(event)
    return found


async def until_broken(stream: ClaudeStream, seconds: float = 5.0) -> tuple[list[Event], UpstreamError]:
    found = []
    try:
        while (event := await stream.next(seconds)) is not None:
            found.append(event)
    except UpstreamError as error:
        return found, error
    raise AssertionError("it ended as if it were whole")


@pytest.mark.parametrize("size", [1, 17, 100_000])
def test_the_events_are_claudes_bytes_however_they_arrive(server: Upstream, size: int) -> None:
    everything = b"".join(WHOLE)
    server.reply = stream_of(*(everything[at : at + size] for at in range(0, len(everything), size)))
    found = streaming(server.url, events_of)
    assert [event.raw for event in found] == WHOLE
    assert [event.type for event in found] == [
        "message_start",
        "ping",
        "content_block_delta",
        "message_delta",
        "message_stop",
    ]


def test_usage_is_the_starts_with_the_deltas_totals_over_it(server: Upstream) -> None:
    server.reply = stream_of(*WHOLE)
    found = streaming(server.url, events_of)
    told = [(event.usage, event.final) for event in found if event.usage]
    assert told == [(Usage(3, 4, 7, 2, 1), False), (Usage(3, 4, 7, 2, 12), True)]


def test_a_delta_without_a_stop_reason_is_not_the_last(server: Upstream) -> None:
    early = sent("message_delta", delta={"stop_reason": None}, usage={"output_tokens": 5})
    server.reply = stream_of(START, early, DELTA, STOP)
    found = streaming(server.url, events_of)
    assert [(event.usage.output_tokens, event.final) for event in found if event.usage] == [
        (1, False),
        (5, False),
        (12, True),
    ]


@pytest.mark.parametrize("usage", [None, {}, {"output_tokens": 5}, {"input_tokens": -1, "output_tokens": 5}])
def test_usage_that_cannot_be_booked_is_none_and_never_final(server: Upstream, usage: object) -> None:
    start = sent("message_start", message={"usage": usage})
    server.reply = stream_of(start, sent("message_delta", delta={"stop_reason": "end_turn"}), STOP)
    found = streaming(server.url, events_of)
    assert [(event.usage, event.final) for event in found] == [(None, False)] * 3


def test_the_id_and_the_limits_come_as_headers(server: Upstream) -> None:
    server.reply = stream_of(*WHOLE)
    server.reply.headers["anthropic-ratelimit-requests-limit"] = "50"
    server.reply.headers["anthropic-organization-id"] = "org_1"

    async def look(stream: ClaudeStream) -> tuple[str | None, dict[str, str]]:
        return stream.request_id, dict(stream.headers)

    assert streaming(server.url, look) == (
        "req_up",
        {"request-id": "req_up", "anthropic-ratelimit-requests-limit": "50"},
    )


def test_an_event_is_given_before_the_next_one_is_sent(server: Upstream) -> None:
    server.reply = silent_after(START, PING)

    async def first_two(stream: ClaudeStream) -> list[str]:
        return [event.type for event in (await stream.next(5.0), await stream.next(5.0)) if event]

    assert streaming(server.url, first_two) == ["message_start", "ping"]


def test_a_cut_gives_what_came_whole_and_then_an_error(server: Upstream) -> None:
    server.reply = stream_of(START, TEXT, TEXT[:20], cut=True)
    found, error = streaming(server.url, until_broken)
    assert [event.raw for event in found] == [START, TEXT]
    assert (error.failure, error.maybe_billed, error.request_id) == (Failure.CONNECTION, True, "req_up")


@pytest.mark.parametrize("parts", [(), (START,), (START, TEXT, DELTA), (START, TEXT, DELTA, STOP[:-1])])
def test_an_end_without_message_stop_is_an_error(server: Upstream, parts: tuple[bytes, ...]) -> None:
    server.reply = stream_of(*parts)
    _, error = streaming(server.url, until_broken)
    assert (error.failure, error.status, error.maybe_billed) == (Failure.SERVER, 502, True)


def test_what_breaks_after_message_stop_is_no_error(server: Upstream) -> None:
    for reply in (stream_of(*WHOLE, cut=True), silent_after(*WHOLE)):
        server.reply = reply
        assert [event.raw for event in streaming(server.url, events_of)] == WHOLE


@pytest.mark.parametrize(("parts", "connections"), [(WHOLE, 1), (WHOLE[:-1], 2)], ids=["whole", "not whole"])
def test_a_connection_is_used_again_after_an_answer_that_was_read_to_its_end(
    server: Upstream, parts: list[bytes], connections: int
) -> None:
    server.seen.ports.clear()

    async def go() -> None:
        async with anthropic.AsyncAnthropic(api_key="k", base_url=server.url, max_retries=0) as client:

            async def make() -> anthropic.AsyncAnthropic:
                return client

            for _ in range(2):
                server.reply = stream_of(*parts) if parts == WHOLE else silent_after(*parts)
                stream = await AnthropicClaude(make).open(BODY, {}, 5.0)
                for _ in parts:
                    await stream.next(5.0)
                if parts == WHOLE:
                    assert await stream.next(5.0) is None
                await stream.aclose()

    run(go())
    assert len(set(server.seen.ports)) == connections


def test_no_event_in_time_is_a_timeout(server: Upstream) -> None:
    server.reply = silent_after(START)

    async def wait_briefly(stream: ClaudeStream) -> tuple[list[Event], UpstreamError]:
        return await until_broken(stream, seconds=0.2)

    found, error = streaming(server.url, wait_briefly)
    assert [event.type for event in found] == ["message_start"]
    assert (error.failure, error.maybe_billed) == (Failure.TIMEOUT, True)


@pytest.mark.parametrize(
    ("kind", "failure"),
    [
        ("overloaded_error", Failure.OVERLOADED),
        ("rate_limit_error", Failure.RATE_LIMITED),
        ("api_error", Failure.SERVER),
        ("invalid_request_error", Failure.REJECTED),
        ("of_the_future_error", Failure.SERVER),
    ],
)
def test_an_error_event_after_a_200_may_have_been_billed(server: Upstream, kind: str, failure: Failure) -> None:
    event = sent("error", error={"type": kind, "message": "no"}, request_id="req_up")
    server.reply = stream_of(START, event)
    _, error = streaming(server.url, until_broken)
    assert (error.failure, error.status, error.maybe_billed) == (failure, ERROR_STATUSES.get(kind, 500), True)
    assert json.loads(error.body or b"")["error"] == {"type": kind, "message": "no"}


@pytest.mark.parametrize("bad", [b"event: message_start\ndata: {nope\n\n", b"event: error\ndata: []\n\n"])
def test_events_that_are_no_json_object_break_the_stream(server: Upstream, bad: bytes) -> None:
    server.reply = stream_of(bad, *WHOLE)
    _, error = streaming(server.url, until_broken)
    assert (error.failure, error.maybe_billed) == (Failure.SERVER, True)


def test_a_200_that_is_no_event_stream_may_have_been_billed(server: Upstream) -> None:
    server.reply = raw("<html>proxy</html>", "text/html")
    with pytest.raises(UpstreamError) as raised:
        streaming(server.url, events_of)
    assert (raised.value.status, raised.value.maybe_billed) == (502, True)


def test_an_error_before_the_stream_keeps_status_body_and_retry_after(server: Upstream) -> None:
    server.reply = refusal(429, "rate_limit_error", headers={"retry-after": "7"})
    with pytest.raises(UpstreamError) as raised:
        streaming(server.url, events_of)
    error = raised.value
    assert (error.failure, error.status, error.retry_after, error.maybe_billed) == (
        Failure.RATE_LIMITED,
        429,
        7.0,
        False,
    )
    assert json.loads(error.body or b"")["error"]["message"] == "refused with 429"


def test_a_call_that_is_ended_early_closes_its_connection(server: Upstream) -> None:
    noticed: list[bool] = []

    async def endless() -> AsyncIterator[bytes]:
        try:
            yield START
            while True:
                yield PING
                await asyncio.sleep(0.01)
        finally:
            noticed.append(True)

    server.reply = StreamingResponse(endless(), media_type="text/event-stream")

    async def leave(stream: ClaudeStream) -> None:
        await stream.next(5.0)
        await stream.aclose()
        for _ in range(500):
            if noticed:
                return
            await asyncio.sleep(0.01)

    streaming(server.url, leave)
    assert noticed == [True]
