"""The local pre-classifier: a small linear model, in this process, that labels the requests it is sure of.

It asks up to two questions of an ask's excerpt: does the cheapest tier fail, and does the middle one? Their answers are
chances, and each label has the least chance at which it is given, chosen on data that the model was not trained on. A
label that was never right often enough has no such chance and is never given; a model that has only seen prompts which
stand alone says nothing of any other. Whoever is not labelled here is labelled by the classifier.

Its JSON, as `cost-router train` writes it:

{"format": 1, "agreement": 0.95,             how often it agreed, at the least, when it chose its thresholds
 "lone": true,                               whether it was trained on prompts without any context only
 "buckets": 65536, "pairs": true, "characters": [4],           `core/ngrams.py`
 "heads": {"above_simple": {"bias": 0.1, "plain": {"log_characters": 0.3, ...}, "scale": 0.01, "weights": "..."},
           "above_moderate": null},          weights: signed bytes, one a bucket, deflated (zlib), base64
 "thresholds": {"simple": 0.97, "moderate": null, "complex": null},
 "trained_on": ..., "held_out": ...}         what `cost-router train` tells of it; not read here
"""

import base64
import binascii
import hashlib
import json
import math
import zlib
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeGuard

from cost_router.core.ask import Ask
from cost_router.core.errors import quoted
from cost_router.core.ngrams import PLAIN, Grams, plain
from cost_router.core.words import Label

FORMAT: Final = 1
MOST_BUCKETS: Final = 1 << 18
LONGEST_GRAM: Final = 8
MOST_GRAMS: Final = 3  # lengths of n-grams of characters: each costs time
VERSION_LENGTH: Final = 12
STEEPEST: Final = 35.0  # beyond it a chance is 0 or 1 as far as floats can tell


@dataclass(frozen=True, slots=True)
class Head:
    """One question: the log-odds that a tier fails are linear in what the text has."""

    bias: float
    plain: tuple[float, ...]  # as `ngrams.PLAIN`
    scale: float
    weights: "array[int]" = field(repr=False)

    def score(self, features: tuple[float, ...], buckets: set[int]) -> float:
        """The log-odds."""
        told = math.fsum(weight * value for weight, value in zip(self.plain, features, strict=True))
        return self.bias + told + self.scale * sum(map(self.weights.__getitem__, buckets))


@dataclass(frozen=True, slots=True)
class Chances:
    """What the model makes of a text. middle_fails: None when it was trained on nothing that tells."""

    cheapest_fails: float
    middle_fails: float | None

    def of(self, label: Label) -> float:
        """The chance that a label is right: that its tier is the cheapest which does not fail."""
        if label is Label.SIMPLE:
            return 1.0 - self.cheapest_fails
        if self.middle_fails is None:
            return 0.0
        above = min(self.cheapest_fails, self.middle_fails)
        return above if label is Label.COMPLEX else self.cheapest_fails - above


@dataclass(frozen=True, slots=True)
class Preclassifier:
    """A trained model. version: of its content, for logs."""

    version: str
    grams: Grams
    lone: bool
    above_simple: Head
    above_moderate: Head | None
    thresholds: Mapping[Label, float]  # of the labels that it may give

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> "Preclassifier":
        """The model in its JSON object; raises `ValueError` that quotes what is wrong and says what is accepted."""
        _object("pre-classifier", data)
        _check("format", data.get("format"), data.get("format") == FORMAT, f"{FORMAT}")
        grams = _grams(data)
        heads = _object("heads", data.get("heads"))
        middle = heads.get("above_moderate")
        return cls(
            version=hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:VERSION_LENGTH],
            grams=grams,
            lone=_truth("lone", data.get("lone")),
            above_simple=_head("heads.above_simple", heads.get("above_simple"), grams.buckets),
            above_moderate=None if middle is None else _head("heads.above_moderate", middle, grams.buckets),
            thresholds=_thresholds(data.get("thresholds")),
        )

    def label(self, ask: Ask) -> Label | None:
        """The label of an ask; None when the model is not sure."""
        return None if self.lone and not alone(ask) else self.pick(ask.excerpt)

    def pick(self, excerpt: str) -> Label | None:
        """The label of an excerpt, whatever stands around the ask; None when the model is not sure."""
        if not self.thresholds or not excerpt:
            return None
        chances = self.chances(excerpt)
        likeliest = max(Label, key=chances.of)
        return likeliest if chances.of(likeliest) >= self.thresholds.get(likeliest, math.inf) else None

    def chances(self, text: str) -> Chances:
        """What the model makes of an excerpt, sure or not."""
        features, buckets = plain(text), self.grams.of(text)
        middle = self.above_moderate
        return Chances(
            _chance(self.above_simple.score(features, buckets)),
            None if middle is None else _chance(middle.score(features, buckets)),
        )

    def score(self, text: str) -> float:
        """How likely the cheapest tier fails on an excerpt, as log-odds: by this requests are ranked."""
        return self.above_simple.score(plain(text), self.grams.of(text))


def alone(ask: Ask) -> bool:
    """Whether nothing stands around an ask: no system prompt, tools, earlier turns, images or documents."""
    digest = ask.digest
    return digest.turns <= 1 and not (digest.characters or digest.tools or digest.images or digest.documents)


def _chance(score: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(-STEEPEST, min(STEEPEST, score))))


def _grams(data: Mapping[str, Any]) -> Grams:
    buckets, characters = data.get("buckets"), data.get("characters")
    size = buckets if _whole(buckets, MOST_BUCKETS) else 0
    _check("buckets", buckets, size and size & (size - 1) == 0, f"a power of two, {MOST_BUCKETS} at the most")
    lengths = characters if isinstance(characters, list) and len(characters) <= MOST_GRAMS else [0]
    whole = all(_whole(length, LONGEST_GRAM) for length in lengths)
    _check("characters", characters, whole, f"at most {MOST_GRAMS} lengths of 1 to {LONGEST_GRAM}")
    return Grams(size, _truth("pairs", data.get("pairs")), tuple(lengths))


def _head(name: str, value: object, buckets: int) -> Head:
    given = _object(name, value)
    features = _object(f"{name}.plain", given.get("plain"))
    _check(f"{name}.plain", sorted(map(str, features)), set(features) <= set(PLAIN), ", ".join(PLAIN))
    return Head(
        bias=_number(f"{name}.bias", given.get("bias")),
        plain=tuple(_number(f"{name}.plain.{feature}", features.get(feature, 0)) for feature in PLAIN),
        scale=_number(f"{name}.scale", given.get("scale")),
        weights=_weights(f"{name}.weights", given.get("weights"), buckets),
    )


def _weights(name: str, value: object, buckets: int) -> "array[int]":
    accepted = f"{buckets} signed bytes, deflated and in base64"
    _check(name, value, isinstance(value, str), accepted)
    unpacking = zlib.decompressobj()
    try:
        packed = base64.b64decode(str(value), validate=True)
        content = unpacking.decompress(packed, buckets + 1)  # not more, whatever a file says
    except (binascii.Error, ValueError, zlib.error) as error:
        raise ValueError(f"{name}: {quoted(value)}: {error}; accepted: {accepted}") from None
    _check(name, len(content), len(content) == buckets, accepted)
    return array("b", content)


def _thresholds(value: object) -> Mapping[Label, float]:
    given = _object("thresholds", value)
    _check("thresholds", sorted(map(str, given)), set(given) <= set(Label), ", ".join(Label))
    return {Label(name): _number(f"thresholds.{name}", number) for name, number in given.items() if number is not None}


def _object(name: str, value: object) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise ValueError(f"{name}: {quoted(value)}; accepted: an object")


def _number(name: str, value: object) -> float:
    try:  # weights and chances of a model, never money
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        number = math.nan
    _check(name, value, math.isfinite(number), "a number")
    return number


def _whole(value: object, most: int) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _truth(name: str, value: object) -> bool:
    _check(name, value, isinstance(value, bool), "true or false")
    return value is True


def _check(name: str, value: object, fits: object, accepted: str) -> None:
    if not fits:
        raise ValueError(f"{name}: {quoted(value)}; accepted: {accepted}")
