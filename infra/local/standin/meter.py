"""The meter: every call that would be billed, in order."""

import datetime as dt
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Billed:
    """One billed call: usage as the API reports it, never a body."""

    request_id: str  # of a batch line, which has none, the id of its message
    model: str
    usage: dict[str, Any]
    purpose: str  # "classifier", "verifier" or "answer"
    stream: bool
    at: float  # seconds since the epoch
    label: str | None  # what the classifier, or the verifier, answered
    fault: str | None  # kind of the fault that hit the answer
    api_key_id: str | None = None
    batch: tuple[str, str] | None = None  # id of the Message Batch and custom id of its line
    user_id: str | None = None  # `metadata.user_id` of the request: whom its sender made it for

    def row(self) -> dict[str, Any]:
        """The call as `GET /_meter` shows it."""
        row = {
            "request_id": self.request_id,
            "model": self.model,
            "usage": self.usage,
            "processing": "batch" if self.batch else "realtime",
            "at": iso(self.at),
            "purpose": self.purpose,
            "stream": self.stream,
            "label": self.label,
            "fault": self.fault,
            "api_key_id": self.api_key_id,
            "user_id": self.user_id,
        }
        return row | dict(zip(("batch_id", "custom_id"), self.batch or (), strict=False))


class Meter:
    """All billed calls since the last reset."""

    def __init__(self) -> None:
        """Start empty."""
        self._calls: list[Billed] = []
        self._limited: list[tuple[str, float]] = []  # model and time of calls that a limit refused: not billed

    def bill(self, call: Billed) -> None:
        """Add a call."""
        self._calls.append(call)

    def rows(self, since: int = 0) -> list[dict[str, Any]]:
        """All calls but the first `since`."""
        return [call.row() for call in self._calls[since:]]

    def refuse(self, model: str, at: float) -> None:
        """Note a call that met a limit."""
        self._limited.append((model, at))

    def limited(self) -> list[dict[str, str]]:
        """The calls that met a limit."""
        return [{"model": model, "at": iso(at)} for model, at in self._limited]

    def __len__(self) -> int:
        """How many calls were billed."""
        return len(self._calls)

    def clear(self) -> None:
        """Forget all calls."""
        self._calls.clear()
        self._limited.clear()


def iso(at: float) -> str:
    """UTC time with milliseconds, ISO 8601."""
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
