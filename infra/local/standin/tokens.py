"""How many tokens a request and an answer have: an estimate with fixed rules, the same on every machine.

Text: one token per started 4 bytes of UTF-8, times 1.3 for models with the newer tokenizer, rounded up per piece.
Fixed: 3 per message, 3 for the answer's turn, 12 per tool, 1,600 per image, 3,000 per PDF. Tool inputs, schemas and
blocks without a rule of their own count as their JSON text. `count_tokens` and `usage` are sums of the same segments,
so they agree.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from infra.local.standin.models import Model

MESSAGE_TOKENS: Final = 3
ANSWER_TURN_TOKENS: Final = 3
TOOL_TOKENS: Final = 12
IMAGE_TOKENS: Final = 1_600
PDF_TOKENS: Final = 3_000


@dataclass(frozen=True, slots=True)
class Segment:
    """One piece of the prompt, in the order in which the API caches it."""

    key: str  # equal for equal content
    tokens: int
    cache_control: dict[str, Any] | None


def segments(body: dict[str, Any], model: Model) -> list[Segment]:
    """The prompt as the API orders it: output schema, tools, system, messages, and the turn of the answer.

    The last segment carries no marker, so at least its tokens are always uncached input.
    """
    pieces = [*_schema(body, model), *_tools(body, model), *_blocks(body.get("system"), model)]
    for message in body["messages"]:
        pieces.extend(_message(message, model))
    pieces = _mark_last(pieces, body.get("cache_control"))
    return [*pieces, Segment("answer", ANSWER_TURN_TOKENS, None)]


def count(pieces: list[Segment]) -> int:
    """All prompt tokens."""
    return sum(piece.tokens for piece in pieces)


def text_tokens(text: str, model: Model) -> int:
    """Tokens of a text on `model`."""
    size = len(text.encode("utf-8", "surrogatepass"))
    return -(-size * 13 // 40) if model.newer_tokenizer else -(-size // 4)


def cut_to(text: str, model: Model, tokens: int) -> str:
    """The longest beginning of `text` that has at most `tokens` tokens."""
    limit = tokens * 40 // 13 if model.newer_tokenizer else tokens * 4
    return text.encode("utf-8", "surrogatepass")[:limit].decode("utf-8", "ignore")


def canonical(value: object) -> str:
    """JSON text that is equal for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _schema(body: dict[str, Any], model: Model) -> Iterator[Segment]:
    output_format = (body.get("output_config") or {}).get("format")
    if output_format:
        yield _segment(output_format, text_tokens(canonical(output_format["schema"]), model))


def _tools(body: dict[str, Any], model: Model) -> Iterator[Segment]:
    for tool in body.get("tools") or []:
        yield _segment(tool, TOOL_TOKENS + text_tokens(canonical(_unmarked(tool)), model))


def _message(message: dict[str, Any], model: Model) -> list[Segment]:
    """The blocks of a message, its start counted with the first one."""
    first, *rest = list(_blocks(message["content"], model)) or [Segment("", 0, None)]
    return [Segment(f"{message['role']}:{first.key}", MESSAGE_TOKENS + first.tokens, first.cache_control), *rest]


def _blocks(content: object, model: Model) -> Iterator[Segment]:
    if isinstance(content, str):
        yield _segment({"type": "text", "text": content}, text_tokens(content, model))
    elif isinstance(content, list):
        for block in content:
            yield _segment(block, _block_tokens(block, model))


def _block_tokens(block: dict[str, Any], model: Model) -> int:
    kind = block.get("type")
    if kind == "text":
        return text_tokens(block["text"], model)
    if kind == "image":
        return IMAGE_TOKENS
    if kind == "document":
        return _document_tokens(block, model)
    if kind == "tool_use":
        return TOOL_TOKENS + text_tokens(canonical(block.get("input")), model)
    if kind == "tool_result":
        return TOOL_TOKENS + sum(piece.tokens for piece in _blocks(block.get("content"), model))
    return text_tokens(canonical(_unmarked(block)), model)


def _document_tokens(block: dict[str, Any], model: Model) -> int:
    source = block["source"]
    if source.get("type") == "text":
        return text_tokens(str(source.get("data", "")), model)
    if source.get("type") == "content":
        return sum(piece.tokens for piece in _blocks(source.get("content"), model))
    return PDF_TOKENS


def _segment(value: dict[str, Any], tokens: int) -> Segment:
    digest = hashlib.sha256(canonical(_unmarked(value)).encode("utf-8", "surrogatepass")).hexdigest()
    return Segment(digest, tokens, value.get("cache_control"))


def _unmarked(value: dict[str, Any]) -> dict[str, Any]:
    return {name: item for name, item in value.items() if name != "cache_control"}


def _mark_last(pieces: list[Segment], cache_control: dict[str, Any] | None) -> list[Segment]:
    """Automatic caching: a `cache_control` beside `messages` marks the last block."""
    if not cache_control or not pieces or pieces[-1].cache_control:
        return pieces
    return [*pieces[:-1], Segment(pieces[-1].key, pieces[-1].tokens, cache_control)]
