"""The label of a step: that of its human ask, and what tools have answered since."""

from typing import Any

import pytest

from cost_router.core import rules, steps
from cost_router.core.ask import read_ask
from cost_router.core.words import Label

SIMPLE, MODERATE, COMPLEX = Label.SIMPLE, Label.MODERATE, Label.COMPLEX


def after(*results: str, system: str = "", failed: bool = False, ask: str = "What is it?") -> dict[str, Any]:
    """A conversation in which tools have answered so, one round each."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": ask}]
    for number, result in enumerate(results):
        call = {"type": "tool_use", "id": f"toolu_{number}", "name": "look", "input": {}}
        answer = {"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": result, "is_error": failed}
        messages += [{"role": "assistant", "content": [call]}, {"role": "user", "content": [answer]}]
    return {"messages": messages, "system": system}


def step(body: dict[str, Any], asked: Label) -> tuple[Label, str | None]:
    """The label of the step that ends a conversation whose ask has this one."""
    return rules.raised(read_ask(body), 10, asked, frozenset())


@pytest.mark.parametrize("label", list(Label))
def test_a_human_turn_has_the_label_of_its_ask(label: Label) -> None:
    assert step(after(), label) == (label, None)
    new_ask = after("x" * 9_999)
    new_ask["messages"].append({"role": "user", "content": "And now?"})
    assert step(new_ask, label) == (label, None)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (SIMPLE, (SIMPLE, None)),
        (MODERATE, (SIMPLE, "rule:extraction")),
        (COMPLEX, (COMPLEX, None)),
    ],
)
def test_a_short_answer_of_a_tool_leaves_an_extraction(asked: Label, expected: tuple[Label, str | None]) -> None:
    assert step(after("21 degrees"), asked) == expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (SIMPLE, (MODERATE, "rule:planning")),
        (MODERATE, (MODERATE, None)),
        (COMPLEX, (COMPLEX, None)),
    ],
)
def test_an_agent_at_work_plans(asked: Label, expected: tuple[Label, str | None]) -> None:
    assert step(after("a", "b", "c"), asked) == expected


@pytest.mark.parametrize(
    ("body", "extraction"),
    [
        (after("a", "b"), True),
        (after("a", "b", "c"), False),
        (after("x" * 2_000), True),
        (after("x" * 2_001), False),
        (after("x" * 1_000, "x" * 1_001), False),
        (after("a", failed=True), False),
        # Beside the system prompt, the text around the ask is the two characters of the call's input and the result.
        (after("a", system="x" * 19_997), True),
        (after("a", system="x" * 19_998), False),
        (after("a", ask="x" * 50_000), True),  # a long ask is no long conversation
    ],
)
def test_where_an_extraction_ends(body: dict[str, Any], extraction: bool) -> None:  # noqa: FBT001  a column
    assert steps.is_extraction(read_ask(body)) is extraction
