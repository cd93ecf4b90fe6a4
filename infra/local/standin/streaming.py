"""A message as the server-sent events of the Messages API."""

import json
from collections.abc import Iterator
from typing import Any, Final

from infra.local.standin.errors import ApiError

CHUNK: Final = 24  # characters of text or JSON in one delta


def events(message: dict[str, Any]) -> list[bytes]:
    """All events of `message`, in order; without usage when the message has none."""
    return [_encoded(event) for event in _events(message)]


def error_event(error: ApiError, request_id: str) -> bytes:
    """The event that ends a stream which can't go on."""
    return _encoded(error.body(request_id))


def head(made: list[bytes], after: int | None) -> list[bytes]:
    """The first `after` events, never the last one; without a number up to the middle, and never the last two."""
    if after is not None:
        return made[: min(after, len(made) - 1)]
    return made[: max(1, min(len(made) // 2, len(made) - 2))]


def _events(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    usage = message.get("usage")
    start = message | {"content": [], "stop_reason": None, "stop_sequence": None}
    if usage:
        start["usage"] = usage | {"output_tokens": 1}
    yield {"type": "message_start", "message": start}
    yield {"type": "ping"}
    for index, block in enumerate(message["content"]):
        yield from _block(index, block)
    delta = {name: message[name] for name in ("stop_reason", "stop_sequence", "stop_details")}
    end: dict[str, Any] = {"type": "message_delta", "delta": delta}
    if usage:
        names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
        end["usage"] = {name: usage[name] for name in (*names, "server_tool_use") if name in usage}
    yield end
    yield {"type": "message_stop"}


def _block(index: int, block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if block["type"] == "web_search_tool_result":  # whole at once, as on the API
        yield {"type": "content_block_start", "index": index, "content_block": block}
        yield {"type": "content_block_stop", "index": index}
        return
    if block["type"] in {"tool_use", "server_tool_use"}:
        empty, kind, field, text = block | {"input": {}}, "input_json_delta", "partial_json", json.dumps(block["input"])
    elif block["type"] == "thinking":
        empty, kind, field = block | {"thinking": "", "signature": ""}, "thinking_delta", "thinking"
        text = block["thinking"]
    else:
        empty, kind, field, text = block | {"text": ""}, "text_delta", "text", block["text"]
    yield {"type": "content_block_start", "index": index, "content_block": empty}
    for at in range(0, len(text), CHUNK):
        delta = {"type": kind, field: text[at : at + CHUNK]}
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    if block["type"] == "thinking":
        signed = {"type": "signature_delta", "signature": block["signature"]}
        yield {"type": "content_block_delta", "index": index, "delta": signed}
    yield {"type": "content_block_stop", "index": index}


def _encoded(event: dict[str, Any]) -> bytes:
    data = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    return f"event: {event['type']}\ndata: {data}\n\n".encode("utf-8", "surrogatepass")
