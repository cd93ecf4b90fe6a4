"""The road of one job from the queue: answered, failed for good, or put back for later."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cost_router.core import capability
from cost_router.core.backoff import full_jitter, wait_before
from cost_router.core.batch_lane import Line
from cost_router.core.batch_ports import BatchStore
from cost_router.core.calls import QUEUED
from cost_router.core.errors import (
    BudgetExhausted,
    DeadlinePassed,
    Failure,
    InvalidRequest,
    NotConfigured,
    NotDelivered,
    PaceExceeded,
    RouterError,
    StoreError,
    UpstreamError,
    anthropic_shape,
)
from cost_router.core.ports import Attempts, Chance, Clock, Results
from cost_router.core.pricing import BATCH, dollars
from cost_router.core.record import Record
from cost_router.core.request import Request
from cost_router.core.router import Answer, Route, Router

DELIVERY_TRIES: Final = 4  # of a result that was paid for, before the job is given back
ATTEMPTS: Final = 5  # failures of Claude's side, other than limits, after which a job is failed
LONGEST_WAIT: Final = 900.0  # seconds that a job is put back for
SHORTEST_WAIT: Final = 5.0
DIRECT: Final = "direct"
LANES: Final = (DIRECT, BATCH)
REFUSED: Final = 400
UNANSWERED: Final = 504


@dataclass(frozen=True, slots=True)
class Job:
    """One request dropped on the queue."""

    group: str
    custom_id: str
    request: Request
    receive_count: int
    answer_by: dt.datetime | None = None
    lane: str = DIRECT

    @property
    def id(self) -> str:
        """`GROUP/CUSTOM_ID`."""
        return f"{self.group}/{self.custom_id}"


@dataclass(frozen=True, slots=True)
class Deferred:
    """The job goes back on the queue for `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Finished:
    """The job has a result; `failed` when the result is an error."""

    failed: bool


@dataclass(frozen=True, slots=True)
class JobRunner:
    """Runs jobs of the direct lane, and labels and parks those of the batch lane."""

    router: Router
    results: Results
    attempts: Attempts
    lines: BatchStore
    clock: Clock
    chance: Chance

    async def run(self, job: Job, record: Record) -> Finished | Deferred:
        """Answer the job and keep the result, unless it has one already; raises `StoreError`."""
        if await self.results.exists(job.group, job.custom_id):
            record.outcome = "already_done"
            return Finished(failed=False)
        if job.answer_by and job.answer_by <= self.clock.now():
            error = InvalidRequest(
                f"router.answer_by: {job.answer_by.isoformat()!r} had passed before the job was started"
            )
            return await self.fail(job.group, job.custom_id, error, record)
        return await self._take(job, record)

    async def _take(self, job: Job, record: Record) -> Finished | Deferred:
        try:
            return await (self._park(job, record) if job.lane == BATCH else self._answer(job, record))
        except DeadlinePassed as error:
            # Nothing was lost while the job waited for its turn; a call given up on may have been paid for.
            return await self._count(job, error, record) if record.ambiguous else Deferred(self._wait(job, None))
        except (BudgetExhausted, NotConfigured, PaceExceeded) as error:
            return self._put_off(job, error)
        except UpstreamError as error:
            return await self._upstream_failed(job, error, record)
        except RouterError as error:
            return await self.fail(job.group, job.custom_id, error, record)

    async def _answer(self, job: Job, record: Record) -> Finished:
        answer = await self.router.answer(job.request, record, QUEUED)
        await self._deliver(job, succeeded(job.custom_id, answer))
        return Finished(failed=False)

    async def _park(self, job: Job, record: Record) -> Finished:
        """Label the job, choose its model, and leave the rest to the collector."""
        if await self.lines.is_parked(job.group, job.custom_id, self.clock.now()):
            record.outcome = "already_done"
            return Finished(failed=False)
        route = await self.router.route(job.request, record, QUEUED)
        body = capability.adapt(job.request.body, route.choice.model)
        parked = await self.lines.park(self._line(job, route), body, self.clock.now())
        record.outcome = "parked" if parked else "already_done"
        return Finished(failed=False)

    def _line(self, job: Job, route: Route) -> Line:
        request, choice = job.request, route.choice
        return Line(
            request_id=request.id,
            group=job.group,
            custom_id=job.custom_id,
            tenant=request.tenant.name,
            tags=request.tags,
            session=request.hints.session,
            label=route.label,
            cause=choice.cause,
            model=choice.model.id,
            asked=request.model,
            most_prompt_tokens=request.ask.most_tokens(request.body_bytes, choice.model.context_window),
            max_tokens=request.max_tokens,
            body_bytes=request.body_bytes,
            classifier_cost_usd=route.bill.classifier_cost_usd,
            parked_at=self.clock.now(),
            terms=request.ask.terms,
        )

    def _put_off(self, job: Job, error: BudgetExhausted | NotConfigured | PaceExceeded) -> Deferred:
        """Wait for the session's next minute, a larger budget, tomorrow's, or what an operator has to mend."""
        if isinstance(error, PaceExceeded):
            return Deferred(max(SHORTEST_WAIT, error.retry_after))
        if isinstance(error, BudgetExhausted):
            self.router.telemetry.note("budget_exhausted", job=job.id, rule=error.rule)
        else:
            self.router.telemetry.note("not_configured", error=str(error))
        return Deferred(LONGEST_WAIT)

    async def _deliver(self, job: Job, result: Mapping[str, Any]) -> None:
        """Keep a result that was paid for, with patience; raises `NotDelivered`."""
        for attempt in range(1, DELIVERY_TRIES + 1):
            try:
                await self.results.put(job.group, job.custom_id, result)
            except StoreError as error:
                if attempt == DELIVERY_TRIES:
                    raise NotDelivered(str(error)) from error
                await self.clock.sleep(full_jitter(attempt, self.chance.fraction(), base=1.0))
            else:
                return

    async def reject(self, group: str, custom_id: str, error: RouterError, record: Record) -> Finished:
        """`fail` for a message that is no job; it must not overwrite the result of the job whose name it bears."""
        if await self.results.exists(group, custom_id):
            record.outcome = "already_done"
            return Finished(failed=False)
        return await self.fail(group, custom_id, error, record)

    async def fail(self, group: str, custom_id: str, error: RouterError, record: Record) -> Finished:
        """Keep a result that says why the job failed; raises `StoreError`."""
        result = errored(custom_id, error, record)
        record.status = _status(error)
        record.error = str(result["result"]["error"]["error"].get("type"))
        await self.results.put(group, custom_id, result)
        return Finished(failed=True)

    async def _upstream_failed(self, job: Job, error: UpstreamError, record: Record) -> Finished | Deferred:
        if error.is_limit:
            return Deferred(self._wait(job, error.retry_after))
        if error.account:  # the job is not at fault: it waits until somebody has mended the account
            return Deferred(LONGEST_WAIT)
        if error.failure is Failure.REJECTED:
            return await self.fail(job.group, job.custom_id, error, record)
        return await self._count(job, error, record)

    async def _count(self, job: Job, error: RouterError, record: Record) -> Finished | Deferred:
        """Put the job back after a failure, but not for ever."""
        if await self.attempts.failed(job.group, job.custom_id, self.clock.now()) >= ATTEMPTS:
            return await self.fail(job.group, job.custom_id, error, record)
        return Deferred(self._wait(job, error.retry_after if isinstance(error, UpstreamError) else None))

    def _wait(self, job: Job, retry_after: float | None) -> float:
        wait = wait_before(job.receive_count + 4, self.chance.fraction(), retry_after, cap=LONGEST_WAIT)
        return min(LONGEST_WAIT, max(SHORTEST_WAIT, wait))


def succeeded(custom_id: str, answer: Answer) -> dict[str, Any]:
    """The result of an answered job: a line of Anthropic's batch results, plus `router`."""
    return {
        "custom_id": custom_id,
        "result": {"type": "succeeded", "message": answer.reply.message},
        "router": {
            "model": answer.choice.model.id,
            "tier": answer.choice.tier.word,
            "label": answer.label,
            "cause": answer.choice.cause,
            "cost_usd": dollars(answer.bill.cost_usd),
            "classifier_cost_usd": dollars(answer.bill.classifier_cost_usd),
            "baseline_usd": dollars(answer.bill.baseline_usd),
            "lane": DIRECT,
        },
    }


def errored(custom_id: str, error: RouterError, record: Record) -> dict[str, Any]:
    """The result of a failed job: a line of Anthropic's batch results, plus what it cost all the same."""
    router = {
        "label": record.label,
        "cause": record.cause,
        "cost_usd": dollars(record.bill.cost_usd),
        "lane": record.lane or DIRECT,
    }
    return {"custom_id": custom_id, "result": {"type": "errored", "error": anthropic_shape(error)}, "router": router}


def _status(error: RouterError) -> int:
    """The status for the log and for the count of errors: whose fault it was."""
    if isinstance(error, UpstreamError):
        return error.status or UNANSWERED
    return UNANSWERED if isinstance(error, DeadlinePassed) else REFUSED
