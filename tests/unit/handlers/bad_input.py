"""Bad bodies, each with the word that its error has to say; used for HTTPS requests and for jobs alike."""

import json
from typing import Any, Final, NamedTuple

from tests.builders import message_body


class Bad(NamedTuple):
    story: str
    body: bytes
    says: str
    kind: str = "invalid_request_error"
    status: int = 400


def raw(**fields: Any) -> bytes:
    """A good body with some fields changed."""
    return json.dumps(message_body(**fields)).encode()


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in message_body().items() if key != name}).encode()


def replaced(old: str, new: str, text: str = "hello") -> bytes:
    """A good body with a piece of its JSON text replaced."""
    found = raw(text=text)
    assert old.encode() in found
    return found.replace(old.encode(), new.encode("utf-8", "surrogatepass"), 1)


def nested_results(levels: int) -> bytes:
    nest = '[{"type":"tool_result","tool_use_id":"t","content":' * levels + '"deep"' + "}]" * levels
    return replaced('"hello"', nest)


MAX = '"max_tokens": 100'
BODIES: Final = [
    Bad("nothing", b"", "body"),
    Bad("not JSON", b"hello", "body: not valid JSON at character 0"),
    Bad("cut JSON", raw()[:-1], "body: not valid JSON"),
    Bad("a list", b"[]", "body: it is a list"),
    Bad("a string", b'"hello"', "body: it is a string"),
    Bad("a number", b"5", "body: it is a number"),
    Bad("null", b"null", "body: it is missing or null"),
    Bad("messages missing", without("messages"), "messages: Field required"),
    Bad("messages null", raw(messages=None), "messages: Field required"),
    Bad("messages empty", raw(messages=[]), "messages: at least one message is required"),
    Bad("messages a string", raw(messages="hi"), "messages: Input should be a valid list"),
    Bad("messages an object", raw(messages={"role": "user"}), "messages: Input should be a valid list"),
    Bad("a message a string", raw(messages=["hi"]), "messages.0: Input should be an object"),
    Bad("a message null", raw(messages=[None]), "messages.0: Input should be an object"),
    Bad("a role missing", raw(messages=[{"content": "hi"}]), "messages.0.role: Field required"),
    Bad(
        "a role a number",
        raw(messages=[{"role": 1, "content": "hi"}]),
        "messages.0.role: Input should be 'user' or 'assistant'",
    ),
    Bad("content missing", raw(messages=[{"role": "user"}]), "messages.0.content: Field required"),
    Bad(
        "content a number",
        raw(messages=[{"role": "user", "content": 5}]),
        "messages.0.content: Input should be a valid list",
    ),
    Bad("content an object", raw(messages=[{"role": "user", "content": {}}]), "messages.0.content"),
    Bad("content of strings", raw(messages=[{"role": "user", "content": ["hi"]}]), "messages.0.content"),
    Bad("max_tokens missing", without("max_tokens"), "max_tokens: Field required"),
    Bad("max_tokens null", raw(max_tokens=None), "max_tokens: Input should be a valid integer"),
    Bad("max_tokens 0", raw(max_tokens=0), "max_tokens: Input should be greater than or equal to 1"),
    Bad("max_tokens negative", raw(max_tokens=-1), "max_tokens: Input should be greater than or equal to 1"),
    Bad("max_tokens huge", raw(max_tokens=10**9), "max_tokens: 1000000000 > 128000"),
    Bad("max_tokens of 4000 digits", raw(max_tokens=10**3_999), "max_tokens: 1000"),
    Bad("max_tokens 1e400", replaced(MAX, '"max_tokens": 1e400'), "max_tokens: '1e400' is too large a number"),
    Bad("max_tokens of 5000 digits", replaced(MAX, '"max_tokens": ' + "9" * 5_000), "max_tokens: '999"),
    Bad("max_tokens NaN", replaced(MAX, '"max_tokens": NaN'), "body: not valid JSON"),
    Bad("max_tokens Infinity", replaced(MAX, '"max_tokens": Infinity'), "body: not valid JSON"),
    Bad("max_tokens true", raw(max_tokens=True), "max_tokens: Input should be a valid integer"),
    Bad('max_tokens "5"', raw(max_tokens="5"), "max_tokens: Input should be a valid integer"),
    Bad("max_tokens 1.5", raw(max_tokens=1.5), "max_tokens: Input should be a valid integer"),
    Bad("max_tokens a nest", raw(max_tokens=[[[[]]]]), "max_tokens: Input should be a valid integer"),
    Bad("1e400 elsewhere", replaced('"hello"', '"hello", "weight": -1e400'), "messages.0.weight: '-1e400'"),
    Bad("unknown model", raw(model="gpt-5"), "model: 'gpt-5'", "not_found_error", 404),
    Bad("no model's name", raw(model=""), "model: ''", "not_found_error", 404),
    Bad("model a number", raw(model=5), "model: it is a number"),
    Bad("model a list", raw(model=["auto"]), "model: it is a list"),
    Bad("invalid UTF-8", replaced("hello", "hell") + b"\xff", "is not UTF-8"),
    Bad("UTF-16", raw().decode().encode("utf-16"), "is not UTF-8"),
    Bad("lone surrogate, escaped", replaced("hello", "\\ud800"), "messages.0.content: it holds a lone surrogate"),
    Bad("lone surrogate, encoded", replaced("hello", "\ud800"), "is not UTF-8"),
    Bad(
        "lone surrogate in a name", replaced('"role"', '"\\udfff": 1, "role"'), "messages.0: it holds a lone surrogate"
    ),
    Bad("100,000 brackets", b"[" * 100_000, "body: it is nested too deeply"),
    Bad("100,000 braces", b'{"a":' * 100_000, "body: it is nested too deeply"),
    Bad("a nest of 201 levels", replaced('"hello"', "[" * 198 + "]" * 198), "body: it is nested too deeply"),
    Bad(
        "a nest of 200 levels",
        replaced('"hello"', "[" * 197 + "]" * 197),
        "messages.0.content.0: Input should be an object",
    ),
    Bad("deep tool results", nested_results(400), "body: it is nested too deeply"),
    Bad("very deep tool results", nested_results(15_000), "body: it is nested too deeply"),
    Bad("stream a word", raw(stream="yes"), "stream: Input should be a valid boolean"),
    Bad("system a number", raw(system=5), "system: Input should be a valid list"),
    Bad("tools an object", raw(tools={}), "tools: Input should be a valid list"),
    Bad("a tool a string", raw(tools=["bash"]), "tools.0: Input should be an object"),
    Bad("a tool that is billed apart", raw(tools=[{"type": "code_execution_20260120"}]), "tools.0.type"),
    Bad("searches without a limit", raw(tools=[{"type": "web_search_20250305"}]), "tools.0.max_uses: None"),
    Bad("metadata a list", raw(metadata=[]), "metadata: Input should be an object"),
    Bad("stop_sequences a string", raw(stop_sequences="x"), "stop_sequences: Input should be a valid list"),
    Bad("thinking a string", raw(thinking="off"), "thinking: Input should be an object"),
    Bad("tool_choice a string", raw(tool_choice="auto"), "tool_choice: Input should be an object"),
    Bad("output_config a list", raw(output_config=[]), "output_config: Input should be an object"),
    Bad("a block of system a number", raw(system=[1]), "system.0: Input should be an object"),
    Bad("a stop sequence a number", raw(stop_sequences=[1]), "stop_sequences.0: Input should be a valid string"),
    Bad("a tool without a name", raw(tools=[{"input_schema": {}}]), "tools.0.name"),
    Bad("temperature a word", raw(temperature="hot"), "temperature: Input should be a valid number"),
    Bad("empty content", raw(text=""), "messages.0: all messages must have non-empty content"),
    Bad("no content blocks", replaced('"hello"', "[]"), "messages.0: all messages must have non-empty content"),
    Bad("a null block", replaced('"hello"', "[null]"), "messages.0.content.0: Input should be an object"),
    Bad("prefill", replaced('"user"', '"assistant"'), "prefill"),
    Bad("an unknown speed", raw(speed="warp"), "speed: no price is known for 'warp'; accepted: standard, fast"),
    Bad("an unknown place", raw(inference_geo="eu"), "inference_geo: no price is known for 'eu'; accepted: global, us"),
    Bad("over the limit", raw(text="x" * 1_000_000), "body: more than 1000000 bytes", "request_too_large", 413),
]
