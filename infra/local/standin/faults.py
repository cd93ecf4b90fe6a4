"""Faults: what goes wrong with a call, or with a Message Batch, because a test asked for it."""

from dataclasses import dataclass
from typing import Final

from infra.local.standin.errors import ApiError

CUT_BEFORE: Final = "cut_before"  # connection closed without an answer; not billed
CUT_AFTER: Final = "cut_after"  # billed, then closed in the middle of the answer
HTML: Final = "html"  # billed; 200 with an HTML page
NO_USAGE: Final = "no_usage"  # billed; the answer has no usage
SSE_ERROR: Final = "sse_error"  # billed; the stream ends with an error event
SSE_CUT: Final = "sse_cut"  # billed; the stream is cut
SSE_END: Final = "sse_end"  # billed; the stream ends as if it were whole, without `message_stop`
KINDS: Final = (CUT_BEFORE, CUT_AFTER, HTML, NO_USAGE, SSE_ERROR, SSE_CUT, SSE_END)
OVERLOADED: Final = 529
STREAM_ONLY: Final = (SSE_ERROR, SSE_CUT, SSE_END)
BATCH_OPERATIONS: Final = ("create", "retrieve", "list", "cancel", "results")
BATCH_KINDS: Final = (CUT_BEFORE, CUT_AFTER)
LINE_RESULTS: Final = ("errored", "expired", "canceled")


@dataclass(slots=True)
class Fault:
    """What happens to the next `times` calls that match; None: to all of them."""

    times: int | None = 1
    model: str | None = None
    purpose: str | None = None
    latency: float = 0.0
    status: int | None = None
    kind: str | None = None
    retry_after: float | None = None
    type: str | None = None
    message: str | None = None
    error_code: str | None = None
    after: int | None = None  # events of a stream that come before its fault; None: half of them, `sse_end` all but one

    @property
    def billed(self) -> bool:
        """Whether a call that it hits is billed: statuses and a cut before the answer aren't."""
        return self.status is None and self.kind != CUT_BEFORE

    def matches(self, model: str, purpose: str, *, stream: bool) -> bool:
        """Whether it applies to such a call."""
        return (
            self.times != 0
            and self.model in (None, model)
            and self.purpose in (None, purpose)
            and (stream or self.kind not in STREAM_ONLY)
        )

    def use(self) -> None:
        """Count one call."""
        if self.times is not None:
            self.times -= 1

    def error(self) -> ApiError:
        """The error of a fault with a status, or of one that ends a stream."""
        details = {"error_code": self.error_code} if self.error_code else None
        headers = {} if self.retry_after is None else {"retry-after": f"{self.retry_after:g}"}
        status = self.status or OVERLOADED
        message = self.message or ("Overloaded" if status == OVERLOADED else f"scripted fault {status}")
        return ApiError(status, message, type_=self.type, details=details, headers=headers)


@dataclass(slots=True)
class BatchFault:
    """What happens to the next `times` requests of one kind to the Message Batches API; None: to all of them.

    A status, or `cut_before`: nothing is done. `cut_after`: it is done and the reply lost, or the results cut short.
    """

    on: str
    times: int | None = 1
    status: int | None = None
    kind: str | None = None

    def use(self) -> None:
        """Count one request."""
        if self.times is not None:
            self.times -= 1


@dataclass(slots=True)
class LineFault:
    """What becomes of the next `times` lines of Message Batches that match, in place of an answer."""

    result: str
    times: int | None = 1
    model: str | None = None
    type: str = "api_error"  # of an errored line
    message: str = "scripted fault"

    def use(self) -> None:
        """Count one line."""
        if self.times is not None:
            self.times -= 1
