"""Which conversation a request belongs to."""

import hashlib
import hmac
import json

from cost_router.core.request import Request


def conversation(request: Request) -> str:
    """A keyed hash that all requests of one conversation share, of which nobody can read what is in it.

    It is that of the caller's `session` where there is one; else of system prompt, tools and first user message, which
    stay the same while a conversation grows.
    """
    session = request.hints.session
    body = request.body
    first = next((turn for turn in body["messages"] if turn.get("role") == "user"), None)
    parts = ["session", session] if session else ["start", body.get("system"), body.get("tools"), first]
    message = json.dumps([request.tenant.name, *parts], sort_keys=True).encode()
    return hmac.new(request.tenant.label_key, message, hashlib.sha256).hexdigest()
