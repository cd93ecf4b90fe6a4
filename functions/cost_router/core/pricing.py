"""Dollars for tokens, exactly: `Decimal` throughout, nothing rounded, nothing guessed.

Rules (genai-prices 0.2.3; platform.claude.com/docs/en/about-claude/pricing):
- every input token is in one bucket: uncached input, cache read, 5-minute cache write, 1-hour cache write;
- where a model has a long-context step, a prompt longer than the step prices the whole request, output too, at the
  step's row; the prompt's length counts every input bucket;
- the row in force is the latest one of the call's processing and speed that began on or before the day of the call;
- a geography multiplies all token prices, on top of speed, step and batch;
- a search on the web has a price of its own, the same at any speed, anywhere and in batches.
"""

import datetime as dt
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from cost_router.core.catalogue import Model, PriceRow
from cost_router.core.errors import NoPrice
from cost_router.core.terms import FIVE_MINUTES, GLOBAL, STANDARD, Terms

MILLION: Final = Decimal(1_000_000)
THOUSAND: Final = Decimal(1_000)
SEARCH_ROUNDS: Final = 10  # the API's default limit of samplings in one request; then it answers `pause_turn`
REALTIME: Final = "realtime"
BATCH: Final = "batch"
TOKENS: Final = (
    "input_tokens",
    "cache_read_input_tokens",
    "cache_creation_5m_input_tokens",
    "cache_creation_1h_input_tokens",
    "output_tokens",
)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, each in exactly one bucket, and what else its price depends on."""

    input_tokens: int = 0  # uncached input
    cache_read_input_tokens: int = 0
    cache_creation_5m_input_tokens: int = 0
    cache_creation_1h_input_tokens: int = 0
    output_tokens: int = 0
    web_search_requests: int = 0
    speed: str = STANDARD
    inference_geo: str = GLOBAL

    @property
    def prompt_tokens(self) -> int:
        """All input, cached or not."""
        return (
            self.input_tokens
            + self.cache_read_input_tokens
            + self.cache_creation_5m_input_tokens
            + self.cache_creation_1h_input_tokens
        )


def cost(model: Model, usage: Usage, *, on: dt.date, processing: str = REALTIME) -> Decimal:
    """US dollars that `usage` costs on `model` on the UTC day `on`; raises `NoPrice`."""
    row = price_row(model, usage.prompt_tokens, on=on, processing=processing, speed=usage.speed)
    return _tokens(row, usage) * _geography(model, usage.inference_geo) + _searches(model, row, usage)


def cost_elsewhere(model: Model, usage: Usage, *, on: dt.date, processing: str = REALTIME) -> Decimal:
    """What the usage of another model's answer would cost on `model`: a baseline, a what-if; raises `NoPrice`.

    A speed or geography that `model` has no price for is taken to be the standard one: it would not have served it.
    """
    speed = usage.speed if any(row.speed == usage.speed for row in model.prices) else STANDARD
    place = usage.inference_geo if usage.inference_geo in model.geographies else GLOBAL
    return cost(model, replace(usage, speed=speed, inference_geo=place), on=on, processing=processing)


def cache_saved(model: Model, usage: Usage, *, on: dt.date) -> Decimal:
    """US dollars that the prompt cache saved: what the same tokens cost without it less what they cost.

    Negative for a write that nothing has read yet. Raises `NoPrice`.
    """
    plain = replace(
        usage,
        input_tokens=usage.prompt_tokens,
        cache_read_input_tokens=0,
        cache_creation_5m_input_tokens=0,
        cache_creation_1h_input_tokens=0,
    )
    return cost(model, plain, on=on) - cost(model, usage, on=on)


def upper_bound(  # noqa: PLR0913  all that a bound rests on
    model: Model,
    *,
    prompt_tokens: int,
    max_tokens: int,
    on: dt.date,
    processing: str = REALTIME,
    terms: Terms = Terms(),  # noqa: B008  frozen
) -> Decimal:
    """The most that a call can cost before it is made, in US dollars; raises `NoPrice`.

    prompt_tokens: a number that the prompt cannot exceed. All of them fall into the dearest input bucket that the
    request's cache markers can fill. Without a geography the workspace's default holds, which is not known: the dearest
    is taken. A request that may search samples up to ten times, each time with `max_tokens`; what it reads anew then
    comes from the cache, and nine such reads and a 5-minute write cost about what one 1-hour write of the whole prompt
    does. The same bound is booked when a call may have been paid for but no usage came back.
    """
    row = price_row(model, prompt_tokens, on=on, processing=processing, speed=terms.speed)
    prompt = prompt_tokens * _dearest_input(row, terms) / MILLION
    usage = Usage(
        output_tokens=max_tokens * (SEARCH_ROUNDS if terms.web_searches else 1),
        web_search_requests=terms.web_searches,
    )
    place = terms.inference_geo
    factor = _geography(model, place) if place else model.dearest_geography
    return (prompt + _tokens(row, usage)) * factor + _searches(model, row, usage)


def expected(terms: Terms, input_tokens: int, output_tokens: int) -> Usage:
    """The usage of a request that gets what it asks for and does all the searches that it may."""
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        web_search_requests=terms.web_searches,
        speed=terms.speed,
        inference_geo=terms.inference_geo or GLOBAL,
    )


def price_row(
    model: Model, prompt_tokens: int, *, on: dt.date, processing: str = REALTIME, speed: str = STANDARD
) -> PriceRow:
    """The row that prices a prompt of this length on that day; raises `NoPrice`."""
    in_force = [row for row in model.prices if row.processing == processing and row.speed == speed and row.since <= on]
    if not in_force:
        what = processing if speed == STANDARD else f"{processing}, {speed}"
        raise NoPrice(f"no {what} price for {model.id} on {on.isoformat()} in the catalogue")
    latest = max(row.since for row in in_force)
    steps = [
        row
        for row in in_force
        if row.since == latest and (prompt_tokens > row.over_prompt_tokens or row.over_prompt_tokens == 0)
    ]
    return max(steps, key=lambda row: row.over_prompt_tokens)


def _tokens(row: PriceRow, usage: Usage) -> Decimal:
    return (
        usage.input_tokens * row.input
        + usage.cache_read_input_tokens * row.cache_read
        + usage.cache_creation_5m_input_tokens * row.cache_write_5m
        + usage.cache_creation_1h_input_tokens * row.cache_write_1h
        + usage.output_tokens * row.output
    ) / MILLION


def _dearest_input(row: PriceRow, terms: Terms) -> Decimal:
    """The price of a million tokens in the dearest bucket that the prompt's can fall into."""
    if terms.web_searches or terms.cached_for not in {None, FIVE_MINUTES}:
        return max(row.input, row.cache_write_5m, row.cache_write_1h)
    return row.input if terms.cached_for is None else max(row.input, row.cache_write_5m)


def _geography(model: Model, place: str) -> Decimal:
    """What the place of inference multiplies token prices by; `global` is the price itself."""
    if place == GLOBAL:
        return Decimal(1)
    if place not in model.geographies:
        raise NoPrice(f"no price for {model.id} with inference_geo {place!r} in the catalogue")
    return model.geographies[place]


def _searches(model: Model, row: PriceRow, usage: Usage) -> Decimal:
    if not usage.web_search_requests:
        return Decimal(0)
    if row.web_search is None:
        raise NoPrice(f"no price for a web search with {model.id} in the catalogue")
    return usage.web_search_requests * row.web_search / THOUSAND


def dollars(amount: Decimal) -> str:
    """A decimal string without exponent and without trailing zeros, as headers, results and reports show it."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
