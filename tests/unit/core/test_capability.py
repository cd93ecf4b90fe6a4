"""What a model cannot take, what changes the bill, and what a body looks like on its way."""

import dataclasses
from typing import Any

import pytest

from cost_router.core.ask import read_ask
from cost_router.core.capability import check_billing_fields, unable
from cost_router.core.errors import InvalidRequest
from tests.builders import message_body, model

HAIKU = model("claude-haiku-4-5")
BLIND = dataclasses.replace(HAIKU, id="blind", images=False, pdf=False)


def content(kind: str) -> list[dict[str, Any]]:
    return [{"type": kind, "source": {"type": "base64", "data": "aGk="}}, {"type": "text", "text": "What is this?"}]


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"text": "x" * 800_000}, None),
        ({"text": "x" * 800_004}, "context-window"),
    ],
)
def test_limits_of_a_model(changes: dict[str, str], rule: str | None) -> None:
    ask = read_ask(message_body(**changes))
    assert unable([HAIKU], ask).get(HAIKU.id) == rule


@pytest.mark.parametrize(("choice", "forces"), [("any", True), ("tool", True), ("auto", False), ("none", False)])
def test_a_forced_tool_choice_needs_a_model_that_takes_it(choice: str, forces: bool) -> None:  # noqa: FBT001  a column
    ask = read_ask(message_body(tool_choice={"type": choice, "name": "a"}))
    models = [model(name) for name in ("claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5", "claude-opus-5")]
    refusing = {"claude-sonnet-5-5": "forced-tool-choice", "claude-opus-5-5": "forced-tool-choice"}
    assert unable(models, ask) == (refusing if forces else {})


def test_what_a_model_named_exactly_does_not_take_is_for_claude_to_say_unless_it_has_no_price() -> None:
    sonnet = model("claude-sonnet-5-5")
    forced = read_ask(message_body(tool_choice={"type": "any"}))
    assert unable([sonnet], forced, sonnet) == {}
    assert unable([sonnet], forced, HAIKU) == {"claude-sonnet-5-5": "forced-tool-choice"}
    assert unable([HAIKU], read_ask(message_body("x" * 800_004)), HAIKU) == {}
    assert unable([sonnet], read_ask(message_body(speed="fast")), sonnet) == {"claude-sonnet-5-5": "speed"}


@pytest.mark.parametrize(("kind", "rule"), [("image", "images"), ("document", "documents")])
def test_a_model_that_cannot_see_is_unable(kind: str, rule: str) -> None:
    inside = [{"type": "tool_result", "content": content(kind)}]
    for blocks in (content(kind), inside):
        ask = read_ask({"messages": [{"role": "user", "content": blocks}]})
        assert unable([HAIKU, BLIND], ask) == {"blind": rule}


@pytest.mark.parametrize(
    ("field", "value", "fine"),
    [
        ("speed", "standard", True),
        ("speed", "fast", True),
        ("speed", "turbo", False),
        ("speed", 1, False),
        ("speed", None, True),
        ("inference_geo", "us", True),
        ("inference_geo", "global", True),
        ("inference_geo", "eu", False),
        ("inference_geo", ["us"], False),
        ("container", {"skills": []}, False),
        ("mcp_servers", [{"type": "url", "url": "https://example.com", "name": "x"}], False),
        ("billing_policy", {"type": "x"}, False),
        ("compaction", {"type": "auto"}, False),
        ("fallbacks", "default", False),
        ("fallbacks", [{"model": "claude-opus-5-5"}], False),
        ("fallback_credit_token", "t", False),
        ("context_management", {"edits": [{"type": "clear_tool_uses_20250919"}]}, True),
        ("context_management", {"edits": [{"type": "clear_thinking_20251015"}, {"type": "compact_20260112"}]}, False),
        ("context_management", {"edits": 5}, True),
        ("context_management", [1], True),
        ("tools", [{"name": "a", "input_schema": {}}], True),
        ("tools", [{"type": "custom", "name": "a"}], True),
        ("tools", [{"type": None, "name": "a"}], True),
        ("tools", [{"type": "bash_20250124", "name": "bash"}], True),
        ("tools", [{"type": "web_search_20250305", "name": "web_search"}], False),
        ("tools", [{"type": "web_search_20250305", "name": "web_search", "max_uses": 0}], False),
        ("tools", [{"type": "web_search_20250305", "name": "web_search", "max_uses": True}], False),
        ("tools", [{"type": "web_search_20250305", "name": "web_search", "max_uses": 1}], True),
        ("tools", [{"type": "web_search_20260209", "name": "web_search", "max_uses": 1}], True),
        ("tools", [{"type": "web_search_20270101", "name": "web_search", "max_uses": 1}], False),
        ("tools", [{"type": "code_execution_20260120", "name": "code_execution"}], False),
        ("tools", [{"type": "web_fetch_20260209", "name": "web_fetch", "max_uses": 1}], False),
        ("tools", [{"type": ["bash_"], "name": "a"}], False),
    ],
)
def test_fields_that_change_the_bill_are_refused_by_name(field: str, value: object, fine: bool) -> None:  # noqa: FBT001
    if fine:
        check_billing_fields({field: value})
        return
    with pytest.raises(InvalidRequest, match=rf"^{field}"):
        check_billing_fields({field: value})


def test_a_search_without_a_limit_is_refused_with_what_is_accepted() -> None:
    tools = [{"name": "a"}, {"type": "web_search_20250305", "name": "web_search"}]
    says = r"^tools\.1\.max_uses: None; accepted: a whole number of at least 1"
    with pytest.raises(InvalidRequest, match=says):
        check_billing_fields({"tools": tools})


@pytest.mark.parametrize(
    ("fields", "able"),
    [
        ({}, {"claude-haiku-4-5", "claude-sonnet-5-5", "claude-opus-5-5", "claude-opus-4-7"}),
        ({"speed": "standard"}, {"claude-haiku-4-5", "claude-sonnet-5-5", "claude-opus-5-5", "claude-opus-4-7"}),
        ({"speed": "fast"}, {"claude-opus-5-5"}),
        ({"inference_geo": "us"}, {"claude-sonnet-5-5", "claude-opus-5-5", "claude-opus-4-7"}),
        ({"inference_geo": "global"}, {"claude-sonnet-5-5", "claude-opus-5-5", "claude-opus-4-7"}),
    ],
)
def test_speed_and_geography_are_served_where_they_have_a_price(fields: dict[str, str], able: set[str]) -> None:
    models = [model(name) for name in ("claude-haiku-4-5", "claude-sonnet-5-5", "claude-opus-5-5", "claude-opus-4-7")]
    unfit = unable(models, read_ask(message_body(**fields)))
    assert {found.id for found in models} - unfit.keys() == able
    assert set(unfit.values()) <= {"speed", "inference-geo"}
