"""A cheap answer first: the lowest tier answers, its answer is checked, and what fails is answered once more, higher.

It is for requests to `auto` over HTTPS whose answer comes in one piece, where the caller (`x-router-cascade`) or the
tenant's policy asks for it. No label is asked for at first. The lowest tier within the request's bounds that can take
it answers, with cause `cascade`; then the checks are made in order (`core/answer_checks.py`, `core/verifier.py`). At
the first that fails the request is decided as usual, but at least one tier above, and answered again, with cause
`cascade:CHECK`. That answer is not checked.

- The same bounds hold: where no tier above is allowed, nothing is cascaded, and the usual decision holds. A session
  that is cheaper on the model whose cache is warm begins there.
- An answer that fell back to the tier above is as good as it gets: it is not checked.
- What was paid for is given: whatever keeps the second answer from coming (a bound, a budget, a cap, a limit, an error,
  the deadline), the first one is given in its place, with its own cause, a note in the log, and the check that failed
  in `x-router-cascade`. An error in its place would be paid for again by the next try.
- All calls are booked. The first answer, once another is given, is `speculative` and has no baseline: one request
  counts once, and would have been paid for once.
"""

import asyncio
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from cost_router.core import budget, capability
from cost_router.core.answer_checks import asked_format, fails
from cost_router.core.calls import Patience
from cost_router.core.deciding import Beside, Decider
from cost_router.core.errors import RouterError, StoreError
from cost_router.core.ledger import ANSWER, SPECULATIVE
from cost_router.core.policy import Choice, Decision, Wish
from cost_router.core.ports import Reply, Telemetry
from cost_router.core.request import CASCADE, CHECKS, JSON, ON, VERIFIER, Request
from cost_router.core.routing_ports import SchemaCheck
from cost_router.core.serving import Server
from cost_router.core.trip import Trip
from cost_router.core.verifier import Verifier
from cost_router.core.words import AUTO, Label, Tier

KEPT: Final = "kept"


Served = tuple[Choice, Label | None, Reply]


@dataclass(frozen=True, slots=True)
class Cascade:
    """Decides and checks first answers; every part is given to it."""

    decider: Decider
    server: Server
    verifier: Verifier
    schemas: SchemaCheck
    telemetry: Telemetry

    async def decide(
        self, trip: Trip, patience: Patience, *, ahead: bool = True, beside: Beside | None = None
    ) -> tuple[Decision, Label | None]:
        """The decision for the first answer and its label, if there is one; without a cascade that of the decider."""
        checks = wanted(trip.request)
        first = await self._first(trip, patience) if checks else None
        if first is None:
            return await self.decider.decide(trip, patience, ahead=ahead, beside=beside)
        trip.checks = checks
        return first, None

    async def checked(
        self, choice: Choice, label: Label | None, reply: Reply, trip: Trip, patience: Patience
    ) -> Served:
        """The answer itself where it passes, or nothing is to be checked; else that of a higher tier, if it comes."""
        if not trip.checks or choice.cause != CASCADE:
            return choice, label, reply
        failed = await self._failed(reply.message, trip)
        trip.record.cascade = failed or KEPT
        higher = await self._higher(failed, choice.tier, trip, patience) if failed else None
        return higher or (choice, label, reply)

    async def _first(self, trip: Trip, patience: Patience) -> Decision | None:
        """The decision for the lowest tier that may answer; None where no tier is above it.

        In its place, when Claude cannot serve it, the tier above is asked.
        """
        models, request = list(trip.arm.lineup.models.values()), trip.request
        capability.check_output_limit(models, request.max_tokens)
        caching = self.decider.caching
        trip.standings, _ = await asyncio.gather(self.decider.standings(trip), caching.look_up(trip))
        budget.check_not_spent(trip.standings)
        choose = caching.keeping(trip, self.decider.choosing(trip, capability.unable(models, request.ask), patience))
        lowest, *others = [choose(Wish(tier, CASCADE), Decimal(0)).choice for tier in Tier]
        above = next((choice for choice in others if choice.tier > lowest.tier), None)
        if above is None:
            return None
        fallback = dataclasses.replace(above, cause=f"fallback:{lowest.tier.word}")
        return Decision(dataclasses.replace(lowest, cause=CASCADE), (fallback,))

    async def _failed(self, message: Mapping[str, Any], trip: Trip) -> str | None:
        """The first check that the answer fails."""
        for check in trip.checks:
            if check == VERIFIER:
                if await self.verifier.rejects(message, trip):
                    return check
            elif fails(check, message, trip.request, self.schemas):
                return check
        return None

    async def _higher(self, failed: str, first: Tier, trip: Trip, patience: Patience) -> Served | None:
        """The answer of a higher tier than the first one's; None when none comes."""
        request, record, entries = trip.request, trip.record, trip.trail.entries
        before, paid = (record.model, record.tier, record.cause, record.adapted, record.label), len(entries)
        trip.request = _at_least(Tier(first + 1), request)
        try:
            decision, label = await self.decider.decide(trip, patience)
            decision = _because(failed, decision)
            choice, reply = await self.server.serve(self.server.caller.call, decision, label, trip, patience)
        except (RouterError, StoreError) as error:
            self.telemetry.note("cascade_kept", request_id=request.id, check=failed, error=type(error).__name__)
            record.model, record.tier, record.cause, record.adapted, record.label = before
            return None
        finally:
            trip.request = request
        record.escalated = True
        entries[:paid] = [
            dataclasses.replace(entry, purpose=SPECULATIVE, baseline_usd=Decimal(0))
            if entry.purpose == ANSWER
            else entry
            for entry in entries[:paid]
        ]
        return choice, label, reply


def wanted(request: Request) -> tuple[str, ...]:
    """The checks of a request that is to be cascaded, in order; none of any other."""
    if request.model != AUTO or request.streamed or request.job or not request.wants(CASCADE):
        return ()
    named = request.hints.cascade or (ON,)
    if ON not in named:
        return named
    return tuple(check for check in CHECKS if check != JSON or asked_format(request.body) is not None)


def _at_least(tier: Tier, request: Request) -> Request:
    """The request with a floor of that tier, if it has no higher one."""
    floor = max(tier, request.hints.floor or tier)
    return dataclasses.replace(request, hints=dataclasses.replace(request.hints, floor=floor))


def _because(check: str, decision: Decision) -> Decision:
    """The decision with the check that failed as its cause."""
    return dataclasses.replace(decision, choice=dataclasses.replace(decision.choice, cause=f"{CASCADE}:{check}"))
