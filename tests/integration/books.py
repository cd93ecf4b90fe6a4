"""A ledger and the meter of the stand-in, matched call by call."""

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from infra.local.stack import LocalStack
from infra.operate.report import read_entries
from tests.integration.meter import Meter, price


@dataclass(frozen=True)
class Books:
    """The ledger's entries of some tenants and the meter's calls, matched."""

    sure: list[dict[str, Any]]
    unsure: list[dict[str, Any]]
    metered: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, stack: LocalStack, meter: Meter, since: dt.datetime, tenants: Collection[str]) -> "Books":
        days = sorted({since.date(), dt.datetime.now(dt.UTC).date()})
        entries = [entry for day in days for entry in read_entries(stack.target, day) if entry["tenant"] in tenants]
        sure = [entry for entry in entries if "ambiguous" not in entry["flags"]]
        unsure = [entry for entry in entries if "ambiguous" in entry["flags"]]
        return cls(sure, unsure, {call["request_id"]: call for call in meter.calls()})

    @property
    def unseen(self) -> dict[str, dict[str, Any]]:
        """The metered calls that no sure entry names."""
        ids = {entry["upstream_request_id"] for entry in self.sure}
        return {id_: call for id_, call in self.metered.items() if id_ not in ids}

    def check_call_by_call(self) -> None:
        """Every sure entry is a metered call, at its price; every metered call is booked once, or unsure."""
        ids = [entry["upstream_request_id"] for entry in self.sure]
        assert len(set(ids)) == len(ids), "no call is booked twice"
        for entry in self.sure:
            call = self.metered[entry["upstream_request_id"]]
            assert (entry["model"], entry["processing"]) == (call["model"], call["processing"])
            assert entry["cost_usd"] == price(call), entry["entry_id"]
        assert len(self.unsure) >= len(self.unseen), "no payment is lost"
        named = {entry["upstream_request_id"] for entry in self.unsure if "upstream_request_id" in entry}
        assert named <= set(self.unseen), "an ambiguous entry is no second booking of a call that is known for sure"

    def check_difference(self) -> None:
        """The whole difference is what the ambiguous entries hold above the bill."""
        unseen = sum((price(call) for call in self.unseen.values()), Decimal(0))
        bounds = sum((entry["cost_usd"] for entry in self.unsure), Decimal(0))
        ledger = sum((entry["cost_usd"] for entry in (*self.sure, *self.unsure)), Decimal(0))
        bill = sum((price(call) for call in self.metered.values()), Decimal(0))
        assert ledger - bill == bounds - unseen >= 0, "never below the bill, and above it by the ambiguous entries only"


def by(name: str, rows: Iterable[Mapping[str, Any]], amount: Callable[[Any], Decimal]) -> dict[str, Decimal]:
    """Sums by a member of each row."""
    found: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        found[row[name]] += amount(row)
    return dict(found)
