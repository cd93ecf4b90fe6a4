"""What wrong tiers cost: requests answered on too small a tier, and dollars spent on too large a one. Pure."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from cost_router.core import pricing
from cost_router.core.catalogue import Lineup
from cost_router.core.pricing import THOUSAND
from cost_router.core.words import Tier
from infra.operate.accuracy import Share, share
from infra.operate.labelled import Item

OUTPUT_TOKENS: Final = 300  # of an answer, where nothing is known of it
MILLIONTH: Final = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request went, and where it belongs. costs: of its answer on each tier, in US dollars."""

    right: Tier
    routed: Tier
    costs: Mapping[Tier, Decimal]
    weight: Decimal = Decimal(1)

    @property
    def extra_usd(self) -> Decimal:
        """What the answer costs more than on the right tier; below zero on a smaller one."""
        return self.costs[self.routed] - self.costs[self.right]


@dataclass(frozen=True, slots=True)
class Misrouting:
    """What a way to route gets wrong; all dollars are per 1,000 requests of the traffic."""

    under: Share  # answered on too small a tier: the answer may be worse
    tiers_under: float  # how many tiers too small these were, on average
    over: Share  # answered on too large a tier: money for nothing
    wasted_usd: Decimal  # by those
    withheld_usd: Decimal  # what the right tier of the under-routed ones costs more
    answers_usd: Decimal  # of all answers as they were routed
    right_usd: Decimal  # of all answers on the right tiers

    @property
    def error_usd(self) -> Decimal:
        """Dollars on the wrong tier, in both directions."""
        return self.wasted_usd + self.withheld_usd

    def json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        dollars = ("wasted_usd", "withheld_usd", "error_usd", "answers_usd", "right_usd")
        return {
            "under_routed": self.under.json(),
            "tiers_under": round(self.tiers_under, 3),
            "over_routed": self.over.json(),
            **{f"{name}_per_1000": _plain(getattr(self, name)) for name in dollars},
        }


def misrouting(routes: Sequence[Route]) -> Misrouting | None:
    """What is wrong about routes, None of nothing."""
    under = share((route.routed < route.right, route.weight) for route in routes)
    over = share((route.routed > route.right, route.weight) for route in routes)
    if under is None or over is None:
        return None
    small = [route for route in routes if route.routed < route.right]
    large = [route for route in routes if route.routed > route.right]
    weight = sum(route.weight for route in routes)

    def per_1000(amounts: Sequence[tuple[Decimal, Decimal]]) -> Decimal:
        return sum((amount * part for amount, part in amounts), Decimal(0)) / weight * THOUSAND

    steps = sum((route.weight * (route.right - route.routed) for route in small), Decimal(0))
    return Misrouting(
        under=under,
        tiers_under=float(steps / sum(route.weight for route in small)) if small else 0.0,  # tiers
        over=over,
        wasted_usd=per_1000([(route.extra_usd, route.weight) for route in large]),
        withheld_usd=per_1000([(-route.extra_usd, route.weight) for route in small]),
        answers_usd=per_1000([(route.costs[route.routed], route.weight) for route in routes]),
        right_usd=per_1000([(route.costs[route.right], route.weight) for route in routes]),
    )


def answer_costs(item: Item, lineup: Lineup, on: dt.date, output_tokens: int) -> dict[Tier, Decimal]:
    """What the answer to a request is estimated to cost on each tier, in US dollars; raises `NoPrice`.

    It has `output_tokens` tokens, or its `max_tokens` where those are fewer; nothing comes from a cache.
    """
    found = {}
    for tier, model in lineup.models.items():
        tokens = item.ask.estimated_tokens(model.tokenizer)
        usage = pricing.expected(item.ask.terms, tokens, min(item.max_tokens, output_tokens))
        found[tier] = pricing.cost_elsewhere(model, usage, on=on)
    return found


def _plain(amount: Decimal) -> str:
    return pricing.dollars(amount.quantize(MILLIONTH))
