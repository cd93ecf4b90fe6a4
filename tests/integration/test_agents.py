"""Conversations over many requests, through both entrances: agents' steps, and models that change on the way."""

from collections.abc import Callable
from typing import Any

import anthropic
import pytest

from tests.integration.meter import Meter

Unique = Callable[[str], str]
HAIKU, SONNET, OPUS = "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"
LOOK = {
    "name": "look",
    "input_schema": {
        "type": "object",
        "properties": {"where": {"type": "string"}},
        "required": ["where"],
        "additionalProperties": False,
    },
}


def send(client: anthropic.Anthropic, messages: list[dict[str, Any]], *, stream: bool, **fields: Any) -> Any:
    """One turn; the message, and its headers."""
    body: dict[str, Any] = {"model": "auto", "max_tokens": 300, "messages": messages, **fields}
    if stream:
        with client.messages.with_streaming_response.create(**body, stream=True) as raw:
            headers = raw.headers
            return _whole(raw.parse()), headers
    raw = client.messages.with_raw_response.create(**body)
    return raw.parse().model_dump(mode="json", exclude_none=True)["content"], raw.headers


def _whole(events: Any) -> list[dict[str, Any]]:
    """The content blocks of a stream, put together from their deltas."""
    blocks: list[dict[str, Any]] = []
    for event in events:
        if event.type == "content_block_start":
            blocks.append(event.content_block.model_dump(mode="json", exclude_none=True))
        elif event.type == "content_block_delta":
            kind, delta = event.delta.type, event.delta
            if kind in ("text_delta", "thinking_delta", "signature_delta"):
                name = kind.removesuffix("_delta")
                blocks[-1][name] = blocks[-1].get(name, "") + getattr(delta, name)
    return blocks


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("refused", [False, True], ids=["dropped", "refused"])
def test_a_conversation_whose_thinking_is_another_models_goes_on_in_both_directions(
    client: anthropic.Anthropic, meter: Meter, unique: Unique, *, stream: bool, refused: bool
) -> None:
    """Claude drops blocks that a model cannot read; some were reported to refuse them. Neither ends a session."""
    if refused:
        meter.script(foreign_thinking="refuse")
    messages: list[dict[str, Any]] = []
    for label, model in (("simple", HAIKU), ("complex", OPUS), ("simple", HAIKU), ("moderate", SONNET)):
        messages.append({"role": "user", "content": unique(f"And then? [[think]] [[label:{label}]]")})
        content, headers = send(client, messages, stream=stream, thinking={"type": "adaptive"})
        assert headers["x-router-model"] == model
        foreign = refused and len(messages) > 1
        assert headers.get("x-router-adapted") == ("messages.thinking=dropped" if foreign else None)
        assert [block["type"] for block in content] == ["thinking", "text"]
        messages.append({"role": "assistant", "content": content})
    assert len(meter.calls("answer")) == 4  # refusals are not billed, and nothing else is asked for


def test_each_step_of_an_agent_has_its_own_tier_and_only_the_ask_is_classified(
    client: anthropic.Anthropic, meter: Meter, unique: Unique
) -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "content": unique("Find it [[tool]] [[label:moderate]]")}]
    seen = []
    for result in ("21 degrees", "x" * 3_000, None):
        content, headers = send(client, messages, stream=False, tools=[LOOK])
        seen.append((headers["x-router-model"], headers["x-router-cause"], headers["x-router-label"]))
        call = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"where": "here"}}
        used = next((block for block in content if block["type"] == "tool_use"), call)
        answer = {"type": "tool_result", "tool_use_id": used["id"], "content": result or ""}
        messages += [{"role": "assistant", "content": [used]}, {"role": "user", "content": [answer]}]
    assert seen == [
        (SONNET, "classifier", "moderate"),
        (HAIKU, "rule:extraction", "simple"),
        (SONNET, "cache", "moderate"),
    ]
    assert len(meter.calls("classifier")) == 1


def test_a_turn_that_claude_paused_goes_on(client: anthropic.Anthropic, meter: Meter, unique: Unique) -> None:
    use = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": unique("Look it up")},
        {"role": "assistant", "content": [use]},
    ]
    content, _ = send(client, messages, stream=False)
    assert content[0]["type"] == "text"


def test_a_forced_tool_is_called_whatever_the_label(client: anthropic.Anthropic, meter: Meter, unique: Unique) -> None:
    """Sonnet and opus of this lineup refuse a forced tool choice: the request runs where it is taken."""
    messages = [{"role": "user", "content": unique("Weigh it [[label:complex]]")}]
    content, headers = send(client, messages, stream=False, tools=[LOOK], tool_choice={"type": "any"})
    assert (headers["x-router-model"], headers["x-router-cause"]) == (HAIKU, "rule:forced-tool-choice")
    assert [block["type"] for block in content] == ["tool_use"]


@pytest.mark.parametrize(
    ("label", "asked", "sent", "adapted"),
    [
        ("simple", {"type": "disabled"}, {"type": "disabled"}, None),
        ("moderate", {"type": "disabled"}, {"type": "between_tools"}, "thinking=between_tools"),
        ("complex", {"type": "disabled"}, None, "thinking=dropped"),
        ("complex", {"type": "enabled", "budget_tokens": 1_024}, {"type": "adaptive"}, "thinking=adaptive"),
    ],
)
def test_thinking_that_the_chosen_model_would_refuse_is_brought_to_what_it_takes(
    client: anthropic.Anthropic,
    meter: Meter,
    unique: Unique,
    label: str,
    asked: dict[str, Any],
    sent: dict[str, Any] | None,
    adapted: str | None,
) -> None:
    messages = [{"role": "user", "content": unique(f"Well? [[label:{label}]]")}]
    _, headers = send(client, messages, stream=False, thinking=asked, max_tokens=2_000)
    assert headers.get("x-router-adapted") == adapted
    assert meter.requests()[-1]["body"].get("thinking") == sent
