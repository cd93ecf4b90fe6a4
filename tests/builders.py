"""Fakes shaped like the Protocols of `core/ports.py`, and builders of what goes into the rules and the entrances."""

import asyncio
import dataclasses
import datetime as dt
import json
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, TypeVar

from starlette.applications import Starlette

from cost_router.adapters import ledger_items
from cost_router.adapters.plans import Makers
from cost_router.contract import Env
from cost_router.core.arms import Arm, LocalModel, Plan
from cost_router.core.ask import read_ask
from cost_router.core.budget import Limits, Reservation, Scope, Standing, refusal, too_fast
from cost_router.core.catalogue import Catalogue, Lineup, Model
from cost_router.core.errors import Failure, StoreError, UpstreamError
from cost_router.core.feedback import Feedback
from cost_router.core.jobs import JobRunner
from cost_router.core.ledger import Entry, reversal, swept
from cost_router.core.ports import Counted, Event, Reply, Row
from cost_router.core.pricing import Usage
from cost_router.core.receipt import Receipt
from cost_router.core.record import Collected, Record
from cost_router.core.request import Hints, Request, Tenant
from cost_router.core.router import Router
from cost_router.core.routing import Routing
from cost_router.core.samples import Sample
from cost_router.core.sessions import Session
from cost_router.core.trip import Trip
from cost_router.core.words import Label, Tier
from cost_router.handlers import wiring, wiring_bulk, wiring_https
from cost_router.handlers.app import Parts, make_app
from cost_router.handlers.auth import key_hash
from cost_router.handlers.batch import QueueDoor
from cost_router.handlers.feedback import FeedbackParts
from cost_router.handlers.front import Front
from cost_router.handlers.message_batches import BatchParts
from cost_router.handlers.outside import Outside
from cost_router.handlers.settings import BatchSettings, RouterSettings, Settings
from cost_router.handlers.waiting import Heartbeat
from tests.bulk import MemoryGroups, MemoryJobs, MemoryParams
from tests.lane import MemoryBatchStore
from tests.message_batches import MemoryBatchFiles, MemoryMessageBatches, RecordingOutbox

T = TypeVar("T")
NOW: Final = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)
EASY: Final = "Is this positive? 'Great shoes.'"
KEY: Final = "gateway-key-of-acme"
ENV: Final[Mapping[str, str]] = {
    Env.LINEUP: "current",
    Env.PROVIDER: "anthropic",
    Env.SECRET_ARN: "arn:aws:secretsmanager:eu-north-1:123456789012:secret:anthropic",
    Env.LABELS_TABLE: "labels",
    Env.LEDGER_TABLE: "ledger",
    Env.JOBS_TABLE: "jobs",
    Env.TENANTS_TABLE: "tenants",
    Env.REQUESTS_TABLE: "requests",
    Env.RESULTS_BUCKET: "results",
    Env.JOBS_QUEUE_URL: "http://127.0.0.1/jobs",
    Env.DEAD_LETTER_QUEUE_URL: "http://127.0.0.1/dead",
    Env.LABEL_TTL_DAYS: "7",
    Env.DAILY_BUDGET_USD: "10",
    Env.LADDER: "80,95",
    Env.WITHOUT_STORE: "refuse",
    Env.DEADLINE_SECONDS: "25",
    Env.STREAM_DEADLINE_SECONDS: "100",
    Env.CLASSIFIER_DEADLINE_SECONDS: "3",
    Env.MAX_BODY_BYTES: "1000000",
    Env.JOB_CONCURRENCY: "5",
    Env.JOB_FUNCTIONS: "5",
    Env.HEADROOM_PERCENT: "20",
    Env.ALERTS_TOPIC: "arn:aws:sns:eu-north-1:123456789012:alerts",
    Env.STAGE: "test",
}


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a fresh event loop."""
    return asyncio.run(coroutine)


@dataclass
class FakeClock:
    """Time that passes only when somebody sleeps."""

    at: dt.datetime = NOW
    seconds: float = 1_000.0
    slept: list[float] = field(default_factory=list)

    def now(self) -> dt.datetime:
        return self.at

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
        self.at += dt.timedelta(seconds=seconds)


@dataclass
class FixedChance:
    """The same fraction each time, and tokens that count up."""

    value: float = 0.5
    tokens: int = 0

    def fraction(self) -> float:
        return self.value

    def token(self) -> str:
        self.tokens += 1
        return f"{self.tokens:024d}"


@dataclass
class RecordingTelemetry:
    """Keeps what it is told."""

    records: list[Record] = field(default_factory=list)
    lost: list[Entry] = field(default_factory=list)
    rounds: list[Collected] = field(default_factory=list)
    drifts: list[tuple[str, Decimal, Decimal]] = field(default_factory=list)
    defects: list[Exception] = field(default_factory=list)
    stops: list[tuple[int | None, float]] = field(default_factory=list)
    notes: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    ratings: list[Feedback] = field(default_factory=list)

    def rated(self, feedback: Feedback) -> None:
        self.ratings.append(feedback)

    def done(self, record: Record) -> None:
        self.records.append(record)

    def collected(self, told: Collected) -> None:
        self.rounds.append(told)

    def stopped(self, status: int | None, wait: float) -> None:
        self.stops.append((status, wait))

    def drifted(self, day: str, drift_usd: Decimal, explained_usd: Decimal) -> None:
        self.drifts.append((day, drift_usd, explained_usd))

    def unbooked(self, entries: Sequence[Entry], error: Exception) -> None:
        assert isinstance(error, StoreError)
        self.lost.extend(entries)

    def defect(self, request_id: str, error: Exception) -> None:
        assert request_id
        self.defects.append(error)

    def note(self, event: str, **fields: object) -> None:
        self.notes.append((event, fields))


@dataclass(frozen=True)
class Sent:
    """One call that reached the fake Claude."""

    body: Mapping[str, Any]
    headers: Mapping[str, str]
    seconds: float

    def asks_for(self, name: str) -> bool:
        """Whether the answer is to be JSON with such a member."""
        config = self.body.get("output_config") or {}
        return name in ((config.get("format") or {}).get("schema") or {}).get("properties", {})

    @property
    def is_classifier(self) -> bool:
        return self.asks_for("label")

    @property
    def is_verifier(self) -> bool:
        return self.asks_for("verdict")

    @property
    def model(self) -> str:
        return str(self.body["model"])


@dataclass(frozen=True)
class Late:
    """What comes once something has happened."""

    ready: Callable[[], bool]
    then: object

    async def come(self) -> object:
        for _ in range(1_000):
            if self.ready():
                return self.then
            await asyncio.sleep(0)
        raise AssertionError("what was waited for did not happen")


@dataclass
class FakeClaude:
    """Classifier calls get `labels`, then `label`; other calls get `script`, then an answer of 100 + 10 tokens.

    Verifier calls get `verdicts`, then `passes`. An exception in any of them is raised; `NEVER` does not come. `takes`:
    seconds that a call takes.
    """

    clock: FakeClock
    label: object = "simple"
    labels: deque[object] = field(default_factory=deque)
    script: deque[object] = field(default_factory=deque)
    verdicts: deque[object] = field(default_factory=deque)
    takes: float = 0.0
    calls: list[Sent] = field(default_factory=list)
    counts: list[Sent] = field(default_factory=list)  # calls that count tokens, which cost nothing
    counting: deque[object] = field(default_factory=deque)  # what they get: an error, a `Counted`, else 42 tokens

    streams: list["FakeStream"] = field(default_factory=list)

    async def open(self, body: Mapping[str, Any], headers: Mapping[str, str], seconds: float) -> "FakeStream":
        """A stream of what is next in `script`: a list of steps, or an answer of 100 + 10 tokens."""
        self.calls.append(Sent(body, headers, seconds))
        await asyncio.sleep(0)
        outcome = self.script.popleft() if self.script else streamed_steps()
        if isinstance(outcome, BaseException):
            raise outcome
        assert isinstance(outcome, list)
        self.streams.append(FakeStream(self.clock, deque(outcome)))
        return self.streams[-1]

    async def send(self, body: Mapping[str, Any], headers: Mapping[str, str], seconds: float) -> Reply:
        json.dumps(body, ensure_ascii=False, allow_nan=False).encode()  # what cannot be sent may not come so far
        call = Sent(body, headers, seconds)
        self.calls.append(call)
        await asyncio.sleep(0)
        self.clock.advance(min(self.takes, seconds))
        if self.takes >= seconds:
            raise UpstreamError(Failure.TIMEOUT, maybe_billed=True)
        outcome: object
        if call.is_classifier:
            outcome = self.labels.popleft() if self.labels else self.label
        elif call.is_verifier:
            outcome = self.verdicts.popleft() if self.verdicts else "passes"
        else:
            outcome = self.script.popleft() if self.script else Usage(input_tokens=100, output_tokens=10)
        if isinstance(outcome, Late):
            outcome = await outcome.come()
        if outcome is NEVER:
            await asyncio.Event().wait()
        if isinstance(outcome, BaseException):
            raise outcome
        if isinstance(outcome, Reply):
            return outcome
        if isinstance(outcome, Usage):
            return reply(call.model, "the answer", outcome)
        member = "verdict" if call.is_verifier else "label"
        return reply(call.model, json.dumps({member: outcome}), Usage(input_tokens=400, output_tokens=8))

    async def count(self, body: Mapping[str, Any], headers: Mapping[str, str], seconds: float) -> Counted:
        self.counts.append(Sent(body, headers, seconds))
        await asyncio.sleep(0)
        self.clock.advance(min(self.takes, seconds))
        if self.takes >= seconds:
            raise UpstreamError(Failure.TIMEOUT)
        outcome = self.counting.popleft() if self.counting else None
        if isinstance(outcome, BaseException):
            raise outcome
        if isinstance(outcome, Counted):
            return outcome
        return Counted(b'{"input_tokens":42}', "req_counted", {"request-id": "req_counted"})

    @property
    def classifier_calls(self) -> list[Sent]:
        return [call for call in self.calls if call.is_classifier]

    @property
    def answer_calls(self) -> list[Sent]:
        return [call for call in self.calls if not call.is_classifier and not call.is_verifier]

    @property
    def verifier_calls(self) -> list[Sent]:
        return [call for call in self.calls if call.is_verifier]

    @property
    def answer_models(self) -> list[str]:
        return [call.model for call in self.answer_calls]


@dataclass
class FakeStream:
    """Gives its steps: an event, an error to raise, seconds that pass before the next step, or `NEVER`."""

    clock: FakeClock
    steps: deque[object]
    closed: bool = False
    request_id: str | None = "req_upstream"
    headers: Mapping[str, str] = field(default_factory=lambda: {"request-id": "req_upstream"})

    async def next(self, seconds: float) -> Event | None:
        assert not self.closed
        await asyncio.sleep(0)
        while self.steps:
            step = self.steps.popleft()
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, Event):
                return step
            if step is NEVER:
                await asyncio.Event().wait()
            assert isinstance(step, float)
            self.clock.advance(min(step, seconds))
            if step >= seconds:
                raise UpstreamError(Failure.TIMEOUT, maybe_billed=True)
        return None

    async def aclose(self) -> None:
        self.closed = True


NEVER: Final = object()  # a step that does not come


def event(kind: str, usage: Usage | None = None, *, final: bool = False, **fields: Any) -> Event:
    data = json.dumps({"type": kind, **fields})
    return Event(f"event: {kind}\ndata: {data}\n\n".encode(), kind, usage, final)


def streamed_steps(usage: Usage | None = None) -> list[object]:
    """The events of a whole answer of 100 + 10 tokens, or of `usage`."""
    usage = usage or Usage(input_tokens=100, output_tokens=10)
    return [
        event("message_start", dataclasses.replace(usage, output_tokens=1), message={"id": "msg_1", "content": []}),
        event("ping"),
        event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": "the answer"}),
        event("content_block_stop", index=0),
        event("message_delta", usage, final=True, delta={"stop_reason": "end_turn"}),
        event("message_stop"),
    ]


def reply(model: str, text: str, usage: Usage, **fields: Any) -> Reply:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens},
        **fields,
    }
    return Reply(json.dumps(message).encode(), message, usage, "req_upstream", {"request-id": "req_upstream"})


def limited(status: int = 429, retry_after: float | None = None) -> UpstreamError:
    failure = Failure.OVERLOADED if status == 529 else Failure.RATE_LIMITED
    return UpstreamError(failure, status=status, retry_after=retry_after)


def failing(status: int = 500) -> UpstreamError:
    return UpstreamError(Failure.SERVER, status=status)


def rejected(status: int = 400, *, account: bool = False) -> UpstreamError:
    body = {"type": "error", "error": {"type": "invalid_request_error", "message": f"refused with {status}"}}
    return UpstreamError(Failure.REJECTED, status=status, body=json.dumps(body).encode(), account=account)


@dataclass
class MemoryLabels:
    """A label store in memory."""

    ttl: dt.timedelta = dt.timedelta(days=7)
    down: bool = False
    items: dict[str, tuple[Label, dt.datetime]] = field(default_factory=dict)

    async def get(self, key: str, now: dt.datetime) -> Label | None:
        if self.down:
            raise StoreError("dynamodb.get_item: ReadTimeoutError")
        label, expires = self.items.get(key, (None, now))
        return label if expires > now else None

    async def put(self, key: str, label: Label, now: dt.datetime) -> None:
        if self.down:
            raise StoreError("dynamodb.put_item: ReadTimeoutError")
        self.items[key] = (label, now + self.ttl)


async def reach(store: "MemorySessions | MemoryPrefixes") -> None:
    """Count that a store is asked, let its turns of the event loop pass, and fail where it is down."""
    store.asked += 1
    for _ in range(store.turns):
        await asyncio.sleep(0)
    if store.down:
        raise StoreError("dynamodb: ReadTimeoutError")


@dataclass
class MemorySessions:
    """A session store in memory; `asked` counts what it is asked for, to read or to keep."""

    down: bool = False
    turns: int = 0  # of the event loop that each of them takes
    asked: int = 0
    items: dict[str, Session] = field(default_factory=dict)

    async def get(self, key: str, now: dt.datetime) -> Session | None:
        await reach(self)
        session = self.items.get(key)
        return session if session and session.is_warm(now) else None

    async def put(self, key: str, session: Session) -> None:
        await reach(self)
        self.items[key] = session


@dataclass
class MemoryPrefixes:
    """A prefix store in memory; `asked` counts what it is asked for, to read or to keep."""

    down: bool = False
    turns: int = 0  # of the event loop that each of them takes
    asked: int = 0
    items: dict[str, Mapping[str, dt.datetime]] = field(default_factory=dict)

    async def get(self, key: str, now: dt.datetime) -> Mapping[str, dt.datetime]:
        await reach(self)
        return {model: at for model, at in self.items.get(key, {}).items() if now < at + dt.timedelta(minutes=5)}

    async def put(self, key: str, seen: Mapping[str, dt.datetime]) -> None:
        await reach(self)
        self.items[key] = dict(seen)


@dataclass
class MemoryRequests:
    """A request log in memory."""

    down: bool = False
    broken: Exception | None = None  # raised in place of a `StoreError`
    items: dict[str, tuple[Receipt, dt.datetime]] = field(default_factory=dict)  # with when each expires
    puts: list[Receipt] = field(default_factory=list)

    async def put(self, receipt: Receipt) -> None:
        await asyncio.sleep(0)
        if self.broken:
            raise self.broken
        if self.down:
            raise StoreError("dynamodb.batch_write_item: ReadTimeoutError")
        self.puts.append(receipt)
        expires = receipt.at + dt.timedelta(milliseconds=receipt.latency_ms, hours=24)
        for id_ in (receipt.upstream_request_id, receipt.id):
            if id_:
                self.items[id_] = (receipt, expires)

    async def get(self, id_: str, now: dt.datetime) -> Receipt | None:
        if self.down:
            raise StoreError("dynamodb.get_item: ReadTimeoutError")
        receipt, expires = self.items.get(id_, (None, now))
        return receipt if expires > now else None


@dataclass
class MemoryFeedback:
    """Feedback in memory, by request."""

    down: bool = False
    items: dict[str, Feedback] = field(default_factory=dict)

    async def put(self, feedback: Feedback) -> None:
        await asyncio.sleep(0)
        if self.down:
            raise StoreError("dynamodb.put_item: ReadTimeoutError")
        self.items[feedback.request_id] = feedback


@dataclass
class MemorySamples:
    """Samples in memory."""

    broken: Exception | None = None
    items: list[Sample] = field(default_factory=list)

    async def put(self, sample: Sample) -> None:
        await asyncio.sleep(0)
        if self.broken:
            raise self.broken
        self.items.append(sample)


@dataclass
class MemoryLedger:
    """A ledger in memory; `bookings` keeps what came in one call.

    What is committed is never kept but summed up anew from entries and open reservations, so that it cannot drift.
    """

    down: bool = False
    reserving_down: bool = False
    counter_down: bool = False
    spent_before: dict[str, Decimal] = field(default_factory=dict)  # by scope, before the test began
    open: dict[str, Reservation] = field(default_factory=dict)
    reserved: list[Reservation] = field(default_factory=list)
    bookings: list[list[Entry]] = field(default_factory=list)
    sessions: dict[str, str] = field(default_factory=dict)  # entry id -> key of the session it counts for
    round_trips: list[str] = field(default_factory=list)

    async def book(self, entries: Sequence[Entry], settled: Sequence[Reservation]) -> None:
        self.round_trips.append("book")
        await asyncio.sleep(0)
        if self.down:
            raise StoreError("dynamodb.transact_write_items: ReadTimeoutError")
        known = {entry.entry_id for entry in self.entries}
        entries = [entry for entry in entries if entry.entry_id not in known]
        gone = [row for row in settled if row.id not in self.open]
        back = [reversal(row.if_lost) for row in gone if swept(row.if_lost).entry_id in known]
        written = [*entries, *(entry for entry in back if entry.entry_id not in known)]
        if written:
            self.bookings.append(written)
        for row in settled:
            self.open.pop(row.id, None)
            keys = [scope.key for scope in row.scopes if scope.kind == "session"]
            self.sessions.update({entry.entry_id: key for key in keys for entry in written})

    async def reserve(self, reservation: Reservation) -> None:
        self.round_trips.append("reserve")
        await asyncio.sleep(0)
        if self.reserving_down:
            raise StoreError("dynamodb.transact_write_items: ReadTimeoutError")
        for scope in reservation.scopes:
            committed = self._standing(reservation.at, scope).committed_usd
            if scope.limit_usd is not None and committed + reservation.amount_usd > scope.limit_usd:
                raise refusal(scope, reservation.amount_usd)
        pace, minute = reservation.pace, f"{reservation.at:%H:%M}"
        if pace:
            made = [row for row in self.reserved if row.pace == pace and f"{row.at:%H:%M}" == minute]
            if len(made) >= pace.per_minute:
                raise too_fast(pace, reservation.at)
        self.open[reservation.id] = reservation
        self.reserved.append(reservation)

    async def standings(self, at: dt.datetime, scopes: Sequence[Scope]) -> list[Standing]:
        self.round_trips.append("standings")
        await asyncio.sleep(0)
        if self.counter_down:
            raise StoreError("dynamodb.batch_get_item: ReadTimeoutError")
        return [self._standing(at, scope) for scope in scopes]

    async def outstanding(self) -> list[Reservation]:
        return list(self.open.values())

    async def sweep(self, reservation: Reservation) -> bool:
        if self.open.pop(reservation.id, None) is None:
            return False
        self.bookings.append([swept(reservation.if_lost)])
        return True

    def _standing(self, at: dt.datetime, scope: Scope) -> Standing:
        period = scope.period.of(at)
        own = [entry for entry in self.entries if scope.period.of(entry.at) == period and self._counts(entry, scope)]
        spent = self.spent_before.get(scope.key, Decimal(0)) + sum((entry.cost_usd for entry in own), Decimal(0))
        put_aside = [
            row.amount_usd
            for row in self.open.values()
            for held in row.scopes
            if (held.key, held.period) == (scope.key, scope.period) and held.period.of(row.at) == period
        ]
        return Standing(scope, spent, spent + sum(put_aside, Decimal(0)))

    def _counts(self, entry: Entry, scope: Scope) -> bool:
        return scope.key in {*entry.scopes, self.sessions.get(entry.entry_id)}

    @property
    def entries(self) -> list[Entry]:
        return [entry for booking in self.bookings for entry in booking]


@dataclass
class MemoryReader:
    """A `LedgerReader` over the ledger in memory."""

    ledger: MemoryLedger

    async def entries(self, day: str) -> AsyncIterator[Row]:
        for entry in self.ledger.entries:
            if entry.day == day:
                yield ledger_items.row(entry)


@dataclass
class FakeTenants:
    """Tenants by key and by name."""

    tenants: dict[str, Tenant]
    keys: dict[str, str]  # key -> name of its tenant
    down: bool = False

    async def by_key(self, key_hash: str) -> Tenant | None:
        return await self.by_name(self.hashes.get(key_hash, ""))

    async def by_name(self, name: str) -> Tenant | None:
        if self.down:
            raise StoreError("dynamodb.get_item: ReadTimeoutError")
        return self.tenants.get(name)

    @property
    def hashes(self) -> dict[str, str]:
        return {key_hash(key): name for key, name in self.keys.items()}


@dataclass
class MemoryResults:
    """Results in memory."""

    down: bool = False
    failing_puts: int = 0  # how many writes will fail before one succeeds
    items: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def read(self, group: str, custom_id: str) -> Mapping[str, Any] | None:
        if self.down:
            raise StoreError("s3.get_object: ReadTimeoutError")
        return self.items.get(f"{group}/{custom_id}")

    async def put_first(self, group: str, custom_id: str, result: Mapping[str, Any]) -> None:
        if f"{group}/{custom_id}" not in self.items:
            await self.put(group, custom_id, result)

    async def put(self, group: str, custom_id: str, result: Mapping[str, Any]) -> None:
        if self.down or self.failing_puts:
            self.failing_puts = max(0, self.failing_puts - 1)
            raise StoreError("s3.put_object: ReadTimeoutError")
        self.items[f"{group}/{custom_id}"] = json.loads(json.dumps(result))


@dataclass
class MemoryAttempts:
    """Counts of failures in memory."""

    counts: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    async def failed(self, group: str, custom_id: str, now: dt.datetime) -> int:
        assert now.tzinfo
        self.counts[f"{group}/{custom_id}"] += 1
        return self.counts[f"{group}/{custom_id}"]


@dataclass
class RecordingQueue:
    """Keeps what is put back and what is set aside."""

    deferred: dict[str, float] = field(default_factory=dict)
    claimed: dict[str, float] = field(default_factory=dict)
    aside: list[tuple[str, str]] = field(default_factory=list)
    down: bool = False

    async def defer(self, receipt_handle: str, seconds: float) -> None:
        if self.down:
            raise StoreError("sqs.change_message_visibility: ReadTimeoutError")
        self.deferred[receipt_handle] = seconds

    async def claim(self, receipt_handles: Sequence[str], seconds: float) -> None:
        if self.down:
            raise StoreError("sqs.change_message_visibility_batch: ReadTimeoutError")
        self.claimed.update(dict.fromkeys(receipt_handles, seconds))

    async def set_aside(self, body: str, reason: str) -> None:
        self.aside.append((body, reason))


def tenant(
    name: str = "acme",
    *,
    floor: Tier | None = None,
    ceiling: Tier | None = None,
    tags: Mapping[str, str] | None = None,
    limits: Limits | None = None,
    reads_account: bool = False,
    senders: frozenset[str] = frozenset(),
    allows: frozenset[str] = frozenset(),
    options: frozenset[str] = frozenset(),
) -> Tenant:
    return Tenant(
        name, name.encode() * 8, floor, ceiling, tags or {}, limits or Limits(), reads_account, senders, allows, options
    )


@dataclass
class FixedPlans:
    """The plan that a routing means; `routing` may be changed while it is in use. Local models by id."""

    control: Arm
    makers: Makers
    routing: Routing
    models: Mapping[str, LocalModel]

    async def current(self) -> Plan:
        def local(id_: str | None) -> LocalModel | None:
            return None if id_ in (None, "none") else self.models[str(id_)]

        control = dataclasses.replace(self.control, preclassifier=local(self.routing.preclassifier))
        asked = self.routing.candidate
        if asked is None:
            return Plan(control, None, self.routing)
        candidate = Arm(
            "candidate",
            self.makers.lineup(asked.lineup) if asked.lineup else control.lineup,
            self.makers.rubric(asked.rubric) if asked.rubric else control.rubric,
            local(asked.preclassifier) if asked.preclassifier else control.preclassifier,
        )
        return Plan(control, candidate, self.routing)


class World:
    """Everything outside the rules as fakes, and the parts made of it."""

    def __init__(
        self,
        *tenants: Tenant,
        label: object = "simple",
        script: Iterable[object] = (),
        budget: Decimal | None = Decimal(10),
        limits: Limits | None = None,
        without_store: bool = False,
        routing: Routing | None = None,
        models: Mapping[str, LocalModel] | None = None,
    ) -> None:
        owners = tenants or (tenant("acme"), tenant("default"))
        self.clock = FakeClock()
        self.chance = FixedChance()
        self.claude = FakeClaude(self.clock, label=label, script=deque(script))
        self.labels = MemoryLabels()
        self.sessions = MemorySessions()
        self.prefixes = MemoryPrefixes()
        self.ledger = MemoryLedger()
        self.requests = MemoryRequests()
        self.feedback = MemoryFeedback()
        self.samples = MemorySamples()
        self.tenants = FakeTenants({owner.name: owner for owner in owners}, {KEY: owners[0].name})
        self.telemetry = RecordingTelemetry()
        self.results = MemoryResults()
        self.attempts = MemoryAttempts()
        self.jobs = MemoryJobs()
        self.lines = MemoryBatchStore(self.jobs)
        self.groups = MemoryGroups(self.jobs)
        self.params = MemoryParams()
        self.queue = RecordingQueue()
        self.batches = MemoryMessageBatches()
        self.files = MemoryBatchFiles(self.results.items)
        self.outbox = RecordingOutbox()
        self.settings = dataclasses.replace(
            Settings.read(ENV), limits=limits or Limits(daily_usd=budget), without_store=without_store
        )
        self.reader = MemoryReader(self.ledger)
        self.router_settings = RouterSettings.read(ENV)
        self.heartbeat = Heartbeat()
        self.batch_settings = BatchSettings.read(ENV)
        self.routing = routing or Routing()
        self.models = models or {}
        self._router: Router | None = None

    def plans(self, control: Arm, makers: Makers) -> FixedPlans:
        return FixedPlans(control, makers, self.routing, self.models)

    @property
    def outside(self) -> Outside:
        out = Outside(
            claude=self.claude,
            labels=self.labels,
            sessions=self.sessions,
            prefixes=self.prefixes,
            ledger=self.ledger,
            tenants=self.tenants,
            plans=self.plans,
            telemetry=self.telemetry,
            clock=self.clock,
            chance=self.chance,
            requests=self.requests,
        )
        return dataclasses.replace(out, sampler=wiring_https.sampler(self.router_settings, out, self.samples))

    @property
    def router(self) -> Router:
        self._router = self._router or wiring.router(self.settings, self.outside)
        return self._router

    def restart(self) -> None:
        """A new process: what was remembered in this one is gone."""
        self._router = None

    @property
    def runner(self) -> JobRunner:
        return self.door().runner

    def app(self) -> Starlette:
        batches = BatchParts(self.batches, self.files, self.groups, self.outbox)
        feedback = FeedbackParts(self.feedback, self.telemetry)
        parts = Parts(reader=self.reader, requests=self.requests, batches=batches, feedback=feedback)
        return make_app(Front(self.router, self.outside, self.router_settings, self.heartbeat), parts)

    def door(self, concurrency: int = 5) -> QueueDoor:
        """A new process each time: what a limiter has learned, and its locks, belong to one event loop."""
        made = wiring_bulk.door(self.settings, self.batch_settings, self.outside, self._parts)
        return dataclasses.replace(made, concurrency=concurrency)

    @property
    def _parts(self) -> wiring_bulk.DoorParts:
        return wiring_bulk.DoorParts(
            jobs=self.jobs,
            lines=self.lines,
            groups=self.groups,
            results=self.results,
            params=self.params,
            attempts=self.attempts,
            queue=self.queue,
            batches=self.batches,
            files=self.files,
            outbox=self.outbox,
        )

    def trip(self, asked: Request | None = None) -> Trip:
        return run(self.router.decider.trip(asked or self.request(), record()))

    def request(self, text: str = EASY, **changes: Any) -> Request:
        """A request of the first tenant, in time for the usual deadline; `changes` as for `request`."""
        owner = next(iter(self.tenants.tenants.values()))
        return request(text, **{"owner": owner, "deadline": self.clock.monotonic() + 25.0, **changes})


def catalogue() -> Catalogue:
    return Catalogue(wiring.data("catalogue.json"))


def lineup(name: str = "current") -> Lineup:
    return catalogue().lineup(name, wiring.data("lineups.json"))


def model(name: str) -> Model:
    return catalogue().model(name)


def message_body(text: str = EASY, **fields: Any) -> dict[str, Any]:
    return {"model": "auto", "max_tokens": 100, "messages": [{"role": "user", "content": text}], **fields}


def request(
    text: str = EASY,
    *,
    owner: Tenant | None = None,
    model: str = "auto",
    max_tokens: int = 100,
    hints: Hints | None = None,
    headers: Mapping[str, str] | None = None,
    deadline: float = 1_025.0,
    stream_deadline: float = 1_100.0,
    id_: str = "req_1",
    **fields: Any,
) -> Request:
    body = message_body(text, model=model, max_tokens=max_tokens, **fields)
    return Request(
        id=id_,
        tenant=owner or tenant(),
        model=model,
        max_tokens=max_tokens,
        body=body,
        body_bytes=len(json.dumps(body)),
        ask=read_ask(body),
        hints=hints or Hints(),
        headers=headers or {},
        deadline=deadline,
        stream_deadline=stream_deadline,
    )


def record(request_id: str = "req_1") -> Record:
    return Record(request_id=request_id, tenant="acme", tags={})


def job(custom_id: str = "job-1", *, params: object = None, receive_count: int = 1, **router: Any) -> dict[str, Any]:
    """An SQS record with a job in it."""
    shape = {"custom_id": custom_id, "params": params if params is not None else message_body(), "router": router}
    return raw_job(json.dumps(shape), custom_id, receive_count)


def raw_job(text: str, message_id: str = "m-1", receive_count: int = 1) -> dict[str, Any]:
    """An SQS record with any text in it."""
    return {
        "messageId": message_id,
        "receiptHandle": f"handle-{message_id}",
        "body": text,
        "attributes": {"ApproximateReceiveCount": str(receive_count)},
    }
