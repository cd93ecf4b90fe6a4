"""Thinking blocks that come back: who reads them, and what is a 400."""

import base64
from typing import Any

import pytest

from tests.unit.standin.desk import Desk

HAIKU, SONNET, OLD_SONNET = "claude-haiku-5-5", "claude-sonnet-5-5", "claude-sonnet-4-6"
ASK: dict[str, Any] = {"role": "user", "content": "Think [[think]]"}
MORE: dict[str, Any] = {"role": "user", "content": "And then?"}


def body(model: str, *messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": model, "max_tokens": 200, "messages": list(messages), **fields}


def thought_by(desk: Desk, model: str) -> dict[str, Any]:
    """The turn of a model that thinks."""
    content = desk.post(body(model, ASK)).json()["content"]
    assert content[0]["type"] == "thinking"
    return {"role": "assistant", "content": content}


@pytest.mark.parametrize("model", [HAIKU, SONNET])
def test_blocks_of_another_model_are_dropped_unless_the_script_refuses_them(desk: Desk, model: str) -> None:
    turn = thought_by(desk, HAIKU)
    assert desk.post(body(model, ASK, turn, MORE)).status_code == 200
    desk.script(foreign_thinking="refuse")
    if model == HAIKU:
        assert desk.post(body(model, ASK, turn, MORE)).status_code == 200
    else:
        says = "messages.1.content.0: Invalid `signature` in `thinking` block"
        assert desk.refusal(body(model, ASK, turn, MORE))[2] == says


@pytest.mark.parametrize("signature", ["", "bm90IG9mIGhlcmU=", "not base64", 7])
def test_a_changed_signature_is_refused_by_every_model(desk: Desk, signature: object) -> None:
    turn = thought_by(desk, HAIKU)
    turn["content"][0]["signature"] = signature
    assert desk.refusal(body(HAIKU, ASK, turn, MORE))[0] == 400


def test_the_signature_says_that_it_is_simulated(desk: Desk) -> None:
    signature = thought_by(desk, HAIKU)["content"][0]["signature"]
    assert base64.b64decode(signature) == b"simulated:claude-haiku-5-5"


def test_with_manual_thinking_a_turn_that_called_tools_begins_with_a_block(desk: Desk) -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "b"}]}
    manual = {"thinking": {"type": "enabled", "budget_tokens": 1_024}, "max_tokens": 2_000}
    bare = body(OLD_SONNET, ASK, {"role": "assistant", "content": [call]}, result, **manual)
    assert "Expected `thinking` or `redacted_thinking`, but found `tool_use`" in desk.refusal(bare)[2]
    assert desk.post({**bare, "thinking": {"type": "adaptive"}}).status_code == 200
    turn = thought_by(desk, OLD_SONNET)
    turn["content"] = [turn["content"][0], call]
    assert desk.post(body(OLD_SONNET, ASK, turn, result, **manual)).status_code == 200
    ended = body(OLD_SONNET, ASK, {"role": "assistant", "content": "b"}, MORE, **manual)
    assert desk.post(ended).status_code == 200  # no tool call is open
