"""From parked lines to a Message Batch: covered by every budget, durable before it is submitted, submitted once."""

import contextlib
import dataclasses
import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cost_router.core.batch_billing import LineBilling
from cost_router.core.batch_choosing import Chooser
from cost_router.core.batch_lane import (
    CERTAIN,
    CREATE_SECONDS,
    LEASE,
    SKEW,
    Batch,
    Line,
    State,
    bounds,
)
from cost_router.core.batch_ports import Batches, BatchStore, LineLedger, Seen, Settled
from cost_router.core.batch_settling import Settler
from cost_router.core.errors import NotConfigured, StoreError, UpstreamError
from cost_router.core.groups import Group
from cost_router.core.ports import Chance, Clock, Policies, Telemetry
from cost_router.core.shaping import Shape
from cost_router.core.together import for_each
from cost_router.core.wire import encode

PACKING_SECONDS: Final = 420.0  # after which a round packs no other batch; the next round does
REFUSED: Final = frozenset({400, 413})  # what no repetition mends: the lines are failed
OVERLOADED: Final = 529
SERVER_ERROR: Final = 500


@dataclass(frozen=True, slots=True)
class Packer:
    """Packs and submits; every part is given to it."""

    batches: Batches
    store: BatchStore
    lines: LineLedger
    policies: Policies
    billing: LineBilling
    settler: Settler
    chooser: Chooser
    clock: Clock
    chance: Chance
    telemetry: Telemetry

    async def pack(self, groups: Sequence[Group]) -> None:
        """Submit what is parked in these groups and covered, what has a deadline first.

        Raises `StoreError`, `UpstreamError` and `NotConfigured`.
        """
        until = self.clock.monotonic() + PACKING_SECONDS
        for urgent in (True, False):
            await self._pack(groups, until, urgent=urgent)

    async def _pack(self, groups: Sequence[Group], until: float, *, urgent: bool) -> None:
        while self.clock.monotonic() < until:
            chosen, more = await self.chooser.choose(groups, urgent=urgent)
            if not chosen:
                return
            async with contextlib.aclosing(self.batches.listed()) as listed:
                async for _batch in listed:  # whether Claude can be reached, before anything is moved
                    break
            now = self.clock.now()
            batch = Batch(self.chance.token(), State.PACKING, began_at=now, lease=now + LEASE)
            await self.store.begin(batch)
            await self.submit(batch, await self._join(batch, chosen))
            if not more:
                return

    async def submit(self, batch: Batch, lines: Sequence[Line]) -> None:
        """Cover the lines of a batch of which nothing was submitted, and create it."""
        covered = await self._cover(batch, lines)
        bodies = await for_each(covered, self._params)
        whole = [(line, body) for line, body in zip(covered, bodies, strict=True) if body is not None]
        gone = [line for line, body in zip(covered, bodies, strict=True) if body is None]
        await self.settler.fail(batch, gone, "api_error", "the body of this job is gone")
        if not whole:
            await self.store.close(batch, self.clock.now())
            return
        now = self.clock.now()
        bounded = bounds(batch, [line for line, _ in whole])
        creating = dataclasses.replace(bounded, state=State.CREATING, submitted_at=now, lease=now + LEASE)
        if not await self.store.move(creating, was=State.PACKING):
            return  # somebody else has taken it over
        try:
            seen = await self.batches.create([(line.id_in(batch.marker), body) for line, body in whole], CREATE_SECONDS)
        except (UpstreamError, NotConfigured, StoreError) as error:
            await self._not_created(creating, [line for line, _ in whole], error)
        else:
            await self._created(creating, seen)

    async def recover(self, batch: Batch) -> None:
        """Find the batch whose creation was never confirmed among those that the API lists; never create it again.

        What the list tells of a batch is when it was created and of how many lines; whose it is shows only in its
        results. So one that may be ours is waited for; that none was created is believed after `CERTAIN`.
        """
        submitted, waiting = batch.submitted_at or batch.began_at, False
        taken = {other.upstream_id for other in await self.store.batches()}
        async with contextlib.aclosing(self.batches.listed()) as listed:
            async for seen in listed:
                if seen.created_at < submitted - SKEW:
                    break
                if seen.id in taken or not _may_be(seen, batch, submitted):
                    continue
                if not seen.ended:
                    waiting = True
                elif await self._is_ours(seen, batch):
                    await self._created(batch, seen)
                    return
        if not waiting and self.clock.now() > submitted + CERTAIN:
            await self._dissolve(batch, await self.store.members(batch.marker))
            return
        await self.store.release(batch, self.clock.now())

    async def _params(self, line: Line) -> bytes | None:
        """What Claude is asked for a line: its params, as its label and its model want them."""
        message = await self.store.message(line)
        if message is None:
            return None
        params, model = json.loads(message)["params"], self.billing.catalogue.model(line.model)
        return encode(Shape(line.effort, min(line.max_tokens, params["max_tokens"])).fitted(params, model).body)

    async def _join(self, batch: Batch, lines: Sequence[Line]) -> list[Line]:
        """Move lines into a batch; those that another round has moved elsewhere are left out."""
        moved = await for_each(lines, lambda line: self.store.join(line, batch.marker))
        return [line for line, was in zip(lines, moved, strict=True) if was]

    async def _cover(self, batch: Batch, lines: Sequence[Line]) -> list[Line]:
        """The lines whose money has been put aside; others are parked again."""
        ids = await self.lines.put_aside([self.billing.reservation(line) for line in lines])
        await self._park([line for line in lines if line.entry_id not in ids], batch)
        return [line for line in lines if line.entry_id in ids]

    async def _not_created(self, batch: Batch, lines: Sequence[Line], error: Exception) -> None:
        """What to do when no id came back: it depends on whether the batch may exist all the same."""
        self.telemetry.note("batch_not_created", marker=batch.marker, lines=len(lines), error=str(error))
        if isinstance(error, UpstreamError) and _may_have_arrived(error):
            await self.store.release(batch, self.clock.now())
        elif isinstance(error, UpstreamError) and error.status in REFUSED and not error.account:
            if len(lines) > 1:  # one line may be at fault: it must not take the others with it
                await self._halve(batch, lines)
                return
            await self.settler.fail(batch, lines, "invalid_request_error", f"Claude refused the batch: {error.status}")
            await self.store.close(batch, self.clock.now())
        else:
            await self._dissolve(batch, lines)

    async def _created(self, batch: Batch, seen: Seen) -> None:
        created = dataclasses.replace(batch, state=State.CREATED, upstream_id=seen.id, lease=self.clock.now())
        await self.store.move(created, was=State.CREATING)
        self.telemetry.note("batch_created", marker=batch.marker, batch=seen.id, lines=batch.lines)

    async def _dissolve(self, batch: Batch, lines: Sequence[Line]) -> None:
        """Park the lines of a batch that was certainly not created; the next round packs them anew."""
        await self.lines.settle([Settled(None, self.billing.reservation(line)) for line in lines])
        await self._park(lines, batch)
        await self.store.close(batch, self.clock.now())

    async def _halve(self, batch: Batch, lines: Sequence[Line]) -> None:
        """Submit the lines of a batch that was refused as two, until the refused ones are alone."""
        await self._dissolve(batch, lines)
        now, limits, middle = self.clock.now(), await self.policies.limits(), len(lines) // 2
        for half in (lines[:middle], lines[middle:]):
            free = [dataclasses.replace(line, aside=None) for line in half if line.tenant in limits]
            fresh = [self.billing.with_money(line, self.chooser.scopes(line, limits), now) for line in free]
            smaller = Batch(self.chance.token(), State.PACKING, began_at=now, lease=now + LEASE)
            await self.store.begin(smaller)
            await self.submit(smaller, await self._join(smaller, fresh))

    async def _park(self, lines: Sequence[Line], batch: Batch) -> None:
        free = [dataclasses.replace(line, aside=None) for line in lines]
        await for_each(free, lambda line: self.store.part(line, batch.marker))

    async def _is_ours(self, seen: Seen, batch: Batch) -> bool:
        async with contextlib.aclosing(self.batches.results(seen.id)) as results:
            async for outcome in results:
                return outcome.custom_id.startswith(f"{batch.marker}-")
        return False


def _may_be(seen: Seen, batch: Batch, submitted: dt.datetime) -> bool:
    """Whether the list's row of a batch speaks for this one."""
    latest = submitted + dt.timedelta(seconds=CREATE_SECONDS) + SKEW
    return seen.lines == batch.lines and seen.created_at <= latest


def _may_have_arrived(error: UpstreamError) -> bool:
    """Whether a request that failed so may have created its batch."""
    server = error.status is not None and error.status >= SERVER_ERROR and error.status != OVERLOADED
    return error.maybe_billed or server
