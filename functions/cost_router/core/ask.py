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
SERVER_TOOL_RESULT: Final = "_tool_result"  # web_search_tool_result, web_fetch_tool_result, ...; not tool_result itself
FETCHED: Final = ("mcp_servers", "thread")  # fields that make the API add text of its own finding


@dataclass(frozen=True, slots=True)
class Ask:
    """The last human ask and the digest of its context."""

    text: str  # of the last human turn, whole; empty when no human turn has text
    turns: int
    characters: int  # of all text around the ask: system, tools, other turns; the ask itself is not counted
    text_bytes: int  # of all text
    tools: int
    images: int
    documents: int
    unbounded: bool  # whether it names what its bytes do not bound: pages of a PDF, things that the API fetches
    after_tool_result: bool  # the last turn answers a tool call
    prefilled: bool  # the last turn is the assistant's: the beginning of the answer
    terms: Terms  # what its price depends on beside its tokens

    @property
    def excerpt(self) -> str:
        """Head and tail of the ask, about 2,000 characters at the most."""
        if len(self.text) <= EXCERPT_HEAD + EXCERPT_TAIL:
            return self.text
        left_out = len(self.text) - EXCERPT_HEAD - EXCERPT_TAIL
        return f"{self.text[:EXCERPT_HEAD]}\n[... {left_out} characters left out ...]\n{self.text[-EXCERPT_TAIL:]}"

    @property
    def digest(self) -> str:
        """One line on the context, for the classifier and for the cache key."""
        return (
            f"turns={self.turns} characters={self.characters} tools={self.tools} images={self.images} "
            f"documents={self.documents} after_tool_result={'yes' if self.after_tool_result else 'no'}"
        )

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
    human = [message for message in turns if message.get("role") == "user"]
    tools = body.get("tools")
    blocks = [block for message in messages for block in _nested(message.get("content"))]
    texts = [*_texts(body.get("system")), *(text for message in messages for text in _texts(message.get("content")))]
    if isinstance(tools, list) and tools:
        texts.append(json.dumps(tools, ensure_ascii=False))
    asked, terms = _last_asked(human), read_terms(body)
    return Ask(
        text="\n".join(asked).strip(),
        turns=len(turns),
        characters=sum(map(len, texts)) - sum(map(len, asked)),
        text_bytes=sum(len(text.encode("utf-8", "surrogatepass")) for text in texts),
        tools=len(tools) if isinstance(tools, list) else 0,
        images=sum(block.get("type") == "image" for block in blocks),
        documents=sum(block.get("type") == "document" for block in blocks),
        unbounded=terms.web_searches > 0
        or any(body.get(name) for name in FETCHED)
        or any(_fetched(block) for block in blocks),
        after_tool_result=bool(turns) and _answers_tool(turns[-1].get("content")),
        prefilled=bool(turns) and turns[-1].get("role") == "assistant",
        terms=terms,
    )


def _last_asked(human: list[Mapping[str, Any]]) -> list[str]:
    """The texts of the last human turn that has any."""
    for message in reversed(human):
        texts = list(_ask_texts(message.get("content")))
        if any(text.strip() for text in texts):
            return texts
    return []


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


def _answers_tool(content: object) -> bool:
    return any(block.get("type") == "tool_result" for block in _blocks(content))
