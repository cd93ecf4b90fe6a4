"""Which model a request runs on: budgets and label together, then the classifier if need be, then the policy."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from cost_router.core import bounds, budget, capability, policy, prompt_cache, rules
from cost_router.core.budget import Ladder, Limits, Period, Scope, Standing
from cost_router.core.caching import Caching
from cost_router.core.calls import CAP, Caller, Patience, over_cap
from cost_router.core.catalogue import Catalogue
from cost_router.core.conversation import conversation
from cost_router.core.errors import BudgetExhausted, RuleRefused, StoreError
from cost_router.core.labelling import Labelled, Labeller
from cost_router.core.ledger import ACCOUNT, JUDGE
from cost_router.core.policy import Bound, Choice, Decision, Wish
from cost_router.core.ports import Clock, Ledger, Telemetry
from cost_router.core.record import Record
from cost_router.core.request import Request
from cost_router.core.routing_ports import Plans
from cost_router.core.shaping import shaped
from cost_router.core.trip import Call, Trip
from cost_router.core.words import AUTO, TIER_WORDS, Label, Tier

DEFAULT: Final = "default"
PRECLASSIFIER: Final = "preclassifier"
# Told what each tier's wish leads to and the most that the classifier costs; whether it has put the money aside.
Beside = Callable[[Sequence[Decision], Decimal], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Decider:
    """Decides; every part is given to it."""

    catalogue: Catalogue
    plans: Plans
    labeller: Labeller
    caching: Caching
    caller: Caller
    ledger: Ledger
    clock: Clock
    telemetry: Telemetry
    limits: Limits  # of the account; and of each session, where the tenant has none of its own
    ladder: Ladder

    async def trip(self, request: Request, record: Record) -> Trip:
        """The request on its way: how it is decided, and the budgets that it counts for."""
        tenant, session = request.tenant, request.hints.session
        plan = await self.plans.current()
        acting, watching = plan.control, None
        if plan.candidate and request.purpose != JUDGE:  # whoever judges answers is on trial in no arm
            hashed = conversation(request)
            acting, watching = plan.acting(hashed), plan.watching(hashed)
            record.arm = acting.name
        return Trip(
            request,
            record,
            plan,
            acting,
            request.ask,
            scopes=budget.scopes(tenant.name, tenant.limits, self.limits, session),
            pace=budget.pace(tenant.name, tenant.limits, self.limits, session),
            watching=watching,
        )

    async def decide(
        self, trip: Trip, patience: Patience, *, ahead: bool = True, beside: Beside | None = None
    ) -> tuple[Decision, Label | None]:
        """The decision and the label, if one was needed; whatever the classifier costs is entered in the trip.

        ahead: an answer follows, whose money may be put aside together with the classifier's. beside: awaited before
        the classifier is asked, so that something else may begin at the same time.
        """
        request = trip.request
        pinned = self._pinned(request.model)
        named = pinned.model if pinned else None
        candidates = [*trip.arm.lineup.models.values(), *([named] if named else [])]
        capability.check_output_limit(candidates, request.max_tokens)
        unable = capability.unable(candidates, request.ask, named)
        off = trip.plan.routing.rules_off
        trip.asked, followed = (request.ask, None) if pinned else rules.asked(request.ask, off)
        trip.standings, found, _ = await asyncio.gather(
            self.standings(trip), self._known(trip) if pinned is None else _nothing(), self.caching.look_up(trip)
        )
        budget.check_not_spent(trip.standings)
        choose = self.caching.keeping(trip, self.choosing(trip, unable, patience))
        if pinned:
            return choose(pinned, Decimal(0)), None
        if found is None:
            question = self.labeller.question(trip)
            price = question.bound(self.clock.now().date()) if question else Decimal(0)
            # A contradiction is refused before the classifier is paid.
            reach = [choose(Wish(tier, DEFAULT), price) for tier in Tier]
            if only := _only(reach):
                return only, None
            if ahead and not (beside and await beside(reach, price)):
                await self.put_aside_ahead(reach, price, trip)
            found = await self.labeller.classify(question, trip, patience)
        tokens = request.ask.estimated_tokens(trip.arm.lineup.models[Tier.HAIKU].tokenizer)
        label, rule = rules.raised(request.ask, tokens, found.label, off)
        trip.record.label = label
        followed = None if found.cause == DEFAULT else followed  # no label was found, of whichever ask
        wish = Wish(trip.plan.routing.rung(label).tier, rule or followed or found.cause)
        return choose(wish, trip.trail.bill.cost_usd), label

    async def _known(self, trip: Trip) -> Labelled | None:
        """The label that needs no call: by a rule, by the local model where it is sure, or from a cache."""
        if found := rules.fixed(trip.request.ask, trip.plan.routing.rules_off):
            return Labelled(*found)
        local = trip.arm.preclassifier
        if local and (label := local.label(trip.asked)):
            return Labelled(label, PRECLASSIFIER)
        return await self.labeller.look_up(trip)

    def call(self, choice: Choice, label: Label | None, trip: Trip) -> Call:
        """The answer call that a choice means."""
        request = trip.request
        adapted = shaped(trip, choice, label)
        return Call(
            model=choice.model,
            body=adapted.body,
            headers=request.headers,
            most_prompt_tokens=request.ask.most_tokens(request.body_bytes, choice.model.context_window),
            likely_prompt_tokens=request.ask.estimated_tokens(choice.model.tokenizer),
            max_tokens=adapted.body["max_tokens"],
            adapted=adapted.changes,
            purpose=request.purpose,
            cause=choice.cause,
            label=label,
            terms=prompt_cache.terms(request.ask.terms, adapted.changes),
            processing=request.processing,
            baseline=None if request.purpose == JUDGE else trip.plan.control.lineup.baseline,
        )

    def choosing(
        self, trip: Trip, unable: Mapping[str, str], patience: Patience
    ) -> Callable[[Wish, Decimal], Decision]:
        """The policy within the bounds of a request: what it chooses for a wish once so much has been paid.

        Raises `BudgetExhausted` where a budget's ceiling is below a floor: another day it will not be.
        """
        request = trip.request
        floors = list(bounds.floors(request))
        ceilings = [*bounds.ceilings(request), *budget.ceilings(trip.standings, self.ladder)]
        if patience.fall_back:  # a job has time: it waits for a budget that covers its tier
            ceilings += self._covered(trip, unable)

        def choose(wish: Wish, paid: Decimal) -> Decision:
            highest = [*ceilings, *self._cap(trip, paid, unable)]
            try:
                return policy.decide(wish, trip.arm.lineup, floors=floors, ceilings=highest, unable=unable)
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

    def _cap(self, trip: Trip, paid: Decimal, unable: Mapping[str, str]) -> Iterable[Bound]:
        """The ceiling that the request's own cap on its cost sets; raises `CapExceeded` when no tier fits."""
        cap = trip.request.hints.max_cost_usd
        most = {} if cap is None else {tier: paid + bound for tier, bound in self._most_by_tier(trip, unable).items()}
        if cap is None or not most:
            return
        fitting = [tier for tier, bound in most.items() if bound <= cap]
        if not fitting:
            raise over_cap(min(most.values()), cap)
        yield Bound(max(fitting), CAP)

    def _covered(self, trip: Trip, unable: Mapping[str, str]) -> Iterable[Bound]:
        """The ceilings of what budgets still cover: a lesser answer rather than none.

        A budget that covers no tier sets none; it refuses by itself, with its figures.
        """
        rooms = {row.scope.rule: row.room_usd for row in trip.standings if row.room_usd is not None}
        if not rooms:
            return
        most = self._most_by_tier(trip, unable)
        for rule, room in rooms.items():
            fitting = [tier for tier, bound in most.items() if bound <= room]
            if fitting and len(fitting) < len(most):
                yield Bound(max(fitting), rule)

    def _most_by_tier(self, trip: Trip, unable: Mapping[str, str]) -> dict[Tier, Decimal]:
        """The most that the answer can cost on each tier that can take the request."""
        models = trip.arm.lineup.models
        return {
            tier: self.most(Choice(models[tier], tier, CAP), trip) for tier in Tier if models[tier].id not in unable
        }

    def most(self, choice: Choice, trip: Trip) -> Decimal:
        """The most that an answer by this choice can cost, in US dollars; raises `NoPrice`."""
        return self.call(choice, None, trip).bound(self.clock.now().date())

    async def put_aside_ahead(self, reach: Iterable[Decision], price: Decimal, trip: Trip) -> bool:
        """Put money aside in one write, where every budget has ample room for it; whether it was.

        It is `price`, of what is called before the answer, and the most for the dearest model that may answer. Close to
        a limit each call is covered for itself, so that a simple request is not refused for what a complex one costs.
        """
        choices = [choice for decision in reach for choice in (decision.choice, *decision.fallbacks)]
        dearest = max(choices, key=lambda choice: self.most(choice, trip))
        amount = price + self.most(dearest, trip)
        if trip.has_ample_room(amount):
            with contextlib.suppress(BudgetExhausted):  # others were faster: then call by call
                await self.caller.put_aside(amount, self.call(dearest, None, trip), trip, self.clock.now())
                return True
        return False

    async def standings(self, trip: Trip) -> list[Standing]:
        """How far the account's day and the request's budgets have come.

        Raises `StoreError`, unless there is no budget to ask about or calls are to be made without the store.
        """
        if trip.standings:  # of a request that is decided once more, in shadow or in a cascade
            return trip.standings
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


def _only(reach: Iterable[Decision]) -> Decision | None:
    """The decision that every label leads to, when it is one: then the label need not be paid for."""
    first, *others = reach
    if any(other.choice.model.id != first.choice.model.id for other in others):
        return None
    return next((one for one in (first, *others) if one.choice.cause != DEFAULT), first)
