"""The endpoints of the Message Batches API, and what is checked before a batch is accepted."""

import json
import re
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from infra.local.standin import faults, intake, replies, reports, validation
from infra.local.standin.batches import Batch, Batches, Sender
from infra.local.standin.errors import ApiError, invalid
from infra.local.standin.service import StandIn

MOST_LINES: Final = 100_000
CUSTOM_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
PATH: Final = "/v1/messages/batches"
MOST_LISTED: Final = 1_000


class BatchEndpoints:
    """One method per route."""

    def __init__(self, standin: StandIn, batches: Batches, log: intake.Log) -> None:
        """Work on the batches of a stand-in."""
        self._standin = standin
        self._batches = batches
        self._log = log

    def routes(self) -> list[Route]:
        """The routes of the API."""
        return [
            Route(PATH, self.create, methods=["POST"]),
            Route(PATH, self.list, methods=["GET"]),
            Route(f"{PATH}/{{id}}", self.retrieve, methods=["GET"]),
            Route(f"{PATH}/{{id}}/cancel", self.cancel, methods=["POST"]),
            Route(f"{PATH}/{{id}}/results", self.results, methods=["GET"]),
        ]

    async def create(self, request: Request) -> Response:
        """Accept a batch, or refuse it as a whole; the log keeps no bodies of lines."""
        sender = self._sender(request)
        lines = _lines(await intake.json_body(request, intake.MAX_BATCH_BYTES))
        lost = self._fault("create")
        batch = None if lost == faults.CUT_BEFORE else self._batches.create(lines, sender)
        return replies.Silence() if lost or batch is None else self._shown(request, batch)

    async def retrieve(self, request: Request) -> Response:
        """One batch."""
        self._sender(request)
        self._batches.advance()
        if self._fault("retrieve"):
            return replies.Silence()
        return self._shown(request, self._batches.find(request.path_params["id"]))

    async def list(self, request: Request) -> Response:
        """Batches, the newest first."""
        self._sender(request)
        self._batches.advance()
        if self._fault("list"):
            return replies.Silence()
        query = request.query_params
        if "after_id" in query and "before_id" in query:
            raise invalid("Only one of before_id and after_id may be provided")
        page, more = self._batches.page(_limit(query.get("limit", "20")), query.get("after_id"), query.get("before_id"))
        rows = [batch.row(_base(request)) for batch in page]
        ends = {"first_id": rows[0]["id"] if rows else None, "last_id": rows[-1]["id"] if rows else None}
        return JSONResponse({"data": rows, "has_more": more, **ends})

    async def cancel(self, request: Request) -> Response:
        """Stop a batch."""
        self._sender(request)
        self._batches.advance()
        if self._fault("cancel"):
            return replies.Silence()
        return self._shown(request, self._batches.cancel(request.path_params["id"]))

    async def results(self, request: Request) -> Response:
        """A line of JSON for each line of a batch that has ended, in an order of its own."""
        self._sender(request)
        self._batches.advance()
        batch = self._batches.find(request.path_params["id"])
        if batch.ended_at is None:
            raise ApiError(404, f"Message Batch {batch.id} has no results yet: it is {batch.status}")
        lost = self._fault("results")
        if lost == faults.CUT_BEFORE:
            return replies.Silence()
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in batch.results).encode()
        cut = lost == faults.CUT_AFTER
        parts = [text[: len(text) // 2]] if cut else [text]
        headers = {"content-length": str(len(text))}
        return replies.Chunks(parts, media_type="application/x-jsonl", headers=headers, cut=cut)

    def _sender(self, request: Request) -> Sender:
        """Who asks, after what the API checks first."""
        self._log.add(request)
        key = intake.authenticate(request)
        version = validation.version(request.headers.get("anthropic-version"))
        return Sender(version, request.headers.get("anthropic-beta", ""), reports.api_key_id(key))

    def _fault(self, operation: str) -> str | None:
        """The kind of the fault that hits the request; raises the error of one with a status."""
        fault = self._standin.script.batch_fault_for(operation)
        if fault and fault.status:
            raise ApiError(fault.status, f"scripted fault {fault.status}")
        return fault.kind if fault else None

    def _shown(self, request: Request, batch: Batch) -> Response:
        return JSONResponse(batch.row(_base(request)))


def _lines(body: object) -> list[tuple[str, dict[str, Any]]]:
    """The lines of a batch; what their params are is seen when they are worked on."""
    if not isinstance(body, dict):
        raise invalid("Input should be an object")
    for name in body:
        if name != "requests":
            raise invalid(f"{name}: Extra inputs are not permitted")
    if "requests" not in body:
        raise invalid("requests: Field required")
    requests = body["requests"]
    if not isinstance(requests, list):
        raise invalid("requests: Input should be a valid list")
    if not 1 <= len(requests) <= MOST_LINES:
        raise invalid(f"requests: List should have 1 to {MOST_LINES} items, not {len(requests)}")
    lines = [_line(f"requests.{place}", item) for place, item in enumerate(requests)]
    if len({custom_id for custom_id, _ in lines}) < len(lines):
        raise invalid("requests: custom_id values must be unique within a batch")
    return lines


def _line(name: str, item: object) -> tuple[str, dict[str, Any]]:
    if not isinstance(item, dict):
        raise invalid(f"{name}: Input should be an object")
    for field in item:
        if field not in ("custom_id", "params"):
            raise invalid(f"{name}.{field}: Extra inputs are not permitted")
    for field in ("custom_id", "params"):
        if field not in item:
            raise invalid(f"{name}.{field}: Field required")
    custom_id, params = item["custom_id"], item["params"]
    if not isinstance(custom_id, str) or not CUSTOM_ID.fullmatch(custom_id):
        raise invalid(f"{name}.custom_id: String should match pattern '^{CUSTOM_ID.pattern}$'")
    if not isinstance(params, dict):
        raise invalid(f"{name}.params: Input should be an object")
    return custom_id, params


def _limit(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_LISTED:
        raise invalid(f"limit: Input should be between 1 and {MOST_LISTED}")
    return int(text)


def _base(request: Request) -> str:
    return str(request.base_url).rstrip("/")
