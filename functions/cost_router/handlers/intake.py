"""From a message of the jobs queue to a job: its params fetched, its tenant known, its lane chosen."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from cost_router.core import guards
from cost_router.core.errors import InvalidRequest
from cost_router.core.fingerprint import fingerprint
from cost_router.core.job import Job, lane_for
from cost_router.core.job_ports import JobStore
from cost_router.core.job_results import DIRECT
from cost_router.core.ports import Clock, Tenants
from cost_router.core.pricing import BATCH, REALTIME
from cost_router.core.record import Record
from cost_router.core.request import Request, Tenant
from cost_router.handlers.jobs import JobBody, job_in, params_key, returned_job
from cost_router.handlers.strict_json import parse_json

MOST_BYTES: Final = 32_000_000  # of a Messages API body; source: platform.claude.com/docs/en/api/errors


class Params(Protocol):
    """Params that were too large for a message."""

    async def read(self, key: str) -> bytes | None:
        """The object of the results bucket; None when it is not there. Raises `StoreError`."""


@dataclass(frozen=True, slots=True)
class Intake:
    """Reads messages; every part is given to it."""

    tenants: Tenants
    params: Params
    jobs: JobStore
    clock: Clock
    # Of the batch function's own role. Under it nobody but this function sends messages with jobs, and it does so for
    # lines that the router accepted from a holder of the tenant's key (`handlers/unpacking.py`).
    role_id: str = ""

    async def job(self, message: Mapping[str, Any], record: Record, deadline: float) -> Job | None:
        """The job of a message; None when it is a copy of one for a job that is done.

        Raises `InvalidRequest`, `NotConfigured` for a tenant that an operator has to mend, and `StoreError`.
        """
        raw, returned = str(message["body"]), returned_job(message["body"])
        if returned:
            return await self._returned(*returned, message, record, deadline)
        value, size = await self._whole(parse_json(raw), len(raw.encode()))
        body = job_in(value)
        tenant = await self._tenant(body.tenant)
        sender = str(message.get("attributes", {}).get("SenderId", ""))
        if not tenant.takes_jobs_from(sender) and not self._is_own(sender):  # SQS itself tells who that is
            raise InvalidRequest(
                f"router.tenant: {body.tenant!r} takes no jobs from {sender!r}; accepted: jobs of the principals that "
                "its policy names (cost-router keys set --senders)"
            )
        return self._job(body, self._request(body, tenant, size, record.request_id, deadline), message)

    async def _returned(
        self, group: str, custom_id: str, message: Mapping[str, Any], record: Record, deadline: float
    ) -> Job | None:
        """A job that was held: it was admitted then, whoever sent it; what its tenant may use is what it may now."""
        kept = await self.jobs.kept(group, custom_id)
        if kept is None:
            return None
        body = job_in(json.loads(kept.message))
        if kept.lane:
            body = replace(body, lane=kept.lane)
        tenant = await self._tenant(body.tenant)
        request = self._request(body, tenant, len(kept.message), record.request_id, deadline)
        return replace(self._job(body, request, message), kept=True)

    def _is_own(self, sender: str) -> bool:
        return bool(self.role_id) and sender.partition(":")[0] == self.role_id

    async def _whole(self, value: Mapping[str, Any], size: int) -> tuple[Mapping[str, Any], int]:
        """The message with its params, and its size in bytes."""
        key = params_key(value)
        if key is None:
            return value, size
        content = await self.params.read(key)
        if content is None:
            raise InvalidRequest(f"params_at: {key!r} is not there; accepted: the key of an object in ResultsBucket")
        if len(content) > MOST_BYTES:
            raise InvalidRequest(f"params_at: {key!r} has {len(content)} bytes; accepted: at most {MOST_BYTES}")
        try:
            params = parse_json(content.decode())
        except UnicodeDecodeError:
            raise InvalidRequest(f"params_at: {key!r} is not UTF-8; accepted: params as JSON in UTF-8") from None
        rest = {name: member for name, member in value.items() if name != "params_at"}
        return {**rest, "params": params}, size + len(content)

    async def _tenant(self, name: str) -> Tenant:
        tenant = await self.tenants.by_name(name)
        if tenant is None:
            raise InvalidRequest(
                f"router.tenant: {name!r} is unknown or disabled; accepted: one that `cost-router keys create` made"
            )
        return tenant

    def _request(self, body: JobBody, tenant: Tenant, size: int, id_: str, deadline: float) -> Request:
        lane = lane_for(body.lane, body.answer_by, self.clock.now())
        return Request(
            id=id_,
            tenant=tenant,
            model=body.params.model,
            max_tokens=body.params.max_tokens,
            body=body.params.body,
            body_bytes=size,
            ask=body.params.ask,
            hints=body.hints,
            headers={},
            deadline=deadline,
            processing=BATCH if lane == BATCH else REALTIME,
            job=f"{body.group}/{body.custom_id}",
            purpose=body.purpose,
        )

    def _job(self, body: JobBody, request: Request, message: Mapping[str, Any]) -> Job:
        return Job(
            group=body.group,
            custom_id=body.custom_id,
            request=request,
            receive_count=int(message.get("attributes", {}).get("ApproximateReceiveCount", 1)),
            answer_by=body.answer_by,
            lane=BATCH if request.processing == BATCH else DIRECT,
            fingerprint=fingerprint(request.tenant.label_key, body.message["params"]),
            message=body.message,
            group_size=body.group_size,
            refused=_refusal(request),
        )


def _refusal(request: Request) -> InvalidRequest | None:
    """Why the tenant may not ask for that. It is told with the job, which may have been begun when the tenant might."""
    try:
        guards.check(request.body, request.tenant)
    except InvalidRequest as error:
        return error
    return None
