"""Calls to Claude against a real server on loopback, and the table of its errors."""

import asyncio
import gzip
import json
import logging
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic import _exceptions

from cost_router.adapters.claude import AnthropicClaude
from cost_router.adapters.claude_replies import FINAL_CODES, read_usage, upstream_error
from cost_router.core.errors import Failure, InvalidRequest, NotConfigured, UpstreamError
from cost_router.core.ports import Reply
from cost_router.core.pricing import Usage
from tests.builders import run
from tests.unit.adapters import upstream
from tests.unit.adapters.upstream import MESSAGE, Upstream, message, raw, refusal, through_the_sdk

BODY = {"model": "claude-haiku-5-5", "max_tokens": 5, "messages": [{"role": "user", "content": "Grüße 😀"}]}


@pytest.fixture(scope="module")
def server() -> Iterator[Upstream]:
    with upstream.serving() as found:
        yield found


@pytest.fixture
def claude_api(server: Upstream) -> Upstream:
    server.reply = None
    server.seen.headers.clear()
    server.seen.bodies.clear()
    return server


def send(
    url: str, body: Mapping[str, Any] = BODY, headers: Mapping[str, str] | None = None, seconds: float = 5.0
) -> Reply:
    return through_the_sdk(url, lambda claude: claude.send(body, headers or {}, seconds))


def failure(url: str, seconds: float = 5.0) -> UpstreamError:
    with pytest.raises(UpstreamError) as raised:
        send(url, seconds=seconds)
    return raised.value


def test_the_reply_is_the_body_as_it_came(claude_api: Upstream) -> None:
    found = send(claude_api.url)
    assert json.loads(found.content) == found.message == MESSAGE
    assert (found.usage, found.request_id) == (Usage(input_tokens=3, output_tokens=2), "req_up")


def test_the_body_arrives_byte_for_byte_in_its_order(claude_api: Upstream) -> None:
    body = {"zeta": 1.0, "model": "m", "alpha": [None, True, 1e22, 'ü\\"\n😀'], "unknown": {"b": 1, "a": 2}}
    send(claude_api.url, body)
    expected = '{"zeta":1.0,"model":"m","alpha":[null,true,1e+22,"ü\\\\\\"\\n😀"],"unknown":{"b":1,"a":2}}'
    assert claude_api.seen.bodies == [expected.encode()]
    assert claude_api.seen.headers[0]["content-type"] == "application/json"


def test_version_and_betas_of_the_caller_go_upstream_with_our_key(claude_api: Upstream) -> None:
    send(claude_api.url, headers={"anthropic-version": "2023-06-01", "anthropic-beta": "a,b"})
    (headers,) = claude_api.seen.headers
    assert (headers["anthropic-version"], headers["anthropic-beta"]) == ("2023-06-01", "a,b")
    assert headers["authorization"] == "Bearer our-own-key"


def test_without_a_version_of_the_caller_the_sdk_sends_its_own(claude_api: Upstream) -> None:
    send(claude_api.url)
    assert claude_api.seen.headers[0]["anthropic-version"] == "2026-10-21"


@pytest.mark.parametrize("value", ["\ud800", float("inf"), float("nan")])
def test_what_json_in_utf8_cannot_carry_is_never_sent(claude_api: Upstream, value: object) -> None:
    with pytest.raises(InvalidRequest):
        send(claude_api.url, {"a": value})
    assert claude_api.seen.bodies == []


# --- usage


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"input_tokens": 3, "output_tokens": 2}, Usage(3, 0, 0, 0, 2)),
        (
            {"input_tokens": 1, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 3, "output_tokens": 5},
            Usage(1, 2, 3, 0, 5),  # writes without a breakdown are 5-minute writes
        ),
        (
            {
                "input_tokens": 1,
                "cache_creation_input_tokens": 7,
                "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
                "output_tokens": 5,
            },
            Usage(1, 0, 3, 4, 5),
        ),
        ({"input_tokens": 1, "output_tokens": 0, "cache_creation": None, "cache_read_input_tokens": None}, Usage(1)),
    ],
)
def test_every_token_lands_in_one_bucket(claude_api: Upstream, usage: dict[str, object], expected: Usage) -> None:
    claude_api.reply = message(usage=usage)
    assert send(claude_api.url).usage == expected


USELESS = {
    "html": raw("<html>proxy</html>", "text/html"),
    "empty": raw(""),
    "a string": raw('"hi"'),
    "a list": raw("[]"),
    "null": raw("null"),
    "no usage": raw('{"type": "message", "content": []}'),
    "usage null": message(usage=None),
    "usage a list": message(usage=[]),
    "usage empty": message(usage={}),
    "no output": message(usage={"input_tokens": 3}),
    "zero tokens": message(usage={"input_tokens": 0, "output_tokens": 0}),
    "negative": message(usage={"input_tokens": -1, "output_tokens": 2}),
    "boolean": message(usage={"input_tokens": True, "output_tokens": 2}),
    "fraction": message(usage={"input_tokens": 1.5, "output_tokens": 2}),
    "breakdown a list": message(usage={"input_tokens": 1, "output_tokens": 2, "cache_creation": [1]}),
    "more 1-hour writes than writes": message(
        usage={"input_tokens": 1, "output_tokens": 2, "cache_creation": {"ephemeral_1h_input_tokens": 4}}
    ),
    "invalid UTF-8": raw(b'{"a": "\xff"}'),
    "a nest": raw("[" * 100_000),
}


@pytest.mark.parametrize("story", USELESS)
def test_a_200_without_usage_that_can_be_booked_may_have_been_billed(claude_api: Upstream, story: str) -> None:
    claude_api.reply = USELESS[story]
    error = failure(claude_api.url)
    assert (error.failure, error.status, error.maybe_billed) == (Failure.SERVER, 502, True)
    assert error.request_id == "req_up"


# --- time and connections


def test_the_deadline_is_total_even_while_bytes_trickle_in(claude_api: Upstream) -> None:
    claude_api.reply = upstream.trickling(0.02)
    began = time.monotonic()
    error = failure(claude_api.url, seconds=0.3)
    assert 0.25 < time.monotonic() - began < 1.5
    assert (error.failure, error.maybe_billed, error.status) == (Failure.TIMEOUT, True, None)


def test_a_cut_answer_may_have_been_billed(claude_api: Upstream) -> None:
    claude_api.reply = upstream.broken_off()
    error = failure(claude_api.url)
    assert (error.failure, error.maybe_billed) == (Failure.CONNECTION, True)


def test_an_answer_that_cannot_be_decoded_may_have_been_billed(claude_api: Upstream) -> None:
    claude_api.reply = raw(gzip.compress(b"{}")[:-4] + b"oops")
    claude_api.reply.headers["content-encoding"] = "gzip"
    error = failure(claude_api.url)
    assert (error.failure, error.maybe_billed) in {(Failure.CONNECTION, True), (Failure.SERVER, True)}


def test_a_refused_connection_was_not_billed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = failure(f"http://127.0.0.1:{port}")
    assert (error.failure, error.maybe_billed) == (Failure.CONNECTION, False)


def test_a_connection_that_never_comes_about_was_not_billed() -> None:
    """A listener whose queue is full answers nothing: the connection times out before the call does."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.settimeout(0)
            filler.connect_ex(("127.0.0.1", port))
        error = failure(f"http://127.0.0.1:{port}", seconds=0.5)
        for filler in fillers:
            filler.close()
    assert (error.failure, error.maybe_billed) == (Failure.TIMEOUT, False)


def test_a_client_that_is_not_ready_in_time_was_not_billed() -> None:
    async def never() -> anthropic.AsyncAnthropic:
        await asyncio.sleep(30)
        raise AssertionError

    with pytest.raises(UpstreamError) as raised:
        run(AnthropicClaude(never).send(BODY, {}, 0.1))
    assert (raised.value.failure, raised.value.maybe_billed) == (Failure.TIMEOUT, False)


def test_a_deployment_without_a_key_says_so() -> None:
    async def no_key() -> anthropic.AsyncAnthropic:
        raise NotConfigured("no key")

    with pytest.raises(NotConfigured):
        run(AnthropicClaude(no_key).send(BODY, {}, 1.0))


# --- errors


def test_a_429_keeps_its_body_its_id_and_its_limits(claude_api: Upstream) -> None:
    limits = {"retry-after": "17", "anthropic-ratelimit-requests-remaining": "0", "x-other": "1"}
    claude_api.reply = refusal(429, "rate_limit_error", headers=limits)
    error = failure(claude_api.url)
    assert (error.failure, error.status, error.retry_after, error.maybe_billed) == (
        Failure.RATE_LIMITED,
        429,
        17.0,
        False,
    )
    assert json.loads(error.body or b"")["error"]["message"] == "refused with 429"
    assert error.request_id == "req_e"
    assert error.headers == {"request-id": "req_e", "retry-after": "17", "anthropic-ratelimit-requests-remaining": "0"}
    assert len(claude_api.seen.bodies) == 1  # the SDK did not try again


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0.0), ("-3", 0.0), ("1.5", 1.5), ("Tue, 24 Nov 2026", None), ("nan", 0.0)]
)
def test_retry_after_is_a_number_of_seconds_or_nothing(claude_api: Upstream, text: str, seconds: float | None) -> None:
    claude_api.reply = refusal(529, "overloaded_error", headers={"retry-after": text})
    assert failure(claude_api.url).retry_after == seconds


@pytest.mark.parametrize("code", sorted(FINAL_CODES))
@pytest.mark.parametrize("status", [400, 403, 429])
def test_spend_limits_and_the_like_are_rejections_that_the_account_has_to_mend(
    claude_api: Upstream, code: str, status: int
) -> None:
    claude_api.reply = refusal(status, "rate_limit_error", code=code, headers={"retry-after": "77"})
    error = failure(claude_api.url)
    assert (error.failure, error.account, error.is_limit) == (Failure.REJECTED, True, False)


def test_a_ramp_limit_passes_with_time(claude_api: Upstream) -> None:
    claude_api.reply = refusal(429, "rate_limit_error", code="ramp_limit_exceeded")
    assert failure(claude_api.url).is_limit


DELIBERATE = {
    400: (Failure.REJECTED, False),
    401: (Failure.REJECTED, True),
    402: (Failure.REJECTED, True),
    403: (Failure.REJECTED, True),
    404: (Failure.REJECTED, False),
    408: (Failure.SERVER, False),
    409: (Failure.REJECTED, False),
    412: (Failure.REJECTED, False),
    413: (Failure.REJECTED, False),
    422: (Failure.REJECTED, False),
    429: (Failure.RATE_LIMITED, False),
    431: (Failure.REJECTED, False),
    499: (Failure.REJECTED, False),
    500: (Failure.SERVER, False),
    501: (Failure.SERVER, False),
    503: (Failure.SERVER, False),
    504: (Failure.SERVER, False),
    529: (Failure.OVERLOADED, False),
}


def status_classes() -> set[type[anthropic.APIStatusError]]:
    found = {
        kind
        for kind in vars(_exceptions).values()
        if isinstance(kind, type) and issubclass(kind, anthropic.APIStatusError)
    }
    return found - {anthropic.APIStatusError}


def test_every_status_error_of_the_sdk_is_mapped_on_purpose() -> None:
    """A new class in the SDK fails here: decide what it means, then add its status above."""
    known = {getattr(kind, "status_code", 500) for kind in status_classes()}
    assert known == set(DELIBERATE)


def test_every_other_error_of_the_sdk_is_known() -> None:
    others = {
        name
        for name, kind in vars(_exceptions).items()
        if isinstance(kind, type) and issubclass(kind, anthropic.AnthropicError) and kind not in status_classes()
    }
    assert others == {
        "AnthropicError",
        "APIError",
        "APIStatusError",
        "APIConnectionError",
        "APITimeoutError",
        "APIResponseValidationError",
        "APIWebhookValidationError",
        "CredentialsError",
        "IdentityTokenFileError",
        "RetryableError",
    }


@pytest.mark.parametrize("status", sorted(DELIBERATE))
def test_the_table_of_statuses(claude_api: Upstream, status: int) -> None:
    claude_api.reply = refusal(status, "some_error")
    error = failure(claude_api.url)
    assert (error.failure, error.account) == DELIBERATE[status]
    assert (error.status, error.maybe_billed) == (status, False)


@pytest.mark.parametrize("status", [304, 305])
def test_a_status_that_is_neither_answer_nor_error_is_a_bad_gateway(status: int) -> None:
    response = httpx2.Response(status, request=httpx2.Request("POST", "http://127.0.0.1"))
    error = upstream_error(anthropic.APIStatusError("odd", response=response, body=None))
    assert (error.failure, error.status) == (Failure.SERVER, 502)


def test_missing_credentials_were_not_billed() -> None:
    error = upstream_error(anthropic.CredentialsError("none"))
    assert (error.failure, error.maybe_billed) == (Failure.CONNECTION, False)


def test_errors_do_not_quote_the_request(claude_api: Upstream, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    claude_api.reply = refusal(400, "invalid_request_error")
    error = failure(claude_api.url)
    assert "Grüße" not in str(error) + repr(error) + caplog.text


TOKENS = {"input_tokens": 7, "output_tokens": 3}


@pytest.mark.parametrize(
    ("told", "asked", "expected"),
    [
        ({}, {}, ("standard", "global", 0)),
        ({"speed": "fast", "inference_geo": "us"}, {}, ("fast", "us", 0)),
        ({}, {"speed": "fast", "inference_geo": "us"}, ("fast", "us", 0)),
        ({"speed": "standard", "inference_geo": "global"}, {"speed": "fast"}, ("standard", "global", 0)),
        ({"speed": None, "inference_geo": None}, {"speed": None}, ("standard", "global", 0)),
        ({"inference_geo": "not_available"}, {}, ("standard", "global", 0)),
        ({"speed": "warp", "inference_geo": "eu"}, {}, ("warp", "eu", 0)),
        ({"server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1}}, {}, ("standard", "global", 2)),
        ({"server_tool_use": None}, {}, ("standard", "global", 0)),
    ],
)
def test_speed_place_and_searches_are_those_of_the_answer_else_of_the_request(
    told: dict[str, Any], asked: dict[str, Any], expected: tuple[str, str, int]
) -> None:
    found = read_usage(TOKENS | told, asked)
    assert (found.speed, found.inference_geo, found.web_search_requests) == expected


def test_a_number_of_searches_that_is_none_cannot_be_booked() -> None:
    with pytest.raises(ValueError, match="-1 is not a number"):
        read_usage(TOKENS | {"server_tool_use": {"web_search_requests": -1}})


def test_the_request_is_what_an_answer_without_a_speed_falls_back_on(claude_api: Upstream) -> None:
    assert send(claude_api.url, BODY | {"speed": "fast"}).usage.speed == "fast"
