"""Streamed answers: Claude's server-sent events as they come, then what they cost.

After Claude's last event comes one comment, which clients of server-sent events skip:

    : x-router-cost-usd=0.000116 x-router-classifier-cost-usd=0.000044 x-router-baseline-usd=0.0046 ...

that is the headers of an unstreamed answer as NAME=VALUE, separated by spaces, once the request is booked. A stream
that breaks after its first event ends with an `error` event in Anthropic's shape, then the comment.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, TypeVar

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from cost_router.core.errors import RouterError, anthropic_shape
from cost_router.core.ports import Telemetry
from cost_router.core.record import Record
from cost_router.core.streamed import StreamedAnswer
from cost_router.handlers import replies

T = TypeVar("T")
STALLED_SECONDS: Final = 5.0  # after the deadline, for a caller who takes what there is too slowly
DEFECT: Final = {"type": "error", "error": {"type": "api_error", "message": "the router failed; its log tells why"}}


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives; when the caller leaves first it is cancelled, waited for, and `ClientDisconnect` is raised."""
    task, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait((task, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
    finally:
        leaving.cancel()
        if not task.done():
            task.cancel()  # once: what it books on its way out must not be cancelled too
            await asyncio.wait((task,))
    return task.result()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class Lasting(Response):
    """A response that goes on after its endpoint has returned it; `finish` is called once, when it is over, booked."""

    finish: Callable[[], None] = staticmethod(lambda: None)  # before somebody asks to be told


class EventStream(Lasting):
    """A streamed answer as an ASGI response."""

    def __init__(self, answer: StreamedAnswer, record: Record, telemetry: Telemetry) -> None:
        """The headers say what is known before the answer is whole."""
        stream = answer.live.stream
        headers = {
            **replies.decision_headers(record),
            **stream.headers,
            "request-id": stream.request_id or record.request_id,
            "cache-control": "no-cache",
        }
        super().__init__(headers=headers, media_type="text/event-stream")
        del self.headers["content-length"]
        self.answer = answer
        self.record = record
        self.telemetry = telemetry

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events one by one, each once the one before has been taken."""
        try:
            await unless_gone(receive, self._send_all(send))
        except (ClientDisconnect, asyncio.CancelledError) as error:
            if not self.answer.live.whole and self.record.error is None:
                self.record.status, self.record.error = replies.CALLER_LEFT, "abandoned"
            if isinstance(error, asyncio.CancelledError):  # the process ends
                raise
        finally:
            await self.answer.leave()
            self.finish()

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        last = b""
        try:
            await self._send_events(send)
        except RouterError as error:
            last = self._error_event(anthropic_shape(error), replies.status_of(error))
        except ClientDisconnect:  # nothing more can be told to who takes nothing
            raise
        except Exception as error:  # noqa: BLE001  the boundary, as in the app: a defect ends the stream, and is told
            self.telemetry.defect(self.record.request_id, error)
            last = self._error_event(DEFECT, replies.SERVER_ERROR)
        last += comment(replies.cost_headers(self.answer.bill, self.answer.remaining_usd))
        await send({"type": "http.response.body", "body": last, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_events(self, send: Send) -> None:
        """Claude's events; the answer is booked when this ends, however it ends.

        Raises `ClientDisconnect` when the caller is still there but takes nothing until the time is up.
        """
        try:
            async with asyncio.timeout(self.answer.seconds_left + STALLED_SECONDS), self.answer as answer:
                while (event := await answer.next()) is not None:
                    await send({"type": "http.response.body", "body": event.raw, "more_body": True})
        except TimeoutError:
            raise ClientDisconnect from None

    def _error_event(self, shape: Mapping[str, Any], status: int) -> bytes:
        """The event that ends a stream which broke; fills the record's status and error type."""
        self.record.status, self.record.error = status, str(shape["error"].get("type"))
        body = {"request_id": self.answer.live.stream.request_id or self.record.request_id, **shape}
        return b"event: error\ndata: " + json.dumps(body).encode() + b"\n\n"


def comment(fields: Mapping[str, str]) -> bytes:
    """One comment of NAME=VALUE pairs, with the blank line that ends it."""
    return f": {' '.join(f'{name}={value}' for name, value in fields.items())}\n\n".encode()
