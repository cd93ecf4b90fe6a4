"""Values that follow a JSON schema: objects, arrays, strings, numbers, enum, const, anyOf/oneOf/allOf and `$ref`.

Every property is filled in; optional ones stop a few levels down, so that schemas that refer to themselves end.
"""

import hashlib
import math
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from infra.local.standin.labels import is_label_enum
from infra.local.standin.verdicts import is_verdict_enum

Json: TypeAlias = Any  # what json.loads gives

OPTIONAL_DEPTH: Final = 3
DEEPEST: Final = 12  # required recursion has no finite value; give up there
FORMATS: Final = {
    "date-time": "2026-11-23T12:00:00Z",
    "date": "2026-11-23",
    "time": "12:00:00Z",
    "email": "stand-in@example.com",
    "uri": "https://example.com/stand-in",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
    "duration": "PT1H",
    "hostname": "example.com",
}


class Dice:
    """Choices that are the same for the same seed."""

    def __init__(self, seed: str) -> None:
        """Start at the first choice of `seed`."""
        self._seed = seed
        self._rolls = 0

    def roll(self, sides: int) -> int:
        """A number from 0 up to, not including, `sides`."""
        self._rolls += 1
        digest = hashlib.sha256(f"{self._seed}:{self._rolls}".encode()).digest()
        return int.from_bytes(digest[:8]) % sides


class Generator:
    """Makes values for one schema and its definitions; an enum of the three labels, or of the verdicts, gets `word`."""

    def __init__(self, root: Json, dice: Dice, word: str | None = None) -> None:
        """Keep what `$ref` may point to."""
        self._root = root
        self._dice = dice
        self._word = word

    def value(self) -> Json:
        """A value of the root schema."""
        return self._value(self._root, 0)

    def _value(self, schema: Json, depth: int) -> Json:
        schema = self._resolved(schema)
        if depth > DEEPEST:
            return None
        if "const" in schema:
            return schema["const"]
        if self._word and (is_label_enum(schema) or is_verdict_enum(schema)):
            return self._word
        if "enum" in schema:
            return schema["enum"][self._dice.roll(len(schema["enum"]))]
        return self._typed(schema, depth)

    def _typed(self, schema: Json, depth: int) -> Json:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        if isinstance(kind, list):
            kind = next((name for name in kind if name != "null"), "null")
        makers: dict[str, Callable[[], Json]] = {
            "object": lambda: self._object(schema, depth),
            "array": lambda: self._array(schema, depth),
            "integer": lambda: self._number(schema),
            "number": lambda: float(self._number(schema)),
            "boolean": lambda: self._dice.roll(2) == 1,
            "null": lambda: None,
        }
        return makers.get(kind, lambda: _text(schema))()

    def _object(self, schema: Json, depth: int) -> dict[str, Json]:
        required = schema.get("required", [])
        return {
            name: self._value(item, depth + 1)
            for name, item in schema.get("properties", {}).items()
            if name in required or depth < OPTIONAL_DEPTH
        }

    def _array(self, schema: Json, depth: int) -> list[Json]:
        wanted = schema.get("minItems", 1 if depth < OPTIONAL_DEPTH else 0)
        return [self._value(schema.get("items", {}), depth + 1) for _ in range(wanted)]

    def _number(self, schema: Json) -> float:
        low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
        high = schema.get("maximum", schema.get("exclusiveMaximum", low + 10))
        first = math.floor(low) + 1 if "exclusiveMinimum" in schema else math.ceil(low)
        last = math.ceil(high) - 1 if "exclusiveMaximum" in schema else math.floor(high)
        if last < first:
            return float(low + high) / 2
        return int(first + self._dice.roll(last - first + 1))

    def _resolved(self, schema: Json, steps: int = 0) -> dict[str, Json]:
        """The schema without `$ref`, anyOf, oneOf (the first option that isn't null) and allOf (all parts together)."""
        if not isinstance(schema, dict) or steps > DEEPEST:
            return {"type": "null"}
        if "$ref" in schema:
            return self._resolved(self._target(schema["$ref"]), steps + 1)
        options = [self._resolved(option, steps + 1) for option in schema.get("anyOf") or schema.get("oneOf") or []]
        if options:
            return next((option for option in options if option.get("type") != "null"), options[0])
        merged = {name: item for name, item in schema.items() if name != "allOf"}
        for part in schema.get("allOf") or []:
            merged |= self._resolved(part, steps + 1)
        return merged

    def _target(self, ref: str) -> Json:
        found = self._root
        for part in ref.removeprefix("#").strip("/").split("/"):
            found = found.get(part) if isinstance(found, dict) and part else found
        return found


def _text(schema: Json) -> str:
    if schema.get("format") in FORMATS:
        return FORMATS[str(schema["format"])]
    shortest: int = schema.get("minLength", 0)
    longest: int | None = schema.get("maxLength")
    return "stand-in".ljust(shortest, ".")[:longest]
