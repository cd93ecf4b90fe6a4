"""What the provider says that a day cost: the rows of its usage and cost report, in our words."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from cost_router.core.pricing import Usage

# A bucket of the catalogue's price rows -> the field of `Usage` that counts its tokens.
BUCKETS: Final[Mapping[str, str]] = {
    "input": "input_tokens",
    "cache_read": "cache_read_input_tokens",
    "cache_write_5m": "cache_creation_5m_input_tokens",
    "cache_write_1h": "cache_creation_1h_input_tokens",
    "output": "output_tokens",
}
OTHER: Final = "other"  # dollars that are no tokens' price: server tools; what a booked cost has beyond its tokens
NO_MODEL: Final = "(no model)"


@dataclass(frozen=True, slots=True)
class Billed:
    """One row of the report: what all calls of a day to one model, with one processing, came to."""

    model: str  # as the provider names it: an id or a dated snapshot; `NO_MODEL` when it names none
    processing: str  # "realtime", "batch", or the provider's name of another service tier
    usage: Usage | None  # None: costs were reported, but no tokens
    usd: Mapping[str, Decimal] | None  # by bucket or `OTHER`, after discounts; None: tokens, but no costs
    list_usd: Decimal | None = None  # all of it, before discounts


@dataclass(frozen=True, slots=True)
class Statement:
    """All rows of a day."""

    rows: tuple[Billed, ...]
    refreshed_at: dt.datetime | None = None  # the provider's data is whole up to then; None: it does not say
