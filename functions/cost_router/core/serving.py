"""The first model that answers: the one that was chosen, then its fallbacks in order, within the request's time."""

import dataclasses
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from cost_router.core.adapting import without_thinking
from cost_router.core.calls import SHORTEST_CALL, TOO_LATE, Caller, Patience
from cost_router.core.deciding import Decider
from cost_router.core.errors import DeadlinePassed, Failure, NotCovered, UpstreamError
from cost_router.core.policy import Choice, Decision
from cost_router.core.ports import Clock
from cost_router.core.request import Request
from cost_router.core.shares import share
from cost_router.core.trip import Call, Trip
from cost_router.core.words import Label

T = TypeVar("T")
BAD_REQUEST: Final = 400
Once = Callable[[Call, Trip, float], Awaitable[T]]  # `call` or `stream` of a `Caller`


@dataclass(frozen=True, slots=True)
class Server:
    """Asks models; every part is given to it."""

    decider: Decider
    caller: Caller
    clock: Clock

    async def serve(
        self, once: Once[T], decision: Decision, label: Label | None, trip: Trip, patience: Patience
    ) -> tuple[Choice, T]:
        """The first choice that answers; the first error when none does or when one is not to be passed on."""
        first: UpstreamError | None = None
        choices = (decision.choice, *(decision.fallbacks if patience.fall_back else ()))
        for choice in choices:
            if first and self._left(trip.request) < SHORTEST_CALL:
                break
            trip.record.model, trip.record.tier, trip.record.cause = choice.model.id, choice.tier, choice.cause
            try:
                call = self.decider.call(choice, label, trip)
                each = math.inf if choice is choices[-1] else share(trip.request, self._left(trip.request))
                return choice, await self._ask(once, call, trip, patience, each)
            except UpstreamError as error:
                first = first or error
                if not error.passes_with_time:
                    break
            except NotCovered:
                if first is None:
                    raise
                break
            except DeadlinePassed:
                if first is None or first.failure is Failure.TIMEOUT:
                    raise
                break
        if first is None or self._out_of_time(first, trip):
            raise DeadlinePassed(TOO_LATE) from first
        raise first

    async def _ask(self, once: Once[T], call: Call, trip: Trip, patience: Patience, each: float) -> T:
        """What the model answers; when it refuses a conversation with thinking blocks, what it answers without them.

        A model drops blocks of models that it cannot read; but one that refuses them would refuse every further turn of
        the conversation. A refusal costs nothing, and when it had another reason, the second one has it too: then the
        caller gets the first.
        """
        try:
            return await self._persist(once, call, trip, patience, each)
        except UpstreamError as error:
            plain = without_thinking(call.body) if error.status == BAD_REQUEST else None
            if plain is None:
                raise
            again = dataclasses.replace(call, body=plain.body, adapted=(*call.adapted, *plain.changes))
            try:
                return await self._persist(once, again, trip, patience, each)
            except UpstreamError as second:
                if second.status == BAD_REQUEST:
                    trip.record.adapted = call.adapted
                    raise error from None
                raise

    async def _persist(self, once: Once[T], call: Call, trip: Trip, patience: Patience, each: float) -> T:
        trip.record.adapted = call.adapted
        return await self.caller.persist(partial(once, call, trip), call, trip.request.deadline, patience, each=each)

    def _left(self, request: Request) -> float:
        return request.deadline - self.clock.monotonic()

    def _out_of_time(self, error: UpstreamError, trip: Trip) -> bool:
        return error.failure is Failure.TIMEOUT and self._left(trip.request) < SHORTEST_CALL
