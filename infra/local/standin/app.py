"""The HTTP face: the Claude API's endpoints, and the stand-in's own under `/_`.

Every response carries `request-id` and `x-stand-in: simulated`, so that nobody takes it for Claude.
"""

import asyncio
import datetime as dt
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infra.local.standin import intake, replies, report_query, reports, validation
from infra.local.standin.batch_endpoints import BatchEndpoints
from infra.local.standin.batches import Batches
from infra.local.standin.errors import ApiError, invalid
from infra.local.standin.ids import random_id
from infra.local.standin.models import MODELS, Model, find
from infra.local.standin.service import StandIn

MARK: Final = {"x-stand-in": "simulated"}


def create_app(
    clock: Callable[[], float] = time.time,
    ids: Callable[[str], str] = random_id,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Starlette:
    """The stand-in as an ASGI app; time (seconds since the epoch), ids by prefix and waiting are arguments."""
    standin, log = StandIn(clock, ids), intake.Log(clock)
    batches = Batches(standin)
    endpoints = _Endpoints(standin, log, sleep, batches)
    return Starlette(
        routes=[
            Route("/v1/messages", endpoints.messages, methods=["POST"]),
            Route("/v1/messages/count_tokens", endpoints.count_tokens, methods=["POST"]),
            *BatchEndpoints(standin, batches, log).routes(),
            Route("/v1/models", endpoints.models, methods=["GET"]),
            Route("/v1/models/{name}", endpoints.model, methods=["GET"]),
            Route("/v1/organizations/analytics/usage", endpoints.usage_report, methods=["GET"]),
            Route("/v1/organizations/analytics/cost", endpoints.cost_report, methods=["GET"]),
            Route("/_meter", endpoints.meter, methods=["GET"]),
            Route("/_script", endpoints.script, methods=["GET", "POST"]),
            Route("/_reset", endpoints.reset, methods=["POST"]),
            Route("/_requests", endpoints.requests, methods=["GET"]),
            Route("/health", endpoints.health, methods=["GET"]),
        ],
        middleware=[Middleware(_Signed, ids=ids)],
        exception_handlers={ApiError: _refuse, HTTPException: _refuse_path, Exception: _fail},
    )


class _Endpoints:
    """One method per route."""

    def __init__(
        self, standin: StandIn, log: intake.Log, sleep: Callable[[float], Awaitable[None]], batches: Batches
    ) -> None:
        self._standin = standin
        self._batches = batches
        self._log = log
        self._sleep = sleep

    async def messages(self, request: Request) -> Response:
        body, model = await self._checked(request, counting=False)
        request_id = request.state.request_id
        key_id = reports.api_key_id(intake.authenticate(request))
        outcome = self._standin.handle(body, model, request_id, key_id)
        if outcome.delay:
            await self._sleep(outcome.delay)
        pause = self._pause(self._standin.script.chunk_delay)
        return replies.of(outcome, request_id, stream=body.get("stream") is True, pause=pause)

    async def count_tokens(self, request: Request) -> Response:
        body, model = await self._checked(request, counting=True)
        return JSONResponse({"input_tokens": self._standin.count(body, model)})

    async def models(self, request: Request) -> Response:
        intake.authenticate(request)
        validation.version(request.headers.get("anthropic-version"))
        rows = [_model_row(model) for model in MODELS.values()]
        return JSONResponse({"data": rows, "has_more": False, "first_id": rows[0]["id"], "last_id": rows[-1]["id"]})

    async def model(self, request: Request) -> Response:
        intake.authenticate(request)
        validation.version(request.headers.get("anthropic-version"))
        found = find(request.path_params["name"])
        if found is None:
            raise ApiError(404, f"model: {request.path_params['name']}")
        return JSONResponse(_model_row(found))

    async def usage_report(self, request: Request) -> Response:
        query, refreshed = self._report(request, "usage")
        return JSONResponse(reports.usage_report(self._standin.meter.rows(), query, refreshed))

    async def cost_report(self, request: Request) -> Response:
        query, refreshed = self._report(request, "cost")
        return JSONResponse(reports.cost_report(self._standin.meter.rows(), query, refreshed))

    def _report(self, request: Request, kind: str) -> tuple[report_query.Query, dt.datetime]:
        """What is asked, after what the API checks first, and how far the report's data reaches."""
        self._log.add(request)
        intake.authenticate_admin(request)
        validation.version(request.headers.get("anthropic-version"))
        validation.beta(request.headers.get("anthropic-beta"), reports.BETA)
        now = dt.datetime.fromtimestamp(self._standin.clock(), dt.UTC)
        delay = dt.timedelta(seconds=self._standin.script.report_delay)
        return report_query.parse(request.query_params, kind, now), now - delay

    async def meter(self, request: Request) -> Response:
        self._batches.advance()
        since = request.query_params.get("since", "0")
        if not since.isdecimal():
            raise invalid(f"since: {since!r}; accepted: how many calls to leave out, 0 or more")
        meter = self._standin.meter
        return JSONResponse({"calls": meter.rows(int(since)), "total": len(meter), "limited": meter.limited()})

    async def script(self, request: Request) -> Response:
        if request.method == "GET":
            return JSONResponse(self._standin.script.state())
        return JSONResponse(self._standin.rescript(await intake.json_body(request)))

    async def reset(self, _request: Request) -> Response:
        self._standin.reset()
        self._batches.clear()
        self._log.clear()
        return JSONResponse(self._standin.script.state())

    async def requests(self, _request: Request) -> Response:
        return JSONResponse({"requests": self._log.rows()})

    async def health(self, _request: Request) -> Response:
        return JSONResponse({"status": "ok", "stand_in": True, "models": list(MODELS)})

    async def _checked(self, request: Request, *, counting: bool) -> tuple[dict[str, Any], Model]:
        """The body and its model, after everything that the API checks first; keeps what was received."""
        entry = self._log.add(request)
        intake.authenticate(request)
        version = validation.version(request.headers.get("anthropic-version"))
        body = await intake.json_body(request)
        entry["body"] = body
        return validation.check(
            body,
            version=version,
            beta=request.headers.get("anthropic-beta", ""),
            counting=counting,
            switches=self._standin.script.switches,
        )

    def _pause(self, seconds: float) -> Callable[[], Awaitable[None]] | None:
        return (lambda: self._sleep(seconds)) if seconds else None


class _Signed:
    """Gives each request its id, and each response the id and the stand-in's mark."""

    def __init__(self, app: ASGIApp, ids: Callable[[str], str]) -> None:
        self._app = app
        self._ids = ids

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = self._ids("req")
        scope.setdefault("state", {})["request_id"] = request_id

        async def signed(message: Message) -> None:
            if message["type"] == "http.response.start":
                mark = MARK | {"request-id": request_id}
                added = [(name.encode(), value.encode()) for name, value in mark.items()]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        await self._app(scope, receive, signed)


def _model_row(model: Model) -> dict[str, Any]:
    released = f"{model.snapshot[:4]}-{model.snapshot[4:6]}-{model.snapshot[6:]}"
    return {
        "type": "model",
        "id": model.id,
        "display_name": model.display_name,
        "created_at": f"{released}T00:00:00Z",
        "lifecycle": "active",
        "line": model.line,
        "max_input_tokens": model.context_window,
        "max_tokens": model.max_output_tokens,
    }


async def _refuse(request: Request, error: Exception) -> Response:
    if not isinstance(error, ApiError):
        raise error
    return replies.of_error(error, request.state.request_id)


async def _refuse_path(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    message = HTTPStatus(status).phrase
    return replies.of_error(ApiError(status, message), request.state.request_id)


async def _fail(request: Request, error: Exception) -> Response:
    """A bug of the stand-in itself; Starlette sends this past the middleware, so it signs for itself."""
    request_id = request.state.request_id
    failure = ApiError(500, f"the stand-in failed: {error!r}", headers=MARK | {"request-id": request_id})
    return replies.of_error(failure, request_id)
