"""Files of labels: every bad line is told before anything is paid."""

import gzip
import json
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

import pytest

from cost_router.core.words import Label
from infra.operate.labelled import BadLabels, Item, parse_labelled, read_labelled
from tests.builders import message_body

GOOD = {"prompt": "Is 97 prime?", "label": "simple"}


def parsed(*values: object) -> list[Item]:
    lines = [value if isinstance(value, bytes) else json.dumps(value).encode() for value in values]
    return parse_labelled(enumerate(lines, 1), "labels.jsonl")


def said(*values: object) -> str:
    with pytest.raises(BadLabels) as raised:
        parsed(*values)
    return str(raised.value)


def test_a_prompt_is_a_request_and_params_are_one_as_they_are() -> None:
    params = message_body("Weigh it", max_tokens=7, model="claude-opus-5-5", stream=True, system="Be brief.")
    one, other = parsed(GOOD, {"params": params, "label": "complex", "id": "b", "source": "x"})
    assert one.params == {
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": "Is 97 prime?"}],
        "model": "auto",
        "stream": False,
    }
    assert (one.number, one.label, one.prompt, one.id) == (1, Label.SIMPLE, "Is 97 prime?", None)
    assert one.weight == 1
    assert other.params == {**params, "model": "auto", "stream": False}  # a pinned model would not be labelled
    assert (other.number, other.label, other.max_tokens, other.prompt, other.id) == (2, Label.COMPLEX, 7, None, "b")
    assert other.ask.text == "Weigh it"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b"nope", "not valid JSON at character 0"),
        (b"[]", "it is a list; accepted: a JSON object"),
        (b"\xff", "not UTF-8"),
        ({"label": "simple"}, "neither prompt nor params"),
        ({**GOOD, "params": message_body()}, "both prompt and params"),
        ({**GOOD, "label": "hard"}, "label: 'hard'; accepted: simple, moderate, complex"),
        ({"prompt": "x"}, "label: None"),
        ({**GOOD, "label": ["simple"]}, "label: ['simple']"),
        ({**GOOD, "label": {}}, "label: {}"),
        ({**GOOD, "prompt": " "}, "prompt: ' '"),
        ({**GOOD, "prompt": 7}, "prompt: 7"),
        ({"params": [], "label": "simple"}, "params: []"),
        ({"params": {}, "label": "simple"}, "messages: Field required"),
        ({"params": {"messages": "x"}, "label": "simple"}, "messages: Input should be a valid list"),
        ({"params": {**message_body(), "max_tokens": 0}, "label": "simple"}, "max_tokens: Input should be"),
        ({**GOOD, "weight": 0}, "weight: 0; accepted: a number above 0"),
        ({**GOOD, "weight": -1.5}, "weight: -1.5"),
        ({**GOOD, "weight": "2"}, "weight: '2'"),
        ({**GOOD, "weight": True}, "weight: True"),
        ({**GOOD, "weight": 1e300}, "weight: 1e+300"),
        ({**GOOD, "weight": None}, "weight: None"),
        ({**GOOD, "id": 7}, "id: 7"),
        ({**GOOD, "id": "x" * 201}, "id: 'xxx"),
    ],
)
def test_a_bad_line_is_told_with_its_number_its_value_and_what_is_accepted(value: object, told: str) -> None:
    found = said(GOOD, value)
    assert found.startswith("labels.jsonl: nothing was asked\nline 2: ")
    assert told in found
    assert "accepted:" in found or "Input should be" in found or "required" in found


def test_all_bad_lines_are_told_up_to_twenty() -> None:
    found = said(*[{**GOOD, "label": str(place)} for place in range(23)])
    assert "line 20: label: '19'" in found
    assert "line 21" not in found
    assert found.endswith("... and 3 more")


def test_an_id_is_given_once() -> None:
    assert "line 3: id: 'a' is in line 1 already" in said({**GOOD, "id": "a"}, GOOD, {**GOOD, "id": "a"})


def test_weights_are_on_every_line_or_on_none() -> None:
    assert [item.weight for item in parsed({**GOOD, "weight": 2.5}, {**GOOD, "weight": 1})] == [Decimal("2.5"), 1]
    assert "line 2: weight: missing" in said({**GOOD, "weight": 2}, GOOD)


def test_a_long_text_is_not_repeated_in_the_message() -> None:
    assert len(said({**GOOD, "label": "canary " * 100})) < 200


def written(path: Path, lines: Iterable[object]) -> Path:
    text = "\ufeff" + "\n\n".join(json.dumps(line) for line in lines) + "\r\n\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", ["labels.jsonl", "labels.jsonl.gz"])
def test_files_are_read_with_their_blank_lines_counted(tmp_path: Path, name: str) -> None:
    assert [item.number for item in read_labelled(written(tmp_path / name, [GOOD, GOOD]))] == [1, 3]


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    blank, torn = tmp_path / "blank.jsonl", written(tmp_path / "torn.jsonl.gz", [GOOD])
    blank.write_text("\n\n", encoding="utf-8")
    plain = tmp_path / "plain.gz"
    plain.write_text(json.dumps(GOOD), encoding="utf-8")
    torn.write_bytes(torn.read_bytes()[:-12])
    for path, told in (
        (tmp_path / "none.jsonl", "No such file"),
        (blank, "it is blank"),
        (plain, "Not a gzipped file"),
        (torn, "end-of-stream"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(BadLabels, match=told):
            read_labelled(path)
