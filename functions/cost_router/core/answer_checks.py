"""Checks of an answer that need no model: pure functions of the message and of what was asked for.

| check | fails when |
|---|---|
| `non-empty` | there is neither text nor a tool call, or any other block that is no thinking |
| `no-refusal` | `stop_reason` is `refusal`. Prose is never read for it: "I can't" may be the right answer |
| `json` | the text is not one JSON value, or one that does not follow the schema of the request |

`json` is about answers that are to be JSON: those of a request with `output_config.format`, or of one whose caller
names the check. One that calls a tool, or pauses, has not come to its answer yet: it passes. One that was cut at
`max_tokens` is looked at as it is: half a JSON value is none. Sources: platform.claude.com/docs/en/build-with-claude/
handling-stop-reasons and structured-outputs.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from cost_router.core import content
from cost_router.core.request import JSON, NO_REFUSAL, NON_EMPTY, Request
from cost_router.core.routing_ports import SchemaCheck

REFUSAL: Final = "refusal"
ON_THE_WAY: Final = ("tool_use", "pause_turn")  # reasons to stop before there is an answer
UNSEEN: Final = ("thinking", "redacted_thinking")


def fails(check: str, message: Mapping[str, Any], request: Request, schemas: SchemaCheck) -> bool:
    """Whether an answer fails a check of `CHECKS` that needs no model."""
    if check == NON_EMPTY:
        return _is_empty(message)
    if check == NO_REFUSAL:
        return message.get("stop_reason") == REFUSAL
    return check == JSON and message.get("stop_reason") not in ON_THE_WAY and not _is_json(message, request, schemas)


def asked_format(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What a body says of the form of its answer; None when it says nothing."""
    config = body.get("output_config")
    found = config.get("format") if isinstance(config, Mapping) else None
    found = found or body.get("output_format")  # as it was called in the beta
    return found if isinstance(found, Mapping) else None


def text_of(message: Mapping[str, Any]) -> str:
    """The text of an answer, its blocks as one."""
    return "".join(content.texts(message.get("content")))


def _is_empty(message: Mapping[str, Any]) -> bool:
    others = [block for block in content.blocks(message.get("content")) if block.get("type") not in UNSEEN]
    return content.are_blank([text_of(message)]) and all(block.get("type") == "text" for block in others)


def _is_json(message: Mapping[str, Any], request: Request, schemas: SchemaCheck) -> bool:
    try:
        value = json.loads(_begun(request) + text_of(message), parse_constant=_refuse)
    except (RecursionError, ValueError):
        return False
    asked = asked_format(request.body)
    return asked is None or "schema" not in asked or schemas.follows(value, asked["schema"]) is not False


def _begun(request: Request) -> str:
    """The beginning of the answer, where the caller wrote it."""
    if not request.ask.prefilled:
        return ""
    turns = [turn for turn in request.body["messages"] if turn.get("role") != "system"]
    return "".join(content.texts(turns[-1].get("content")))


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
