"""Which model a request runs on: budgets and label together, then the classifier if need be, then the policy."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from cost_router.core import budget, capability, policy, steps
from cost_router.core.adapting import adapt
from cost_router.core.budget import Ladder, Limits, Period, Scope, Standing
from cost_router.core.calls import CAP, Caller, Patience, over_cap
from cost_router.core.catalogue import Catalogue, Lineup
from cost_router.core.errors import BudgetExhausted, RuleRefused, StoreError
from cost_router.core.labelling import Labeller
from cost_router.core.ledger import ACCOUNT, ANSWER
from cost_router.core.policy import Bound, Choice, Decision, Wish
from cost_router.core.ports import Clock, Ledger, Telemetry
from cost_router.core.record import Record
from cost_router.core.request import Request
from cost_router.core.trip import Call, Trip
from cost_router.core.words import AUTO, TIER_WORDS, Label, Tier


@dataclass(frozen=True, slots=True)
class Decider:
    """Decides; every part is given to it."""

    catalogue: Catalogue
    lineup: Lineup
    labeller: Labeller
    caller: Caller
    ledger: Ledger
    clock: Clock
    telemetry: Telemetry
    limits: Limits  # of the account; and of each session, where the tenant has none of its own
    ladder: Ladder

    def trip(self, request: Request, record: Record) -> Trip:
        """The request on its way, with the budgets that it counts for."""
        tenant, session = request.tenant, request.hints.session
        scopes = budget.scopes(tenant.name, tenant.limits, self.limits, session)
        return Trip(request, record, scopes, budget.pace(tenant.name, tenant.limits, self.limits, session))

    async def decide(self, trip: Trip, patience: Patience, *, ahead: bool = True) -> tuple[Decision, Label | None]:
        """The decision and the label, if one was needed; whatever the classifier costs is entered in the trip.

        ahead: an answer follows, whose money may be put aside together with the classifier's.
        """
        request = trip.request
        pinned = self._pinned(request.model)
        named = pinned.model if pinned else None
        candidates = [*self.lineup.models.values(), *([named] if named else [])]
        capability.check_output_limit(candidates, request.max_tokens)
        unable = capability.unable(candidates, request.ask, named)
        trip.standings, found = await asyncio.gather(
            self._standings(trip), self.labeller.look_up(trip) if pinned is None else _nothing()
        )
        budget.check_not_spent(trip.standings)
        choose = self._policy(trip, unable, patience)
        if pinned:
            return choose(pinned, Decimal(0)), None
        if found is None:
            question = self.labeller.question(request)
            price = question.bound(self.clock.now().date()) if question else Decimal(0)
            # A contradiction is refused before the classifier is paid.
            reach = [choose(Wish(tier, "default"), price) for tier in Tier]
            if ahead:
                await self._put_aside_ahead(reach, price, trip)
            found = await self.labeller.classify(question, trip, patience)
        label, rule = steps.label_of(request.ask, found.label)
        trip.record.label = label
        return choose(Wish(label.tier, rule or found.cause), trip.trail.bill.cost_usd), label

    def call(self, choice: Choice, label: Label | None, request: Request) -> Call:
        """The answer call that a choice means."""
        adapted = adapt(request.body, choice.model, request.headers.get("anthropic-version"))
        return Call(
            model=choice.model,
            body=adapted.body,
            headers=request.headers,
            most_prompt_tokens=request.ask.most_tokens(request.body_bytes, choice.model.context_window),
            likely_prompt_tokens=request.ask.estimated_tokens(choice.model.tokenizer),
            max_tokens=adapted.body["max_tokens"],
            adapted=adapted.changes,
            purpose=ANSWER,
            cause=choice.cause,
            label=label,
            terms=request.ask.terms,
            processing=request.processing,
            baseline=self.lineup.baseline,
        )

    def _policy(self, trip: Trip, unable: Mapping[str, str], patience: Patience) -> Callable[[Wish, Decimal], Decision]:
        """The policy within the bounds of a request: what it chooses for a wish once so much has been paid.

        Raises `BudgetExhausted` where a budget's ceiling is below a floor: another day it will not be.
        """
        request = trip.request
        floors = list(_floors(request))
        ceilings = [*_ceilings(request), *budget.ceilings(trip.standings, self.ladder)]
        if patience.fall_back:  # a job has time: it waits for a budget that covers its tier
            ceilings += self._covered(trip, unable)

        def choose(wish: Wish, paid: Decimal) -> Decision:
            bounds = [*ceilings, *self._cap(request, paid, unable)]
            try:
                return policy.decide(wish, self.lineup, floors=floors, ceilings=bounds, unable=unable)
            except RuleRefused as error:
                if any(error.rule == row.rule for row in ceilings if budget.is_budget(row)):
                    raise BudgetExhausted(error.rule, str(error)) from error
                raise

        return choose

    def _pinned(self, name: str) -> Wish | None:
        if name == AUTO:
            return None
        if name in TIER_WORDS:
            return Wish(Tier.parse(name), "pinned")
        model = self.catalogue.model(name)
        return Wish(model.tier, "pinned", model)

    def _cap(self, request: Request, paid: Decimal, unable: Mapping[str, str]) -> Iterable[Bound]:
        """The ceiling that the request's own cap on its cost sets; raises `CapExceeded` when no tier fits."""
        cap = request.hints.max_cost_usd
        able = [tier for tier in Tier if self.lineup.models[tier].id not in unable]
        if cap is None or not able:
            return
        bounds = {tier: paid + self._most(Choice(self.lineup.models[tier], tier, CAP), request) for tier in able}
        fitting = [tier for tier, bound in bounds.items() if bound <= cap]
        if not fitting:
            raise over_cap(min(bounds.values()), cap)
        yield Bound(max(fitting), CAP)

    def _covered(self, trip: Trip, unable: Mapping[str, str]) -> Iterable[Bound]:
        """The ceilings of what budgets still cover: a lesser answer rather than none.

        A budget that covers no tier sets none; it refuses by itself, with its figures.
        """
        rooms = {row.scope.rule: row.room_usd for row in trip.standings if row.room_usd is not None}
        if not rooms:
            return
        able = [tier for tier in Tier if self.lineup.models[tier].id not in unable]
        bounds = {tier: self._most(Choice(self.lineup.models[tier], tier, CAP), trip.request) for tier in able}
        for rule, room in rooms.items():
            fitting = [tier for tier, bound in bounds.items() if bound <= room]
            if fitting and len(fitting) < len(able):
                yield Bound(max(fitting), rule)

    def _most(self, choice: Choice, request: Request) -> Decimal:
        return self.call(choice, None, request).bound(self.clock.now().date())

    async def _put_aside_ahead(self, reach: Iterable[Decision], price: Decimal, trip: Trip) -> None:
        """Put the classifier's and the answer's money aside in one write, where every budget has ample room.

        The answer's is that of the dearest model that may be asked. Close to a limit each call is covered for itself,
        at the price of one more write, so that a simple request is not refused for what a complex one would cost.
        """
        choices = [choice for decision in reach for choice in (decision.choice, *decision.fallbacks)]
        dearest = max(choices, key=lambda choice: self._most(choice, trip.request))
        amount = price + self._most(dearest, trip.request)
        cap = trip.request.hints.max_cost_usd
        if (cap is None or amount <= cap) and all(row.has_ample_room(amount) for row in trip.standings):
            with contextlib.suppress(BudgetExhausted):  # others were faster: then call by call
                await self.caller.put_aside(amount, self.call(dearest, None, trip.request), trip, self.clock.now())

    async def _standings(self, trip: Trip) -> list[Standing]:
        """How far the account's day and the request's budgets have come.

        Raises `StoreError`, unless there is no budget to ask about or calls are to be made without the store.
        """
        account, now = Scope(ACCOUNT, self.limits.daily_usd), self.clock.now()
        others = [scope for scope in trip.scopes if scope != account]
        try:
            standings = await self.ledger.standings(now, [account, *others])
        except StoreError as error:
            if trip.scopes and not self.caller.without_store:
                raise
            self.telemetry.note("counter_read_failed", error=str(error))
            return []
        trip.day, trip.record.spend_today_usd = Period.DAY.of(now), standings[0].spent_usd
        return standings


async def _nothing() -> None:
    """What is not looked up."""


def _floors(request: Request) -> Iterable[Bound]:
    if request.hints.floor:
        yield Bound(request.hints.floor, "floor")
    if request.tenant.floor:
        yield Bound(request.tenant.floor, "tenant-floor")


def _ceilings(request: Request) -> Iterable[Bound]:
    if request.hints.ceiling:
        yield Bound(request.hints.ceiling, "ceiling")
    if request.tenant.ceiling:
        yield Bound(request.tenant.ceiling, "tenant-ceiling")
