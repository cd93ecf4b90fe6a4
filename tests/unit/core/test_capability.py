"""What a model cannot take, what changes the bill, and what a body looks like on its way."""

import dataclasses
import json
from typing import Any

import pytest

from cost_router.core.ask import read_ask
from cost_router.core.capability import adapt, check_billing_fields, unable
from cost_router.core.errors import InvalidRequest
from tests.builders import message_body, model

HAIKU = model("claude-haiku-4-5")
BLIND = dataclasses.replace(HAIKU, id="blind", images=False, pdf=False)


def content(kind: str) -> list[dict[str, Any]]:
    return [{"type": kind, "source": {"type": "base64", "data": "aGk="}}, {"type": "text", "text": "What is this?"}]


@pytest.mark.parametrize(
    ("changes", "max_tokens", "rule"),
    [
        ({"text": "x" * 800_000}, 1, None),
        ({"text": "x" * 800_004}, 1, "context-window"),
        ({}, 64_000, None),
        ({}, 64_001, "output-limit"),
    ],
)
def test_limits_of_a_model(changes: dict[str, str], max_tokens: int, rule: str | None) -> None:
    ask = read_ask(message_body(**changes))
    assert unable([HAIKU], ask, max_tokens).get(HAIKU.id) == rule


@pytest.mark.parametrize(("kind", "rule"), [("image", "images"), ("document", "documents")])
def test_a_model_that_cannot_see_is_unable(kind: str, rule: str) -> None:
    inside = [{"type": "tool_result", "content": content(kind)}]
    for blocks in (content(kind), inside):
        ask = read_ask({"messages": [{"role": "user", "content": blocks}]})
        assert unable([HAIKU, BLIND], ask, 1) == {"blind": rule}


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
    unfit = unable(models, read_ask(message_body(**fields)), 1)
    assert {found.id for found in models} - unfit.keys() == able
    assert set(unfit.values()) <= {"speed", "inference-geo"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            '{"max_tokens":1,"model":"auto","x":[1.0,null]}',
            '{"max_tokens":1,"model":"claude-haiku-4-5","x":[1.0,null]}',
        ),
        ('{"max_tokens":1,"x":{}}', '{"model":"claude-haiku-4-5","max_tokens":1,"x":{}}'),
        (
            '{"model":"auto","thinking":{"type":"disabled"}}',
            '{"model":"claude-haiku-4-5","thinking":{"type":"disabled"}}',
        ),
    ],
)
def test_only_the_model_changes_and_the_order_stays(body: str, expected: str) -> None:
    assert json.dumps(adapt(json.loads(body), HAIKU), separators=(",", ":")) == expected


def test_disabled_thinking_is_dropped_where_it_is_always_on() -> None:
    body = {"model": "auto", "thinking": {"type": "disabled"}}
    assert adapt(body, model("claude-opus-5-5")) == {"model": "claude-opus-5-5"}
    assert adapt(body, model("claude-haiku-5-5"))["thinking"] == {"type": "disabled"}
    assert body == {"model": "auto", "thinking": {"type": "disabled"}}


def test_enabled_thinking_stays() -> None:
    body = {"model": "auto", "thinking": {"type": "adaptive"}}
    assert adapt(body, model("claude-opus-5-5"))["thinking"] == {"type": "adaptive"}
