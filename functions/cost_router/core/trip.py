"""One request on its way to Claude: what is to be called, and what has been called and put aside so far."""

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from cost_router.core import pricing
from cost_router.core.arms import Arm, Plan
from cost_router.core.ask import Ask
from cost_router.core.budget import Pace, Reservation, Scope, Standing
from cost_router.core.catalogue import Model
from cost_router.core.ledger import Entry, Trail
from cost_router.core.pricing import Usage
from cost_router.core.record import Record
from cost_router.core.request import Request
from cost_router.core.terms import Terms
from cost_router.core.words import Label


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked of which model, and what for."""

    model: Model
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    most_prompt_tokens: int
    likely_prompt_tokens: int  # what a limiter reckons with
    max_tokens: int
    purpose: str
    cause: str
    label: Label | None
    terms: Terms = Terms()  # noqa: RUF009  frozen
    processing: str = pricing.REALTIME
    adapted: tuple[str, ...] = ()  # what of the caller's body was changed for the model
    baseline: Model | None = None  # prices the same tokens for comparison; None when the call has no counterpart

    def bound(self, on: dt.date) -> Decimal:
        """The most that the call can cost on that day, in US dollars; raises `NoPrice`."""
        return pricing.upper_bound(
            self.model,
            prompt_tokens=self.most_prompt_tokens,
            max_tokens=self.max_tokens,
            on=on,
            terms=self.terms,
            processing=self.processing,
        )


@dataclass(slots=True)
class Trip:
    """One request on its way: what was called so far, and what will be told about it."""

    request: Request
    record: Record
    plan: Plan
    arm: Arm  # the way to decide that acts
    asked: Ask  # what is labelled: the request's ask, or an earlier one that it only follows up
    scopes: tuple[Scope, ...] = ()  # that the calls count for and that have a budget
    pace: Pace | None = None  # of its session
    standings: list[Standing] = field(default_factory=list)  # as they were when the request came
    day: str = ""  # UTC day that they are of
    trail: Trail = field(default_factory=Trail)
    reservations: list[Reservation] = field(default_factory=list)
    pending: list[asyncio.Task[None]] = field(default_factory=list)  # writes that nobody has to wait for before the end
    before_answer: Callable[[], Awaitable[None]] | None = None  # awaited once, before the first call for the answer

    async def begin(self) -> None:
        """Do what has to be done before the first call for the answer, once."""
        before, self.before_answer = self.before_answer, None
        if before:
            await before()

    def aside_usd(self, on: dt.date) -> Decimal:
        """What is put aside on that UTC day and not used up by its calls: yesterday's covers nothing of today."""
        put_aside = sum((row.amount_usd for row in self.reservations if row.at.date() == on), Decimal(0))
        used_up = sum((entry.cost_usd for entry in self.trail.entries if entry.at.date() == on), Decimal(0))
        return max(Decimal(0), put_aside - used_up)


def entry_of(call: Call, trip: Trip, at: dt.datetime, cost_usd: Decimal, **known: Any) -> Entry:
    """The entry of a call; `known`: what is known beside its cost."""
    request, held = trip.request, trip.reservations
    entry = Entry(
        entry_id=f"{request.id}#{len(trip.trail.entries)}",
        at=at,
        request_id=request.id,
        upstream_request_id=None,
        tenant=request.tenant.name,
        tags=request.tags,
        label=call.label,
        cause=call.cause,
        tier=call.model.tier,
        model=call.model.id,
        purpose=call.purpose,
        usage=Usage(),
        cost_usd=cost_usd,
        baseline_usd=Decimal(0),
        asked=request.model,
        reservation=held[-1].id if held else None,
        job=request.job,
        arm=trip.record.arm,
    )
    return dataclasses.replace(entry, **known)
