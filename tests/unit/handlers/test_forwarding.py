"""What goes to Claude is what the client sent, byte for byte, but for the name of the model."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import httpx2
import pytest
from anthropic import AsyncAnthropic
from hypothesis import HealthCheck, given, settings
from starlette.responses import JSONResponse

from cost_router.adapters.claude import AnthropicClaude
from tests.bodies import bodies
from tests.builders import KEY, FakeClaude, World
from tests.unit.adapters.upstream import MESSAGE, Upstream, listening, serving

OLD_VERSION = {"x-api-key": KEY, "anthropic-version": "2023-06-01"}


@dataclass(frozen=True)
class Road:
    """The router's app, served over HTTP, before an upstream that keeps the bytes that arrive."""

    url: str
    upstream: Upstream

    def post(self, content: bytes, **headers: str) -> httpx2.Response:
        sent = {**OLD_VERSION, "content-type": "application/json", **headers}
        return httpx2.post(f"{self.url}/v1/messages", content=content, headers=sent, timeout=30)


@pytest.fixture(scope="module")
def road() -> Iterator[Road]:
    with serving() as upstream:

        async def make_client() -> AsyncAnthropic:
            return AsyncAnthropic(api_key="upstream-key", base_url=upstream.url, max_retries=0)

        world = World()
        world.claude = cast("FakeClaude", AnthropicClaude(make_client))  # the real road to Claude
        with listening(world.app()) as url:
            yield Road(url, upstream)


def compact(body: dict[str, Any]) -> bytes:
    """A body as the SDKs write it."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies("sonnet"))
def test_a_body_arrives_byte_for_byte_but_for_the_name_of_the_model(road: Road, body: dict[str, Any]) -> None:
    answer = road.post(compact(body))
    assert answer.status_code == 200, answer.text
    assert "x-router-adapted" not in answer.headers
    assert road.upstream.seen.bodies[-1] == compact({**body, "model": "claude-sonnet-5-5"})


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies("claude-sonnet-5-5"))
def test_a_body_for_a_named_model_arrives_as_it_is_and_router_hints_never_do(road: Road, body: dict[str, Any]) -> None:
    assert road.post(compact({"router": {"tags": {"a": "b"}}, **body})).status_code == 200
    assert road.upstream.seen.bodies[-1] == compact(body)


def test_what_a_model_would_reject_changes_and_is_named(road: Road) -> None:
    body = {
        "thinking": {"type": "enabled", "budget_tokens": 1_024},
        "model": "opus",
        "max_tokens": 2_048,
        "temperature": 0.2,
        "messages": [{"role": "user", "content": "Hi"}],
        "x-new": 1,
    }
    answer = road.post(compact(body))
    assert answer.headers["x-router-adapted"] == "thinking=adaptive,temperature=dropped"
    del body["temperature"]
    expected = {**body, "thinking": {"type": "adaptive"}, "model": "claude-opus-5-5"}
    assert road.upstream.seen.bodies[-1] == compact(expected)


def test_version_and_betas_go_up_and_the_callers_key_does_not(road: Road) -> None:
    body = {"model": "haiku", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]}
    answer = road.post(compact(body), **{"anthropic-beta": "a-2026-01-01,b-2026-02-02"})
    sent = road.upstream.seen.headers[-1]
    assert (sent["anthropic-version"], sent["anthropic-beta"]) == ("2023-06-01", "a-2026-01-01,b-2026-02-02")
    assert KEY not in json.dumps(sent)
    assert answer.headers["request-id"] == "req_up"


def test_ids_and_limits_come_back_and_nothing_of_the_organisation_does(road: Road) -> None:
    told = {
        "request-id": "req_up",
        "anthropic-organization-id": "org-secret",
        "anthropic-ratelimit-requests-remaining": "7",
        "cf-ray": "x",
        "set-cookie": "a=b",
    }
    road.upstream.reply = JSONResponse(MESSAGE, headers=told)
    try:
        body = {"model": "haiku", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]}
        answer = road.post(compact(body))
    finally:
        road.upstream.reply = None
    assert answer.headers["anthropic-ratelimit-requests-remaining"] == "7"
    assert not {"anthropic-organization-id", "cf-ray", "set-cookie"} & set(answer.headers)
