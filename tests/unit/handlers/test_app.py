"""The front door, through the real ASGI interface."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import anthropic
import httpx2
import pytest

from cost_router.adapters.telemetry import PowertoolsTelemetry
from cost_router.core.errors import Failure, NotConfigured, StoreError, UpstreamError
from cost_router.core.pricing import Usage
from cost_router.core.words import Tier
from tests.builders import KEY, World, failing, limited, message_body, rejected, run, tenant
from tests.unit.handlers.client import client_of, error_of, post, post_all, request

CANARY = "canary-5f1c"


# --- who is calling


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": KEY},
        {"Authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer   {KEY} "},
        {"x-api-key": KEY, "authorization": "Bearer something-else"},
        {"x-api-key": "sk-ant-of-the-environment", "authorization": f"Bearer {KEY}"},
    ],
)
def test_the_key_is_taken_from_both_headers(headers: dict[str, str]) -> None:
    world = World()

    async def go() -> httpx2.Response:
        async with client_of(world) as client:
            return await client.post("/v1/messages", json=message_body(), headers=headers)

    assert run(go()).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-key": ""},
        {"x-api-key": "wrong"},
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer wrong"},
        {"x-api-key": "wrong", "Authorization": "Bearer wrong too"},
        {"x-api-key": "ключ".encode().decode("latin-1")},
    ],
)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/route"])
def test_without_a_good_key_it_is_a_401_before_the_body_is_read(headers: dict[str, str], path: str) -> None:
    world = World()
    read: list[bytes] = []

    async def body() -> AsyncIterator[bytes]:
        read.append(b"")
        yield b"{}"

    messages: list[MutableMapping[str, Any]] = []

    async def go() -> None:
        async def receive() -> MutableMapping[str, Any]:
            async for chunk in body():
                return {"type": "http.request", "body": chunk, "more_body": False}
            raise AssertionError

        async def send(message: MutableMapping[str, Any]) -> None:
            messages.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "query_string": b"",
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()],
        }
        await world.app()(scope, receive, send)

    run(go())
    assert messages[0]["status"] == 401
    assert json.loads(messages[1]["body"])["error"]["type"] == "authentication_error"
    assert read == []


def test_a_tenant_store_that_is_down_is_a_503_worth_another_try_not_a_401() -> None:
    world = World()
    world.tenants.down = True
    response = post(world, message_body())
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert "x-should-retry" not in response.headers
    assert error_of(response)["type"] == "api_error"


# --- answers


def test_the_answer_is_claudes_body_with_the_routers_headers() -> None:
    world = World(label="moderate", script=[Usage(input_tokens=1_000, output_tokens=100)])
    response = post(world, message_body())
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json()["content"][0]["text"] == "the answer"
    ours = {name: value for name, value in response.headers.items() if name.startswith("x-router-")}
    assert ours == {
        "x-router-model": "claude-sonnet-5-5",
        "x-router-tier": "sonnet",
        "x-router-label": "moderate",
        "x-router-cause": "classifier",
        "x-router-request-id": f"req_{1:024d}",
        "x-router-cost-usd": "0.003044",
        "x-router-classifier-cost-usd": "0.000044",
        "x-router-baseline-usd": "0.006",
        "x-router-budget-remaining-usd": "9.996956",
    }
    assert response.headers["request-id"] == "req_upstream"


def test_a_pinned_answer_has_no_label_header() -> None:
    response = post(World(), message_body(model="opus"))
    assert "x-router-label" not in response.headers
    assert (response.headers["x-router-cause"], response.headers["x-router-classifier-cost-usd"]) == ("pinned", "0")


def test_hints_in_headers_win_over_those_in_the_body_which_are_not_forwarded() -> None:
    world = World(tenant(tags={"team": "shop"}))
    body = message_body(router={"floor": "opus", "ceiling": "opus", "tags": {"a": "body"}})
    response = post(world, body, headers={"x-router-floor": "haiku", "X-Router-Tags": "a=header, b=2"})
    assert response.headers["x-router-cause"] == "classifier"
    assert "router" not in world.claude.answer_calls[0].body
    assert world.telemetry.records[0].tags == {"a": "header", "b": "2", "team": "shop"}


def test_version_and_betas_go_upstream_and_nothing_else_of_the_headers() -> None:
    world = World()
    headers = {"anthropic-version": "2023-06-01", "anthropic-beta": "a,b", "x-stainless-lang": "python"}
    post(world, message_body(), headers=headers)
    assert world.claude.answer_calls[0].headers == {"anthropic-version": "2023-06-01", "anthropic-beta": "a,b"}


def test_the_query_of_claude_code_is_no_obstacle() -> None:
    assert post(World(), message_body(), "/v1/messages?beta=true").status_code == 200


def test_system_entries_among_the_messages_go_through_untouched() -> None:
    world = World()
    body = message_body()
    body["messages"].append({"role": "system", "content": "A reminder."})
    assert post(world, body).status_code == 200
    assert world.claude.answer_calls[0].body["messages"] == body["messages"]


def test_an_unmodified_client_works() -> None:
    world = World()

    async def go() -> Any:
        http = httpx2.AsyncClient(transport=httpx2.ASGITransport(world.app()))
        async with anthropic.AsyncAnthropic(api_key=KEY, base_url="http://router.test", http_client=http) as client:
            raw = await client.messages.with_raw_response.create(
                model="auto", max_tokens=10, messages=[{"role": "user", "content": "Hi"}]
            )
            return raw.headers["x-router-tier"], await raw.parse()

    tier, message = run(go())
    assert (tier, message.content[0].text) == ("haiku", "the answer")


def test_an_unmodified_client_does_not_repeat_what_the_router_gave_up() -> None:
    world = World(script=[failing(500)] * 99)

    async def go() -> None:
        http = httpx2.AsyncClient(transport=httpx2.ASGITransport(world.app()))
        async with anthropic.AsyncAnthropic(api_key=KEY, base_url="http://router.test", http_client=http) as client:
            with pytest.raises(anthropic.InternalServerError):
                await client.messages.create(model="haiku", max_tokens=9, messages=[{"role": "user", "content": "Hi"}])

    run(go())
    assert len(world.telemetry.records) == 1


def test_overlapping_requests_are_told_apart() -> None:
    world = World()
    bodies = [
        message_body(f"Question {place}", model=name) for place, name in enumerate(["haiku", "sonnet", "opus"] * 20)
    ]
    responses = post_all(world, bodies)
    assert [response.headers["x-router-tier"] for response in responses] == ["haiku", "sonnet", "opus"] * 20
    assert len({response.headers["x-router-request-id"] for response in responses}) == 60
    assert len({entry.entry_id for entry in world.ledger.entries}) == 60


def test_a_dry_run_tells_the_decision() -> None:
    world = World(label="complex")
    response = post(world, message_body(max_tokens=1_000), "/v1/route")
    assert response.json() == {
        "type": "route",
        "model": "claude-opus-5-5",
        "tier": "opus",
        "label": "complex",
        "cause": "classifier",
        "estimated_input_tokens": 10,
        "estimated_cost_usd": "0.02004",
        "classifier_cost_usd": "0.000044",
        "classifier_ms": 0.0,
    }
    assert world.claude.answer_calls == []
    assert world.telemetry.records[0].kind == "route"


def test_health_needs_no_key_and_touches_nothing() -> None:
    world = World()
    world.tenants.down = world.ledger.down = world.labels.down = True
    response = request(world, "GET", "/health")
    assert response.status_code == 200
    assert response.json()["lineup"] == "current"
    assert response.json()["models"]["classifier"] == "claude-haiku-5-5"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("POST", "/v1/complete", 404),
        ("POST", "/v1/messages/", 404),
        ("POST", "//v1/messages", 404),
        ("GET", "/v1/messages", 405),
        ("DELETE", "/health", 405),
        ("GET", "/" + "x" * 5_000, 404),
        ("GET", "/%ff%00", 404),
    ],
)
def test_what_is_not_served_is_told_in_anthropics_shape(method: str, path: str, status: int) -> None:
    response = request(World(), method, path)
    assert response.status_code == status
    assert "POST /v1/messages" in error_of(response)["message"]
    assert len(response.content) < 600


def test_a_strange_host_is_no_defect() -> None:
    assert request(World(), "GET", "/nowhere", {"host": "["}).status_code == 404


# --- errors


@pytest.mark.parametrize(
    ("problem", "status", "kind", "retry"),
    [
        (rejected(400), 400, "invalid_request_error", "false"),
        (rejected(413), 413, "invalid_request_error", "false"),
        (limited(429, 9.0), 429, "api_error", "false"),
        (limited(529, 9.0), 529, "api_error", "false"),
        (failing(500), 500, "api_error", "false"),
        (UpstreamError(Failure.CONNECTION), 502, "api_error", "false"),
        (UpstreamError(Failure.TIMEOUT), 504, "api_error", "false"),
        (NotConfigured("no key yet"), 503, "api_error", "false"),
        (StoreError("secretsmanager.get_secret_value: AccessDenied"), 503, "api_error", None),
    ],
    ids=str,
)
def test_errors_become_http_in_one_way(problem: Exception, status: int, kind: str, retry: str | None) -> None:
    world = World(script=[problem] * 9)
    response = post(world, message_body(model="haiku"), headers={"x-router-ceiling": "haiku"})
    assert (response.status_code, error_of(response)["type"]) == (status, kind)
    assert response.headers.get("x-should-retry") == retry
    assert world.telemetry.records[0].status == status


def test_claudes_own_error_comes_through_with_its_words_its_id_and_its_headers() -> None:
    error = UpstreamError(
        Failure.REJECTED,
        status=400,
        body=b'{"type":"error","error":{"type":"invalid_request_error","message":"messages: roles"},"request_id":"r1"}',
        request_id="r1",
        headers={"request-id": "r1", "anthropic-ratelimit-requests-remaining": "0"},
    )
    response = post(World(script=[error]), message_body(model="haiku"))
    assert response.json()["error"] == {"type": "invalid_request_error", "message": "messages: roles"}
    assert response.json()["request_id"] == response.headers["request-id"] == "r1"
    assert response.headers["anthropic-ratelimit-requests-remaining"] == "0"


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"error": "x"}', b"\xff", b"null"])
def test_an_error_of_claude_that_has_no_shape_is_given_one(body: bytes) -> None:
    error = UpstreamError(Failure.SERVER, status=502, body=body)
    response = post(World(script=[error] * 9), message_body(model="haiku"))
    assert error_of(response)["message"] == "Claude could not serve the request: server (status 502)"


def test_an_error_of_claude_that_cannot_be_written_is_still_an_answer() -> None:
    error = UpstreamError(Failure.REJECTED, status=400, body=b'{"error":{"type":"x","message":"\\ud800"}}')
    response = post(World(script=[error]), message_body(model="haiku"))
    assert response.status_code == 500
    assert error_of(response)["type"] == "api_error"


def test_a_paid_error_tells_its_cost() -> None:
    response = post(World(script=[rejected(400)]), message_body())
    assert response.headers["x-router-cost-usd"] == "0.000044"


def test_a_deadline_is_a_504_and_what_was_spent_is_booked() -> None:
    world = World()
    world.claude.takes = 60.0
    response = post(world, message_body(model="haiku", router={"ceiling": "haiku"}))
    assert (response.status_code, error_of(response)["type"]) == (504, "timeout_error")
    assert response.headers["x-should-retry"] == "false"
    assert len(world.ledger.entries) == 1


def test_a_defect_is_a_500_under_its_request_id_without_its_message() -> None:
    world = World(script=[ZeroDivisionError(CANARY)])
    response = post(world, message_body(model="haiku"))
    assert response.status_code == 500
    assert "its log tells why" in error_of(response)["message"]
    assert CANARY not in response.text
    assert [str(defect) for defect in world.telemetry.defects] == [CANARY]


def test_a_client_that_goes_while_it_sends_is_no_defect() -> None:
    world = World()

    async def go() -> list[MutableMapping[str, Any]]:
        sent: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            await asyncio.sleep(0)
            return {"type": "http.disconnect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        headers = [(b"x-api-key", KEY.encode())]
        scope = {"type": "http", "method": "POST", "path": "/v1/messages", "query_string": b"", "headers": headers}
        await world.app()(scope, receive, send)
        return sent

    assert run(go())[0]["status"] == 400
    assert world.telemetry.defects == []


# --- privacy


def real_telemetry() -> PowertoolsTelemetry:
    """Powertools keeps one log handler per service and process: a new service writes to the standard output of now."""
    return PowertoolsTelemetry.make(f"privacy-{uuid.uuid4()}")


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ([], 200),
        ([rejected(400)], 400),
        ([limited(529, 9.0)] * 9, 529),
        ([UpstreamError(Failure.CONNECTION, maybe_billed=True)] * 9, 502),
        ([UpstreamError(Failure.REJECTED, status=400, body=CANARY.encode())], 400),
        ([ZeroDivisionError(CANARY)], 500),
        ([KeyError(CANARY)], 500),
        ([StoreError("dynamodb.get_item: Throttled")], 503),
    ],
)
@pytest.mark.parametrize("stores", ["up", "down"])
def test_nothing_of_prompt_or_answer_gets_into_the_log(
    script: list[Exception], status: int, stores: str, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World(script=script)
    world.telemetry = real_telemetry()  # type: ignore[assignment]
    world.labels.down = world.ledger.down = stores == "down"
    body = message_body(CANARY, system=CANARY, metadata={"user_id": CANARY}, tools=[{"name": CANARY}])
    response = post(world, body, headers={"anthropic-beta": "beta"})
    assert response.status_code == status
    if status != 200:
        assert CANARY not in response.text
    out, err = capsys.readouterr()
    assert "privacy" in out
    assert CANARY not in out + err
    assert "the answer" not in out + err


@pytest.mark.parametrize(
    "body", [b'{"messages": "canary-5f1c"}', b"canary-5f1c", b'{"a": "canary-5f1c\\ud800"}', b'"canary-5f1c']
)
def test_errors_on_bad_bodies_do_not_quote_them(body: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    world = World()
    world.telemetry = real_telemetry()  # type: ignore[assignment]
    response = post(world, body)
    assert response.status_code == 400
    assert CANARY not in response.text + capsys.readouterr().out


def test_tenant_bounds_hold_over_https() -> None:
    world = World(tenant(floor=Tier.SONNET, ceiling=Tier.SONNET))
    tiers = [post(world, message_body(model=name)).headers["x-router-tier"] for name in ("haiku", "auto", "opus")]
    assert tiers == ["sonnet"] * 3
