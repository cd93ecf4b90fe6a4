"""The road of one job from the queue: answered, failed for good, or put back for later."""

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

from cost_router.core.backoff import wait_before
from cost_router.core.calls import QUEUED
from cost_router.core.errors import DeadlinePassed, Failure, InvalidRequest, NotConfigured, RouterError, UpstreamError, anthropic_shape
from cost_router.core.ports import Attempts, Chance, Clock, Results
from cost_router.core.pricing import dollars
from cost_router.core.record import Record
from cost_router.core.request import Request
from cost_router.core.router import Answer, Router

ATTEMPTS: Final = 5  # failures of Claude's side, other than limits, after which a job is failed
LONGEST_WAIT: Final = 900.0  # seconds that a job is put back for
SHORTEST_WAIT: Final = 5.0
# The account, not the job, is at fault: the job waits until somebody has mended it.
ACCOUNT_STATUSES: Final = frozenset({401, 402, 403, 429})
DIRECT: Final = "direct"


@dataclass(frozen=True, slots=True)
class Job:
    """One request dropped on the queue."""

    group: str
    custom_id: str
    request: Request
    receive_count: int
    answer_by: dt.datetime | None = None

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
    """Runs jobs of the direct lane."""

    router: Router
    results: Results
    attempts: Attempts
    clock: Clock
    chance: Chance

    async def run(self, job: Job, record: Record) -> Finished | Deferred:
        """Answer the job and keep the result, unless it has one already; raises `StoreError`."""
        if await self.results.exists(job.group, job.custom_id):
            record.outcome = "already_done"
            return Finished(failed=False)
        if job.answer_by and job.answer_by <= self.clock.now():
            error = InvalidRequest(f"answer_by: {job.answer_by.isoformat()!r} had passed before the job was started")
            return await self.fail(job.group, job.custom_id, error, record)
        try:
            answer = await self.router.answer(job.request, record, QUEUED)
        except DeadlinePassed:
            return Deferred(self._wait(job, None))
        except NotConfigured as error:  # the operator's to mend; the jobs wait
            self.router.telemetry.note("not_configured", error=str(error))
            return Deferred(LONGEST_WAIT)
        except UpstreamError as error:
            return await self._upstream_failed(job, error, record)
        except RouterError as error:
            return await self.fail(job.group, job.custom_id, error, record)
        await self.results.put(job.group, job.custom_id, succeeded(job.custom_id, answer))
        return Finished(failed=False)

    async def fail(
        self, group: str, custom_id: str, error: RouterError, record: Record | None = None
    ) -> Finished:
        """Keep a result that says why the job failed; raises `StoreError`."""
        await self.results.put(group, custom_id, errored(custom_id, error, record))
        return Finished(failed=True)

    async def _upstream_failed(self, job: Job, error: UpstreamError, record: Record) -> Finished | Deferred:
        if error.is_limit:
            return Deferred(self._wait(job, error.retry_after))
        if error.failure is Failure.REJECTED:
            if error.status in ACCOUNT_STATUSES:
                return Deferred(LONGEST_WAIT)
            return await self.fail(job.group, job.custom_id, error, record)
        if await self.attempts.failed(job.group, job.custom_id, self.clock.now()) >= ATTEMPTS:
            return await self.fail(job.group, job.custom_id, error, record)
        return Deferred(self._wait(job, error.retry_after))

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


def errored(custom_id: str, error: RouterError, record: Record | None) -> dict[str, Any]:
    """The result of a failed job: a line of Anthropic's batch results, plus what it cost all the same."""
    router: dict[str, Any] = {"lane": DIRECT}
    if record:
        router |= {"label": record.label, "cause": record.cause, "cost_usd": dollars(record.bill.cost_usd)}
    return {"custom_id": custom_id, "result": {"type": "errored", "error": anthropic_shape(error)}, "router": router}
