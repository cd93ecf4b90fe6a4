"""Money of many lines at once: whole transactions, each line once, in whatever company it comes."""

import dataclasses
import datetime as dt
from decimal import Decimal
from typing import Any

from cost_router.adapters.aws import Aws
from cost_router.adapters.ledger_lines import DynamoLines, transactions
from cost_router.core.batch_ports import Settled
from cost_router.core.budget import Period, Reservation, Scope
from cost_router.core.ledger import Entry
from tests.builders import NOW, run
from tests.unit.adapters.test_ledger import ENTRY, items, ledger

ACCOUNT = Scope("account", Decimal(1))
MONTH = Scope("account", Decimal(10), Period.MONTH)


def line(number: int, tenant: str = "acme", *more: Scope, at: dt.datetime = NOW) -> Settled:
    id_ = f"req_{number}#line0"
    known: dict[str, Any] = {
        "entry_id": id_,
        "request_id": f"req_{number}",
        "tenant": tenant,
        "at": at,
        "processing": "batch",
    }
    entry: Entry = dataclasses.replace(ENTRY, **known, cost_usd=Decimal("0.001"), reservation=id_)
    lost = dataclasses.replace(entry, cost_usd=Decimal("0.01"), flags=("ambiguous",))
    scopes = (ACCOUNT, MONTH, Scope(f"tenant#{tenant}", Decimal(5)), *more)
    return Settled(entry, Reservation(id_, Decimal("0.01"), scopes, at + dt.timedelta(hours=29), lost))


def put_aside(lines: DynamoLines, settled: list[Settled]) -> set[str]:
    return run(lines.put_aside([row.reservation for row in settled]))


def counters(lines: DynamoLines, name: str = "account", day: str = "2026-11-23") -> dict[str, Decimal]:
    return {key: value for key, value in items(lines.ledger, f"counters#{day}")[name].items() if key.endswith("usd")}


def test_two_hundred_lines_are_put_aside_and_settled_to_the_last_digit(aws: Aws) -> None:
    lines = DynamoLines(ledger(aws))
    settled = [line(number) for number in range(100)]
    assert len(put_aside(lines, settled)) == 100
    assert counters(lines)["committed_usd"] == 1
    run(lines.settle(settled))
    assert items(lines.ledger, "reservations") == {}
    assert len(items(lines.ledger, "entries#2026-11-23")) == 100
    found = counters(lines)
    assert (found["cost_usd"], found["committed_usd"]) == (Decimal("0.1"), Decimal("0.1"))
    assert items(lines.ledger, "counters#2026-11")["tenant#acme"]["cost_usd"] == Decimal("0.1")


def test_as_many_as_fit_are_put_aside_the_first_ones_first(aws: Aws) -> None:
    lines = DynamoLines(ledger(aws))
    covered = put_aside(lines, [line(number) for number in range(130)])
    assert covered == {f"req_{number}#line0" for number in range(100)}
    assert counters(lines)["committed_usd"] == 1


def test_putting_the_same_aside_again_in_other_company_changes_nothing(aws: Aws) -> None:
    lines = DynamoLines(ledger(aws))
    first, second = [line(number) for number in range(30)], [line(number) for number in range(20, 60)]
    put_aside(lines, first)
    assert len(put_aside(lines, [*second, *first[:20]])) == 60
    assert counters(lines)["committed_usd"] == Decimal("0.6")


def test_lines_settled_again_in_another_order_and_company_are_booked_once(aws: Aws) -> None:
    lines = DynamoLines(ledger(aws))
    settled = [line(number) for number in range(90)]
    put_aside(lines, settled)
    run(lines.settle(settled[:50]))
    run(lines.settle([*reversed(settled[30:]), *settled[:10]]))
    assert len(items(lines.ledger, "entries#2026-11-23")) == 90
    found = counters(lines)
    assert (found["cost_usd"], found["committed_usd"]) == (Decimal("0.09"), Decimal("0.09"))
    assert items(lines.ledger, "reservations") == {}


def test_a_line_that_cost_nothing_is_given_back_among_others(aws: Aws) -> None:
    lines = DynamoLines(ledger(aws))
    settled = [line(0), dataclasses.replace(line(1), entry=None), line(2)]
    put_aside(lines, settled)
    for _ in range(2):
        run(lines.settle(settled))
    assert set(items(lines.ledger, "entries#2026-11-23")) == {"req_0#line0", "req_2#line0"}
    assert counters(lines)["committed_usd"] == Decimal("0.002")


def test_swept_lines_are_reversed_when_they_are_settled_after_all(aws: Aws) -> None:
    lines = DynamoLines(ledger(aws))
    settled = [line(number) for number in range(40)]
    put_aside(lines, settled)
    for row in settled[::2]:
        assert run(lines.ledger.sweep(row.reservation))
    for _ in range(2):
        run(lines.settle(settled))
    entries = items(lines.ledger, "entries#2026-11-23")
    assert len(entries) == 40 + 20 + 20
    assert sum(entry["cost_usd"] for entry in entries.values()) == Decimal("0.04")
    found = counters(lines)
    assert (found["cost_usd"], found["committed_usd"]) == (Decimal("0.04"), Decimal("0.04"))


def parts(part: list[Settled]) -> int:
    """Of the largest transaction that a part can need: entry, reversal and reservation of each line, and counters."""
    names = {name for row in part for name in row.reservation.if_lost.scopes}
    return 3 * len(part) + len(Period) * len(names)


def test_no_transaction_has_more_than_a_hundred_parts_however_many_tenants_there_are() -> None:
    for tenants in (1, 7, 200):
        settled = [line(number, f"tenant-{number % tenants}") for number in range(200)]
        made = list(transactions(settled))
        assert sum(map(len, made)) == 200
        assert max(map(parts, made)) <= 100
        assert len(made) <= {1: 7, 7: 9, 200: 11}[tenants]


def test_lines_of_different_sessions_are_booked_apart_and_count_for_their_own(aws: Aws) -> None:
    lines = DynamoLines(ledger(aws))
    sessions = [Scope(f"session#acme/{name}", Decimal(1)) for name in "ab"]
    settled = [line(number, "acme", sessions[number % 2]) for number in range(5)]
    put_aside(lines, settled)
    run(lines.settle(settled))
    assert counters(lines, "session#acme/a")["cost_usd"] == Decimal("0.003")
    assert counters(lines, "session#acme/b")["cost_usd"] == Decimal("0.002")
    assert counters(lines)["cost_usd"] == Decimal("0.005")


def test_lines_of_two_days_count_for_each(aws: Aws) -> None:
    lines = DynamoLines(ledger(aws))
    tomorrow = NOW + dt.timedelta(days=1)
    settled = [line(1), line(2, at=tomorrow)]
    assert len(put_aside(lines, settled)) == 2
    run(lines.settle(settled))
    for day in ("2026-11-23", "2026-11-24"):
        assert counters(lines, day=day)["committed_usd"] == Decimal("0.001")
