"""What the stand-in answers, and what it bills for it."""

import json
import re
from typing import Any

import pytest

from infra.local.standin.models import MODELS
from infra.local.standin.schemas import Dice, Generator
from tests.unit.standin.desk import Desk, classify

Json = dict[str, Any]
WEATHER = {
    "name": "weather",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 3}},
        "required": ["city", "days"],
    },
}


def test_text_says_that_it_is_simulated_and_is_the_same_for_the_same_request(desk: Desk, ask: Json) -> None:
    first, second = desk.post(ask).json(), desk.post(ask).json()
    text = first["content"][0]["text"]
    assert text.startswith("[stand-in answer from claude-haiku-5-5] This answer is simulated: ")
    assert second["content"] == first["content"]
    assert desk.post(ask | {"model": "claude-opus-5-5"}).json()["content"] != first["content"]
    assert first["stop_reason"] == "end_turn"
    assert first["usage"] == {
        "input_tokens": 8,  # 3 message + 2 "hello" + 3 the answer's turn
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": -(-len(text) * 13 // 40),
        "service_tier": "standard",
    }


@pytest.mark.parametrize("limit", [1, 2, 10])
def test_an_answer_never_has_more_than_max_tokens(desk: Desk, ask: Json, limit: int) -> None:
    answer = desk.post(ask | {"max_tokens": limit}).json()
    assert answer["stop_reason"] == "max_tokens"
    assert answer["usage"]["output_tokens"] == limit
    assert len(answer["content"][0]["text"]) == limit * 40 // 13


def test_a_stop_sequence_ends_the_text(desk: Desk, ask: Json) -> None:
    answer = desk.post(ask | {"stop_sequences": ["never there", " This"]}).json()
    assert (answer["stop_reason"], answer["stop_sequence"]) == ("stop_sequence", " This")
    assert answer["content"] == [{"type": "text", "text": "[stand-in answer from claude-haiku-5-5]"}]


def test_newer_models_count_30_percent_more_tokens(desk: Desk, ask: Json) -> None:
    ask["messages"][0]["content"] = "x" * 4_000
    older, newer = (
        desk.post(ask | {"model": model}).json()["usage"]["input_tokens"]
        for model in ("claude-haiku-4-5", "claude-opus-4-8")
    )
    assert (older, newer) == (1_006, 1_306)


@pytest.mark.parametrize("model", MODELS)
def test_count_tokens_agrees_with_usage(desk: Desk, model: str) -> None:
    body: Json = {
        "model": model,
        "system": [{"type": "text", "text": "é" * 3_000, "cache_control": {"type": "ephemeral"}}],
        "tools": [WEATHER],
        "messages": [
            {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "https://x"}}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "weather", "input": {"d": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "rain"}]},
        ],
    }
    counted = desk.post(body, "/v1/messages/count_tokens").json()["input_tokens"]
    usage = desk.post(body | {"max_tokens": 9}).json()["usage"]
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    assert sum(usage[name] for name in names) == counted


@pytest.mark.parametrize(
    "choice", [{"type": "any"}, {"type": "tool", "name": "weather"}, None], ids=["any", "tool", "marker"]
)
def test_a_forced_or_marked_tool_is_called_with_input_that_follows_its_schema(
    desk: Desk, ask: Json, choice: Json | None
) -> None:
    ask |= {"tools": [WEATHER]} | ({"tool_choice": choice} if choice else {})
    if not choice:
        ask["messages"][0]["content"] = "what is the weather [[tool]]"
    answer = desk.post(ask).json()
    assert answer["stop_reason"] == "tool_use"
    (block,) = answer["content"]
    assert (block["type"], block["id"], block["name"]) == ("tool_use", "toolu_1", "weather")
    assert block["input"]["city"] == "stand-in"
    assert block["input"]["days"] in (1, 2, 3)


def test_the_marker_calls_no_tool_once_its_result_is_there(desk: Desk, ask: Json) -> None:
    ask |= {"tools": [WEATHER]}
    ask["messages"] = [
        {"role": "user", "content": "[[tool]]"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "weather", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "[[tool]]"}]},
    ]
    assert desk.post(ask).json()["stop_reason"] == "end_turn"


CLOCK = {"name": "clock", "input_schema": {"type": "object", "properties": {"zone": {"type": "string"}}}}


@pytest.mark.parametrize(
    ("text", "called"),
    [
        ("[[tool:clock]]", ["clock"]),
        ("[[tool:clock]] and [[tool]]", ["clock", "weather"]),
        ("[[tool]] [[tool:weather]] [[tool]]", ["weather"]),
        ("[[tool:nowhere]]", []),
    ],
)
def test_markers_call_the_tools_that_they_name_at_once(desk: Desk, ask: Json, text: str, called: list[str]) -> None:
    ask |= {"tools": [WEATHER, CLOCK]}
    ask["messages"][0]["content"] = text
    answer = desk.post(ask).json()
    assert [block["name"] for block in answer["content"] if block["type"] == "tool_use"] == called
    assert answer["stop_reason"] == ("tool_use" if called else "end_turn")


def test_tools_alone_call_nothing(desk: Desk, ask: Json) -> None:
    assert desk.post(ask | {"tools": [WEATHER]}).json()["stop_reason"] == "end_turn"


def test_structured_output_follows_the_schema() -> None:
    schema = {
        "type": "object",
        "properties": {
            "kind": {"enum": ["a", "b"]},
            "fixed": {"const": 7},
            "either": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/Point"}]},
            "many": {"type": "array", "items": {"type": "boolean"}, "minItems": 2},
            "share": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            "maybe": {"type": ["string", "null"], "maxLength": 3},
            "day": {"type": "string", "format": "date"},
            "tree": {"$ref": "#/$defs/Tree"},
        },
        "required": ["kind"],
        "$defs": {
            "Point": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]},
            "Tree": {"type": "object", "properties": {"twigs": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}}},
        },
    }
    made = Generator(schema, Dice("seed")).value()
    assert made["kind"] in ("a", "b")
    assert made["fixed"] == 7
    assert isinstance(made["either"]["x"], int)
    assert [type(item) for item in made["many"]] == [bool, bool]
    assert 0 < made["share"] <= 1
    assert (made["maybe"], made["day"]) == ("sta", "2026-11-23")
    assert json.loads(json.dumps(made)) == made


def test_a_schema_that_refers_to_itself_only_comes_to_an_end() -> None:
    assert Generator({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}, Dice("s")).value() is None


def test_a_classifier_call_is_answered_by_the_script_first_then_by_the_marker_then_by_the_words(desk: Desk) -> None:
    desk.script(labels=["complex", "simple"])
    asked = ["[[label:moderate]] sentiment?"] * 3 + ["what is the sentiment?"]
    answers = [desk.post(classify(text)).json()["content"][0]["text"] for text in asked]
    assert [json.loads(answer)["label"] for answer in answers] == ["complex", "simple", "moderate", "simple"]
    assert [call["label"] for call in desk.meter()] == ["complex", "simple", "moderate", "simple"]
    assert {call["purpose"] for call in desk.meter()} == {"classifier"}


@pytest.mark.parametrize(
    ("label", "ask"),
    [
        ("simple", "What is the sentiment of this review? 'The summary: a proof that SQL books can be fun.'"),
        ("simple", "Which language is this sentence in? 'Il pleut sur la ville.'"),
        ("simple", "Does this e-mail ask for a meeting? Answer yes or no.\n\nHi Ana, could we review the draft SQL?"),
        ("simple", "Give the intent of this support ticket in one word: my contract renewal failed."),
        ("moderate", "Review this small Python function:\n\ndef add(a, b):\n    return a - b"),
        ("moderate", "Write the SQL for our top ten customers by revenue in 2026."),
        ("moderate", "Summarise this architecture note in three bullets: trade-offs between queues, root cause ..."),
        ("complex", "Give a risk analysis of the indemnification clause below.\n\nThe Supplier shall indemnify ..."),
        ("moderate", "Hello there."),
    ],
)
def test_the_heuristic_knows_the_kinds_of_asks_of_the_demo(desk: Desk, label: str, ask: str) -> None:
    text = f"<request-9f2c>\n{ask}\n</request-9f2c>\nturns=1 characters=480 tools=0 liability=0 documents=0"
    assert json.loads(desk.post(classify(text)).json()["content"][0]["text"]) == {"label": label}
    assert json.loads(desk.post(classify(ask)).json()["content"][0]["text"]) == {"label": label}


EMPTY_SCHEMA = {"type": "object", "properties": {}, "additionalProperties": False}


def test_a_scripted_answer_is_the_next_ones_that_is_no_classifiers_and_no_verifiers(desk: Desk, ask: Json) -> None:
    form = {"output_config": {"format": {"type": "json_schema", "schema": EMPTY_SCHEMA}}}
    desk.script(answers=["refusal", "empty", "not-json"])
    desk.post(classify("hello"))
    desk.post(verify("hello"))
    refused, empty, prose, usual = (desk.post(ask | form).json() for _ in range(4))
    assert (refused["stop_reason"], refused["content"], refused["stop_details"]["type"]) == ("refusal", [], "refusal")
    assert (empty["stop_reason"], empty["content"], empty["stop_details"]) == ("end_turn", [], None)
    assert prose["content"][0]["text"].startswith("[stand-in answer")
    assert usual["content"][0]["text"] == "{}"
    assert [call["usage"]["output_tokens"] for call in desk.meter()[2:4]] == [1, 1]


def test_a_verifier_call_passes_what_no_marker_fails(desk: Desk) -> None:
    texts = ["[[label:simple]] fine", "it [[verdict:fails]]", "[[verdict:passes]]"]
    answers = [desk.post(verify(text)).json()["content"][0]["text"] for text in texts]
    assert [json.loads(answer)["verdict"] for answer in answers] == ["passes", "fails", "passes"]
    assert [(call["purpose"], call["label"]) for call in desk.meter()] == [
        ("verifier", "passes"),
        ("verifier", "fails"),
        ("verifier", "passes"),
    ]


def verify(text: str) -> Json:
    """A verifier call on `text`, as a router would make it."""
    body = classify(text)
    schema = EMPTY_SCHEMA | {"properties": {"verdict": {"type": "string", "enum": ["passes", "fails"]}}}
    return body | {"output_config": {"format": {"type": "json_schema", "schema": schema | {"required": ["verdict"]}}}}


def test_it_thinks_when_it_is_asked_to_and_streams_the_thought_and_its_signature(desk: Desk, ask: Json) -> None:
    thoughtful = ask | {"messages": [{"role": "user", "content": "hello [[think]]"}]}
    message = desk.post(thoughtful).json()
    assert [block["type"] for block in message["content"]] == ["thinking", "text"]
    assert message["usage"]["output_tokens"] > desk.post(ask).json()["usage"]["output_tokens"]
    streamed = desk.post(thoughtful | {"stream": True}).text
    kinds = [
        kind
        for kind in re.findall(r'"type":"(\w+_delta)"', streamed)
        if kind not in {"message_delta", "content_block_delta"}
    ]
    assert set(kinds) == {"thinking_delta", "signature_delta", "text_delta"}
    assert kinds.index("signature_delta") < kinds.index("text_delta")


def test_it_does_not_think_when_thinking_is_disabled(desk: Desk, ask: Json) -> None:
    quiet = ask | {"messages": [{"role": "user", "content": "hello [[think]]"}], "thinking": {"type": "disabled"}}
    assert [block["type"] for block in desk.post(quiet).json()["content"]] == ["text"]
