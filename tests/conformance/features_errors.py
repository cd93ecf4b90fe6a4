"""Errors: the client's own exception class, in Claude's words, and no retry where one would only add load."""

import datetime as dt
from decimal import Decimal
from typing import Any, Final

from infra.operate.keys import Policy, create
from tests.conformance.case import Case, Json

TOO_LARGE: Final = 7_000_000  # characters; the router takes bodies up to 5 MB


def bad_key(case: Case) -> None:
    error = case.tell("create", key="ccr-no-such-key", body=case.ask("Hi")).raised()
    _is(case, error, "bad key", 401, "authentication_error")
    assert case.meter.requests() == []


def unknown_model(case: Case) -> None:
    error = case.tell("create", body=case.ask("Hi", model="claude-nothing-9")).raised()
    _is(case, error, "unknown model", 404, "not_found_error")
    assert case.client.own_words or "haiku, sonnet, opus" in error["message"], "accepted names are listed"
    assert case.meter.requests() == []


def invalid_by_claude(case: Case) -> None:
    """What only Claude refuses comes back in Claude's words."""
    too_little = {"type": "enabled", "budget_tokens": 100}
    error = case.tell("create", body=case.ask("Hi", model="claude-haiku-4-5", thinking=too_little)).raised()
    _invalid(case, error)


def invalid_messages(case: Case) -> None:
    _invalid(case, case.tell("create", body=case.ask("Hi", messages=[])).raised())


def invalid_max_tokens(case: Case) -> None:
    _invalid(case, case.tell("create", body=case.ask("Hi", max_tokens=0)).raised())


def invalid_type(case: Case) -> None:
    _invalid(case, case.tell("create", body=case.ask("Hi", system=5)).raised())


def invalid_role(case: Case) -> None:
    body = case.ask("Hi", messages=[{"role": "robot", "content": "Hi"}])
    _invalid(case, case.tell("create", body=body).raised())


def too_large(case: Case) -> None:
    error = case.tell("create", body=case.ask("x" * TOO_LARGE)).raised()
    _is(case, error, "too large", 413, "request_too_large")
    assert case.meter.requests() == []


def rate_limited(case: Case) -> None:
    """The account's own limit, when no tier is left to fall back to."""
    case.meter.script(limits={"rpm": 1})
    for model in ("haiku", "sonnet"):  # a haiku request may be answered by sonnet
        case.tell("create", body=case.ask("Hi", model=model)).given()
    error = case.tell("create", body=case.ask("Hi again")).raised()
    _is(case, error, "rate limited", 429, "rate_limit_error")
    _asked_once(case)


def overloaded(case: Case) -> None:
    case.meter.script(faults=[{"times": None, "status": 529}])
    error = case.tell("create", body=case.ask("Hi")).raised()
    _is(case, error, "overloaded", 529, "overloaded_error")
    _asked_once(case)


def over_budget(case: Case) -> None:
    """Refused by the router: nothing is called, and the client does not try again."""
    name = case.unique("poor").replace(" ", "-").translate({ord("("): None, ord(")"): None})
    poor = create(case.stack.target, name, Policy(daily_budget_usd=Decimal("0.000001")), dt.datetime.now(dt.UTC))
    error = case.tell("create", key=poor, body=case.ask("Hi")).raised()
    _is(case, error, "over budget", 429, "rate_limit_error")
    assert "budget:tenant-daily" in error["message"]
    assert case.meter.requests() == []
    _asked_once(case)


def broken_stream(case: Case) -> None:
    """A stream that Claude cannot end: the error is raised, not swallowed."""
    case.meter.script(faults=[{"times": None, "kind": "sse_error", "after": 5}])
    error = case.tell("stream", body=case.ask("Tell me")).raised()
    assert "overloaded" in str(error).lower(), error


def _invalid(case: Case, error: Json) -> None:
    _is(case, error, "invalid", 400, "invalid_request_error")
    (asked,) = case.asked()
    words = case.words_for(asked)
    assert words in error["message"], f"the API says {words!r}"


def _asked_once(case: Case) -> None:
    """No request was made a second time."""
    contents = [row.content for row in case.asked()]
    assert len(contents) == len(set(contents)) > 0, "the client tried again"


def _is(case: Case, error: dict[str, Any], name: str, status: int, kind: str) -> None:
    assert case.client.errors[name] in error["bases"], error
    assert error["status"] == case.client.statuses.get(name, status), error
    assert case.client.own_words or kind in (error["type"] or error["message"]), error
