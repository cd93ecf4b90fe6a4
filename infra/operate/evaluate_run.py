"""An evaluation of a deployment, planned before it is paid for and then run."""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import httpx2

from cost_router.core.catalogue import Lineup
from infra.operate.asking import PATIENCE, Asker
from infra.operate.deployment import deployed_lineup, simulated
from infra.operate.evaluate import Evaluation, attack, likely_usd
from infra.operate.flips import most_probes
from infra.operate.labelled import Item
from infra.operate.show import usd
from infra.operate.target import Target
from infra.operate.tenants import KeyProblem

API_VERSION: Final = "2026-10-21"  # the Claude API's, as the current SDK sends it


@dataclass(frozen=True, slots=True)
class Asked:
    """What the operator asks for. per_attack: requests that each attack is tried on, None for no attacks."""

    concurrency: int
    cap_usd: Decimal | None
    per_attack: int | None
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Plan:
    """An evaluation that has not begun."""

    target: Target
    key: str
    items: Sequence[Item]
    asked: Asked
    lineup: Lineup
    likely_usd: Decimal  # of one label
    on: dt.date
    simulated: bool
    notes: Sequence[str]

    @classmethod
    def make(cls, target: Target, key: str | None, items: Sequence[Item], asked: Asked) -> "Plan":
        """The plan for a deployment; raises `KeyProblem` without a gateway key."""
        gateway_key = key or target.gateway_key
        if not gateway_key:
            raise KeyProblem("no gateway key; give one with --key or COST_ROUTER_KEY")
        lineup, notes = deployed_lineup(target)
        today = dt.datetime.now(dt.UTC).date()
        likely = likely_usd(items, lineup, today)
        return cls(target, gateway_key, items, asked, lineup, likely, today, simulated(target), notes)

    @property
    def most_calls(self) -> int:
        """Dry runs, if no label is known before."""
        attacks = most_probes(len(self.items), self.asked.per_attack) if self.asked.per_attack else 0
        return len(self.items) + attacks

    @property
    def announcement(self) -> str:
        """What it will cost, before it does."""
        calls = self.most_calls
        attacks = f" and {calls - len(self.items):,} attacks" if calls > len(self.items) else ""
        cap = f", {usd(self.asked.cap_usd)} at the most" if self.asked.cap_usd else ""
        paid = "nothing is really paid: Claude is simulated" if self.simulated else "paid by the key's tenant"
        return (
            f"{len(self.items):,} requests{attacks}: up to {calls:,} classifier calls, about "
            f"{usd(self.likely_usd * calls)}{cap}; {paid}"
        )

    def run(self, *, cached: bool, told: Callable[[int], object]) -> Evaluation:
        """Ask everything, or as much as comes before something ends it. told: called with 1 after each call."""
        headers = {"x-api-key": self.key, "anthropic-version": API_VERSION}
        with httpx2.Client(base_url=self.target.base_url, headers=headers, timeout=PATIENCE) as client:
            asker = Asker(client, self.asked.concurrency, self.asked.cap_usd, self.likely_usd)
            done = asker.ask([item.params for item in self.items], cached=cached, told=told)
            attacks, stopped = None, done.stopped
            if self.asked.per_attack and not stopped:
                attacks, stopped = attack(asker, self.items, done, self.asked.per_attack, told)
        return Evaluation(
            items=self.items,
            found=done.outcomes,
            lineup=self.lineup,
            on=self.on,
            output_tokens=self.asked.output_tokens,
            attacks=attacks,
            stopped=stopped,
            simulated=self.simulated,
            spent_usd=asker.spent_usd,
            notes=self.notes,
        )
