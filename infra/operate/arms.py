"""Two ways to decide side by side: the usual one and its candidate, canary or shadow (`core/arms.py`).

A canary has requests of its own, which are compared as they are: other conversations, so a few are no proof. A shadow
has none; it has said what it would have done with the same requests. Its cost prices the answers' own tokens with its
models. Models of another tokenizer would have counted otherwise, and another model would have written another answer.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from cost_router.core.ledger import AMBIGUOUS, ANSWER, SHADOW
from cost_router.core.ports import Row
from cost_router.core.pricing import dollars
from cost_router.core.spend import ARM, NONE, Figures, summed
from cost_router.core.words import TIER_WORDS, Label
from infra.operate.feedback import Rated, rated_by

MICRO_DOLLAR: Final = Decimal("0.000001")
LABELS: Final = (*(label.value for label in Label), NONE)


@dataclass(slots=True)
class Arm:
    """What one arm did and cost."""

    figures: Figures
    labels: Counter[str] = field(default_factory=Counter)  # of its answers
    tiers: Counter[str] = field(default_factory=Counter)
    rated: Rated = field(default_factory=Rated)

    @property
    def per_request_usd(self) -> Decimal | None:
        """What a request cost, everything paid for it included, to the micro-dollar; None without requests."""
        count = self.figures.requests
        return (self.figures.cost_usd / count).quantize(MICRO_DOLLAR) if count else None

    def json(self) -> dict[str, Any]:
        """As `cost-router report --json` has it."""
        each = self.per_request_usd
        return {
            **self.figures.json(),
            "cost_per_request_usd": None if each is None else dollars(each),
            "labels": {label: self.labels[label] for label in LABELS},
            "tiers": {tier: self.tiers[tier] for tier in TIER_WORDS},
            "feedback": self.rated.json(),
        }


@dataclass(frozen=True, slots=True)
class Shadowed:
    """Answers that a candidate looked at. labels, tiers: how often which of the control met which of the candidate."""

    requests: int
    labels: Mapping[tuple[str, str], int]
    tiers: Mapping[tuple[str, str], int]
    priced: int  # of them, those whose tokens and prices are known
    cost_usd: Decimal  # of the priced answers
    would_usd: Decimal  # what their tokens would have cost
    classifier_cost_usd: Decimal  # what the looking on has cost

    @property
    def agreed(self) -> int:
        """Requests that got the same label."""
        return sum(count for (control, candidate), count in self.labels.items() if control == candidate)

    def json(self) -> dict[str, Any]:
        """As `cost-router report --json` has it."""
        return {
            "requests": self.requests,
            "labels_agree": self.agreed,
            "labels": _pairs_json(self.labels),
            "tiers": _pairs_json(self.tiers),
            "priced": self.priced,
            "cost_usd": dollars(self.cost_usd),
            "would_have_cost_usd": dollars(self.would_usd),
            "difference_usd": dollars(self.would_usd - self.cost_usd),
            "classifier_cost_usd": dollars(self.classifier_cost_usd),
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """All arms of a report."""

    arms: Mapping[str, Arm]  # by name, `(none)` for requests without a candidate
    shadow: Shadowed | None

    def json(self) -> dict[str, Any]:
        """As `cost-router report --json` has it."""
        return {
            "arms": [{"arm": name, **arm.json()} for name, arm in self.arms.items()],
            "shadow": self.shadow.json() if self.shadow else None,
        }


def side_by_side(entries: Sequence[Row], feedback: Iterable[Row] = ()) -> Comparison | None:
    """The arms of ledger entries, with the feedback on their requests; None where there never was a candidate."""
    if not any(entry.get(ARM) for entry in entries):
        return None
    arms = {name: Arm(figures) for name, figures in sorted(summed(entries, ARM).rows().items())}
    answers = [entry for entry in entries if entry["purpose"] == ANSWER and AMBIGUOUS not in entry["flags"]]
    for entry in answers:
        arm = arms[_word(entry, ARM)]
        arm.labels[_word(entry, "label")] += 1
        arm.tiers[_word(entry, "tier")] += 1
    for name, rated in rated_by(feedback, ARM).items():
        arms.setdefault(name, Arm(Figures())).rated = rated
    return Comparison(arms, _shadowed(entries))


def _shadowed(entries: Sequence[Row]) -> Shadowed | None:
    seen = [entry for entry in entries if entry.get("shadow_model")]
    paid = [entry["cost_usd"] for entry in entries if SHADOW in entry["flags"]]
    if not seen and not paid:
        return None
    priced = [entry for entry in seen if entry.get("shadow_cost_usd") is not None]
    return Shadowed(
        requests=len(seen),
        labels=Counter((_word(entry, "label"), _word(entry, "shadow_label")) for entry in seen),
        tiers=Counter((_word(entry, "tier"), _word(entry, "shadow_tier")) for entry in seen),
        priced=len(priced),
        cost_usd=sum((entry["cost_usd"] for entry in priced), Decimal(0)),
        would_usd=sum((entry["shadow_cost_usd"] for entry in priced), Decimal(0)),
        classifier_cost_usd=sum(paid, Decimal(0)),
    )


def _word(entry: Row, name: str) -> str:
    return str(entry.get(name) or NONE)


def _pairs_json(pairs: Mapping[tuple[str, str], int]) -> list[dict[str, Any]]:
    return [
        {"control": control, "candidate": candidate, "requests": count}
        for (control, candidate), count in sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0]))
    ]
