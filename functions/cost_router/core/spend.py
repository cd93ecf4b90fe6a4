"""What entries of the ledger come to, by model, tier, label, tenant, group, arm or tag.

A request's classifier and failed calls count for the model, tier and label that answered it, so that savings are net of
what routing itself cost. By arm each call counts for its own: what a candidate in shadow pays is not the control's.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from cost_router.core.errors import InvalidRequest, quoted
from cost_router.core.ledger import AMBIGUOUS, ANSWER, CLASSIFIER
from cost_router.core.ports import Row
from cost_router.core.pricing import dollars

ARM: Final = "arm"
BY: Final = ("model", "tier", "label", "tenant", "group", ARM)
GROUP: Final = "group"  # of jobs
TAG: Final = "tag:"
NONE: Final = "(none)"
ACCEPTED: Final = f"{', '.join(BY)}, {TAG}NAME"


@dataclass(slots=True)
class Figures:
    """Sums over calls; dollars are exact."""

    requests: int = 0
    cost_usd: Decimal = Decimal(0)
    classifier_cost_usd: Decimal = Decimal(0)
    baseline_usd: Decimal = Decimal(0)
    cache_saved_usd: Decimal = Decimal(0)  # by the router's cache markers; not in `saved_usd`

    def add(self, entry: Row) -> None:
        """Count one entry."""
        self.requests += entry["purpose"] == ANSWER and AMBIGUOUS not in entry["flags"]
        self.cost_usd += entry["cost_usd"]
        self.classifier_cost_usd += entry["cost_usd"] if entry["purpose"] == CLASSIFIER else Decimal(0)
        self.baseline_usd += entry["baseline_usd"]
        self.cache_saved_usd += entry.get("cache_saved_usd") or Decimal(0)

    def include(self, other: "Figures") -> None:
        """Count what other figures count."""
        self.requests += other.requests
        self.cost_usd += other.cost_usd
        self.classifier_cost_usd += other.classifier_cost_usd
        self.baseline_usd += other.baseline_usd
        self.cache_saved_usd += other.cache_saved_usd

    @property
    def saved_usd(self) -> Decimal:
        """What the same answers would have cost on the baseline, less everything paid."""
        return self.baseline_usd - self.cost_usd

    def json(self) -> dict[str, Any]:
        """The figures of DESIGN section 8; dollars as decimal strings."""
        return {
            "requests": self.requests,
            "cost_usd": dollars(self.cost_usd),
            "classifier_cost_usd": dollars(self.classifier_cost_usd),
            "baseline_usd": dollars(self.baseline_usd),
            "saved_usd": dollars(self.saved_usd),
            "cache_saved_usd": dollars(self.cache_saved_usd),
        }


@dataclass(slots=True)
class Spend:
    """Sums by request while entries come, in any order; only figures are kept, so that a whole day fits."""

    by: str
    _requests: dict[str, Figures] = field(default_factory=lambda: defaultdict(Figures))
    _keys: dict[str, tuple[tuple[bool, bool, str], str]] = field(default_factory=dict)  # how telling, and the key

    def add(self, entry: Row) -> None:
        """Count one entry."""
        request = f"{entry['request_id']}/{entry.get(ARM)}" if self.by == ARM else entry["request_id"]
        self._requests[request].add(entry)
        answer = entry["purpose"] == ANSWER
        found = (answer and AMBIGUOUS not in entry["flags"], answer, entry["entry_id"]), key_of(entry, self.by)
        self._keys[request] = max(found, self._keys.get(request, found))

    @property
    def total(self) -> Figures:
        """The sum of all entries."""
        whole = Figures()
        for figures in self._requests.values():
            whole.include(figures)
        return whole

    def rows(self) -> dict[str, Figures]:
        """Figures by key, dearest first."""
        found: dict[str, Figures] = defaultdict(Figures)
        for request, figures in self._requests.items():
            found[self._keys[request][1]].include(figures)
        return dict(sorted(found.items(), key=lambda pair: pair[1].cost_usd, reverse=True))

    def json(self, day: str) -> dict[str, Any]:
        """The cost report of a UTC day, as `GET /v1/spend` gives it (DESIGN section 8)."""
        rows = [{"key": key, **figures.json()} for key, figures in self.rows().items()]
        return {"day": day, "currency": "USD", "by": self.by, "totals": self.total.json(), "rows": rows}


def check_by(by: str) -> str:
    """`by` when it names something to sum by; raises `InvalidRequest`."""
    if by in BY or by.removeprefix(TAG) not in {by, ""}:
        return by
    raise InvalidRequest(f"by: {quoted(by)}; accepted: {ACCEPTED}")


def summed(entries: Iterable[Row], by: str) -> Spend:
    """The sums of entries at hand."""
    spend = Spend(by)
    for entry in entries:
        spend.add(entry)
    return spend


def key_of(entry: Row, by: str) -> str:
    """What an entry, or a feedback, which has its attributes, counts for."""
    if by.startswith(TAG):
        return str(entry["tags"].get(by.removeprefix(TAG), NONE))
    if by == GROUP:
        return str(entry.get("job") or NONE).partition("/")[0]
    return str(entry.get(by) or NONE)
