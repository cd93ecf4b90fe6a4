"""Budgets: what a UTC day may cost, for the whole account and for a tenant, and what happens on the way there.

The ladder of DESIGN section 7 looks at what is spent: from 80 % of a budget on nothing above sonnet is called, from
95 % on haiku only, at 100 % nothing. Admission looks at what is committed, that is spent or put aside: a call is made
only when its upper bound has been put aside under every budget it counts for, so that requests at the same moment
cannot overrun one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from cost_router.core.errors import BudgetExhausted
from cost_router.core.policy import Bound
from cost_router.core.pricing import dollars
from cost_router.core.words import Tier

ACCOUNT: Final = "account"
STEPS: Final = ((Decimal("0.95"), Tier.HAIKU), (Decimal("0.80"), Tier.SONNET))  # share of a budget -> ceiling, in order


@dataclass(frozen=True, slots=True)
class Scope:
    """Something that has a counter, and a budget if `limit_usd` is given."""

    key: str  # `account` or `tenant#NAME`, as the ledger's counters are called
    limit_usd: Decimal | None

    @property
    def kind(self) -> str:
        """`account` or `tenant`."""
        return self.key.partition("#")[0]

    @property
    def rule(self) -> str:
        """The name of the rule that refuses."""
        return f"budget:{self.kind}-daily"


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a scope has come today, in US dollars."""

    scope: Scope
    spent_usd: Decimal  # booked
    committed_usd: Decimal  # booked or put aside

    @property
    def remaining_usd(self) -> Decimal | None:
        """What is left of the budget, never below zero; None without one."""
        limit = self.scope.limit_usd
        return None if limit is None else max(Decimal(0), limit - self.spent_usd)


@dataclass(frozen=True, slots=True)
class Reservation:
    """Money put aside before a call, under every scope that has a budget."""

    id: str  # request id and number: putting the same aside twice is impossible
    day: str  # UTC, `YYYY-MM-DD`
    amount_usd: Decimal
    scopes: tuple[Scope, ...]


def ceilings(standings: Iterable[Standing]) -> Iterable[Bound]:
    """The ceilings that the ladder sets."""
    for standing in standings:
        limit = standing.scope.limit_usd
        if limit is None:
            continue
        for share, tier in STEPS:
            if standing.spent_usd >= share * limit:
                yield Bound(tier, f"budget:{standing.scope.kind}-{share * 100:.0f}")
                break


def check_not_spent(standings: Sequence[Standing]) -> None:
    """Raise `BudgetExhausted` when a budget is spent: no call could be covered."""
    for standing in standings:
        limit = standing.scope.limit_usd
        if limit is not None and standing.spent_usd >= limit:
            raise refusal(standing.scope)


def refusal(scope: Scope) -> BudgetExhausted:
    """The refusal under a scope's budget."""
    limit = "no budget" if scope.limit_usd is None else f"${dollars(scope.limit_usd)}"
    return BudgetExhausted(
        scope.rule,
        f"{scope.rule}: what is left of the {scope.kind}'s daily budget of {limit} does not cover the most that this "
        "request can cost; it starts anew at midnight UTC",
    )


def remaining(standings: Iterable[Standing]) -> Decimal | None:
    """What is left under the tightest budget; None without any."""
    left = [standing.remaining_usd for standing in standings if standing.remaining_usd is not None]
    return min(left, default=None)
