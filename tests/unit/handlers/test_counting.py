"""`POST /v1/messages/count_tokens`: which model counts, what it is sent, what comes back, and that nothing is paid."""

import json
from typing import Any

import httpx2
import pytest

from cost_router.contract import Env
from cost_router.core.errors import Failure, StoreError, UpstreamError
from cost_router.core.ledger import Bill
from cost_router.core.ports import Counted
from cost_router.handlers.settings import RouterSettings
from tests.builders import ENV, World, rejected, tenant
from tests.unit.handlers.client import error_of, post, request

PATH = "/v1/messages/count_tokens"
MESSAGES = [{"role": "user", "content": "Hello"}]


def count(
    world: World, body: object = None, headers: dict[str, str] | None = None, path: str = PATH
) -> httpx2.Response:
    return post(world, {"model": "auto", "messages": MESSAGES} if body is None else body, path, headers)


@pytest.mark.parametrize(
    ("asked", "model", "tier"),
    [
        ("auto", "claude-sonnet-5-5", "sonnet"),
        ("haiku", "claude-haiku-5-5", "haiku"),
        ("opus", "claude-opus-5-5", "opus"),
        ("claude-opus-4-8", "claude-opus-4-8", "opus"),
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5", "haiku"),
    ],
)
def test_the_model_that_is_named_counts_and_auto_counts_on_the_sonnet_tier(asked: str, model: str, tier: str) -> None:
    world = World()
    reply = count(world, {"model": asked, "messages": MESSAGES})
    assert (reply.status_code, reply.json()) == (200, {"input_tokens": 42})
    assert (reply.headers["x-router-model"], reply.headers["x-router-tier"]) == (model, tier)
    assert "x-router-cost-usd" not in reply.headers
    assert world.claude.counts[0].model in {asked, model}


def test_nothing_is_classified_put_aside_booked_or_looked_up() -> None:
    world = World()
    world.ledger.down = world.ledger.reserving_down = world.ledger.counter_down = True
    world.labels.down = world.requests.down = True
    assert count(world).status_code == 200
    assert (world.claude.calls, world.ledger.round_trips, world.ledger.reserved) == ([], [], [])
    (record,) = world.telemetry.records
    assert (record.kind, record.model, record.status) == ("count_tokens", "claude-sonnet-5-5", 200)
    assert (record.upstream_request_id, record.bill) == ("req_counted", Bill())


def test_the_body_goes_up_in_its_order_with_unknown_members_and_without_the_routers_own() -> None:
    world = World()
    body = {"zeta": {"b": 1, "a": 2}, "messages": MESSAGES, "router": {"floor": "opus"}, "model": "auto", "system": "S"}
    assert count(world, body).status_code == 200
    sent = world.claude.counts[0].body
    assert json.dumps(sent) == json.dumps(
        {"zeta": {"b": 1, "a": 2}, "messages": MESSAGES, "model": "claude-sonnet-5-5", "system": "S"}
    )


def test_what_the_chosen_model_would_reject_is_adapted_and_told() -> None:
    world = World()
    reply = count(world, {"model": "auto", "messages": MESSAGES, "thinking": {"type": "disabled"}})
    assert reply.headers["x-router-adapted"] == "thinking=between_tools"
    assert world.claude.counts[0].body["thinking"] == {"type": "between_tools"}


@pytest.mark.parametrize(("version", "sent"), [("2023-06-01", None), ("2026-10-21", 0.5)])
def test_what_is_adapted_depends_on_the_callers_version_as_at_the_paid_call(version: str, sent: float | None) -> None:
    world = World()
    body = {"model": "auto", "messages": MESSAGES, "temperature": 0.5}
    assert count(world, body, {"anthropic-version": version}).status_code == 200
    assert world.claude.counts[0].body.get("temperature") == sent


def test_version_and_betas_of_the_caller_go_up_and_the_query_is_passed_over() -> None:
    world = World()
    sent = {"anthropic-version": "2023-06-01", "anthropic-beta": "a,b"}
    assert count(world, headers={**sent, "x-other": "1"}, path=f"{PATH}?beta=true").status_code == 200
    assert world.claude.counts[0].headers == sent


def test_the_reply_is_claudes_as_it_came() -> None:
    world = World()
    raw = b'{ "input_tokens": 7, "context_management": {"original_input_tokens": 9} }'
    world.claude.counting.append(Counted(raw, "req_up", {"request-id": "req_up", "anthropic-ratelimit-x": "1"}))
    reply = count(world)
    assert reply.content == raw
    assert reply.headers["content-type"] == "application/json"
    assert (reply.headers["request-id"], reply.headers["anthropic-ratelimit-x"]) == ("req_up", "1")


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"tools": [{"type": "mcp_toolset", "mcp_server_name": "files"}], "mcp_servers": [{"name": "files"}]},
        {"compaction": {"type": "auto"}},
        {"speed": "fast"},
    ],
    ids=["search", "mcp", "compaction", "fast"],
)
def test_what_has_no_price_may_be_counted(body: dict[str, Any]) -> None:
    world = World()
    assert count(world, {"model": "opus", "messages": MESSAGES, **body}).status_code == 200
    assert {name: world.claude.counts[0].body[name] for name in body} == body


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{nope", "not valid JSON"),
        ({"messages": MESSAGES}, "model: Field required"),
        ({"model": 5, "messages": MESSAGES}, "model: it is a number"),
        ({"model": "auto"}, "messages: Field required"),
        ({"model": "auto", "messages": []}, "messages: at least one message is required"),
        (
            {"model": "auto", "messages": [{"role": "user", "content": 5}]},
            "messages.0.content: Input should be a valid list",
        ),
        ({"model": "auto", "messages": MESSAGES, "max_tokens": "many"}, "max_tokens: Input should be a valid integer"),
        ({"model": "auto", "messages": MESSAGES, "thinking": "hard"}, "thinking: Input should be an object"),
        ({"model": "auto", "messages": MESSAGES, "router": {"flor": "opus"}}, "router: 'flor' is unknown"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_before_anything_is_called(body: object, said: str) -> None:
    world = World()
    reply = count(world, body)
    assert reply.status_code == 400
    assert said in error_of(reply)["message"]
    assert world.claude.counts == []


def test_an_unknown_model_is_a_404_that_lists_what_is_accepted() -> None:
    world = World()
    reply = count(world, {"model": "claude-1", "messages": MESSAGES})
    error = error_of(reply)
    assert (reply.status_code, error["type"]) == (404, "not_found_error")
    assert error["message"].startswith("model: 'claude-1'")
    assert "auto, haiku, sonnet, opus, claude-haiku-5-5" in error["message"]


def test_a_key_is_needed_and_its_tenant_and_tags_are_told() -> None:
    world = World(tenant("acme", tags={"team": "shop"}))
    assert count(world, b"not even JSON", {"x-api-key": "wrong"}).status_code == 401
    assert world.claude.counts == []
    assert count(world, headers={"x-router-tags": "customer=globex,team=other"}).status_code == 200
    assert world.telemetry.records[1].tenant == "acme"
    assert world.telemetry.records[1].tags == {"customer": "globex", "team": "shop"}


def test_a_body_over_the_limit_is_a_413() -> None:
    world = World()
    world.router_settings = RouterSettings.read({**ENV, Env.MAX_BODY_BYTES: "50"})
    assert count(world, {"model": "auto", "messages": [{"role": "user", "content": "x" * 50}]}).status_code == 413


def claudes_own(status: int, failure: Failure, **headers: str) -> UpstreamError:
    body = json.dumps({"type": "error", "error": {"type": "made_up", "message": f"word for word {status}"}}).encode()
    return UpstreamError(failure, status=status, body=body, request_id="req_up", headers=headers)


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (400, Failure.REJECTED),
        (404, Failure.REJECTED),
        (429, Failure.RATE_LIMITED),
        (500, Failure.SERVER),
        (529, Failure.OVERLOADED),
    ],
)
def test_claudes_errors_go_on_word_for_word_and_are_the_callers_to_try_again(status: int, failure: Failure) -> None:
    world = World()
    world.claude.counting.append(claudes_own(status, failure, **{"retry-after": "7"}))
    reply = count(world)
    assert reply.status_code == status
    assert error_of(reply) == {"type": "made_up", "message": f"word for word {status}"}
    assert (reply.headers["request-id"], reply.headers["retry-after"]) == ("req_up", "7")
    assert "x-should-retry" not in reply.headers
    assert reply.headers["x-router-model"] == "claude-sonnet-5-5"
    assert len(world.claude.counts) == 1
    assert (world.clock.slept, world.claude.calls) == ([], [])
    assert world.telemetry.records[0].upstream_request_id == "req_up"


def test_an_answer_that_was_refused_is_still_not_to_be_tried_again() -> None:
    world = World(script=[rejected(400)])
    reply = post(world, {"model": "opus", "max_tokens": 5, "messages": MESSAGES})
    assert (reply.status_code, reply.headers["x-should-retry"]) == (400, "false")


def test_a_count_that_does_not_come_within_the_deadline_is_a_504_that_may_be_tried_again() -> None:
    world = World()
    world.claude.takes = 60.0
    reply = count(world)
    assert (reply.status_code, error_of(reply)["type"]) == (504, "timeout_error")
    assert world.claude.counts[0].seconds == 25.0
    assert "x-should-retry" not in reply.headers


def test_what_is_left_of_the_deadline_is_what_a_call_gets_and_with_nothing_left_it_is_not_made() -> None:
    world = World()
    real = world.tenants.by_key

    async def slowly(key_hash: str) -> Any:
        world.clock.advance(24.0)
        return await real(key_hash)

    world.tenants.by_key = slowly  # type: ignore[method-assign]  # one method is replaced
    assert count(world).status_code == 200
    assert world.claude.counts[0].seconds == 1.0
    world.router_settings = RouterSettings.read({**ENV, Env.DEADLINE_SECONDS: "24"})
    assert count(world).status_code == 504
    assert len(world.claude.counts) == 1


def test_a_store_that_keeps_the_key_from_being_read_is_a_503() -> None:
    world = World()
    world.claude.counting.append(StoreError("secretsmanager.get_secret_value: ReadTimeoutError"))
    assert count(world).status_code == 503


def test_it_is_served_to_post_only() -> None:
    assert request(World(), "GET", PATH).status_code == 405
