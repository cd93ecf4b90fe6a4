"""What goes out: answers with the router's headers, and every error as HTTP in Anthropic's shape; mapped only here."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from starlette.responses import JSONResponse, Response

from cost_router.core import errors
from cost_router.core.errors import Failure, RouterError, UpstreamError, anthropic_shape
from cost_router.core.ledger import Bill
from cost_router.core.ports import Counted
from cost_router.core.pricing import dollars
from cost_router.core.record import Record
from cost_router.core.router import Answer, Route

STATUSES: Final[Mapping[type[RouterError], int]] = {
    errors.InvalidRequest: 400,
    errors.RequestTooLarge: 413,
    errors.Unauthenticated: 401,
    errors.NotFound: 404,
    errors.UnknownModel: 404,
    errors.NotConfigured: 503,
    errors.NoPrice: 400,
    errors.RuleRefused: 429,
    errors.BudgetExhausted: 429,
    errors.CapExceeded: 429,
    errors.PaceExceeded: 429,
    errors.DeadlinePassed: 504,
}
NO_ANSWER: Final[Mapping[Failure, int]] = {Failure.TIMEOUT: 504, Failure.CONNECTION: 502}
DECIDED: Final = (errors.RuleRefused, errors.Unauthenticated, UpstreamError)  # another try changes nothing
SERVER_ERROR: Final = 500
CALLER_LEFT: Final = 499  # nginx's "client closed request"; in logs only


def answered(answer: Answer, record: Record) -> Response:
    """Claude's message as it came, with what the router did in the headers."""
    headers = decision_headers(record) | {
        **cost_headers(answer.bill, answer.remaining_usd),
        **answer.reply.headers,
        "request-id": answer.reply.request_id or record.request_id,
    }
    return Response(answer.reply.content, media_type="application/json", headers=headers)


def cost_headers(bill: Bill, remaining_usd: Decimal | None) -> dict[str, str]:
    """What the request cost, once it is booked."""
    found = {
        "x-router-cost-usd": dollars(bill.cost_usd),
        "x-router-classifier-cost-usd": dollars(bill.classifier_cost_usd),
        "x-router-baseline-usd": dollars(bill.baseline_usd),
    }
    return found if remaining_usd is None else found | {"x-router-budget-remaining-usd": dollars(remaining_usd)}


def routed(route: Route, record: Record) -> Response:
    """The decision of a dry run."""
    body = {
        "type": "route",
        "model": route.choice.model.id,
        "tier": route.choice.tier.word,
        "label": route.label,
        "cause": route.choice.cause,
        "estimated_input_tokens": route.estimated_input_tokens,
        "estimated_cost_usd": dollars(route.estimated_cost_usd),
        "classifier_cost_usd": dollars(route.bill.classifier_cost_usd),
        "classifier_ms": None if record.classifier_ms is None else round(record.classifier_ms, 1),
    }
    return JSONResponse(body, headers=decision_headers(record) | {"request-id": record.request_id})


def counted(found: Counted, record: Record) -> Response:
    """Claude's count as it came."""
    headers = {**decision_headers(record), **found.headers, "request-id": found.request_id or record.request_id}
    return Response(found.content, media_type="application/json", headers=headers)


def reported(body: Mapping[str, Any], record: Record) -> Response:
    """What the router itself tells: a cost report, a list."""
    return JSONResponse(dict(body), headers={"request-id": record.request_id, "cache-control": "no-store"})


def failed(error: RouterError, record: Record, *, tried: bool = True) -> Response:
    """An error in Anthropic's shape; fills the record's status and error type.

    tried: whether the router has made up its mind about trying again; else the caller's client may.
    """
    body = dict(anthropic_shape(error))
    request_id = record.request_id
    headers = decision_headers(record)
    status = status_of(error)
    if isinstance(error, UpstreamError):
        request_id = error.request_id or request_id
        headers |= error.headers
    if isinstance(error, errors.RuleRefused):
        headers["x-router-rule"] = error.rule
    if isinstance(error, errors.PaceExceeded):
        headers["retry-after"] = f"{error.retry_after:.0f}"
    elif tried and (status >= SERVER_ERROR or isinstance(error, DECIDED)):
        # The router has tried what may be tried: a client that tries again multiplies the load. And a wrong key stays
        # wrong, with which Claude Code would go on for minutes.
        headers["x-should-retry"] = "false"
    record.status, record.error = status, str(body["error"].get("type"))
    if record.bill.cost_usd:
        headers["x-router-cost-usd"] = dollars(record.bill.cost_usd)
    body["request_id"] = request_id
    return JSONResponse(body, status, headers | {"request-id": request_id})


def unavailable(record: Record) -> Response:
    """A table could not be reached: worth another try in a moment."""
    record.status, record.error = 503, "api_error"
    return plain_error(
        503, "api_error", "a table of this deployment could not be reached", record, {"retry-after": "1"}
    )


def broken(record: Record) -> Response:
    """A defect of the router; the log has the details."""
    record.status, record.error = SERVER_ERROR, "api_error"
    return plain_error(SERVER_ERROR, "api_error", "the router failed; its log tells why under this request id", record)


def plain_error(
    status: int, kind: str, message: str, record: Record, headers: Mapping[str, str] | None = None
) -> Response:
    """An error that is not of the rules, in the same shape."""
    body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": record.request_id}
    return JSONResponse(body, status, {**(headers or {}), "request-id": record.request_id})


def status_of(error: RouterError) -> int:
    """The HTTP status of an error; Claude's own where there is one."""
    if isinstance(error, UpstreamError):
        return error.status or NO_ANSWER.get(error.failure, 502)
    return STATUSES.get(type(error), SERVER_ERROR)


def left(record: Record) -> Response:
    """For a caller who has gone before there was an answer: nobody reads it, the log line has its status."""
    record.status, record.error = CALLER_LEFT, "abandoned"
    return plain_error(CALLER_LEFT, "invalid_request_error", "the caller left before there was an answer", record)


def decision_headers(record: Record) -> dict[str, str]:
    """What is known of the decision; headers without a value are left out."""
    found: dict[str, Any] = {
        "x-router-model": record.model,
        "x-router-tier": record.tier.word if record.tier else None,
        "x-router-label": record.label,
        "x-router-cause": record.cause,
        "x-router-cascade": record.cascade,
        "x-router-arm": record.arm,
        "x-router-adapted": ",".join(record.adapted),
        "x-router-request-id": record.request_id,
    }
    return {name: str(value) for name, value in found.items() if value}
