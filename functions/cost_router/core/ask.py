"""What the rules look at in a request: the last human ask, and a digest of what stands around it.

Entries of `messages` that are not a human's (`assistant`, `system`) and tool results are not asks. The whole prompt is
never classified: a bounded excerpt is, so that labelling a 100,000-token prompt costs what a short one costs.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cost_router.core.terms import Terms, read_terms

EXCERPT_HEAD: Final = 1_400  # characters
EXCERPT_TAIL: Final = 600
BYTES_PER_TOKEN: Final = 4  # a planning figure for windows and dry runs, never for money
NEWER_TOKENIZER: Final = 1.3  # models from 4.7 on count about 30 % more tokens for the same text
IMAGE_TOKENS: Final = 1_600
DOCUMENT_TOKENS: Final = 3_000
IMAGE_TOKENS_AT_MOST: Final = 5_000  # 4,784 on models that see high resolution; a small file can be a large picture
PROMPT_TOKENS_ADDED: Final = 2_000  # room for what the API itself adds for tools and structured output
SERVER_TOOL_USE: Final = "server_tool_use"
SERVER_TOOL_RESULT: Final = "_tool_result"  # web_search_tool_result, web_fetch_tool_result, ...; not tool_result itself
REMINDER: Final = ("<system-reminder>", "</system-reminder>")  # Claude Code's, beside tool results and asks
FETCHED: Final = ("mcp_servers", "thread")  # fields that make the API add text of its own finding


@dataclass(frozen=True, slots=True)
class Loop:
    """The tool calls that have been made and answered since the last human ask."""

    rounds: int = 0  # turns that answer tool calls, when the last turn is one of them; else 0: the human's turn is last
    result_characters: int = 0  # of all their results
    failed: bool = False  # one of them says that it failed


@dataclass(frozen=True, slots=True)
class Digest:
    """What stands around the ask, as it was when it was asked: steps of the same ask have the same."""

    turns: int
    characters: int  # of all text around the ask: system, tools, earlier turns; the ask itself is not counted
    tools: int
    images: int
    documents: int

    def __str__(self) -> str:
        """One line, for the classifier and for the cache key."""
        return (
            f"turns={self.turns} characters={self.characters} tools={self.tools} images={self.images} "
            f"documents={self.documents}"
        )


@dataclass(frozen=True, slots=True)
class Ask:
    """The last human ask and the digest of its context."""

    text: str  # of the last human turn that has any, whole; empty when none has
    digest: Digest
    characters: int  # of all text but the ask's
    text_bytes: int  # of all text
    images: int
    documents: int
    unbounded: bool  # whether it names what its bytes do not bound: pages of a PDF, things that the API fetches
    loop: Loop  # what has happened since the ask
    forces_tool: bool  # `tool_choice` leaves no choice but to call one
    prefilled: bool  # the last turn is the assistant's: the beginning of the answer
    terms: Terms  # what its price depends on beside its tokens

    @property
    def excerpt(self) -> str:
        """Head and tail of the ask, about 2,000 characters at the most."""
        if len(self.text) <= EXCERPT_HEAD + EXCERPT_TAIL:
            return self.text
        left_out = len(self.text) - EXCERPT_HEAD - EXCERPT_TAIL
        return f"{self.text[:EXCERPT_HEAD]}\n[... {left_out} characters left out ...]\n{self.text[-EXCERPT_TAIL:]}"

    def estimated_tokens(self, tokenizer: str) -> int:
        """Roughly how many input tokens the request has; only for choosing a window and for dry runs."""
        text = self.text_bytes / BYTES_PER_TOKEN * (NEWER_TOKENIZER if tokenizer == "2026" else 1.0)
        return int(text) + self.images * IMAGE_TOKENS + self.documents * DOCUMENT_TOKENS

    def most_tokens(self, body_bytes: int, context_window: int) -> int:
        """Input tokens that the request cannot exceed: a token of text is at least one byte of the body."""
        if self.unbounded:
            return context_window
        bound = body_bytes + PROMPT_TOKENS_ADDED + self.images * IMAGE_TOKENS_AT_MOST
        return min(context_window, bound)


def read_ask(body: Mapping[str, Any]) -> Ask:
    """The ask of a Messages API body whose `messages` is a non-empty list of objects."""
    messages: list[Mapping[str, Any]] = body["messages"]
    turns = [message for message in messages if message.get("role") != "system"]
    place, asked = _last_human(turns), _last_asked(turns)
    around = list(_texts(body.get("system")))
    if isinstance(tools := body.get("tools"), list) and tools:
        around.append(json.dumps(tools, ensure_ascii=False))
    texts = [*around, *_all_texts(messages)]
    blocks = _all_blocks(messages)
    terms = read_terms(body)
    return Ask(
        text="\n".join(asked).strip(),
        digest=_digest(turns[: place + 1], around, asked, tools),
        characters=sum(map(len, texts)) - sum(map(len, asked)),
        text_bytes=sum(len(text.encode("utf-8", "surrogatepass")) for text in texts),
        images=_count(blocks, "image"),
        documents=_count(blocks, "document"),
        unbounded=terms.web_searches > 0
        or any(body.get(name) for name in FETCHED)
        or any(_fetched(block) for block in blocks),
        loop=_loop(turns[place + 1 :]),
        forces_tool=_forces_tool(body.get("tool_choice")),
        prefilled=bool(turns) and _prefilled(turns[-1]),
        terms=terms,
    )


def _last_human(turns: list[Mapping[str, Any]]) -> int:
    """The place of the last turn that is a person's, not only results of tools; -1 when there is none."""
    for place in range(len(turns) - 1, -1, -1):
        turn = turns[place]
        if turn.get("role") == "user" and (_says(turn) or not _results(turn)):
            return place
    return -1


def _last_asked(turns: list[Mapping[str, Any]]) -> list[str]:
    """The texts of the last human turn that has any."""
    asked = next((turn for turn in reversed(turns) if turn.get("role") == "user" and _says(turn)), None)
    return list(_said(asked.get("content"))) if asked else []


def _says(turn: Mapping[str, Any]) -> bool:
    return any(text.strip() for text in _said(turn.get("content")))


def _digest(turns: list[Mapping[str, Any]], around: list[str], asked: list[str], tools: object) -> Digest:
    texts, blocks = [*around, *_all_texts(turns)], _all_blocks(turns)
    return Digest(
        turns=len(turns),
        characters=sum(map(len, texts)) - sum(map(len, asked)),
        tools=len(tools) if isinstance(tools, list) else 0,
        images=_count(blocks, "image"),
        documents=_count(blocks, "document"),
    )


def _loop(since: list[Mapping[str, Any]]) -> Loop:
    """What the turns after the ask say of tool calls."""
    if not since or not _results(since[-1]):
        return Loop()
    rounds = [results for turn in since if (results := _results(turn))]
    return Loop(
        rounds=len(rounds),
        result_characters=sum(len(text) for results in rounds for text in _texts(results)),
        failed=any(result.get("is_error") is True for results in rounds for result in results),
    )


def _results(turn: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [block for block in _blocks(turn.get("content")) if block.get("type") == "tool_result"]


def _prefilled(turn: Mapping[str, Any]) -> bool:
    """Whether a last turn is the beginning of the answer; one with server tools is a paused turn that may go on."""
    kinds = [str(block.get("type")) for block in _blocks(turn.get("content"))]
    paused = any(kind == SERVER_TOOL_USE or kind.endswith(SERVER_TOOL_RESULT) for kind in kinds)
    return turn.get("role") == "assistant" and not paused


def _forces_tool(choice: object) -> bool:
    return isinstance(choice, Mapping) and choice.get("type") in ("any", "tool")


def _all_texts(messages: list[Mapping[str, Any]]) -> list[str]:
    return [text for message in messages for text in _texts(message.get("content"))]


def _all_blocks(messages: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [block for message in messages for block in _nested(message.get("content"))]


def _count(blocks: list[Mapping[str, Any]], kind: str) -> int:
    return sum(block.get("type") == kind for block in blocks)


def _said(content: object) -> Iterator[str]:
    """Text that a person wrote, without what agents put beside it between tags of their own."""
    for text in _ask_texts(content):
        parts, at = [], 0
        while (begin := text.find(REMINDER[0], at)) >= 0 and (end := text.find(REMINDER[1], begin)) >= 0:
            parts.append(text[at:begin])
            at = end + len(REMINDER[1])
        yield "".join([*parts, text[at:]])


def _ask_texts(content: object) -> Iterator[str]:
    """Text that a person wrote: a string, or text blocks; not what stands in tool results."""
    if isinstance(content, str):
        yield content
    for block in _blocks(content):
        if block.get("type") == "text" and isinstance(block.get("text"), str):
            yield block["text"]


def _texts(content: object) -> Iterator[str]:
    """All text of a content value, tool calls, tool results and documents of text included."""
    yield from _ask_texts(content)
    for block in _blocks(content):
        kind = block.get("type")
        if kind == "tool_result":
            yield from _texts(block.get("content"))
        elif kind == "tool_use":
            yield json.dumps(block.get("input"), ensure_ascii=False)
        elif kind == "document" and _written_out(block):
            yield json.dumps(block["source"], ensure_ascii=False)


def _written_out(document: Mapping[str, Any]) -> bool:
    """Whether a document is text in the body, not a PDF or something to be fetched."""
    source = document.get("source")
    return isinstance(source, Mapping) and source.get("type") in ("text", "content")


def _fetched(block: Mapping[str, Any]) -> bool:
    """Whether a block stands for more than its bytes: a PDF, a link, what a server tool has found (encrypted)."""
    kind = str(block.get("type"))
    return (kind == "document" and not _written_out(block)) or kind.endswith(SERVER_TOOL_RESULT)


def _nested(content: object) -> Iterator[Mapping[str, Any]]:
    """Blocks, and those inside tool results and documents."""
    for block in _blocks(content):
        yield block
        if block.get("type") == "tool_result":
            yield from _nested(block.get("content"))
        elif block.get("type") == "document" and isinstance(source := block.get("source"), Mapping):
            yield from _nested(source.get("content"))


def _blocks(content: object) -> list[Mapping[str, Any]]:
    if not isinstance(content, list):
        return []
    return [block for block in content if isinstance(block, Mapping)]
