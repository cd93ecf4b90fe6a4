"""Cost/quality curves of routing policies between a cheap and a dear model, in the field's measures.

A policy ranks prompts; the share that goes to the dear model grows from the top of the ranking. PGR (performance gap
recovered) at a share is how much of the quality between the two models is gained by then; APGR is its mean over all
shares: 0.5 for chance, over 1 for an oracle where the cheap model alone is right at times. Source: I. Ong et al.,
RouteLLM, 2024. Prompts that a policy ranks alike are taken in random order, in expectation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

RESAMPLES: Final = 1_000
CHUNK: Final = 50  # resamples at a time: memory
QUALITY: Final = 0.95  # of the dear model's
EDGES: Final = (2.5, 97.5)  # percentiles
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % bootstrap interval over prompts."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, resampled: Floats) -> "Interval":
        """The value, between the percentiles of the resampled ones."""
        low, high = np.percentile(resampled, EDGES)
        return cls(value, float(low), float(high))

    def json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {"value": round(self.value, 4), "interval": [round(self.low, 4), round(self.high, 4)]}

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What both models scored on each prompt, and how much each prompt weighs."""

    weak: Floats
    strong: Floats
    weights: Floats

    def __getitem__(self, rows: Any) -> "Outcomes":
        return Outcomes(self.weak[rows], self.strong[rows], self.weights[rows])

    def __len__(self) -> int:
        return len(self.weak)


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of a curve by growing share of dear calls: one resampling a row, the first one being all prompts once."""

    shares: Floats
    quality: Floats

    @property
    def apgr(self) -> Floats:
        """The area under PGR; 0.5 where both models are equally good: there is no gap to recover."""
        gap = self.quality[:, -1:] - self.quality[:, :1]
        gained = (self.quality - self.quality[:, :1]) / np.where(gap == 0, np.nan, gap)
        areas = np.diff(self.shares, axis=1) * (gained[:, 1:] + gained[:, :-1]) / 2
        found: Floats = np.nan_to_num(areas.sum(axis=1), nan=0.5)
        return found

    @property
    def share_at_quality(self) -> Floats:
        """The least share of dear calls with which the quality is `QUALITY` of the dear model's."""
        aims = QUALITY * self.quality[:, -1]
        return np.array([_first(*row) for row in zip(self.shares, self.quality, aims, strict=True)])


def _first(shares: Floats, quality: Floats, aim: float) -> float:
    place = int(np.argmax(quality >= aim - 1e-12))
    if place == 0:
        return 0.0
    step = quality[place] - quality[place - 1]
    part = (aim - quality[place - 1]) / step
    return float(shares[place - 1] + part * (shares[place] - shares[place - 1]))


def curve(scores: Floats, outcomes: Outcomes, counts: NDArray[np.int64] | None = None) -> Curve:
    """The curve of a policy that sends the highest scores to the dear model first.

    counts: how often each prompt is drawn, a resampling a row; each prompt once when left out.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    drawn = np.ones((1, len(scores))) if counts is None else counts
    weights = (drawn * outcomes.weights)[:, order]
    gains = weights * (outcomes.strong - outcomes.weak)[order]
    total = weights.sum(axis=1, keepdims=True)
    begin = (drawn * outcomes.weights) @ outcomes.weak / total[:, 0]
    shares = np.cumsum(np.add.reduceat(weights, starts, axis=1), axis=1) / total
    gained = np.cumsum(np.add.reduceat(gains, starts, axis=1), axis=1) / total
    zeros = np.zeros((len(drawn), 1))
    return Curve(np.hstack([zeros, shares]), begin[:, None] + np.hstack([zeros, gained]))


@dataclass(frozen=True, slots=True)
class Measured:
    """A policy's figures. over_length: its APGR less that of the length of the prompt, drawn together."""

    apgr: Interval
    share: Interval
    over_length: Interval
    curve: Curve


def measure(
    policies: Mapping[str, Floats], outcomes: Outcomes, parts: NDArray[np.int_], seed: int, against: str
) -> dict[str, Measured]:
    """The figures of each policy, named by `against` the one that the others are compared with.

    parts: which part of the prompts each is in; figures are means over parts that were scored by different models, so
    that scores are compared only where one model gave them. Prompts are drawn within their part.
    """
    inside = [np.flatnonzero(parts == part) for part in np.unique(parts)]
    apgr = {name: np.zeros(RESAMPLES + 1) for name in policies}
    share = {name: np.zeros(RESAMPLES + 1) for name in policies}
    rng = np.random.default_rng(seed)
    for rows in inside:
        for begin in range(0, RESAMPLES + 1, CHUNK):
            size = min(CHUNK, RESAMPLES + 1 - begin)
            counts = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=size)
            if begin == 0:
                counts[0] = 1
            for name, scores in policies.items():
                drawn = curve(scores[rows], outcomes[rows], counts)
                apgr[name][begin : begin + size] += drawn.apgr / len(inside)
                share[name][begin : begin + size] += drawn.share_at_quality / len(inside)
    return {
        name: Measured(
            Interval.of(apgr[name][0], apgr[name][1:]),
            Interval.of(share[name][0], share[name][1:]),
            Interval.of(apgr[name][0] - apgr[against][0], (apgr[name] - apgr[against])[1:]),
            curve(scores, outcomes),
        )
        for name, scores in policies.items()
    }
