"""Statistics of labels against the right ones: shares with their intervals, the confusion matrix, percentiles. Pure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from cost_router.core.words import Label

Z: Final = 1.959963984540054  # standard deviations on both sides of 95 % of a normal distribution
NONE: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Pair:
    """A right label and the one that was given. weight: how many requests of the traffic it stands for."""

    label: Label
    predicted: Label
    weight: Decimal = Decimal(1)

    @property
    def agrees(self) -> bool:
        """Whether they are the same."""
        return self.label is self.predicted


@dataclass(frozen=True, slots=True)
class Share:
    """A share of 0 to 1 with its 95 % interval (Wilson), of so many observations."""

    value: float
    low: float
    high: float
    count: int

    def json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {"value": round(self.value, 4), "interval": [round(self.low, 4), round(self.high, 4)], "n": self.count}


def wilson(value: float, count: float) -> tuple[float, float]:
    """The 95 % interval of a share that was seen in `count` observations.

    It stays within 0 and 1 and is honest for small numbers: 10 of 10 says at least 72 %. Source: E. B. Wilson, 1927.
    """
    square = Z * Z / count
    middle = (value + square / 2) / (1 + square)
    half = math.sqrt(value * (1 - value) * square + square * square / 4) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


def share(found: Iterable[tuple[bool, Decimal]]) -> Share | None:
    """The weighted share of those that are true, None of nothing.

    Unequal weights make an interval wider: it is that of Kish's effective number of observations.
    """
    rows = [(hit, float(weight)) for hit, weight in found]  # statistics of requests, not money
    if not rows:
        return None
    total = math.fsum(weight for _, weight in rows)
    value = min(1.0, math.fsum(weight for hit, weight in rows if hit) / total)
    effective = total * total / math.fsum(weight * weight for _, weight in rows)
    low, high = wilson(value, effective)
    return Share(value, low, high, len(rows))


def accuracy(pairs: Iterable[Pair]) -> Share | None:
    """The share of labels that are right."""
    return share((pair.agrees, pair.weight) for pair in pairs)


def confusion(pairs: Iterable[Pair]) -> dict[Label, dict[Label, int]]:
    """How many requests of each right label got which label: a row for each right one."""
    found = {label: dict.fromkeys(Label, 0) for label in Label}
    for pair in pairs:
        found[pair.label][pair.predicted] += 1
    return found


def label_mix(rows: Iterable[tuple[Label, Decimal]]) -> dict[Label, float]:
    """The weighted share of each label; zeros of nothing."""
    weights = dict.fromkeys(Label, NONE)
    for label, weight in rows:
        weights[label] += weight
    total = sum(weights.values())
    # Shares of requests, not money.
    return {label: float(weight / total) if total else 0.0 for label, weight in weights.items()}


def most_frequent(mix: Mapping[Label, float]) -> Label:
    """The label with the largest share, the lower one of equal ones."""
    return max(Label, key=lambda label: mix[label])


def percentile(values: Sequence[float], part: float) -> float:
    """The smallest value that at least `part` of all values do not exceed (nearest rank); of one value at the least."""
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]
