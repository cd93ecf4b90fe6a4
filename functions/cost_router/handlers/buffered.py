r"""The entrance that sends every answer whole: the app behind Mangum, in Lambda's own runtime.

What a function returns is one JSON value of at most 6,291,556 bytes, in which the body is a string: each quote and
backslash of it takes two bytes, and so does each line feed. An answer that is larger was paid for all the same, so it
is kept in the results bucket, and the caller is told where: an error in Anthropic's shape, which no SDK repeats.

Why nothing is refused beforehand. An answer of 128,000 output tokens, the most that a model writes, fits while its
tokens take 49 bytes each on average after escaping. A token of prose is 3 to 5 bytes, of which the string makes a fifth
more: about 0.7 MB. But no sound bound follows from `max_tokens`:

- some tokens are runs of dozens of spaces or line feeds: 64 spaces take 64 bytes, and 128,000 of those 8 MB; a line
  feed is `\n` in Claude's JSON and `\\n` in the string, three bytes, so that a run of 32 takes 96; a quote takes four;
- results of web searches (an encrypted text of some kilobytes each) and citations (the text they cite) are in the
  answer without being output tokens;
- in a transcript each event has 134 bytes around its text: with one token in each, 45,600 tokens do.

So a bound would have to assume the longest token everywhere: with 128 bytes it forbids everything above 49,000 tokens,
where prose takes a few per cent of the room. And the deadline of 24 s lets a fast model write some 5,000 tokens: nearly
all that it would refuse fits. Streamed by the web adapter an answer may have 200 MB, 1,500 bytes for each of 128,000
tokens: that is out of reach.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, Protocol

from mangum import Mangum
from mangum.adapter import DEFAULT_TEXT_MIME_TYPES
from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cost_router.core.errors import StoreError
from cost_router.core.ports import Telemetry
from cost_router.core.record import Record
from cost_router.handlers import replies

EXTENSION: Final = "claude-cost-router.sent-whole"  # of the ASGI scope
MOST_BYTES: Final = 6_291_556  # 6 MiB and 100 bytes. Source: Lambda's own error for larger responses
MOST_PER_BYTE: Final = 6  # a control character becomes \u0000
REST: Final = 10_000  # bytes of a reply beside its body: the gateway takes 10,240 of headers
EVENTS: Final = "text/event-stream"
JSON_LINES: Final = "application/x-jsonl"  # of a batch's results; what Mangum does not know to be text it sends encoded
BODY_HEADERS: Final = ("content-length", "content-type", "cache-control")
STREAMING: Final = "a deployment with streaming=true, which sends up to 200 MB"
INSTEAD: Final = f"accepted: a smaller max_tokens, a job on the queue, or {STREAMING}"
ELSEWHERE: Final = f"accepted: {STREAMING}; results of jobs and batches are in the results bucket too"


@dataclass(slots=True)
class SentWhole:
    """Tells the app that a reply goes out when it is whole, and is told by it whose answer that is."""

    record: Record | None = None


def sent_whole(scope: Scope) -> SentWhole | None:
    """Whether, and of which request, the reply goes out when it is whole; None where it goes out as it comes."""
    found: SentWhole | None = scope.get("extensions", {}).get(EXTENSION)
    return found


class LargeAnswers(Protocol):
    """Answers that are too large to be sent."""

    async def keep(self, tenant: str, name: str, content: bytes, media_type: str) -> tuple[str, str]:
        """Keep an answer; gives its location, and a URL with which anybody can get it for an hour.

        Raises `StoreError`.
        """


@dataclass(slots=True)
class Reply:
    """A reply as the app sends it, until it is whole."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)

    async def take(self, message: Message) -> None:
        """The app's `send`."""
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message["headers"])
        else:
            self.parts.append(message.get("body", b""))


class BufferedEntrance:
    """Lambda's handler: events in, whole replies out, none larger than `most_bytes`."""

    def __init__(self, app: ASGIApp, answers: LargeAnswers, telemetry: Telemetry, most_bytes: int = MOST_BYTES) -> None:
        """The app is told that its replies are sent whole."""
        self.app = app
        self.answers = answers
        self.telemetry = telemetry
        self.most_bytes = most_bytes
        text = [*DEFAULT_TEXT_MIME_TYPES, JSON_LINES]
        self.mangum = Mangum(self._whole, lifespan="off", text_mime_types=text)

    def __call__(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        """What API Gateway is to send for one of its events."""
        return self.mangum(event, context)

    async def _whole(self, scope: Scope, receive: Receive, send: Send) -> None:
        told, reply = SentWhole(), Reply()
        extensions = {**scope.get("extensions", {}), EXTENSION: told}
        await self.app({**scope, "extensions": extensions}, receive, reply.take)
        body = b"".join(reply.parts)
        size = self._size(scope, reply, body)
        response = await self._too_large(reply, body, size, told.record) if size > self.most_bytes else None
        headers, body = (response.raw_headers, bytes(response.body)) if response else (reply.headers, body)
        status = response.status_code if response else reply.status
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    def _size(self, scope: Scope, reply: Reply, body: bytes) -> int:
        """Bytes of what Lambda is given: Mangum's reply as JSON, in UTF-8, as the runtime of Python 3.13 writes it.

        Of small replies an upper bound, which takes no time.
        """
        bound = len(body) * MOST_PER_BYTE + REST
        if bound <= self.most_bytes:
            return bound
        gateway = self.mangum.infer(scope["aws.event"], scope["aws.context"])
        given = gateway({"status": reply.status, "headers": [list(pair) for pair in reply.headers], "body": body})
        return len(json.dumps(given, ensure_ascii=False).encode("utf-8", "surrogatepass"))

    async def _too_large(self, reply: Reply, body: bytes, size: int, record: Record | None) -> Response:
        """The error in place of a reply that cannot be sent; an answer is kept."""
        kept = MutableHeaders(raw=[pair for pair in reply.headers if pair[0].decode() not in BODY_HEADERS])
        details: dict[str, Any] = {"bytes": size, "most_bytes": self.most_bytes}
        message = f"the reply has {size} bytes, and this deployment sends {self.most_bytes} at the most; "
        if record is not None and reply.status == HTTPStatus.OK:
            kept = MutableHeaders(replies.cost_headers(record.bill, None) | dict(kept))
            headers = MutableHeaders(raw=reply.headers)
            found = await self._keep(record, body, headers.get("content-type", ""), size)
            details |= found
            message += (KEPT.format(**found) if found else LOST) + INSTEAD
        else:
            message += ELSEWHERE
        error = {"type": "api_error", "message": message, "details": details}
        shape = {"type": "error", "error": error, "request_id": kept.get("request-id")}
        kept["x-should-retry"] = "false"
        return JSONResponse(shape, replies.SERVER_ERROR, kept)

    async def _keep(self, record: Record, body: bytes, media_type: str, size: int) -> Mapping[str, str]:
        """Where the answer is; empty when it could not be kept."""
        ending = "sse" if media_type.startswith(EVENTS) else "json"
        known: dict[str, object] = {"request_id": record.request_id, "tenant": record.tenant, "bytes": size}
        try:
            location, url = await self.answers.keep(record.tenant, f"{record.request_id}.{ending}", body, media_type)
        except StoreError as error:
            self.telemetry.note("large_answer_lost", **known, error=str(error))
            return {}
        self.telemetry.note("large_answer_kept", **known, location=location)
        return {"location": location, "url": url}


KEPT: Final = (
    "the answer was paid for and is kept at {location}, which the URL in error.details gives to anybody for an hour; "
)
LOST: Final = "the answer was paid for, and is lost, because the results bucket could not be reached; "
