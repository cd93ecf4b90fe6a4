"""From a batch that was accepted over HTTPS to its jobs: one message of the queue becomes a message for each line.

The message is `{"batch": "msgbatch_..."}`, sent before the batch is accepted, so that none that was accepted is without
it. One of a batch that is not there yet waits; of a batch that was never accepted it is dropped, and nothing has run.
Whoever sends such a message has what the router accepted put on the queue, which was put there before.
"""

import datetime as dt
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from cost_router.core.groups import Groups
from cost_router.core.job import Deferred, Finished, Outcome, SetAside
from cost_router.core.message_batches import ID, BatchFiles, MessageBatches
from cost_router.core.ports import Clock
from cost_router.core.record import Record

ACCEPTED: Final = re.compile(rf'\{{"batch": "({ID.pattern})"\}}')
SOON: Final = dt.timedelta(minutes=1)  # within which nearly every batch is accepted
SOON_WAIT: Final = 2.0  # seconds
LATER_WAIT: Final = 60.0
NEVER: Final = dt.timedelta(minutes=20)  # no request lives so long


class Outbox(Protocol):
    """The jobs queue, as seen by who puts jobs on it."""

    async def announce(self, tenant: str, id_: str) -> None:
        """Send the message of a batch. Raises `StoreError`."""

    async def send(self, tenant: str, jobs: Iterable[Mapping[str, Any]]) -> None:
        """Send jobs of a tenant. Raises `StoreError` when some were not sent, and others may have been."""


@dataclass(frozen=True, slots=True)
class Unpacker:
    """Puts the lines of batches on the queue; every part is given to it."""

    batches: MessageBatches
    files: BatchFiles
    groups: Groups
    outbox: Outbox
    clock: Clock

    async def unpack(self, id_: str, message: Mapping[str, Any], record: Record) -> Outcome:
        """Put all lines of a batch on the queue, unless they were. Raises `StoreError`; then it is done anew."""
        now = self.clock.now()
        batch = await self.batches.find(id_, now)
        if batch is None:
            return await self._unknown(id_, now - _sent_at(message, now), record)
        record.tenant, record.job = batch.tenant, id_
        if batch.unpacked:
            await self.files.forget(id_)
            record.outcome = "already_done"
            return Finished(failed=False)
        lines = await self.files.lines(id_)
        if lines is None or len(lines) != batch.lines:
            return SetAside("the lines of this batch are not in the results bucket")
        await self.groups.look(id_, batch.tenant, batch.lines, now)
        await self.outbox.send(batch.tenant, map(json.loads, lines))
        await self.batches.unpacked(batch)
        await self.files.forget(id_)  # prompts are kept no longer than they are needed
        record.outcome = "unpacked"
        return Finished(failed=False)

    async def _unknown(self, id_: str, age: dt.timedelta, record: Record) -> Outcome:
        if age >= NEVER:
            await self.files.forget(id_)
            record.outcome = "already_done"
            return Finished(failed=False)
        return Deferred(SOON_WAIT if age < SOON else LATER_WAIT)


def accepted_batch(raw: str) -> str | None:
    """The id in a message for a batch that was accepted over HTTPS; None for any other message."""
    found = ACCEPTED.fullmatch(raw)
    return found[1] if found else None


def _sent_at(message: Mapping[str, Any], now: dt.datetime) -> dt.datetime:
    told = message.get("attributes", {}).get("SentTimestamp")  # milliseconds
    return dt.datetime.fromtimestamp(int(told) / 1000, dt.UTC) if told else now
