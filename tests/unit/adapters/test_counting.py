"""Counting tokens over real HTTP: against the stand-in, and against a server that says what a test tells it to."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Any

import anthropic
import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from cost_router.adapters.claude import AnthropicClaude
from cost_router.core.errors import Failure, InvalidRequest, UpstreamError
from cost_router.core.ports import Counted
from infra.local.standin.app import create_app
from tests.builders import run
from tests.unit.adapters.upstream import broken_off, listening, raw, refusal, through_the_sdk, trickling

BODY = {"model": "claude-haiku-5-5", "messages": [{"role": "user", "content": "Grüße 😀"}]}


def count(
    url: str, body: Mapping[str, Any] = BODY, headers: Mapping[str, str] | None = None, seconds: float = 5.0
) -> Counted:
    return through_the_sdk(url, lambda claude: claude.count(body, headers or {}, seconds))


def failure(url: str, body: Mapping[str, Any] = BODY, seconds: float = 5.0) -> UpstreamError:
    with pytest.raises(UpstreamError) as raised:
        count(url, body, seconds=seconds)
    return raised.value


@pytest.fixture(scope="module")
def standin() -> Iterator[str]:
    with listening(create_app()) as url:
        yield url


class Server:
    """What it saw, and what it says next."""

    def __init__(self) -> None:
        self.url = ""
        self.reply: Response = JSONResponse({"input_tokens": 3})
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []

    async def count_tokens(self, request: Request) -> Response:
        self.bodies.append(await request.body())
        self.headers.append(dict(request.headers))
        return self.reply


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    routes = [Route("/v1/messages/count_tokens", found.count_tokens, methods=["POST"])]
    with listening(Starlette(routes=routes)) as found.url:
        yield found


def test_the_stand_in_counts_and_bills_nothing(standin: str) -> None:
    short, long = count(standin), count(standin, {**BODY, "system": "Answer in rhymes. " * 50})
    assert 0 < json.loads(short.content)["input_tokens"] < json.loads(long.content)["input_tokens"]
    assert short.request_id
    assert short.headers["request-id"] == short.request_id
    assert httpx2.get(f"{standin}/_meter").json()["calls"] == []


def test_the_stand_ins_refusals_are_claudes_own(standin: str) -> None:
    extra = failure(standin, {**BODY, "max_tokens": 5})
    assert (extra.status, extra.failure, extra.maybe_billed) == (400, Failure.REJECTED, False)
    assert b"max_tokens: Extra inputs are not permitted" in (extra.body or b"")
    assert failure(standin, {**BODY, "model": "claude-1"}).status == 404


def test_the_body_arrives_byte_for_byte_in_its_order_with_version_and_betas(server: Server) -> None:
    body = {"zeta": 1.0, "model": "m", "alpha": [None, True, 'ü\\"\n😀'], "unknown": {"b": 1, "a": 2}}
    count(server.url, body, {"anthropic-version": "2023-06-01", "anthropic-beta": "a,b"})
    assert server.bodies == [
        '{"zeta":1.0,"model":"m","alpha":[null,true,"ü\\\\\\"\\n😀"],"unknown":{"b":1,"a":2}}'.encode()
    ]
    (headers,) = server.headers
    assert (headers["anthropic-version"], headers["anthropic-beta"]) == ("2023-06-01", "a,b")
    assert (headers["authorization"], headers["content-type"]) == ("Bearer our-own-key", "application/json")


def test_the_count_comes_back_as_it_came(server: Server) -> None:
    server.reply = raw('{ "input_tokens": 5, "context_management": {"original_input_tokens": 9} }')
    found = count(server.url)
    assert found.content == b'{ "input_tokens": 5, "context_management": {"original_input_tokens": 9} }'
    assert found.request_id == "req_up"


@pytest.mark.parametrize(
    "reply",
    [HTMLResponse("<html>"), raw("[]"), raw("{}"), raw('{"input_tokens":null}'), raw('{"input_tokens":true}')],
    ids=["html", "list", "empty", "null", "boolean"],
)
def test_a_200_without_a_count_is_a_failure_of_the_server(server: Server, reply: Response) -> None:
    server.reply = reply
    error = failure(server.url)
    assert (error.failure, error.status, error.maybe_billed) == (Failure.SERVER, 502, False)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(429, Failure.RATE_LIMITED), (500, Failure.SERVER), (529, Failure.OVERLOADED), (400, Failure.REJECTED)],
)
def test_an_error_is_kept_word_for_word_and_nothing_is_tried_again(server: Server, status: int, kind: Failure) -> None:
    server.reply = refusal(status, "made_up", headers={"retry-after": "7"})
    error = failure(server.url)
    assert (error.failure, error.status, error.request_id, error.retry_after) == (kind, status, "req_e", 7.0)
    assert json.loads(error.body or b"")["error"]["message"] == f"refused with {status}"
    assert len(server.bodies) == 1


def test_a_cut_and_a_reply_that_does_not_end_in_time_are_failures(server: Server) -> None:
    server.reply = broken_off()
    assert failure(server.url).failure is Failure.CONNECTION
    server.reply = trickling(0.02)
    assert failure(server.url, seconds=0.3).failure is Failure.TIMEOUT


def test_what_json_cannot_carry_is_refused_before_a_client_is_made() -> None:
    async def make() -> anthropic.AsyncAnthropic:
        await asyncio.sleep(0)
        raise AssertionError("nothing is to be sent")

    with pytest.raises(InvalidRequest):
        run(AnthropicClaude(make).count({"model": "\ud800"}, {}, 1.0))
