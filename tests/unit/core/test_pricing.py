"""Dollars for tokens: literals, boundary pairs, and genai-prices itself as the referee."""

import dataclasses
import datetime as dt
import random
from decimal import Decimal

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices import calc_price

from cost_router.core.catalogue import Model
from cost_router.core.errors import NoPrice
from cost_router.core.pricing import BATCH, REALTIME, Usage, cost, cost_elsewhere, dollars, upper_bound
from cost_router.core.terms import Terms
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


def within(usage: Usage, cached_for: str | None) -> Usage:
    """What a usage becomes when the cache is not written at all, or not for an hour: those tokens are plain input."""
    if cached_for == "1h":
        return usage
    hour = usage.cache_creation_1h_input_tokens
    short = dataclasses.replace(
        usage,
        cache_creation_1h_input_tokens=0,
        cache_creation_5m_input_tokens=usage.cache_creation_5m_input_tokens + hour,
    )
    if cached_for == "5m":
        return short
    return Usage(input_tokens=usage.prompt_tokens, output_tokens=usage.output_tokens)


def referee(name: str, usage: Usage) -> Decimal:
    """What a realtime call costs by genai-prices; it wants totals, and decomposes them itself."""
    theirs = TheirUsage(
        input_tokens=usage.prompt_tokens,
        cache_read_tokens=usage.cache_read_input_tokens,
        cache_write_tokens=usage.cache_creation_5m_input_tokens + usage.cache_creation_1h_input_tokens,
        cache_write_1h_tokens=usage.cache_creation_1h_input_tokens,
        output_tokens=usage.output_tokens,
    )
    noon = dt.datetime.combine(DAY, dt.time(12), dt.UTC)
    return calc_price(theirs, name, provider_id="anthropic", genai_request_timestamp=noon).total_price


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
@pytest.mark.parametrize("cached_for", [None, "5m", "1h"])
def test_no_usage_within_the_bound_costs_more_than_the_bound(name: str, cached_for: str | None) -> None:
    """By genai-prices' figures, for usages that the markers of a request can lead to."""
    for usage in usages(SEED + 1, 100):
        possible = within(usage, cached_for)
        bound = upper_bound(
            model(name),
            prompt_tokens=possible.prompt_tokens,
            max_tokens=possible.output_tokens,
            on=DAY,
            terms=Terms(inference_geo="global" if model(name).geographies else None, cached_for=cached_for),
        )
        assert bound >= referee(name, possible)


@pytest.mark.parametrize("name", catalogue().ids)
@pytest.mark.parametrize("tokens", [1_000, 100_000, 100_001, 200_001])
@pytest.mark.parametrize(
    ("cached_for", "bucket"),
    [
        (None, "input_tokens"),
        ("5m", "cache_creation_5m_input_tokens"),
        ("1h", "cache_creation_1h_input_tokens"),
        ("24h", "cache_creation_1h_input_tokens"),
    ],
)
def test_the_bound_is_what_a_prompt_in_its_dearest_possible_bucket_costs(
    name: str, tokens: int, cached_for: str | None, bucket: str
) -> None:
    found = dataclasses.replace(model(name), geographies={})
    usage = dataclasses.replace(Usage(output_tokens=7), **{bucket: tokens})  # type: ignore[arg-type]  # made by name
    bound = upper_bound(found, prompt_tokens=tokens, max_tokens=7, on=DAY, terms=Terms(cached_for=cached_for))
    assert bound == cost(found, usage, on=DAY) == referee(name, usage)


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        (Terms(inference_geo="global"), "8.64"),
        (Terms(inference_geo="us"), "9.504"),
        (Terms(), "9.504"),  # the workspace's default is not known: the dearest
        (Terms(speed="fast", inference_geo="global"), "17.28"),
        (Terms(speed="fast"), "19.008"),
        (Terms(inference_geo="global", web_searches=5), "14.45"),  # ten samplings' output, and $10 per 1,000 searches
        (Terms(speed="fast", inference_geo="us", web_searches=1), "31.69"),
        (Terms(inference_geo="global", cached_for="5m"), "5.64"),
        (Terms(inference_geo="global", cached_for=None), "4.64"),
        (Terms(inference_geo="global", web_searches=5, cached_for=None), "14.45"),  # searches write by themselves
    ],
)
def test_the_bound_is_the_dearest_cache_write_of_the_whole_prompt_on_the_requests_terms(
    terms: Terms, expected: str
) -> None:
    bound = upper_bound(model("claude-opus-5-5"), prompt_tokens=1_000_000, max_tokens=32_000, on=DAY, terms=terms)
    assert bound == Decimal(expected)


def test_a_bound_without_a_price_is_refused() -> None:
    with pytest.raises(NoPrice, match="no realtime, fast price for claude-haiku-5-5"):
        upper_bound(model("claude-haiku-5-5"), prompt_tokens=1, max_tokens=1, on=DAY, terms=Terms(speed="fast"))


# --- speed, geography, searches

FAST_MODELS = ("claude-opus-5-5", "claude-opus-5", "claude-opus-4-8")
ALL_KINDS = Usage(1_000_000, 1_000_000, 1_000_000, 1_000_000, 1_000_000)


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("claude-opus-5-5", {}, "37.2"),
        ("claude-opus-5-5", {"speed": "fast"}, "74.4"),
        ("claude-opus-5-5", {"inference_geo": "us"}, "40.92"),
        ("claude-opus-5-5", {"speed": "fast", "inference_geo": "us"}, "81.84"),
        ("claude-opus-5-5", {"web_search_requests": 1}, "37.21"),
        ("claude-opus-5-5", {"inference_geo": "us", "web_search_requests": 1_000}, "50.92"),  # searches at list price
        ("claude-opus-5", {"speed": "fast"}, "93.5"),
        ("claude-haiku-5-5", {"inference_geo": "us"}, "5.1425"),  # on top of the long-context step
    ],
)
def test_speed_geography_and_searches_have_their_prices(name: str, changes: dict[str, object], expected: str) -> None:
    usage = dataclasses.replace(ALL_KINDS, **changes)  # type: ignore[arg-type]
    assert cost(model(name), usage, on=DAY) == Decimal(expected)


def test_a_batch_is_half_of_a_geographys_price_and_pays_its_searches_in_full() -> None:
    usage = dataclasses.replace(ALL_KINDS, inference_geo="us", web_search_requests=100)
    assert cost(model("claude-opus-5-5"), usage, on=DAY, processing=BATCH) == Decimal("21.46")


def stepped() -> Model:
    """Opus 5.5 as if its fast rows, too, had a step at 100,000 tokens, at five times the price."""
    found = model("claude-opus-5-5")
    fast = next(row for row in found.prices if row.speed == "fast")
    over = dataclasses.replace(fast, over_prompt_tokens=100_000, input=fast.input * 5, output=fast.output * 5)
    return dataclasses.replace(found, prices=(*found.prices, over))


@pytest.mark.parametrize(
    ("tokens", "speed", "place", "expected"),
    [
        (100_000, "fast", "global", "0.8"),
        (100_001, "fast", "global", "4.00004"),
        (100_000, "fast", "us", "0.88"),
        (100_001, "fast", "us", "4.400044"),
        (100_001, "standard", "us", "0.4400044"),  # the step is the fast rows' only
    ],
)
def test_the_step_is_that_of_the_speeds_own_rows(tokens: int, speed: str, place: str, expected: str) -> None:
    usage = Usage(input_tokens=tokens, speed=speed, inference_geo=place)
    assert cost(stepped(), usage, on=DAY) == Decimal(expected)


@pytest.mark.parametrize(
    ("name", "usage", "processing", "says"),
    [
        ("claude-sonnet-5-5", Usage(1, speed="fast"), REALTIME, "no realtime, fast price for claude-sonnet-5-5"),
        ("claude-opus-5-5", Usage(1, speed="fast"), BATCH, "no batch, fast price for claude-opus-5-5"),
        ("claude-opus-5-5", Usage(1, speed="warp"), REALTIME, "no realtime, warp price"),
        ("claude-opus-5-5", Usage(1, inference_geo="eu"), REALTIME, "inference_geo 'eu'"),
        ("claude-haiku-4-5", Usage(1, inference_geo="us"), REALTIME, "inference_geo 'us'"),
    ],
)
def test_what_has_no_known_price_is_never_free(name: str, usage: Usage, processing: str, says: str) -> None:
    with pytest.raises(NoPrice, match=says):
        cost(model(name), usage, on=DAY, processing=processing)


def test_a_search_without_a_price_is_never_free() -> None:
    rows = tuple(dataclasses.replace(row, web_search=None) for row in model("claude-opus-5-5").prices)
    unpriced = dataclasses.replace(model("claude-opus-5-5"), prices=rows)
    with pytest.raises(NoPrice, match="no price for a web search with claude-opus-5-5"):
        cost(unpriced, Usage(1, web_search_requests=1), on=DAY)


def test_elsewhere_a_speed_or_place_that_is_not_offered_is_the_standard_one() -> None:
    usage = Usage(input_tokens=1_000_000, speed="fast", inference_geo="us", web_search_requests=1)
    assert cost_elsewhere(model("claude-opus-5-5"), usage, on=DAY) == Decimal("8.81")
    assert cost_elsewhere(model("claude-sonnet-5-5"), usage, on=DAY) == Decimal("2.21")
    assert cost_elsewhere(model("claude-haiku-4-5"), usage, on=DAY) == Decimal("1.01")


@pytest.mark.parametrize("name", FAST_MODELS)
def test_the_referee_agrees_on_fast_answers_with_searches(name: str) -> None:
    for usage in usages(SEED + 2, 20):
        fast = dataclasses.replace(usage, speed="fast", web_search_requests=usage.output_tokens % 7)
        theirs = calc_price(
            TheirUsage(
                input_tokens=fast.prompt_tokens,
                cache_read_tokens=fast.cache_read_input_tokens,
                cache_write_tokens=fast.cache_creation_5m_input_tokens + fast.cache_creation_1h_input_tokens,
                cache_write_1h_tokens=fast.cache_creation_1h_input_tokens,
                output_tokens=fast.output_tokens,
                web_searches=fast.web_search_requests,
            ),
            name,
            provider_id="anthropic",
            genai_request_timestamp=dt.datetime.combine(DAY, dt.time(12), dt.UTC),
            price_context={"speed": "fast"},
        )
        assert cost(model(name), fast, on=DAY) == theirs.total_price, fast


def test_only_the_models_that_genai_prices_has_a_fast_price_for_have_one() -> None:
    assert {name for name in catalogue().ids if any(row.speed == "fast" for row in model(name).prices)} == {
        *FAST_MODELS
    }


@pytest.mark.parametrize(
    ("amount", "shown"),
    [("0", "0"), ("0.000031", "0.000031"), ("1.50", "1.5"), ("1E+3", "1000"), ("0E-7", "0"), ("3.1E-7", "0.00000031")],
)
def test_dollars_are_shown_without_exponent_and_trailing_zeros(amount: str, shown: str) -> None:
    assert dollars(Decimal(amount)) == shown
