"""The stand-in's verifier: a verdict for a call whose structured output asks for one.

A call is a verifier's when its output schema has a property whose enum is exactly passes and fails. The verdict is what
the marker `[[verdict:...]]` in the last user text says, else `passes`: the stand-in judges nothing.
"""

import re
from typing import Any, Final

from infra.local.standin.labels import last_user_text

VERDICTS: Final = frozenset({"passes", "fails"})

_MARKER = re.compile(r"\[\[verdict:(passes|fails)\]\]")


def asks_for_verdict(body: dict[str, Any]) -> bool:
    """Whether the call is a verifier's."""
    output_format = (body.get("output_config") or {}).get("format") or {}
    schema = output_format.get("schema")
    members = schema.get("properties") if isinstance(schema, dict) else None
    return isinstance(members, dict) and any(map(is_verdict_enum, members.values()))


def is_verdict_enum(schema: object) -> bool:
    """Whether the schema is an enum of exactly the two verdicts."""
    values = schema.get("enum") if isinstance(schema, dict) else None
    return isinstance(values, list) and all(isinstance(value, str) for value in values) and set(values) == VERDICTS


def verdict_of(body: dict[str, Any]) -> str:
    """The verdict by marker."""
    marker = _MARKER.search(last_user_text(body))
    return marker.group(1) if marker else "passes"
