"""A message put together from its events is the one that the same call gives unstreamed, or none at all."""

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from cost_router.adapters.sse import EventReader, parse
from cost_router.core.assembling import Assembly, Unassembled
from cost_router.core.ports import Event
from infra.local.standin.app import create_app

Json = dict[str, Any]
KEY = {"x-api-key": "any", "anthropic-version": "2026-10-21"}
TOOLS = [
    {
        "name": name,
        "input_schema": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer", "minimum": 1, "maximum": 30},
                "share": {"type": "number"},
                "parts": {"type": "array", "items": {"type": "object", "properties": {"ok": {"type": "boolean"}}}},
            },
            "required": ["city", "days", "share", "parts"],
        },
    }
    for name in ("weather", "traffic")
]
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}


class Anew:
    """A stand-in that is as new for each request: it gives the same ids and has cached nothing."""

    def __init__(self, client: TestClient, numbers: list[int]) -> None:
        self.client, self.numbers = client, numbers

    def ask(self, body: Json) -> bytes:
        self.numbers[0] = 0
        self.client.post("/_reset")
        answer = self.client.post("/v1/messages", json=body, headers=KEY)
        assert answer.status_code == 200, answer.text
        return answer.content


@pytest.fixture
def stand_in() -> Iterator[Anew]:
    numbers = [0]

    def ids(prefix: str) -> str:
        numbers[0] += 1
        return f"{prefix}_{numbers[0]}"

    with TestClient(create_app(lambda: 1_795_000_000.0, ids)) as client:
        yield Anew(client, numbers)


def read(transcript: bytes) -> list[Event]:
    return [Event(raw, parse(raw)[0]) for raw in EventReader().feed(transcript)]


def assembled(events: list[Event]) -> Assembly:
    found = Assembly()
    for event in events:
        found.add(event)
    return found


def any_body(dice: random.Random) -> Json:
    words = dice.choices(["Hi", "Zürich, 東京 🙂", "[[tool]]", "[[tool:traffic]]", "[[think]]", "[[search:2]]"], k=3)
    body: Json = {
        "model": dice.choice(["claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"]),
        "max_tokens": dice.choice([1, 5, 50, 4_000]),
        "messages": [{"role": "user", "content": f"{' '.join(words)} {dice.random()}"}],
    }
    if dice.random() < 0.3:
        body["messages"][0]["content"] += f" [[bytes:{dice.randint(1, 20_000)}]]"
    if dice.random() < 0.7:
        body["tools"] = dice.sample([*TOOLS, SEARCH], k=dice.randint(1, 3))
    if dice.random() < 0.3:
        body["stop_sequences"] = ["simulated", "\n"]
    if dice.random() < 0.2:
        body["system"] = [{"type": "text", "text": "long " * 9_000, "cache_control": {"type": "ephemeral"}}]
    return body


def test_it_is_the_unstreamed_answer_of_any_request(stand_in: Anew) -> None:
    dice, kinds = random.Random(7), set[str]()
    for _ in range(60):
        body = any_body(dice)
        expected = json.loads(stand_in.ask(body))
        found = assembled(read(stand_in.ask({**body, "stream": True})))
        assert json.loads(found.content()) == found.message == expected
        assert list(found.message) == list(expected)
        kinds |= {block["type"] for block in expected["content"]}
    assert kinds == {"text", "thinking", "tool_use", "server_tool_use", "web_search_tool_result"}


# --- piece by piece


def event(kind: str, **data: Any) -> Event:
    return Event(f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode(), kind)


START = event(
    "message_start", message={"id": "msg_1", "content": [], "stop_reason": None, "usage": {"output_tokens": 1}}
)
END = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 9})
STOP = event("message_stop")


def start(block: object, index: object = 0) -> Event:
    return event("content_block_start", index=index, content_block=block)


def delta(index: object = 0, **members: Any) -> Event:
    return event("content_block_delta", index=index, delta=members)


def stop(index: object = 0) -> Event:
    return event("content_block_stop", index=index)


def block_of(block: Json, *deltas: Event) -> Json:
    found = assembled([START, start(block), *deltas, stop(), END, STOP])
    (made,) = json.loads(found.content())["content"]
    return dict(made)


TEXT = {"type": "text", "text": ""}
TOOL = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}


def test_citations_come_one_by_one_and_stay_in_order() -> None:
    found = block_of(
        {**TEXT, "citations": None},
        delta(type="text_delta", text="a"),
        delta(type="citations_delta", citation={"n": 1}),
        delta(type="citations_delta", citation={"n": 2}),
        delta(type="text_delta", text="b"),
    )
    assert found == {"type": "text", "text": "ab", "citations": [{"n": 1}, {"n": 2}]}


def test_a_signature_comes_whole_and_a_hint_beside_a_thought_is_no_part_of_it() -> None:
    found = block_of(
        {"type": "thinking", "thinking": "", "signature": ""},
        delta(type="thinking_delta", thinking="so ", estimated_tokens=50),
        delta(type="thinking_delta", thinking="be it"),
        delta(type="signature_delta", signature="abc="),
    )
    assert found == {"type": "thinking", "thinking": "so be it", "signature": "abc="}


def test_a_compaction_comes_whole() -> None:
    told = {"content": "all of it", "encrypted_content": "xyz"}
    assert block_of({"type": "compaction"}, delta(type="compaction_delta", **told)) == {"type": "compaction", **told}


@pytest.mark.parametrize("text", ['{"a": [1, 2.5, -0.0, 1e3, 123456789012345678901], "b": null}', "", "[]", '"s"'])
def test_a_tools_input_is_the_json_of_its_pieces(text: str) -> None:
    pieces = [delta(type="input_json_delta", partial_json=text[at : at + 3]) for at in range(0, len(text), 3)]
    assert block_of(TOOL, *pieces)["input"] == (json.loads(text) if text else {})


def test_a_block_that_is_whole_from_its_start_stays_as_it_is() -> None:
    block = {"type": "redacted_thinking", "data": "opaque"}
    assert block_of(block) == block


def test_the_end_tells_what_the_start_could_not() -> None:
    begun: Json = {"id": "msg_1", "content": [], "stop_reason": None, "container": {"id": "c"}}
    usage = {"input_tokens": 5, "output_tokens": 1, "service_tier": "standard"}
    end = event(
        "message_delta",
        delta={"stop_reason": "refusal", "stop_sequence": None, "container": None},
        usage={"input_tokens": None, "output_tokens": 9, "server_tool_use": {"web_search_requests": 1}},
        context_management={"applied_edits": []},
    )
    found = assembled([event("message_start", message={**begun, "usage": usage}), event("ping"), end, STOP])
    assert found.message == {
        **begun,
        "stop_reason": "refusal",
        "stop_sequence": None,
        "usage": {**usage, "output_tokens": 9, "server_tool_use": {"web_search_requests": 1}},
        "context_management": {"applied_edits": []},
    }


def test_events_may_have_several_lines_of_data_and_any_line_end() -> None:
    raw = START.raw.replace(b'"message":', b'\r\ndata: "message":').replace(b"\n\n", b"\r\n\r\n")
    assert assembled([Event(raw, START.type), Event(b": hi\n\n", ""), END, STOP]).whole


@pytest.mark.parametrize("reason", ["max_tokens", "model_context_window_exceeded"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": "b', {}),
        ('{"a": "b"', {"a": "b"}),
        ('{"a": 1, "b', {"a": 1}),
        ('{"a": 1, "b":', {"a": 1}),
        ('{"a": [1, {"b": "c", "d": "\\"]}', {"a": [1, {"b": "c"}]}),
        ('{"a": tru', {}),
        ('{"a": 12 ', {"a": 12}),
        ('{"a": oops', {}),
        ('{"a": 0.12345678901234567890, "b', {}),
        ("[" * 100_000, {}),
    ],
    ids=range(10),
)
def test_an_input_that_ends_with_the_tokens_keeps_what_came_whole(text: str, expected: Json, reason: str) -> None:
    end = event("message_delta", delta={"stop_reason": reason}, usage={"output_tokens": 9})
    found = assembled([START, start(TOOL), delta(type="input_json_delta", partial_json=text), stop(), end, STOP])
    assert json.loads(found.content())["content"] == [{**TOOL, "input": expected}]


# --- what is not understood

CUT_SHORT = [START, start(TOOL), delta(type="input_json_delta", partial_json='{"a": "b'), stop()]
NOT_UNDERSTOOD: dict[str, list[Event]] = {
    "an event of a new kind": [START, event("content_block_patch", index=0)],
    "a part of a new kind": [START, start(TEXT), delta(type="audio_delta", audio="aGk=")],
    "another model that goes on": [START, start({"type": "fallback", "to": {"model": "claude-opus-5-5"}})],
    "a start that is not empty": [event("message_start", message={"content": [TEXT]})],
    "a second start": [START, START],
    "no start": [start(TEXT)],
    "a block out of turn": [START, start(TEXT, 1)],
    "a block in a block": [START, start(TEXT), start(TEXT, 1)],
    "a part of no block": [START, delta(type="text_delta", text="a")],
    "a part of a block that has ended": [START, start(TEXT), stop(), delta(type="text_delta", text="a")],
    "an end within a block": [START, start(TEXT), END],
    "a last event within a block": [START, start(TEXT), STOP],
    "something after the last event": [START, END, STOP, END],
    "text in a tool": [START, start(TOOL), delta(type="text_delta", text="a")],
    "input in a text": [START, start(TEXT), delta(type="input_json_delta", partial_json="{}"), stop()],
    "text that is none": [START, start(TEXT), delta(type="text_delta", text=7), stop()],
    "an input cut short": [*CUT_SHORT, END, STOP],
    "an input cut short before another block": [*CUT_SHORT, start(TEXT, 1)],
    "an input too deep": [
        START,
        start(TOOL),
        delta(type="input_json_delta", partial_json="[" * 100_000),
        stop(),
        END,
        STOP,
    ],
    "too many digits": [
        START,
        start(TOOL),
        delta(type="input_json_delta", partial_json="[0.12345678901234567890]"),
        stop(),
    ],
    "a number too large": [START, start(TOOL), delta(type="input_json_delta", partial_json="[1e999]"), stop()],
    "no number": [START, start(TOOL), delta(type="input_json_delta", partial_json="[NaN]"), stop()],
    "no object": [Event(b"event: message_start\ndata: []\n\n", "message_start")],
    "no JSON": [Event(b"event: message_start\ndata: {\n\n", "message_start")],
    "no data": [Event(b"event: message_start\n\n", "message_start")],
    "no UTF-8": [Event(b'event: message_start\ndata: "\xff"\n\n', "message_start")],
}


@pytest.mark.parametrize("story", NOT_UNDERSTOOD)
def test_what_is_not_understood_is_no_message(story: str) -> None:
    with pytest.raises(Unassembled):
        assembled(NOT_UNDERSTOOD[story])


@pytest.mark.parametrize("events", [[], [START], [START, END], [START, start(TEXT), stop()]], ids=len)
def test_a_message_that_has_not_ended_is_none(events: list[Event]) -> None:
    with pytest.raises(Unassembled):
        assembled(events).content()


def test_text_that_utf_8_cannot_carry_is_no_message() -> None:
    found = assembled([START, start(TEXT), delta(type="text_delta", text="\ud83d"), stop(), END, STOP])
    with pytest.raises(Unassembled):
        found.content()


def test_an_error_says_what_kind_of_thing_was_met_and_nothing_of_what_it_held() -> None:
    with pytest.raises(Unassembled) as raised:
        assembled([START, start(TOOL), delta(type="input_json_delta", partial_json='{"secret": oops}'), stop()])
    assert "content_block_stop" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_no_event_however_odd_raises_anything_else_or_makes_a_message_of_half() -> None:
    dice = random.Random(11)
    good = [START, start(TEXT), delta(type="text_delta", text="a"), stop(), start(TOOL, 1), stop(1), END, STOP]
    odd: list[Any] = [None, 0, -1, 1.5, True, "x", [], {}, [[]], {"type": []}, {"a": None}]

    def spoiled(event: Event) -> Event:
        data = json.loads(parse(event.raw)[1])
        name = dice.choice([*data, "index"])
        inner = data.get(name)
        if isinstance(inner, dict) and inner and dice.random() < 0.5:
            inner[dice.choice(list(inner))] = dice.choice(odd)
        else:
            data[name] = dice.choice(odd)
        return Event(b"data: " + json.dumps(data).encode() + b"\n\n", event.type)

    for _ in range(2_000):
        events, place = list(good), dice.randrange(len(good))
        events[place] = spoiled(good[place])
        try:
            found = json.loads(assembled(events).content())
        except Unassembled:
            continue
        assert len(found["content"]) == 2
