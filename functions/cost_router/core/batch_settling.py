"""What became of each line of a Message Batch: booked, delivered, then done; or parked again, once.

Everything here may be repeated: entries bear the line's id, a result is written anew with the same content, and a line
that is done has left its batch. So a collector that dies at any point leaves work, never damage.
"""

import contextlib
import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from cost_router.core.batch_billing import LineBilling
from cost_router.core.batch_lane import KEPT, SKEW, Batch, Line, State
from cost_router.core.batch_ports import Batches, BatchStore, Ended, LineLedger, Outcome, Settled
from cost_router.core.job_results import attribution, end_of, spent_in
from cost_router.core.ledger import Bill, Entry
from cost_router.core.ports import Clock, Results, Telemetry
from cost_router.core.pricing import BATCH, Usage, dollars
from cost_router.core.record import Record
from cost_router.core.together import for_each

ANSWERED, REFUSED, SERVER_ERROR, UNANSWERED = 200, 400, 500, 504  # statuses
TOGETHER: Final = 200  # lines that are settled at once, and results that are held in memory
TRIES: Final = 2  # times that a line is submitted
# Errors of Claude's side; source: anthropic.types.shared.error_object (2.12).
PASSING: Final = frozenset({"api_error", "overloaded_error", "rate_limit_error", "timeout_error"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is done about a line. result: None when it is parked again, or promoted to the direct lane."""

    line: Line
    entry: Entry | None
    result: Mapping[str, Any] | None
    tried: bool = True  # whether Claude had it, so that being parked again counts
    promoted: bool = False


@dataclass(frozen=True, slots=True)
class Settler:
    """Collects batches that have ended; every part is given to it."""

    batches: Batches
    store: BatchStore
    lines: LineLedger
    results: Results
    billing: LineBilling
    clock: Clock
    telemetry: Telemetry

    async def collect(self, batch: Batch, canceled: Collection[str] = ()) -> None:
        """Settle a batch if it has ended, or end it if it is time to; canceled: groups whose jobs nobody wants.

        Raises `StoreError`, `UpstreamError` and `NotConfigured`.
        """
        submitted, now = batch.submitted_at or batch.began_at, self.clock.now()
        seen = await self.batches.find(batch.upstream_id or "")
        if seen is None or not seen.ended:
            if now > submitted + KEPT:
                await self._lose(batch, await self.store.members(batch.marker))
            else:
                await self._cancel_if_due(batch, canceled)
                await self._leave(batch)
            return
        left = {line.id_in(batch.marker): line for line in await self.store.members(batch.marker)}
        read, unknown = await self._settle_results(batch, left, canceled)
        cut = read < batch.lines
        # Results without a line were settled in an earlier round, or the table's index does not show the line yet.
        early = unknown and now < submitted + 2 * SKEW
        if (cut or early) and now < submitted + KEPT:
            await self._leave(batch)
            return
        await self._lose(batch, left.values())

    async def fail(self, batch: Batch, lines: Iterable[Line], kind: str, message: str) -> None:
        """End lines that were certainly not submitted."""
        await self._settle(batch, [Verdict(line, None, _errored(kind, message)) for line in lines])

    async def _cancel_if_due(self, batch: Batch, canceled: Collection[str]) -> None:
        """Ask for the end of a batch with a deadline that comes near, or of canceled groups only."""
        now = self.clock.now()
        due = batch.cancel_at is not None and batch.cancel_at <= now
        unwanted = bool(batch.groups) and set(batch.groups) <= set(canceled)
        if not (due or unwanted):
            return
        if batch.canceled_at is None:
            asked = dataclasses.replace(batch, canceled_at=now)
            await self.store.move(asked, was=State.CREATED)  # before it is asked: canceled lines are then known as ours
            self.telemetry.note("batch_canceled", marker=batch.marker, batch=batch.upstream_id, lines=batch.lines)
        await self.batches.cancel(batch.upstream_id or "")

    async def _settle_results(self, batch: Batch, left: dict[str, Line], canceled: Collection[str]) -> tuple[int, int]:
        """Settle lines as their results come and take them out of `left`; how many results came, and without a line."""
        read, unknown, verdicts = 0, 0, list[Verdict]()
        async with contextlib.aclosing(self.batches.results(batch.upstream_id or "")) as results:
            async for outcome in results:
                read += 1
                line = left.pop(outcome.custom_id, None)
                if line is None:
                    unknown += 1
                    continue
                verdicts.append(self._verdict(line, outcome, batch, canceled))
                if len(verdicts) == TOGETHER:
                    await self._settle(batch, verdicts)
                    verdicts = []
        await self._settle(batch, verdicts)
        return read, unknown

    def _verdict(self, line: Line, outcome: Outcome, batch: Batch, canceled: Collection[str]) -> Verdict:
        result = outcome.result
        kind = result.get("type")
        if kind == "succeeded":
            message_id = _id_of(result.get("message"))
            if outcome.usage is None:
                return Verdict(line, self.billing.ambiguous(line, message_id), result)
            return Verdict(line, self.billing.entry(line, outcome.usage, message_id), result)
        if kind == "canceled" and batch.canceled_at and line.group not in canceled:
            return Verdict(line, None, None, tried=False, promoted=line.answer_by is not None)
        passing = kind == "expired" or (kind == "errored" and _error_type(result) in PASSING)
        again = passing and line.tries + 1 < TRIES
        return Verdict(line, None, None if again else result)  # not billed; source: docs of the Message Batches API

    async def _settle(self, batch: Batch, verdicts: Sequence[Verdict]) -> None:
        if verdicts:
            await self.lines.settle([Settled(row.entry, self.billing.reservation(row.line)) for row in verdicts])
            await for_each(verdicts, lambda verdict: self._end(batch, verdict))

    async def _end(self, batch: Batch, verdict: Verdict) -> None:
        line = verdict.line
        if verdict.promoted:
            await self.store.promote(line, batch.marker, self.clock.now())
            self.telemetry.note("batch_line_promoted", job=line.job)
            return
        if verdict.result is None:
            again = dataclasses.replace(line, tries=line.tries + verdict.tried, aside=None)
            await self.store.part(again, batch.marker)
            self.telemetry.note("batch_line_parked_again", job=line.job)
            return
        delivered = {"custom_id": line.custom_id, "result": verdict.result, "router": self._told(verdict)}
        await self.results.put(line.group, line.custom_id, delivered)
        ended = Ended(end_of(delivered), spent_in(delivered))
        await self.store.done(line, batch.marker, ended, self.clock.now())
        self.telemetry.done(self._record(verdict))

    async def _lose(self, batch: Batch, lines: Iterable[Line]) -> None:
        """End lines that have no result, and never will have: they may have been paid for. Closes the batch."""
        failed = _errored("api_error", "the Message Batch has no result for this job; it may have been paid for")
        lost = [Verdict(line, self.billing.ambiguous(line, None), failed) for line in lines]
        await self._settle(batch, lost)
        await self.store.close(batch, self.clock.now())
        self.telemetry.note("batch_closed", marker=batch.marker, batch=batch.upstream_id, lost=len(lost))

    async def _leave(self, batch: Batch) -> None:
        """Let the next round have it."""
        await self.store.release(batch, self.clock.now())

    def _told(self, verdict: Verdict) -> dict[str, Any]:
        line, entry = verdict.line, verdict.entry
        cost = entry.cost_usd if entry else Decimal(0)
        return {
            "model": line.model,
            "tier": self.billing.tier_of(line),
            "label": line.label,
            "cause": line.cause,
            "cost_usd": dollars(cost + line.booked_usd),
            "classifier_cost_usd": dollars(line.classifier_cost_usd),
            "baseline_usd": dollars(entry.baseline_usd if entry else Decimal(0)),
            "lane": BATCH,
            **attribution(line.request_id, line.tenant, line.tags),
        }

    def _record(self, verdict: Verdict) -> Record:
        """What is told about a finished line; its classifier call was told when it was parked."""
        line, entry, result = verdict.line, verdict.entry, verdict.result or {}
        answered = result.get("type") == "succeeded"
        return Record(
            request_id=line.request_id,
            tenant=line.tenant,
            tags=line.tags,
            kind="job",
            job=line.job,
            lane=BATCH,
            label=line.label,
            cause=line.cause,
            tier=entry.tier if entry else None,
            model=line.model,
            arm=line.arm,
            shadow=entry.shadow if entry else line.shadow,
            usage=entry.usage if entry else Usage(),
            bill=Bill(entry.cost_usd, baseline_usd=entry.baseline_usd) if entry else Bill(),
            ambiguous=int(bool(entry and entry.flags)),
            upstream_request_id=entry.upstream_request_id if entry else None,
            status=ANSWERED if answered else _status(result),
            error=None if answered else _error_type(result),
            outcome="done" if answered else "failed",
        )


def _errored(kind: str, message: str) -> dict[str, Any]:
    error = {"type": "error", "error": {"type": kind, "message": message}}
    return {"type": "errored", "error": error}


def _error_type(result: Mapping[str, Any]) -> str:
    """The type of an errored line's error; `expired` or `canceled` of one that was not tried."""
    error = result.get("error")
    inner = error.get("error") if isinstance(error, Mapping) else None
    return str(inner.get("type")) if isinstance(inner, Mapping) else str(result.get("type"))


def _status(result: Mapping[str, Any]) -> int:
    """The status for the log and for the count of errors: whose fault it was."""
    if result.get("type") == "expired":
        return UNANSWERED
    return SERVER_ERROR if _error_type(result) in PASSING else REFUSED


def _id_of(message: object) -> str | None:
    return str(message["id"]) if isinstance(message, Mapping) and message.get("id") else None
