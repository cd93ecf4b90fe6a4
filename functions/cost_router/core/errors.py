"""What can go wrong, as the rules see it. `handlers/replies.py` alone turns these into HTTP.

RouterError
├── InvalidRequest       the caller's request cannot be served as it is; names the field and what is accepted
│   └── RequestTooLarge  the body is over the limit
├── Unauthenticated      no key, an unknown key, or a disabled one
├── NotFound             nothing of that id is there, or it is not the caller's to see
├── UnknownModel         a model that is neither an alias nor in the catalogue
├── NotConfigured        the deployment lacks something that an operator has to supply, such as the Anthropic key
├── NoPrice              the catalogue has no price for the model on that day: refused, never free
├── RuleRefused          a policy forbids it: a ceiling below a floor
│   └── NotCovered       the call may cost more than somebody allows
│       ├── BudgetExhausted  a budget does not cover it
│       ├── CapExceeded  it is above the request's own cap
│       └── PaceExceeded the session makes more requests than its pace allows
├── DeadlinePassed       the request's own deadline would be missed
├── GaveUp               a job's calls, or its workers, were lost too often: it is not tried again
└── UpstreamError        Claude answered with an error, or did not answer

LeaseLost                somebody else works on the job by now
NotDelivered             a paid answer whose result could not be kept
StoreError               a table, bucket or queue could not be reached; the caller of the port decides what that means
"""

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

QUOTED: Final = 80


class RouterError(Exception):
    """Base of every error that ends a request; `kind` is the error type that the Claude API has for it."""

    kind: ClassVar[str] = "api_error"


class InvalidRequest(RouterError):
    """The request cannot be served as it is; the message quotes the value and says what would be accepted."""

    kind = "invalid_request_error"


class RequestTooLarge(InvalidRequest):
    """The body is over the limit."""

    kind = "request_too_large"


class Unauthenticated(RouterError):
    """No key, an unknown key, or a disabled one."""

    kind = "authentication_error"


class NotFound(RouterError):
    """Nothing of that id is there, or it is not the caller's to see."""

    kind = "not_found_error"


class UnknownModel(RouterError):
    """The model is neither an alias nor in the catalogue."""

    kind = "not_found_error"


class NotConfigured(RouterError):
    """The deployment lacks something that an operator has to supply; the message says what and how."""


class NoPrice(RouterError):
    """The catalogue has no price for this model, day and processing; such a call is refused, never free."""

    kind = "invalid_request_error"


class RuleRefused(RouterError):
    """A policy forbids the request; `rule` names it."""

    kind = "rate_limit_error"

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


class NotCovered(RuleRefused):
    """The call may cost more than somebody allows; it is not made."""


class BudgetExhausted(NotCovered):
    """A budget does not cover the most that the call can cost."""


class CapExceeded(NotCovered):
    """The most that the request can cost is above the cap that came with it."""


class PaceExceeded(NotCovered):
    """A session makes more requests than its pace allows; `retry_after` is in seconds."""

    def __init__(self, rule: str, message: str, retry_after: float) -> None:
        super().__init__(rule, message)
        self.retry_after = retry_after


class DeadlinePassed(RouterError):
    """The request's own deadline would be missed; what was spent is booked.

    retry_after: seconds, where it is known that nothing can be called before.
    """

    kind = "timeout_error"

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class GaveUp(RouterError):
    """A job's calls, or its workers, were lost too often; it is not tried again."""


class LeaseLost(Exception):
    """Somebody else works on the job by now: nothing more is called for it here."""


class NotDelivered(Exception):
    """A job was answered and paid for, but its result could not be kept, also not after several tries."""


class StoreError(Exception):
    """A table, bucket or queue could not be reached or refused the operation."""


class Failure(enum.StrEnum):
    """What kind of failure an upstream call met."""

    RATE_LIMITED = "rate_limited"  # 429 of the kind that passes with time
    OVERLOADED = "overloaded"  # 529
    SERVER = "server"  # any other 5xx, or an answer that is not a message
    TIMEOUT = "timeout"  # no answer within the time given
    CONNECTION = "connection"  # the connection was refused or cut
    REJECTED = "rejected"  # 4xx that stays as it is: bad request, spend limit, permission, ...


@dataclass(eq=False)
class UpstreamError(RouterError):
    """Claude answered with an error or did not answer.

    status: HTTP status, None when there was no answer. body: the error as Claude sent it, None when there was none.
    retry_after: seconds, as the answer's header says. maybe_billed: the call may have been paid for, usage unknown.
    account: the account is at fault, not the request: its key, permissions, billing or spend limit. barred: it is at
    fault for every request, so that no other needs to be tried.
    """

    failure: Failure
    status: int | None = None
    body: bytes | None = None
    request_id: str | None = None
    retry_after: float | None = None
    maybe_billed: bool = False
    account: bool = False
    barred: bool = False
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"Claude could not serve the request: {self.failure} (status {self.status})"

    @property
    def passes_with_time(self) -> bool:
        """Whether the same call, or a call to another tier, may succeed."""
        return self.failure is not Failure.REJECTED

    @property
    def is_limit(self) -> bool:
        """Whether Claude asked to slow down: such a call was not billed and counts as no attempt."""
        return self.failure in {Failure.RATE_LIMITED, Failure.OVERLOADED}


def quoted(value: object) -> str:
    """A value as a message may show it: never more than `QUOTED` characters."""
    text = repr(value)
    return text if len(text) <= QUOTED else f"{text[: QUOTED - 3]}..."


def anthropic_shape(error: RouterError) -> Mapping[str, Any]:
    """The error as the Claude API would tell it: Claude's own body where there is one.

    Source: platform.claude.com/docs/en/api/errors#error-shapes.
    """
    if isinstance(error, UpstreamError) and error.body:
        try:
            parsed = json.loads(error.body)
        except ValueError:
            parsed = None
        if isinstance(parsed, dict) and isinstance(parsed.get("error"), dict):
            return parsed
    body: dict[str, Any] = {"type": error.kind, "message": str(error)}
    if isinstance(error, RuleRefused):
        body["details"] = {"rule": error.rule}
    return {"type": "error", "error": body}
