"""A round of the batch lane, made by the collector every minute: look after batches, groups, and what waits."""

from collections.abc import Awaitable
from dataclasses import dataclass

from cost_router.core.batch_lane import LEASE, Batch, State
from cost_router.core.batch_packing import Packer
from cost_router.core.batch_ports import BatchStore
from cost_router.core.batch_settling import Settler
from cost_router.core.errors import NotConfigured, StoreError, UpstreamError
from cost_router.core.groups import Groups, GroupState
from cost_router.core.ports import Clock, Telemetry
from cost_router.core.releasing import Releaser


@dataclass(frozen=True, slots=True)
class BatchRounds:
    """Rounds may overlap: whoever works on a batch has leased it."""

    store: BatchStore
    groups: Groups
    packer: Packer
    settler: Settler
    releaser: Releaser
    clock: Clock
    telemetry: Telemetry

    async def every_minute(self) -> None:
        """Collect, recover, pack, release; each though another fails.

        Raises the first `StoreError` when all are done.
        """
        failed: list[StoreError] = []
        groups = await self.groups.open()
        canceled = {group.name for group in groups if group.state is GroupState.CANCELED}
        for batch in await self.store.batches():
            now = self.clock.now()
            taken = await self.store.take(batch, now, now + LEASE)
            if taken and not await self._try(self._work(taken, canceled), failed, taken):
                await self._try(
                    self.store.release(taken, self.clock.now()), failed, taken
                )  # the next round need not wait
        # Jobs that come back are released before lines are packed: they have waited once already.
        await self._try(self.releaser.look_after(groups), failed)
        running = [group for group in groups if group.state is GroupState.RUNNING]
        await self._try(self.packer.pack(running), failed)
        if failed:
            raise failed[0]

    async def _try(self, work: Awaitable[None], failed: list[StoreError], batch: Batch | None = None) -> bool:
        """Whether the work was done. What Claude cannot do now, and what an operator has to mend, waits a round."""
        try:
            await work
        except StoreError as error:
            failed.append(error)
        except (UpstreamError, NotConfigured) as error:
            self.telemetry.note("batch_waits", marker=batch.marker if batch else None, error=str(error))
        else:
            return True
        return False

    async def _work(self, batch: Batch, canceled: set[str]) -> None:
        if batch.state is State.PACKING:
            await self.packer.submit(batch, await self.store.members(batch.marker))
        elif batch.state is State.CREATING:
            await self.packer.recover(batch)
        else:
            await self.settler.collect(batch, canceled)
