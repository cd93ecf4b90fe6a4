"""Store round trips that a request waits for one after the other: real clients and transactions, an emulated table.

Trips that overlap count once: what is counted is the longest chain of store calls of which none began before the one
before it had ended. What is written while Claude is at work, as new labels are, is not waited for and does not count.
Claude is the stand-in.
"""

import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from cost_router.adapters.aws import Aws
from cost_router.contract import Env, Table
from infra.bench.handler import environment
from infra.local.emulator import Emulator, start_emulator
from infra.local.processes import Children
from infra.local.stack import find_upstream

Span = tuple[float, float, str]  # began, ended, what
SAME: Final = "Is 97 a prime number?"
NEW: Final = "labelled anew"
CASES: Final = {NEW: "auto", "label cached": "auto", "pinned": "haiku"}
# With budgets of every kind, and ample room in them: close to their end a request labelled anew takes one trip more.
BUDGETS: Final = {Env.DAILY_BUDGET_USD: "1000", Env.MONTHLY_BUDGET_USD: "1000"}
NAMES: Final = {
    "labels": (Table.LABELS_KEY,),
    "ledger": (Table.LEDGER_PK, Table.LEDGER_SK),
    "requests": (Table.REQUESTS_KEY,),
}
TABLES: Final = {Env.LABELS_TABLE: "labels", Env.LEDGER_TABLE: "ledger", Env.REQUESTS_TABLE: "requests"}


class TimedAws(Aws):
    """Clients that write down when each call began and ended."""

    def __init__(self, clients: dict[str, Any]) -> None:
        super().__init__(clients)
        self.spans: list[Span] = []

    async def call(self, service: str, operation: str, **arguments: Any) -> Any:
        """One call, timed."""
        began = time.perf_counter()
        try:
            return await super().call(service, operation, **arguments)
        finally:
            self.spans.append((began, time.perf_counter(), operation))


class Timed:
    """Writes down when Claude was at work."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def around(self, claude: Any) -> Any:
        """A Claude whose calls are timed."""
        send = claude.send

        async def timed(*arguments: Any) -> Any:
            began = time.perf_counter()
            try:
                return await send(*arguments)
            finally:
                self.spans.append((began, time.perf_counter(), "send"))

        return SimpleNamespace(send=timed)


@dataclass(frozen=True, slots=True)
class Trips:
    """The chain of store calls of one kind of request."""

    case: str
    operations: tuple[str, ...]


def measure() -> list[Trips]:
    """The chains of a request that is labelled anew, of one whose label is cached, and of a pinned one."""
    with tempfile.TemporaryDirectory() as folder:
        children = Children(Path(folder))
        try:
            upstream, emulator = find_upstream(children), start_emulator(children)
            for name, keys in NAMES.items():
                make_table(emulator, name, keys)
            return asyncio.run(_measure(emulator, upstream.url))
        finally:
            children.end()


def chain(spans: list[Span], claude: list[Span]) -> tuple[str, ...]:
    """The operations of the longest chain of calls that did not run while Claude was at work."""
    found, free = [], 0.0
    for began, ended, operation in sorted(spans, key=lambda span: span[1]):  # the one that ends first, again and again
        at_work = any(began < until and ended > since for since, until, _ in claude)
        if began >= free and not at_work:
            found.append(operation)
            free = ended
    return tuple(found)


async def _measure(emulator: Emulator, url: str) -> list[Trips]:
    from infra.bench.handler import app_over, ask  # noqa: PLC0415  the SDK takes a second to import

    aws = TimedAws({"dynamodb": emulator.client("dynamodb")})
    claude = Timed()
    app = app_over(aws, claude.around, environment(url) | TABLES | BUDGETS)
    found = []
    for case, model in CASES.items():
        await ask(app, model, text=SAME)  # connections are made, and the label of this text is kept
        aws.spans.clear()
        await ask(app, model, text=NEW if case == NEW else SAME)
        found.append(Trips(case, chain(aws.spans, claude.spans)))
    return found


def make_table(emulator: Emulator, name: str, keys: tuple[str, ...]) -> None:
    """An empty table whose key attributes are strings."""
    emulator.client("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        BillingMode="PAY_PER_REQUEST",
    )
