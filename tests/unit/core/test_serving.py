"""Conversations that go from model to model: thinking blocks that one of them refuses, and steps of an agent."""

from typing import Any

import pytest

from cost_router.core.errors import UpstreamError
from cost_router.core.record import Record
from cost_router.core.router import Answer
from tests.builders import World, limited, record, rejected, run, streamed_steps

HAIKU, SONNET, OPUS = "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "c2lnbmVk"}
TEXT = {"type": "text", "text": "Well."}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
TALK: list[dict[str, Any]] = [
    {"role": "user", "content": "Where is it?"},
    {"role": "assistant", "content": [THOUGHT, TEXT]},
    {"role": "user", "content": "And now?"},
]


def answer(world: World, messages: list[dict[str, Any]], told: Record | None = None, **changes: Any) -> Answer:
    request = world.request(messages=messages, **{"model": "sonnet", **changes})
    return run(world.router.answer(request, told or record()))


def thinking_blocks(world: World) -> list[int]:
    """How many thinking blocks each call for the answer had."""
    return [
        sum(block == THOUGHT for message in call.body["messages"] for block in message["content"])
        for call in world.claude.calls
        if not call.is_classifier
    ]


def test_thinking_blocks_go_to_any_model_as_they_came() -> None:
    told = record()
    world = World()
    answer(world, TALK, told)
    assert world.claude.calls[0].body["messages"] == TALK
    assert told.adapted == ()


def test_a_conversation_whose_thinking_is_refused_goes_on_without_it() -> None:
    told = record()
    world = World(script=[rejected()])
    assert answer(world, TALK, told).choice.model.id == SONNET
    assert thinking_blocks(world) == [1, 0]
    assert told.adapted == ("messages.thinking=dropped",)
    assert [entry.model for entry in world.ledger.entries] == [SONNET]  # a refusal costs nothing
    assert world.ledger.open == {}


def test_a_stream_that_is_refused_goes_on_without_it_too() -> None:
    world = World(script=[rejected(), streamed_steps()])

    async def go() -> None:
        async with await world.router.answer_stream(
            world.request(messages=TALK, model="sonnet", stream=True), record()
        ) as stream:
            while await stream.next() is not None:
                pass

    run(go())
    assert thinking_blocks(world) == [1, 0]


def test_what_is_refused_for_another_reason_comes_back_as_it_was_told_first() -> None:
    first, second = rejected(), rejected()
    told = record()
    world = World(script=[first, second])
    with pytest.raises(UpstreamError) as raised:
        answer(world, TALK, told)
    assert raised.value is first
    assert len(world.claude.calls) == 2
    assert told.adapted == ()


def test_a_conversation_without_thinking_is_not_asked_twice() -> None:
    world = World(script=[rejected()])
    with pytest.raises(UpstreamError):
        answer(world, [TALK[0]])
    assert len(world.claude.calls) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 413])
def test_other_refusals_are_not_answered_by_leaving_something_out(status: int) -> None:
    world = World(script=[rejected(status)])
    with pytest.raises(UpstreamError):
        answer(world, TALK)
    assert thinking_blocks(world) == [1]


def test_a_limit_met_on_the_second_try_falls_back_as_any() -> None:
    world = World(script=[rejected(), *[limited() for _ in range(2)]])
    assert answer(world, TALK).choice.model.id == HAIKU
    assert thinking_blocks(world) == [1, 0, 0, 1]  # sonnet twice, then its second try; haiku may read them


def steps_of(results: list[str]) -> list[dict[str, Any]]:
    """A conversation in which tools have answered so, one round each."""
    rounds = [
        [
            {"role": "assistant", "content": [CALL]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": result}]},
        ]
        for result in results
    ]
    return [TALK[0], *(turn for pair in rounds for turn in pair)]


@pytest.mark.parametrize(
    ("label", "results", "expected"),
    [
        ("moderate", [], (SONNET, "classifier", "moderate")),
        ("moderate", ["21 degrees"], (HAIKU, "rule:extraction", "simple")),
        ("moderate", ["x" * 3_000], (SONNET, "cache", "moderate")),
        ("simple", ["21 degrees"], (HAIKU, "cache", "simple")),
        ("simple", ["a", "b", "c"], (SONNET, "rule:planning", "moderate")),
        ("complex", ["21 degrees"], (OPUS, "cache", "complex")),
    ],
)
def test_each_step_of_an_agent_runs_on_a_tier_of_its_own_and_only_the_ask_is_classified(
    label: str, results: list[str], expected: tuple[str, str, str]
) -> None:
    told = record()
    world = World(label=label)
    found = None
    for count in range(len(results) + 1):
        found = answer(
            world, steps_of(results[:count]), told, model="auto", tools=[{"name": "look", "input_schema": {}}]
        )
    assert found is not None
    assert (found.choice.model.id, found.choice.cause, found.label) == expected
    assert told.label == expected[2]
    assert sum(call.is_classifier for call in world.claude.calls) == 1
