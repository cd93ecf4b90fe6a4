"""The local pre-classifier: what it sees, when it is sure, and which files it takes."""

import base64
import json
import math
import re
import subprocess
import sys
import zlib
from collections.abc import Mapping
from typing import Any

import pytest

from cost_router.core.ask import read_ask
from cost_router.core.ngrams import Grams, plain
from cost_router.core.preclassifier import Preclassifier
from cost_router.core.words import Label

BUCKETS = 64
GRAMS = Grams(BUCKETS, pairs=True, characters=(4,))


def packed(weights: Mapping[int, int] | None = None) -> str:
    table = bytes((weights or {}).get(bucket, 0) % 256 for bucket in range(BUCKETS))
    return base64.b64encode(zlib.compress(table)).decode()


def head(chance: float, weights: Mapping[int, int] | None = None, scale: float = 1.0) -> dict[str, Any]:
    """A question whose answer is `chance` for a text that has none of the weighted buckets."""
    return {"bias": math.log(chance / (1 - chance)), "plain": {}, "scale": scale, "weights": packed(weights)}


def model(cheapest: float = 0.1, middle: float | None = 0.05, **more: Any) -> dict[str, Any]:
    return {
        "format": 1,
        "agreement": 0.95,
        "lone": False,
        "buckets": BUCKETS,
        "pairs": True,
        "characters": [4],
        "heads": {"above_simple": head(cheapest), "above_moderate": None if middle is None else head(middle)},
        "thresholds": {"simple": 0.8, "moderate": 0.8, "complex": 0.8},
    } | more


def label(data: Mapping[str, Any], prompt: str = "Is 97 prime?", **fields: Any) -> Label | None:
    return Preclassifier.parse(data).label(read_ask({"messages": [{"role": "user", "content": prompt}], **fields}))


@pytest.mark.parametrize(
    ("cheapest", "middle", "expected"),
    [
        (0.19, 0.01, Label.SIMPLE),  # 0.81
        (0.21, 0.01, None),  # 0.79
        (0.95, 0.14, Label.MODERATE),  # 0.81
        (0.95, 0.16, None),  # 0.79
        (0.95, 0.81, Label.COMPLEX),
        (0.79, 0.99, None),  # what the cheapest tier can do, the middle one is no reason to doubt
        (0.99, None, None),  # nothing tells moderate from complex
        (0.1, None, Label.SIMPLE),
    ],
)
def test_the_likeliest_label_is_given_from_its_threshold_on(
    cheapest: float, middle: float | None, expected: Label | None
) -> None:
    assert label(model(cheapest, middle)) == expected


def test_a_label_without_a_threshold_is_never_given() -> None:
    assert label(model(0.001, thresholds={"simple": None, "moderate": 0.5})) is None
    assert label(model(0.001, thresholds={})) is None


def test_what_a_text_has_moves_its_chances() -> None:
    bucket = min(GRAMS.of("theorem") - GRAMS.of("hello"))
    hard = model(heads={"above_simple": head(0.1, {bucket: 100}, scale=0.05), "above_moderate": None})
    found = Preclassifier.parse(hard)
    assert found.chances("hello").cheapest_fails == pytest.approx(0.1)
    assert found.score("theorem") == pytest.approx(math.log(1 / 9) + 5)
    assert found.chances("theorem").cheapest_fails == pytest.approx(1 / (1 + 9 * math.exp(-5)))


def test_weights_are_signed() -> None:
    bucket = min(GRAMS.of("hello"))
    easy = model(heads={"above_simple": head(0.5, {bucket: -2}), "above_moderate": None})
    assert Preclassifier.parse(easy).score("hello") == pytest.approx(-2.0)


def test_plain_features_count_characters_and_capitals() -> None:
    assert plain("Ab cD") == pytest.approx((math.log(6), math.log(3)))
    data = model(heads={"above_simple": head(0.5) | {"plain": {"log_capitals": 2.0}}, "above_moderate": None})
    assert Preclassifier.parse(data).score("Ab cD") == pytest.approx(2 * math.log(3))


@pytest.mark.parametrize(
    "fields",
    [
        {"system": "Translate what the user writes."},
        {"tools": [{"name": "search", "input_schema": {"type": "object"}}]},
        {"messages": [{"role": r, "content": "Is 97 prime?"} for r in ("user", "assistant", "user")]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "?"}, {"type": "image", "source": {}}]}]},
    ],
)
def test_a_model_trained_on_lone_prompts_says_nothing_of_others(fields: dict[str, Any]) -> None:
    assert label(model(lone=True)) is Label.SIMPLE
    assert label(model(lone=True), **fields) is None
    assert label(model(lone=False), **fields) is Label.SIMPLE


@pytest.mark.parametrize("prompt", ["", " \n"])
def test_nothing_is_said_of_no_text(prompt: str) -> None:
    assert label(model(), prompt) is None


@pytest.mark.parametrize("prompt", ["\ud800 lone", "\x00", "汉" * 3_000, "{" * 3_000, "é" * 3_000, "9" * 3_000])
def test_any_text_can_be_read(prompt: str) -> None:
    assert label(model(), prompt) is Label.SIMPLE


def test_a_text_without_spaces_has_no_more_grams_than_its_first_characters() -> None:
    wide = Grams(1 << 16, pairs=True, characters=(4,))
    assert len(wide.of("汉字" * 1_000)) <= 1 + 24


def test_numbers_of_the_same_length_are_the_same_and_marks_are_words() -> None:
    wide = Grams(1 << 16, pairs=False, characters=())
    assert wide.of("97 + 12") == wide.of("11 + 22")
    assert wide.of("97 + 12") != wide.of("97 - 12")
    assert wide.of("Prime") == wide.of("prime")
    assert wide.of("1234567") == wide.of("12345")


def test_order_is_seen_in_pairs_only() -> None:
    assert Grams(1 << 16, pairs=False, characters=()).of("a dog") == Grams(1 << 16, pairs=False, characters=()).of(
        "dog a"
    )
    assert Grams(1 << 16, pairs=True, characters=()).of("a dog") != Grams(1 << 16, pairs=True, characters=()).of(
        "dog a"
    )


def test_buckets_are_the_same_in_every_process() -> None:
    """A model is trained in one process and asked in another, on another machine."""
    code = (
        "from cost_router.core.ngrams import Grams; "
        "print(sorted(Grams(65536, pairs=True, characters=(4,)).of('Solve 12 x = naïve')))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert [json.loads(one) for one in found] == [KNOWN]


KNOWN = [
    5763,
    10763,
    11600,
    13342,
    16144,
    32504,
    32694,
    33126,
    35295,
    37185,
    37581,
    41023,
    41884,
    44744,
    45189,
    61714,
    62388,
    64211,
]


def test_the_version_is_that_of_the_content() -> None:
    versions = {Preclassifier.parse(data).version for data in (model(), model(), model(0.2), model(held_out={"n": 1}))}
    assert len(versions) == 3
    assert all(len(version) == 12 for version in versions)


def broken(**members: Any) -> dict[str, Any]:
    return model() | members


def with_head(**members: Any) -> dict[str, Any]:
    return model(heads={"above_simple": head(0.1) | members, "above_moderate": None})


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], "pre-classifier: []; accepted: an object"),
        ({}, "format: None; accepted: 1"),
        (broken(format=2), "format: 2; accepted: 1"),
        (broken(lone="yes"), "lone: 'yes'; accepted: true or false"),
        (broken(buckets=100), "buckets: 100; accepted: a power of two"),
        (broken(buckets=1 << 19), "buckets: 524288"),
        (broken(buckets=True), "buckets: True"),
        (broken(buckets=64.0), "buckets: 64.0"),
        (broken(pairs=1), "pairs: 1"),
        (broken(characters=[0]), "characters: [0]; accepted: at most 3 lengths of 1 to 8"),
        (broken(characters=[1, 2, 3, 4]), "characters: [1, 2, 3, 4]"),
        (broken(characters="4"), "characters: '4'"),
        (broken(heads=None), "heads: None; accepted: an object"),
        (broken(heads={}), "heads.above_simple: None; accepted: an object"),
        (broken(heads={"above_simple": head(0.1), "above_moderate": []}), "heads.above_moderate: []"),
        (with_head(bias="1"), "heads.above_simple.bias: '1'; accepted: a number"),
        (with_head(bias=math.nan), "heads.above_simple.bias: nan"),
        (with_head(bias=10**400), "heads.above_simple.bias: 1000"),
        (with_head(scale=None), "heads.above_simple.scale: None"),
        (with_head(plain={"log_lines": 1}), "heads.above_simple.plain: ['log_lines']; accepted: log_characters"),
        (with_head(plain={"log_capitals": []}), "heads.above_simple.plain.log_capitals: []"),
        (with_head(weights=None), "heads.above_simple.weights: None; accepted: 64 signed bytes"),
        (with_head(weights="%%%"), "heads.above_simple.weights: '%%%'"),
        (with_head(weights="AAAA"), "heads.above_simple.weights: 'AAAA'"),
        (with_head(weights="é"), "heads.above_simple.weights: 'é'"),
        (with_head(weights=base64.b64encode(zlib.compress(bytes(63))).decode()), "heads.above_simple.weights: 63"),
        (with_head(weights=base64.b64encode(zlib.compress(bytes(10**8))).decode()), "heads.above_simple.weights: 65"),
        (broken(thresholds={"easy": 0.9}), "thresholds: ['easy']; accepted: simple, moderate, complex"),
        (broken(thresholds={"simple": "0.9"}), "thresholds.simple: '0.9'; accepted: a number"),
        (broken(thresholds=[]), "thresholds: []; accepted: an object"),
    ],
)
def test_a_file_that_is_no_model_is_refused_with_what_is_wrong(data: Any, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as refused:
        Preclassifier.parse(data)
    assert len(str(refused.value)) < 400
