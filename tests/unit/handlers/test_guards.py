"""Fields that multiply the bill, at both entrances: refused before anything is paid for, unless the tenant may."""

import dataclasses
import json
from decimal import Decimal
from typing import Any

import pytest

from cost_router.core.groups import GroupState
from cost_router.core.pricing import Usage
from tests.builders import World, job, message_body, raw_job, rejected, run, tenant
from tests.unit.handlers.client import error_of, post
from tests.unit.handlers.test_message_batches import run_to_the_end

HOUR = [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 1}
GUARDED: dict[str, tuple[dict[str, Any], str]] = {
    "speed": ({"speed": "fast"}, "speed: 'fast'"),
    "cache_1h": ({"system": HOUR}, "system.0.cache_control.ttl: '1h'"),
    "web_search": ({"tools": [SEARCH]}, "tools.0.type: 'web_search_20250305'"),
    "service_tier": ({"service_tier": "auto"}, "service_tier: 'auto'"),
    "inference_geo": ({"inference_geo": "us"}, "inference_geo: 'us'"),
}
PLAIN = {"speed": "standard", "inference_geo": "global", "service_tier": "standard_only"}


# -- HTTPS -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/route"])
@pytest.mark.parametrize("word", GUARDED)
def test_a_guarded_field_is_a_400_that_names_it_and_nothing_was_called(word: str, path: str) -> None:
    fields, named = GUARDED[word]
    for more in ({}, {"stream": True}, {"model": "opus"}):
        world = World()
        answer = post(world, message_body(**fields, **more), path)
        error = error_of(answer)
        assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
        assert error["message"].startswith(named)
        assert error["message"].endswith(f"(cost-router keys set acme --allow {word})")
        assert (world.claude.calls, world.ledger.bookings) == ([], [])
        assert [told.tenant for told in world.telemetry.records] == ["acme"]


@pytest.mark.parametrize("word", GUARDED)
def test_a_tenant_that_may_gets_its_answer_and_the_field_goes_to_claude_as_it_came(word: str) -> None:
    fields, _ = GUARDED[word]
    world = World(tenant("acme", allows=frozenset({word})), budget=Decimal(50))
    assert post(world, message_body(**fields)).status_code == 200
    assert fields.items() <= world.claude.answer_calls[0].body.items()
    others = frozenset(GUARDED) - {word}
    assert post(World(tenant("acme", allows=others)), message_body(**fields)).status_code == 400


def test_what_multiplies_nothing_is_served_without_a_permission() -> None:
    five = [HOUR[0] | {"cache_control": {"type": "ephemeral", "ttl": "5m"}}]
    assert post(World(), message_body(system=five, cache_control={"type": "ephemeral"}, **PLAIN)).status_code == 200


def test_what_nobody_may_is_refused_as_before_and_names_no_permission() -> None:
    error = error_of(post(World(), message_body(speed="warp")))
    assert error["message"] == "speed: no price is known for 'warp'; accepted: standard, fast"


def test_an_answer_by_priority_capacity_is_booked_at_list_price() -> None:
    """Its price is that of a commitment, which the catalogue does not know; the list price is not below it."""
    usage = Usage(1_000_000, output_tokens=1)
    bodies = (message_body(model="opus"), message_body(model="opus", service_tier="auto"))
    worlds = [World(tenant("acme", allows=frozenset({"service_tier"})), script=[usage]) for _ in bodies]
    assert [post(world, body).status_code for world, body in zip(worlds, bodies, strict=True)] == [200, 200]
    assert [world.ledger.entries[0].cost_usd for world in worlds] == [Decimal("4.00002")] * 2


# -- The queue ---------------------------------------------------------------------------------------------------------


def drain(world: World, *messages: dict[str, Any]) -> list[str]:
    left = run(world.door().drain({"Records": list(messages)}, 900.0))
    return [failure["itemIdentifier"] for failure in left["batchItemFailures"]]


def guarded(word: str = "cache_1h", **router: Any) -> dict[str, Any]:
    return job("a", params=message_body("a: easy", model="haiku", **GUARDED[word][0]), **{"group": "g", **router})


def error_in(world: World, name: str = "a") -> dict[str, Any]:
    error: dict[str, Any] = world.results.items[f"g/{name}"]["result"]["error"]["error"]
    return error


def set_policy(world: World, *words: str) -> None:
    default = world.tenants.tenants["default"]
    world.tenants.tenants["default"] = dataclasses.replace(default, allows=frozenset(words))


@pytest.mark.parametrize("lane", ["direct", "batch"])
@pytest.mark.parametrize("word", GUARDED)
def test_a_guarded_field_fails_its_job_at_once_with_a_result_that_names_it(word: str, lane: str) -> None:
    world = World()
    good = job("b", params=message_body("b: easy", model="haiku", **PLAIN), group="g")
    assert drain(world, guarded(word, lane=lane), good) == []
    error = error_in(world)
    assert error["type"] == "invalid_request_error"
    assert error["message"].startswith(GUARDED[word][1])
    assert error["message"].endswith(f"(cost-router keys set default --allow {word})")
    assert (world.results.items["g/a"]["router"]["tenant"], world.results.items["g/a"]["router"]["broken"]) == (
        "default",
        True,
    )
    assert world.results.items["g/b"]["result"]["type"] == "succeeded"
    assert len(world.claude.calls) == 1
    assert (world.queue.aside, world.lines.lines) == ([], {})
    told = {row.job: (row.outcome, row.status, row.tenant, row.lane) for row in world.telemetry.records}
    assert told["g/a"] == ("failed", 400, "default", lane)
    assert (world.jobs.tallies["g"].failed, world.jobs.tallies["g"].running) == (1, 0)


def test_a_job_of_a_tenant_that_may_is_answered() -> None:
    world = World(tenant("acme"), tenant("support", allows=frozenset({"cache_1h"})))
    assert drain(world, guarded(tenant="support")) == []
    assert world.results.items["g/a"]["result"]["type"] == "succeeded"
    assert world.claude.calls[0].body["system"] == HOUR


def test_the_same_message_runs_once_its_tenant_may() -> None:
    world = World()
    assert drain(world, guarded()) == []
    assert drain(world, guarded()) == []
    assert (error_in(world)["type"], world.claude.calls) == ("invalid_request_error", [])
    set_policy(world, "cache_1h")
    assert drain(world, guarded()) == []
    assert world.results.items["g/a"]["result"]["type"] == "succeeded"
    assert (world.jobs.tallies["g"].failed, world.jobs.tallies["g"].done) == (0, 1)


def test_a_done_job_stays_done_when_its_message_comes_again_after_the_permission_went() -> None:
    world = World()
    set_policy(world, "cache_1h")
    drain(world, guarded())
    set_policy(world)
    assert drain(world, guarded()) == []
    assert world.results.items["g/a"]["result"]["type"] == "succeeded"
    assert (world.jobs.state("g/a"), world.queue.aside) == ("done", [])


def hold(world: World, *words: str) -> None:
    """A job with a guarded field in a paused group, taken under a policy with these words."""
    set_policy(world, "cache_1h")
    drain(world, job("first", params=message_body("b: easy", model="haiku"), group="g"))
    world.groups.set("g", GroupState.PAUSED)
    assert drain(world, guarded()) == []
    assert world.jobs.state("g/a") == "held"
    world.groups.set("g", GroupState.RUNNING)
    set_policy(world, *words)


def test_a_held_job_that_comes_back_is_held_to_the_policy_of_that_time() -> None:
    world = World()
    hold(world)
    calls = len(world.claude.calls)
    for _ in range(2):
        assert drain(world, raw_job('{"job": "g/a"}', "back")) == []
    assert error_in(world)["message"].startswith("system.0.cache_control.ttl: '1h'")
    assert (len(world.claude.calls), world.jobs.state("g/a"), world.queue.aside) == (calls, "failed", [])
    assert (world.jobs.tallies["g"].failed, world.jobs.tallies["g"].running) == (1, 0)
    still = World()
    hold(still, "cache_1h")
    assert drain(still, raw_job('{"job": "g/a"}', "back")) == []
    assert still.results.items["g/a"]["result"]["type"] == "succeeded"


def test_a_job_that_was_put_back_fails_when_the_permission_went_meanwhile_and_tells_what_it_had_cost() -> None:
    world = World(script=[rejected(403, account=True)])
    set_policy(world, "cache_1h")
    message = job("a", params=message_body("a: easy", **GUARDED["cache_1h"][0]), group="g")
    assert drain(world, message) == ["a"]
    assert world.jobs.state("g/a") == "queued"
    set_policy(world)
    calls = len(world.claude.calls)
    assert drain(world, message) == []
    assert error_in(world)["message"].startswith("system.0.cache_control.ttl: '1h'")
    assert (len(world.claude.calls), world.jobs.state("g/a"), world.queue.aside) == (calls, "failed", [])
    told = world.results.items["g/a"]["router"]
    assert Decimal(told["cost_usd"]) == world.ledger.entries[0].cost_usd > 0
    assert "broken" not in told, "it was a job: no other message may take its place"
    assert (world.jobs.tallies["g"].failed, world.jobs.tallies["g"].running) == (1, 0)


def test_a_guarded_message_under_the_name_of_another_job_is_set_aside_with_the_reason() -> None:
    world = World()
    drain(world, job("a", params=message_body("a: easy", model="haiku"), group="g"))
    assert drain(world, guarded()) == []
    assert world.results.items["g/a"]["result"]["type"] == "succeeded"
    assert [json.loads(body)["custom_id"] for body, _ in world.queue.aside] == ["a"]
    assert [reason.startswith("system.0.cache_control.ttl") for _, reason in world.queue.aside] == [True]


def test_a_line_of_a_batch_over_https_is_held_to_the_policy_of_its_keys_tenant_when_it_runs() -> None:
    world = World(tenant("acme", allows=frozenset(GUARDED)), tenant("default", allows=frozenset(GUARDED)))
    lines = [
        {"custom_id": name, "params": message_body(name, model="haiku", **fields)}
        for name, fields in (("plain", {}), ("guarded", {"system": HOUR}))
    ]
    id_ = post(world, {"requests": lines, "router": {"lane": "direct"}}, "/v1/messages/batches").json()["id"]
    world.tenants.tenants["acme"] = tenant("acme")  # a permission that was taken away meanwhile
    run_to_the_end(world, id_)
    found = {name.partition("/")[2]: result["result"] for name, result in world.results.items.items()}
    assert found["plain"]["type"] == "succeeded"
    assert found["guarded"]["error"]["error"]["message"].startswith("system.0.cache_control.ttl: '1h'")
    assert len(world.claude.calls) == 1
