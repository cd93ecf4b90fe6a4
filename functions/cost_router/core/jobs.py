"""The road of one job from the queue: leased, then answered, parked, held, failed for good, or put back for later.

What a lease guards: a job is called while nobody else has it; its result is kept before the call is booked, and the
job is ended after that. So whoever finds the lease of a dead worker finds a result, or knows that nothing was called
(`leased`), or counts one payment as lost (`calling`) and tries once more.
"""

import contextlib
import datetime as dt
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cost_router.core import job_results as shapes
from cost_router.core.backoff import full_jitter, wait_before
from cost_router.core.batch_ports import BatchStore
from cost_router.core.calls import QUEUED, Patience
from cost_router.core.errors import (
    BudgetExhausted,
    DeadlinePassed,
    Failure,
    InvalidRequest,
    LeaseLost,
    NotConfigured,
    NotDelivered,
    PaceExceeded,
    RouterError,
    StoreError,
    UpstreamError,
)
from cost_router.core.groups import End, Groups, GroupState
from cost_router.core.job import ATTEMPTS, MOST_LOST, Deferred, Finished, Job, Outcome, SetAside, given_up, line_of
from cost_router.core.job_ports import BROKEN, JobStore, Lease, Occupied, Why
from cost_router.core.ports import Chance, Clock, Results
from cost_router.core.pricing import BATCH
from cost_router.core.record import Record
from cost_router.core.router import Answer, Router, Steps

DELIVERY_TRIES: Final = 4  # of a result that was paid for, at the least, before the job is given back
DELIVERY_WAIT: Final = 10.0  # seconds at the most between them: less than what the lease outlives the deadline by
LONGEST_WAIT: Final = 900.0  # seconds that a job is put back for
SHORTEST_WAIT: Final = 5.0
COPY_WAIT: Final = 30.0  # of a message whose job somebody works on: most likely it is done by then
LEASE_MARGIN: Final = dt.timedelta(seconds=25)  # after a job's deadline, for booking; then its function is dead
REJECTING: Final = dt.timedelta(seconds=30)  # for a message that is no job
OTHER_BODY: Final = "its name belongs to a job with another body; accepted: a custom_id of its own"


@dataclass(frozen=True, slots=True)
class JobRunner:
    """Runs jobs of the direct lane, and labels and parks those of the batch lane."""

    router: Router
    results: Results
    jobs: JobStore
    lines: BatchStore
    groups: Groups
    clock: Clock
    chance: Chance

    async def run(self, job: Job, record: Record, patience: Patience = QUEUED) -> Outcome:
        """Answer the job and keep the result, unless it has one already; raises `StoreError` and `NotDelivered`."""
        state = await self.groups.look(job.group, job.request.tenant.name, job.group_size, self.clock.now())
        left = dt.timedelta(seconds=max(0.0, job.request.deadline - self.clock.monotonic()))
        now = self.clock.now()
        times = (now, now + left + LEASE_MARGIN)
        if job.kept:
            lease = await self.jobs.retake(job.group, job.custom_id, record.request_id, times)
        else:
            lease = await self.jobs.take(job.group, job.custom_id, job.fingerprint, record.request_id, times)
        if isinstance(lease, Occupied):
            return self._occupied(lease, record)
        try:
            result = await self.results.read(lease.group, lease.custom_id)
            if result is not None and not shapes.is_broken(result):  # a mended job takes a broken message's place
                return await self._delivered(lease, result, record)
            ended = await self._uncalled(job, lease, state, record)
            return ended or await self._work(job, lease, record, patience)
        except LeaseLost:  # whoever has the job now goes on with it
            return Deferred(SHORTEST_WAIT)
        except Exception:  # nobody need wait for the lease to end; what was paid for, and is not delivered, is lost
            with contextlib.suppress(StoreError):
                await self._later(lease, record, 0.0, lost=int(record.answers > 0))
            raise

    async def reject(  # noqa: PLR0913  what a message says, and how far its job may have come before
        self, group: str, custom_id: str, error: RouterError, record: Record, *, kept: bool = False, begun: str = BROKEN
    ) -> Outcome:
        """End a message that is no job with a result that says why, but not over that of a job whose name it bears.

        kept: it stands for a job that was held; begun: the print of one that was put back. Neither may run any more.
        """
        now = self.clock.now()
        await self.groups.look(group, record.tenant, None, now)
        times = (now, now + REJECTING)
        if kept:
            lease = await self.jobs.retake(group, custom_id, record.request_id, times)
        else:
            lease = await self.jobs.take(group, custom_id, BROKEN, record.request_id, times)
            if begun != BROKEN and isinstance(lease, Occupied) and lease.why is Why.OTHER:
                lease, kept = await self.jobs.take(group, custom_id, begun, record.request_id, times), True
        if isinstance(lease, Occupied):
            return SetAside(str(error)) if lease.why is Why.OTHER else self._occupied(lease, record)
        result = await self.results.read(lease.group, lease.custom_id)
        if result is not None and not (kept and shapes.is_broken(result)):
            return await self._delivered(lease, result, record)
        return await self._fail(lease, error, record, broken=not kept)

    def _occupied(self, found: Occupied, record: Record) -> Outcome:
        if found.why is Why.OTHER:
            return SetAside(OTHER_BODY)
        if found.why is Why.BUSY and found.until:
            left = (found.until - self.clock.now()).total_seconds() + 1
            return Deferred(min(COPY_WAIT, max(SHORTEST_WAIT, left)))
        record.outcome = "already_done"
        return Finished(failed=False)

    async def _delivered(self, lease: Lease, result: Mapping[str, Any], record: Record) -> Outcome:
        """End a job that was delivered by a worker who died then, or longer ago than the table remembers."""
        await self.jobs.end(lease, shapes.end_of(result), shapes.spent_in(result), self.clock.now())
        record.outcome = "already_done"
        return Finished(failed=False)

    async def _uncalled(self, job: Job, lease: Lease, state: GroupState, record: Record) -> Outcome | None:
        """What becomes of a job for which nothing is to be called; None of any other."""
        now = self.clock.now()
        if gave_up := given_up(lease):
            return await self._fail(lease, gave_up, record)
        if state is GroupState.CANCELED:
            return await self._cancel(lease, record)
        if job.answer_by and job.answer_by <= now:
            passed = f"router.answer_by: {job.answer_by.isoformat()!r} had passed before the job was started"
            return await self._fail(lease, InvalidRequest(f"{passed}; it was not called"), record)
        if state is GroupState.PAUSED:
            await self.jobs.hold(lease, job.request.tenant.name, job.message, now)
            record.outcome = "held"
            return Finished(failed=False)
        return None

    async def _work(self, job: Job, lease: Lease, record: Record, patience: Patience) -> Outcome:
        try:
            return await (self._park if job.lane == BATCH else self._answer)(job, lease, record, patience)
        except DeadlinePassed as error:
            # Nothing was lost while the job waited for its turn; a call given up on may have been paid for.
            if record.answers:
                return await self._lost(job, lease, error, record)
            return await self._later(lease, record, self._wait(job, error.retry_after))
        except (BudgetExhausted, NotConfigured, PaceExceeded) as error:
            return await self._later(lease, record, self._put_off(job, error))
        except UpstreamError as error:
            return await self._upstream_failed(job, lease, error, record)
        except RouterError as error:
            return await self._fail(lease, error, record)

    async def _answer(self, job: Job, lease: Lease, record: Record, patience: Patience) -> Outcome:
        async def deliver(answer: Answer) -> None:
            await self._deliver(job, lease, shapes.succeeded(lease, answer, record))

        await self.router.answer(job.request, record, patience, Steps(self._calling(lease), deliver))
        await self.jobs.end(lease, End.DONE, shapes.spent(lease, record), self.clock.now())
        return Finished(failed=False)

    async def _park(self, job: Job, lease: Lease, record: Record, patience: Patience) -> Outcome:
        """Label the job, choose its model, and leave the rest to the collector."""
        route = await self.router.route(job.request, record, patience)
        now = self.clock.now()
        await self.lines.park(line_of(job, lease, route, record, now), lease, job.message, now)
        record.outcome = "parked"
        return Finished(failed=False)

    def _calling(self, lease: Lease) -> Callable[[], Awaitable[None]]:
        async def calling() -> None:
            if not await self.jobs.calling(lease):
                raise LeaseLost

        return calling

    async def _deliver(self, job: Job, lease: Lease, result: Mapping[str, Any]) -> None:
        """Keep a result that was paid for, with patience, before anything else; raises `NotDelivered`."""
        attempt = 0
        while True:
            attempt += 1
            try:
                await self.results.put(lease.group, lease.custom_id, result)
            except StoreError as error:
                late = self.clock.monotonic() >= job.request.deadline
                if attempt >= DELIVERY_TRIES and late:
                    raise NotDelivered(str(error)) from error
                await self.clock.sleep(full_jitter(attempt, self.chance.fraction(), base=1.0, cap=DELIVERY_WAIT))
            else:
                return

    async def _cancel(self, lease: Lease, record: Record) -> Outcome:
        await self.results.put(lease.group, lease.custom_id, shapes.canceled(lease, record))
        await self.jobs.end(lease, End.CANCELED, shapes.spent(lease, record), self.clock.now())
        record.outcome = "canceled"
        return Finished(failed=True)

    async def _fail(self, lease: Lease, error: RouterError, record: Record, *, broken: bool = False) -> Outcome:
        """Keep a result that says why the job failed; raises `StoreError`."""
        result = shapes.errored(lease, error, record, broken=broken)
        record.status = shapes.status_of(error)
        record.error = str(result["result"]["error"]["error"].get("type"))
        await self.results.put(lease.group, lease.custom_id, result)
        await self.jobs.end(lease, End.FAILED, shapes.spent(lease, record), self.clock.now())
        return Finished(failed=True)

    def _put_off(self, job: Job, error: BudgetExhausted | NotConfigured | PaceExceeded) -> float:
        """Wait for the session's next minute, a larger budget, tomorrow's, or what an operator has to mend."""
        if isinstance(error, PaceExceeded):
            return max(SHORTEST_WAIT, error.retry_after)
        if isinstance(error, BudgetExhausted):
            self.router.telemetry.note("budget_exhausted", job=job.id, rule=error.rule)
        else:
            self.router.telemetry.note("not_configured", error=str(error))
        return LONGEST_WAIT

    async def _upstream_failed(self, job: Job, lease: Lease, error: UpstreamError, record: Record) -> Outcome:
        wait = self._wait(job, error.retry_after)
        if error.is_limit:
            return await self._later(lease, record, wait)
        if error.account:  # the job is not at fault: it waits until somebody has mended the account
            return await self._later(lease, record, LONGEST_WAIT)
        if error.failure is Failure.REJECTED:
            return await self._fail(lease, error, record)
        if error.maybe_billed:
            return await self._lost(job, lease, error, record)
        if lease.attempts + 1 >= ATTEMPTS:
            return await self._fail(lease, error, record)
        return await self._later(lease, record, wait, attempts=1)

    async def _lost(self, job: Job, lease: Lease, error: RouterError, record: Record) -> Outcome:
        """Try once more after a call that may have been paid for, but no third time."""
        if lease.lost + 1 >= MOST_LOST:
            return await self._fail(lease, error, record)
        return await self._later(lease, record, self._wait(job), lost=1)

    async def _later(self, lease: Lease, record: Record, wait: float, *, attempts: int = 0, lost: int = 0) -> Deferred:
        await self.jobs.put_back(
            lease,
            self.clock.now(),
            attempts=lease.attempts + attempts,
            lost=lease.lost + lost,
            spent=shapes.spent(lease, record),
        )
        return Deferred(wait)

    def _wait(self, job: Job, retry_after: float | None = None) -> float:
        wait = wait_before(job.receive_count + 4, self.chance.fraction(), retry_after, cap=LONGEST_WAIT)
        return min(LONGEST_WAIT, max(SHORTEST_WAIT, wait))
