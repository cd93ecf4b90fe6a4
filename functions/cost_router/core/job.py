"""A job, what can become of it on the way, and the line that it is in the batch lane."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cost_router.core.batch_lane import ENOUGH_TIME, Line
from cost_router.core.errors import GaveUp, InvalidRequest
from cost_router.core.job_ports import Lease
from cost_router.core.job_results import DIRECT
from cost_router.core.pricing import BATCH
from cost_router.core.record import Record
from cost_router.core.request import Request
from cost_router.core.router import Route

LANES: Final = (DIRECT, BATCH)
ATTEMPTS: Final = 5  # failures of Claude's side that were not paid for, other than limits, after which a job is failed
MOST_LOST: Final = 2  # calls that may have been paid for without an answer: the second one fails the job
PAID_TWICE: Final = (
    "two calls for this job were lost on the way, and each may have been paid for; it is not tried a third time; "
    "accepted: the same params under a new custom_id"
)
DIED: Final = f"the function ended {ATTEMPTS} times while it worked on this job, before it could be answered"


@dataclass(frozen=True, slots=True)
class Job:
    """One request dropped on the queue. message: as it was dropped, with its params; lane: the one that it runs in."""

    group: str
    custom_id: str
    request: Request
    receive_count: int
    answer_by: dt.datetime | None = None
    lane: str = DIRECT
    fingerprint: str = ""
    message: Mapping[str, Any] = field(default_factory=dict, repr=False)
    group_size: int | None = None  # how many jobs its group has, where it says so
    kept: bool = False  # whether it comes back from being held
    refused: InvalidRequest | None = None  # why its tenant's policy, as it is now, does not take it

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
    """Nothing is left for the queue to do; `failed` when the job has a result that is an error."""

    failed: bool


@dataclass(frozen=True, slots=True)
class SetAside:
    """The message cannot be worked on, and no result may say so: it belongs on the dead-letter queue."""

    reason: str


Outcome = Finished | Deferred | SetAside


def lane_for(lane: str | None, answer_by: dt.datetime | None, now: dt.datetime) -> str:
    """The lane of a job that names one, or a deadline, or neither: half price when there is time enough."""
    if lane is not None:
        return lane
    return BATCH if answer_by is not None and answer_by - now >= ENOUGH_TIME else DIRECT


def given_up(lease: Lease) -> GaveUp | None:
    """Why a job is not tried again: too many of its calls, or of its workers, were lost. None when it is."""
    if lease.lost >= MOST_LOST:
        return GaveUp(PAID_TWICE)
    return GaveUp(DIED) if lease.attempts >= ATTEMPTS else None


def line_of(job: Job, lease: Lease, route: Route, record: Record, at: dt.datetime) -> Line:
    """The line of a job that was labelled and decided."""
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
        max_tokens=route.max_tokens,
        effort=route.shape.effort,
        body_bytes=request.body_bytes,
        classifier_cost_usd=route.bill.classifier_cost_usd,
        spent_usd=lease.spent_usd,
        parked_at=at,
        answer_by=job.answer_by,
        terms=request.ask.terms,
        purpose=request.purpose,
        arm=record.arm,
        shadow=record.shadow,
    )
