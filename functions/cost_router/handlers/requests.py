"""`GET /v1/requests/{id}`: what a request has cost and why it ran where it did, for a day."""

import re
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route as HttpRoute

from cost_router.adapters.ledger_items import terms_row
from cost_router.core.errors import NotFound, quoted
from cost_router.core.ports import RequestLog
from cost_router.core.pricing import TOKENS, dollars
from cost_router.core.receipt import Receipt
from cost_router.core.record import Record
from cost_router.handlers import replies
from cost_router.handlers.front import Front

ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")  # ours and Claude's; nothing else is looked up
KIND: Final = "receipt"
ACCEPTED: Final = (
    "accepted: the x-router-request-id or request-id of a request for an answer of this tenant, made in the last "
    "24 hours, on which something was decided or paid"
)


@dataclass(frozen=True, slots=True)
class RequestEndpoints:
    """Requests that have ended, as far as a key may see them."""

    front: Front
    log: RequestLog

    def routes(self) -> list[HttpRoute]:
        """Paths and methods."""
        return [HttpRoute("/v1/requests/{id}", self.request, methods=["GET"])]

    async def request(self, http: HttpRequest) -> Response:
        """`GET /v1/requests/{id}`; another tenant's request is as unknown as one that never was."""

        async def read(record: Record, _began: float) -> Response:
            tenant = await self.front.tenant(http, record)
            id_ = http.path_params["id"]
            found = await self.log.get(id_, self.front.out.clock.now()) if ID.fullmatch(id_) else None
            if found is None or not (tenant.reads_account or found.tenant == tenant.name):
                raise NotFound(f"request {quoted(id_)} is not known; {ACCEPTED}")
            return replies.reported(told(found), record)

        return await self.front.guarded(KIND, read)


def told(receipt: Receipt) -> dict[str, Any]:
    """A receipt as its caller gets it: dollars as decimal strings, tokens as in the ledger, nothing of any text."""
    usage, bill = receipt.usage, receipt.bill
    return {
        "type": "request",
        "id": receipt.id,
        "at": receipt.at.isoformat(timespec="milliseconds"),
        "tenant": receipt.tenant,
        "status": receipt.status,
        "error": receipt.error,
        "model": receipt.model,
        "tier": receipt.tier.word if receipt.tier else None,
        "label": receipt.label,
        "cause": receipt.cause,
        "arm": receipt.arm,
        "adapted": list(receipt.adapted),
        "upstream_request_id": receipt.upstream_request_id,
        "usage": {**{bucket: getattr(usage, bucket) for bucket in TOKENS}, **terms_row(usage)},
        "cost_usd": dollars(bill.cost_usd),
        "classifier_cost_usd": dollars(bill.classifier_cost_usd),
        "baseline_usd": dollars(bill.baseline_usd),
        "saved_usd": dollars(bill.saved_usd),
        "cache_saved_usd": dollars(bill.cache_saved_usd),
        "ambiguous": receipt.ambiguous,
        "latency_ms": receipt.latency_ms,
        "tags": dict(receipt.tags),
    }
