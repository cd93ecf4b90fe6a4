"""What a reconciliation says in words, and its JSON."""

import datetime as dt
from decimal import Decimal
from typing import Any

from rich.console import Console

from cost_router.core.pricing import Usage
from cost_router.core.reconcile import compare
from cost_router.core.statement import Billed, Statement
from infra.operate.reconcile import Asked, Reconciliation
from infra.operate.show_drift import print_reconciliation, remarks
from infra.operate.what_if import shipped_catalogue
from tests.unit.operate.entries import DAY, ambiguous, entry

HAIKU = "claude-haiku-5-5"
ONE = Usage(input_tokens=1_000, output_tokens=100)
USD = {"input": Decimal("0.0001"), "output": Decimal("0.00005")}


def made(*rows: Billed, refreshed_at: dt.datetime | None = None, **changes: Any) -> Reconciliation:
    entries = [entry(), ambiguous("r2")]
    drift = compare(DAY, entries, Statement(rows, refreshed_at), shipped_catalogue())
    usual: dict[str, Any] = {"deployment": "prod", "simulated": False, "asked": Asked(), "calls": None}
    return Reconciliation(drift, **usual | changes)


def test_books_that_agree_say_so_and_nothing_more() -> None:
    assert list(remarks(made(Billed(HAIKU, "realtime", ONE, USD, Decimal("0.00015"))))) == [
        "Unexplained drift: $0.000000. Explained by ambiguous entries: $0.020000.",
        "The books agree.",
    ]


def test_each_reason_for_a_difference_is_told() -> None:
    said = "\n".join(
        remarks(
            made(
                Billed(HAIKU, "realtime", ONE, USD, Decimal("0.0003")),
                Billed(HAIKU, "priority", ONE, None),
                Billed("claude-next", "realtime", ONE, USD, Decimal("0.00015")),
                refreshed_at=dt.datetime(2026, 11, 23, 23, 0, tzinfo=dt.UTC),
            )
        )
    )
    for sentence in (
        f"{HAIKU} realtime: billed $0.000150, at list prices $0.000300.",
        f"{HAIKU} priority: the provider reports tokens but no dollars, so its drift is unknown.",
        "claude-next realtime: nothing is booked for it.",
        "claude-next: not in the catalogue",
        "reach to 2026-11-23 23:00:00 UTC, not to the end of the day",
        "The books do not agree.",
    ):
        assert sentence in said


def test_the_table_shows_what_is_unknown_as_unknown() -> None:
    console = Console(width=160)
    with console.capture() as captured:
        print_reconciliation(console, made(Billed(HAIKU, "priority", ONE, None)))
    [row] = [line for line in captured.get().splitlines() if line.startswith(f"│ {HAIKU} priority")]
    assert [cell.strip() for cell in row.strip("│").split("│")] == [
        f"{HAIKU} priority",
        "input",
        *("0", "1000", "-1000"),
        *("$0.000000", "unknown", "unknown"),
        "",
    ]


def test_json_has_decimal_strings_and_null_for_what_is_unknown() -> None:
    found = made(Billed(HAIKU, "priority", ONE, None), asked=Asked(workspace="wrkspc_1")).json()
    assert (found["drift_usd"], found["explained_usd"], found["agrees"]) == ("0.00015", "0.02", False)
    assert (found["unknown"], found["workspace"], found["complete"]) == ([f"{HAIKU} priority"], "wrkspc_1", None)
    [unknown] = [line for line in found["lines"] if line["processing"] == "priority"]
    assert (unknown["billed_usd"], unknown["difference_usd"], unknown["unexplained_usd"]) == (None, None, None)
    assert unknown["buckets"][0] == {
        "bucket": "input",
        "our_tokens": 0,
        "their_tokens": 1000,
        "our_usd": "0",
        "their_usd": None,
    }
