"""Which conversation a request belongs to."""

import hashlib
import hmac
import json

from cost_router.core.request import Request
from cost_router.core.terms import MARKER


def conversation(request: Request) -> str:
    """A keyed hash that all requests of one conversation share, of which nobody can read what is in it.

    It is that of the caller's `session` where there is one; else of system prompt, tools and first user message, which
    stay the same while a conversation grows. Clients move their cache markers on with each turn, and for that write a
    text as a block and back: neither makes another conversation.
    """
    session = request.hints.session
    body = request.body
    first = next((turn.get("content") for turn in body["messages"] if turn.get("role") == "user"), None)
    start = [_blocks(body.get("system")), body.get("tools"), _blocks(first)]
    parts = ["session", session] if session else ["start", _unmarked(start)]
    message = json.dumps([request.tenant.name, *parts], sort_keys=True).encode()
    return hmac.new(request.tenant.label_key, message, hashlib.sha256).hexdigest()


def _blocks(content: object) -> object:
    """Text as the list of one block that stands for it."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _unmarked(value: object) -> object:
    """The value without cache markers."""
    if isinstance(value, dict):
        return {name: _unmarked(part) for name, part in value.items() if name != MARKER}
    return [_unmarked(part) for part in value] if isinstance(value, list) else value
