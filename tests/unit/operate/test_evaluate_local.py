"""A local model is read from a file and asked here."""

import base64
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.operate.evaluate_local import evaluate_local
from infra.operate.labelled import BadLabels, Item, parse_labelled

ITEMS: list[Item] = parse_labelled([(1, b'{"prompt": "Is 97 prime?", "label": "simple"}')], "labels.jsonl")
FLAT = base64.b64encode(zlib.compress(bytes(2))).decode()
# A model that looks at the length only: to 20 characters it says simple, from 40 on complex, in between nothing.
LENGTH = {
    "format": 1,
    "agreement": 0.4,
    "lone": True,
    "buckets": 2,
    "pairs": False,
    "characters": [],
    "heads": {
        "above_simple": {"bias": -17.0, "plain": {"log_characters": 5.0}, "scale": 0.0, "weights": FLAT},
        "above_moderate": {"bias": 30.0, "plain": {}, "scale": 0.0, "weights": FLAT},
    },
    "thresholds": {"simple": 0.8, "complex": 0.8},
}


def lines(*values: dict[str, Any]) -> list[Item]:
    return parse_labelled(enumerate([json.dumps(value).encode() for value in values], 1), "labels.jsonl")


def test_coverage_and_agreement_of_a_model_of_the_router_itself(tmp_path: Path) -> None:
    file = tmp_path / "model.json"
    file.write_text(json.dumps(LENGTH), encoding="utf-8")
    asked = lines(
        {"prompt": "Is 97 prime?", "label": "simple", "id": "a"},
        {"prompt": "Is 91 prime?", "label": "moderate"},
        {"prompt": "Is that number a prime one?", "label": "simple"},
        {"prompt": "Prove that " + "there are infinitely many primes. " * 3, "label": "complex"},
        {
            "params": {"messages": [{"role": "user", "content": "Why?"}], "system": "x", "max_tokens": 9},
            "label": "simple",
        },
    )
    found = evaluate_local(asked, file, 1)
    told = found.json()
    assert (told["coverage"]["value"], told["agreement"]["value"], told["stated_agreement"]) == (0.6, 0.6667, 0.4)
    assert told["confusion"]["moderate"]["simple"] == 1
    assert "neither show nor refute" in told["verdict"]
    assert [json.loads(line)["predicted"] for line in found.predictions()] == ["simple", "simple", "complex"]
    assert json.loads(found.predictions()[0])["id"] == "a"
    assert told["injections"]["up"]["value"] == 1.0  # what is added makes a text longer, and it looks at nothing else
    assert told["injections"]["down"]["value"] == 0.0
    assert evaluate_local(asked, file, None).json()["injections"] is None


def test_a_model_that_the_router_would_not_take_is_told(tmp_path: Path) -> None:
    file = tmp_path / "model.json"
    file.write_text(json.dumps({**LENGTH, "buckets": 3}), encoding="utf-8")
    with pytest.raises(BadLabels, match="buckets: 3"):
        evaluate_local(ITEMS, file, None)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: path.write_text("nope"), "it is no JSON"),
        (lambda path: path.write_text("[1]"), r"\[1\]; accepted: the JSON object"),
        (lambda path: path.write_bytes(b"\xff"), "it is no JSON"),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda _: None, "No such file"),
    ],
)
def test_what_is_no_model_is_told(tmp_path: Path, write: Callable[[Path], object], said: str) -> None:
    path = tmp_path / "model.json"
    write(path)
    with pytest.raises(BadLabels, match=said):
        evaluate_local(ITEMS, path, None)
