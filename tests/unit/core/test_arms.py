"""Which arm decides for a conversation, and which conversation a request belongs to."""

import itertools
from typing import Any

import pytest

from cost_router.core.arms import Arm, Plan, place
from cost_router.core.conversation import conversation
from cost_router.core.request import Hints
from cost_router.core.routing import Routing
from cost_router.core.rubric import Rubric
from cost_router.handlers import wiring
from tests.builders import lineup, request, tenant

MADE_UP = [f"conversation-{number}" for number in range(10_000)]
CONTROL = Arm("control", lineup(), Rubric.parse(wiring.data("rubric.json")))
CANDIDATE = Arm("candidate", lineup("article"), CONTROL.rubric)
MARK = {"cache_control": {"type": "ephemeral"}}


def plan(mode: str, percent: int) -> Plan:
    asked = {"mode": mode, "percent": percent, "lineup": "article"}
    return Plan(CONTROL, CANDIDATE, Routing.parse({"candidate": asked}))


def chosen(percent: int) -> set[str]:
    made = plan("canary", percent)
    return {name for name in MADE_UP if made.acting(name) is CANDIDATE}


@pytest.mark.parametrize("percent", [1, 10, 50, 99])
def test_the_share_of_conversations_is_the_one_asked_for(percent: int) -> None:
    assert abs(len(chosen(percent)) - percent * 100) < 150  # three standard deviations of a half are 150 of 10,000


def test_a_larger_share_keeps_who_was_in_a_smaller_one() -> None:
    sizes = [chosen(percent) for percent in (1, 5, 25, 100)]
    assert all(smaller < larger for smaller, larger in itertools.pairwise(sizes))
    assert sizes[-1] == set(MADE_UP)


def test_the_place_of_a_conversation_is_the_same_in_every_process_and_version() -> None:
    assert [round(place(name), 6) for name in MADE_UP[:3]] == [0.296695, 0.785522, 0.825805]


@pytest.mark.parametrize(("mode", "acting", "watching"), [("canary", CANDIDATE, None), ("shadow", CONTROL, CANDIDATE)])
def test_a_canary_acts_and_a_shadow_only_looks_on(mode: str, acting: Arm, watching: Arm | None) -> None:
    made = plan(mode, 100)
    assert made.acting("any") is acting
    assert made.watching("any") is watching


def test_without_a_candidate_the_control_acts_and_nobody_looks_on() -> None:
    made = Plan(CONTROL)
    assert made.acting("any") is CONTROL
    assert made.watching("any") is None


# --- conversations


def turns(*contents: Any) -> list[dict[str, Any]]:
    roles = ("user", "assistant")
    return [{"role": roles[place % 2], "content": content} for place, content in enumerate(contents)]


def of(*contents: Any, **fields: Any) -> str:
    return conversation(request(messages=turns(*contents), **fields))


def test_a_conversation_stays_the_same_while_it_grows() -> None:
    assert of("Hi", system="Be kind.") == of("Hi", "Hello.", "Why?", system="Be kind.")


def test_a_client_that_moves_its_cache_marker_on_stays_in_its_conversation() -> None:
    first = of([{"type": "text", "text": "Hi", **MARK}], system=[{"type": "text", "text": "Be kind.", **MARK}])
    assert first == of("Hi", "Hello.", [{"type": "text", "text": "Why?", **MARK}], system="Be kind.")


def test_other_beginnings_tools_and_tenants_are_other_conversations() -> None:
    tools = [{"name": "look", "input_schema": {"type": "object"}}]
    found = {
        of("Hi"),
        of("Hi!"),
        of("Hi", system="Be kind."),
        of("Hi", tools=tools),
        of("Hi", owner=tenant("globex")),
        of("Hi", hints=Hints(session="run-1")),
        of("Hi", hints=Hints(session="run-2")),
    }
    assert len(found) == 7


def test_a_session_is_a_conversation_whatever_is_said_in_it() -> None:
    assert of("Hi", hints=Hints(session="run-1")) == of("Bye", hints=Hints(session="run-1"))


@pytest.mark.parametrize("odd", [None, 1, [], {}, [1, None, ["x"]], {"a": {"b": [{}]}}, "\ud800"])
def test_odd_content_belongs_to_a_conversation_too(odd: object) -> None:
    assert len(of(odd, system=odd)) == 64
