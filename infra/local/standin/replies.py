"""What goes back over HTTP, also when the connection is to break.

To break one, the reply closes the transport that `server.py` puts into the request's state. Without one (an app driven
in-process) it raises `ConnectionAbortedError`.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Receive, Scope, Send

from infra.local.standin import faults, streaming
from infra.local.standin.errors import ApiError
from infra.local.standin.service import Outcome

PAGE = "<!doctype html><title>stand-in</title><h1>502 Bad Gateway</h1><p>simulated fault: not an answer of the API</p>"


class Chunks(Response):
    """Sends its parts one by one, `pause` seconds apart; closes the connection after the last one if it is `cut`."""

    def __init__(
        self,
        parts: list[bytes],
        *,
        media_type: str,
        headers: dict[str, str] | None = None,
        pause: Callable[[], Awaitable[None]] | None = None,
        cut: bool = False,
    ) -> None:
        """Keep the parts; a `content-length` among the headers may promise more than they hold."""
        super().__init__(media_type=media_type, headers=headers)
        if "content-length" not in (headers or {}):
            del self.headers["content-length"]
        self._parts = parts
        self._pause = pause
        self._cut = cut

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the reply."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for part in self._parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
            if self._pause:
                await self._pause()
        if self._cut:
            await _hang_up(scope, receive)
        else:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class Silence(Response):
    """Closes the connection without a byte of an answer."""

    async def __call__(self, scope: Scope, receive: Receive, _send: Send) -> None:
        """Hang up."""
        await _hang_up(scope, receive)


def of(outcome: Outcome, request_id: str, *, stream: bool, pause: Callable[[], Awaitable[None]] | None) -> Response:
    """The HTTP reply to a call."""
    if outcome.kind == faults.CUT_BEFORE:
        return Silence()
    if outcome.message is None:
        return of_error(outcome.error or ApiError(500, "Internal server error"), request_id)
    if outcome.kind == faults.HTML:
        return HTMLResponse(PAGE)
    message = outcome.message
    if outcome.kind == faults.NO_USAGE:
        message = {name: value for name, value in message.items() if name != "usage"}
    if stream:
        return _event_stream(message, outcome, request_id, pause)
    if outcome.kind == faults.CUT_AFTER:
        whole = json.dumps(message).encode()
        headers = (outcome.headers or {}) | {"content-length": str(len(whole))}
        return Chunks([whole[: len(whole) // 2]], media_type="application/json", headers=headers, cut=True)
    return JSONResponse(message, headers=outcome.headers)


def of_error(error: ApiError, request_id: str) -> JSONResponse:
    """An error in the API's shape."""
    return JSONResponse(error.body(request_id), status_code=error.status, headers=error.headers)


def _event_stream(
    message: dict[str, Any], outcome: Outcome, request_id: str, pause: Callable[[], Awaitable[None]] | None
) -> Response:
    made = streaming.events(message)
    cut = outcome.kind in (faults.CUT_AFTER, faults.SSE_CUT)
    if cut or outcome.kind == faults.SSE_ERROR:
        made = streaming.head(made, outcome.after)
    if outcome.kind == faults.SSE_END:
        made = streaming.head(made, len(made) if outcome.after is None else outcome.after)
    if outcome.kind == faults.SSE_ERROR and outcome.error:
        made.append(streaming.error_event(outcome.error, request_id))
    headers = (outcome.headers or {}) | {"cache-control": "no-cache"}
    return Chunks(made, media_type="text/event-stream; charset=utf-8", headers=headers, pause=pause, cut=cut)


async def _hang_up(scope: Scope, receive: Receive) -> None:
    transport = scope.get("state", {}).get("transport")
    if not isinstance(transport, asyncio.Transport):
        raise ConnectionAbortedError("scripted fault: the connection is cut here")
    transport.close()
    while (await receive())["type"] != "http.disconnect":
        pass
