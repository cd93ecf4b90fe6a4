"""The batch lane: jobs that have time run at half price, many in one Message Batch.

A line's road, every step of it durable before the next (docs/decisions/0010-batch-lane.md):

    parked      labelled and decided by the batch function; its message is done
    packed      by the collector, in a batch with a marker of its own; money is put aside under every budget
    submitted   the batch was created, or may have been: then it is looked for, never created again
    settled     booked at batch prices, delivered, done; or parked again, once, when Claude could not serve it

A line with a deadline that comes near is promoted: its batch is cancelled, and it is called directly, once.
"""

import dataclasses
import datetime as dt
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from cost_router.core.budget import Scope
from cost_router.core.ledger import ANSWER, Shadow
from cost_router.core.terms import Terms
from cost_router.core.words import Label

# Of one batch. The API takes 100,000 lines and 256 MB (docs: Message Batches, limitations); the collector has 512 MB of
# memory for the batch, its encoding and the facts of its lines.
MOST_LINES: Final = 10_000
MOST_BYTES: Final = 48_000_000
LEASE: Final = dt.timedelta(minutes=16)  # longer than the collector can live
# A batch ends 24 hours after its creation; then its results have to be read and booked.
HELD_FOR: Final = dt.timedelta(hours=29)
SKEW: Final = dt.timedelta(minutes=5)  # between our clock and the API's
CREATE_SECONDS: Final = 180.0
# After so long a batch that the API does not list was never created: the request has ended, the list is up to date.
CERTAIN: Final = dt.timedelta(minutes=30)
KEPT: Final = dt.timedelta(days=29)  # how long the API keeps results
# A job that gives a deadline instead of a lane takes this one when it has so long: most batches end within the hour.
ENOUGH_TIME: Final = dt.timedelta(hours=2)
# So long before its deadline a line that has no answer yet is taken out of its batch and called directly: cancelling
# takes minutes, a call takes minutes, and limits may be in the way.
IN_TIME: Final = dt.timedelta(minutes=30)
MOST_GROUPS: Final = 50  # whose names a batch's item holds


@dataclass(frozen=True, slots=True)
class Aside:
    """The money of a line: how much was put aside when, under which scopes."""

    amount_usd: Decimal
    at: dt.datetime  # UTC; the line's entry bears it too, so that both count for the same day
    scopes: tuple[Scope, ...]

    @property
    def until(self) -> dt.datetime:
        """When the sweeper takes the line for lost."""
        return self.at + HELD_FOR


@dataclass(frozen=True, slots=True)
class Line:
    """A job of the batch lane, labelled and decided: all that settling and delivering takes, and no prompt."""

    request_id: str
    group: str
    custom_id: str
    tenant: str
    tags: Mapping[str, str] = field(repr=False)
    session: str | None
    label: Label | None
    cause: str
    model: str  # id
    asked: str
    most_prompt_tokens: int
    max_tokens: int  # its own, or the ceiling of its label
    body_bytes: int
    classifier_cost_usd: Decimal  # booked when it was labelled
    parked_at: dt.datetime
    spent_usd: Decimal = Decimal(0)  # booked for the job before it was labelled
    answer_by: dt.datetime | None = None
    terms: Terms = Terms()  # noqa: RUF009  frozen
    effort: str | None = None  # that its label sets
    tries: int = 0  # how often Claude could not serve it
    purpose: str = ANSWER  # what its answer is for: `answer` or `judge`
    arm: str | None = None  # which way to decide was taken, while there was a candidate
    shadow: Shadow | None = None  # what a candidate that only looks on would have done
    aside: Aside | None = None  # from the moment that it is in a batch

    @property
    def job(self) -> str:
        """`GROUP/CUSTOM_ID`."""
        return f"{self.group}/{self.custom_id}"

    @property
    def promoted_at(self) -> dt.datetime | None:
        """When it is called directly instead, unless it has its answer; None when it has no deadline."""
        return self.answer_by - IN_TIME if self.answer_by else None

    @property
    def booked_usd(self) -> Decimal:
        """What was booked for the job beside its lines."""
        return self.spent_usd + self.classifier_cost_usd

    @property
    def entry_id(self) -> str:
        """Of the line's entry and of its reservation: one for each time that it is submitted."""
        return f"{self.request_id}#line{self.tries}"

    def id_in(self, marker: str) -> str:
        """Its custom id in a batch: nobody else makes one like it."""
        return f"{marker}-{self.request_id}"


class State(enum.StrEnum):
    """How far a batch is."""

    PACKING = "packing"  # nothing has been submitted
    CREATING = "creating"  # it was submitted, or is about to be; whether it arrived is not known
    CREATED = "created"  # its id is known


@dataclass(frozen=True, slots=True)
class Batch:
    """One Message Batch of ours, from before it is created until all its lines are done."""

    marker: str  # 24 unguessable letters and digits, with which the custom ids of its lines begin
    state: State
    began_at: dt.datetime
    lease: dt.datetime  # whoever works on it does so until then
    lines: int = 0
    submitted_at: dt.datetime | None = None
    upstream_id: str | None = None
    cancel_at: dt.datetime | None = None  # when the first of its lines is to be called directly instead
    canceled_at: dt.datetime | None = None  # when that, or the end of its groups, was asked for
    groups: tuple[str, ...] = ()  # of its lines; empty when they are too many


def bounds(batch: Batch, lines: Sequence[Line]) -> Batch:
    """The batch of these lines: how many, of which groups, and until when they can wait."""
    groups = sorted({line.group for line in lines})
    due = [line.promoted_at for line in lines if line.promoted_at]
    return dataclasses.replace(
        batch,
        lines=len(lines),
        cancel_at=min(due, default=None),
        groups=tuple(groups) if len(groups) <= MOST_GROUPS else (),
    )
