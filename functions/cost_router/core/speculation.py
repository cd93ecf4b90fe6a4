"""Speculative execution: haiku begins to answer while the classifier is still asked, for callers who want that.

When the label says that haiku answers, its answer has begun already. When it says something else the call is ended, and
what it cost is booked with purpose `speculative`: tokens bought for time. Rules:

- It begins only where the classifier is about to be asked (a label that is known has nothing to wait for) and its
  answer may be that haiku is enough. Never for jobs, which have time, nor for requests that may search the web, which
  is billed by the search.
- It asks what a simple request would: model, effort and `max_tokens` of that label. It is used when the call that was
  decided on is the same one in the end, and not when only the model is: another label's effort or ceiling would have
  made another answer.
- The money for the classifier, this call and the dearest answer is put aside together beforehand, where every budget
  has ample room for the sum and the request's own cap allows it; otherwise everything goes its usual way.
- A call that fails counts as the first try of the same call if that is decided on, else as nothing. One that may have
  been paid for is booked either way.
- It is streamed, also for a caller who wants one message, so that it can be ended midway: the events are put together.
  Should they be no message that is understood here, the call is made again unstreamed.
"""

import asyncio
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from cost_router.core import rules
from cost_router.core.assembling import Assembly, Unassembled
from cost_router.core.calls import Caller, to_its_end
from cost_router.core.deciding import Decider
from cost_router.core.errors import RouterError, StoreError, UpstreamError
from cost_router.core.ledger import SPECULATIVE
from cost_router.core.policy import Decision
from cost_router.core.ports import Clock, Reply
from cost_router.core.record import SPECULATION_ABANDONED, SPECULATION_USED
from cost_router.core.request import SPECULATE
from cost_router.core.shares import share
from cost_router.core.streams import Live
from cost_router.core.trip import Call, Trip
from cost_router.core.words import Label, Tier

SPECULATION: Final = "speculation"  # the cause of a call that was not used


@dataclass(slots=True)
class Speculation:
    """The call that may begin beside a trip's classifier; `whole` and `stream` make the trip's answer calls."""

    decider: Decider
    caller: Caller
    clock: Clock
    trip: Trip
    asked: Call | None = None
    begun: asyncio.Task[Live] | None = None  # until it is used or ended

    async def begin(self, reach: Sequence[Decision], price: Decimal) -> bool:
        """Begin, where that is wanted and covered; whether the request's money is put aside now.

        reach: what a wish for each tier leads to, haiku's first; price: the most that the classifier costs.
        """
        call = self._call(reach[0])
        if call is None:
            return False
        together = price + call.bound(self.clock.now().date())
        if not await self.decider.put_aside_ahead(reach, together, self.trip):
            return False
        request, now = self.trip.request, self.clock.monotonic()
        deadline = now + share(request, request.deadline - now)
        self.trip.before_settling.append(self.end)
        self.asked, self.begun = call, asyncio.create_task(self.caller.stream(call, self.trip, deadline))
        return True

    async def whole(self, call: Call, trip: Trip, deadline: float) -> Reply:
        """As `Caller.call`; the message of the call that has begun, if it is the same."""
        live = await self._take(call)
        reply = await self._read(live, deadline) if live else None
        return reply or await self.caller.call(call, trip, deadline)

    async def stream(self, call: Call, trip: Trip, deadline: float) -> Live:
        """As `Caller.stream`; the call that has begun, if it is the same."""
        return await self._take(call) or await self.caller.stream(call, trip, deadline)

    async def end(self) -> None:
        """End and enter the call, if there is one that is not used; it is over then, also when this is cancelled."""
        task, self.begun = self.begun, None
        if task:
            task.cancel()  # at once: where the classifier is not asked after all, it has not made its call yet
            await to_its_end(asyncio.ensure_future(self._abandoned(task)))

    def _call(self, simple: Decision) -> Call | None:
        """What haiku would be asked if the request were simple; None where it is not to begin."""
        trip, request = self.trip, self.trip.request
        wanted = request.wants(SPECULATE) and request.job is None and not request.ask.terms.web_searches
        if not (wanted and trip.standings):  # without standings nobody knows what a budget covers
            return None
        if self.decider.labeller.outages.is_open(trip.arm.lineup.classifier.id):  # the label is moderate, at once
            return None
        tokens = request.ask.estimated_tokens(simple.choice.model.tokenizer)
        label, _ = rules.raised(request.ask, tokens, Label.SIMPLE, trip.plan.routing.rules_off)
        tiers = {trip.plan.routing.rung(label).tier, simple.choice.tier}
        if tiers != {Tier.HAIKU}:
            return None
        call = self.decider.call(simple.choice, label, trip)
        body = {**call.body, "stream": True}
        return dataclasses.replace(call, body=body, purpose=SPECULATIVE, cause=SPECULATION, label=None, baseline=None)

    async def _take(self, call: Call) -> Live | None:
        """The call that has begun, from now on for the answer, when `call` is the same one; otherwise it is ended."""
        asked, task = self.asked, self.begun
        if asked is None or task is None:
            return None
        if (call.model, {**call.body, "stream": True}) != (asked.model, asked.body):
            await self.end()
            return None
        try:
            live = await task
        except UpstreamError:
            self.begun = None
            self._tell_abandoned()
            raise
        except (RouterError, StoreError):  # it was not made; the same call tells why, if it cannot be made either
            self.begun = None
            return None
        self.begun, live.call = None, call
        self.trip.record.speculation = SPECULATION_USED
        return live

    async def _read(self, live: Live, deadline: float) -> Reply | None:
        """The message of a call, read to its end; None when it is not understood: the call is given up then."""
        assembly = Assembly()
        try:
            while (event := await live.next(deadline)) is not None:
                assembly.add(event)
            content = assembly.content()
        except Unassembled as error:
            self.caller.telemetry.note("stream_not_assembled", request_id=self.trip.request.id, error=str(error))
            live.call = self.asked or live.call
            return None
        finally:
            await live.end()
            self._tell_abandoned()
        return Reply(content, assembly.message, live.usage, live.stream.request_id, live.stream.headers)

    async def _abandoned(self, task: asyncio.Task[Live]) -> None:
        await asyncio.wait((task,))
        if not task.cancelled() and task.exception() is None:
            await task.result().end()
        self._tell_abandoned()

    def _tell_abandoned(self) -> None:
        """What was never sent, or refused, has cost nothing and is not told."""
        if any((entry.purpose, entry.cause) == (SPECULATIVE, SPECULATION) for entry in self.trip.trail.entries):
            self.trip.record.speculation = SPECULATION_ABANDONED
