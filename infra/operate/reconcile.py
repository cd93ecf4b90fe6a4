"""Reconciles a deployment's ledger with the provider's usage and cost report, and locally with the stand-in's meter."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx2
from anthropic import AsyncAnthropic

from cost_router.adapters.bill import WHERE_FROM, AnthropicBill
from cost_router.core.drift import Drift, Line
from cost_router.core.errors import NotConfigured, StoreError
from cost_router.core.pricing import dollars
from cost_router.core.reconcile import reconcile_day
from infra.operate.matching import Matching, match
from infra.operate.report import A_DAY, BadReport, days_asked, read_entries
from infra.operate.target import Target
from infra.operate.what_if import shipped_catalogue

MADE_UP_KEY: Final = "sk-ant-admin-of-the-stand-in"
PATIENCE: Final = 10.0  # seconds


class CannotReconcile(BadReport):
    """One of the two sides cannot be read; the message says which one and why."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of `cost-router reconcile`, in the words of the command."""

    day: str | None = None
    admin_key: str | None = None
    workspace: str | None = None
    api_key_id: str | None = None


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """A day's drift, where it was found, and locally what the calls say one by one."""

    drift: Drift
    deployment: str
    simulated: bool
    asked: Asked
    calls: Matching | None  # None: the provider does not tell calls one by one

    @property
    def agrees(self) -> bool:
        """Whether nothing is unexplained, nothing unknown, and locally every call in both books."""
        return self.drift.agrees and (self.calls is None or self.calls.agrees)

    def json(self) -> dict[str, Any]:
        """All of it; dollars are decimal strings, null where they are not known."""
        drift = self.drift
        return {
            "day": drift.day.isoformat(),
            "currency": "USD",
            "agrees": self.agrees,
            "drift_usd": dollars(drift.drift_usd),
            "explained_usd": dollars(drift.explained_usd),
            "unknown": [f"{line.model} {line.processing}" for line in drift.unknown],
            "lines": [_line(line) for line in drift.lines],
            "refreshed_at": drift.refreshed_at.isoformat() if drift.refreshed_at else None,
            "complete": drift.complete,
            "calls": self.calls.json() if self.calls else None,
            "workspace": self.asked.workspace,
            "api_key_id": self.asked.api_key_id,
            "deployment": self.deployment,
            "simulated": self.simulated,
        }


def reconcile(target: Target, asked: Asked, now: dt.datetime) -> Reconciliation:
    """Compare a UTC day; without one the last whole day, or today where the stand-in is the provider.

    Raises `BadReport` for a wrong day and `CannotReconcile` when a side cannot be read.
    """
    _check(asked)
    day = _day(asked.day, now.date(), local=target.meter_url is not None)
    entries = _Entries(read_entries(target, day))
    calls = match(day, entries.found, _metered(target.meter_url)) if target.meter_url else None
    drift = asyncio.run(_drift(day, entries, target, asked))
    return Reconciliation(drift, target.name, target.meter_url is not None, asked, calls)


def _check(asked: Asked) -> None:
    """Refuse ids that are none: the bill of nobody would be empty, and look like a drift."""
    for name, value, start in (("workspace", asked.workspace, "wrkspc_"), ("api-key-id", asked.api_key_id, "apikey_")):
        if value is not None and not value.startswith(start):
            raise BadReport(f"{name} {value!r}; accepted: an id of the Console, {start}...")


def _day(asked: str | None, today: dt.date, *, local: bool) -> dt.date:
    if asked is None:
        return today if local else today - A_DAY
    [day] = days_asked(asked, None, today)
    return day


@dataclass(frozen=True, slots=True)
class _Entries:
    """A `LedgerReader` of a day that has been read."""

    found: list[dict[str, Any]]

    async def entries(self, _day: str) -> AsyncIterator[Mapping[str, Any]]:
        for entry in self.found:
            yield entry


async def _drift(day: dt.date, entries: _Entries, target: Target, asked: Asked) -> Drift:
    # A real admin key has no business with the stand-in, whatever the shell has set.
    key = MADE_UP_KEY if target.meter_url else asked.admin_key
    if not key:
        raise CannotReconcile(
            f"no key for the provider's usage and cost report; give one with ANTHROPIC_ADMIN_KEY or --admin-key. "
            f"Accepted: {WHERE_FROM}"
        )
    async with AsyncAnthropic(api_key=key, base_url=target.upstream_url, max_retries=0) as client:

        async def made() -> AsyncAnthropic:
            return client

        bill = AnthropicBill(made, asked.workspace, asked.api_key_id)
        try:
            return await reconcile_day(day, entries, bill, shipped_catalogue())
        except (StoreError, NotConfigured) as error:
            raise CannotReconcile(str(error)) from error


def _metered(url: str) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = httpx2.get(f"{url}/_meter", timeout=PATIENCE).raise_for_status().json()["calls"]
    except httpx2.HTTPError as error:
        raise CannotReconcile(f"the stand-in's meter at {url} cannot be read: {type(error).__name__}") from error
    return found


def _line(line: Line) -> dict[str, Any]:
    amounts = {
        "booked_usd": line.booked_usd,
        "ambiguous_usd": line.ambiguous_usd,
        "billed_usd": line.billed_usd,
        "list_usd": line.list_usd,
        "difference_usd": line.difference_usd,
        "explained_usd": line.explained_usd,
        "unexplained_usd": line.unexplained_usd,
    }
    return {
        "model": line.model,
        "processing": line.processing,
        "agrees": line.agrees,
        "in_catalogue": line.in_catalogue,
        "in_bill": line.in_bill,
        "calls": line.calls,
        "ambiguous_calls": line.ambiguous_calls,
        **{name: None if amount is None else dollars(amount) for name, amount in amounts.items()},
        "buckets": [
            {
                "bucket": part.bucket,
                "our_tokens": part.our_tokens,
                "their_tokens": part.their_tokens,
                "our_usd": None if part.our_usd is None else dollars(part.our_usd),
                "their_usd": None if part.their_usd is None else dollars(part.their_usd),
            }
            for part in line.parts
        ],
    }
