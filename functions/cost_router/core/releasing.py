"""What an operator wants done with groups, done: held jobs go back to the queue, those of canceled groups end unpaid.

And who waits for a group is told when it is finished. Everything here may be repeated: a copy of a message finds the
job taken, a result is written anew with the same content, and an event that is sent twice says the same.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from cost_router.core.batch_lane import Line
from cost_router.core.batch_ports import BatchStore, Ended
from cost_router.core.groups import KEPT_OPEN, End, Group, GroupEvents, Groups, GroupState, is_finished
from cost_router.core.job_ports import HeldJob, JobStore, Spent
from cost_router.core.job_results import CANCELED, attribution
from cost_router.core.ports import Clock, Results, Telemetry
from cost_router.core.pricing import BATCH, dollars
from cost_router.core.together import for_each

T = TypeVar("T")
TOGETHER: Final = 100  # jobs that are worked on at once
RELEASING_SECONDS: Final = 240.0  # after which a round releases no others; the next round does


class Returns(Protocol):
    """The jobs queue, as seen by who puts jobs back on it."""

    async def put_back(self, jobs: Sequence[HeldJob]) -> list[HeldJob]:
        """Send a message for each job; gives those that the queue has now. Raises `StoreError`."""


@dataclass(frozen=True, slots=True)
class Releaser:
    """Looks after groups; every part is given to it."""

    groups: Groups
    jobs: JobStore
    lines: BatchStore
    results: Results
    queue: Returns
    events: GroupEvents
    clock: Clock
    telemetry: Telemetry

    async def look_after(self, groups: Sequence[Group]) -> None:
        """Do what is to be done for each group. Raises `StoreError`."""
        until = self.clock.monotonic() + RELEASING_SECONDS
        for group in groups:
            if group.state is GroupState.RUNNING:
                await _by(TOGETHER, self.jobs.held(group.name), self._release, self._in_time(until))
            elif group.state is GroupState.CANCELED:
                await self._cancel(group, until)
            await self._tell(group)

    async def _release(self, held: Sequence[HeldJob]) -> None:
        await for_each(await self.queue.put_back(held), self.jobs.released)

    async def _cancel(self, group: Group, until: float) -> None:
        """End what waits; what is in a batch ends with the batch."""
        await _by(TOGETHER, self.jobs.held(group.name), self._cancel_held, self._in_time(until))
        for urgent in (True, False):
            waiting = self.lines.parked(group.name, urgent=urgent)
            await _by(TOGETHER, waiting, self._cancel_lines, self._in_time(until))

    async def _cancel_held(self, held: Sequence[HeldJob]) -> None:
        async def end(job: HeldJob) -> None:
            told = {"cost_usd": dollars(job.spent.cost_usd), "tenant": job.tenant}
            result = {"custom_id": job.custom_id, "result": CANCELED, "router": told}
            await self.results.put_first(job.group, job.custom_id, result)
            await self.jobs.end_held(job, self.clock.now())

        await for_each(held, end)

    async def _cancel_lines(self, lines: Sequence[Line]) -> None:
        async def end(line: Line) -> None:
            told = {"label": line.label, "cause": line.cause, "cost_usd": dollars(line.booked_usd), "lane": BATCH}
            whose = attribution(line.request_id, line.tenant, line.tags)
            result = {"custom_id": line.custom_id, "result": CANCELED, "router": {**told, **whose}}
            await self.results.put_first(line.group, line.custom_id, result)
            ended = Ended(End.CANCELED, Spent(line.booked_usd))
            await self.lines.done(line, None, ended, self.clock.now())

        await for_each(lines, end)

    async def _tell(self, group: Group) -> None:
        """Tell of a group that is finished, once for each time that it is; then let it be."""
        tally, now = await self.groups.tally(group.name), self.clock.now()
        if not is_finished(group, tally, now):
            return
        if group.told != tally.ended:
            await self.events.finished(group, tally, now)
            await self.groups.told(group, tally.ended)
            self.telemetry.note("group_finished", group=group.name, jobs=tally.ended, failed=tally.failed)
        elif now - group.seen_at >= KEPT_OPEN:
            await self.groups.close(group, now)

    def _in_time(self, until: float) -> Callable[[], bool]:
        return lambda: self.clock.monotonic() < until


async def _by(
    size: int, things: AsyncIterator[T], work: Callable[[Sequence[T]], Awaitable[Any]], in_time: Callable[[], bool]
) -> None:
    """`work` on so many things at a time, while there is time."""
    some: list[T] = []
    async for thing in things:
        some.append(thing)
        if len(some) == size:
            await work(some)
            some = []
            if not in_time():
                return
    if some:
        await work(some)
