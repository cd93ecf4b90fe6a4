"""Ledger against bill: literal figures of claude-haiku-5-5 at $0.10/$0.50 and claude-opus-5-5 at $4/$20 a million."""

import datetime as dt
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from cost_router.core.drift import Drift, Line
from cost_router.core.pricing import Usage
from cost_router.core.reconcile import compare, reconcile_day
from cost_router.core.statement import NO_MODEL, Billed, Statement
from tests.builders import catalogue, run
from tests.unit.operate.entries import ambiguous, entry

DAY = dt.date(2026, 11, 23)
HAIKU, OPUS = "claude-haiku-5-5", "claude-opus-5-5"
NIL = Decimal(0)
ONE = Usage(input_tokens=1_000, output_tokens=100)  # what an `entry` has
ONE_USD = {"input": Decimal("0.0001"), "output": Decimal("0.00005")}


def billed(model: str = HAIKU, processing: str = "realtime", **changes: Any) -> Billed:
    """The bill of one `entry`: $0.00015."""
    usual: dict[str, Any] = {"usage": ONE, "usd": ONE_USD, "list_usd": Decimal("0.00015")}
    return Billed(model, processing, **usual | changes)


def drift(entries: list[dict[str, Any]], *rows: Billed, refreshed_at: dt.datetime | None = None) -> Drift:
    return compare(DAY, entries, Statement(rows, refreshed_at), catalogue())


def only(made: Drift) -> Line:
    [line] = made.lines
    return line


def test_nothing_on_either_side_agrees() -> None:
    made = drift([])
    assert (made.agrees, made.drift_usd, made.lines) == (True, NIL, ())


def test_equal_books_agree_bucket_by_bucket() -> None:
    cached = entry(
        "r2",
        cache_read_input_tokens=10_000,
        cache_creation_5m_input_tokens=2_000,
        cache_creation_1h_input_tokens=1_000,
        cost_usd=Decimal("0.0007"),
    )
    made = drift(
        [entry(), cached],
        billed(
            usage=Usage(2_000, 10_000, 2_000, 1_000, 200),
            usd={
                "input": Decimal("0.0002"),
                "cache_read": Decimal("0.0001"),
                "cache_write_5m": Decimal("0.00025"),
                "cache_write_1h": Decimal("0.0002"),
                "output": Decimal("0.0001"),
            },
        ),
    )
    line = only(made)
    assert (line.calls, line.booked_usd, line.billed_usd) == (2, Decimal("0.00085"), Decimal("0.00085"))
    for part in line.parts:
        assert (part.our_tokens, part.our_usd) == (part.their_tokens, part.their_usd), part
    assert [part.our_tokens for part in line.parts] == [2_000, 10_000, 2_000, 1_000, 200, None]
    assert (line.difference_usd, line.explained_usd, line.unexplained_usd) == (NIL, NIL, NIL)
    assert (made.agrees, made.drift_usd) == (True, NIL)


def test_a_call_that_the_ledger_lacks_is_a_negative_difference() -> None:
    made = drift([entry()], billed(usage=Usage(2_000, 0, 0, 0, 200), usd={"input": Decimal("0.0003")}))
    assert only(made).unexplained_usd == Decimal("-0.00015")
    assert (made.drift_usd, made.agrees) == (Decimal("0.00015"), False)


def test_a_model_that_the_ledger_lacks_is_a_line_of_its_own() -> None:
    made = drift([entry()], billed(), billed(OPUS, usd={"input": Decimal("0.004"), "output": Decimal("0.002")}))
    opus, haiku = made.lines  # the largest amount first
    assert (opus.model, opus.calls, opus.in_bill, opus.booked_usd) == (OPUS, 0, True, NIL)
    assert (opus.unexplained_usd, haiku.unexplained_usd) == (Decimal("-0.006"), NIL)


def test_what_the_provider_does_not_report_was_not_billed() -> None:
    made = drift([entry(), entry("r2")])
    line = only(made)
    assert (line.in_bill, line.billed_usd, line.unexplained_usd) == (False, NIL, Decimal("0.0003"))
    assert [part.their_tokens for part in line.parts] == [0, 0, 0, 0, 0, None]
    assert made.drift_usd == Decimal("0.0003")


def test_one_lines_surplus_does_not_hide_anothers_lack() -> None:
    made = drift([entry()], billed("claude-sonnet-5-5"))
    assert [line.unexplained_usd for line in made.lines] == [Decimal("0.00015"), Decimal("-0.00015")]
    assert made.drift_usd == Decimal("0.0003")


@pytest.mark.parametrize(
    ("dollars", "explained", "unexplained"),
    [  # $0.00015 are booked for sure, and $0.02 at most besides
        ("0.000149", "0.02", "0.000001"),
        ("0.00015", "0.02", "0"),
        ("0.0003", "0.01985", "0"),
        ("0.02015", "0", "0"),
        ("0.020151", "0", "-0.000001"),
    ],
)
def test_ambiguous_entries_explain_what_lies_between_none_and_all_of_them(
    dollars: str, explained: str, unexplained: str
) -> None:
    made = drift([entry(), ambiguous("r2")], billed(usd={"input": Decimal(dollars)}))
    line = only(made)
    assert (line.calls, line.ambiguous_calls, line.ambiguous_usd) == (1, 1, Decimal("0.02"))
    assert (line.explained_usd, line.unexplained_usd) == (Decimal(explained), Decimal(unexplained))
    assert line.difference_usd == Decimal(explained) + Decimal(unexplained)
    assert made.agrees is (unexplained == "0")
    assert made.explained_usd == Decimal(explained)


def test_ambiguous_entries_of_one_model_explain_nothing_about_another() -> None:
    made = drift([ambiguous()], billed(OPUS))
    assert {line.model: line.unexplained_usd for line in made.lines} == {HAIKU: NIL, OPUS: Decimal("-0.00015")}


def test_less_than_a_micro_dollar_is_rounding_but_stays_visible() -> None:
    near = drift([entry()], billed(usd={"input": Decimal("0.0001500009")}))
    assert (near.agrees, near.drift_usd) == (True, Decimal("9E-10"))
    assert not drift([entry()], billed(usd={"input": Decimal("0.000151")})).agrees


def test_a_dated_name_is_the_model_that_the_catalogue_says() -> None:
    booked = entry(model="claude-haiku-4-5", cost_usd=Decimal("0.0015"))
    usd = {"input": Decimal("0.001"), "output": Decimal("0.0005")}
    made = drift([booked, booked], billed("claude-haiku-4-5-20251001", usd=usd), billed("claude-haiku-4-5", usd=usd))
    line = only(made)
    assert (line.model, line.in_catalogue, line.billed_usd) == ("claude-haiku-4-5", True, Decimal("0.003"))
    assert (line.parts[0].their_tokens, made.agrees) == (2_000, True)


def test_a_model_that_the_catalogue_lacks_keeps_its_name_and_its_dollars() -> None:
    made = drift([], billed("claude-next-20270101"))
    line = only(made)
    assert (line.model, line.in_catalogue, line.unexplained_usd) == (
        "claude-next-20270101",
        False,
        Decimal("-0.00015"),
    )


def test_an_entry_that_cannot_be_priced_any_more_still_counts_as_it_was_booked() -> None:
    made = drift([entry(model="claude-gone")], billed("claude-gone"))
    line = only(made)
    assert {part.our_usd for part in line.parts} == {None}
    assert (line.booked_usd, made.agrees) == (Decimal("0.00015"), True)


def test_batch_and_realtime_are_lines_apart() -> None:
    half = entry("r2", processing="batch", cost_usd=Decimal("0.000075"))
    usd = {"input": Decimal("0.00005"), "output": Decimal("0.000025")}
    made = drift([entry(), half], billed(), billed(processing="batch", usd=usd))
    assert [(line.processing, line.booked_usd) for line in made.lines] == [
        ("realtime", Decimal("0.00015")),
        ("batch", Decimal("0.000075")),
    ]
    assert made.lines[1].parts[0].our_usd == Decimal("0.00005")
    assert made.agrees


def test_a_long_prompt_is_split_by_the_prices_of_its_step() -> None:
    made = drift([entry(input_tokens=100_001, output_tokens=0, cost_usd=Decimal("0.0500005"))])
    assert only(made).parts[0].our_usd == Decimal("0.0500005")
    assert only(made).parts[-1].our_usd == 0


def test_what_a_booked_cost_has_beyond_its_tokens_is_other() -> None:
    made = drift(
        [entry(cost_usd=Decimal("0.01015"))],
        billed(usd={**ONE_USD, "other": Decimal("0.01")}),
    )
    assert (only(made).parts[-1].our_usd, only(made).parts[-1].their_usd) == (Decimal("0.01"), Decimal("0.01"))
    assert made.agrees


def test_tokens_without_dollars_are_unknown_and_never_zero() -> None:
    made = drift([entry()], billed(processing="priority", usd=None, list_usd=None), billed())
    [unknown] = made.unknown
    assert (unknown.processing, unknown.billed_usd, unknown.difference_usd) == ("priority", None, None)
    assert (unknown.explained_usd, unknown.unexplained_usd, unknown.agrees) == (None, None, False)
    assert (made.drift_usd, made.agrees) == (NIL, False)


def test_dollars_without_tokens_are_a_line_without_tokens() -> None:
    made = drift([], billed(NO_MODEL, usage=None, usd={"other": Decimal("0.05")}))
    line = only(made)
    assert {part.their_tokens for part in line.parts} == {None}
    assert (line.model, line.unexplained_usd) == ("(no model)", Decimal("-0.05"))


@pytest.mark.parametrize(
    ("refreshed_at", "complete"),
    [
        (None, None),
        (dt.datetime(2026, 11, 23, 23, 59, 59, tzinfo=dt.UTC), False),
        (dt.datetime(2026, 11, 24, tzinfo=dt.UTC), True),
    ],
)
def test_a_day_is_complete_when_the_providers_data_reaches_its_end(
    refreshed_at: dt.datetime | None, complete: object
) -> None:
    assert drift([], refreshed_at=refreshed_at).complete is complete


@dataclass
class Books:
    """A ledger that is read, and the provider's bill."""

    asked: list[object]

    async def entries(self, day: str) -> AsyncIterator[Mapping[str, Any]]:
        self.asked.append(day)
        yield entry()
        yield ambiguous("r2")

    async def statement(self, day: dt.date) -> Statement:
        self.asked.append(day)
        return Statement((billed(),))


def test_a_day_is_read_from_both_sides_and_compared() -> None:
    books = Books([])
    made = run(reconcile_day(DAY, books, books, catalogue()))
    assert books.asked == [DAY, "2026-11-23"]
    assert (made.drift_usd, made.explained_usd, made.day) == (NIL, Decimal("0.02"), DAY)
