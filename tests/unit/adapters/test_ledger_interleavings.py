"""Reserve, settle, release and sweep in any order, several at the same moment, with replies that get lost.

Whatever the interleaving: no budget is overrun, nothing is negative, and in the end every counter is the sum of the
entries. The table is the emulator's, so conditions and transactions are real.
"""

import asyncio
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cost_router.adapters.aws import Aws
from cost_router.adapters.ledger import DynamoLedger
from cost_router.adapters.ledger_items import entry_item
from cost_router.adapters.system import SystemChance, SystemClock
from cost_router.contract import Table
from cost_router.core.budget import Period, Reservation, Scope, Standing
from cost_router.core.errors import BudgetExhausted, StoreError
from cost_router.core.ledger import Entry
from cost_router.core.pricing import Usage
from cost_router.core.words import Tier
from tests.builders import NOW, run
from tests.unit.adapters.tables import make_table
from tests.unit.adapters.test_ledger import ledger

LIMITS = {
    Scope("account", Decimal(10)): Decimal(10),
    Scope("account", Decimal(12), Period.MONTH): Decimal(12),
    Scope("tenant#acme", Decimal(7)): Decimal(7),
}
SCOPES = tuple(LIMITS)
REQUESTS = 4


class LosingReplies(Aws):
    """Does what it is told, and then, as often as `losses` says, tells that no answer came."""

    losses = 0

    async def call(self, service: str, operation: str, **arguments: Any) -> Any:
        reply = await super().call(service, operation, **arguments)
        if operation == "transact_write_items" and self.losses:
            self.losses -= 1
            error = StoreError("dynamodb.transact_write_items: ReadTimeoutError")
            raise error from ReadTimeoutError(endpoint_url="loopback")
        return reply


def entry(id_: str, cost: Decimal) -> Entry:
    return Entry(
        entry_id=id_,
        at=NOW,
        request_id=id_.partition("#")[0],
        upstream_request_id=None,
        tenant="acme",
        tags={},
        label=None,
        cause="pinned",
        tier=Tier.OPUS,
        model="claude-opus-5-5",
        purpose="answer",
        usage=Usage(),
        cost_usd=cost,
        baseline_usd=cost,
    )


@dataclass
class Life:
    """One request: what it has put aside and not settled yet."""

    number: int
    held: list[Reservation] = field(default_factory=list)
    made: int = 0
    settled: int = 0


@dataclass
class World:
    """A ledger and the requests on it."""

    ledger: DynamoLedger
    lives: list[Life] = field(default_factory=lambda: [Life(number) for number in range(REQUESTS)])

    async def reserve(self, life: Life, amount: Decimal) -> None:
        id_ = f"req_{life.number}#{life.made}"
        life.made += 1
        held = Reservation(id_, amount, SCOPES, NOW + dt.timedelta(minutes=5), entry(id_, amount))
        life.held.append(held)
        try:
            await self.ledger.reserve(held)
        except BudgetExhausted:
            life.held.remove(held)

    async def settle(self, life: Life, share: Decimal) -> None:
        """Book a share of what is held, at the most all of it, in one entry for each reservation."""
        paid = [entry(f"paid_{held.id}", held.amount_usd * share) for held in life.held] if share else []
        await self.ledger.book(paid, life.held)
        await self.ledger.book(paid, life.held)  # as a process does that has been told nothing
        life.held = []

    async def sweep(self) -> None:
        for held in await self.ledger.outstanding():
            await self.ledger.sweep(held)

    async def check(self) -> None:
        entries = [dict(row) async for row in self.ledger.entries("2026-11-23")]
        outstanding = await self.ledger.outstanding()
        spent = sum((row["cost_usd"] for row in entries), Decimal(0))
        aside = sum((row.amount_usd for row in outstanding), Decimal(0))
        for standing in await self.standings():
            assert 0 <= standing.committed_usd <= LIMITS[standing.scope]
            assert (standing.spent_usd, standing.committed_usd) == (spent, spent + aside)
            assert spent >= 0

    async def standings(self) -> list[Standing]:
        return await self.ledger.standings(NOW, SCOPES)


step = st.tuples(
    st.sampled_from(["reserve", "reserve", "settle", "release", "sweep"]),
    st.integers(0, REQUESTS - 1),
    st.sampled_from([Decimal("0.5"), Decimal(1), Decimal("2.5"), Decimal(4)]),
    st.integers(0, 2),  # replies that get lost
)
# Steps of one moment; a request does one thing at a time, sweeping comes at any.
moment = st.lists(step, min_size=1, max_size=4, unique_by=lambda found: (found[0] == "sweep", found[1]))


async def live(world: World, moments: Sequence[Sequence[tuple[str, int, Decimal, int]]]) -> None:
    aws = world.ledger.aws
    assert isinstance(aws, LosingReplies)
    for steps in moments:
        aws.losses = sum(lost for *_, lost in steps)
        doing = []
        for kind, number, amount, _ in steps:
            life = world.lives[number]
            if kind == "reserve":
                doing.append(world.reserve(life, amount))
            elif kind == "sweep":
                doing.append(world.sweep())
            else:
                doing.append(world.settle(life, Decimal("0.25") * amount if kind == "settle" else Decimal(0)))
        await asyncio.gather(*doing)
        aws.losses = 0
        await world.check()
    await world.sweep()  # whoever has not settled by now is dead
    await world.check()
    for standing in await world.standings():
        assert standing.committed_usd == standing.spent_usd


@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(moments=st.lists(moment, min_size=1, max_size=8))
def test_no_interleaving_overruns_a_budget_and_in_the_end_counters_are_the_sum_of_entries(
    aws: Aws, moments: list[list[tuple[str, int, Decimal, int]]]
) -> None:
    losing = LosingReplies({"dynamodb": aws.client("dynamodb")})
    table = make_table(losing, Table.LEDGER_PK, Table.LEDGER_SK)
    run(live(World(DynamoLedger(losing, table, SystemClock(), SystemChance())), moments))


def test_a_request_that_is_swept_in_every_moment_of_its_life_is_paid_once(aws: Aws) -> None:
    """The sweep before, during and after each write, one place after another."""
    for place in range(6):
        booked = ledger(aws)
        id_ = "req_1#0"
        held = Reservation(id_, Decimal(1), SCOPES, NOW, entry(id_, Decimal(1)))
        paid = [entry("paid", Decimal("0.25"))]
        world = World(booked)

        async def life(world: World, held: Reservation, paid: list[Entry], at: int) -> None:
            if at == 0:
                await world.sweep()
            await world.ledger.reserve(held)
            if at == 1:
                await world.sweep()
            settling = asyncio.ensure_future(world.ledger.book(paid, [held]))
            if at in {2, 3}:
                await asyncio.gather(settling, *(world.sweep() for _ in range(at)))
            await settling
            if at == 4:
                await world.sweep()
            await world.ledger.book(paid, [held])
            if at == 5:
                await world.sweep()
            await world.check()

        run(life(world, held, paid, place))
        (account, *_) = run(world.standings())
        assert account.spent_usd == account.committed_usd == Decimal("0.25")


def test_the_check_sees_an_entry_without_its_counters(aws: Aws) -> None:
    booked = ledger(aws)
    run(booked.book([entry("paid", Decimal(1))], []))
    run(World(booked).check())
    booked.aws.client("dynamodb").put_item(TableName=booked.table, Item=entry_item(entry("unseen", Decimal(1))))
    with pytest.raises(AssertionError):
        run(World(booked).check())
