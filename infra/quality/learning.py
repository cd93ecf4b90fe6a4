"""Fits one question of the pre-classifier: logistic regression over hashed n-grams and plain features.

Three things make it carry over to prompts of another kind than those it has seen, each measured by leaving whole sets
out (`docs/routing-quality.md`):
- n-grams count when they are there, without scaling a text to length one, so that a longer text can be harder;
- rows that the same models answered get a bias of their own, which is dropped when the model runs: how good the models
  of a set were on the whole is no property of its prompts;
- sets weigh as the square root of their rows, so that a large one does not drown a small one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from cost_router.core.ngrams import PLAIN, Grams, plain

GRAMS: Final = Grams(buckets=1 << 16, pairs=True, characters=(4,))
GRAM: Final = 0.1  # what an n-gram counts beside a plain feature of variance one: the penalty holds n-grams back more
OWN_BIAS: Final = 3.0  # the same for the bias of a set's models, which is hardly held back
MOST: Final = 127  # of a signed byte
PENALTY_OFF: Final = 1e6  # C of the calibration, which has two parameters only
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Texts:
    """What the model sees of many texts: a row each."""

    grams: Any  # scipy CSR of ones
    plain: Floats

    @classmethod
    def read(cls, texts: Sequence[str], grams: Grams = GRAMS) -> "Texts":
        """The texts as `core/ngrams.py` sees them."""
        found = [sorted(grams.of(text)) for text in texts]
        starts = np.cumsum([0, *map(len, found)])
        places = np.concatenate([np.asarray(buckets, dtype=np.int32) for buckets in found])
        shape = (len(texts), grams.buckets)
        return cls(sp.csr_matrix((np.ones(len(places)), places, starts), shape=shape), np.array([*map(plain, texts)]))

    def __getitem__(self, rows: Any) -> "Texts":
        return Texts(self.grams[rows], self.plain[rows])


@dataclass(frozen=True, slots=True)
class Weights:
    """A fitted question, its n-gram weights rounded to signed bytes as the model has them when it runs."""

    bias: float
    plain: Floats
    scale: float
    table: NDArray[np.int8]

    def scores(self, texts: Texts) -> Floats:
        """Log-odds of each text: what `core/preclassifier.py` computes."""
        found: Floats = texts.plain @ self.plain + self.bias + self.scale * (texts.grams @ self.table.astype(float))
        return found

    def calibrated(self, slope: float, offset: float) -> "Weights":
        """The question whose log-odds are `slope` times these, plus `offset`."""
        return Weights(self.bias * slope + offset, self.plain * slope, self.scale * slope, self.table)


@dataclass(frozen=True, slots=True)
class Lesson:
    """Rows to learn one question from. answers: 1, 0, or between where it is both in part.

    sets, models: names of the set that a row is of, and of the models that it tells of.
    """

    texts: Texts
    answers: Floats
    weights: Floats
    sets: NDArray[np.str_]
    models: NDArray[np.str_]

    def __getitem__(self, rows: Any) -> "Lesson":
        return Lesson(self.texts[rows], self.answers[rows], self.weights[rows], self.sets[rows], self.models[rows])

    @property
    def balanced(self) -> Floats:
        """Weights with which a set weighs as the square root of its rows, one on average."""
        names, place, counts = np.unique(self.sets, return_inverse=True, return_counts=True)
        found = self.weights / np.sqrt(counts[place]) if len(names) else self.weights
        return np.asarray(found / found.mean())


def fit(lesson: Lesson, strength: float) -> Weights:
    """The question, not calibrated. strength: inverse of the penalty, as scikit-learn's C. Deterministic."""
    mean, spread = lesson.texts.plain.mean(axis=0), lesson.texts.plain.std(axis=0) + 1e-9
    _, place = np.unique(lesson.models, return_inverse=True)
    own = sp.csr_matrix((np.full(len(place), OWN_BIAS), (np.arange(len(place)), place)))
    seen = sp.hstack([sp.csr_matrix((lesson.texts.plain - mean) / spread), lesson.texts.grams * GRAM, own]).tocsr()
    # A row that is both in part is learned from twice, each time with its part of the weight.
    yes, no = np.flatnonzero(lesson.answers > 0), np.flatnonzero(lesson.answers < 1)
    rows = np.concatenate([yes, no])
    shares = np.concatenate([lesson.answers[yes], 1 - lesson.answers[no]])
    model = LogisticRegression(C=strength, solver="liblinear", max_iter=1_000)
    model.fit(seen[rows], np.repeat([1, 0], [len(yes), len(no)]), sample_weight=lesson.balanced[rows] * shares)
    learned = model.coef_[0]
    features = learned[: len(PLAIN)] / spread
    grams = learned[len(PLAIN) : len(PLAIN) + lesson.texts.grams.shape[1]] * GRAM
    scale = float(np.abs(grams).max()) / MOST or 1.0
    return Weights(float(-features @ mean), features, scale, np.rint(grams / scale).astype(np.int8))


def out_of_fold(lesson: Lesson, folds: NDArray[np.int_], strength: float) -> Floats:
    """The score that each row gets from a model that has not seen its fold."""
    found = np.zeros(len(folds))
    for fold in np.unique(folds):
        found[folds == fold] = fit(lesson[folds != fold], strength).scores(lesson.texts[folds == fold])
    return found


def calibration(scores: Floats, answers: Floats, weights: Floats) -> tuple[float, float]:
    """Slope and offset that make log-odds of scores which are out of fold (Platt); a row half wrong is wrong."""
    model = LogisticRegression(C=PENALTY_OFF, solver="liblinear", max_iter=1_000)
    model.fit(scores[:, None], (answers > 0).astype(int), sample_weight=weights)
    return float(model.coef_[0][0]), float(model.intercept_[0])
