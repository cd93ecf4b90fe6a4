"""The front door: the ASGI app of the router function.

On AWS it runs under uvicorn behind the Lambda Web Adapter, in the emulator and with `streaming=False` behind Mangum.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route as HttpRoute

from cost_router import __version__
from cost_router.contract import HEALTH_PATH
from cost_router.core.errors import DeadlinePassed, InvalidRequest, RequestTooLarge, RouterError, StoreError, quoted
from cost_router.core.ports import LedgerReader
from cost_router.core.record import Record
from cost_router.core.request import Request
from cost_router.core.router import Router
from cost_router.core.words import Tier
from cost_router.handlers import replies
from cost_router.handlers.auth import authenticate
from cost_router.handlers.hints import parse_hints
from cost_router.handlers.outside import Outside
from cost_router.handlers.schemas import parse_message
from cost_router.handlers.settings import RouterSettings
from cost_router.handlers.spending import ELSEWHERE, parse_query, report
from cost_router.handlers.streaming import EventStream, unless_gone
from cost_router.handlers.strict_json import parse_json

BOOKING_SECONDS: Final = 5.0  # for what was in mid-air when the process is told to end
FORWARDED: Final = ("anthropic-version", "anthropic-beta")
Answerer = Callable[[Request, Record], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class FrontDoor:
    """The endpoints over a router and its outside."""

    router: Router
    out: Outside
    settings: RouterSettings
    reader: LedgerReader
    in_flight: set[asyncio.Task[None]] = field(default_factory=set)

    async def messages(self, http: HttpRequest) -> Response:
        """`POST /v1/messages`."""

        async def answer(request: Request, record: Record) -> Response:
            if request.streamed:
                return await self._stream(http, request, record)
            return replies.answered(await self.router.answer(request, record), record)

        return await self._serve(http, "request", answer)

    async def route(self, http: HttpRequest) -> Response:
        """`POST /v1/route`: a dry run."""

        async def decide(request: Request, record: Record) -> Response:
            return replies.routed(await self.router.route(request, record), record)

        return await self._serve(http, "route", decide)

    async def spend(self, http: HttpRequest) -> Response:
        """`GET /v1/spend`: a day's cost report."""

        async def read(record: Record, began: float) -> Response:
            tenant = await authenticate(http.headers, self.out.tenants)
            record.tenant = tenant.name
            asked = parse_query(http.query_params, self.out.clock.now().date())
            left = began + self.settings.deadline_seconds - self.out.clock.monotonic()
            try:
                async with asyncio.timeout(left):
                    return replies.reported(await report(asked, tenant, self.reader), record)
            except TimeoutError:
                raise DeadlinePassed(f"day: {asked.day!r} could not be read in time; {ELSEWHERE}") from None

        return await self._guarded("spend", read)

    async def health(self, _http: HttpRequest) -> Response:
        """`GET /health`: version and lineup; needs no key and touches nothing."""
        lineup = self.router.lineup
        models = {tier.word: lineup.models[tier].id for tier in Tier} | {"classifier": lineup.classifier.id}
        return JSONResponse({"status": "ok", "version": __version__, "lineup": lineup.name, "models": models})

    async def nowhere(self, http: HttpRequest, error: Exception) -> Response:
        """Unknown paths and methods, in Anthropic's shape."""
        record = self._record("nobody", "request")
        status = getattr(error, "status_code", 404)
        kind = "not_found_error" if status == HTTPStatus.NOT_FOUND else "invalid_request_error"
        asked = quoted(f"{http.method} {http.scope['path']}")
        message = f"{asked} is not served; accepted: POST /v1/messages, POST /v1/route, GET /v1/spend, GET /health"
        return replies.plain_error(status, kind, message, record)

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        """Let requests that a server cancels when it ends book what they have paid for."""
        yield
        if self.in_flight:
            await asyncio.wait(self.in_flight, timeout=BOOKING_SECONDS)

    async def _stream(self, http: HttpRequest, request: Request, record: Record) -> Response:
        """The answer as events, once its content has begun: until then a failure is an HTTP error like any other."""
        try:
            begun = await unless_gone(http.receive, self.router.answer_stream(request, record))
        except ClientDisconnect:
            return replies.left(record)
        return EventStream(begun, record, self.out.telemetry)

    async def _serve(self, http: HttpRequest, kind: str, answerer: Answerer) -> Response:
        """Admit the request and let `answerer` answer it."""

        async def serve(record: Record, began: float) -> Response:
            return await answerer(await self._admit(http, record, began), record)

        return await self._guarded(kind, serve)

    async def _guarded(self, kind: str, work: Callable[[Record, float], Awaitable[Response]]) -> Response:
        """Do the work and tell what happened; every error ends here. `work` gets the time at which it began."""
        began = self.out.clock.monotonic()
        record = self._record("nobody", kind)
        self._note_in_flight()
        try:
            try:
                response = await work(record, began)
            except RouterError as error:
                response = replies.failed(error, record)
            except StoreError as error:
                self.out.telemetry.note("store_failed", request_id=record.request_id, error=str(error))
                response = replies.unavailable(record)
            except ClientDisconnect:
                response = replies.failed(InvalidRequest("body: the connection ended before it was whole"), record)
        except Exception as error:  # noqa: BLE001  the boundary: a defect becomes a 500 and a log line, not a lost request
            self.out.telemetry.defect(record.request_id, error)
            response = replies.broken(record)

        def finish() -> None:
            record.latency_ms = (self.out.clock.monotonic() - began) * 1000
            self.out.telemetry.done(record)

        if isinstance(response, EventStream):
            response.finish = finish
        else:
            finish()
        return response

    def _note_in_flight(self) -> None:
        task: asyncio.Task[None] | None = asyncio.current_task()
        if task:
            self.in_flight.add(task)
            task.add_done_callback(self.in_flight.discard)

    async def _admit(self, http: HttpRequest, record: Record, began: float) -> Request:
        tenant = await authenticate(http.headers, self.out.tenants)
        record.tenant = tenant.name
        raw = await self._body(http)
        message = parse_message(parse_json(raw))
        request = Request(
            id=record.request_id,
            tenant=tenant,
            model=message.model,
            max_tokens=message.max_tokens,
            body=message.body,
            body_bytes=len(raw),
            ask=message.ask,
            hints=parse_hints(message.router, http.headers),
            headers={name: http.headers[name] for name in FORWARDED if name in http.headers},
            deadline=began + self.settings.deadline_seconds,
            stream_deadline=began + self.settings.stream_deadline_seconds,
        )
        record.tags = request.tags
        return request

    async def _body(self, http: HttpRequest) -> bytes:
        """The body, refused as soon as it is over the limit."""
        limit = self.settings.max_body_bytes
        chunks, size = [], 0
        async for chunk in http.stream():
            size += len(chunk)
            if size > limit:
                raise RequestTooLarge(f"body: more than {limit} bytes; accepted: {limit} at the most")
            chunks.append(chunk)
        return b"".join(chunks)

    def _record(self, tenant: str, kind: str) -> Record:
        return Record(request_id=f"req_{self.out.chance.token()}", tenant=tenant, tags={}, kind=kind)


def make_app(router: Router, out: Outside, settings: RouterSettings, reader: LedgerReader) -> Starlette:
    """The ASGI app over given parts."""
    door = FrontDoor(router, out, settings, reader)
    app = Starlette(
        routes=[
            HttpRoute("/v1/messages", door.messages, methods=["POST"]),
            HttpRoute("/v1/route", door.route, methods=["POST"]),
            HttpRoute("/v1/spend", door.spend, methods=["GET"]),
            HttpRoute(HEALTH_PATH, door.health, methods=["GET"]),
        ],
        exception_handlers={404: door.nowhere, 405: door.nowhere},
        lifespan=door.lifespan,
    )
    app.router.redirect_slashes = False  # a redirect would be the one reply that is not in Anthropic's shape
    return app
