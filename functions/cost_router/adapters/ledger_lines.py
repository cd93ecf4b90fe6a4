"""Money of many batch lines at once: as few transactions as DynamoDB allows, of 100 parts each.

Each line's entry and reservation are written once whatever company they are in (`DynamoLedger` sees to that), so the
same lines may come again in another order after a crash.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cost_router.adapters import ledger_items as items
from cost_router.adapters.ledger import DynamoLedger
from cost_router.core.batch_ports import Settled
from cost_router.core.budget import Period, Reservation
from cost_router.core.errors import BudgetExhausted

MOST_PARTS: Final = 100  # of a transaction
TOGETHER: Final = 80  # reservations; their counters are at most five


@dataclass(frozen=True, slots=True)
class DynamoLines:
    """A `LineLedger` in DynamoDB."""

    ledger: DynamoLedger

    async def put_aside(self, reservations: Sequence[Reservation]) -> set[str]:
        """Put money aside for each as long as its budgets last, the first ones first; gives the ids of those covered.

        Raises `StoreError`.
        """
        covered: set[str] = set()
        for group in _of_same_scopes(reservations):
            for start in range(0, len(group), TOGETHER):
                rows = group[start : start + TOGETHER]
                fitting = await self._reserve(rows)
                covered.update(row.id for row in rows[:fitting])
                if fitting < len(rows):
                    break
        return covered

    async def settle(self, settled: Sequence[Settled]) -> None:
        """Book what each line cost, if it cost anything, and give back what was put aside for it; each once."""
        for part in transactions(settled):
            entries = [row.entry for row in part if row.entry]
            await self.ledger.book(entries, [row.reservation for row in part])

    async def _reserve(self, rows: Sequence[Reservation]) -> int:
        """How many of the rows, from the first on, are covered."""
        try:
            await self.ledger.reserve_together(rows)
        except BudgetExhausted:
            if len(rows) == 1:
                return 0
        else:
            return len(rows)
        for place, row in enumerate(rows):  # close to a limit: one by one, as far as it goes
            if not await self._reserve([row]):
                return place
        return len(rows)


def transactions(settled: Iterable[Settled]) -> Iterator[list[Settled]]:
    """Parts of `settled` that fit into a transaction, with the counters they move; each part of one session."""
    by_session: defaultdict[tuple[str, ...], list[Settled]] = defaultdict(list)
    for row in settled:
        by_session[tuple(scope.key for scope in items.sessions_of([row.reservation]))].append(row)
    for rows in by_session.values():
        part: list[Settled] = []
        parts, counters = 0, set[items.Address]()
        for row in rows:
            own = 1 + bool(row.entry)
            # What a swept reservation may add: its reversal. It moves the counters that are there already.
            spare = 1
            moved = counters | _counters(row)
            if part and parts + own + spare + len(moved) > MOST_PARTS:
                yield part
                part, parts, moved = [], 0, _counters(row)
            part.append(row)
            parts, counters = parts + own + spare, moved
        if part:
            yield part


def _counters(row: Settled) -> set[items.Address]:
    """The counters that a line moves, also when it turns out that its reservation was swept."""
    sessions = items.sessions_of([row.reservation])
    return set(items.sums([row.entry or row.reservation.if_lost], [row.reservation], sessions))


def _of_same_scopes(reservations: Iterable[Reservation]) -> list[list[Reservation]]:
    """In order, those together that move the same counters."""
    found: defaultdict[tuple[object, ...], list[Reservation]] = defaultdict(list)
    for row in reservations:
        found[(row.scopes, *(period.of(row.at) for period in Period))].append(row)
    return list(found.values())
