"""What changes in a body on its way to a model, and what never does."""

import json
from typing import Any

import pytest

from cost_router.core.adapting import adapt, without_thinking
from cost_router.core.catalogue import Model
from tests.builders import model

HAIKU, OLD_HAIKU = model("claude-haiku-5-5"), model("claude-haiku-4-5")
SONNET, OLD_SONNET = model("claude-sonnet-5-5"), model("claude-sonnet-4-6")
OPUS, OLD_OPUS = model("claude-opus-5-5"), model("claude-opus-4-5")
OLD_VERSION, NEW_VERSION = "2023-06-01", "2026-10-21"


def changed(to: Model, version: str | None = OLD_VERSION, **fields: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What is left of the fields, and what is said to have changed."""
    body = {"model": "auto", "max_tokens": 9, **fields}
    before = json.dumps(body)
    adapted = adapt(body, to, version)
    assert json.dumps(body) == before  # another model may be asked with it
    assert adapted.body["model"] == to.id
    kept = ("model",) if "max_tokens" in fields else ("model", "max_tokens")
    return {name: value for name, value in adapted.body.items() if name not in kept}, adapted.changes


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
    adapted = adapt(json.loads(body), OLD_HAIKU)
    assert json.dumps(adapted.body, separators=(",", ":")) == expected
    assert adapted.changes == ()


@pytest.mark.parametrize("name", ["claude-haiku-4-5", "claude-haiku-4-5-20251001"])
def test_a_model_named_exactly_gets_the_body_as_it_came(name: str) -> None:
    body = {"model": name, "max_tokens": 10**6, "thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}
    assert adapt(body, OLD_HAIKU, OLD_VERSION).body == body
    assert adapt(body, OLD_HAIKU, OLD_VERSION).changes == ()
    assert adapt(body, HAIKU, OLD_VERSION).changes  # a fallback was not named


@pytest.mark.parametrize(
    ("to", "asked", "sent", "change"),
    [
        (HAIKU, {"type": "disabled"}, {"type": "disabled"}, None),
        (SONNET, {"type": "disabled"}, {"type": "between_tools"}, "thinking=between_tools"),
        (OPUS, {"type": "disabled"}, None, "thinking=dropped"),
        (HAIKU, {"type": "between_tools"}, {"type": "disabled"}, "thinking=disabled"),
        (SONNET, {"type": "between_tools"}, {"type": "between_tools"}, None),
        (OPUS, {"type": "between_tools"}, None, "thinking=dropped"),
        (OLD_HAIKU, {"type": "between_tools"}, {"type": "disabled"}, "thinking=disabled"),
        (
            OPUS,
            {"type": "enabled", "budget_tokens": 2048, "display": "omitted"},
            {"type": "adaptive", "display": "omitted"},
            "thinking=adaptive",
        ),
        (SONNET, {"type": "enabled", "budget_tokens": 2048}, {"type": "adaptive"}, "thinking=adaptive"),
        (
            OLD_SONNET,
            {"type": "enabled", "budget_tokens": 2048},
            {"type": "enabled", "budget_tokens": 2048},
            None,
        ),
        (OLD_HAIKU, {"type": "adaptive", "display": "omitted"}, None, "thinking=dropped"),
        (OLD_SONNET, {"type": "adaptive"}, {"type": "adaptive"}, None),
        (OPUS, {"type": "someday"}, {"type": "someday"}, None),
        (OPUS, {"budget_tokens": 1}, {"budget_tokens": 1}, None),
        (OPUS, {"type": ["enabled"]}, {"type": ["enabled"]}, None),
    ],
)
def test_thinking_is_brought_to_the_nearest_that_a_model_takes(
    to: Model, asked: dict[str, Any], sent: dict[str, Any] | None, change: str | None
) -> None:
    left, changes = changed(to, thinking=asked)
    assert left.get("thinking") == sent
    assert changes == ((change,) if change else ())


@pytest.mark.parametrize(
    ("to", "effort", "sent"),
    [
        (HAIKU, "max", "max"),
        (OLD_SONNET, "xhigh", "high"),
        (OLD_SONNET, "max", "max"),
        (OLD_OPUS, "max", "high"),
        (OLD_OPUS, "high", "high"),
        (OLD_HAIKU, "low", None),
        (OLD_HAIKU, "enormous", "enormous"),
    ],
)
def test_an_effort_that_a_model_has_not_becomes_the_next_lower_one(to: Model, effort: str, sent: str | None) -> None:
    schema = {"type": "json_schema", "schema": {}}
    left, changes = changed(to, output_config={"effort": effort, "format": schema})
    assert left["output_config"] == ({"effort": sent, "format": schema} if sent else {"format": schema})
    assert changes == (() if sent == effort else (f"effort={sent or 'dropped'}",))


def test_a_configuration_of_nothing_is_left_out() -> None:
    assert changed(OLD_HAIKU, output_config={"effort": "low"}) == ({}, ("effort=dropped",))


@pytest.mark.parametrize(
    ("to", "kind", "effort", "sent"),
    [
        (HAIKU, "disabled", "high", "high"),
        (HAIKU, "disabled", "xhigh", "high"),
        (HAIKU, "adaptive", "xhigh", "xhigh"),
        (SONNET, "disabled", "max", "high"),  # it becomes `between_tools`, which has the same limit
        (OPUS, "disabled", "max", "max"),  # it is left out
        (model("claude-sonnet-5"), "disabled", "max", "max"),
    ],
)
def test_without_thinking_the_effort_gives_way(to: Model, kind: str, effort: str, sent: str) -> None:
    left, changes = changed(to, thinking={"type": kind}, output_config={"effort": effort})
    assert left["output_config"] == {"effort": sent}
    assert (f"effort={sent}" in changes) is (sent != effort)


@pytest.mark.parametrize(("asked", "sent"), [(64_000, 64_000), (64_001, 64_000), (128_000, 64_000)])
def test_max_tokens_is_the_output_limit_at_the_most(asked: int, sent: int) -> None:
    left, changes = changed(OLD_HAIKU, max_tokens=asked)
    assert left["max_tokens"] == sent
    assert changes == (() if sent == asked else ("max_tokens=64000",))


@pytest.mark.parametrize(
    ("to", "version", "goes"),
    [
        (OPUS, OLD_VERSION, False),
        (OLD_SONNET, OLD_VERSION, True),
        (OPUS, NEW_VERSION, True),  # no model takes it: Claude says so
        (OPUS, None, False),  # of a job
        (OLD_SONNET, None, False),
    ],
)
def test_sampling_fields_go_to_models_that_have_them(to: Model, version: str | None, goes: bool) -> None:  # noqa: FBT001  a column
    left, changes = changed(to, version, temperature=0.2, top_k=5)
    assert left == ({"temperature": 0.2, "top_k": 5} if goes else {})
    assert changes == (() if goes else ("temperature=dropped", "top_k=dropped"))


@pytest.mark.parametrize(("budget", "sent"), [(63_999, 63_999), (64_000, 32_000), (80_000, 32_000)])
def test_a_thinking_budget_stays_below_a_lowered_max_tokens(budget: int, sent: int) -> None:
    left, changes = changed(OLD_HAIKU, max_tokens=100_000, thinking={"type": "enabled", "budget_tokens": budget})
    assert left["thinking"] == {"type": "enabled", "budget_tokens": sent}
    assert changes == (("max_tokens=64000",) if sent == budget else ("max_tokens=64000", f"budget_tokens={sent}"))


CLEAR, USES = {"type": "clear_thinking_20251015"}, {"type": "clear_tool_uses_20250919"}


@pytest.mark.parametrize(
    ("to", "kind", "edits", "sent"),
    [
        (OLD_HAIKU, "adaptive", [CLEAR], None),
        (OLD_HAIKU, "adaptive", [CLEAR, USES], {"edits": [USES]}),
        (HAIKU, "between_tools", [CLEAR], None),  # it becomes `disabled`
        (OPUS, "enabled", [CLEAR], {"edits": [CLEAR]}),  # it becomes `adaptive`
        (HAIKU, "disabled", [CLEAR], {"edits": [CLEAR]}),  # nothing was changed: Claude says what it thinks of it
        (OLD_HAIKU, "adaptive", [USES], {"edits": [USES]}),
    ],
)
def test_edits_that_clear_thinking_go_with_it(
    to: Model, kind: str, edits: list[Any], sent: dict[str, Any] | None
) -> None:
    left, changes = changed(to, thinking={"type": kind}, context_management={"edits": edits})
    assert left.get("context_management") == sent
    assert ("clear_thinking=dropped" in changes) is (sent != {"edits": edits})


def thought(kind: str = "thinking") -> dict[str, str]:
    return {"type": kind, "signature": "c2lnbmVk", "thinking" if kind == "thinking" else "data": "hm"}


TEXT = {"type": "text", "text": "Well.", "cache_control": {"type": "ephemeral"}}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "a", "input": {}}


def test_all_thinking_blocks_go_and_everything_else_stays() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": [thought(), TEXT, thought("redacted_thinking"), CALL]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "b"}]},
        {"role": "assistant", "content": [thought()]},
        {"role": "user", "content": "c"},
    ]
    body = {"model": "auto", "messages": messages, "thinking": {"type": "adaptive"}, "x": 1}
    plain = without_thinking(body)
    assert plain is not None
    assert plain.body == {**body, "messages": [messages[0], {**messages[1], "content": [TEXT, CALL]}, *messages[2::2]]}
    assert plain.changes == ("messages.thinking=dropped",)


def test_manual_thinking_goes_with_the_blocks_that_it_needs() -> None:
    messages = [{"role": "assistant", "content": [thought(), CALL]}, {"role": "user", "content": "c"}]
    plain = without_thinking({"messages": messages, "thinking": {"type": "enabled", "budget_tokens": 1024}})
    assert plain is not None
    assert "thinking" not in plain.body
    assert plain.changes == ("messages.thinking=dropped", "thinking=dropped")


def test_types_that_are_no_words_are_for_claude_to_refuse() -> None:
    odd = {"type": ["disabled"]}
    left, changes = changed(OLD_HAIKU, thinking=odd, output_config={"effort": "low"})
    assert (left["thinking"], changes) == (odd, ("effort=dropped",))
    assert without_thinking({"messages": [{"role": "assistant", "content": [{"type": ["thinking"]}]}]}) is None


@pytest.mark.parametrize("content", ["thinking", [TEXT, CALL], []])
def test_a_conversation_without_thinking_blocks_has_nothing_to_leave_out(content: object) -> None:
    assert without_thinking({"messages": [{"role": "assistant", "content": content}]}) is None
