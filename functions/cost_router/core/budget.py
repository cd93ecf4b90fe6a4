"""Budgets: what a UTC day or month may cost, for the account, a tenant or a session, and what happens on the way there.

The ladder of DESIGN section 7 looks at what is spent: from 80 % of a budget on nothing above sonnet is called, from
95 % on haiku only, at 100 % nothing. Admission looks at what is committed, that is spent or put aside: a call is made
only when its upper bound has been put aside under every budget it counts for, so that requests at the same moment
cannot overrun one.
"""

import datetime as dt
import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from cost_router.core.errors import BudgetExhausted, PaceExceeded
from cost_router.core.ledger import ACCOUNT, Entry
from cost_router.core.policy import Bound
from cost_router.core.pricing import dollars
from cost_router.core.words import Tier

AMPLE: Final = 10  # times over that a budget must have room for what is put aside in one, before the label is known


class Period(enum.StrEnum):
    """How long a budget lasts, in UTC."""

    DAY = "daily"
    MONTH = "monthly"

    def of(self, at: dt.datetime) -> str:
        """The day or month that a moment belongs to: `2026-11-24`, `2026-11`."""
        return at.date().isoformat() if self is Period.DAY else f"{at.date():%Y-%m}"


ALERT_STEPS: Final = (50, 80, 100)  # percent of a budget
RENEWAL: Final = {Period.DAY: "at midnight UTC", Period.MONTH: "on the first of the month, UTC"}
STEP_WORD: Final = {Period.DAY: "", Period.MONTH: "month-"}


@dataclass(frozen=True, slots=True)
class Ladder:
    """From which share of a budget on which tier is the highest."""

    sonnet: Decimal = Decimal("0.80")
    haiku: Decimal = Decimal("0.95")

    @property
    def steps(self) -> tuple[tuple[Decimal, Tier], ...]:
        """Share and ceiling, the highest share first."""
        return (self.haiku, Tier.HAIKU), (self.sonnet, Tier.SONNET)


@dataclass(frozen=True, slots=True)
class Limits:
    """What somebody may spend; None where nothing is set. Dollars are US dollars."""

    daily_usd: Decimal | None = None
    monthly_usd: Decimal | None = None
    session_usd: Decimal | None = None  # of one session in a UTC day
    session_per_minute: int | None = None  # requests of one session in a minute of the clock


@dataclass(frozen=True, slots=True)
class Scope:
    """Something that has a counter, and a budget if `limit_usd` is given."""

    key: str  # `account`, `tenant#NAME` or `session#TENANT/SESSION`, as the ledger's counters are called
    limit_usd: Decimal | None
    period: Period = Period.DAY

    @property
    def kind(self) -> str:
        """`account`, `tenant` or `session`."""
        return self.key.partition("#")[0]

    @property
    def rule(self) -> str:
        """The name of the rule that refuses."""
        return f"budget:{self.kind}-{self.period}"


@dataclass(frozen=True, slots=True)
class Pace:
    """How many requests something may make in a minute of the clock."""

    key: str
    per_minute: int

    @property
    def rule(self) -> str:
        """The name of the rule that refuses."""
        return "pace:session"


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a scope has come in its period, in US dollars."""

    scope: Scope
    spent_usd: Decimal  # booked
    committed_usd: Decimal  # booked or put aside

    @property
    def remaining_usd(self) -> Decimal | None:
        """What is left of the budget, never below zero; None without one."""
        limit = self.scope.limit_usd
        return None if limit is None else max(Decimal(0), limit - self.spent_usd)

    @property
    def room_usd(self) -> Decimal | None:
        """What could still be put aside; None without a budget."""
        limit = self.scope.limit_usd
        return None if limit is None else limit - self.committed_usd

    def has_ample_room(self, amount: Decimal) -> bool:
        """Whether the budget could hold `amount` several times over."""
        return self.room_usd is None or self.room_usd >= AMPLE * amount


@dataclass(frozen=True, slots=True)
class Reservation:
    """Money put aside before a call, under every scope that has a budget."""

    id: str  # request id and number: putting the same aside twice is impossible
    amount_usd: Decimal
    scopes: tuple[Scope, ...]
    until: dt.datetime  # UTC; nobody works on the request after that
    if_lost: Entry  # what is booked when nobody settles it by then
    pace: Pace | None = None

    @property
    def at(self) -> dt.datetime:
        """When it was put aside; its day and month are those of its counters."""
        return self.if_lost.at


@dataclass(frozen=True, slots=True)
class Alert:
    """A step that a budget has reached in one day or month."""

    scope: Scope
    step: int  # percent
    period: str  # the day or month, as `2026-11-24` or `2026-11`
    spent_usd: Decimal

    @property
    def subject(self) -> str:
        """One line."""
        kind, _, name = self.scope.key.partition("#")
        return f"{f'{kind} {name}' if name else kind} has reached {self.step} % of its {self.scope.period} budget"

    @property
    def message(self) -> str:
        """What an operator wants to know."""
        limit = dollars(self.scope.limit_usd or Decimal(0))
        return f"{self.subject}: ${dollars(self.spent_usd)} of ${limit} are spent in {self.period} (UTC)."


def alerts(standing: Standing, at: dt.datetime) -> list[Alert]:
    """The steps that a budget has reached."""
    limit, period = standing.scope.limit_usd, standing.scope.period.of(at)
    if limit is None:
        return []
    reached = [step for step in ALERT_STEPS if standing.spent_usd * 100 >= step * limit]
    return [Alert(standing.scope, step, period, standing.spent_usd) for step in reached]


def scopes(tenant: str, own: Limits, account: Limits, session: str | None) -> tuple[Scope, ...]:
    """The scopes of a request that have a budget."""
    found = [
        Scope(ACCOUNT, account.daily_usd),
        Scope(ACCOUNT, account.monthly_usd, Period.MONTH),
        Scope(f"tenant#{tenant}", own.daily_usd),
        Scope(f"tenant#{tenant}", own.monthly_usd, Period.MONTH),
    ]
    if session:
        found.append(Scope(_session(tenant, session), own.session_usd or account.session_usd))
    return tuple(scope for scope in found if scope.limit_usd is not None)


def pace(tenant: str, own: Limits, account: Limits, session: str | None) -> Pace | None:
    """The pace that a request's session has to keep, if there is one."""
    per_minute = own.session_per_minute or account.session_per_minute
    return Pace(_session(tenant, session), per_minute) if session and per_minute else None


def ceilings(standings: Iterable[Standing], ladder: Ladder) -> Iterable[Bound]:
    """The ceilings that the ladder sets."""
    for standing in standings:
        scope = standing.scope
        if scope.limit_usd is None:
            continue
        for share, tier in ladder.steps:
            if standing.spent_usd >= share * scope.limit_usd:
                yield Bound(tier, f"budget:{scope.kind}-{STEP_WORD[scope.period]}{dollars(share * 100)}")
                break


def is_budget(bound: Bound) -> bool:
    """Whether a budget set the bound."""
    return bound.rule.startswith("budget:")


def check_not_spent(standings: Sequence[Standing]) -> None:
    """Raise `BudgetExhausted` when a budget is spent: no call could be covered."""
    for standing in standings:
        limit = standing.scope.limit_usd
        if limit is not None and standing.spent_usd >= limit:
            raise refusal(standing.scope)


def refusal(scope: Scope, amount: Decimal | None = None) -> BudgetExhausted:
    """The refusal under a scope's budget; amount: what would have had to be covered, when that is known."""
    limit = "no budget" if scope.limit_usd is None else f"${dollars(scope.limit_usd)}"
    most = "" if amount is None else f", ${dollars(amount)}; a smaller max_tokens or a lower tier needs less"
    return BudgetExhausted(
        scope.rule,
        f"{scope.rule}: what is left of the {scope.kind}'s {scope.period} budget of {limit} does not cover the most "
        f"that this request can cost{most}; it starts anew {RENEWAL[scope.period]}",
    )


def too_fast(pace: Pace, at: dt.datetime) -> PaceExceeded:
    """The refusal of a session that makes more requests than its pace allows."""
    return PaceExceeded(
        pace.rule,
        f"{pace.rule}: this session has made its {pace.per_minute} requests of this minute; a run-away loop is stopped "
        "here",
        retry_after=60 - at.second,
    )


def remaining(standings: Iterable[Standing], more: Decimal = Decimal(0)) -> Decimal | None:
    """What is left under the tightest budget once `more` has been spent too, never below zero; None without any."""
    left = [standing.remaining_usd for standing in standings if standing.remaining_usd is not None]
    return max(Decimal(0), min(left) - more) if left else None


def _session(tenant: str, session: str | None) -> str:
    return f"session#{tenant}/{session}"
