"""Each rule before the models, through both entrances: what it makes of a request, and its name in the cause."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from tests.integration.meter import Meter

Unique = Callable[[str], str]
LOOK = {"name": "look", "input_schema": {"type": "object", "properties": {"where": {"type": "string"}}}}
CODE = "\n".join(f"    total_{number} = add(total_{number - 1}, rows[{number}])  # keep" for number in range(1, 30))


def body(*contents: Any, **fields: Any) -> dict[str, Any]:
    """A person and Claude in turns, the person first."""
    messages = [{"role": ("user", "assistant")[place % 2], "content": each} for place, each in enumerate(contents)]
    return {"model": "auto", "max_tokens": 64, "messages": messages, **fields}


def after_a_tool(ask: str, result: str) -> dict[str, Any]:
    call = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"where": "here"}}
    answer = {"type": "tool_result", "tool_use_id": "toolu_1", "content": result}
    return body(ask, [call], [answer], tools=[LOOK])


def document(text: str) -> dict[str, Any]:
    return {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}}


def title(ask: str) -> dict[str, Any]:
    text = f"Please write a 5-10 word title for the following conversation:\n\n{ask}\n\n"
    return body(f"{text}Respond with the title for the conversation and nothing else.")


CASES: dict[str, tuple[Callable[[str], dict[str, Any]], str, str, str]] = {
    # rule: body of an ask, label of the ask, label of the request, model
    "follow-up": (lambda ask: body(ask, "Shall I go on?", "yes"), "complex", "complex", "claude-opus-5-5"),
    "housekeeping": (title, "complex", "simple", "claude-haiku-5-5"),
    "extraction": (lambda ask: after_a_tool(ask, "21 degrees"), "moderate", "simple", "claude-haiku-5-5"),
    "planning": (lambda ask: after_a_tool(ask, "row\n" * 1_000), "simple", "moderate", "claude-sonnet-5-5"),
    "huge-context": (
        lambda ask: body(ask, system="word " * 70_000),
        "simple",
        "moderate",
        "claude-sonnet-5-5",
    ),
    "code-heavy": (lambda ask: body(f"{ask}\n\n{CODE}"), "simple", "moderate", "claude-sonnet-5-5"),
    "multi-document": (
        lambda ask: body([document("one"), document("two"), {"type": "text", "text": ask}]),
        "simple",
        "moderate",
        "claude-sonnet-5-5",
    ),
}


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_decides_and_names_itself(http: httpx2.Client, meter: Meter, unique: Unique, rule: str) -> None:
    make, asked, label, model = CASES[rule]
    reply = http.post("/v1/messages", json=make(unique(f"What about it? [[label:{asked}]]")))
    told = {name: reply.headers[f"x-router-{name}"] for name in ("cause", "label", "model")}
    assert told == {"cause": f"rule:{rule}", "label": label, "model": model}
    assert len(meter.calls("classifier")) == (0 if rule == "housekeeping" else 1)


def test_a_follow_up_has_the_label_of_its_conversation_without_another_call(
    http: httpx2.Client, meter: Meter, unique: Unique
) -> None:
    ask = unique("Find the race in this scheduler. [[label:complex]]")
    causes = []
    for turns in ((ask,), (ask, "Go on?", "yes"), (ask, "Go on?", "yes", "Found one. More?", "ok, continue")):
        reply = http.post("/v1/messages", json=body(*turns))
        assert (reply.headers["x-router-label"], reply.headers["x-router-model"]) == ("complex", "claude-opus-5-5")
        causes.append(reply.headers["x-router-cause"])
    assert causes == ["classifier", "rule:follow-up", "rule:follow-up"]
    assert len(meter.calls("classifier")) == 1
