"""What the caller asks of the router: `x-router-*` headers and the body's `router` object; headers win."""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from cost_router.core.errors import InvalidRequest, quoted
from cost_router.core.request import CHECKS, ON, Hints
from cost_router.core.words import TIER_WORDS, Tier

# What holds for any request, also for jobs and batch lines; the others are about an answer that somebody waits for.
SHARED_FIELDS: Final = ("floor", "ceiling", "tags", "cache", "session", "max_cost_usd", "max_tokens")
HINT_FIELDS: Final = (*SHARED_FIELDS, "speculate", "cascade", "sample")
HEADER_PREFIX: Final = "x-router-"
DOLLARS: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,12})?")
NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")
MOST_TAGS: Final = 10


def parse_hints(
    router: Mapping[str, Any], headers: Mapping[str, str], accepted: tuple[str, ...] = HINT_FIELDS
) -> Hints:
    """The hints in the body's `router` object and in `x-router-*` headers, which win. Raises `InvalidRequest`."""
    found: dict[str, Any] = {}
    for name, value in router.items():
        if name not in accepted:
            raise InvalidRequest(f"router: {quoted(name)} is unknown; accepted: {', '.join(accepted)}")
        if name in HINT_FIELDS:
            found[name] = _READERS[name](f"router.{name}", value)
    for header, value in headers.items():
        if not header.lower().startswith(HEADER_PREFIX):
            continue
        name = header.lower().removeprefix(HEADER_PREFIX).replace("-", "_")
        fields = [field for field in HINT_FIELDS if field in accepted]
        if name not in fields:
            known = ", ".join(HEADER_PREFIX + field.replace("_", "-") for field in fields)
            raise InvalidRequest(f"{header}: unknown; accepted: {known}")
        found[name] = _READERS[name](header.lower(), value)
    hints = Hints(**found)
    if hints.floor and hints.ceiling and hints.floor > hints.ceiling:
        raise InvalidRequest(
            f"floor: {hints.floor.word!r} is above the ceiling {hints.ceiling.word!r}; "
            "accepted: a floor not above the ceiling"
        )
    return hints


def _tier(name: str, value: object) -> Tier:
    try:
        return Tier.parse(str(value))
    except ValueError:
        raise InvalidRequest(f"{name}: {quoted(value)}; accepted: {', '.join(TIER_WORDS)}") from None


def _tags(name: str, value: object) -> dict[str, str]:
    """`customer=acme,service=search`, or an object of strings."""
    if isinstance(value, str):
        pairs = [part.strip().partition("=") for part in value.split(",") if part.strip()]
        value = {key.strip(): text.strip() for key, _, text in pairs}
    valid = isinstance(value, dict) and all(
        NAME.fullmatch(key) and isinstance(text, str) and NAME.fullmatch(text) for key, text in value.items()
    )
    if not isinstance(value, dict) or not valid or len(value) > MOST_TAGS:
        raise InvalidRequest(
            f"{name}: {quoted(value)}; accepted: at most {MOST_TAGS} pairs NAME=VALUE, both matching {NAME.pattern}"
        )
    return value


def _switch(name: str, value: object) -> bool:
    if value in ("on", "off"):
        return value == "on"
    raise InvalidRequest(f"{name}: {quoted(value)}; accepted: 'on', 'off'")


def _by_label(name: str, value: object) -> bool:
    if value in ("by-label", "asked"):
        return value == "by-label"
    raise InvalidRequest(f"{name}: {quoted(value)}; accepted: 'by-label', 'asked'")


def _cascade(name: str, value: object) -> tuple[str, ...]:
    """`on`, `off`, or the checks: `json,verifier`."""
    if value in ("on", "off"):
        return (ON,) if value == "on" else ()
    words = [word.strip() for word in value.split(",")] if isinstance(value, str) else []
    if not words or any(word not in CHECKS for word in words):
        raise InvalidRequest(f"{name}: {quoted(value)}; accepted: 'on', 'off', or some of {', '.join(CHECKS)}")
    return tuple(check for check in CHECKS if check in words)


def _name(name: str, value: object) -> str:
    if isinstance(value, str) and NAME.fullmatch(value):
        return value
    raise InvalidRequest(f"{name}: {quoted(value)}; accepted: a name matching ^{NAME.pattern}$")


def _dollars(name: str, value: object) -> Decimal:
    """A decimal string, or a JSON number, whose shortest text is what the caller wrote."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        text = f"{Decimal(str(value)):f}" if number else str(value)
    except ArithmeticError:  # infinities
        text = ""
    if not DOLLARS.fullmatch(text) or not Decimal(text):
        raise InvalidRequest(f"{name}: {quoted(value)}; accepted: US dollars above 0, such as 0.05")
    return Decimal(text)


_READERS: Final[Mapping[str, Callable[[str, object], object]]] = {
    "floor": _tier,
    "ceiling": _tier,
    "tags": _tags,
    "cache": _switch,
    "session": _name,
    "max_cost_usd": _dollars,
    "speculate": _switch,
    "sample": _switch,
    "cascade": _cascade,
    "max_tokens": _by_label,
}
