"""When calls of the bulk lane may begin: at the account's limits and not past them, and not while it is at fault."""

import asyncio
import email.utils
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cost_router.core.breaker import Breaker
from cost_router.core.errors import DeadlinePassed, UpstreamError
from cost_router.core.pacing import Feedback, Pacer
from cost_router.core.ports import Chance, Clock, Reply, Telemetry
from cost_router.core.trip import Call

LONGEST_SLEEP: Final = 5.0  # seconds; what other calls learn meanwhile may shorten the wait
NO_TURN: Final = "the account's limits left no time for this call"


@dataclass(slots=True)
class Turns:
    """The limiter and the circuit breaker of one process, as its calls meet them."""

    pacer: Pacer
    breaker: Breaker
    clock: Clock
    chance: Chance
    telemetry: Telemetry
    _queues: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    async def take(self, call: Call, deadline: float) -> None:
        """Wait until the call may begin, `deadline` at the latest: then raises `DeadlinePassed`.

        It waits here rather than on the queue: jobs that are put back are in flight for SQS, which allows 120,000.
        """
        async with self._queues[call.model.id]:  # one after the other, so that none is overtaken for ever
            probing = False
            while True:
                now = self.clock.monotonic()
                wait = 0.0 if probing else self.breaker.wait(now)
                probing = probing or (wait == 0 and self.breaker.is_open)
                wait = wait or self.pacer.turn(call.model.id, call.likely_prompt_tokens, now)
                if wait == 0:
                    return
                if now >= deadline:
                    if probing:
                        self.breaker.gave_up(now)
                    raise DeadlinePassed(NO_TURN, retry_after=wait)
                await self.clock.sleep(min(wait, LONGEST_SLEEP, deadline - now))

    def answered(self, call: Call, reply: Reply, began: float) -> None:
        """A call ended well."""
        usage = reply.usage
        told = Feedback(
            headers=self._dated(reply.headers),
            began=began,
            estimated_input_tokens=call.likely_prompt_tokens,
            input_tokens=usage.prompt_tokens - usage.cache_read_input_tokens,  # reads do not count for the limit
            output_tokens=usage.output_tokens,
        )
        self.breaker.passed()
        self.pacer.answered(call.model.id, told, self.clock.monotonic())

    def failed(self, call: Call, error: UpstreamError) -> None:
        """A call ended otherwise."""
        now = self.clock.monotonic()
        if error.barred:
            self.breaker.tripped(now)
            self.telemetry.stopped(error.status, self.breaker.wait(now))
        elif error.is_limit:
            headers = self._dated(error.headers)
            self.pacer.limited(call.model.id, headers, error.retry_after, now, self.chance.fraction())
            self.breaker.passed()
        else:
            self.breaker.gave_up(now)

    def _dated(self, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers with the time: `reset` is told by it."""
        return {"date": email.utils.format_datetime(self.clock.now(), usegmt=True), **headers}
