"""Replays routing policies on prompts whose outcomes are known: what each would have cost, and how good it would be."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np

from cost_router.core.errors import quoted
from cost_router.core.preclassifier import Preclassifier
from cost_router.core.words import Label
from infra.operate.labelled import BadLabels
from infra.quality.curves import QUALITY, Floats, Measured, Outcomes, measure
from infra.quality.policies import LENGTH, PRECLASSIFIER, RUBRIC, baselines, labelled, preclassified
from infra.quality.prices import prices
from infra.quality.rows import STRONG, WEAK, Row
from infra.quality.splits import held_out
from infra.quality.targets import by_tier

THOUSAND: Final = 1_000
CENTS: Final = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class Replay:
    """The figures of each policy; None for one that could not be replayed."""

    rows: Sequence[Row]
    weak: str
    strong: str
    outcomes: Outcomes
    policies: Mapping[str, Measured | None]
    usd_per_thousand: Mapping[str, Decimal] | None  # at `QUALITY`; also "all weak" and "all strong"

    def json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "rows": len(self.rows),
            "held_out_rows": sum(held_out(row.prompt) for row in self.rows),
            "weak": {"model": self.weak, "quality": round(_mean(self.outcomes.weak, self.outcomes.weights), 4)},
            "strong": {"model": self.strong, "quality": round(_mean(self.outcomes.strong, self.outcomes.weights), 4)},
            "at_quality": QUALITY,
            "policies": {name: found and self._json(name, found) for name, found in self.policies.items()},
            "usd_per_thousand": self.usd_per_thousand and {n: str(usd) for n, usd in self.usd_per_thousand.items()},
        }

    def _json(self, name: str, found: Measured) -> dict[str, Any]:
        usd = (self.usd_per_thousand or {}).get(name)
        return {
            "apgr": found.apgr.json(),
            "apgr_over_length": found.over_length.json(),
            "strong_share_at_quality": found.share.json(),
            "usd_per_thousand_at_quality": None if usd is None else str(usd),
        }


def replay(
    rows: Sequence[Row], models: tuple[str, str], model: Preclassifier, labels: Mapping[str, Label], seed: int
) -> Replay:
    """All policies on all rows. labels: the classifier's, by prompt or id. models: the cheap and the dear one."""
    weak, strong = models
    outcomes = Outcomes(
        np.array([row.correct[weak] for row in rows]),
        np.array([row.correct[strong] for row in rows]),
        np.array([row.weight for row in rows]),
    )
    scores = baselines(rows, outcomes)
    oracle = scores.popitem()
    rubric = labelled(rows, labels)
    scores |= {} if rubric is None else {RUBRIC: rubric}
    scores |= {PRECLASSIFIER: preclassified(rows, model), oracle[0]: oracle[1]}
    found = measure(scores, outcomes, np.zeros(len(rows), dtype=int), seed, LENGTH)
    policies: dict[str, Measured | None] = {}
    for name in scores:
        if name == PRECLASSIFIER and rubric is None:
            policies[RUBRIC] = None
        policies[name] = found[name]
    return Replay(rows, weak, strong, outcomes, policies, _dollars(rows, models, scores, found))


def choose_models(rows: Sequence[Row], weak: str | None, strong: str | None) -> tuple[str, str]:
    """The cheap and the dear model that all rows have; raises `BadLabels`.

    When not named: weak and strong; else the cheapest tier's oldest and the best of the dearer tiers' models.
    """
    common = set(rows[0].correct).intersection(*(row.correct for row in rows))
    accepted = f"accepted: models that every row has an outcome of: {', '.join(sorted(common)) or 'there are none'}"
    for name in (weak, strong):
        if name is not None and name not in common:
            raise BadLabels(f"model {quoted(name)}; {accepted}")
    if (weak is None or strong is None) and {WEAK, STRONG} <= common:
        return weak or WEAK, strong or STRONG
    if weak is None:
        tiers = by_tier(common)
        weak = tiers[min(tiers)] if tiers else None
    if strong is None and weak is not None:
        (tier,) = by_tier({weak})
        dearer = [name for name in sorted(common) if min(by_tier({name})) > tier]
        strong = max(dearer, key=lambda name: sum(row.correct[name] for row in rows), default=None)
    if weak is None or strong is None or weak == strong:
        raise BadLabels(f"no pair of a cheap and a dear model; {accepted}; name them with --weak and --strong")
    return weak, strong


def _dollars(
    rows: Sequence[Row], models: tuple[str, str], scores: Mapping[str, Floats], found: Mapping[str, Measured]
) -> dict[str, Decimal] | None:
    """US dollars of a thousand prompts at the share with which each policy reaches `QUALITY`."""
    on = dt.datetime.now(dt.UTC).date()
    cheap, dear = (prices(rows, name, on) for name in models)
    if cheap is None or dear is None:
        return None
    dollars = {"all weak": sum(cheap, Decimal(0)), "all strong": sum(dear, Decimal(0))}
    for name, ranked in scores.items():
        dollars[name] = _mixed(ranked, found[name].share.value, cheap, dear)
    return {name: (usd * THOUSAND / len(rows)).quantize(CENTS) for name, usd in dollars.items()}


def _mixed(scores: Floats, share: float, cheap: Sequence[Decimal], dear: Sequence[Decimal]) -> Decimal:
    """Dollars when that share of the prompts, from the top, is answered by the dear model; ties in part."""
    left = share * len(scores)
    total = sum(cheap, Decimal(0))
    for value in np.unique(scores)[::-1]:
        alike = np.flatnonzero(scores == value)
        part = min(1.0, left / len(alike))
        total += Decimal(part) * sum((dear[row] - cheap[row] for row in alike.tolist()), Decimal(0))
        left -= part * len(alike)
        if left <= 0:
            break
    return total


def _mean(values: Floats, weights: Floats) -> float:
    return float(np.average(values, weights=weights))
