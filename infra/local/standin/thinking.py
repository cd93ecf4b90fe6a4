"""Thinking blocks that come back: whose they are is in their signature, which says that it is simulated.

As documented (platform.claude.com/docs/en/build-with-claude/preserved-thinking) a model drops, without an error, the
blocks of models that it cannot read; a signature that is not of this making is a 400 whatever the model, and with
manual thinking a turn that called tools has to begin with a block. Clients also reported 400s for blocks of another
model: the switch `foreign_thinking` of the script makes every model answer so.
"""

import base64
import binascii
from collections.abc import Iterator
from typing import Any, Final

from infra.local.standin.errors import invalid
from infra.local.standin.models import Model

MADE: Final = b"simulated"
KINDS: Final = ("thinking", "redacted_thinking")


def signature(model: Model) -> str:
    """The signature of a block that `model` thought."""
    return base64.b64encode(MADE + b":" + model.id.encode()).decode()


def check(body: dict[str, Any], model: Model, *, refuse_foreign: bool) -> None:
    """Raise the API's 400 for blocks that were changed, that are missing, or that the model does not read."""
    for where, block in _thinking_blocks(body):
        author = _author(block)
        if author is None or (refuse_foreign and author not in ("", model.id)):
            raise invalid(f"{where}: Invalid `signature` in `thinking` block")
    if (body.get("thinking") or {}).get("type") == "enabled":
        _begins_with_thinking(body["messages"])


def _thinking_blocks(body: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for i, message in enumerate(body["messages"]):
        for j, block in enumerate(message["content"] if isinstance(message["content"], list) else []):
            if block.get("type") == "thinking":
                yield f"messages.{i}.content.{j}", block


def _author(block: dict[str, Any]) -> str | None:
    """The model whose block it is; empty when it does not say; None when the block was not made here."""
    try:
        made = base64.b64decode(block.get("signature") or "", validate=True)
    except (binascii.Error, TypeError, ValueError):
        return None
    word, _, author = made.partition(b":")
    return author.decode("utf-8", "replace") if word == MADE else None


def _begins_with_thinking(messages: list[dict[str, Any]]) -> None:
    turns = [(i, message) for i, message in enumerate(messages) if message["role"] != "system"]
    calling = [turn for turn in turns if turn[1]["role"] == "assistant"][-1:]
    if not calling or not any(block.get("type") == "tool_result" for block in _blocks(turns[-1][1])):
        return
    place, turn = calling[0]
    first = next(iter(_blocks(turn)), {}).get("type", "text")
    if first not in KINDS:
        raise invalid(
            f"messages.{place}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{first}`. When "
            "`thinking` is enabled, a final `assistant` message must start with a thinking block."
        )


def _blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    return message["content"] if isinstance(message["content"], list) else []
