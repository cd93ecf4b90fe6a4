"""What every client does with messages: the stories, one function each."""

import base64
import json
import zlib
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from tests.conformance.case import Case, Json, same, unchanged

WEATHER: Final[Json] = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": {
        "type": "object",
        "properties": {
            "city": {"type": "string", "enum": ['Oslo, "the" city', "Zürich \\ 8001"]},
            "days": {"type": "integer", "minimum": 1, "maximum": 3},
            "units": {"type": "array", "items": {"type": "string", "enum": ["celsius", "hPa"]}, "minItems": 2},
        },
        "required": ["city", "days", "units"],
    },
}
CLOCK: Final[Json] = {
    "name": "get_time",
    "description": "The time in a zone.",
    "input_schema": {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]},
}
PERSON: Final[Json] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "languages": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["name", "age", "languages"],
    "additionalProperties": False,
}


def png() -> str:
    """One grey pixel, base64."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)

    header = (1).to_bytes(4) * 2 + bytes([8, 0, 0, 0, 0])
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0\x80")) + chunk(b"IEND", b"")
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + parts).decode()


def pdf() -> str:
    """A page without anything on it, base64."""
    lines = (
        b"%PDF-1.4",
        b"1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj",
        b"2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj",
        b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 72 72]>>endobj",
        b"trailer<</Root 1 0 R>>",
        b"%%EOF",
    )
    return base64.b64encode(b"\n".join(lines)).decode()


def create_auto(case: Case) -> None:
    made = case.tell("create", body=case.ask("[[label:moderate]] Draft a reply", model="auto")).given()
    assert case.forwarded()[-1]["body"]["model"] == "claude-sonnet-5-5"
    same(case, made["message"])
    unchanged(case)


def create_tier(case: Case) -> None:
    made = case.tell("create", body=case.ask("Prove it", model="opus")).given()
    assert case.forwarded()[-1]["body"]["model"] == "claude-opus-5-5"
    same(case, made["message"])
    unchanged(case)


def create_id(case: Case) -> None:
    made = case.tell("create", body=case.ask("Prove it", model="claude-opus-4-8")).given()
    assert case.forwarded()[-1]["body"]["model"] == "claude-opus-4-8"
    same(case, made["message"])
    unchanged(case)


def answer_headers(case: Case) -> None:
    """The answer's headers, where a client shows them: who answered, what it cost, Claude's request id."""
    made = case.tell("create", body=case.ask("Hi", model="haiku")).given()
    headers = {name.lower(): value for name, value in made["headers"].items()}
    (call,) = case.meter.calls("answer")
    assert headers["x-router-model"] == "claude-haiku-5-5"
    assert Decimal(headers["x-router-cost-usd"]) > 0
    assert headers["request-id"] == made["request_id"] == call["request_id"]


def old_sampling_fields(case: Case) -> None:
    """`temperature`, which older clients still send: an answer from a model that has it no more."""
    made = case.tell("create", body=case.ask("[[label:simple]] Hi", model="auto", temperature=0.4)).given()
    assert case.asked()[-1].body["temperature"] == 0.4
    assert case.forwarded()[-1]["body"]["model"] == "claude-haiku-5-5"
    same(case, made["message"])


def stream_text(case: Case) -> None:
    made = case.tell("stream", body=case.ask("Tell me")).given()
    assert case.asked()[-1].body["stream"] is True
    (block,) = same(case, made["message"])["content"]
    texts = [delta["text"] for delta in made["deltas"] if delta["type"] == "text_delta"]
    assert len(texts) > 1
    assert "".join(texts) == block["text"]
    unchanged(case)


def stream_events(case: Case) -> None:
    """The events themselves, in the API's order."""
    made = case.tell("events", body=case.ask("Tell me")).given()
    kinds = [event["type"] for event in made["events"]]
    runs = [kind for place, kind in enumerate(kinds) if kind != "ping" and kind != kinds[place - 1]]
    block = ["content_block_start", "content_block_delta", "content_block_stop"]
    assert runs == ["message_start", *block, "message_delta", "message_stop"]
    start, end = made["events"][0], made["events"][-2]
    expected = case.answer_to(case.forwarded()[-1])
    assert start["message"]["usage"]["input_tokens"] == expected["usage"]["input_tokens"]
    assert (end["delta"]["stop_reason"], end["usage"]["output_tokens"]) == (
        "end_turn",
        expected["usage"]["output_tokens"],
    )


def stream_tool(case: Case) -> None:
    """The pieces of a tool's input are, put together, the JSON of its input."""
    (name,) = case.client.tools[:1]
    made = case.tell("stream", body=case.ask(f"[[tool:{name}]] Weather?", tools=[CLOCK, WEATHER])).given()
    (block,) = same(case, made["message"], 0)["content"]
    pieces = [delta["partial_json"] for delta in made["deltas"] if delta["type"] == "input_json_delta"]
    assert len(pieces) > 1
    assert json.loads("".join(pieces)) == block["input"]
    unchanged(case)


def stream_thinking(case: Case) -> None:
    made = case.tell("stream", body=case.ask("[[think]] Why?", thinking={"type": "adaptive"})).given()
    thought, _ = same(case, made["message"])["content"]
    kinds = {delta["type"] for delta in made["deltas"]}
    assert {"thinking_delta", "signature_delta", "text_delta"} <= kinds
    joined = "".join(delta["thinking"] for delta in made["deltas"] if delta["type"] == "thinking_delta")
    assert joined == thought["thinking"]
    assert [d["signature"] for d in made["deltas"] if d["type"] == "signature_delta"] == [thought["signature"]]
    unchanged(case)


def tools(case: Case) -> None:
    _tools(case, "Weather?", case.client.tools[:1])


def parallel_tools(case: Case) -> None:
    _tools(case, "Weather and time?", case.client.tools)


def thinking_with_tools(case: Case) -> None:
    """A thought comes back to Claude, signature and all, with the result of the tool that it asked for."""
    second = _tools(case, "[[think]] Weather?", case.client.tools[:1], thinking={"type": "adaptive"})
    (thought,) = [block for block in case.answer_to(case.forwarded()[0])["content"] if block["type"] == "thinking"]
    assert thought in turn(second, "assistant")


def _tools(case: Case, text: str, names: Sequence[str], **more: Any) -> Json:
    """Tools are asked for, run by the client, and answered; gives the second request that reached Claude."""
    text = " ".join([f"[[tool:{name}]]" for name in names] + [text])
    made = case.tell("tools", body=case.ask(text, tools=[WEATHER, CLOCK], **more)).given()
    same(case, made["first"], 0)
    same(case, made["second"], 1)
    assert [block["name"] for block in made["first"]["content"] if block["type"] == "tool_use"] == [*names]
    assert made["first"]["stop_reason"] == "tool_use"
    assert made["second"]["content"][-1]["type"] == "text"
    second = case.forwarded()[1]
    uses = {block["id"]: block["name"] for block in turn(second, "assistant") if block["type"] == "tool_use"}
    results = {block["tool_use_id"]: block for block in turn(second, "user") if block["type"] == "tool_result"}
    assert list(uses) == list(results)
    if not case.client.own_tools:
        assert [text_of(results[use]["content"]) for use in uses] == [f"result of {name}" for name in names]
    unchanged(case)
    return second


def turn(row: Json, role: str) -> list[Json]:
    """The content of the last turn of a role in a request."""
    found: list[Json] = [message for message in row["body"]["messages"] if message["role"] == role][-1]["content"]
    return found


def text_of(content: Any) -> str:
    """The text of a tool's result, which clients send as a string or as blocks."""
    return content if isinstance(content, str) else "".join(block["text"] for block in content)


def structured(case: Case) -> None:
    body = case.ask("Who?", output_config={"format": {"type": "json_schema", "schema": PERSON}})
    made = case.tell("create", body=body).given()
    (block,) = same(case, made["message"])["content"]
    assert set(json.loads(block["text"])) == {"name", "age", "languages"}
    unchanged(case)


def parse(case: Case) -> None:
    """The client's own helper makes an object of the answer."""
    # For some clients structure is a tool that Claude calls.
    made = case.tell("parse", body=case.ask("[[tool:StructuredOutput]] Who?"), schema=PERSON).given()
    (block,) = case.answer_to(case.forwarded()[0])["content"]
    person = block["input"] if block["type"] == "tool_use" else json.loads(block["text"])
    assert made["parsed"] == person
    unchanged(case)


def image(case: Case) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": png()}
    _with_block(case, {"type": "image", "source": source})


def pdf_document(case: Case) -> None:
    source = {"type": "base64", "media_type": "application/pdf", "data": pdf()}
    _with_block(case, {"type": "document", "source": source})


def text_document(case: Case) -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "Ünïcode notes.\nSecond line."}
    _with_block(case, {"type": "document", "source": source, "title": "Notes"})


def _with_block(case: Case, block: Json) -> None:
    """A request with a block beside its text: the very block reaches Claude."""
    content = [block, {"type": "text", "text": case.unique("What is it?")}]
    made = case.tell("create", body=case.ask("", messages=[{"role": "user", "content": content}])).given()
    same(case, made["message"])
    (message,) = case.forwarded()[-1]["body"]["messages"]
    assert message["content"][0]["source"] == block["source"]
    assert message["content"][0]["type"] == block["type"]
    unchanged(case)


def caching(case: Case) -> None:
    """Markers reach Claude as they are; what was written the first time is read the second time."""
    marker = {"type": "ephemeral", "ttl": "5m"}
    system = [{"type": "text", "text": case.unique("Rules.") + " rule" * 3_000, "cache_control": marker}]
    body = case.ask("Which rule?", system=system)
    first, second = (case.tell("create", body=body).given()["message"]["usage"] for _ in range(2))
    assert case.client.own_prompt or [row["body"]["system"] for row in case.forwarded()] == [system, system]
    metered = [call["usage"] for call in case.meter.calls("answer")]
    names = ("cache_creation_input_tokens", "cache_read_input_tokens")
    for usage, real in zip((first, second), metered, strict=True):
        assert {name: usage[name] for name in names} == {name: real[name] for name in names}
    assert first["cache_creation_input_tokens"] > 3_000
    assert second["cache_read_input_tokens"] == first["cache_creation_input_tokens"]
    unchanged(case)


def thinking(case: Case) -> None:
    made = case.tell("create", body=case.ask("[[think]] Why?", thinking={"type": "adaptive"})).given()
    thought, _ = same(case, made["message"])["content"]
    assert thought["type"] == "thinking"
    assert thought["signature"]
    unchanged(case)
