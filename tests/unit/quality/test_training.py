"""Training the local pre-classifier on made-up labels that words tell, and on outcomes."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cost_router.core.ask import read_ask
from cost_router.core.preclassifier import Chances, Preclassifier
from cost_router.core.words import Label
from infra.operate.labelled import BadLabels
from infra.quality import report
from infra.quality.figures import figures
from infra.quality.learning import Lesson, Texts, fit
from infra.quality.rows import Row, read_rows
from infra.quality.splits import held_out
from infra.quality.targets import Target
from infra.quality.training import Trained, choose, packed, train

WORDS = {"simple": "recite", "moderate": "review", "complex": "derive"}
NAMES = ("apples", "boats", "clouds", "doors", "engines", "forests", "gardens", "houses", "islands", "jackets")


def lines(count: int) -> list[dict[str, Any]]:
    return [
        {"prompt": f"{word} {NAMES[number % 10]} {NAMES[number // 10 % 10]} and {number}", "label": label}
        for number in range(count)
        for label, word in WORDS.items()
    ]


def read(folder: Path, rows: Sequence[dict[str, Any]]) -> list[Row]:
    file = folder / "labels.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return read_rows([file])


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    return read(tmp_path_factory.mktemp("rows"), lines(300))


@pytest.fixture(scope="module")
def trained(rows: list[Row]) -> Trained:
    return train(rows, 0.95, 1.0)


def test_it_learns_what_tells_the_labels_and_is_sure_of_it(trained: Trained) -> None:
    held = trained.data["held_out"]
    assert held["agreement"]["value"] == 1.0
    assert held["coverage"] > 0.9
    for label, word in WORDS.items():
        found = read_ask({"messages": [{"role": "user", "content": f"{word} kites please"}]})
        assert trained.model.label(found) == label
    assert "may be trusted" in report.verdict(trained.data)


def test_nothing_is_learned_from_what_is_held_out(rows: list[Row], trained: Trained) -> None:
    assert trained.tested == [row for row in rows if held_out(row.prompt)]
    assert trained.data["trained_on"]["rows"] == len(rows) - len(trained.tested)
    assert trained.data["held_out"]["rows"] == len(trained.tested)
    unlearned = [row for row in rows if not held_out(row.prompt)]
    again = train(unlearned, 0.95, 1.0)
    assert again.data["heads"] == trained.data["heads"]
    assert again.data["thresholds"] == trained.data["thresholds"]


def test_the_same_rows_give_the_same_file(rows: list[Row], trained: Trained) -> None:
    assert report.written(train(rows, 0.95, 1.0).data) == report.written(trained.data)


def test_the_model_that_runs_scores_as_the_one_that_was_fitted(rows: list[Row]) -> None:
    texts = Texts.read([row.excerpt for row in rows])
    names = np.full(len(rows), "a")
    answers = np.array([float(row.label is not Label.SIMPLE) for row in rows])
    learned = fit(Lesson(texts, answers, np.ones(len(rows)), names, names), 1.0).calibrated(2.0, -0.5)
    made = dict(train(rows, 0.95, 1.0).data) | {"thresholds": {}}
    running = Preclassifier.parse(made | {"heads": {"above_simple": packed(learned), "above_moderate": None}})
    scored = [running.score(row.excerpt) for row in rows]
    assert scored == pytest.approx(learned.scores(texts).tolist(), abs=1e-3)


def test_a_set_whose_models_were_better_does_not_make_its_words_easy(tmp_path: Path) -> None:
    """Two sets of like difficulty, answered by other models: what tells them apart is no sign of difficulty."""
    names = np.array(["good models"] * 400 + ["bad models"] * 400)
    texts = Texts.read(
        [f"history of {NAMES[n % 10]}" for n in range(400)] + [f"art of {NAMES[n % 10]}" for n in range(400)]
    )
    answers = np.array([float(n % 10 == 0) for n in range(400)] + [float(n % 10 != 0) for n in range(400)])
    ours = fit(Lesson(texts, answers, np.ones(800), names, names), 1.0)
    pooled = fit(Lesson(texts, answers, np.ones(800), names, np.full(800, "one")), 1.0)
    gap = [learned.scores(texts)[400:].mean() - learned.scores(texts)[:400].mean() for learned in (ours, pooled)]
    assert abs(gap[0]) < abs(gap[1]) / 2


def test_outcomes_of_two_models_teach_simple_only(tmp_path: Path) -> None:
    outcomes = [{"prompt": row["prompt"], "weak": int(row["label"] == "simple"), "strong": 1} for row in lines(200)]
    made = train(read(tmp_path, outcomes), 0.9, 1.0)
    assert made.data["heads"]["above_moderate"] is None
    assert made.data["thresholds"]["simple"] is not None
    assert made.data["thresholds"]["complex"] is None
    assert made.data["held_out"]["given"]["simple"]["wrong"] == 0


def test_labels_that_no_word_tells_are_never_given(tmp_path: Path) -> None:
    rows = [row | {"label": ("simple", "complex")[place * 7 % 11 % 2]} for place, row in enumerate(lines(150))]
    made = train(read(tmp_path, rows), 0.95, 1.0)
    assert made.data["thresholds"] == {"simple": None, "moderate": None, "complex": None}
    assert made.data["held_out"]["coverage"] == 0
    assert "labels nothing" in report.verdict(made.data)


def test_prompts_in_a_context_make_a_model_for_any(tmp_path: Path, trained: Trained) -> None:
    assert trained.data["lone"] is True
    whole = {"system": "Be brief.", "messages": [{"role": "user", "content": "recite kites"}]}
    rows = read(tmp_path, [*lines(40), *[{"params": whole, "label": "simple"}]])
    unheld = [row for row in rows if row.alone or not held_out(row.prompt)]
    assert len(unheld) == len(rows), "the line with a context has to be one that is learned from"
    assert train(rows, 0.95, 1.0).data["lone"] is False


def test_figures_count_what_the_router_would_get(tmp_path: Path, trained: Trained) -> None:
    """A model of lone prompts is not credited with labels of others, which it never gives."""
    whole = {"system": "Be brief.", "messages": [{"role": "user", "content": "recite kites"}]}
    rows = read(tmp_path, [{"params": whole, "label": "simple"}, {"prompt": "recite kites", "label": "simple"}])
    assert figures(trained.model, rows)["coverage"] == 0.5


def test_too_few_rows_teach_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadLabels, match="accepted: 20 of either at the least"):
        train(read(tmp_path, lines(10)), 0.95)


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [(100, 0, 0.9), (72, 0, None), (73, 0, 0.9), (49, 0, None), (300, 4, 0.9), (300, 9, None)],
)
def test_a_threshold_needs_the_low_end_of_the_interval(right: int, wrong: int, expected: float | None) -> None:
    """The low end for 73 of 73 is 95.0 %, for 72 of 72 it is 94.9 %."""
    found = [Chances(0.1, None)] * (right + wrong)
    simple, hard = Target(0, None, frozenset({Label.SIMPLE})), Target(1, None, frozenset({Label.MODERATE}))
    assert choose(found, [simple] * right + [hard] * wrong, 0.95)["simple"] == expected


def test_a_threshold_is_as_low_as_it_may_be() -> None:
    found = [Chances(0.05, None)] * 100 + [Chances(0.1, None)] * 100 + [Chances(0.2, None)] * 100
    simple, hard = Target(0, None, frozenset({Label.SIMPLE})), Target(1, None, frozenset({Label.MODERATE}))
    targets = [simple] * 200 + [hard] * 100
    assert choose(found, targets, 0.95) == {"simple": 0.9, "moderate": None, "complex": None}


@pytest.mark.parametrize(
    ("agreement", "said"),
    [
        ({"value": 0.99, "interval": [0.96, 1.0], "n": 300}, "may be trusted"),
        ({"value": 0.97, "interval": [0.90, 0.99], "n": 60}, "neither show nor refute"),
        ({"value": 0.80, "interval": [0.75, 0.85], "n": 300}, "may not be trusted"),
        (None, "not known"),
    ],
)
def test_the_verdict_is_that_of_the_interval(agreement: dict[str, Any] | None, said: str) -> None:
    data = {"agreement": 0.95, "thresholds": {"simple": 0.9}, "held_out": {"agreement": agreement}}
    assert said in report.verdict(data)
