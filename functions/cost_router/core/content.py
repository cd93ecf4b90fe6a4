"""What stands in the content of a turn: texts, blocks, what a person said. Content is arbitrary JSON."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, Self

SERVER_TOOL_RESULT: Final = "_tool_result"  # web_search_tool_result, web_fetch_tool_result, ...; not tool_result itself
REMINDER: Final = ("<system-reminder>", "</system-reminder>")  # Claude Code's, beside tool results and asks


class Size(NamedTuple):
    """How much stands in a content value; a tuple, because there may be thousands in a request."""

    characters: int
    text_bytes: int  # of the same text in UTF-8
    images: int = 0
    documents: int = 0
    fetched: bool = False  # whether a block stands for more than its bytes

    @classmethod
    def of(cls, content: object) -> Self:
        """The size of a content value; each text in it is looked at once."""
        if isinstance(content, str):
            return cls(len(content), utf8_length(content))
        written, inner = list(all_texts(content)), list(nested(content))
        kinds = [block.get("type") for block in inner]
        return cls(
            characters=sum(map(len, written)),
            text_bytes=sum(map(utf8_length, written)),
            images=kinds.count("image"),
            documents=kinds.count("document"),
            fetched=any(map(_fetched, inner)),
        )


def utf8_length(text: str) -> int:
    """Bytes of a text in UTF-8; half of a pair of surrogates counts as three."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def says(turn: Mapping[str, Any]) -> bool:
    """Whether a person's text stands in a turn."""
    return not are_blank(said(turn.get("content")))


def are_blank(texts: Iterable[str]) -> bool:
    """Whether texts hold nothing but white space."""
    return all(not text or text.isspace() for text in texts)


def said(content: object) -> Iterator[str]:
    """Text that a person wrote, without what agents put beside it between tags of their own."""
    for text in texts(content):
        if REMINDER[0] not in text:
            yield text
            continue
        parts, at = [], 0
        while (begin := text.find(REMINDER[0], at)) >= 0 and (end := text.find(REMINDER[1], begin)) >= 0:
            parts.append(text[at:begin])
            at = end + len(REMINDER[1])
        yield "".join([*parts, text[at:]])


def texts(content: object) -> Iterator[str]:
    """Text that a person wrote: a string, or text blocks; not what stands in tool results."""
    if isinstance(content, str):
        yield content
    for block in blocks(content):
        if block.get("type") == "text" and isinstance(block.get("text"), str):
            yield block["text"]


def all_texts(content: object) -> Iterator[str]:
    """All text of a content value, tool calls, tool results and documents of text included."""
    yield from texts(content)
    for block in blocks(content):
        kind = block.get("type")
        if kind == "tool_result":
            yield from all_texts(block.get("content"))
        elif kind == "tool_use":
            yield json.dumps(block.get("input"), ensure_ascii=False)
        elif kind == "document" and _written_out(block):
            yield json.dumps(block["source"], ensure_ascii=False)


def results(turn: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The tool results of a turn."""
    return [block for block in blocks(turn.get("content")) if block.get("type") == "tool_result"]


def nested(content: object) -> Iterator[Mapping[str, Any]]:
    """Blocks, and those inside tool results and documents."""
    for block in blocks(content):
        yield block
        if block.get("type") == "tool_result":
            yield from nested(block.get("content"))
        elif block.get("type") == "document" and isinstance(source := block.get("source"), Mapping):
            yield from nested(source.get("content"))


def blocks(content: object) -> list[Mapping[str, Any]]:
    """The blocks of a content value; none when it is a string."""
    if not isinstance(content, list):
        return []
    return [block for block in content if isinstance(block, Mapping)]


def _written_out(document: Mapping[str, Any]) -> bool:
    """Whether a document is text in the body, not a PDF or something to be fetched."""
    source = document.get("source")
    return isinstance(source, Mapping) and source.get("type") in ("text", "content")


def _fetched(block: Mapping[str, Any]) -> bool:
    """Whether a block stands for more than its bytes: a PDF, a link, what a server tool has found (encrypted)."""
    kind = str(block.get("type"))
    return (kind == "document" and not _written_out(block)) or kind.endswith(SERVER_TOOL_RESULT)
