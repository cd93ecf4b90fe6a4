"""What is looked after between requests: lost reservations, gauges, alerts on tenants' budgets, the exported ledger."""

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from cost_router.core import budget
from cost_router.core.budget import Limits, Period, Scope
from cost_router.core.catalogue import Catalogue
from cost_router.core.errors import NotConfigured, StoreError
from cost_router.core.ledger import ACCOUNT
from cost_router.core.ports import (
    Alerts,
    Clock,
    Exports,
    Ledger,
    LedgerReader,
    Policies,
    ProviderBill,
    Reservations,
    Telemetry,
)
from cost_router.core.reconcile import reconcile_day
from cost_router.core.record import Collected

# How long after midnight a day's entries may still come: a batch line bears the day on which it was submitted, and is
# settled, or swept, within the 29 hours of its lease.
LATE: Final = dt.timedelta(hours=31)
A_DAY: Final = dt.timedelta(days=1)
AT_ONCE: Final = 10  # transactions
Problem = NotConfigured | StoreError  # a tenant that an operator has to mend, a table that cannot be reached


@dataclass(frozen=True, slots=True)
class Collector:
    """Looks after what no request does; every part is given to it."""

    ledger: Ledger
    reservations: Reservations
    ledger_reader: LedgerReader
    policies: Policies
    alerts: Alerts
    exports: Exports
    clock: Clock
    telemetry: Telemetry
    catalogue: Catalogue
    bill: ProviderBill | None = None  # without a key for it nothing is compared

    async def every_minute(self) -> None:
        """Sweep, tell the gauges, alert; each though another fails. Raises the first failure when all are done."""
        told = Collected()
        failed: list[Problem] = []
        for task in (self._sweep, self._measure, self._alert):
            await _try(task, told, failed)
        self.telemetry.collected(told)
        if failed:
            raise failed[0]

    async def every_hour(self) -> None:
        """Export the ledger's day, and those before while entries may still come. Raises `StoreError`."""
        now = self.clock.now()
        for day in sorted({Period.DAY.of(at) for at in (now - LATE, now - A_DAY, now)}):
            await self.exports.put(day, self.ledger_reader.entries(day))

    async def every_day(self, day: dt.date | None = None) -> None:
        """Compare a UTC day of the ledger, yesterday's when none is named, with the provider's bill.

        Raises `StoreError`, also when the bill names something that cannot be priced: no drift is told then.
        """
        if self.bill is None:
            return
        day = day or self.clock.now().date() - A_DAY
        drift = await reconcile_day(day, self.ledger_reader, self.bill, self.catalogue)
        if drift.complete is False:
            self.telemetry.note("bill_not_complete", day=day.isoformat())
            return
        if drift.unknown:
            names = ", ".join(line.model for line in drift.unknown)
            raise StoreError(f"the bill of {day.isoformat()} has calls without dollars: {names}")
        self.telemetry.drifted(day.isoformat(), drift.drift_usd, drift.explained_usd)

    async def _sweep(self, told: Collected) -> None:
        """Book what was put aside by requests that are dead by now."""
        now, gate = self.clock.now(), asyncio.Semaphore(AT_ONCE)
        lost = [row for row in await self.reservations.outstanding() if row.until < now]

        async def one(place: int) -> bool:
            async with gate:
                return await self.reservations.sweep(lost[place])

        swept = await asyncio.gather(*(one(place) for place in range(len(lost))))
        told.swept = sum(swept)
        for reservation in (row for row, was in zip(lost, swept, strict=True) if was):
            request_id = reservation.if_lost.request_id
            self.telemetry.note("reservation_swept", request_id=request_id, reservation=reservation.id)

    async def _measure(self, told: Collected) -> None:
        """The account's day and month, also when no request comes: alarms go back at midnight."""
        scopes = [Scope(ACCOUNT, None, period) for period in Period]
        told.spend_today_usd, told.spend_month_usd = (
            standing.spent_usd for standing in await self.ledger.standings(self.clock.now(), scopes)
        )

    async def _alert(self, told: Collected) -> None:
        """Tell the operators, once, when a tenant reaches a step of its budget."""
        now, limits = self.clock.now(), await self.policies.limits()
        scopes = [
            scope for name, own in sorted(limits.items()) for scope in budget.scopes(name, own, Limits(), session=None)
        ]
        standings = await self.ledger.standings(now, scopes) if scopes else []
        for alert in (alert for standing in standings for alert in budget.alerts(standing, now)):
            told.steps += await self.alerts.tell_once(alert, now)


async def _try(task: Callable[[Collected], Awaitable[None]], told: Collected, failed: list[Problem]) -> None:
    try:
        await task(told)
    except (NotConfigured, StoreError) as error:
        failed.append(error)
