"""Trains the local pre-classifier and says how far it may be trusted.

A part of the prompts, chosen by their hash, is held out: nothing is fitted or chosen on it. On the others each row is
scored by a model that has not seen it (cross-validation); on those scores the chances are calibrated and the threshold
of each label is chosen: the lowest one above which the labels agree at least as often as asked, by the low end of the
95 % interval. A label that no threshold makes agree so often is never given.
"""

import base64
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cost_router.core.ngrams import PLAIN
from cost_router.core.preclassifier import FORMAT, Chances, Preclassifier
from cost_router.core.words import Label
from infra.operate.accuracy import wilson
from infra.operate.labelled import BadLabels
from infra.quality.figures import figures
from infra.quality.learning import GRAMS, Floats, Lesson, Texts, Weights, calibration, fit, out_of_fold
from infra.quality.rows import Row
from infra.quality.splits import fold, held_out
from infra.quality.targets import Target, target

FEWEST: Final = 20  # rows of either answer that a question is learned from
LEAST_CHANCE: Final = 0.5  # of a label that is given: below it the others together are likelier
FEWEST_GIVEN: Final = 50  # times that a label has to be given before its agreement means anything
STRENGTHS: Final = (0.02, 0.05, 0.2, 1.0)  # tried when none is asked for
CHANCE_DIGITS: Final = 4
DIGITS: Final = 9  # of weights in the JSON
Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Trained:
    """A model as JSON, and the rows it was held out from."""

    data: Mapping[str, Any]
    model: Preclassifier
    tested: Sequence[Row]


def train(rows: Sequence[Row], agreement: float, strength: float | None = None, say: Say = lambda _: None) -> Trained:
    """The model; raises `BadLabels` when the rows do not tell enough. strength: see `learning.fit`."""
    tested = [row for row in rows if held_out(row.prompt)]
    taught = [row for row in rows if not held_out(row.prompt)]
    targets = [target(row) for row in taught]
    say(f"reading {len(taught)} prompts; {len(tested)} more are held out")
    texts = Texts.read([row.excerpt for row in taught])
    course = _Course(taught, texts, strength, say)
    first = course.question("simple or harder", [one.cheapest_fails for one in targets])
    if first is None:
        raise BadLabels(
            f"{len(taught)} prompts to learn from, too few of which are simple, or too few of which are not; accepted: "
            f"{FEWEST} of either at the least"
        )
    second = course.question("moderate or complex", [one.middle_fails for one in targets])
    scores = (first.scores, None if second is None else second.scores)
    thresholds = choose(chances(*scores), targets, agreement)
    data: dict[str, Any] = {
        "format": FORMAT,
        "agreement": agreement,
        "lone": all(row.alone for row in taught),
        "buckets": GRAMS.buckets,
        "pairs": GRAMS.pairs,
        "characters": list(GRAMS.characters),
        "heads": {"above_simple": packed(first.weights), "above_moderate": second and packed(second.weights)},
        "thresholds": thresholds,
        "trained_on": _told(taught, first.strength),
    }
    model = Preclassifier.parse(data)
    data["held_out"] = figures(model, tested)
    return Trained(data, Preclassifier.parse(data), tested)


@dataclass(frozen=True, slots=True)
class Question:
    """A fitted, calibrated question. scores: log-odds of all rows, out of fold where the row was learned from."""

    weights: Weights
    scores: Floats
    strength: float


@dataclass(frozen=True, slots=True)
class _Course:
    rows: Sequence[Row]
    texts: Texts
    strength: float | None
    say: Say

    def question(self, name: str, answers: Sequence[float | None]) -> Question | None:
        """The question learned from the rows that answer it; None when too few do."""
        told = np.array([answer is not None for answer in answers])
        given = np.array([answer for answer in answers if answer is not None])
        if min(int((given > 0).sum()), int((given == 0).sum())) < FEWEST:
            self.say(f"{name}: too few rows tell")
            return None
        folds = np.array([fold(row.prompt) for row in self.rows])[told]
        weights = np.array([row.weight for row in self.rows])
        sets, models = (np.array(names) for names in ([r.file for r in self.rows], [r.models for r in self.rows]))
        lesson = Lesson(self.texts[told], given, weights[told], sets[told], models[told])
        tries = [self._try(name, lesson, folds, strength) for strength in self._strengths]
        best = min(tries, key=lambda one: one.loss)
        learned = fit(lesson, best.strength).calibrated(best.slope, best.offset)
        everywhere = learned.scores(self.texts)
        everywhere[told] = best.scores * best.slope + best.offset
        return Question(learned, everywhere, best.strength)

    @property
    def _strengths(self) -> Sequence[float]:
        return STRENGTHS if self.strength is None else (self.strength,)

    def _try(self, name: str, lesson: Lesson, folds: NDArray[np.int_], strength: float) -> "_Try":
        scores = out_of_fold(lesson, folds, strength)
        slope, offset = calibration(scores, lesson.answers, lesson.weights)
        loss = _loss(scores * slope + offset, lesson)
        self.say(f"{name}: strength {strength}, loss {loss:.4f} out of fold")
        return _Try(loss, strength, slope, offset, scores)


@dataclass(frozen=True, slots=True)
class _Try:
    loss: float
    strength: float
    slope: float
    offset: float
    scores: Floats


def _loss(odds: Floats, lesson: Lesson) -> float:
    wrong = lesson.answers > 0
    return float(np.average(np.logaddexp(0, np.where(wrong, -odds, odds)), weights=lesson.weights))


def chances(cheapest: Floats, middle: Floats | None) -> list[Chances]:
    """Log-odds as chances."""
    fails = 1 / (1 + np.exp(-cheapest))
    if middle is None:
        return [Chances(float(chance), None) for chance in fails]
    return [Chances(float(a), float(b)) for a, b in zip(fails, 1 / (1 + np.exp(-middle)), strict=True)]


def choose(found: Sequence[Chances], targets: Sequence[Target], agreement: float) -> dict[str, float | None]:
    """The threshold of each label, None for one that is never given."""
    likeliest = [max(Label, key=one.of) for one in found]
    thresholds: dict[str, float | None] = {}
    for label in Label:
        rows = [
            (one.of(label), told)
            for one, best, goal in zip(found, likeliest, targets, strict=True)
            if best is label and one.of(label) >= LEAST_CHANCE and (told := goal.agrees(label)) is not None
        ]
        thresholds[label.value] = _lowest(sorted(rows, key=lambda row: -row[0]), agreement)
    return thresholds


def _lowest(rows: Sequence[tuple[float, bool]], agreement: float) -> float | None:
    """The lowest chance from which on the rows agree often enough."""
    found, right = None, 0
    for count, (chance, agrees) in enumerate(rows, 1):
        right += agrees
        last = count == len(rows) or rows[count][0] < chance
        if last and count >= FEWEST_GIVEN and wilson(right / count, count)[0] >= agreement:
            found = math.floor(chance * 10**CHANCE_DIGITS) / 10**CHANCE_DIGITS
    return found


def packed(weights: Weights) -> dict[str, Any]:
    """A question as the JSON has it."""
    return {
        "bias": round(weights.bias, DIGITS),
        "plain": {name: round(float(value), DIGITS) for name, value in zip(PLAIN, weights.plain, strict=True)},
        "scale": round(weights.scale, DIGITS),
        "weights": base64.b64encode(zlib.compress(weights.table.tobytes(), 9)).decode(),
    }


def _told(rows: Sequence[Row], strength: float) -> dict[str, Any]:
    sources: NDArray[np.str_] = np.array([row.source for row in rows])
    names, counts = np.unique(sources, return_counts=True)
    return {
        "rows": len(rows),
        "sources": {str(name): int(count) for name, count in zip(names, counts, strict=True)},
        "strength": strength,
    }
