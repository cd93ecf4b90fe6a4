"""Fakes of what batches over HTTPS reach, in memory."""

import datetime as dt
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cost_router.core.errors import StoreError
from cost_router.core.message_batches import KEPT_FOR, MessageBatch
from cost_router.core.paging import Page


@dataclass
class MemoryMessageBatches:
    """`MessageBatches` in memory; `down` makes reads and writes fail, `lost` makes `accept` write and fail."""

    items: dict[str, MessageBatch] = field(default_factory=dict)
    down: bool = False
    lost: bool = False

    def _begin(self) -> None:
        if self.down:
            raise StoreError("dynamodb.get_item: ReadTimeoutError")

    async def accept(self, batch: MessageBatch) -> None:
        self._begin()
        self.items[batch.id] = batch
        if self.lost:
            raise StoreError("dynamodb.put_item: ReadTimeoutError")

    async def find(self, id_: str, now: dt.datetime) -> MessageBatch | None:
        self._begin()
        found = self.items.get(id_)
        return found if found and found.created_at + KEPT_FOR > now else None

    async def page(
        self, tenant: str, limit: int, *, after: MessageBatch | None, before: MessageBatch | None, now: dt.datetime
    ) -> Page[MessageBatch]:
        self._begin()
        assert now.tzinfo
        own = [batch for batch in reversed(self.items.values()) if batch.tenant == tenant]
        if before:
            end = own.index(before)
            return Page(tuple(own[max(0, end - limit) : end]), end > limit)
        start = own.index(after) + 1 if after else 0
        return Page(tuple(own[start : start + limit]), len(own) > start + limit)

    async def unpacked(self, batch: MessageBatch) -> None:
        self._begin()
        self.items[batch.id] = replace(self.items[batch.id], unpacked=True)

    async def cancel(self, batch: MessageBatch, now: dt.datetime) -> MessageBatch:
        self._begin()
        if batch.id not in self.items:
            return batch
        known = self.items[batch.id]
        self.items[batch.id] = replace(known, canceled_at=known.canceled_at or now)
        return self.items[batch.id]

    async def end(self, batch: MessageBatch) -> None:
        self._begin()
        self.items[batch.id] = replace(self.items[batch.id], ended=batch.ended)


@dataclass
class MemoryBatchFiles:
    """`BatchFiles` in memory, over the results of jobs; `down` makes all of it fail."""

    results_by_job: Mapping[str, Mapping[str, Any]]
    kept: dict[str, list[bytes]] = field(default_factory=dict)
    down: bool = False

    def _begin(self, operation: str) -> None:
        if self.down:
            raise StoreError(f"s3.{operation}: ReadTimeoutError")

    async def keep(self, id_: str, lines: Sequence[bytes]) -> None:
        self._begin("put_object")
        self.kept[id_] = list(lines)

    async def lines(self, id_: str) -> list[bytes] | None:
        self._begin("get_object")
        return self.kept.get(id_)

    async def forget(self, id_: str) -> None:
        self._begin("delete_object")
        self.kept.pop(id_, None)

    async def results(self, id_: str, tenant: str) -> AsyncIterator[bytes]:
        self._begin("list_objects_v2")
        for job, result in self.results_by_job.items():
            if job.startswith(f"{id_}/") and result["router"]["tenant"] == tenant:
                yield json.dumps(result).encode()


@dataclass
class RecordingOutbox:
    """Keeps what is put on the queue, as messages; the next `failing` calls fail after the first job of each."""

    announced: list[tuple[str, str]] = field(default_factory=list)
    sent: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    down: bool = False
    failing: int = 0

    async def announce(self, tenant: str, id_: str) -> None:
        if self.down:
            raise StoreError("sqs.send_message: ReadTimeoutError")
        self.announced.append((tenant, id_))

    async def send(self, tenant: str, jobs: Iterable[Mapping[str, Any]]) -> None:
        for job in jobs:
            self.sent.append((tenant, dict(job)))
            if self.failing:
                self.failing -= 1
                raise StoreError("sqs.send_message_batch: InternalError")
