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


def named(kind: type) -> str:
    """`package.Class`: where a user finds it, whatever private module defines it; a driver's own are `driver.Class`."""
    if kind.__module__ == "__main__":
        return f"driver.{kind.__name__}"
    return f"{kind.__module__.split('.')[0]}.{kind.__name__}"
