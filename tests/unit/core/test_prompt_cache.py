"""Where the router marks a prompt for the cache, and where it does not."""

from decimal import Decimal
from typing import Any

import pytest

from cost_router.core.pricing import Usage, cache_saved
from cost_router.core.prompt_cache import Marks, Prefix, mark, pays, prefix_of
from cost_router.core.sightings import REMEMBERED, Sightings
from tests.builders import NOW, MemoryPrefixes, RecordingTelemetry, model, request, run, tenant

ON = NOW.date()
BOTH = Marks(prefix=True, turn=True)
PREFIX = Marks(prefix=True, turn=False)
MARK = {"cache_control": {"type": "ephemeral"}}
TOOL = {"name": "look_up", "input_schema": {"type": "object"}}
STEP = [
    {"role": "user", "content": "Which of these is due?"},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look_up", "input": {}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "the third"}]},
]


def known(**fields: Any) -> Prefix:
    found = prefix_of(request(**fields))
    assert found is not None
    return found


# --- what pays


@pytest.mark.parametrize("name", ["claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5", "claude-opus-4-6"])
def test_a_write_pays_with_one_read_to_come_and_without_one_it_does_not(name: str) -> None:
    assert pays(model(name), 10_000, 1, ON)
    assert not pays(model(name), 10_000, 0, ON)


def test_what_has_no_price_does_not_pay() -> None:
    assert not pays(model("claude-haiku-5-5"), 10_000, 1, ON, "fast")


def test_what_was_saved_may_be_less_than_nothing() -> None:
    """Sonnet 5.5: $2 a million, $2.50 written, $0.10 read."""
    sonnet = model("claude-sonnet-5-5")
    written = Usage(input_tokens=100, cache_creation_5m_input_tokens=10_000, output_tokens=10)
    read = Usage(input_tokens=100, cache_read_input_tokens=10_000, output_tokens=10)
    assert cache_saved(sonnet, written, on=ON) == Decimal("-0.005")
    assert cache_saved(sonnet, read, on=ON) == Decimal("0.019")
    assert cache_saved(sonnet, Usage(input_tokens=100, output_tokens=10), on=ON) == 0


# --- what is long enough


@pytest.mark.parametrize(("name", "minimum"), [("claude-opus-5-5", 512), ("claude-sonnet-4-6", 1_024)])
def test_a_prefix_is_marked_from_the_models_minimum_on(name: str, minimum: int) -> None:
    """Models of the newer tokenizer count 1.3 tokens for four bytes."""
    target = model(name)
    size = -(-minimum * 40 // 13) if target.tokenizer == "2026" else minimum * 4
    assert known(system="x" * size).marks(target, ON).prefix
    assert not known(system="x" * (size - 1)).marks(target, ON).prefix


def test_tools_count_for_the_length_as_they_are_written() -> None:
    tools = [{**TOOL, "description": "é" * 800}]
    assert known(tools=tools).marks(model("claude-opus-5-5"), ON).prefix
    assert not known(tools=[TOOL]).marks(model("claude-opus-5-5"), ON).prefix


def test_an_agents_step_is_marked_at_its_end_and_a_first_turn_is_not() -> None:
    opus, result = model("claude-opus-5-5"), {"type": "tool_result", "tool_use_id": "t1", "content": "x" * 2_000}
    step = [*STEP[:2], {"role": "user", "content": [result]}]
    assert known(tools=[TOOL], messages=step).marks(opus, ON) == Marks(prefix=False, turn=True)
    assert known(tools=[TOOL], messages=STEP).marks(opus, ON) == Marks(prefix=False, turn=False)
    first = [{"role": "user", "content": "x" * 2_000}]
    assert known(tools=[TOOL], messages=first).marks(opus, ON) == Marks(prefix=False, turn=False)


def test_what_is_going_to_be_cleared_is_not_written() -> None:
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "x" * 2_000}
    edits = {"edits": [{"type": "clear_tool_uses_20250919"}]}
    found = known(tools=[TOOL], messages=[*STEP[:2], {"role": "user", "content": [result]}], context_management=edits)
    assert not found.marks(model("claude-opus-5-5"), ON).turn


# --- what is left alone


@pytest.mark.parametrize(
    "fields",
    [
        {"system": [{"type": "text", "text": "Be brief.", **MARK}]},
        {"system": "Be brief.", "tools": [{**TOOL, **MARK}]},
        {"system": "Be brief.", "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi", **MARK}]}]},
        {"system": "Be brief.", **MARK},
        {"system": "Be brief.", "thread": "thread_1"},
        {"system": "Be brief.", "model": "claude-opus-5-5"},
        {},
        {"system": "", "tools": []},
    ],
)
def test_callers_who_mark_or_name_their_model_are_left_alone(fields: dict[str, Any]) -> None:
    assert prefix_of(request(**fields)) is None


def test_a_tier_by_name_may_be_marked() -> None:
    assert prefix_of(request(model="opus", system="Be brief.")) is not None


# --- which prefixes are the same


def test_the_same_prefix_has_the_same_key_whatever_is_asked() -> None:
    assert known(text="One", system="Be brief.").key == known(text="Two", system="Be brief.").key


@pytest.mark.parametrize(
    "fields",
    [
        {"system": "Be long."},
        {"system": "Be brief.", "tools": [TOOL]},
        {"system": "Be brief.", "owner": tenant("other")},
        {"system": "Be brief.", "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        {"system": "Be brief.", "speed": "fast"},
    ],
)
def test_prefixes_are_kept_apart_by_what_claude_keeps_caches_apart_by(fields: dict[str, Any]) -> None:
    assert known(**fields).key != known(system="Be brief.").key


# --- where the markers go


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        ({"system": "Be brief."}, {"system": [{"type": "text", "text": "Be brief.", **MARK}]}),
        (
            {"system": [{"type": "text", "text": "Be"}, {"type": "text", "text": "brief."}], "tools": [TOOL]},
            {"system": [{"type": "text", "text": "Be"}, {"type": "text", "text": "brief.", **MARK}]},
        ),
        ({"tools": [TOOL, TOOL]}, {"tools": [TOOL, {**TOOL, **MARK}]}),
        ({"system": " ", "tools": [TOOL]}, {"tools": [{**TOOL, **MARK}]}),
        ({"tools": [{**TOOL, "defer_loading": True}]}, {}),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, {}),
        ({"system": []}, {}),
        ({"system": 7, "tools": "none"}, {}),
        ({"system": [None]}, {}),
        ({"system": [{"type": ["text"], "text": "Be brief."}]}, {}),
        ({"system": [{"type": "text", "text": ["Be brief."], "cache_control": "x"}]}, {}),
        ({"system": [{"type": "text", "text": None}]}, {}),
    ],
)
def test_a_marker_goes_after_the_system_prompt_or_the_tools(body: dict[str, Any], changed: dict[str, Any]) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}], **body}
    before = repr(body)
    found = mark(body, PREFIX)
    assert found == {**body, **changed}
    assert (found is body) is not bool(changed)
    assert (list(found), repr(body)) == (list(body), before)


@pytest.mark.parametrize(
    ("last", "marked"),
    [
        (STEP[-1], True),
        ({"role": "user", "content": "Hi"}, False),
        ({"role": "system", "content": [{"type": "text", "text": "Mind the time."}]}, False),
        ({"role": "user", "content": [{"type": "image", "source": {}}]}, False),
        ({"role": "user", "content": []}, False),
        ({"role": "user"}, False),
    ],
)
def test_another_marker_goes_after_the_results_of_tools(last: dict[str, Any], *, marked: bool) -> None:
    body = {"system": "Be brief.", "messages": [*STEP[:2], last]}
    found = mark(body, BOTH)
    assert found["system"] == [{"type": "text", "text": "Be brief.", **MARK}]
    assert found["messages"][:2] == STEP[:2]
    if marked:
        assert found["messages"][2] == {**last, "content": [{**last["content"][0], **MARK}]}
    else:
        assert found["messages"][2] == last


def test_no_more_prefixes_are_remembered_than_there_is_room_for_however_they_came() -> None:
    sightings = Sightings(MemoryPrefixes(), RecordingTelemetry())

    async def fill() -> None:
        for number in range(REMEMBERED + 5):
            await sightings.add(str(number), "claude-haiku-5-5", NOW)
        for number in range(5):
            await sightings.of(str(number), NOW)

    run(fill())
    assert len(sightings._known) == REMEMBERED
