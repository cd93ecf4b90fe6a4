"""Message Batches: accepted, worked on when their time has come, listed, canceled.

A batch ends as a whole: its lines are worked on, and billed at half price, at the first look after `batch_seconds`.
Sources: docs of the Message Batches API; the types of anthropic.types.messages (2.12).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from infra.local.standin import validation
from infra.local.standin.errors import ApiError, invalid
from infra.local.standin.faults import LineFault
from infra.local.standin.meter import iso
from infra.local.standin.service import StandIn

DAY_SECONDS: Final = 86_400  # after which a batch expires
RESULTS: Final = ("succeeded", "errored", "canceled", "expired")


@dataclass(frozen=True, slots=True)
class Sender:
    """What of the headers of the create request holds for each of its lines."""

    version: str
    beta: str
    api_key_id: str


@dataclass(slots=True)
class Batch:
    """One Message Batch; times are seconds since the epoch."""

    id: str
    lines: Sequence[tuple[str, dict[str, Any]]]  # custom id and params
    sender: Sender
    created_at: float
    canceled_at: float | None = None
    ended_at: float | None = None
    results: list[dict[str, Any]] = field(default_factory=list)  # in an order of their own

    @property
    def status(self) -> str:
        """`in_progress`, `canceling` or `ended`."""
        if self.ended_at is not None:
            return "ended"
        return "in_progress" if self.canceled_at is None else "canceling"

    def row(self, base_url: str) -> dict[str, Any]:
        """The batch as the API shows it; counts are of one kind until it has ended."""
        kinds = [result["result"]["type"] for result in self.results]
        ended = self.ended_at is not None
        return {
            "id": self.id,
            "type": "message_batch",
            "processing_status": self.status,
            "request_counts": {
                "processing": 0 if ended else len(self.lines),
                **{kind: kinds.count(kind) for kind in RESULTS},
            },
            "created_at": iso(self.created_at),
            "expires_at": iso(self.created_at + DAY_SECONDS),
            "ended_at": None if self.ended_at is None else iso(self.ended_at),
            "cancel_initiated_at": None if self.canceled_at is None else iso(self.canceled_at),
            "archived_at": None,
            "results_url": f"{base_url}/v1/messages/batches/{self.id}/results" if ended else None,
        }


class Batches:
    """All batches since the last reset, oldest first."""

    def __init__(self, standin: StandIn) -> None:
        """Start empty."""
        self._standin = standin
        self._batches: dict[str, Batch] = {}

    def create(self, lines: Sequence[tuple[str, dict[str, Any]]], sender: Sender) -> Batch:
        """Accept a batch."""
        batch = Batch(self._standin.ids("msgbatch"), lines, sender, self._standin.clock())
        self._batches[batch.id] = batch
        return batch

    def find(self, batch_id: str) -> Batch:
        """The batch; raises the API's 404."""
        if batch_id not in self._batches:
            raise ApiError(404, f"Message Batch {batch_id} not found")
        return self._batches[batch_id]

    def page(self, limit: int, after_id: str | None, before_id: str | None) -> tuple[list[Batch], bool]:
        """Newest first: those after or before one of them, and whether there are more in that direction."""
        newest = list(reversed(self._batches.values()))
        places = {batch.id: place for place, batch in enumerate(newest)}
        for given in (after_id, before_id):
            if given is not None:
                self.find(given)
        if before_id is not None:
            end = places[before_id]
            return newest[max(0, end - limit) : end], end > limit
        start = 0 if after_id is None else places[after_id] + 1
        return newest[start : start + limit], len(newest) > start + limit

    def cancel(self, batch_id: str) -> Batch:
        """Stop a batch that has not ended."""
        batch = self.find(batch_id)
        if batch.ended_at is not None:
            raise invalid(f"Message Batch {batch_id} has already ended and cannot be canceled")
        batch.canceled_at = batch.canceled_at or self._standin.clock()
        return batch

    def advance(self) -> None:
        """End what is to have ended by now."""
        now = self._standin.clock()
        for batch in self._batches.values():
            due = now >= batch.created_at + min(self._standin.script.batch_seconds, DAY_SECONDS)
            if batch.ended_at is None and (batch.canceled_at is not None or due):
                self._end(batch, now)

    def clear(self) -> None:
        """Forget all batches."""
        self._batches.clear()

    def _end(self, batch: Batch, now: float) -> None:
        expired = self._standin.script.batch_seconds >= DAY_SECONDS
        for custom_id, params in batch.lines:
            if batch.canceled_at is not None:
                result: dict[str, Any] = {"type": "canceled"}
            else:
                result = {"type": "expired"} if expired else self._result(batch, custom_id, params)
            batch.results.append({"custom_id": custom_id, "result": result})
        batch.results.sort(key=lambda row: hashlib.sha256(f"{batch.id}{row['custom_id']}".encode()).digest())
        batch.ended_at = now

    def _result(self, batch: Batch, custom_id: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """What becomes of a line; its params are looked at only now, as by the API."""
        sender = batch.sender
        try:
            if params.get("stream"):
                raise invalid("stream: streaming is not supported in a Message Batch")
            body, model = validation.check(
                dict(params),
                version=sender.version,
                beta=sender.beta,
                counting=False,
                switches=self._standin.script.switches,
            )
            fault = self._standin.script.line_fault_for(model.id)
            if fault:
                return self._failed(fault)
            message = self._standin.work(body, model, (batch.id, custom_id), sender.api_key_id)
        except ApiError as error:
            return {"type": "errored", "error": error.body(self._standin.ids("req"))}
        return {"type": "succeeded", "message": message}

    def _failed(self, fault: LineFault) -> dict[str, Any]:
        if fault.result != "errored":
            return {"type": fault.result}
        error = ApiError(500, fault.message, type_=fault.type)
        return {"type": "errored", "error": error.body(self._standin.ids("req"))}
