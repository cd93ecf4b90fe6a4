"""The bulk entrance: one batch of queue messages in, the ones that stay on the queue out.

A broken job ends at once with a result that says why; none holds up the others of its batch.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from cost_router.core.calls import QUEUED, Patience
from cost_router.core.errors import InvalidRequest, NotConfigured, StoreError
from cost_router.core.job import Deferred, Finished, Outcome, SetAside
from cost_router.core.jobs import LONGEST_WAIT, JobRunner
from cost_router.core.ports import Attempts
from cost_router.core.record import Record
from cost_router.handlers.intake import Intake
from cost_router.handlers.jobs import job_address, returned_job
from cost_router.handlers.outside import Outside
from cost_router.handlers.unpacking import Unpacker, accepted_batch

MARGIN_SECONDS: Final = 30.0  # kept of the function's time for booking and delivering
MOST_DEFECTS: Final = 3  # after which a job that makes the function fail is set aside
DEFECT_WAIT: Final = 60.0  # seconds
SHARE_OF_A_CALL: Final = 0.25  # of an invocation: with less left than that, or than jobs want, no call is begun
UNCLAIMED: Final = 15.0  # seconds after this function's end: then its messages are shown again, if it died


class Queue(Protocol):
    """The jobs queue."""

    async def defer(self, receipt_handle: str, seconds: float) -> None:
        """Show the message again after `seconds`."""

    async def claim(self, receipt_handles: Sequence[str], seconds: float) -> None:
        """Show messages again after `seconds`, unless they are done by then."""

    async def set_aside(self, body: str, reason: str) -> None:
        """Put a copy on the dead-letter queue."""


@dataclass(frozen=True, slots=True)
class QueueDoor:
    """Runs the jobs of an SQS event, `concurrency` at a time."""

    runner: JobRunner
    intake: Intake
    unpacker: Unpacker
    attempts: Attempts
    queue: Queue
    out: Outside
    concurrency: int

    async def drain(self, event: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Run every job of the event within `seconds`; answers in the shape of partial batch responses."""
        left = max(0.0, seconds - MARGIN_SECONDS)
        deadline = self.out.clock.monotonic() + left
        patience = dataclasses.replace(QUEUED, least_time=min(QUEUED.least_time, left * SHARE_OF_A_CALL))
        gate = asyncio.Semaphore(self.concurrency)
        # The queue hides messages for six times this function's time; should it die, its jobs need not wait so long.
        with contextlib.suppress(StoreError):
            handles = [str(message["receiptHandle"]) for message in event["Records"]]
            await self.queue.claim(handles, seconds + UNCLAIMED)

        async def one(message: Mapping[str, Any]) -> str | None:
            async with gate:
                stays = await self._run(message, deadline, patience)
            return str(message["messageId"]) if stays else None

        ended = await asyncio.gather(*(one(message) for message in event["Records"]))
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in ended if message_id]}

    async def _run(self, message: Mapping[str, Any], deadline: float, patience: Patience) -> bool:
        """Run one job and tell what happened; whether its message stays on the queue."""
        began = self.out.clock.monotonic()
        group, custom_id = job_address(message["body"], str(message["messageId"]))
        record = Record(
            request_id=f"req_{self.out.chance.token()}",
            tenant="nobody",
            tags={},
            kind="job",
            job=f"{group}/{custom_id}",
        )
        try:
            outcome = await self._outcome(message, record, deadline, patience)
            if isinstance(outcome, Deferred):
                await self.queue.defer(message["receiptHandle"], outcome.seconds)
            elif isinstance(outcome, SetAside):
                await self.queue.set_aside(message["body"], outcome.reason)
            record.outcome = record.outcome or _word(outcome)
            stays = isinstance(outcome, Deferred)
        except StoreError as error:
            self.out.telemetry.note("store_failed", request_id=record.request_id, error=str(error))
            record.status, record.outcome = 503, "deferred"
            stays = await self._put_back(message)
        except Exception as error:  # noqa: BLE001  the boundary: a defect must not take the other jobs with it
            self.out.telemetry.defect(record.request_id, error)
            stays = await self._after_defect(message, group, custom_id, error)
            record.status, record.outcome = 500, "deferred" if stays else "failed"
        record.latency_ms = (self.out.clock.monotonic() - began) * 1000
        self.out.telemetry.done(record)
        return stays

    async def _outcome(
        self, message: Mapping[str, Any], record: Record, deadline: float, patience: Patience
    ) -> Outcome:
        accepted = accepted_batch(message["body"])
        if accepted:
            return await self.unpacker.unpack(accepted, message, record)
        group, custom_id = job_address(message["body"], str(message["messageId"]))
        try:
            job = await self.intake.job(message, record, deadline)
        except InvalidRequest as error:
            kept = returned_job(message["body"]) is not None
            return await self.runner.reject(group, custom_id, error, record, kept=kept)
        except NotConfigured as error:  # a tenant that an operator has to mend
            self.out.telemetry.note("not_configured", error=str(error))
            return Deferred(LONGEST_WAIT)
        if job is None:
            record.outcome = "already_done"
            return Finished(failed=False)
        record.tenant, record.tags, record.lane = job.request.tenant.name, job.request.tags, job.lane
        if job.refused:
            return await self.runner.reject(
                job.group, job.custom_id, job.refused, record, kept=job.kept, begun=job.fingerprint
            )
        return await self.runner.run(job, record, patience)

    async def _after_defect(self, message: Mapping[str, Any], group: str, custom_id: str, error: Exception) -> bool:
        """Try a job again that made the function fail, a few times; then set it aside with the reason."""
        try:
            failures = await self.attempts.failed(group, custom_id, self.out.clock.now())
            if failures >= MOST_DEFECTS:
                await self.queue.set_aside(message["body"], f"{type(error).__name__} after {failures} attempts")
                return False
        except StoreError as store_error:
            self.out.telemetry.note("store_failed", error=str(store_error))
        return await self._put_back(message)

    async def _put_back(self, message: Mapping[str, Any]) -> bool:
        """Show the message again in a while; when even that fails, its visibility timeout ends by itself."""
        try:
            await self.queue.defer(message["receiptHandle"], DEFECT_WAIT)
        except StoreError as error:
            self.out.telemetry.note("store_failed", error=str(error))
        return True


def _word(outcome: Outcome) -> str:
    if isinstance(outcome, Finished):
        return "failed" if outcome.failed else "done"
    return "deferred" if isinstance(outcome, Deferred) else "set_aside"
