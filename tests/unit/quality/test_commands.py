"""`cost-router train` and `cost-router replay` as a user runs them, in this process."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cost_router.core.preclassifier import Preclassifier
from infra.cli import app
from infra.quality.build import SHIPPED
from tests.unit.quality.test_training import lines

HAIKU, OPUS = "claude-haiku-5-5", "claude-opus-5-5"


def run(*words: str | Path, expect: int = 0) -> str:
    done: Result = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == expect, done.output
    return done.output


def written(folder: Path, rows: list[dict[str, Any]], name: str = "rows.jsonl") -> Path:
    file = folder / name
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def outcomes(*, more: bool = True, **members: Any) -> list[dict[str, Any]]:
    chars = {"out_chars": {HAIKU: 400, OPUS: 400}} if more else {}
    return [
        {"prompt": f"{'prove ' * (n % 3)}question {n}", "correct": {HAIKU: int(n % 3 < 1), OPUS: 1}, **chars, **members}
        for n in range(90)
    ]


def test_train_writes_a_model_that_the_router_reads_and_says_what_is_next(tmp_path: Path) -> None:
    out = tmp_path / "model.json"
    said = run("train", written(tmp_path, lines(150)), "--out", out, "--strength", "1.0")
    assert Preclassifier.parse(json.loads(out.read_text(encoding="utf-8"))).thresholds
    for part in (
        "coverage:",
        "agreement:",
        "microseconds a prompt",
        "cost-router evaluate",
        "routing set --preclassifier",
    ):
        assert part in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "rows.jsonl"]


def test_train_prints_its_figures_as_json(tmp_path: Path) -> None:
    words = ("train", written(tmp_path, lines(100)), "--out", tmp_path / "m.json", "--strength", "1.0", "--json")
    told = json.loads(run(*words))
    assert {"agreement", "thresholds", "held_out", "trained_on", "bytes", "microseconds", "verdict", "version"} <= set(
        told
    )
    assert "heads" not in told


def test_a_bad_line_is_named_and_the_model_that_is_there_stays(tmp_path: Path) -> None:
    out = tmp_path / "model.json"
    out.write_text("before", encoding="utf-8")
    said = run("train", written(tmp_path, [*lines(20), {"prompt": "a", "label": "hard"}]), "--out", out, expect=1)
    assert "line 61: label: 'hard'; accepted: simple, moderate, complex" in said
    assert out.read_text(encoding="utf-8") == "before"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--agreement", "1"), "--agreement 1.0; accepted: 0.5 to 0.999"),
        (("--strength", "0"), "--strength 0.0"),
        (("--out", "nowhere/model.json"), "its folder is not there"),
    ],
)
def test_options_that_cannot_be_are_refused(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    more = () if "--strength" in words else ("--strength", "1.0")
    assert said in run("train", written(tmp_path, lines(40)), *words, *more, expect=1)


def test_replay_prices_the_policies_and_never_invents_the_classifier(tmp_path: Path) -> None:
    told = json.loads(run("replay", written(tmp_path, outcomes()), "--json"))
    policies = told["policies"]
    assert list(policies) == [
        "random",
        "length",
        "keyword rules",
        "rubric classifier",
        "pre-classifier",
        "oracle",
    ]
    assert policies["rubric classifier"] is None
    assert policies["random"]["apgr"]["value"] == 0.5
    assert policies["oracle"]["apgr"]["value"] == 0.6667  # two thirds need opus: 1 - 2/3/2
    assert policies["oracle"]["strong_share_at_quality"]["value"] == pytest.approx(0.6167)
    assert (told["weak"]["model"], told["strong"]["model"]) == (HAIKU, OPUS)
    usd = told["usd_per_thousand"]
    assert float(usd["all weak"]) < float(usd["oracle"]) < float(usd["random"]) < float(usd["all strong"])
    assert run("replay", written(tmp_path, outcomes())).count("not available") == 1


def test_replay_shows_the_classifier_where_every_prompt_has_its_label(tmp_path: Path) -> None:
    rows = outcomes()
    predicted = [
        {"prompt": row["prompt"], "label": "simple", "predicted": "complex" if n % 3 else "simple"}
        for n, row in enumerate(rows)
    ]
    words = ("replay", written(tmp_path, rows), "--labels", written(tmp_path, predicted, "labels.jsonl"), "--json")
    found = json.loads(run(*words))["policies"]
    assert found["rubric classifier"]["apgr"] == found["oracle"]["apgr"]
    inside = json.loads(run("replay", written(tmp_path, outcomes(label="moderate")), "--json"))["policies"]
    assert inside["rubric classifier"]["apgr"]["value"] == 0.5


def test_replay_draws_the_curves(tmp_path: Path) -> None:
    picture = tmp_path / "curves.svg"
    run("replay", written(tmp_path, outcomes()), "--svg", picture, "--preclassifier", SHIPPED)
    text = picture.read_text(encoding="utf-8")
    assert text.startswith("<svg ")
    assert text.count("<polyline") == 10  # five policies, in the panel and in the legend


def test_replay_of_costs_that_the_rows_tell_takes_those(tmp_path: Path) -> None:
    rows = outcomes(more=False, cost_usd={HAIKU: "0.001", OPUS: "0.01"})
    usd = json.loads(run("replay", written(tmp_path, rows), "--json"))["usd_per_thousand"]
    assert (usd["all weak"], usd["all strong"]) == ("1.0000", "10.0000")
    assert json.loads(run("replay", written(tmp_path, outcomes(more=False)), "--json"))["usd_per_thousand"] is None


def test_only_held_out_prompts_are_replayed_when_asked(tmp_path: Path) -> None:
    every = json.loads(run("replay", written(tmp_path, outcomes()), "--json"))
    held = json.loads(run("replay", written(tmp_path, outcomes()), "--json", "--held-out"))
    assert 0 < held["rows"] == every["held_out_rows"] < every["rows"] == 90


@pytest.mark.parametrize(
    ("rows", "words", "said"),
    [
        ([{"prompt": "a", "label": "simple"}], (), "no outcomes to replay"),
        ([{"prompt": "a", "correct": {"x": 1, "y": 0}}], (), "'x': which tier is it"),
        ([{"prompt": "a", "correct": {HAIKU: 1}}], (), "no pair of a cheap and a dear model"),
        ([{"prompt": "a", "weak": 1, "strong": 0}], ("--weak", "b"), "model 'b'; accepted: models that every row"),
        ([{"prompt": "a", "weak": 1, "strong": 0}], ("--preclassifier", "none.json"), "none.json: No such file"),
        ([{"prompt": "a", "weak": 1, "strong": 0}], ("--labels", "none.jsonl"), "none.jsonl: No such file"),
    ],
)
def test_what_cannot_be_replayed_is_said(
    tmp_path: Path, rows: list[dict[str, Any]], words: tuple[str, ...], said: str
) -> None:
    assert said in run("replay", written(tmp_path, rows), *words, expect=1)


@pytest.mark.parametrize(
    ("content", "said"), [("{", "it is no JSON"), ("{}", "format: None"), ("[]", "accepted: an object")]
)
def test_a_model_that_is_none_is_refused(tmp_path: Path, content: str, said: str) -> None:
    model = tmp_path / "model.json"
    model.write_text(content, encoding="utf-8")
    assert said in run("replay", written(tmp_path, outcomes()), "--preclassifier", model, expect=1)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"prompt": "a", "predicted": "hard"}, "line 1: predicted: 'hard'"),
        ({"predicted": "simple"}, "line 1: members ['predicted']"),
        ({"prompt": "a", "predicted": ["simple"]}, "line 1: predicted: ['simple']"),
    ],
)
def test_bad_labels_of_the_classifier_are_refused(tmp_path: Path, line: dict[str, Any], said: str) -> None:
    labels = written(tmp_path, [line], "labels.jsonl")
    assert said in run("replay", written(tmp_path, outcomes()), "--labels", labels, expect=1)


def test_the_command_starts_without_what_training_needs() -> None:
    """Every command would wait seconds for it."""
    code = "import sys, infra.cli; print(sorted({'numpy', 'scipy', 'sklearn'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_train_learns_from_the_classifiers_labels_of_samples_that_nobody_has_labelled(tmp_path: Path) -> None:
    def sample(row: dict[str, Any], cause: str) -> dict[str, Any]:
        body = {"messages": [{"role": "user", "content": row["prompt"]}]}
        return {"id": "req_1", "params": body, "label": None, "routed": {"label": row["label"], "cause": cause}}

    asked = [sample(row, ("classifier", "cache")[place % 2]) for place, row in enumerate(lines(40))]
    guessed = [sample({"prompt": "x", "label": "moderate"}, cause) for cause in ("default", "rule:planning", "session")]
    file, out = written(tmp_path, [*asked, *guessed]), tmp_path / "model.json"
    told = json.loads(run("train", file, "--logged", "--out", out, "--json"))
    assert told["trained_on"]["rows"] + told["held_out"]["rows"] == len(asked)
    assert "nothing was read" in run("train", file, "--out", out, expect=1)
