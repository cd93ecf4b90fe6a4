"""A cheap answer first, as a caller over HTTP sees it."""

import dataclasses
from typing import Any

import pytest

from cost_router.core.pricing import Usage
from tests.builders import World, limited, message_body, reply, streamed_steps, tenant
from tests.unit.handlers.client import error_of, post

HAIKU, SONNET, OPUS = "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"
ON = {"x-router-cascade": "on"}
BOTH = frozenset({"cascade", "speculate"})
EMPTY = reply(HAIKU, "", Usage(input_tokens=100, output_tokens=10))


def test_the_headers_tell_that_the_first_answer_was_kept() -> None:
    world = World()
    response = post(world, message_body(), headers=ON)
    told = {name: response.headers.get(f"x-router-{name}") for name in ("model", "cause", "cascade", "label")}
    assert told == {"model": HAIKU, "cause": "cascade", "cascade": "kept", "label": None}
    # Haiku's answer 0.000015, the verifier 0.000044.
    assert response.headers["x-router-cost-usd"] == "0.000059"
    assert response.headers["x-router-classifier-cost-usd"] == "0"
    assert response.headers["x-router-baseline-usd"] == "0.0006"


def test_the_headers_tell_why_it_was_not_and_count_every_call() -> None:
    world = World(label="complex", script=[EMPTY])
    response = post(world, message_body(), headers=ON)
    told = {name: response.headers.get(f"x-router-{name}") for name in ("model", "cause", "cascade", "label")}
    assert told == {"model": OPUS, "cause": "cascade:non-empty", "cascade": "non-empty", "label": "complex"}
    # Haiku's answer 0.000015, the classifier 0.000044, opus 0.0006; the baseline is one answer's.
    assert response.headers["x-router-cost-usd"] == "0.000659"
    assert response.headers["x-router-baseline-usd"] == "0.0006"
    (record,) = world.telemetry.records
    assert (record.cascade, record.escalated, record.status) == ("non-empty", True, 200)


def test_an_answer_that_fails_and_has_no_other_is_given_and_named() -> None:
    response = post(World(script=[EMPTY, limited(), limited(), limited()]), message_body(), headers=ON)
    assert response.status_code == 200
    told = [response.headers[f"x-router-{name}"] for name in ("model", "cause", "cascade")]
    assert told == [HAIKU, "cascade", "non-empty"]


@pytest.mark.parametrize("hint", [{"headers": {"x-router-cascade": "json"}}, {"router": {"cascade": "json"}}])
def test_a_check_by_name_is_the_only_one(hint: dict[str, Any]) -> None:
    world = World(label="simple")
    body = message_body(**({"router": hint["router"]} if "router" in hint else {}))
    response = post(world, body, headers=hint.get("headers"))
    assert response.headers["x-router-cause"] == "cascade:json", "'the answer' is no JSON"
    assert world.claude.verifier_calls == []
    assert "router" not in world.claude.answer_calls[0].body


@pytest.mark.parametrize("value", ["yes", "", "json,", "non-empty;json", ["json"], 1, None, {}])
def test_a_wrong_hint_is_refused_with_what_is_accepted(value: Any) -> None:
    world = World()
    response = post(world, message_body(router={"cascade": value}))
    assert response.status_code == 400
    assert "non-empty, no-refusal, json, verifier" in error_of(response)["message"]
    assert world.claude.calls == []


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/route"])
def test_a_streamed_answer_that_is_to_be_checked_is_refused_unpaid(path: str) -> None:
    world = World()
    response = post(world, message_body(stream=True), path, headers=ON)
    assert response.status_code == 400
    assert "x-router-cascade: the answer is to be streamed" in error_of(response)["message"]
    assert world.claude.calls == []


@pytest.mark.parametrize(("owner", "headers"), [(tenant(options=BOTH), {}), (tenant(), {"x-router-cascade": "off"})])
def test_a_stream_goes_its_usual_way_where_only_the_policy_asks_or_nobody(owner: Any, headers: dict[str, str]) -> None:
    world = World(owner, label="moderate", script=[streamed_steps(), streamed_steps()])
    response = post(world, message_body(stream=True), headers=headers)
    assert (response.status_code, response.headers["x-router-cause"]) == (200, "classifier")
    assert response.headers["x-router-model"] == SONNET


def test_a_policy_holds_for_requests_that_say_nothing_and_the_caller_has_the_last_word() -> None:
    owner = tenant(options=BOTH)
    assert post(World(owner), message_body()).headers["x-router-cause"] == "cascade"
    off = post(World(owner, label="moderate"), message_body(), headers={"x-router-cascade": "off"})
    assert off.headers["x-router-cause"] == "classifier"


def test_a_count_and_a_dry_run_make_no_first_answer() -> None:
    world = World()
    assert post(world, message_body(), "/v1/messages/count_tokens", headers=ON).status_code == 200
    route = post(world, message_body(), "/v1/route", headers=ON).json()
    assert (route["model"], route["cause"], route["label"]) == (HAIKU, "cascade", None)
    assert world.claude.calls == []


def test_a_conversation_that_is_cheaper_where_it_is_warm_begins_there() -> None:
    world, short = World(label="moderate"), Usage(cache_creation_5m_input_tokens=60_000, output_tokens=10)
    system = [{"type": "text", "text": "You are a clerk.", "cache_control": {"type": "ephemeral"}}]
    turns = [{"role": "user", "content": "Draft the contract"}]
    world.claude.script.extend([short, dataclasses.replace(short, cache_creation_5m_input_tokens=60_010)])
    first = post(world, message_body(system=system, messages=turns))
    assert first.headers["x-router-model"] == SONNET
    turns += [{"role": "assistant", "content": "Done."}, {"role": "user", "content": "Now clause 2"}]
    second = post(world, message_body(system=system, messages=turns), headers=ON)
    assert [second.headers[f"x-router-{name}"] for name in ("model", "cause")] == [SONNET, "cascade"]
