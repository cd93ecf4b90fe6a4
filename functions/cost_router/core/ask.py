"""What the rules look at in a request: the last human ask, and a digest of what stands around it.

Entries of `messages` that are not a human's (`assistant`, `system`) and tool results are not asks. The whole prompt is
never classified: a bounded excerpt is, so that labelling a 100,000-token prompt costs what a short one costs.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from cost_router.core import content
from cost_router.core.content import Size
from cost_router.core.follow_ups import goes_on
from cost_router.core.housekeeping import is_housekeeping
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
LONGEST_CHAIN: Final = 200  # follow-ups after one ask; a body of megabytes may hold nothing else
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
class Asked:
    """An ask as it was when nothing had followed it: what its label depends on."""

    text: str
    digest: Digest


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
    earlier: Asked | None  # the ask that this one only goes on with ("yes", "continue"); None when it is one of its own
    housekeeping: bool  # whether a client asks it about a chat, not a person (`core/housekeeping.py`)

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
    thread = _Thread.of(body)
    place, sizes = thread.last_human(len(thread.turns)), [*thread.aside, *thread.sizes]
    said = thread.said(place)
    asked = thread.asked(place, said)
    terms = read_terms(body)
    forces_tool = _forces_tool(body.get("tool_choice"))
    return Ask(
        text=asked.text,
        digest=asked.digest,
        characters=sum(size.characters for size in sizes) - sum(map(len, said)),
        text_bytes=sum(size.text_bytes for size in sizes),
        images=sum(size.images for size in sizes),
        documents=sum(size.documents for size in sizes),
        unbounded=terms.web_searches > 0
        or any(body.get(name) for name in FETCHED)
        or any(size.fetched for size in sizes),
        loop=_loop(thread.turns[place + 1 :]),
        forces_tool=forces_tool,
        prefilled=bool(thread.turns) and _prefilled(thread.turns[-1]),
        terms=terms,
        earlier=thread.earlier(place) if goes_on(asked.text) else None,
        housekeeping=is_housekeeping(content.texts(body.get("system")), asked.text, thread.tools, forced=forces_tool),
    )


@dataclass(frozen=True, slots=True)
class _Thread:
    """The turns of a body, each measured once, and what stands around them."""

    turns: Sequence[Mapping[str, Any]]  # `messages` without the entries of role `system`
    sizes: Sequence[Size]  # of the turns
    aside: Sequence[Size]  # of the system prompt, the tools and the entries of role `system`
    around: int  # characters of the system prompt and the tools
    tools: int

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Self:
        """The thread of a body whose `messages` is a list of objects."""
        around = list(content.all_texts(body.get("system")))
        tools = body.get("tools")
        if isinstance(tools, list) and tools:
            around.append(json.dumps(tools, ensure_ascii=False))
        read = [(message, Size.of(message.get("content"))) for message in body["messages"]]
        return cls(
            turns=[message for message, _ in read if message.get("role") != "system"],
            sizes=[size for message, size in read if message.get("role") != "system"],
            aside=[*map(Size.of, around), *(size for message, size in read if message.get("role") == "system")],
            around=sum(map(len, around)),
            tools=len(tools) if isinstance(tools, list) else 0,
        )

    def last_human(self, end: int) -> int:
        """The place of the last turn before `end` that is a person's, not only results of tools; -1: there is none."""
        for place in range(end - 1, -1, -1):
            turn = self.turns[place]
            if turn.get("role") == "user" and (content.says(turn) or not content.results(turn)):
                return place
        return -1

    def said(self, place: int) -> list[str]:
        """The texts of the last human turn that has any, `place` at the latest."""
        for turn in reversed(self.turns[: place + 1]):
            if turn.get("role") == "user" and not content.are_blank(said := list(content.said(turn.get("content")))):
                return said
        return []

    def asked(self, place: int, said: Sequence[str]) -> Asked:
        """The ask as it was when the turn at `place` was the last one, and `said` what it said."""
        sizes = self.sizes[: place + 1]
        digest = Digest(
            turns=len(sizes),
            characters=self.around + sum(size.characters for size in sizes) - sum(map(len, said)),
            tools=self.tools,
            images=sum(size.images for size in sizes),
            documents=sum(size.documents for size in sizes),
        )
        return Asked("\n".join(said).strip(), digest)

    def earlier(self, place: int) -> Asked | None:
        """The ask that the one at `place` goes on with: the last that says more than that, if it has been answered."""
        found = place
        for _ in range(LONGEST_CHAIN + 1):
            if found < 0 or not self._goes_on(self.turns[found]):
                break
            found = self.last_human(found)
        else:
            return None
        answered = any(turn.get("role") == "assistant" for turn in self.turns[found + 1 : place])
        return self.asked(found, self.said(found)) if found >= 0 and answered else None

    def _goes_on(self, turn: Mapping[str, Any]) -> bool:
        """Whether a person's turn says only to go on, and shows nothing new."""
        value = turn.get("content")
        if any(block.get("type") not in ("text", "tool_result") for block in content.blocks(value)):
            return False
        return goes_on("\n".join(content.said(value)))


def _loop(since: Sequence[Mapping[str, Any]]) -> Loop:
    """What the turns after the ask say of tool calls."""
    if not since or not content.results(since[-1]):
        return Loop()
    rounds = [results for turn in since if (results := content.results(turn))]
    return Loop(
        rounds=len(rounds),
        result_characters=sum(len(text) for results in rounds for text in content.all_texts(results)),
        failed=any(result.get("is_error") is True for results in rounds for result in results),
    )


def _prefilled(turn: Mapping[str, Any]) -> bool:
    """Whether a last turn is the beginning of the answer; one with server tools is a paused turn that may go on."""
    kinds = [str(block.get("type")) for block in content.blocks(turn.get("content"))]
    paused = any(kind == SERVER_TOOL_USE or kind.endswith(content.SERVER_TOOL_RESULT) for kind in kinds)
    return turn.get("role") == "assistant" and not paused


def _forces_tool(choice: object) -> bool:
    return isinstance(choice, Mapping) and choice.get("type") in ("any", "tool")
