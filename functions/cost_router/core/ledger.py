"""Ledger entries: one for every upstream call that may have been billed, never changed once written.

What turns out to be wrong is not edited but reversed, as in any ledger: by an entry with the same figures, negative.
"""

import dataclasses
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from cost_router.core.pricing import REALTIME, TOKENS, Usage
from cost_router.core.terms import GLOBAL, STANDARD
from cost_router.core.words import Label, Tier

ANSWER: Final = "answer"
CLASSIFIER: Final = "classifier"
SPECULATIVE: Final = "speculative"  # begun before the label was known, and not used
JUDGE: Final = "judge"  # about an answer: whether it will do, or which of two is better
ACCOUNT: Final = "account"  # the scope that every entry counts for
# Flags.
AMBIGUOUS: Final = "ambiguous"  # no usage came back, so the upper bound is booked
ABANDONED: Final = "abandoned"  # whoever waited for the answer had gone
SWEPT: Final = "swept"  # whoever made the call never told what became of it
REVERSAL: Final = "reversal"  # takes back an entry that was swept too early
SHADOW: Final = "shadow"  # made for a candidate that only looks on (`core/shadowing.py`)


@dataclass(frozen=True, slots=True)
class Shadow:
    """What a candidate would have done with a request that it only looked at."""

    label: Label | None  # None where every label leads to the same model
    tier: Tier
    model: str
    cost_usd: Decimal | None = None  # the answer's own tokens at that model's prices; None without known tokens


@dataclass(frozen=True, slots=True)
class Entry:
    """One upstream call. Dollars are exact decimals; `baseline_usd` is what its answer would have cost on opus."""

    entry_id: str  # request id and number of the call: booking it twice is impossible
    at: dt.datetime  # UTC
    request_id: str
    upstream_request_id: str | None
    tenant: str
    tags: Mapping[str, str]
    label: Label | None
    cause: str
    tier: Tier
    model: str
    purpose: str
    usage: Usage
    cost_usd: Decimal
    baseline_usd: Decimal
    processing: str = REALTIME
    flags: tuple[str, ...] = ()
    asked: str = ""  # the model or tier that the caller named; `auto` when none
    reservation: str | None = None  # id of the money that was put aside for the call
    job: str | None = None  # "GROUP/CUSTOM_ID" of the job that it was made for
    arm: str | None = None  # "control" or "candidate", while there is a candidate
    cache_saved_usd: Decimal = Decimal(0)  # by a cache marker of the router's; below zero: written, not read yet
    shadow: Shadow | None = None  # of an answer that a candidate looked at

    @property
    def scopes(self) -> tuple[str, str]:
        """The counters that it counts for."""
        return ACCOUNT, f"tenant#{self.tenant}"

    @property
    def calls(self) -> int:
        """How many calls it stands for: one, or minus one when it takes an entry back."""
        return -1 if REVERSAL in self.flags else 1

    @property
    def day(self) -> str:
        """The UTC day that the call counts for, as `YYYY-MM-DD`."""
        return self.at.date().isoformat()


@dataclass(frozen=True, slots=True)
class Bill:
    """What one request cost: the sum of its entries."""

    cost_usd: Decimal = Decimal(0)
    classifier_cost_usd: Decimal = Decimal(0)
    baseline_usd: Decimal = Decimal(0)
    cache_saved_usd: Decimal = Decimal(0)  # by cache markers of the router's; not in `saved_usd`

    @property
    def saved_usd(self) -> Decimal:
        """Baseline less everything paid; negative when routing cost more than it saved."""
        return self.baseline_usd - self.cost_usd


@dataclass(slots=True)
class Trail:
    """The calls made for one request, in order, until they are booked."""

    entries: list[Entry] = field(default_factory=list)

    @property
    def bill(self) -> Bill:
        """The sum of what was paid so far."""
        return Bill(
            cost_usd=sum((entry.cost_usd for entry in self.entries), Decimal(0)),
            classifier_cost_usd=sum(
                (entry.cost_usd for entry in self.entries if entry.purpose == CLASSIFIER), Decimal(0)
            ),
            baseline_usd=sum((entry.baseline_usd for entry in self.entries), Decimal(0)),
            cache_saved_usd=sum((entry.cache_saved_usd for entry in self.entries), Decimal(0)),
        )


def usage_in(row: Mapping[str, Any]) -> Usage:
    """The usage in an entry that was read back; what it lacks is as usual."""
    return Usage(
        **{name: int(row[name]) for name in TOKENS},
        web_search_requests=int(row.get("web_search_requests", 0)),
        speed=row.get("speed", STANDARD),
        inference_geo=row.get("inference_geo", GLOBAL),
    )


def swept(lost: Entry) -> Entry:
    """What is booked for a reservation that nobody settled: all of it, for one ambiguous payment."""
    return dataclasses.replace(lost, entry_id=f"{lost.entry_id}#{SWEPT}", flags=(AMBIGUOUS, SWEPT))


def reversal(lost: Entry) -> Entry:
    """What takes `swept(lost)` back when whoever made the call settles after all."""
    return dataclasses.replace(
        lost, entry_id=f"{lost.entry_id}#{REVERSAL}", cost_usd=-lost.cost_usd, flags=(AMBIGUOUS, REVERSAL)
    )
