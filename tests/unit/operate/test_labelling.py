"""Files of labels: written at once, gone on with, repaired, and never mixed up."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from cost_router.core.words import Label
from infra.operate.labelled import read_labelled
from infra.operate.labelling import BadSample, Labels, Session, read_sample

LINES: list[dict[str, Any]] = [
    {
        "id": name,
        "params": {"model": "auto", "messages": [{"role": "user", "content": f"Ask {name}"}]},
        "label": None,
        "routed": {"label": "simple"},
        "weight": 2.5,
    }
    for name in "abc"
]


def written(file: Path, *lines: object) -> Path:
    file.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return file


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    return written(tmp_path / "sample.jsonl", *LINES)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "labels.jsonl"


def labels_in(file: Path) -> dict[str, str]:
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return {row["id"]: row["label"] for row in rows}


def test_a_label_is_on_disk_when_it_is_given_in_the_line_that_evaluate_reads(sample: Path, out: Path) -> None:
    with Labels.open(out) as labels:
        session = Session.of(read_sample(sample), labels)
        session.label(Label.COMPLEX)
        [line] = [json.loads(text) for text in out.read_text().splitlines()]
        assert line == LINES[0] | {"label": "complex"}
        session.label(Label.SIMPLE)
    [first, second] = read_labelled(out)
    assert [first.label, second.label] == ["complex", "simple"]
    assert float(first.weight) == 2.5
    assert first.id == "a"
    assert stat.S_IMODE(out.stat().st_mode) == 0o600, "they are prompts"


def test_undo_takes_back_what_was_done_in_this_sitting_and_no_more(sample: Path, out: Path) -> None:
    written(out, LINES[0] | {"label": "simple"})
    with Labels.open(out) as labels:
        session = Session.of(read_sample(sample), labels)
        session.label(Label.COMPLEX)
        session.skip()
        assert (session.line, session.labelled, session.skipped) == (None, 1, 1)
        assert session.undo()
        assert session.undo()
        assert not session.undo()
        assert labels_in(out) == {"a": "simple"}
        session.label(Label.MODERATE)
    assert labels_in(out) == {"a": "simple", "b": "moderate"}


def test_the_next_sitting_goes_on_where_this_one_stopped_and_asks_skipped_lines_again(sample: Path, out: Path) -> None:
    with Labels.open(out) as labels:
        session = Session.of(read_sample(sample), labels)
        session.skip()
        session.label(Label.SIMPLE)
    with Labels.open(out) as labels:
        session = Session.of(read_sample(sample), labels)
        assert ([line.id for line in session.lines], session.before) == (["a", "c"], 1)


@pytest.mark.parametrize("cut", ['{"id": "b", "label": "sim', "{", '{"id": "b", "label": "simple"'])
def test_a_line_that_a_crash_has_cut_is_taken_away(sample: Path, out: Path, cut: str) -> None:
    whole = json.dumps(LINES[0] | {"label": "simple"}) + "\n"
    out.write_text(whole + cut)
    with Labels.open(out) as labels:
        assert labels.known == {"a"}
        Session.of(read_sample(sample), labels).label(Label.COMPLEX)
    assert labels_in(out) == {"a": "simple", "b": "complex"}


def test_a_last_line_without_its_end_is_whole_all_the_same(sample: Path, out: Path) -> None:
    out.write_text(json.dumps(LINES[0] | {"label": "simple"}))
    with Labels.open(out) as labels:
        Session.of(read_sample(sample), labels).label(Label.COMPLEX)
    assert labels_in(out) == {"a": "simple", "b": "complex"}


def test_a_prompt_alone_will_do_and_gets_an_id_that_stays(tmp_path: Path, out: Path) -> None:
    file = written(tmp_path / "prompts.jsonl", {"prompt": "Is 97 prime?"}, {"id": None, "prompt": "Prove it"})
    for rest in (2, 1):
        with Labels.open(out) as labels:
            session = Session.of(read_sample(file), labels)
            assert len(session.lines) == rest
            session.label(Label.SIMPLE)
    assert len(labels_in(out)) == 2
    assert [item.prompt for item in read_labelled(out)] == ["Is 97 prime?", "Prove it"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", ":1: line: not valid JSON"),
        ({"id": "a"}, ":1: it has neither of prompt and params"),
        ({"id": "a", "prompt": "x", "params": {}}, ":1: it has both of prompt and params"),
        ({"id": "a", "prompt": ["x"]}, ":1: prompt: it is no text"),
        ({"id": "a", "params": "x"}, ":1: params: it is no object"),
        ({"id": "a", "params": {"messages": []}}, ":1: messages"),
        ({"id": ["a"], "prompt": "x"}, r":1: id: \['a'\]"),
        ({"id": "", "prompt": "x"}, ":1: id: ''"),
    ],
)
def test_a_line_that_cannot_be_shown_is_named_before_anything_is_asked(tmp_path: Path, line: object, said: str) -> None:
    with pytest.raises(BadSample, match=said):
        read_sample(written(tmp_path / "sample.jsonl", line))


def test_an_id_twice_or_an_empty_or_missing_sample_is_said(tmp_path: Path, sample: Path) -> None:
    with pytest.raises(BadSample, match=":2: id 'a' is there already"):
        read_sample(written(tmp_path / "twice.jsonl", LINES[0], LINES[0]))
    with pytest.raises(BadSample, match="it is empty"):
        read_sample(written(tmp_path / "empty.jsonl"))
    with pytest.raises(BadSample, match="No such file"):
        read_sample(tmp_path / "missing.jsonl")


@pytest.mark.parametrize(
    ("line", "said"),
    [(LINES[0], ":1: label: None"), ({"id": 5, "label": "simple"}, ":1: id: 5"), ("{}x", ":1: line: not valid JSON")],
)
def test_a_file_that_holds_something_else_is_not_written_to(out: Path, line: object, said: str) -> None:
    before = written(out, line).read_bytes()
    with pytest.raises(BadSample, match=said):
        Labels.open(out)
    assert out.read_bytes() == before
    with pytest.raises(BadSample, match="Is a directory"):
        Labels.open(out.parent)
