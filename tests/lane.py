"""Fakes of what the batch lane needs, in memory."""

import dataclasses
import datetime as dt
import json
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cost_router.core.batch_lane import Batch, Line, State
from cost_router.core.batch_ports import Ended, Outcome, Seen, Settled
from cost_router.core.budget import Reservation
from cost_router.core.errors import BudgetExhausted, Failure, StoreError, UpstreamError
from cost_router.core.job_ports import JobState, Lease
from cost_router.core.ports import Clock, Ledger
from cost_router.core.pricing import Usage
from tests.bulk import Killed, MemoryJobs

USED = Usage(input_tokens=1_000, cache_read_input_tokens=2_000, output_tokens=100)


@dataclass
class MemoryBatchStore:
    """Lines and batches in memory; `dies` names methods in which the process dies, before they do anything."""

    jobs: MemoryJobs = field(default_factory=MemoryJobs)
    lines: dict[str, tuple[str | None, Line]] = field(default_factory=dict)  # job -> batch and line
    bodies: dict[str, bytes] = field(default_factory=dict)
    all_batches: dict[str, Batch] = field(default_factory=dict)
    closed: list[str] = field(default_factory=list)
    dies: set[str] = field(default_factory=set)
    down: bool = False

    def _begin(self, method: str) -> None:
        if method in self.dies:
            raise Killed(method)
        if self.down:
            raise StoreError(f"dynamodb.{method}: ReadTimeoutError")

    async def park(self, line: Line, lease: Lease, message: Mapping[str, Any], now: dt.datetime) -> None:
        assert now.tzinfo
        self._begin("park")
        if self.jobs.has(lease):
            self.jobs.items[line.job].state = JobState.PARKED
            self.lines[line.job] = (waiting(line), line)
            self.bodies[line.request_id] = json.dumps(message).encode()

    async def parked(self, group: str, *, urgent: bool) -> AsyncIterator[Line]:
        self._begin("parked")
        for line in await self.members(f"{'urgent' if urgent else 'parked'}#{group}"):
            yield line

    async def message(self, line: Line) -> bytes | None:
        return self.bodies.get(line.request_id)

    async def join(self, line: Line, marker: str) -> bool:
        self._begin("join")
        return self._move(line, waiting(line), marker)

    async def part(self, line: Line, marker: str) -> bool:
        self._begin("part")
        return self._move(line, marker, waiting(line))

    def _move(self, line: Line, was: str, to: str) -> bool:
        if self.lines[line.job][0] != was:
            return False
        self.lines[line.job] = (to, line)
        return True

    async def promote(self, line: Line, marker: str | None, now: dt.datetime) -> bool:
        assert now.tzinfo
        self._begin("promote")
        if not self._move(line, marker or waiting(line), "held"):
            return False
        item = self.jobs.items[line.job]
        self.jobs.messages[line.request_id] = self.bodies.pop(line.request_id)
        item.state, item.kept, item.lane, item.on_queue = JobState.HELD, line.request_id, "direct", False
        item.tenant, item.lease = line.tenant, dataclasses.replace(item.lease, spent_usd=line.booked_usd)
        return True

    async def done(self, line: Line, marker: str | None, end: Ended, now: dt.datetime) -> None:
        assert now.tzinfo
        self._begin("done")
        self.bodies.pop(line.request_id, None)
        if self.lines[line.job][0] == (marker or waiting(line)):
            self.lines[line.job] = (None, line)
            self.jobs.finish(line.group, line.custom_id, end.end, end.spent)

    async def members(self, marker: str) -> list[Line]:
        return [line for batch, line in self.lines.values() if batch == marker]

    async def batches(self) -> list[Batch]:
        self._begin("batches")
        return [batch for batch in self.all_batches.values() if batch.marker not in self.closed]

    async def begin(self, batch: Batch) -> None:
        self._begin("begin")
        self.all_batches[batch.marker] = batch

    async def take(self, batch: Batch, now: dt.datetime, until: dt.datetime) -> Batch | None:
        found = self.all_batches[batch.marker]
        if found.lease > now or batch.marker in self.closed:
            return None
        self.all_batches[batch.marker] = dataclasses.replace(found, lease=until)
        return self.all_batches[batch.marker]

    async def release(self, batch: Batch, now: dt.datetime) -> None:
        self.all_batches[batch.marker] = dataclasses.replace(self.all_batches[batch.marker], lease=now)

    async def move(self, batch: Batch, was: State) -> bool:
        self._begin(f"move to {batch.state}")
        if self.all_batches[batch.marker].state is not was:
            return False
        self.all_batches[batch.marker] = batch
        return True

    async def close(self, batch: Batch, now: dt.datetime) -> None:
        assert now.tzinfo
        self._begin("close")
        self.closed.append(batch.marker)

    @property
    def waiting(self) -> list[str]:
        """The jobs that are parked."""
        return [job for job, (batch, _) in self.lines.items() if batch and "#" in batch]

    @property
    def done_jobs(self) -> list[str]:
        return [job for job, (batch, _) in self.lines.items() if batch is None]


def waiting(line: Line) -> str:
    """Where a line waits."""
    return f"{'urgent' if line.answer_by else 'parked'}#{line.group}"


@dataclass
class FakeBatches:
    """Message Batches that end when `ended` is set; results come in the opposite order.

    create_fails: raised by the next calls, after the batch was accepted when the error may have arrived.
    outcomes: results by the job's request id, in place of an answer, the next time that the line is submitted.
    """

    clock: Clock
    ended: bool = True
    create_fails: deque[Exception] = field(default_factory=deque)
    outcomes: dict[str, dict[str, Any]] = field(default_factory=dict)
    scripted: dict[str, dict[str, Any]] = field(
        default_factory=dict
    )  # by custom id: a batch's results stay as they are
    usage: Usage | None = USED
    missing: int = 0  # looks at a batch that do not find it
    cut_after: int | None = None  # results that come before the connection breaks, once
    dies: bool = False  # before the request is sent
    canceled: list[str] = field(default_factory=list)  # ids of the batches that somebody asked to end
    made: dict[str, tuple[Seen, list[tuple[str, bytes]]]] = field(default_factory=dict)
    down: bool = False

    async def create(self, lines: Sequence[tuple[str, bytes]], seconds: float) -> Seen:
        assert seconds > 0
        if self.dies:
            raise Killed("create")
        error = self.create_fails.popleft() if self.create_fails else None
        if isinstance(error, UpstreamError) and not (error.maybe_billed or error.status in {500, 502}):
            raise error
        seen = Seen(f"msgbatch_{len(self.made) + 1}", self.clock.now(), len(lines), ended=False)
        self.made[seen.id] = (seen, list(lines))
        for custom_id, _ in lines:
            scripted = self.outcomes.pop(custom_id.partition("-")[2], None)
            if scripted:
                self.scripted[custom_id] = scripted
        if error:
            raise error
        return seen

    async def find(self, batch_id: str) -> Seen | None:
        self._check()
        if self.missing:
            self.missing -= 1
            return None
        return dataclasses.replace(self.made[batch_id][0], ended=self.ended or batch_id in self.canceled)

    async def cancel(self, batch_id: str) -> None:
        self._check()
        if not self.ended and batch_id not in self.canceled:
            self.canceled.append(batch_id)
            self.scripted |= {custom_id: {"type": "canceled"} for custom_id, _ in self.made[batch_id][1]}

    async def listed(self) -> AsyncGenerator[Seen, None]:
        self._check()
        for seen, _ in reversed(list(self.made.values())):
            yield dataclasses.replace(seen, ended=self.ended)

    async def results(self, batch_id: str) -> AsyncGenerator[Outcome, None]:
        self._check()
        for number, (custom_id, _) in enumerate(reversed(self.made[batch_id][1])):
            if number == self.cut_after:
                self.cut_after = None
                raise UpstreamError(Failure.CONNECTION)
            yield self._outcome(custom_id)

    def _outcome(self, custom_id: str) -> Outcome:
        scripted = self.scripted.get(custom_id)
        if scripted:
            return Outcome(custom_id, scripted, None)
        message = {"id": f"msg_{custom_id}", "type": "message", "content": [{"type": "text", "text": "the answer"}]}
        return Outcome(custom_id, {"type": "succeeded", "message": message}, self.usage)

    def _check(self) -> None:
        if self.down:
            raise UpstreamError(Failure.REJECTED, status=401, account=True)

    @property
    def submitted(self) -> list[str]:
        """The request ids of all lines that were ever submitted."""
        return [custom_id.partition("-")[2] for _, lines in self.made.values() for custom_id, _ in lines]


@dataclass
class MemoryLines:
    """The money of many lines, over a ledger in memory."""

    ledger: Ledger

    async def put_aside(self, reservations: Sequence[Reservation]) -> set[str]:
        covered = set()
        for row in reservations:
            try:
                await self.ledger.reserve(row)
            except BudgetExhausted:
                continue
            covered.add(row.id)
        return covered

    async def settle(self, settled: Sequence[Settled]) -> None:
        for row in settled:
            await self.ledger.book([row.entry] if row.entry else [], [row.reservation])
