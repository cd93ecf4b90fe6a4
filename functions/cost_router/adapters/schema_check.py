"""JSON schema through `jsonschema`, for schemas that a caller wrote: nothing is fetched, and the work has an end.

Left out, so that what they forbid passes: regular expressions (a short one can take years), `uniqueItems` (the square
of the items), and what looks into others (`unevaluated...`). The Claude API knows none of them but simple patterns.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

MOST_STEPS: Final = 20_000  # keywords applied: a third of a second; 1,000 objects of ten fields take 14,000
MOST_SCHEMA: Final = 50_000  # characters
LEFT_OUT: Final = frozenset(
    {"pattern", "patternProperties", "uniqueItems", "unevaluatedItems", "unevaluatedProperties", "$dynamicRef"}
)
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
        from jsonschema import Draft202012Validator, SchemaError  # noqa: PLC0415  as said
        from jsonschema.validators import extend  # noqa: PLC0415  the same
        from referencing import Registry  # noqa: PLC0415  the same
        from referencing.exceptions import Unresolvable  # noqa: PLC0415  the same

        keywords = Draft202012Validator.VALIDATORS
        try:
            if len(json.dumps(schema)) > MOST_SCHEMA:
                return None
            Draft202012Validator.check_schema(schema, format_checker=None)  # type: ignore[arg-type]  # None: no formats
            bounded = extend(Draft202012Validator, dict(_bounded(keywords)))  # type: ignore[no-untyped-call]  # the stubs'
            # A registry of its own: the default one fetches what it does not have.
            return bool(bounded(schema, registry=Registry()).is_valid(value))
        except (SchemaError, Unresolvable, TooMuchError, RecursionError, *ODD):
            return None


def _bounded(keywords: Mapping[str, Keyword]) -> Iterator[tuple[str, Keyword]]:
    """The keywords, each counted when it is applied; those that are left out allow anything."""
    steps = 0

    def counted(keyword: Keyword) -> Keyword:
        def apply(*given: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps > MOST_STEPS:
                raise TooMuchError
            return keyword(*given)

        return apply

    def additional(validator: Any, value: Any, instance: Any, schema: Mapping[str, Any]) -> Any:
        """`additionalProperties`, which cannot be told where patterns name properties."""
        if "patternProperties" in schema:
            return ()
        return keywords["additionalProperties"](validator, value, instance, schema)

    for name, keyword in keywords.items():
        if name in LEFT_OUT:
            yield name, _anything
        else:
            yield name, counted(additional if name == "additionalProperties" else keyword)


def _anything(*_given: object) -> tuple[()]:
    return ()
