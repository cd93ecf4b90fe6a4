"""One request on its way to Claude: what is to be called, and what has been called and put aside so far."""

import asyncio
import dataclasses
import datetime as dt
import itertools
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from cost_router.core import ledger, pricing
from cost_router.core.arms import Arm, Plan
from cost_router.core.ask import BYTES_PER_TOKEN, PROMPT_TOKENS_ADDED, Ask
from cost_router.core.budget import Pace, Reservation, Scope, Standing
from cost_router.core.catalogue import Model
from cost_router.core.ledger import Entry, Trail
from cost_router.core.pricing import Usage
from cost_router.core.prompt_cache import ADDED
from cost_router.core.record import Record
from cost_router.core.request import Request
from cost_router.core.terms import Terms
from cost_router.core.warmth import Warmth
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
    numbers: Iterator[int] = field(default_factory=itertools.count)  # of reservations, also of those that are refused
    under_way: list[tuple[dt.date, Decimal]] = field(default_factory=list)  # calls not entered yet: day, upper bound
    pending: list[asyncio.Task[None]] = field(default_factory=list)  # writes that nobody has to wait for before the end
    checks: tuple[str, ...] = ()  # of a cascade's first answer, once it is decided (`core/cascade.py`)
    before_answer: Callable[[], Awaitable[None]] | None = None  # awaited once, before the first call for the answer
    watching: Arm | None = None  # the way to decide that only looks on (`core/shadowing.py`)
    series: str = ""  # in the ids of entries and reservations of a trip beside another one of the same request
    warmth: Warmth = field(default_factory=Warmth)  # of Claude's prompt caches, as it was when the request came
    before_settling: list[Callable[[], Awaitable[None]]] = field(default_factory=list)  # awaited before it is booked

    async def begin(self) -> None:
        """Do what has to be done before the first call for the answer, once."""
        before, self.before_answer = self.before_answer, None
        if before:
            await before()

    def id_of(self, number: int) -> str:
        """The id of the entry or reservation of that number."""
        return f"{self.request.id}#{self.series}{number}"

    def has_ample_room(self, amount: Decimal) -> bool:
        """Whether the request's own cap allows `amount`, and every budget could hold it several times over."""
        cap = self.request.hints.max_cost_usd
        return (cap is None or amount <= cap) and all(row.has_ample_room(amount) for row in self.standings)

    def under_way_usd(self, on: dt.date) -> Decimal:
        """The most that the calls under way can cost on that UTC day: there may be more than one."""
        return sum((bound for day, bound in self.under_way if day == on), Decimal(0))

    def aside_usd(self, on: dt.date) -> Decimal:
        """What is put aside on that UTC day and not used up by its calls: yesterday's covers nothing of today."""
        put_aside = sum((row.amount_usd for row in self.reservations if row.at.date() == on), Decimal(0))
        used_up = sum((entry.cost_usd for entry in self.trail.entries if entry.at.date() == on), Decimal(0))
        return max(Decimal(0), put_aside - used_up)


def own_call(model: Model, body: dict[str, Any], place: str | None, purpose: str, cause: str) -> Call:
    """A short question of the router's own about a request, asked where the request is to be answered.

    place: the request's `inference_geo`. The caller's headers do not go with it: its betas are not for this call.
    """
    asked = {**body, "inference_geo": place} if place else body
    size = len(json.dumps(asked))
    return Call(
        model=model,
        body=asked,
        headers={},
        most_prompt_tokens=size + PROMPT_TOKENS_ADDED,
        likely_prompt_tokens=size // BYTES_PER_TOKEN,
        max_tokens=body["max_tokens"],
        purpose=purpose,
        cause=cause,
        label=None,
        terms=Terms(inference_geo=place, cached_for=None),
    )


def entry_of(call: Call, trip: Trip, at: dt.datetime, cost_usd: Decimal, **known: Any) -> Entry:
    """The entry of a call; `known`: what is known beside its cost."""
    request, held = trip.request, trip.reservations
    entry = Entry(
        entry_id=trip.id_of(len(trip.trail.entries)),
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
    if ADDED in call.adapted and "usage" in known and ledger.AMBIGUOUS not in known.get("flags", ()):
        known["cache_saved_usd"] = pricing.cache_saved(call.model, known["usage"], on=at.date())
    return dataclasses.replace(entry, **known)


def reservation_of(amount: Decimal, call: Call, trip: Trip, at: dt.datetime, until: dt.datetime) -> Reservation:
    """What puts `amount` aside for a trip; `call`: what is booked for it when nobody settles it until then."""
    id_ = trip.id_of(next(trip.numbers))
    lost = entry_of(call, trip, at, amount, entry_id=id_, reservation=id_, flags=(ledger.AMBIGUOUS,))
    return Reservation(
        id=id_,
        amount_usd=amount,
        scopes=trip.scopes,
        until=until,
        if_lost=lost,
        pace=None if trip.reservations else trip.pace,
    )
