"""Fakes of what the batch lane needs, in memory."""

import dataclasses
import datetime as dt
import json
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cost_router.core.batch_lane import Batch, Line, State
from cost_router.core.batch_ports import Outcome, Seen, Settled
from cost_router.core.budget import Reservation
from cost_router.core.errors import BudgetExhausted, Failure, StoreError, UpstreamError
from cost_router.core.ports import Clock, Ledger
from cost_router.core.pricing import Usage

USED = Usage(input_tokens=1_000, cache_read_input_tokens=2_000, output_tokens=100)


class Killed(BaseException):
    """The process dies here."""


@dataclass
class MemoryBatchStore:
    """Lines and batches in memory; `dies` names methods in which the process dies, before they do anything."""

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

    async def is_parked(self, group: str, custom_id: str, now: dt.datetime) -> bool:
        assert now.tzinfo
        self._begin("is_parked")
        return f"{group}/{custom_id}" in self.lines

    async def park(self, line: Line, body: Mapping[str, Any], now: dt.datetime) -> bool:
        assert now.tzinfo
        self._begin("park")
        if line.job in self.lines:
            return False
        self.lines[line.job] = ("parked", line)
        self.bodies[line.request_id] = json.dumps(body).encode()
        return True

    async def parked(self) -> AsyncIterator[Line]:
        self._begin("parked")
        for line in await self.members("parked"):
            yield line

    async def body(self, line: Line) -> bytes | None:
        return self.bodies.get(line.request_id)

    async def join(self, line: Line, marker: str) -> bool:
        self._begin("join")
        return self._move(line, "parked", marker)

    async def part(self, line: Line, marker: str) -> bool:
        self._begin("part")
        return self._move(line, marker, "parked")

    def _move(self, line: Line, was: str, to: str) -> bool:
        if self.lines[line.job][0] != was:
            return False
        self.lines[line.job] = (to, line)
        return True

    async def done(self, line: Line, marker: str, now: dt.datetime) -> None:
        assert now.tzinfo
        self._begin("done")
        self.bodies.pop(line.request_id, None)
        if self.lines[line.job][0] == marker:
            self.lines[line.job] = (None, line)

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
        return [job for job, (batch, _) in self.lines.items() if batch == "parked"]

    @property
    def done_jobs(self) -> list[str]:
        return [job for job, (batch, _) in self.lines.items() if batch is None]


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
        return dataclasses.replace(self.made[batch_id][0], ended=self.ended)

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
