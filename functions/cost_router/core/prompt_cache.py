"""Markers of the router's own, put where Claude's prompt cache pays back what writing to it costs.

One goes after the tools and the system prompt, when they have been seen on the same model within five minutes; another
one after the last turn, when that answers tool calls: an agent at work comes back with all of it within seconds. A body
with any marker of its caller's is left alone. So is what is too short for the model: it would not be cached.

Source: platform.claude.com/docs/en/build-with-claude/prompt-caching
"""

import dataclasses
import datetime as dt
import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cost_router.core import content, pricing
from cost_router.core.ask import BYTES_PER_TOKEN, NEWER_TOKENIZER
from cost_router.core.catalogue import Model
from cost_router.core.errors import NoPrice
from cost_router.core.pricing import REALTIME
from cost_router.core.request import Request
from cost_router.core.terms import FIVE_MINUTES, MARKER, STANDARD, Terms
from cost_router.core.words import AUTO, TIER_WORDS

ADDED: Final = f"{MARKER}=added"  # in `x-router-adapted`
EPHEMERAL: Final = {"type": "ephemeral"}


@dataclass(frozen=True, slots=True)
class Marks:
    """Where a body is marked."""

    prefix: bool  # after tools and system prompt
    turn: bool  # after the last turn


@dataclass(frozen=True, slots=True)
class Prefix:
    """What requests have in common: tools and system prompt."""

    key: str  # keyed hash, of which nobody can read what is in it
    text_bytes: int
    request: Request

    def marks(self, model: Model, on: dt.date) -> Marks:
        """What is worth a marker on that model, if it is read once more."""
        ask = self.request.ask
        whole = ask.estimated_tokens(model.tokenizer)
        if not pays(model, whole, 1, on, ask.terms.speed):
            return Marks(prefix=False, turn=False)
        own = self.text_bytes / BYTES_PER_TOKEN * (NEWER_TOKENIZER if model.tokenizer == "2026" else 1)
        edited = self.request.body.get("context_management") is not None  # what is cleared later is not read again
        return Marks(
            prefix=own >= model.cache_minimum_tokens,
            turn=ask.loop.rounds > 0 and not edited and whole >= model.cache_minimum_tokens,
        )


def prefix_of(request: Request) -> Prefix | None:
    """The prefix of a request that may be marked; None where the caller has set a marker or has named a model.

    Lines of batches are not marked: nobody knows which of them runs when.
    """
    system, tools = request.body.get("system"), request.body.get("tools")
    named = request.model != AUTO and request.model not in TIER_WORDS
    if named or request.ask.terms.cached_for or request.processing != REALTIME or not (system or tools):
        return None
    texts = [*content.all_texts(system), json.dumps(tools, ensure_ascii=False) if tools else ""]
    # What else Claude keeps caches apart by: the schema of the answer, and the speed.
    parts = [request.tenant.name, tools, system, request.body.get("output_config"), request.ask.terms.speed]
    digest = hmac.new(request.tenant.label_key, json.dumps(parts).encode(), hashlib.sha256).hexdigest()
    return Prefix(digest, sum(map(content.utf8_length, texts)), request)


def pays(model: Model, tokens: int, reads: int, on: dt.date, speed: str = STANDARD) -> bool:
    """Whether a 5-minute write is cheaper than plain input, with so many reads to come.

        write - input < reads x (input - read)

    by the prices in force for a prompt of `tokens`. Per million tokens: Haiku 5.5 0.125 - 0.10 < 0.10 - 0.01, Sonnet
    5.5 2.5 - 2 < 2 - 0.1, Opus 5.5 5 - 4 < 4 - 0.2. So one read pays back the write several times, and without one it
    is lost, a quarter of the input's price: that is why nothing is marked that is seen for the first time.
    """
    try:
        row = pricing.price_row(model, tokens, on=on, speed=speed)
    except NoPrice:
        return False
    return row.cache_write_5m - row.input < reads * (row.input - row.cache_read)


def terms(asked: Terms, changes: Iterable[str]) -> Terms:
    """The terms of a body with those changes: a marker of ours may make its whole prompt a 5-minute write."""
    return dataclasses.replace(asked, cached_for=FIVE_MINUTES) if ADDED in changes else asked


def mark(body: Mapping[str, Any], marks: Marks) -> Mapping[str, Any]:
    """The body with the markers; the same body where there is nothing that can carry one."""
    found = dict(body)
    if marks.prefix and (system := _system(body.get("system"))):
        found["system"] = system
    elif marks.prefix and (tools := _tools(body.get("tools"))):
        found["tools"] = tools
    if marks.turn and (messages := _messages(body["messages"])):
        found["messages"] = messages
    return body if found == body else found


def _system(value: object) -> list[Any] | None:
    blocks = [{"type": "text", "text": value}] if isinstance(value, str) else value
    return _last_marked(blocks, ("text",))


def _tools(value: object) -> list[Any] | None:
    """The caller's own tools only; one whose definition comes later (`defer_loading`) takes no marker."""
    last = value[-1] if isinstance(value, list) and value else None
    return None if not isinstance(last, Mapping) or last.get("defer_loading") else _last_marked(value, (None, "custom"))


def _messages(value: list[Any]) -> list[Any] | None:
    last = value[-1]
    found = _last_marked(last.get("content"), ("text", "tool_result")) if last.get("role") == "user" else None
    return found and [*value[:-1], {**last, "content": found}]


def _last_marked(blocks: object, kinds: tuple[str | None, ...]) -> list[Any] | None:
    """The blocks, the last one marked; None when that is no such block, or an empty text, which takes no marker."""
    last = blocks[-1] if isinstance(blocks, list) and blocks else None
    if not isinstance(blocks, list) or not isinstance(last, Mapping) or last.get("type") not in kinds:
        return None
    if last.get(MARKER) is not None or (last.get("type") == "text" and not str(last.get("text") or "").strip()):
        return None
    return [*blocks[:-1], {**last, MARKER: EPHEMERAL}]
