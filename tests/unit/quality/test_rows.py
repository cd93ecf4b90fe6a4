"""Lines of outcomes and labels: what they are read as, and what is said of bad ones."""

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cost_router.core.words import Label, Tier
from infra.operate.labelled import BadLabels
from infra.quality import splits
from infra.quality.policies import labelled
from infra.quality.rows import Row, read_rows
from infra.quality.targets import Target, by_tier, target

HAIKU, SONNET, OPUS = "claude-3-haiku-20240307", "claude-3-sonnet-20240229", "claude-3-opus-20240229"
SIMPLE, MODERATE, COMPLEX = Label.SIMPLE, Label.MODERATE, Label.COMPLEX


def read(folder: Path, *lines: Any) -> list[Row]:
    file = folder / "rows.jsonl"
    file.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return read_rows([file])


def test_all_shapes_are_read(tmp_path: Path) -> None:
    body = {"system": "Be brief.", "messages": [{"role": "user", "content": [{"type": "text", "text": " Hi "}]}]}
    labelled, whole, pair, models = read(
        tmp_path,
        {"prompt": "Is 97 prime?", "label": "simple", "weight": 2.5, "id": "a"},
        {"params": body, "label": "complex"},
        {"prompt": "a", "weak": 1, "strong": 0, "weak_chars": 5, "strong_chars": 7, "domain": "law"},
        {
            "prompt": "b",
            "correct": {HAIKU: 0, OPUS: True},
            "cost_usd": {HAIKU: "0.001"},
            "task": "gsm",
            "label": "simple",
        },
    )
    assert (labelled.prompt, labelled.label, labelled.weight, labelled.id, labelled.alone) == (
        "Is 97 prime?",
        SIMPLE,
        2.5,
        "a",
        True,
    )
    assert (whole.excerpt, whole.alone, whole.source) == ("Hi", False, "rows")
    assert (pair.correct, pair.characters, pair.subject) == ({"weak": 1, "strong": 0}, {"weak": 5, "strong": 7}, "law")
    assert (models.correct, models.cost_usd, models.source) == (
        {HAIKU: 0, OPUS: 1},
        {HAIKU: Decimal("0.001")},
        "rows gsm",
    )


def test_a_long_prompt_is_read_by_its_excerpt(tmp_path: Path) -> None:
    [row] = read(tmp_path, {"prompt": "a" * 9_000, "label": "simple"})
    assert len(row.prompt) == 9_000
    assert len(row.excerpt) < 2_100


def test_gzip_blank_lines_and_a_byte_order_mark_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl.gz"
    file.write_bytes(gzip.compress(b'\xef\xbb\xbf\n{"prompt": "a", "label": "simple"}\r\n\n'))
    assert [row.prompt for row in read_rows([file])] == ["a"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line: not valid JSON"),
        ("[]", "line 1"),
        ({"label": "simple"}, "neither prompt nor params"),
        ({"prompt": "a", "params": {}, "label": "simple"}, "both prompt and params"),
        ({"prompt": ["a"], "label": "simple"}, "prompt: ['a']; accepted: a text"),
        ({"prompt": " ", "label": "simple"}, "no text that a person wrote"),
        ({"params": [], "label": "simple"}, "params.messages: 'NoneType'"),
        ({"params": {"messages": ["a"]}, "label": "simple"}, "params.messages: 'list'"),
        ({"prompt": "a"}, "members ['prompt']; accepted: label, weak and strong, or correct"),
        ({"prompt": "a", "label": "easy"}, "label: 'easy'; accepted: simple, moderate, complex"),
        ({"prompt": "a", "label": ["simple"]}, "label: ['simple']"),
        ({"prompt": "a", "weak": 1}, "weak stands alone; accepted: weak and strong"),
        ({"prompt": "a", "weak": 1, "strong": 1, "correct": {"m": 1}}, "one of the two shapes"),
        ({"prompt": "a", "weak": "1", "strong": 1}, "weak: '1'; accepted: a number from 0 on"),
        ({"prompt": "a", "weak": -1, "strong": 1}, "weak: -1"),
        ({"prompt": "a", "correct": [1]}, "correct: [1]; accepted: an object by model"),
        ({"prompt": "a", "correct": {"m": None}}, "m: None"),
        ({"prompt": "a", "label": "simple", "weight": {}}, "weight: {}"),
        ({"prompt": "a", "label": "simple", "cost_usd": {"m": "x"}}, "cost_usd of 'm': 'x'"),
        ({"prompt": "a", "label": "simple", "cost_usd": {"m": "NaN"}}, "cost_usd of 'm': 'NaN'"),
        ({"prompt": "a", "label": "simple", "domain": 3}, "domain: 3; accepted: a text"),
    ],
)
def test_a_bad_line_is_named_with_what_is_accepted(tmp_path: Path, line: Any, said: str) -> None:
    with pytest.raises(BadLabels) as refused:
        read(tmp_path, line)
    assert said in str(refused.value)
    assert "rows.jsonl line 1: " in str(refused.value)
    assert '"label": "simple"' in str(refused.value)


def test_all_bad_lines_are_told_up_to_twenty(tmp_path: Path) -> None:
    with pytest.raises(BadLabels) as refused:
        read(tmp_path, {"prompt": "a", "label": "simple"}, *[{"prompt": "a"}] * 23)
    assert "line 2:" in str(refused.value)
    assert "line 21:" in str(refused.value)
    assert "line 22:" not in str(refused.value)
    assert "... and 3 more" in str(refused.value)


@pytest.mark.parametrize(("content", "said"), [(b"", "no lines"), (None, "No such file")])
def test_a_file_with_nothing_in_it_is_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "rows.jsonl"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadLabels, match=said):
        read_rows([file])


def test_a_broken_gzip_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl.gz"
    file.write_bytes(gzip.compress(b'{"prompt": "a", "label": "simple"}\n' * 100)[:-20])
    with pytest.raises(BadLabels, match=r"accepted: a \.jsonl or \.jsonl\.gz file"):
        read_rows([file])


HARD = frozenset({MODERATE, COMPLEX})


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ({"label": "simple"}, Target(0, 0, frozenset({SIMPLE}))),
        ({"label": "moderate"}, Target(1, 0, frozenset({MODERATE}))),
        ({"label": "complex"}, Target(1, 1, frozenset({COMPLEX}))),
        ({"weak": 1, "strong": 0}, Target(0, None, frozenset({SIMPLE}))),
        ({"weak": 0, "strong": 1}, Target(1, None, HARD)),
        ({"weak": 0, "strong": 0}, Target(0.5, None, HARD)),
        ({"weak": 0.5, "strong": 1}, Target(0, None, frozenset({SIMPLE}))),
        ({"correct": {HAIKU: 1, SONNET: 0, OPUS: 1}}, Target(0, 1, frozenset({SIMPLE}))),
        ({"correct": {HAIKU: 0, SONNET: 1, OPUS: 1}}, Target(1, 0, frozenset({MODERATE}))),
        ({"correct": {HAIKU: 0, SONNET: 0, OPUS: 1}}, Target(1, 1, frozenset({COMPLEX}))),
        ({"correct": {HAIKU: 0, SONNET: 0, OPUS: 0}}, Target(0.5, 0.5, frozenset({COMPLEX}))),
        ({"correct": {HAIKU: 0, OPUS: 1}}, Target(1, None, HARD)),
        ({"correct": {SONNET: 0, OPUS: 1}}, Target(None, 1, frozenset({SIMPLE, COMPLEX}))),
        ({"correct": {HAIKU: 1, SONNET: 1}, "label": "complex"}, Target(0, 0, frozenset({SIMPLE}))),
    ],
)
def test_the_right_label_is_that_of_the_cheapest_tier_which_is_right(
    tmp_path: Path, line: dict[str, Any], expected: Target
) -> None:
    [row] = read(tmp_path, {"prompt": "a"} | line)
    assert target(row) == expected


@pytest.mark.parametrize(("given", "agrees"), [(SIMPLE, False), (MODERATE, None), (COMPLEX, None)])
def test_a_label_agrees_only_where_the_row_tells(given: Label, agrees: bool | None) -> None:  # noqa: FBT001  columns
    assert Target(1, None, HARD).agrees(given) is agrees


def test_the_oldest_model_of_a_tier_stands_for_it() -> None:
    names = ["claude-3-5-sonnet-20241022", "claude-3-sonnet-20240229", "claude-3-5-sonnet-20240620", HAIKU]
    assert by_tier(names) == {Tier.HAIKU: HAIKU, Tier.SONNET: "claude-3-sonnet-20240229"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"correct": {"gpt-4": 1, HAIKU: 1}}, "'gpt-4': which tier is it"),
        ({"weak": 7, "strong": 9}, "accepted for training: 0 to 1"),
    ],
)
def test_what_tells_no_label_is_no_training_data(tmp_path: Path, line: dict[str, Any], said: str) -> None:
    [row] = read(tmp_path, {"prompt": "a"} | line)
    with pytest.raises(BadLabels, match=said):
        target(row)


def test_a_prompt_is_in_the_same_part_and_fold_always_and_a_fifth_is_held_out() -> None:
    prompts = [f"prompt {number}" for number in range(1_000)]
    assert 160 < sum(map(splits.held_out, prompts)) < 240
    assert [splits.held_out(prompt) for prompt in prompts[8:16]] == HELD_OUT
    assert [splits.fold(prompt) for prompt in prompts[:8]] == FOLDS
    assert {splits.subject_fold(prompt) for prompt in prompts} == {0, 1, 2, 3, 4}


HELD_OUT = [True, *[False] * 6, True]
FOLDS = [0, 3, 4, 0, 0, 2, 1, 3]


def test_the_classifier_is_replayed_only_when_it_has_labelled_every_prompt(tmp_path: Path) -> None:
    rows = read(tmp_path, {"prompt": "a", "weak": 1, "strong": 1}, {"prompt": "b", "id": "2", "weak": 1, "strong": 1})
    assert labelled(rows, {"a": SIMPLE}) is None
    found = labelled(rows, {"a": SIMPLE, "2": COMPLEX})
    assert found is not None
    assert found.tolist() == [0, 2]
