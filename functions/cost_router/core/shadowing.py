"""A candidate in shadow: it decides too, is written down, and changes nothing.

It begins when the request is decided and runs beside the answer, so that no caller waits for it to begin. When the
answer has come it gets what is left of its own time, then it is given up: an unstreamed answer waits for it so long at
the most, of a stream only the comment after the last event does. It has a trip of its own, because both call at once:
its calls and its money are joined to the request's before they are booked.

What it pays for is a label of its own, and only where every budget has ample room. A request with a cap of its own on
its cost is left alone, a pinned one too: nothing is decided there.
"""

import asyncio
import contextlib
import dataclasses
from dataclasses import dataclass
from decimal import Decimal

from cost_router.core import ledger, pricing
from cost_router.core.calls import Patience
from cost_router.core.deciding import Decider
from cost_router.core.errors import NoPrice, RouterError, StoreError
from cost_router.core.ledger import Entry, Shadow
from cost_router.core.policy import Choice
from cost_router.core.record import Record
from cost_router.core.trip import Trip
from cost_router.core.words import AUTO, Label


def begin(decider: Decider, trip: Trip, patience: Patience) -> None:
    """Let the candidate that watches the request decide, if there is one; the trip is not settled before it has."""
    arm, request = trip.watching, trip.request
    if arm is None or request.model != AUTO or request.hints.max_cost_usd is not None:
        return
    record = Record(request.id, request.tenant.name, request.tags, kind=trip.record.kind, arm=arm.name)
    # Without a pace: it is no request of the session's.
    own = Trip(
        request,
        record,
        trip.plan,
        arm,
        trip.asked,
        trip.scopes,
        standings=trip.standings,
        day=trip.day,
        series="shadow",
    )
    until = decider.clock.monotonic() + decider.labeller.deadline_seconds
    task = asyncio.ensure_future(_decide(decider, own, patience))
    trip.before_settling.append(_Watch(decider, trip, own, task, until).end)


def _is_affordable(decider: Decider, own: Trip) -> bool:
    """Whether every budget, as far as it is known, could hold a label's price several times over."""
    question = decider.labeller.question(own)
    most = question.bound(decider.clock.now().date()) if question else Decimal(0)
    return bool(own.standings) and own.has_ample_room(most)


async def _decide(decider: Decider, own: Trip, patience: Patience) -> tuple[Choice, Label | None] | None:
    """What the candidate chooses; None when it comes to no decision of its own."""
    try:
        if not _is_affordable(decider, own):
            return None
        decision, label = await decider.decide(own, patience, ahead=False)
    except (RouterError, StoreError) as error:
        decider.telemetry.note("shadow_failed", request_id=own.request.id, error=type(error).__name__)
        return None
    if own.record.classifier_failed or own.record.classifier_skipped:  # a label by default says nothing of it
        return None
    return decision.choice, label


@dataclass(frozen=True, slots=True)
class _Watch:
    """A candidate that decides, beside the trip that it looks at."""

    decider: Decider
    trip: Trip
    own: Trip
    task: asyncio.Task[tuple[Choice, Label | None] | None]
    until: float  # on the monotonic clock

    async def end(self) -> None:
        """Wait for the candidate as long as it has time, then join what it decided and paid to the trip."""
        trip, own = self.trip, self.own
        await self._wait()
        (outcome,) = await asyncio.gather(self.task, return_exceptions=True)
        trip.trail.entries += [
            dataclasses.replace(entry, flags=(*entry.flags, ledger.SHADOW)) for entry in own.trail.entries
        ]
        trip.reservations += own.reservations
        trip.pending += own.pending
        trip.record.ambiguous += own.record.ambiguous
        trip.record.unreserved += own.record.unreserved
        trip.record.rate_limits += own.record.rate_limits
        if isinstance(outcome, asyncio.CancelledError):
            self.decider.telemetry.note("shadow_failed", request_id=trip.request.id, error="late")
        elif isinstance(outcome, BaseException):
            raise outcome
        elif outcome:
            self._tell(*outcome)

    async def _wait(self) -> None:
        left = self.until - self.decider.clock.monotonic()
        if left > 0:
            pause = asyncio.ensure_future(self.decider.clock.sleep(left))
            await asyncio.wait((self.task, pause), return_when=asyncio.FIRST_COMPLETED)
            pause.cancel()
        self.task.cancel()  # what it has paid is entered on its way out

    def _tell(self, choice: Choice, label: Label | None) -> None:
        """Write down what the candidate chose, on the record and on the entry of the answer."""
        seen = Shadow(label, choice.tier, choice.model.id)
        entries = self.trip.trail.entries
        answers = [place for place, entry in enumerate(entries) if entry.purpose == self.trip.request.purpose]
        if answers:
            last = answers[-1]
            seen = dataclasses.replace(seen, cost_usd=_cost(choice, entries[last]))
            entries[last] = dataclasses.replace(entries[last], shadow=seen)
        self.trip.record.shadow = seen


def _cost(choice: Choice, answer: Entry) -> Decimal | None:
    """What the tokens of an answer would have cost there; None when they, or a price, are not known."""
    if ledger.AMBIGUOUS in answer.flags:
        return None
    with contextlib.suppress(NoPrice):
        return pricing.cost_elsewhere(choice.model, answer.usage, on=answer.at.date(), processing=answer.processing)
    return None
