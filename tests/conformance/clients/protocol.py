"""The drivers' side of the protocol: one verb a line, one answer a line. Standard library only: it runs everywhere."""

import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]


def serve(verbs: dict[str, Callable[[Json], Json]]) -> None:
    """Do what comes on standard input until it ends; what a client prints goes to standard error."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        told = json.loads(line)
        try:
            ok, detail = True, verbs[told["verb"]](told)
        except Exception as error:  # noqa: BLE001 - whatever a client raises is what the test asks about
            traceback.print_exc()
            ok, detail = False, raised(error)
        answers.write(json.dumps({"name": told["verb"], "ok": ok, "detail": detail}) + "\n")
        answers.flush()


def raised(error: BaseException) -> Json:
    """What a client raised, with what Anthropic-shaped clients tell of it."""
    body = getattr(error, "body", None)
    inner = body.get("error", {}) if isinstance(body, dict) else {}
    kinds = [kind for kind in type(error).__mro__ if kind not in (object, Exception, BaseException)]
    return {
        "class": named(type(error)),
        "bases": [named(kind) for kind in kinds],
        "status": getattr(error, "status_code", None),
        "type": inner.get("type"),
        "text": inner.get("message"),
        "details": inner.get("details"),
        "request_id": getattr(error, "request_id", None),
        "message": str(error)[:2_000],
    }


def messages_of(events: list[Json]) -> list[Json]:
    """The messages that the events of streams make, put together by hand."""
    found: list[Json] = []
    for event in events:
        if event["type"] == "message_start":
            found.append(event["message"])
        elif event["type"] == "content_block_start":
            found[-1]["content"].append(event["content_block"])
        elif event["type"] == "content_block_delta":
            _grow(found[-1]["content"][event["index"]], event["delta"])
        elif event["type"] == "message_delta":
            found[-1] |= event["delta"]
            found[-1]["usage"] |= event["usage"]
    for block in (block for message in found for block in message["content"] if "json" in block):
        block["input"] = json.loads(block.pop("json"))
    return found


def _grow(block: Json, delta: Json) -> None:
    if delta["type"] == "input_json_delta":
        block["json"] = block.get("json", "") + delta["partial_json"]
    else:
        name = delta["type"].removesuffix("_delta")
        block[name] += delta[name]


def named(kind: type) -> str:
    """`package.Class`: where a user finds it, whatever private module defines it; a driver's own are `driver.Class`."""
    if kind.__module__ == "__main__":
        return f"driver.{kind.__name__}"
    return f"{kind.__module__.split('.')[0]}.{kind.__name__}"
