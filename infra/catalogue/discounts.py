"""Negotiated discounts: the operator's file, checked before it is frozen into the bundle or used by a report.

`{"claude-opus-5-5": {"percent": "12.5", "from": "2026-10-01"}}` takes 12.5 % off the model's token prices from that UTC
day on, at any speed and place, in batches too. Searches are not priced by model and stay at their list price.
"""

import datetime as dt
import json
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

from infra.catalogue.findings import CATALOGUE

MEMBERS: Final = ("percent", "from")
SHAPE: Final = '{"MODEL": {"percent": "12.5", "from": "2026-10-01"}}'
WHOLE: Final = Decimal(100)
QUOTED: Final = 80


class BadDiscounts(Exception):
    """The file of discounts is not acceptable; the message quotes what is wrong and says what is accepted."""


def read_discounts(path: Path) -> dict[str, dict[str, str]]:
    """The discounts in a file, as `data/discounts.json` holds them; raises `BadDiscounts`."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once)
        return _checked(value, tuple(json.loads(CATALOGUE.read_text(encoding="utf-8"))["models"]))
    except (OSError, ValueError) as error:
        raise BadDiscounts(f"discounts {str(path)!r}: {error}; accepted: {SHAPE}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is there more than once")
    return found


def _checked(value: object, models: tuple[str, ...]) -> dict[str, dict[str, str]]:
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"{_shown(value)} is no object of models")
    for model, row in value.items():
        if model not in models:
            raise ValueError(f"model {model!r} is not one of {', '.join(models)}")
        if not isinstance(row, Mapping) or row.keys() != set(MEMBERS):
            raise ValueError(f"{model}: {_shown(row)} is no object of {' and '.join(MEMBERS)}")
        if not _is_percent(row["percent"]):
            raise ValueError(f"{model}.percent: {_shown(row['percent'])} is no decimal string above 0 and below 100")
        if not _is_day(row["from"]):
            raise ValueError(f"{model}.from: {_shown(row['from'])} is no day YYYY-MM-DD")
    return {model: dict(row) for model, row in value.items()}


def _is_percent(value: object) -> bool:
    try:
        percent = Decimal(value) if isinstance(value, str) else Decimal("NaN")
    except InvalidOperation:
        return False
    return percent.is_finite() and 0 < percent < WHOLE


def _is_day(value: object) -> bool:
    try:
        return isinstance(value, str) and dt.date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def _shown(value: object) -> str:
    return repr(value)[:QUOTED]
