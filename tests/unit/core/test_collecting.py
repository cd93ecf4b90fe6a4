"""What is looked after between requests: nothing lost, nothing told twice."""

import datetime as dt
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import pytest

from cost_router.core.budget import Alert, Limits, Period, Scope, Standing, alerts
from cost_router.core.calls import LEASE_MARGIN
from cost_router.core.collecting import Collector
from cost_router.core.errors import NotConfigured, StoreError
from cost_router.core.ports import Row
from cost_router.core.pricing import Usage
from cost_router.core.statement import Billed, Statement
from tests.builders import NOW, World, catalogue, record, run

SECOND = dt.timedelta(seconds=1)


@dataclass
class Policies:
    found: dict[str, Limits] = field(default_factory=dict)
    problem: NotConfigured | StoreError | None = None

    async def limits(self) -> Mapping[str, Limits]:
        if self.problem:
            raise self.problem
        return self.found


@dataclass
class Post:
    """Alerts that are sent once."""

    sent: list[Alert] = field(default_factory=list)

    async def tell_once(self, alert: Alert, now: dt.datetime) -> bool:
        assert now.tzinfo
        keys = {(known.scope.key, known.step, known.period) for known in self.sent}
        if (alert.scope.key, alert.step, alert.period) in keys:
            return False
        self.sent.append(alert)
        return True


@dataclass
class Shelf:
    """Exported days."""

    days: dict[str, list[str]] = field(default_factory=dict)

    async def put(self, day: str, entries: AsyncIterator[Row]) -> int:
        self.days[day] = [entry["entry_id"] async for entry in entries]
        return len(self.days[day])


@dataclass
class Bill:
    """The provider's bill of any day: haiku, at what it came to."""

    usd: Decimal | None
    refreshed_at: dt.datetime | None = None
    asked: list[dt.date] = field(default_factory=list)

    async def statement(self, day: dt.date) -> Statement:
        self.asked.append(day)
        usd = None if self.usd is None else {"input": self.usd}
        return Statement((Billed("claude-haiku-5-5", "realtime", Usage(), usd),), self.refreshed_at)


class Round:
    """A collector over a world's ledger."""

    def __init__(self, world: World, bill: "Bill | None" = None) -> None:
        self.world, self.policies, self.post, self.shelf, self.bill = world, Policies(), Post(), Shelf(), bill
        self.collector = Collector(
            ledger=world.ledger,
            reservations=world.ledger,
            ledger_reader=world.reader,
            policies=self.policies,
            alerts=self.post,
            exports=self.shelf,
            clock=world.clock,
            telemetry=world.telemetry,
            catalogue=catalogue(),
            bill=self.bill,
        )

    def minute(self) -> None:
        run(self.collector.every_minute())


def dead_request(world: World, id_: str = "req_1") -> None:
    """A request whose process dies while Claude is at work: it never settles."""

    async def killed(*_: object) -> None:
        """Nothing is written."""

    world.ledger.book, alive = killed, world.ledger.book  # type: ignore[method-assign, assignment]
    run(world.router.answer(world.request(model="haiku", id_=id_), record()))
    world.ledger.book = alive  # type: ignore[method-assign]


def test_what_a_dead_process_had_put_aside_is_booked_when_its_lease_is_over_and_not_before() -> None:
    world = World()
    collecting = Round(world)
    dead_request(world)
    (lost,) = world.ledger.reserved
    world.clock.at = lost.until
    collecting.minute()
    assert world.ledger.entries == []
    world.clock.at = lost.until + SECOND
    collecting.minute()
    assert [(entry.cost_usd, entry.flags) for entry in world.ledger.entries] == [
        (lost.amount_usd, ("ambiguous", "swept"))
    ]
    assert world.ledger.open == {}
    assert [told.swept for told in world.telemetry.rounds] == [0, 1]
    noted = {"request_id": "req_1", "reservation": "req_1#0"}
    assert world.telemetry.notes == [("reservation_swept", noted)]


def test_a_lease_is_longer_than_its_request_may_take() -> None:
    world = World()
    dead_request(world)
    assert world.ledger.reserved[0].until == NOW + dt.timedelta(seconds=25) + LEASE_MARGIN


def test_the_gauges_are_told_every_minute_also_when_nothing_happens() -> None:
    world = World()
    collecting = Round(world)
    run(world.router.answer(world.request(model="haiku"), record()))
    spent = sum(entry.cost_usd for entry in world.ledger.entries)
    collecting.minute()
    world.clock.at = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
    collecting.minute()
    world.clock.at = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)
    collecting.minute()
    told = [(row.spend_today_usd, row.spend_month_usd) for row in world.telemetry.rounds]
    assert told == [(spent, spent), (0, spent), (0, 0)]


@pytest.mark.parametrize(
    ("spent", "steps"), [("4.99", []), ("5", [50]), ("7.9999", [50]), ("8", [50, 80]), ("10", [50, 80, 100])]
)
def test_alerts_ring_at_50_80_and_100_percent(spent: str, steps: list[int]) -> None:
    standing = Standing(Scope("tenant#acme", Decimal(10)), Decimal(spent), Decimal(spent))
    assert [alert.step for alert in alerts(standing, NOW)] == steps


def test_an_alert_says_who_how_much_of_what_and_when() -> None:
    scope = Scope("tenant#acme", Decimal("12.50"), Period.MONTH)
    alert = alerts(Standing(scope, Decimal("6.5"), Decimal(9)), NOW)[0]
    assert alert.message == (
        "tenant acme has reached 50 % of its monthly budget: $6.5 of $12.5 are spent in 2026-11 (UTC)."
    )


def test_each_step_of_a_tenants_budget_is_told_once_a_day() -> None:
    world = World()
    collecting = Round(world)
    collecting.policies.found = {"acme": Limits(daily_usd=Decimal(10)), "free": Limits()}
    for spent, told in (("5", [50]), ("6", [50]), ("10", [50, 80, 100])):
        world.ledger.spent_before["tenant#acme"] = Decimal(spent)
        collecting.minute()
        assert [alert.step for alert in collecting.post.sent] == told
    assert [row.steps for row in world.telemetry.rounds] == [1, 0, 2]
    world.clock.at += dt.timedelta(days=1)
    collecting.minute()
    assert len(collecting.post.sent) == 6


@pytest.mark.parametrize(
    "problem", [StoreError("dynamodb.scan: down"), NotConfigured("tenant 'x' is not as it should be")]
)
def test_a_part_of_a_round_that_fails_keeps_none_of_the_others_and_fails_the_round(
    problem: NotConfigured | StoreError,
) -> None:
    world = World()
    collecting = Round(world)
    collecting.policies.problem = problem
    dead_request(world)
    world.clock.at += dt.timedelta(hours=1)
    with pytest.raises(type(problem)):
        collecting.minute()
    (told,) = world.telemetry.rounds
    assert (told.swept, told.spend_today_usd is not None) == (1, True)


@pytest.mark.parametrize(
    ("at", "days"),
    [
        ("2026-11-24T00:07:00+00:00", ["2026-11-22", "2026-11-23", "2026-11-24"]),
        ("2026-11-24T06:59:59+00:00", ["2026-11-22", "2026-11-23", "2026-11-24"]),
        ("2026-11-24T07:00:00+00:00", ["2026-11-23", "2026-11-24"]),
    ],
)
def test_every_hour_today_is_exported_and_the_days_before_while_their_entries_may_still_come(
    at: str, days: list[str]
) -> None:
    world = World()
    collecting = Round(world)
    run(world.router.answer(world.request(model="haiku"), record()))
    world.clock.at = dt.datetime.fromisoformat(at)
    run(collecting.collector.every_hour())
    assert list(collecting.shelf.days) == days
    assert collecting.shelf.days.get("2026-11-23", ["req_1#0"]) == ["req_1#0"]


def booked(world: World) -> Decimal:
    run(world.router.answer(world.request(model="haiku"), record()))
    spent = sum((entry.cost_usd for entry in world.ledger.entries), Decimal(0))
    world.clock.at += dt.timedelta(days=1)
    return spent


def test_every_day_yesterday_is_compared_with_the_bill_and_the_drift_is_told() -> None:
    world = World()
    bill = Bill(booked(world) + Decimal("0.5"))
    run(Round(world, bill).collector.every_day())
    assert bill.asked == [dt.date(2026, 11, 23)]
    assert world.telemetry.drifts == [("2026-11-23", Decimal("0.5"), Decimal(0))]


def test_a_bill_that_is_not_complete_yet_is_no_drift() -> None:
    world = World()
    bill = Bill(booked(world), refreshed_at=dt.datetime(2026, 11, 23, 23, 59, tzinfo=dt.UTC))
    run(Round(world, bill).collector.every_day())
    assert world.telemetry.drifts == []
    assert world.telemetry.notes == [("bill_not_complete", {"day": "2026-11-23"})]


def test_a_bill_without_dollars_fails_the_round_instead_of_telling_a_drift_of_zero() -> None:
    world = World()
    booked(world)
    with pytest.raises(StoreError, match="the bill of 2026-11-23 has calls without dollars: claude-haiku-5-5"):
        run(Round(world, Bill(None)).collector.every_day())
    assert world.telemetry.drifts == []


def test_without_a_key_for_the_bill_nothing_is_compared() -> None:
    world = World()
    run(Round(world).collector.every_day())
    assert (world.telemetry.drifts, world.telemetry.notes) == ([], [])
