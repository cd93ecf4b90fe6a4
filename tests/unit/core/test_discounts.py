"""Negotiated discounts: a percentage off a model's token prices, from a day on."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from cost_router.core.catalogue import Catalogue
from cost_router.core.pricing import BATCH, REALTIME, Usage, cost
from cost_router.handlers import wiring

DATA = wiring.data("catalogue.json")
BEFORE, FIRST = dt.date(2026, 9, 30), dt.date(2026, 10, 1)


def agreed(model: str, percent: str, since: str, usage: Usage, on: dt.date, processing: str = REALTIME) -> Decimal:
    catalogue = Catalogue(DATA, {model: {"percent": percent, "from": since}})
    return cost(catalogue.model(model), usage, on=on, processing=processing)


@pytest.mark.parametrize(
    ("usage", "before", "after"),
    [
        (Usage(input_tokens=1_000_000), "4", "3.5"),
        (Usage(cache_read_input_tokens=1_000_000), "0.2", "0.175"),
        (Usage(cache_creation_5m_input_tokens=1_000_000), "5", "4.375"),
        (Usage(cache_creation_1h_input_tokens=1_000_000), "8", "7"),
        (Usage(output_tokens=1_000_000), "20", "17.5"),
        (Usage(input_tokens=1_000_000, speed="fast"), "8", "7"),
        (Usage(input_tokens=1_000_000, speed="fast", inference_geo="us"), "8.8", "7.7"),
        (Usage(web_search_requests=1), "0.01", "0.01"),  # not priced by model
    ],
)
def test_a_discount_begins_on_its_day_and_holds_at_any_speed_and_place(usage: Usage, before: str, after: str) -> None:
    for day, expected in ((BEFORE, before), (FIRST, after), (dt.date(2030, 1, 1), after)):
        assert agreed("claude-opus-5-5", "12.5", "2026-10-01", usage, day) == Decimal(expected)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [(100_000, "0.00875"), (100_001, "0.0437504375")],
)
def test_the_long_context_step_stays_where_it_is(tokens: int, expected: str) -> None:
    assert agreed("claude-haiku-5-5", "12.5", "2026-10-01", Usage(input_tokens=tokens), FIRST) == Decimal(expected)


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (dt.date(2026, 2, 28), "1.200006"),  # list, with the step that ended on 13 March
        (dt.date(2026, 3, 1), "0.600003"),  # half, with the step
        (dt.date(2026, 3, 12), "0.600003"),
        (dt.date(2026, 3, 13), "0.3000015"),  # half, without it
    ],
)
def test_a_later_change_of_the_list_price_is_discounted_too(day: dt.date, expected: str) -> None:
    found = agreed("claude-sonnet-4-6", "50", "2026-03-01", Usage(input_tokens=200_001), day)
    assert found == Decimal(expected)


def test_batches_are_discounted_from_their_first_day_when_the_discount_is_older() -> None:
    usage = Usage(input_tokens=1_000_000)
    assert agreed("claude-opus-5-5", "10", "2026-10-01", usage, dt.date(2026, 10, 14), BATCH) == Decimal("1.8")
    assert agreed("claude-opus-5-5", "10", "2026-10-15", usage, dt.date(2026, 10, 14), BATCH) == Decimal(2)
    assert agreed("claude-opus-5-5", "10", "2026-10-15", usage, dt.date(2026, 10, 15), BATCH) == Decimal("1.8")


def test_other_models_keep_their_price() -> None:
    discounts: dict[str, Any] = {"claude-opus-5-5": {"percent": "99.9", "from": "2026-01-01"}}
    model = Catalogue(DATA, discounts).model("claude-sonnet-5-5")
    assert cost(model, Usage(input_tokens=1_000_000), on=FIRST) == 2
