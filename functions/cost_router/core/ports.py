"""What the rules need of the outside world. Adapters and the fakes of the tests have these shapes; nothing inherits."""

import datetime as dt
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

from cost_router.core.budget import Alert, Limits, Reservation, Scope, Standing
from cost_router.core.ledger import Entry
from cost_router.core.pricing import Usage
from cost_router.core.receipt import Receipt
from cost_router.core.record import Collected, Record
from cost_router.core.request import Tenant
from cost_router.core.statement import Statement
from cost_router.core.words import Label

Row = Mapping[str, Any]  # an entry read back, with the attributes of DESIGN section 8; numbers are `Decimal`


@dataclass(frozen=True, slots=True)
class Reply:
    """A message from Claude. content: the body as it came; message: the same, parsed."""

    content: bytes = field(repr=False)
    message: Mapping[str, Any] = field(repr=False)
    usage: Usage
    request_id: str | None
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Counted:
    """How many tokens a body has, as Claude tells it. content: the reply as it came."""

    content: bytes
    request_id: str | None
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event of a message. raw: its bytes as they came, with the blank line that ends it.

    usage: all tokens told so far, by the events that tell any. final: Claude has told why it stopped, so these are all.
    """

    raw: bytes = field(repr=False)
    type: str  # `message_start`, `ping`, `content_block_delta`, ...; empty for a comment
    usage: Usage | None = None
    final: bool = False


class Stream(Protocol):
    """A message of Claude on its way, event by event."""

    @property
    def request_id(self) -> str | None:
        """Claude's id of the call."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What goes on to the caller."""

    async def next(self, seconds: float) -> Event | None:
        """The next event, within `seconds`; None at the end, which comes after `message_stop`.

        Raises `UpstreamError` for an `error` event, a cut, an end before `message_stop`, and when no event comes.
        """

    async def aclose(self) -> None:
        """End the call, whole or not; harmless when it has ended."""


class Claude(Protocol):
    """The Messages API."""

    async def send(self, body: Mapping[str, Any], headers: Mapping[str, str], seconds: float) -> Reply:
        """One call, never retried, given up after `seconds` in total; raises `UpstreamError`.

        Before anything is sent it may raise `InvalidRequest`, `NotConfigured` and `StoreError`.
        """

    async def open(self, body: Mapping[str, Any], headers: Mapping[str, str], seconds: float) -> Stream:
        """One call whose answer is streamed; `seconds` until it begins to come. Raises as `send` does."""

    async def count(self, body: Mapping[str, Any], headers: Mapping[str, str], seconds: float) -> Counted:
        """The tokens of a body, which costs nothing; never retried. Raises as `send` does."""


class LabelStore(Protocol):
    """Labels by keyed hash. Both methods raise `StoreError`."""

    async def get(self, key: str, now: dt.datetime) -> Label | None:
        """The label, unless there is none or it has expired at `now`."""

    async def put(self, key: str, label: Label, now: dt.datetime) -> None:
        """Keep the label for the store's time to live."""


class RequestLog(Protocol):
    """What requests have cost, for a day. Both methods raise `StoreError`."""

    async def put(self, receipt: Receipt) -> None:
        """Keep the receipt for 24 hours from the end of its request."""

    async def get(self, id_: str, now: dt.datetime) -> Receipt | None:
        """The receipt of the request with this id, ours or Claude's; None for one that is unknown or has expired."""


class Ledger(Protocol):
    """Entries, the counters that move with them, and money put aside. All methods raise `StoreError`."""

    async def standings(self, at: dt.datetime, scopes: Sequence[Scope]) -> list[Standing]:
        """How far each scope has come in its day or month around `at`, UTC."""

    async def reserve(self, reservation: Reservation) -> None:
        """Put money aside under all scopes or none; the same again changes nothing.

        Raises `BudgetExhausted` when a scope's budget does not cover it, `PaceExceeded` when its session is too fast.
        """

    async def book(self, entries: Sequence[Entry], settled: Sequence[Reservation]) -> None:
        """Write entries and counters and give back what was put aside, in one transaction; once.

        What was swept meanwhile is reversed, so that no payment counts twice.
        """


class Reservations(Protocol):
    """Money that is put aside, seen from outside the requests. Both methods raise `StoreError`."""

    async def outstanding(self) -> list[Reservation]:
        """All that is neither settled nor swept."""

    async def sweep(self, reservation: Reservation) -> bool:
        """Book it as spent, for one ambiguous payment; false when it has been settled meanwhile."""


class Policies(Protocol):
    """What tenants may spend."""

    async def limits(self) -> Mapping[str, Limits]:
        """The limits of every tenant that is not disabled, by name. Raises `StoreError`."""


class Alerts(Protocol):
    """Messages to the operators, each once. Raises `StoreError`."""

    async def tell_once(self, alert: Alert, now: dt.datetime) -> bool:
        """Send the alert unless it has been sent; whether it was sent now."""


class Exports(Protocol):
    """Days of the ledger as files."""

    async def put(self, day: str, entries: AsyncIterator[Row]) -> int:
        """Write the file of a UTC day anew; gives how many entries it has. Raises `StoreError`."""


class LedgerReader(Protocol):
    """Entries, read back."""

    def entries(self, day: str) -> AsyncIterator[Row]:
        """Every entry of the UTC day `YYYY-MM-DD`, with the attributes of DESIGN section 8. Raises `StoreError`."""


class ProviderBill(Protocol):
    """The provider's own account of what was used and what it costs."""

    async def statement(self, day: dt.date) -> Statement:
        """The UTC day, by model and processing. Raises `StoreError`, and `NotConfigured` when the key is refused."""


class Tenants(Protocol):
    """Keys and policies. Both methods raise `StoreError`, and `NotConfigured` for a tenant that cannot be read."""

    async def by_key(self, key_hash: str) -> Tenant | None:
        """The tenant whose gateway key has this SHA-256, unless the key or the tenant is disabled."""

    async def by_name(self, name: str) -> Tenant | None:
        """The tenant called so, unless it is disabled; the default tenant is made when it is missing."""


class Results(Protocol):
    """Finished jobs. Both methods raise `StoreError`."""

    async def read(self, group: str, custom_id: str) -> Mapping[str, Any] | None:
        """The result of a job; None when it has none yet."""

    async def put(self, group: str, custom_id: str, result: Mapping[str, Any]) -> None:
        """Keep the result of a job."""

    async def put_first(self, group: str, custom_id: str, result: Mapping[str, Any]) -> None:
        """Keep the result of a job unless it has one, which may have been paid for."""


class Attempts(Protocol):
    """How often a job made its function fail."""

    async def failed(self, group: str, custom_id: str, now: dt.datetime) -> int:
        """Count one more failure and return how many there are. Raises `StoreError`."""


class Telemetry(Protocol):
    """Logs and metrics. Nothing of a prompt or an answer ever goes in."""

    def done(self, record: Record) -> None:
        """One request or job has ended."""

    def collected(self, told: Collected) -> None:
        """The collector has made a round."""

    def stopped(self, status: int | None, wait: float) -> None:
        """The account is at fault: the bulk lane calls nothing for `wait` seconds."""

    def drifted(self, day: str, drift_usd: Decimal, explained_usd: Decimal) -> None:
        """A day of the ledger has been compared with the provider's bill."""

    def unbooked(self, entries: Sequence[Entry], error: Exception) -> None:
        """Entries could not be written to the ledger: they go to the log, whole, and are counted."""

    def defect(self, request_id: str, error: Exception) -> None:
        """The router itself failed: where, but not the message, which might quote the request."""

    def note(self, event: str, **fields: object) -> None:
        """Something an operator should be able to find: `event` in snake case, fields without user content."""


class Clock(Protocol):
    """Time."""

    def now(self) -> dt.datetime:
        """UTC now."""

    def monotonic(self) -> float:
        """Seconds that never go backwards."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class Chance(Protocol):
    """Randomness, drawn from the operating system at call time (a snapshot must not repeat it)."""

    def fraction(self) -> float:
        """A number in [0, 1)."""

    def token(self) -> str:
        """24 unguessable letters and digits."""
