"""What every endpoint does first and last: knows the tenant, reads the body, tells what happened, answers errors."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from cost_router.core import guards
from cost_router.core.errors import InvalidRequest, RequestTooLarge, RouterError, StoreError, quoted
from cost_router.core.record import Record
from cost_router.core.request import Request, Tenant
from cost_router.core.router import Router
from cost_router.handlers import replies
from cost_router.handlers.auth import authenticate
from cost_router.handlers.hints import parse_hints
from cost_router.handlers.outside import Outside
from cost_router.handlers.schemas import parse_message
from cost_router.handlers.settings import RouterSettings
from cost_router.handlers.streaming import Lasting
from cost_router.handlers.strict_json import parse_json
from cost_router.handlers.waiting import HEARTBEAT, Heartbeat

BOOKING_SECONDS: Final = 5.0  # for what was in mid-air when the process is told to end
# A stream says nothing until its content begins, because its headers name the tier: API Gateway cuts it after 300 s.
SILENT_SECONDS: Final = 295.0
FORWARDED: Final = ("anthropic-version", "anthropic-beta")
Work = Callable[[Record, float], Awaitable[Response]]  # given the record to fill, and the time at which it began


@dataclass(frozen=True, slots=True)
class Front:
    """The parts that endpoints share."""

    router: Router
    out: Outside
    settings: RouterSettings
    heartbeat: Heartbeat = HEARTBEAT
    in_flight: set[asyncio.Task[None]] = field(default_factory=set)

    async def guarded(self, kind: str, work: Work) -> Response:
        """Do the work and tell what happened; every error ends here."""
        began = self.out.clock.monotonic()
        record = self.record(kind)
        record.began = began
        self._note_in_flight()
        response = await self.replied(work(record, began), record)

        def finish() -> None:
            record.latency_ms = (self.out.clock.monotonic() - began) * 1000
            self.out.telemetry.done(record)

        if isinstance(response, Lasting):
            response.finish = finish
        else:
            finish()
        return response

    async def replied(self, work: Awaitable[Response], record: Record) -> Response:
        """What the work gives, or the reply to its error; only its being cancelled goes on."""
        try:
            try:
                return await work
            except RouterError as error:
                return replies.failed(error, record)
            except StoreError as error:
                self.out.telemetry.note("store_failed", request_id=record.request_id, error=str(error))
                return replies.unavailable(record)
            except ClientDisconnect:
                return replies.failed(InvalidRequest("body: the connection ended before it was whole"), record)
        except Exception as error:  # noqa: BLE001  the boundary: a defect becomes a 500 and a log line, not a lost request
            self.out.telemetry.defect(record.request_id, error)
            return replies.broken(record)

    def record(self, kind: str) -> Record:
        """The record of a new request, of nobody yet."""
        return Record(request_id=f"req_{self.out.chance.token()}", tenant="nobody", tags={}, kind=kind)

    async def tenant(self, http: HttpRequest, record: Record) -> Tenant:
        """The tenant of the caller's key; raises `Unauthenticated`."""
        tenant = await authenticate(http.headers, self.out.tenants)
        record.tenant = tenant.name
        return tenant

    async def admit(self, http: HttpRequest, record: Record, began: float) -> Request:
        """The request for an answer in an HTTP request. Raises `Unauthenticated` and `InvalidRequest`."""
        tenant = await self.tenant(http, record)
        raw = await self.body(http)
        message = parse_message(parse_json(raw))
        guards.check(message.body, tenant)
        seconds = self.settings.deadline_seconds
        if message.body.get("stream") is True:
            seconds = min(seconds, SILENT_SECONDS)
        request = Request(
            id=record.request_id,
            tenant=tenant,
            model=message.model,
            max_tokens=message.max_tokens,
            body=message.body,
            body_bytes=len(raw),
            ask=message.ask,
            hints=parse_hints(message.router, http.headers),
            headers=forwarded(http),
            deadline=began + seconds,
            stream_deadline=began + self.settings.stream_deadline_seconds,
        )
        record.tags = request.tags
        return request

    async def body(self, http: HttpRequest) -> bytes:
        """The body, refused as soon as it is over the limit."""
        limit = self.settings.max_body_bytes
        chunks, size = [], 0
        async for chunk in http.stream():
            size += len(chunk)
            if size > limit:
                raise RequestTooLarge(f"body: more than {limit} bytes; accepted: {limit} at the most")
            chunks.append(chunk)
        return b"".join(chunks)

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        """Let requests that a server cancels when it ends book what they have paid for."""
        yield
        if self.in_flight:
            await asyncio.wait(self.in_flight, timeout=BOOKING_SECONDS)

    def _note_in_flight(self) -> None:
        task: asyncio.Task[None] | None = asyncio.current_task()
        if task:
            self.in_flight.add(task)
            task.add_done_callback(self.in_flight.discard)


def forwarded(http: HttpRequest) -> dict[str, str]:
    """The caller's headers that go to Claude as they are, repeated ones as one list. Raises `InvalidRequest`."""
    found = {name: ",".join(http.headers.getlist(name)) for name in FORWARDED if name in http.headers}
    for name, value in found.items():
        if not (value.isascii() and value.isprintable()):
            raise InvalidRequest(f"{name}: {quoted(value)}; accepted: printable ASCII")
    return found
