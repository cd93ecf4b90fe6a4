"""The race for the last dollar: many at once reserve against one budget, in real transactions of the emulator."""

import asyncio
import datetime as dt
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import Final

from cost_router.adapters.aws import Aws
from cost_router.adapters.ledger import DynamoLedger
from cost_router.adapters.system import SystemChance, SystemClock
from cost_router.contract import Table
from cost_router.core.budget import Reservation, Scope
from cost_router.core.errors import BudgetExhausted
from cost_router.core.ledger import ANSWER, Entry
from cost_router.core.pricing import Usage
from cost_router.core.words import Tier
from infra.bench.trips import make_table
from infra.local.emulator import Emulator, start_emulator
from infra.local.processes import Children

RACERS: Final = 64
AMOUNT: Final = Decimal("0.07")
LIMIT: Final = Decimal(1)
AT: Final = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
TABLE: Final = "ledger"


def race() -> tuple[Decimal, int, float]:
    """Dollars committed over the limit, how many were admitted, and answers a second."""
    with tempfile.TemporaryDirectory() as folder:
        children = Children(Path(folder))
        try:
            emulator = start_emulator(children)
            make_table(emulator, TABLE, (Table.LEDGER_PK, Table.LEDGER_SK))
            return asyncio.run(_race(emulator))
        finally:
            children.end()


async def _race(emulator: Emulator) -> tuple[Decimal, int, float]:
    aws = Aws({"dynamodb": emulator.client("dynamodb")})
    ledger = DynamoLedger(aws, TABLE, SystemClock(), SystemChance())
    scope = Scope("account", LIMIT)

    async def one(number: int) -> bool:
        try:
            await ledger.reserve(_reservation(number, scope))
        except BudgetExhausted:
            return False
        return True

    began = time.perf_counter()
    admitted = sum(await asyncio.gather(*(one(number) for number in range(RACERS))))
    seconds = time.perf_counter() - began
    (standing,) = await ledger.standings(AT, [scope])
    return max(Decimal(0), standing.committed_usd - LIMIT), admitted, RACERS / seconds


def _reservation(number: int, scope: Scope) -> Reservation:
    lost = Entry(
        entry_id=f"racer-{number}",
        at=AT,
        request_id=f"racer-{number}",
        upstream_request_id=None,
        tenant="racers",
        tags={},
        label=None,
        cause="pinned",
        tier=Tier.OPUS,
        model="claude-opus-5-5",
        purpose=ANSWER,
        usage=Usage(),
        cost_usd=AMOUNT,
        baseline_usd=AMOUNT,
    )
    return Reservation(lost.entry_id, AMOUNT, (scope,), AT + dt.timedelta(minutes=5), lost)
