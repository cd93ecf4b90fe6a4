"""JSON schemas that callers wrote: told right, nothing fetched, and never a crash or work without end."""

import time
from typing import Any

import pytest

from cost_router.adapters.schema_check import JsonSchemas

STRICT = {
    "type": "object",
    "properties": {"kind": {"enum": ["a", "b"]}, "next": {"$ref": "#"}},
    "required": ["kind"],
    "additionalProperties": False,
}
DEEP: dict[str, Any] = {}
for _ in range(5_000):
    DEEP = {"not": DEEP}
# Forty steps, each asked twice: a million million.
DOUBLING = {
    "$defs": {**{f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(40)}, "a40": {}},
    "$ref": "#/$defs/a0",
}


def follows(value: object, schema: object) -> bool | None:
    return JsonSchemas().follows(value, schema)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"kind": "a"}, True),
        ({"kind": "a", "next": {"kind": "b"}}, True),
        ({"kind": "c"}, False),
        ({"kind": "a", "next": {}}, False),
        ({"kind": "a", "more": 1}, False),
        ([], False),
    ],
)
def test_a_value_follows_a_schema_or_does_not(value: object, *, expected: bool) -> None:
    assert follows(value, STRICT) is expected


def test_an_answer_of_a_thousand_objects_is_checked_to_its_end() -> None:
    item = {"type": "object", "properties": {name: {"type": "integer"} for name in "abcdefghij"}, "required": ["a"]}
    rows: list[Any] = [dict.fromkeys("abcdefghij", 1)] * 1_000
    assert follows(rows, {"type": "array", "items": item}) is True
    assert follows([*rows, {"b": 1}], {"type": "array", "items": item}) is False


@pytest.mark.parametrize(
    "schema",
    [
        "no schema",
        None,
        [STRICT],
        {"type": 5},
        {"type": "nothing known"},
        {"properties": 3},
        {"$ref": 5},
        {"$ref": "#/nowhere"},
        {"$ref": "#"},
        {"title": "x", "$ref": "#/title"},
        {"allOf": [{}], "$ref": "#/allOf/x"},
        {"$id": "http://[", "$ref": "x"},
        {"description": "x" * 50_000},
        DEEP,
        DOUBLING,
    ],
    ids=range(15),
)
def test_where_it_cannot_be_told_it_is_not_told_and_soon(schema: object) -> None:
    began = time.monotonic()
    assert follows({"kind": "a"}, schema) is None
    assert time.monotonic() - began < 5.0


@pytest.mark.parametrize("place", ["http://127.0.0.1:9/schema", "file:///etc/hostname", "https://example.com/s.json"])
def test_nothing_is_fetched(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr("urllib.request.urlopen", asked.append)
    assert follows(1, {"$ref": place}) is None
    assert asked == []


def test_no_regular_expression_of_a_caller_is_run() -> None:
    slow, text = "^(a+)+$", "a" * 60 + "!"  # would take longer than the universe is old
    assert follows(text, {"pattern": slow}) is True
    assert follows({text: 1}, {"patternProperties": {slow: False}, "additionalProperties": False}) is True
    assert follows({text: 1}, {"patternProperties": {slow: {}}, "unevaluatedProperties": False}) is True


def test_a_number_too_large_to_compare_is_no_crash() -> None:
    assert follows(10**4_000, {"multipleOf": 0.1}) is None


WORDS = [f"{number:x}" for number in range(6_000)]
MUCH: dict[str, tuple[object, object]] = {
    "each item is looked for among many": ([WORDS[-1]] * 20_000, {"items": {"enum": WORDS}}),
    "each item is compared with a long one": ([[0] * 5_000] * 20_000, {"items": {"const": [0] * 5_000}}),
    "each item is handed on, to say nothing of it": ([[1] * 20_000], {"items": {"allOf": [{"items": {}}] * 1_000}}),
    "many say what is wrong": ({"a": ["x" * 100] * 30_000}, {"anyOf": [{"type": "string"}] * 1_000}),
    "a schema of many": (1, {"allOf": [{}] * 12_000}),
    "a schema of very many": (1, {"allOf": [True] * 8_000}),
}


@pytest.mark.parametrize("story", MUCH)
def test_work_that_one_keyword_makes_has_an_end_too(story: str) -> None:
    began = time.monotonic()
    assert follows(*MUCH[story]) is None
    assert time.monotonic() - began < 5.0


def test_a_schema_that_names_its_dialect_is_bounded_all_the_same() -> None:
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    slow = {"pattern": "^(a+)+$"}
    assert follows({"a": "a" * 60 + "!"}, {**dialect, **slow, "properties": {"a": {"$ref": "#"}}}) is True
    assert follows("a" * 60 + "!", {"allOf": [{**dialect, **slow}]}) is None
    assert follows({"kind": "a", "next": {}}, {**dialect, **STRICT}) is False


def test_a_long_list_of_words_is_no_reason_not_to_tell() -> None:
    assert follows(WORDS[:500], {"type": "array", "items": {"enum": WORDS}}) is True
    assert follows([*WORDS[:500], "no"], {"type": "array", "items": {"enum": WORDS}}) is False
