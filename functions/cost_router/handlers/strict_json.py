"""JSON as this router takes it: one object in UTF-8, which every later step can read, measure and send on unchanged.

Python's own reader is laxer: it guesses UTF-16, lets lone surrogates and infinite numbers pass, and reads nests that
the next step would trip over.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from cost_router.core.errors import InvalidRequest, quoted

MOST_LEVELS: Final = 200  # of nesting; far deeper values meet Python's own limit somewhere on the road
MOST_DIGITS: Final = 4_300  # of an integer, which is where Python stops reading
PLACE_SHOWN: Final = 80  # characters


def parse_json(raw: bytes | str, name: str = "body") -> dict[str, Any]:
    """The JSON object in `raw`; raises `InvalidRequest` for anything else, without quoting the content."""
    text = _decoded(raw, name)
    endless: list[str] = []

    def number(digits: str) -> float:
        value = float(digits)  # a number of the body, not money
        if math.isinf(value):
            endless.append(digits)
        return value

    def whole_number(digits: str) -> float:
        return int(digits) if len(digits) <= MOST_DIGITS else number(digits)

    try:
        value = json.loads(text, parse_constant=_no_constant, parse_float=number, parse_int=whole_number)
    except RecursionError:
        raise _too_deep(name) from None
    except ValueError as error:
        where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise InvalidRequest(f"{name}: not valid JSON{where}; accepted: a JSON object") from None
    if not isinstance(value, dict):
        raise InvalidRequest(f"{name}: it is {kind_of(value)}; accepted: a JSON object")
    if text.count("[") + text.count("{") > MOST_LEVELS and _levels_over(value, MOST_LEVELS):
        raise _too_deep(name)
    if endless:
        place = _place(value, lambda leaf: leaf in (math.inf, -math.inf)) or name
        raise InvalidRequest(
            f"{place}: {quoted(endless[0])} is too large a number; accepted: what a 64-bit float holds"
        )
    if "\\u" in text and not _encodes(value):
        place = _place(value, lambda leaf: isinstance(leaf, str) and not _encodes(leaf)) or name
        raise InvalidRequest(f"{place}: it holds a lone surrogate (\\ud800-\\udfff); accepted: whole characters")
    return value


def _decoded(raw: bytes | str, name: str) -> str:
    """Strict UTF-8: `json.loads` alone would guess UTF-16 and let encoded surrogates pass."""
    try:
        return raw.decode() if isinstance(raw, bytes) else raw.encode().decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{name}: byte {error.start} is not UTF-8; accepted: JSON in UTF-8") from None
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"{name}: character {error.start} is a lone surrogate; accepted: JSON in UTF-8") from None


def _too_deep(name: str) -> InvalidRequest:
    return InvalidRequest(f"{name}: it is nested too deeply; accepted: {MOST_LEVELS} levels at the most")


def _levels_over(value: object, most: int) -> bool:
    """Whether `value` is nested deeper than `most` levels, found without recursion."""
    level = [value]
    for _ in range(most):
        level = [child for node in level for child in _children(node) if isinstance(child, dict | list)]
        if not level:
            return False
    return True


def _children(node: object) -> Iterable[object]:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()


def _encodes(value: object) -> bool:
    """Whether a JSON value can be written in UTF-8: lone surrogates parse, but cannot be sent on."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _place(value: object, bad: Callable[[object], bool]) -> str:
    """Where the first bad leaf or key of a JSON value stands, as in `messages.0.content`; empty at the top."""
    return next((path.lstrip(".")[:PLACE_SHOWN] for path, leaf in _leaves(value, "") if bad(leaf)), "")


def _leaves(value: object, path: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for key, child in value.items():
            yield path, key
            yield from _leaves(child, f"{path}.{key}")
    elif isinstance(value, list):
        for place, child in enumerate(value):
            yield from _leaves(child, f"{path}.{place}")
    else:
        yield path, value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def kind_of(value: object) -> str:
    """What a JSON value is, in the words of a message."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "missing or null"}
    return names.get(type(value), "a number")
