"""`cost-router evaluate` as a user runs it, against the deployed stack."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from tests.integration.commands import command
from tests.integration.meter import Meter

# (the right label, the one that the stand-in's classifier gives)
LABELS = [("simple", "simple"), ("moderate", "moderate"), ("complex", "complex"), ("complex", "simple")]


@pytest.fixture
def labels(folder: Path) -> str:
    lines = [{"prompt": f"[[label:{given}]] Ask {right}", "label": right} for right, given in LABELS]
    (folder / "labels.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return "labels.jsonl"


def test_labels_are_measured_against_the_deployment_and_attacks_tried(folder: Path, labels: str, meter: Meter) -> None:
    words = ("evaluate", labels, "--per-attack", "1", "--out", "out.jsonl", "--json")
    found = json.loads(command(*words, cwd=folder))
    assert found["simulated"]
    assert (found["accuracy"]["value"], found["by_cause"]["classifier"]["n"]) == (0.75, 4)
    ours = found["strategies"][0]
    assert (ours["under_routed"]["value"], ours["tiers_under"], ours["over_routed"]["value"]) == (0.25, 2.0, 0.0)
    assert found["latency"]["classifier"]["p95_ms"] > 0
    attacks = found["injections"]
    assert (attacks["down"]["n"], attacks["up"]["n"], attacks["control"]["n"]) == (28, 28, 4)
    assert attacks["down"]["value"] == attacks["up"]["value"] == 0.0  # the stand-in heeds its marker alone
    assert len(meter.calls()) == 4 + 28 + 28 + 4
    assert Decimal(found["spent_usd"]) > 0
    written = [json.loads(line) for line in (folder / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(line["label"], line["predicted"], line["cause"]) for line in written] == [
        (right, given, "classifier") for right, given in LABELS
    ]
    printed = command("evaluate", labels, "--no-injections", "--cached", cwd=folder)
    assert printed.startswith("Claude is simulated")
    assert "accuracy 75.0%" in printed


def test_it_stops_at_its_cap_and_reports_what_it_has(folder: Path, labels: str, meter: Meter) -> None:
    words = ("evaluate", labels, "--max-usd", "0.0003", "--concurrency", "1", "--json")
    found = json.loads(command(*words, cwd=folder, expect=1))
    assert 0 < found["decided"] == len(meter.calls()) < 4
    assert found["stopped"] == "the cap of $0.0003 is reached"
    assert Decimal(found["spent_usd"]) <= Decimal("0.0003")


@pytest.mark.parametrize(
    ("line", "said"), [({"prompt": "Hi", "label": "hard"}, "line 1: label: 'hard'"), ({"label": "simple"}, "line 1: ")]
)
def test_bad_lines_are_told_before_anything_is_paid(
    folder: Path, meter: Meter, line: dict[str, str], said: str
) -> None:
    (folder / "bad.jsonl").write_text(json.dumps(line), encoding="utf-8")
    assert said in command("evaluate", "bad.jsonl", cwd=folder, expect=1)
    assert meter.calls() == []


def test_a_wrong_key_is_one_line(folder: Path, labels: str) -> None:
    printed = command("evaluate", labels, "--key", "nobodys", cwd=folder, expect=1)
    assert "no request got a decision: status 401" in printed
