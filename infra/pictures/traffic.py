"""Two weeks of simulated traffic, the same for the same seed and end: ledger entries, and the records of the last day.

Models, prices and names are the product's own; who asks what, and when, is made up. On the last afternoon one tenant's
loop runs away for an hour, and the budget's ladder holds it back.
"""

import datetime as dt
import math
import random
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from cost_router.core import pricing
from cost_router.core.catalogue import Model
from cost_router.core.ledger import AMBIGUOUS, ANSWER, CLASSIFIER, Bill
from cost_router.core.ports import Row
from cost_router.core.pricing import REALTIME, Usage
from cost_router.core.pricing import TOKENS as ENTRY_TOKENS
from cost_router.core.record import Record
from cost_router.core.words import Label, Tier
from infra.operate.what_if import named_lineup

SEED: Final = 20261123
DAYS: Final = 13  # the emulator drops what is older than two weeks
SLOT: Final = dt.timedelta(minutes=5)
A_DAY: Final = dt.timedelta(days=1)
BUDGET_USD: Final = Decimal(25)
MONTH_USD: Final = Decimal(500)
LADDER: Final = Decimal("0.8")  # of the budget: opus is capped to sonnet
LOOP: Final = (dt.time(14, 30), dt.time(15, 30))  # UTC, on the last day
TENANTS: Final = {"search": 5, "support": 3, "reports": 2}
LABELS: Final = {Label.SIMPLE: 11, Label.MODERATE: 6, Label.COMPLEX: 3}
# Uncached input, cache reads, both kinds of cache writes, output.
TOKENS: Final = {
    Label.SIMPLE: (900, 0, 0, 0, 60),
    Label.MODERATE: (3_500, 2_000, 0, 0, 700),
    Label.COMPLEX: (5_500, 8_000, 0, 0, 1_400),
}
LOOPS: Final = 9  # requests of the loop in five minutes
CACHED: Final = 0.45  # share of labels
PINNED: Final = 0.03  # share of requests that name a model outside the lineup
CUT: Final = 0.002  # share of connections
TROUBLE: Final = 0.01
WORK: Final = range(6, 20)  # hours
WEEKEND: Final = (5, 6)
JOBS_HOUR: Final = 2  # when jobs run


@dataclass(slots=True)
class Traffic:
    """What two weeks up to `now` have left behind."""

    now: dt.datetime  # UTC
    days: dict[dt.date, list[Row]] = field(default_factory=lambda: defaultdict(list))  # ledger entries
    records: list[tuple[dt.datetime, Record]] = field(default_factory=list)  # of the last 24 hours
    rate: dict[dt.datetime, Decimal] = field(default_factory=lambda: defaultdict(Decimal))  # dollars of five minutes
    spent: Decimal = Decimal(0)  # of the day that is being made

    def book(self, at: dt.datetime, rows: list[Row], record: Record) -> None:
        """A request has ended."""
        cost = sum((row["cost_usd"] for row in rows), Decimal(0))
        self.spent += cost
        self.rate[at - (at - dt.datetime.min.replace(tzinfo=dt.UTC)) % SLOT] += cost
        self.days[at.date()] += rows
        if at >= self.now - A_DAY:
            classifier = sum((row["cost_usd"] for row in rows if row["purpose"] == CLASSIFIER), Decimal(0))
            record.bill = Bill(cost, classifier, sum((row["baseline_usd"] for row in rows), Decimal(0)))
            record.spend_today_usd = self.spent
            self.records.append((at, record))


def simulate(now: dt.datetime) -> Traffic:
    """Traffic that ends at `now`."""
    chance = random.Random(SEED)  # noqa: S311  a picture is to be the same every time
    found = Traffic(now)
    slot = (now - A_DAY * DAYS).replace(hour=0, minute=0, second=0, microsecond=0)
    while slot < now:
        if slot.time() == dt.time(0):
            found.spent = Decimal(0)
        asks = [(_pick(LABELS, chance), _pick(TENANTS, chance)) for _ in range(_arrivals(slot, chance))]
        if slot.date() == now.date() and LOOP[0] <= slot.time() < LOOP[1]:
            asks += [(Label.COMPLEX, "reports")] * LOOPS
        for number, (label, tenant) in enumerate(asks):
            at = slot + SLOT * number / len(asks)
            found.book(at, *_request(at, label, tenant, found.spent, chance))
        slot += SLOT
    return found


def _arrivals(slot: dt.datetime, chance: random.Random) -> int:
    """More by day than by night, fewer at weekends."""
    day = max(0.0, math.sin((slot.hour + slot.minute / 60 - 6) / 14 * math.pi)) if slot.hour in WORK else 0.0
    busy = (1.2 + 7 * day) * (0.4 if slot.weekday() in WEEKEND else 1)
    return max(0, round(chance.gauss(busy, 0.9)))


def _pick(weights: dict[Any, int], chance: random.Random) -> Any:
    return chance.choices(list(weights), list(weights.values()))[0]


def _request(
    at: dt.datetime, label: Label, tenant: str, spent: Decimal, chance: random.Random
) -> tuple[list[Row], Record]:
    """One request: its entries, and its record."""
    lineup, name = named_lineup("current"), f"{at:%m%d%H%M%S%f}"
    pinned = chance.random() < PINNED
    capped = not pinned and label.tier is Tier.OPUS and spent >= LADDER * BUDGET_USD
    tier = Tier.OPUS if pinned else Tier.SONNET if capped else label.tier
    model = (named_lineup("article") if pinned else lineup).models[tier]
    cached, cut = chance.random() < CACHED and not pinned, chance.random() < CUT
    common: dict[str, Any] = {"request_id": name, "tenant": tenant, "label": label.value, "tier": tier.word, "tags": {}}
    common |= {"at": at.isoformat(timespec="milliseconds"), "processing": REALTIME}
    rows: list[Row] = []
    if not (cached or pinned):
        asked = Usage(input_tokens=chance.randint(720, 860), output_tokens=8)
        rows.append(common | _call(f"{name}#0", CLASSIFIER, lineup.classifier, asked, at))
    fresh, read, short, long, written = (round(tokens * chance.lognormvariate(0, 0.5)) for tokens in TOKENS[label])
    usage = Usage(fresh, read, short, long, written)
    answer = common | _call(f"{name}#1", ANSWER, model, usage, at)
    answer["baseline_usd"] = pricing.cost(lineup.baseline, usage, on=at.date())
    if cut:  # no usage came back, so the upper bound is booked
        answer |= {"flags": [AMBIGUOUS], "cost_usd": answer["cost_usd"] * 3, "baseline_usd": Decimal(0)}
    rows.append(answer)
    record = Record(
        request_id=name,
        tenant=tenant,
        tags={},
        label=label,
        cause="pinned" if pinned else "budget:account-80" if capped else "cache" if cached else "classifier",
        tier=tier,
        model=model.id,
        usage=usage,
        cache=None if pinned else "hit" if cached else "miss",
        ambiguous=int(cut),
        status=529 if cut else 200,
    )
    _measured(record, chance)
    if at.hour == JOBS_HOUR:
        record.kind, record.outcome = "job", "done"
    return rows, record


def _measured(record: Record, chance: random.Random) -> None:
    """How long it took and what went wrong on the way."""
    slow = {Tier.HAIKU: 900, Tier.SONNET: 2_600, Tier.OPUS: 5_200}[record.tier or Tier.OPUS]
    record.latency_ms = slow * chance.lognormvariate(0, 0.4)
    if record.cache == "miss":
        record.classifier_ms = 350 * chance.lognormvariate(0, 0.3)
        record.classifier_failed = chance.random() < TROUBLE
    record.fallback = chance.random() < TROUBLE
    record.rate_limits = int(chance.random() < TROUBLE)


def _call(entry_id: str, purpose: str, model: Model, usage: Usage, at: dt.datetime) -> dict[str, Any]:
    tokens = {name: getattr(usage, name) for name in ENTRY_TOKENS}
    paid = {"cost_usd": pricing.cost(model, usage, on=at.date()), "baseline_usd": Decimal(0)}
    return {"entry_id": entry_id, "purpose": purpose, "model": model.id, "flags": []} | tokens | paid
