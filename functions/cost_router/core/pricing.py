"""Dollars for tokens, exactly: `Decimal` throughout, nothing rounded, nothing guessed.

Rules (genai-prices 0.2.3; platform.claude.com/docs/en/about-claude/pricing):
- every input token is in one bucket: uncached input, cache read, 5-minute cache write, 1-hour cache write;
- where a model has a long-context step, a prompt longer than the step prices the whole request, output too, at the
  step's row; the prompt's length counts every input bucket;
- the row in force is the latest one that began on or before the day of the call.
"""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from cost_router.core.catalogue import Model, PriceRow
from cost_router.core.errors import NoPrice

MILLION: Final = Decimal(1_000_000)
REALTIME: Final = "realtime"
BATCH: Final = "batch"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, each in exactly one bucket."""

    input_tokens: int = 0  # uncached input
    cache_read_input_tokens: int = 0
    cache_creation_5m_input_tokens: int = 0
    cache_creation_1h_input_tokens: int = 0
    output_tokens: int = 0

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
    row = price_row(model, usage.prompt_tokens, on=on, processing=processing)
    return (
        usage.input_tokens * row.input
        + usage.cache_read_input_tokens * row.cache_read
        + usage.cache_creation_5m_input_tokens * row.cache_write_5m
        + usage.cache_creation_1h_input_tokens * row.cache_write_1h
        + usage.output_tokens * row.output
    ) / MILLION


def upper_bound(
    model: Model, *, prompt_tokens: int, max_tokens: int, on: dt.date, processing: str = REALTIME
) -> Decimal:
    """The most that a call can cost before it is made, in US dollars.

    prompt_tokens: a number that the prompt cannot exceed. The dearest input bucket is a 1-hour cache write. The same
    bound is booked when a call may have been paid for but no usage came back.
    """
    usage = Usage(cache_creation_1h_input_tokens=prompt_tokens, output_tokens=max_tokens)
    return cost(model, usage, on=on, processing=processing)


def price_row(model: Model, prompt_tokens: int, *, on: dt.date, processing: str = REALTIME) -> PriceRow:
    """The row that prices a prompt of this length on that day; raises `NoPrice`."""
    in_force = [row for row in model.prices if row.processing == processing and row.since <= on]
    if not in_force:
        raise NoPrice(f"no {processing} price for {model.id} on {on.isoformat()} in the catalogue")
    latest = max(row.since for row in in_force)
    steps = [
        row
        for row in in_force
        if row.since == latest and (prompt_tokens > row.over_prompt_tokens or row.over_prompt_tokens == 0)
    ]
    return max(steps, key=lambda row: row.over_prompt_tokens)


def dollars(amount: Decimal) -> str:
    """A decimal string without exponent and without trailing zeros, as headers, results and reports show it."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
