"""The public outcomes, and how good each policy is on them: what the bench and `docs/routing-quality.md` show.

The pre-classifier is always scored by a model that has not seen the prompt: five folds by prompt; whole subjects of
MMLU left out in turn; whole sets left out. `python -m infra.quality.public --svg FILE` prints the tables of the page
and draws its picture.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from infra.quality.curves import Floats, Measured, Outcomes, measure
from infra.quality.learning import Lesson, Texts, fit, out_of_fold
from infra.quality.plot import Panel, svg
from infra.quality.policies import LENGTH, PRECLASSIFIER, baselines
from infra.quality.replay import choose_models
from infra.quality.rows import Row, read_rows
from infra.quality.splits import fold, subject_fold
from infra.quality.targets import target

FOLDER: Final = Path(__file__).parent / "outcomes"
MMLU, GSM8K, CLAUDE = "mmlu", "gsm8k", "claude"
FILES: Final = {
    CLAUDE: FOLDER / "claude3_gsm_crux.jsonl.gz",
    GSM8K: FOLDER / "gsm8k_mixtral_gpt4.jsonl.gz",
    MMLU: FOLDER / "mmlu_mixtral_gpt4.jsonl.gz",
}
UNSEEN: Final = "mmlu_unseen_subjects"
STRENGTH: Final = 0.02  # chosen by leaving sets and subjects out, not by single prompts
SEED: Final = 0


@dataclass(frozen=True, slots=True)
class Found:
    """The figures of the policies on one set."""

    prompts: int
    weak: float  # quality of the cheap model
    strong: float
    policies: Mapping[str, Measured]


@dataclass(frozen=True, slots=True)
class Lab:
    """All public rows, read for learning. sets: which file each is from."""

    rows: Sequence[Row]
    sets: NDArray[np.str_]
    lesson: Lesson

    @classmethod
    def read(cls) -> "Lab":
        """The rows of the files in this repository."""
        by_set = {name: read_rows([path]) for name, path in FILES.items()}
        rows = [row for found in by_set.values() for row in found]
        answers = np.array([target(row).cheapest_fails for row in rows], dtype=float)
        lesson = Lesson(
            texts=Texts.read([row.excerpt for row in rows]),
            answers=answers,
            weights=np.array([row.weight for row in rows]),
            sets=np.array([row.file for row in rows]),
            models=np.array([row.models for row in rows]),
        )
        return cls(rows, np.repeat(list(by_set), [*map(len, by_set.values())]), lesson)

    def known(self) -> dict[str, Found]:
        """Each set, with prompts of the same sets learned from."""
        folds = np.array([fold(row.prompt) for row in self.rows])
        scores = out_of_fold(self.lesson, folds, STRENGTH)
        return {name: self._found(np.flatnonzero(self.sets == name), scores, folds) for name in (MMLU, GSM8K, CLAUDE)}

    def unseen_subjects(self) -> Found:
        """MMLU, each subject scored by a model that has seen none of its prompts."""
        folds = np.array([subject_fold(row.subject) if row.subject else -1 for row in self.rows])
        scores = np.zeros(len(self.rows))
        for part in set(folds.tolist()) - {-1}:
            scores[folds == part] = self._scores(folds != part, folds == part)
        return self._found(np.flatnonzero(folds >= 0), scores, folds)

    def other_sets(self) -> dict[str, Found]:
        """Each set, with nothing like it learned from: the files that share GSM8K's prompts are left out together."""
        taught = {MMLU: self.sets != MMLU, GSM8K: self.sets == MMLU, CLAUDE: self.sets == MMLU}
        found = {}
        for name, learned in taught.items():
            tested = self.sets == name
            scores = np.zeros(len(self.rows))
            scores[tested] = self._scores(learned, tested)
            found[name] = self._found(np.flatnonzero(tested), scores, np.zeros(len(self.rows), dtype=int))
        return found

    def _scores(self, learned: NDArray[np.bool_], tested: NDArray[np.bool_]) -> Floats:
        return fit(self.lesson[learned], STRENGTH).scores(self.lesson.texts[tested])

    def _found(self, places: NDArray[np.int_], scores: Floats, parts: NDArray[np.int_]) -> Found:
        rows = [self.rows[place] for place in places]
        weak, strong = choose_models(rows, None, None)
        outcomes = Outcomes(
            np.array([row.correct[weak] for row in rows]),
            np.array([row.correct[strong] for row in rows]),
            np.array([row.weight for row in rows]),
        )
        policies = {**baselines(rows, outcomes), PRECLASSIFIER: scores[places]}
        measured = measure(policies, outcomes, parts[places], SEED, LENGTH)
        return Found(len(rows), float(outcomes.weak.mean()), float(outcomes.strong.mean()), measured)


def table(found: Mapping[str, Found], cell: Callable[[Measured], str]) -> str:
    """A table in Markdown: a row for each policy, a column for each set."""
    policies = list(next(iter(found.values())).policies)
    lines = [["policy", *(f"{name} (n = {one.prompts:,})" for name, one in found.items())], ["---"] * (len(found) + 1)]
    lines += [[policy, *(cell(one.policies[policy]) for one in found.values())] for policy in policies]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Print the tables of the page; draw its picture where one is asked for."""
    parser = argparse.ArgumentParser(prog="python -m infra.quality.public", description=__doc__)
    parser.add_argument("--svg", type=Path, help="draw the curves into this file")
    asked = parser.parse_args()
    lab = Lab.read()
    known = {**lab.known(), UNSEEN: lab.unseen_subjects()}
    others = lab.other_sets()
    for heading, found in (("known sets", known), ("nothing like it learned from", others)):
        print(f"\nAPGR, {heading}\n\n{table(found, lambda one: str(one.apgr))}")
        print(f"\nAPGR over length, {heading}\n\n{table(found, lambda one: str(one.over_length))}")
        print(f"\nshare of dear calls at 95 % quality, {heading}\n\n{table(found, lambda one: str(one.share))}")
    for name, one in known.items():
        print(f"{name}: cheap model {one.weak:.3f}, dear model {one.strong:.3f}")
    if asked.svg:
        panels = [Panel(name, {key: value.curve for key, value in one.policies.items()}) for name, one in known.items()]
        asked.svg.write_text(svg(panels), encoding="utf-8")


if __name__ == "__main__":
    main()
