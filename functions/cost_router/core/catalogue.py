"""What is known of each model, and which model serves each tier.

The data is `data/catalogue.json` (made at build time from genai-prices and the hand-kept capabilities) and
`data/lineups.json`. Prices are US dollars per million tokens.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from cost_router.core.errors import UnknownModel, quoted
from cost_router.core.words import AUTO, TIER_WORDS, Tier

TOKEN_PRICES: Final = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")


@dataclass(frozen=True, slots=True)
class PriceRow:
    """Prices from a day on, at one speed, for requests whose prompt is longer than `over_prompt_tokens`."""

    since: dt.date
    processing: str  # "realtime" or "batch"
    speed: str  # "standard" or "fast"
    over_prompt_tokens: int
    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write_5m: Decimal
    cache_write_1h: Decimal
    web_search: Decimal | None  # US dollars per 1,000 searches


@dataclass(frozen=True, slots=True)
class Discount:
    """What token prices are multiplied by from the UTC day `since` on; searches are not priced by model."""

    since: dt.date
    factor: Decimal


@dataclass(frozen=True, slots=True)
class Model:
    """One model: what it takes and what it costs."""

    id: str
    aliases: tuple[str, ...]  # dated names of the same model
    display_name: str
    released: dt.date
    retires_on: dt.date | None  # None while no retirement is scheduled
    tier: Tier
    context_window: int  # tokens
    max_output_tokens: int
    images: bool
    pdf: bool
    thinking: str  # "off", "default_on" or "always_on"
    thinking_types: tuple[str, ...]  # values of `thinking.type` that it takes
    quiet_up_to: str | None  # highest effort that `disabled` and `between_tools` go with; None: any
    efforts: tuple[str, ...]  # values of `output_config.effort`; empty: it has none
    sampling: bool  # whether it takes temperature, top_p and top_k from callers of version 2023-06-01
    forced_tool_choice: bool  # whether it takes `tool_choice` any and tool
    prefill: bool  # whether the last turn may be the beginning of the answer
    cache_minimum_tokens: int  # of a prefix; a shorter one is not cached, without an error
    tokenizer: str  # "2026" counts about 30 % more tokens than "2024" for the same text
    prices: tuple[PriceRow, ...]
    geographies: Mapping[str, Decimal]  # what `inference_geo` multiplies token prices by; empty: it is a 400

    @property
    def dearest_geography(self) -> Decimal:
        """The multiplier that no geography exceeds."""
        return max(self.geographies.values(), default=Decimal(1))


@dataclass(frozen=True, slots=True)
class Lineup:
    """Which model serves each tier, and which one labels."""

    name: str
    models: Mapping[Tier, Model]
    classifier: Model

    @property
    def baseline(self) -> Model:
        """The model that everything would have run on without the router."""
        return self.models[Tier.OPUS]


class Catalogue:
    """All models that a caller may name, by id and by dated alias.

    discounts: the content of `data/discounts.json`, if the deployment has any; then all prices are the customer's.
    """

    def __init__(self, data: Mapping[str, Any], discounts: Mapping[str, Any] | None = None) -> None:
        agreed = {id_: _discount(row) for id_, row in (discounts or {}).items()}
        self._models = {id_: _model(id_, row, agreed.get(id_)) for id_, row in data["models"].items()}
        self._by_name: dict[str, Model] = dict(self._models)
        for id_, row in data["models"].items():
            self._by_name.update(dict.fromkeys(row["aliases"], self._models[id_]))

    @property
    def ids(self) -> tuple[str, ...]:
        """Model ids, without their aliases."""
        return tuple(self._models)

    def model(self, name: str) -> Model:
        """The model called `name`; raises `UnknownModel` with everything that is accepted."""
        try:
            return self._by_name[name]
        except KeyError:
            accepted = ", ".join((AUTO, *TIER_WORDS, *self._models))
            raise UnknownModel(f"model: {quoted(name)} is not known here; accepted: {accepted}") from None

    def lineup(self, name: str, data: Mapping[str, Any]) -> Lineup:
        """The lineup called `name` in the content of `data/lineups.json`; raises `ValueError` when there is none."""
        if name not in data:
            raise ValueError(f"lineup {name!r} is not known; accepted: {', '.join(data)}")
        row = data[name]
        return Lineup(
            name=name,
            models={tier: self.model(row[tier.word]) for tier in Tier},
            classifier=self.model(row["classifier"]),
        )


def _model(id_: str, row: Mapping[str, Any], discount: Discount | None) -> Model:
    prices = tuple(_price_row(price) for price in row["prices"])
    return Model(
        id=id_,
        aliases=tuple(row["aliases"]),
        display_name=row["display_name"],
        released=dt.date.fromisoformat(row["released"]),
        retires_on=dt.date.fromisoformat(row["retires_on"]) if "retires_on" in row else None,
        tier=Tier.parse(row["tier"]),
        context_window=row["context_window"],
        max_output_tokens=row["max_output_tokens"],
        images=row["images"],
        pdf=row["pdf"],
        thinking=row["thinking"],
        thinking_types=tuple(row["thinking_types"]),
        quiet_up_to=row["quiet_up_to"],
        efforts=tuple(row["efforts"]),
        sampling=row["sampling"],
        forced_tool_choice=row["forced_tool_choice"],
        prefill=row["prefill"],
        cache_minimum_tokens=row["cache_minimum_tokens"],
        tokenizer=row["tokenizer"],
        prices=_discounted(prices, discount) if discount else prices,
        geographies={name: Decimal(factor) for name, factor in row["geographies"].items()},
    )


def _price_row(row: Mapping[str, Any]) -> PriceRow:
    return PriceRow(
        since=dt.date.fromisoformat(row["from"]),
        processing=row["processing"],
        speed=row["speed"],
        over_prompt_tokens=row["over_prompt_tokens"],
        input=Decimal(row["input"]),
        output=Decimal(row["output"]),
        cache_read=Decimal(row["cache_read"]),
        cache_write_5m=Decimal(row["cache_write_5m"]),
        cache_write_1h=Decimal(row["cache_write_1h"]),
        web_search=Decimal(row["web_search"]) if "web_search" in row else None,
    )


def _discount(row: Mapping[str, str]) -> Discount:
    return Discount(dt.date.fromisoformat(row["from"]), 1 - Decimal(row["percent"]) / 100)


def _discounted(prices: tuple[PriceRow, ...], discount: Discount) -> tuple[PriceRow, ...]:
    """The rows before the discount's first day as they are, then those in force from it on, reduced."""
    found = []
    for row in prices:
        alike = [other.since for other in prices if (other.processing, other.speed) == (row.processing, row.speed)]
        ends = min((since for since in alike if since > row.since), default=None)
        if row.since < discount.since:
            found.append(row)
        if ends is None or ends > discount.since:
            found.append(_reduced(row, discount))
    return tuple(found)


def _reduced(row: PriceRow, discount: Discount) -> PriceRow:
    return replace(
        row,
        since=max(row.since, discount.since),
        **{name: getattr(row, name) * discount.factor for name in TOKEN_PRICES},
    )
