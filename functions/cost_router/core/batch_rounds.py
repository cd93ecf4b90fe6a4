"""A round of the batch lane, made by the collector every minute: look after every batch, then pack what waits."""

from dataclasses import dataclass

from cost_router.core.batch_lane import LEASE, Batch, State
from cost_router.core.batch_packing import Packer
from cost_router.core.batch_ports import BatchStore
from cost_router.core.batch_settling import Settler
from cost_router.core.errors import NotConfigured, StoreError, UpstreamError
from cost_router.core.ports import Clock, Telemetry


@dataclass(frozen=True, slots=True)
class BatchRounds:
    """Rounds may overlap: whoever works on a batch has leased it."""

    store: BatchStore
    packer: Packer
    settler: Settler
    clock: Clock
    telemetry: Telemetry

    async def every_minute(self) -> None:
        """Collect, recover, pack; each though another fails. Raises the first `StoreError` when all are done."""
        failed: list[StoreError] = []
        for batch in await self.store.batches():
            now = self.clock.now()
            taken = await self.store.take(batch, now, now + LEASE)
            if taken:
                await self._try(taken, failed)
        await self._try(None, failed)
        if failed:
            raise failed[0]

    async def _try(self, batch: Batch | None, failed: list[StoreError]) -> None:
        """Work on a batch, or pack. What Claude cannot do now, and what an operator has to mend, waits a round."""
        try:
            await self._work(batch)
            return
        except StoreError as error:
            failed.append(error)
        except (UpstreamError, NotConfigured) as error:
            self.telemetry.note("batch_waits", marker=batch.marker if batch else None, error=str(error))
        if batch:
            await self._give_back(batch, failed)

    async def _work(self, batch: Batch | None) -> None:
        if batch is None:
            await self.packer.pack()
        elif batch.state is State.PACKING:
            await self.packer.submit(batch, await self.store.members(batch.marker))
        elif batch.state is State.CREATING:
            await self.packer.recover(batch)
        else:
            await self.settler.collect(batch)

    async def _give_back(self, batch: Batch, failed: list[StoreError]) -> None:
        """End the lease, so that the next round need not wait for it."""
        try:
            await self.store.release(batch, self.clock.now())
        except StoreError as error:
            failed.append(error)
