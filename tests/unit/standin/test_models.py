"""What each model refuses."""

from typing import Any

import pytest

from tests.unit.standin.desk import Desk

INVALID = "invalid_request_error"
Json = dict[str, Any]


def test_an_unknown_model_is_a_404(desk: Desk, ask: Json) -> None:
    assert desk.refusal(ask | {"model": "gpt-9"}) == (404, "not_found_error", "model: gpt-9")


def test_dated_aliases_resolve(desk: Desk, ask: Json) -> None:
    assert desk.post(ask | {"model": "claude-haiku-5-5-20261007"}).json()["model"] == "claude-haiku-5-5"
    assert desk.client.get("/v1/models/claude-haiku-4-5-20251001", headers={"x-api-key": "k"}).status_code == 400


def test_models_are_listed_and_shown(desk: Desk) -> None:
    headers = {"x-api-key": "k", "anthropic-version": "2026-10-21"}
    listed = desk.client.get("/v1/models", headers=headers).json()
    assert listed["data"][0]["id"] == "claude-haiku-5-5"
    assert listed["has_more"] is False
    shown = desk.client.get("/v1/models/claude-opus-4-8", headers=headers).json()
    assert (shown["max_input_tokens"], shown["max_tokens"]) == (1_000_000, 128_000)
    assert desk.client.get("/v1/models/x", headers=headers).status_code == 404
    assert desk.client.get("/v1/models").status_code == 401


@pytest.mark.parametrize(
    ("model", "refused"),
    [("claude-haiku-4-5", False), ("claude-sonnet-4-6", False), ("claude-opus-4-8", True), ("claude-haiku-5-5", True)],
)
def test_the_old_version_takes_temperature_on_older_models_only(
    desk: Desk, ask: Json, model: str, *, refused: bool
) -> None:
    answer = desk.post(ask | {"model": model, "temperature": 0.5}, anthropic_version="2023-06-01")
    assert answer.status_code == (400 if refused else 200)


@pytest.mark.parametrize(
    ("model", "limit"), [("claude-haiku-4-5", 64_000), ("claude-haiku-5-5", 128_000), ("claude-sonnet-4-6", 128_000)]
)
def test_max_tokens_ends_at_the_models_limit(desk: Desk, ask: Json, model: str, limit: int) -> None:
    assert desk.post(ask | {"model": model, "max_tokens": limit}).status_code == 200
    assert desk.refusal(ask | {"model": model, "max_tokens": limit + 1})[2] == (
        f"max_tokens: {limit + 1} > {limit}, which is the maximum allowed number of output tokens for {model}"
    )


@pytest.mark.parametrize(
    ("model", "refused"),
    [("claude-haiku-4-5", False), ("claude-haiku-5-5", True), ("claude-sonnet-4-6", True), ("claude-opus-5-5", True)],
)
def test_prefill_is_refused_on_newer_models(desk: Desk, ask: Json, model: str, *, refused: bool) -> None:
    ask["messages"].append({"role": "assistant", "content": "{"})
    answer = desk.post(ask | {"model": model})
    assert answer.status_code == (400 if refused else 200)
    if refused:
        assert answer.json()["error"]["message"] == (
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )


@pytest.mark.parametrize(
    ("model", "kind", "status"),
    [
        ("claude-opus-5-5", "disabled", 400),
        ("claude-opus-5-5", "adaptive", 200),
        ("claude-sonnet-5-5", "disabled", 400),
        ("claude-sonnet-5-5", "between_tools", 200),
        ("claude-haiku-5-5", "disabled", 200),
        ("claude-haiku-4-5", "disabled", 200),
        ("claude-haiku-4-5", "adaptive", 400),
    ],
)
def test_each_model_takes_its_own_kinds_of_thinking(desk: Desk, ask: Json, model: str, kind: str, status: int) -> None:
    assert desk.post(ask | {"model": model, "thinking": {"type": kind}}).status_code == status


def test_thinking_cannot_be_disabled_at_the_highest_efforts(desk: Desk, ask: Json) -> None:
    ask |= {"thinking": {"type": "disabled"}}
    assert desk.post(ask | {"output_config": {"effort": "high"}}).status_code == 200
    assert desk.post(ask | {"output_config": {"effort": "xhigh"}}).status_code == 400


def test_a_system_role_inside_messages_is_accepted_unless_the_script_refuses_it(desk: Desk, ask: Json) -> None:
    ask["messages"].append({"role": "system", "content": "be brief"})
    assert desk.post(ask).status_code == 200
    desk.script(system_role="refuse")
    assert desk.refusal(ask) == (
        400,
        INVALID,
        (
            'messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter, not "system" '
            "as an input message role."
        ),
    )
    desk.script(system_role="as_api")
    assert desk.post(ask).status_code == 200
    assert desk.post(ask | {"model": "claude-haiku-4-5"}).status_code == 400


def test_forced_tool_use_is_refused_by_the_models_that_do_unless_the_script_accepts_it(desk: Desk, ask: Json) -> None:
    tools = [{"name": "t", "input_schema": {"type": "object", "properties": {}}}]
    ask |= {"model": "claude-sonnet-5-5", "tools": tools, "tool_choice": {"type": "any"}}
    assert desk.refusal(ask)[2] == 'tool_choice: type "tool" and "any" are not supported for this model.'
    assert desk.post(ask | {"model": "claude-haiku-5-5"}).status_code == 200
    desk.script(forced_tool_use="accept")
    assert desk.post(ask).status_code == 200


@pytest.mark.parametrize(
    ("model", "effort", "refused"),
    [
        ("claude-haiku-5-5", "max", None),
        ("claude-sonnet-4-6", "max", None),
        ("claude-sonnet-4-6", "xhigh", '"output_config.effort.xhigh" is not supported for this model.'),
        ("claude-opus-4-5", "high", None),
        ("claude-opus-4-5", "max", '"output_config.effort.max" is not supported for this model.'),
        ("claude-haiku-4-5", "low", "This model does not support the effort parameter."),
    ],
)
def test_an_effort_that_a_model_has_not_is_refused(
    desk: Desk, ask: Json, model: str, effort: str, refused: str | None
) -> None:
    ask |= {"model": model, "output_config": {"effort": effort}}
    if refused:
        assert desk.refusal(ask) == (400, INVALID, refused)
    else:
        assert desk.post(ask).status_code == 200


def test_a_turn_that_was_paused_in_a_server_tool_may_go_on(desk: Desk, ask: Json) -> None:
    use = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
    ask["messages"] += [{"role": "assistant", "content": [{"type": "text", "text": "Looking"}, use]}]
    assert desk.post(ask).status_code == 200
    ask["messages"][-1]["content"] = [{"type": "text", "text": "Looking"}]
    assert desk.refusal(ask)[2].startswith("This model does not support assistant message prefill")


def test_a_prompt_over_the_context_window_is_refused(desk: Desk, ask: Json) -> None:
    ask |= {"model": "claude-haiku-4-5"}
    fits = "x" * (4 * (200_000 - 6))  # 3 tokens for the message and 3 for the answer's turn
    assert desk.post(ask | {"messages": [{"role": "user", "content": fits}]}).status_code == 200
    assert desk.refusal(ask | {"messages": [{"role": "user", "content": fits + "x"}]}) == (
        400,
        INVALID,
        "prompt is too long: 200001 tokens > 200000 maximum",
    )
