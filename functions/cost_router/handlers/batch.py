"""The bulk entrance: one batch of queue messages in, the ones that stay on the queue out.

A broken job ends at once with a result that says why; none holds up the others of its batch.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from cost_router.core.errors import InvalidRequest, NotConfigured, StoreError
from cost_router.core.jobs import LONGEST_WAIT, Deferred, Finished, Job, JobRunner
from cost_router.core.pricing import BATCH, REALTIME
from cost_router.core.record import Record
from cost_router.core.request import Request, Tenant
from cost_router.handlers.jobs import JobBody, job_address, parse_job
from cost_router.handlers.wiring import Outside

MARGIN_SECONDS: Final = 30.0  # kept of the function's time for booking and delivering
MOST_DEFECTS: Final = 3  # after which a job that makes the function fail is set aside
DEFECT_WAIT: Final = 60.0  # seconds


class Queue(Protocol):
    """The jobs queue."""

    async def defer(self, receipt_handle: str, seconds: float) -> None:
        """Show the message again after `seconds`."""

    async def set_aside(self, body: str, reason: str) -> None:
        """Put a copy on the dead-letter queue."""


@dataclass(frozen=True, slots=True)
class QueueDoor:
    """Runs the jobs of an SQS event, `concurrency` at a time."""

    runner: JobRunner
    queue: Queue
    out: Outside
    concurrency: int

    async def drain(self, event: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Run every job of the event within `seconds`; answers in the shape of partial batch responses."""
        deadline = self.out.clock.monotonic() + max(0.0, seconds - MARGIN_SECONDS)
        gate = asyncio.Semaphore(self.concurrency)

        async def one(message: Mapping[str, Any]) -> str | None:
            async with gate:
                stays = await self._run(message, deadline)
            return str(message["messageId"]) if stays else None

        left = await asyncio.gather(*(one(message) for message in event["Records"]))
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in left if message_id]}

    async def _run(self, message: Mapping[str, Any], deadline: float) -> bool:
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
            outcome = await self._outcome(message, record, deadline)
            if isinstance(outcome, Deferred):
                await self.queue.defer(message["receiptHandle"], outcome.seconds)
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

    async def _outcome(self, message: Mapping[str, Any], record: Record, deadline: float) -> Finished | Deferred:
        group, custom_id = job_address(message["body"], str(message["messageId"]))
        try:
            body = parse_job(message["body"])
            tenant = await self._tenant(body.tenant, str(message.get("attributes", {}).get("SenderId", "")))
        except InvalidRequest as error:
            return await self.runner.reject(group, custom_id, error, record)
        except NotConfigured as error:  # a tenant that an operator has to mend
            self.out.telemetry.note("not_configured", error=str(error))
            return Deferred(LONGEST_WAIT)
        job = _job(message, body, tenant, record, deadline)
        record.tenant, record.tags, record.lane = tenant.name, job.request.tags, body.lane
        return await self.runner.run(job, record)

    async def _tenant(self, name: str, sender: str) -> Tenant:
        """The tenant that the job names, if the principal who sent it may; SQS itself tells who that is."""
        tenant = await self.out.tenants.by_name(name)
        if tenant is None:
            raise InvalidRequest(
                f"router.tenant: {name!r} is unknown or disabled; accepted: one that `cost-router keys create` made"
            )
        if not tenant.takes_jobs_from(sender):
            raise InvalidRequest(
                f"router.tenant: {name!r} takes no jobs from {sender!r}; accepted: jobs of the principals that its "
                "policy names (cost-router keys set --senders)"
            )
        return tenant

    async def _after_defect(self, message: Mapping[str, Any], group: str, custom_id: str, error: Exception) -> bool:
        """Try a job again that made the function fail, a few times; then set it aside with the reason."""
        try:
            failures = await self.runner.attempts.failed(group, custom_id, self.out.clock.now())
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


def _job(message: Mapping[str, Any], body: JobBody, tenant: Tenant, record: Record, deadline: float) -> Job:
    return Job(
        group=body.group,
        custom_id=body.custom_id,
        request=Request(
            id=record.request_id,
            tenant=tenant,
            model=body.params.model,
            max_tokens=body.params.max_tokens,
            body=body.params.body,
            body_bytes=len(message["body"].encode()),
            ask=body.params.ask,
            hints=body.hints,
            headers={},
            deadline=deadline,
            processing=BATCH if body.lane == BATCH else REALTIME,
        ),
        lane=body.lane,
        receive_count=int(message.get("attributes", {}).get("ApproximateReceiveCount", 1)),
        answer_by=body.answer_by,
    )


def _word(outcome: Finished | Deferred) -> str:
    if isinstance(outcome, Deferred):
        return "deferred"
    return "failed" if outcome.failed else "done"
