"""JSON schema through `jsonschema`, for schemas that a caller wrote: nothing is fetched, and the work has an end.

Left out, so that what they forbid passes: regular expressions (a short one can take years), `uniqueItems` (the square
of the items), and what looks into others (`unevaluated...`). The Claude API knows none of them but simple patterns.

The work is counted in steps of about 5 microseconds: one for each keyword that is applied, one for each value that is
handed to a schema within, and one for each `GLANCES` members that are only looked at (of an `enum`, of `required`) or
written into a message about what is wrong. A check takes about a second at most, a schema's own check included.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

MOST_STEPS: Final = 100_000  # half a second; 1,000 objects of ten fields take 27,000
GLANCES: Final = 50
MOST_SCHEMA: Final = 50_000  # characters
MOST_SUBSCHEMAS: Final = 1_500  # objects, true and false in a schema; whether it is one takes 0.3 ms for each
LEFT_OUT: Final = frozenset(
    {"pattern", "patternProperties", "uniqueItems", "unevaluatedItems", "unevaluatedProperties", "$dynamicRef"}
)
# Whom a keyword hands on to schemas within: each item or property, no more than both have, all of the schemas.
EACH: Final = frozenset({"items", "contains", "additionalProperties", "propertyNames"})
SHARED: Final = frozenset({"properties", "prefixItems", "dependentSchemas"})
ALL: Final = frozenset({"allOf", "anyOf", "oneOf"})
# What a schema leads to that is well-formed but refers to what is none, or compares what cannot be compared.
ODD: Final = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
Keyword = Callable[..., Any]


class TooMuchError(Exception):
    """The schema takes more work than a check is worth."""


class JsonSchemas:
    """A `SchemaCheck`."""

    def follows(self, value: object, schema: object) -> bool | None:
        """Whether a value follows a JSON schema; None where that cannot be told: no schema, a remote one, too much."""
        # Loading it takes a tenth of a second, which most processes need not wait for.
        from jsonschema import Draft202012Validator, SchemaError  # noqa: PLC0415  loaded only where an answer is checked
        from jsonschema.validators import extend  # noqa: PLC0415  loaded only where an answer is checked
        from referencing import Registry  # noqa: PLC0415  loaded only where an answer is checked
        from referencing.exceptions import Unresolvable  # noqa: PLC0415  loaded only where an answer is checked

        keywords = Draft202012Validator.VALIDATORS
        try:
            if not _is_small(schema):
                return None
            Draft202012Validator.check_schema(schema, format_checker=None)  # type: ignore[arg-type]  # None: no formats
            bounded = extend(Draft202012Validator, dict(_bounded(keywords)))  # type: ignore[no-untyped-call]  # untyped in the stubs
            # A registry of its own: the default one fetches what it does not have.
            return bool(bounded(_undeclared(schema), registry=Registry()).is_valid(value))
        except (SchemaError, Unresolvable, TooMuchError, RecursionError, *ODD):
            return None


def _is_small(schema: object) -> bool:
    """Whether it does not take long to tell if it is a schema."""
    text = json.dumps(schema)
    return len(text) <= MOST_SCHEMA and sum(map(text.count, ("{", "true", "false"))) <= MOST_SUBSCHEMAS


def _undeclared(schema: Any) -> Any:
    """The schema without `$schema`: where one stands, the library goes on with keywords that nobody counts.

    Raises `TooMuchError` where one stands further within.
    """
    if isinstance(schema, dict):
        schema = {name: value for name, value in schema.items() if name != "$schema"}
    if '"$schema": "' in json.dumps(schema):
        raise TooMuchError
    return schema


@dataclass(slots=True)
class _Work:
    """Counts the steps of one check."""

    steps: int = 0
    sizes: dict[int, int] = field(default_factory=dict)  # by id: what is asked about stays as long as the check

    def spend(self, more: int) -> None:
        self.steps += more
        if self.steps > MOST_STEPS:
            raise TooMuchError

    def size(self, found: Any) -> int:
        """How many members there are, those within and long texts included."""
        if not isinstance(found, dict | list):
            return 1 + (len(found) // GLANCES if isinstance(found, str) else 0)
        if id(found) not in self.sizes:
            within = [*found, *found.values()] if isinstance(found, dict) else found
            self.sizes[id(found)] = 1 + sum(map(self.size, within))
        return self.sizes[id(found)]

    def counted(self, name: str, keyword: Keyword) -> Keyword:
        def apply(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
            looked_at = self.size(value) if name in ("enum", "const") else _length(value)
            self.spend(1 + looked_at // GLANCES + _handed_on(name, value, instance))
            for error in keyword(validator, value, instance, schema) or ():
                self.spend((self.size(value) + self.size(instance)) // GLANCES)
                yield error

        return apply


def _bounded(keywords: Mapping[str, Keyword]) -> Iterator[tuple[str, Keyword]]:
    """The keywords, their work counted as it is done; those that are left out allow anything."""
    work = _Work()

    def additional(validator: Any, value: Any, instance: Any, schema: Mapping[str, Any]) -> Any:
        """`additionalProperties`, which cannot be told where patterns name properties."""
        if "patternProperties" in schema:
            return ()
        return keywords["additionalProperties"](validator, value, instance, schema)

    for name, keyword in keywords.items():
        if name in LEFT_OUT:
            yield name, _anything
        else:
            yield name, work.counted(name, additional if name == "additionalProperties" else keyword)


def _handed_on(name: str, value: Any, instance: Any) -> int:
    """How many times a keyword hands a value to a schema within, at most."""
    if name in EACH:
        return _length(instance)
    if name in SHARED:
        return min(_length(value), _length(instance))
    return _length(value) if name in ALL else 0


def _length(found: Any) -> int:
    return len(found) if isinstance(found, dict | list) else 0


def _anything(*_given: object) -> tuple[()]:
    return ()
