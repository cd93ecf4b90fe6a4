"""How far our ledger is from the provider's bill: what is explained, what is not, and what is unknown.

An entry flagged `ambiguous` is booked at the most that its call can have cost, and the call may not have been billed at
all. So what the provider bills for a line (a model with one processing) is right when it lies between what we booked
without such entries and what we booked with them, both ends included:

    difference  = booked + ambiguous - billed           ours less theirs
    unexplained = the distance from billed to the interval [booked, booked + ambiguous], with the difference's sign:
                  above zero when less was billed than the calls we are sure of, below zero when more was billed
                  than all of ours together
    explained   = difference - unexplained              what the ambiguous entries account for, never below zero

The drift of a day is the sum of the sizes of all lines' unexplained differences, so that one line's surplus never hides
another one's lack. Where the provider reports tokens without dollars nothing is called zero: such a line is unknown,
it is in no sum, and the day does not agree.
"""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

MICRO_DOLLAR: Final = Decimal("0.000001")  # a line that is off by less agrees: reports round their rows
ZERO: Final = Decimal(0)
A_DAY: Final = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Part:
    """One bucket of a line, without ambiguous entries. None where a side does not tell, or cannot be priced."""

    bucket: str
    our_tokens: int | None
    their_tokens: int | None
    our_usd: Decimal | None
    their_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class Line:
    """One model with one processing: what we booked for it, and what the provider billed."""

    model: str  # the catalogue's id, or the provider's name when the catalogue has none
    processing: str
    in_catalogue: bool
    calls: int  # booked, with known usage
    booked_usd: Decimal  # for those
    ambiguous_calls: int
    ambiguous_usd: Decimal  # upper bounds
    in_bill: bool  # whether the provider reports it at all; when not, it billed nothing
    billed_usd: Decimal | None  # None: it reports tokens but no dollars
    list_usd: Decimal | None  # what it billed, before discounts
    parts: tuple[Part, ...]

    @property
    def difference_usd(self) -> Decimal | None:
        """Ours, with upper bounds, less theirs; None when theirs is unknown."""
        return None if self.billed_usd is None else self.booked_usd + self.ambiguous_usd - self.billed_usd

    @property
    def unexplained_usd(self) -> Decimal | None:
        """The part of the difference that ambiguous entries cannot account for; None when theirs is unknown."""
        if self.billed_usd is None:
            return None
        return max(ZERO, self.booked_usd - self.billed_usd) + min(
            ZERO, self.booked_usd + self.ambiguous_usd - self.billed_usd
        )

    @property
    def explained_usd(self) -> Decimal | None:
        """The part of the difference that ambiguous entries account for; None when theirs is unknown."""
        if self.difference_usd is None or self.unexplained_usd is None:
            return None
        return self.difference_usd - self.unexplained_usd

    @property
    def agrees(self) -> bool:
        """Whether nothing is left unexplained, to the micro-dollar."""
        return self.unexplained_usd is not None and abs(self.unexplained_usd) < MICRO_DOLLAR


@dataclass(frozen=True, slots=True)
class Drift:
    """A day's lines, and how far our books are from the bill."""

    day: dt.date
    lines: tuple[Line, ...]
    refreshed_at: dt.datetime | None

    @property
    def drift_usd(self) -> Decimal:
        """The sum of the sizes of what is unexplained, in US dollars; lines that are `unknown` are not in it."""
        return sum((abs(line.unexplained_usd) for line in self.lines if line.unexplained_usd is not None), ZERO)

    @property
    def explained_usd(self) -> Decimal:
        """What ambiguous entries account for."""
        return sum((line.explained_usd for line in self.lines if line.explained_usd is not None), ZERO)

    @property
    def unknown(self) -> tuple[Line, ...]:
        """Lines for which the provider tells no dollars."""
        return tuple(line for line in self.lines if line.billed_usd is None)

    @property
    def agrees(self) -> bool:
        """Whether every line agrees: nothing is unexplained and nothing unknown."""
        return all(line.agrees for line in self.lines)

    @property
    def complete(self) -> bool | None:
        """Whether the provider's data reaches to the end of the day; None when it does not say."""
        end = dt.datetime.combine(self.day + A_DAY, dt.time(), dt.UTC)
        return None if self.refreshed_at is None else self.refreshed_at >= end
