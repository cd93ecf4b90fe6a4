"""Unstreamed answers that take long: the connection lives on white space, with which a JSON text may begin.

What stands between the router and its caller cuts a connection on which nothing moves: API Gateway after five minutes,
others after one. So when there is no answer after `Heartbeat.after` seconds, the response begins without it: status
200, the headers that are known by then, one line feed every `Heartbeat.every` seconds, then Claude's body byte for
byte. By then the status is sent, so that:

- an error comes as Anthropic's error object in the body of a 200. The other way, cutting the connection, would make
  every SDK ask again, and the caller pay again;
- costs are no headers: `GET /v1/requests/{id}` tells them, by the id in `x-router-request-id`;
- `request-id` is ours, and `x-router-model`, `-tier` and `-cause` are of the model that was being asked when the
  response began: the body's `model` is the one that answered.

An answer or an error that comes before is sent as it is. Where answers are sent whole (`handlers/buffered.py`) nothing
begins before its end: a heartbeat would reach nobody, and the status would be lost for nothing.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from cost_router.core.record import Record
from cost_router.handlers import replies
from cost_router.handlers.streaming import Lasting, unless_gone

BEAT: Final = b"\n"


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """When a response begins without its answer, and how often it tells that it is alive; seconds."""

    after: float = 60.0  # most answers come before, with status and headers of their own
    every: float = 30.0  # the shortest idle time that is usual on the way is a minute


HEARTBEAT: Final = Heartbeat()


async def in_time(
    receive: Receive, work: Coroutine[Any, Any, Response], record: Record, heartbeat: Heartbeat | None
) -> Response:
    """The response that `work` gives or, when that takes long, one that begins before it.

    work: gives a response whatever happens. heartbeat: None where answers are sent whole. When the caller leaves, the
    work is cancelled and waited for, and `ClientDisconnect` is raised.
    """
    task = asyncio.ensure_future(work)
    try:
        await unless_gone(receive, _done(task, heartbeat.after if heartbeat else None))
    except BaseException:
        await _cancelled(task)
        raise
    return LateAnswer(task, record, heartbeat.every) if heartbeat and not task.done() else task.result()


class LateAnswer(Lasting):
    """A response that begins before there is an answer."""

    def __init__(self, work: asyncio.Future[Response], record: Record, every: float) -> None:
        """The headers say what is known by now."""
        headers = {**replies.decision_headers(record), "request-id": record.request_id}
        super().__init__(headers=headers, media_type="application/json")
        del self.headers["content-length"]
        self.work = work
        self.record = record
        self.every = every

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send white space until there is an answer, then the answer."""
        try:
            await unless_gone(receive, self._send_all(send))
        except ClientDisconnect:
            pass
        finally:
            await _cancelled(self.work)
            if self.work.cancelled():
                replies.left(self.record)
            self.finish()

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        while not self.work.done():
            await send({"type": "http.response.body", "body": BEAT, "more_body": True})
            await _done(self.work, self.every)
        await send({"type": "http.response.body", "body": self.work.result().body, "more_body": False})


async def _done(work: asyncio.Future[Response], seconds: float | None) -> None:
    """Wait for the work, that long at the most."""
    await asyncio.wait((work,), timeout=seconds)


async def _cancelled(work: asyncio.Future[Response]) -> None:
    """End the work unless it has ended, and wait for what it books on its way out."""
    if not work.done():
        work.cancel()
        await asyncio.wait((work,))
