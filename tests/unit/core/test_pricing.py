"""Dollars for tokens: literals, boundary pairs, and genai-prices itself as the referee."""

import datetime as dt
import random
from decimal import Decimal

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices import calc_price

from cost_router.core.errors import NoPrice
from cost_router.core.pricing import BATCH, REALTIME, Usage, cost, dollars, upper_bound
from tests.builders import catalogue, model

DAY = dt.date(2026, 11, 23)
SEED = 20261123


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (Usage(input_tokens=1_000_000), "2"),
        (Usage(cache_read_input_tokens=1_000_000), "0.1"),
        (Usage(cache_creation_5m_input_tokens=1_000_000), "2.5"),
        (Usage(cache_creation_1h_input_tokens=1_000_000), "4"),
        (Usage(output_tokens=1_000_000), "10"),
        (Usage(1, 1, 1, 1, 1), "0.0000186"),
        (Usage(), "0"),
    ],
)
def test_every_bucket_has_its_own_price(usage: Usage, expected: str) -> None:
    assert cost(model("claude-sonnet-5-5"), usage, on=DAY) == Decimal(expected)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (Usage(input_tokens=100_000), "0.01"),
        (Usage(input_tokens=100_001), "0.0500005"),
        (Usage(input_tokens=100_000, output_tokens=1_000), "0.0105"),
        (Usage(input_tokens=100_001, output_tokens=1_000), "0.0525005"),  # output too
        (Usage(cache_read_input_tokens=100_000), "0.001"),
        (Usage(cache_read_input_tokens=100_001), "0.00500005"),  # cache reads count for the step
        (Usage(cache_creation_5m_input_tokens=100_001), "0.062500625"),
        (Usage(cache_creation_1h_input_tokens=100_001), "0.100001"),
        (Usage(input_tokens=1, cache_read_input_tokens=99_999), "0.00100009"),
        (Usage(input_tokens=2, cache_read_input_tokens=99_999), "0.00500095"),
    ],
)
def test_a_prompt_over_the_step_prices_the_whole_request_at_the_step(usage: Usage, expected: str) -> None:
    assert cost(model("claude-haiku-5-5"), usage, on=DAY) == Decimal(expected)


def test_output_does_not_count_for_the_step() -> None:
    usage = Usage(input_tokens=100_000, output_tokens=100_000)
    assert cost(model("claude-haiku-5-5"), usage, on=DAY) == Decimal("0.06")


@pytest.mark.parametrize(
    ("day", "expected"),
    [(dt.date(2026, 3, 12), "1.200006"), (dt.date(2026, 3, 13), "0.600003")],
)
def test_the_long_context_step_of_sonnet_4_6_ended_on_13_march_2026(day: dt.date, expected: str) -> None:
    assert cost(model("claude-sonnet-4-6"), Usage(input_tokens=200_001), on=day) == Decimal(expected)


@pytest.mark.parametrize("name", catalogue().ids)
def test_batches_cost_half_and_have_no_price_before_their_day(name: str) -> None:
    usage = Usage(1_000, 2_000, 3_000, 4_000, 5_000)
    full = cost(model(name), usage, on=dt.date(2026, 10, 14))
    assert cost(model(name), usage, on=dt.date(2026, 10, 14), processing=BATCH) * 2 == full
    with pytest.raises(NoPrice, match=f"no batch price for {name} on 2026-10-13"):
        cost(model(name), usage, on=dt.date(2026, 10, 13), processing=BATCH)


@pytest.mark.parametrize("name", catalogue().ids)
def test_every_model_has_a_realtime_price_from_the_first_day(name: str) -> None:
    assert cost(model(name), Usage(input_tokens=1), on=dt.date(1970, 1, 1), processing=REALTIME) > 0


def usages(seed: int, count: int) -> list[Usage]:
    """Random usages, many of them near the steps."""
    draw = random.Random(seed)

    def tokens() -> int:
        return draw.choice([0, draw.randrange(50), draw.randrange(5_000), draw.randrange(250_000)])

    near = [Usage(input_tokens=step + more) for step in (100_000, 200_000) for more in (-1, 0, 1)]
    return near + [Usage(tokens(), tokens(), tokens(), tokens(), tokens() + 1) for _ in range(count)]


@pytest.mark.parametrize("name", catalogue().ids)
@pytest.mark.parametrize(
    ("day", "processing"),
    [
        (dt.date(2026, 3, 12), REALTIME),
        (dt.date(2026, 3, 13), REALTIME),
        (DAY, REALTIME),
        (dt.date(2026, 10, 14), BATCH),
        (DAY, BATCH),
    ],
)
def test_the_referee_agrees(name: str, day: dt.date, processing: str) -> None:
    """genai-prices prices the same usage to the same dollars; it wants totals, and decomposes them itself."""
    for usage in usages(SEED, 40):
        written = usage.cache_creation_5m_input_tokens + usage.cache_creation_1h_input_tokens
        theirs = calc_price(
            TheirUsage(
                input_tokens=usage.prompt_tokens,
                cache_read_tokens=usage.cache_read_input_tokens,
                cache_write_tokens=written,
                cache_write_1h_tokens=usage.cache_creation_1h_input_tokens,
                output_tokens=usage.output_tokens,
            ),
            name,
            provider_id="anthropic",
            genai_request_timestamp=dt.datetime.combine(day, dt.time(12), dt.UTC),
            price_context={"processing": processing} if processing == BATCH else None,
        )
        assert cost(model(name), usage, on=day, processing=processing) == theirs.total_price, usage


@pytest.mark.parametrize("name", catalogue().ids)
def test_no_usage_within_the_bound_costs_more_than_the_bound(name: str) -> None:
    for usage in usages(SEED + 1, 200):
        bound = upper_bound(model(name), prompt_tokens=usage.prompt_tokens, max_tokens=usage.output_tokens, on=DAY)
        assert bound >= cost(model(name), usage, on=DAY)


def test_the_bound_is_a_one_hour_cache_write_of_the_whole_prompt() -> None:
    bound = upper_bound(model("claude-opus-5-5"), prompt_tokens=1_000_000, max_tokens=32_000, on=DAY)
    assert bound == Decimal("8.64")


@pytest.mark.parametrize(
    ("amount", "shown"),
    [("0", "0"), ("0.000031", "0.000031"), ("1.50", "1.5"), ("1E+3", "1000"), ("0E-7", "0"), ("3.1E-7", "0.00000031")],
)
def test_dollars_are_shown_without_exponent_and_trailing_zeros(amount: str, shown: str) -> None:
    assert dollars(Decimal(amount)) == shown
