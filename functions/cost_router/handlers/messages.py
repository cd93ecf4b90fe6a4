"""`POST /v1/messages`, unstreamed or streamed, and `POST /v1/route`, the dry run."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route as HttpRoute

from cost_router.core.errors import InvalidRequest
from cost_router.core.record import Record
from cost_router.core.request import Request
from cost_router.core.streamed import StreamedAnswer
from cost_router.handlers import replies
from cost_router.handlers.buffered import sent_whole
from cost_router.handlers.front import Front
from cost_router.handlers.streaming import EventStream, unless_gone
from cost_router.handlers.waiting import in_time

Answerer = Callable[[Request, Record], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class MessageEndpoints:
    """Requests for an answer."""

    front: Front

    def routes(self) -> list[HttpRoute]:
        """Paths and methods."""
        return [
            HttpRoute("/v1/messages", self.messages, methods=["POST"]),
            HttpRoute("/v1/route", self.route, methods=["POST"]),
        ]

    async def messages(self, http: HttpRequest) -> Response:
        """`POST /v1/messages`."""

        async def answer(request: Request, record: Record) -> Response:
            if request.streamed:
                return await self._stream(http, request, record)
            return await self._whole(http, request, record)

        return await self._serve(http, "request", answer)

    async def route(self, http: HttpRequest) -> Response:
        """`POST /v1/route`: a dry run."""

        async def decide(request: Request, record: Record) -> Response:
            return replies.routed(await self.front.router.route(request, record), record)

        return await self._serve(http, "route", decide)

    async def _whole(self, http: HttpRequest, request: Request, record: Record) -> Response:
        """The answer in one piece; when it takes long, after white space that keeps the connection."""

        async def answer() -> Response:
            return replies.answered(await self.front.router.answer(request, record), record)

        heartbeat = None if sent_whole(http.scope) else self.front.heartbeat
        try:
            return await in_time(http.receive, self.front.replied(answer(), record), record, heartbeat)
        except ClientDisconnect:
            return replies.left(record)

    async def _stream(self, http: HttpRequest, request: Request, record: Record) -> Response:
        """The answer as events, once its content has begun: until then a failure is an HTTP error like any other."""
        begun: list[StreamedAnswer] = []

        async def begin() -> None:
            begun.append(await self.front.router.answer_stream(request, record))

        try:
            await unless_gone(http.receive, begin())
        except BaseException as error:
            for answer in begun:  # it had come when this was cancelled
                await answer.leave()
            if isinstance(error, ClientDisconnect):
                return replies.left(record)
            raise
        return EventStream(begun[0], record, self.front.out.telemetry)

    async def _serve(self, http: HttpRequest, kind: str, answerer: Answerer) -> Response:
        """Admit the request and let `answerer` answer it."""

        async def serve(record: Record, began: float) -> Response:
            if whole := sent_whole(http.scope):
                whole.record = record
            request = await self.front.admit(http, record, began)
            if request.streamed and request.hints.cascade:
                raise InvalidRequest(
                    "x-router-cascade: the answer is to be streamed, and would be sent before it could be checked; "
                    "accepted: stream: false, or x-router-cascade: off"
                )
            return await answerer(request, record)

        return await self.front.guarded(kind, serve)
