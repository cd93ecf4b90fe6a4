"""What stands in the bucket when a job has ended: a line of Anthropic's batch results, plus `router`."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from cost_router.core.errors import DeadlinePassed, GaveUp, RouterError, UpstreamError, anthropic_shape
from cost_router.core.groups import End
from cost_router.core.job_ports import BROKEN, Lease, Spent
from cost_router.core.pricing import dollars
from cost_router.core.record import Record
from cost_router.core.router import Answer

DIRECT: Final = "direct"
REFUSED: Final = 400
UNANSWERED: Final = 504
CANCELED: Final = {"type": "canceled"}
ENDS: Final = {"succeeded": End.DONE, "canceled": End.CANCELED}


def succeeded(lease: Lease, answer: Answer, record: Record) -> dict[str, Any]:
    """The result of an answered job; its cost is that of all calls made for it, of earlier deliveries too."""
    router = {
        "model": answer.choice.model.id,
        "tier": answer.choice.tier.word,
        "label": answer.label,
        "cause": answer.choice.cause,
        "cost_usd": dollars(lease.spent_usd + answer.bill.cost_usd),
        "classifier_cost_usd": dollars(answer.bill.classifier_cost_usd),
        "baseline_usd": dollars(lease.baseline_usd + answer.bill.baseline_usd),
        "lane": DIRECT,
        **attribution(record.request_id, record.tenant, record.tags),
    }
    return {
        "custom_id": lease.custom_id,
        "result": {"type": "succeeded", "message": answer.reply.message},
        "router": router,
    }


def errored(lease: Lease, error: RouterError, record: Record, *, broken: bool = False) -> dict[str, Any]:
    """The result of a failed job, with what it cost all the same; broken: of a message that is no job."""
    result = _unanswered(lease, {"type": "errored", "error": anthropic_shape(error)}, record)
    if broken:
        result["router"][BROKEN] = True
    return result


def is_broken(result: Mapping[str, Any]) -> bool:
    """Whether it is the result of a message that was no job, whose place a mended one may take."""
    return bool((result.get("router") or {}).get(BROKEN))


def canceled(lease: Lease, record: Record) -> dict[str, Any]:
    """The result of a job whose group was canceled."""
    return _unanswered(lease, CANCELED, record)


def attribution(request_id: str, tenant: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """Whom a job's cost belongs to, and under which id the ledger has it."""
    return {"request_id": request_id, "tenant": tenant, "tags": dict(tags)}


def end_of(result: Mapping[str, Any]) -> End:
    """How a job with that result ended."""
    return ENDS.get(str(result["result"]["type"]), End.FAILED)


def spent_in(result: Mapping[str, Any]) -> Spent:
    """What a result says that its job has cost."""
    router = result.get("router") or {}
    return Spent(_amount(router.get("cost_usd")), _amount(router.get("baseline_usd")))


def spent(lease: Lease, record: Record) -> Spent:
    """What was booked for a job in all, this time included."""
    return Spent(lease.spent_usd + record.bill.cost_usd, lease.baseline_usd + record.bill.baseline_usd)


def status_of(error: RouterError) -> int:
    """The status for the log and for the count of errors: whose fault it was."""
    if isinstance(error, UpstreamError):
        return error.status or UNANSWERED
    return UNANSWERED if isinstance(error, DeadlinePassed | GaveUp) else REFUSED


def _unanswered(lease: Lease, result: Mapping[str, Any], record: Record) -> dict[str, Any]:
    router = {
        "label": record.label,
        "cause": record.cause,
        "cost_usd": dollars(lease.spent_usd + record.bill.cost_usd),
        "lane": record.lane or DIRECT,
        **attribution(record.request_id, record.tenant, record.tags),
    }
    return {"custom_id": lease.custom_id, "result": result, "router": router}


def _amount(text: object) -> Decimal:
    """Dollars in a result; results of failed jobs have no baseline."""
    try:
        return Decimal(str(text)) if text else Decimal(0)
    except InvalidOperation:
        return Decimal(0)
