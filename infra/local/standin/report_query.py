"""The query of a usage or cost report: every parameter checked, with a 400 that says what is accepted.

Parameters and their limits are those of `GET /v1/organizations/analytics/usage` and `/cost` (docstrings of anthropic
2.12). How the API words its refusals of them is not on record. Dimensions that the stand-in's traffic does not have,
such as `actor`, are refused rather than answered with nothing.
"""

import base64
import binascii
import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import QueryParams

from infra.local.standin.errors import invalid

DIMENSIONS: Final = ("model", "service_tier", "workspace_id", "api_key_id")
FAN_OUT: Final = ("cost_type", "token_type")  # of costs only; their rows don't count toward the limit
FILTERS: Final = {f"{name}s[]": name for name in DIMENSIONS}
ORDER_BY: Final = {
    "usage": ("total_tokens", "output_tokens", "uncached_input_tokens", "requests", "time"),
    "cost": ("amount", "list_amount", "time"),
}
WIDTHS: Final = {"1m": dt.timedelta(minutes=1), "1h": dt.timedelta(hours=1), "1d": dt.timedelta(days=1)}
MOST_DIMENSIONS: Final = 5
MOST_ROWS: Final = 1_000
DEFAULT_ROWS: Final = 20
LONGEST: Final = dt.timedelta(days=31)
LONGEST_BY_MINUTE: Final = dt.timedelta(hours=24)
OLDEST: Final = dt.timedelta(days=365)
FIRST_DAY: Final = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
SINGLE: Final = ("starting_at", "ending_at", "time_bucket_width", "limit", "order", "order_by", "page", "beta")
PAGE: Final = "page_"


@dataclass(frozen=True, slots=True)
class Query:
    """A report as it was asked for."""

    start: dt.datetime
    end: dt.datetime
    width: str | None
    group_by: tuple[str, ...]
    filters: dict[str, frozenset[str]]  # by dimension
    order_by: str
    ascending: bool
    limit: int
    offset: int  # rows of earlier pages


def parse(params: QueryParams, kind: str, now: dt.datetime) -> Query:
    """The query of a `usage` or `cost` report at `now`; raises the API's 400."""
    dimensions = (*DIMENSIONS, *FAN_OUT) if kind == "cost" else DIMENSIONS
    for name in params:
        if name not in (*SINGLE, "group_by[]", *FILTERS):
            raise invalid(f"{name}: Extra inputs are not permitted")
    start, end, width = _range(params, now)
    grouped = tuple(dict.fromkeys(_each("group_by[]", params.getlist("group_by[]"), dimensions)))
    if len([name for name in grouped if name not in FAN_OUT]) > MOST_DIMENSIONS:
        raise invalid(f"group_by: at most {MOST_DIMENSIONS} dimensions")
    return Query(
        start=start,
        end=end,
        width=width,
        group_by=grouped,
        filters={FILTERS[name]: frozenset(params.getlist(name)) for name in FILTERS if name in params},
        order_by=_one("order_by", params.get("order_by", ORDER_BY[kind][0]), ORDER_BY[kind]),
        ascending=_one("order", params.get("order", "desc"), ("asc", "desc")) == "asc",
        limit=_limit(params.get("limit")),
        offset=_offset(params.get("page")),
    )


def page_token(offset: int) -> str:
    """What a client sends back to get the rows from `offset` on."""
    return PAGE + base64.urlsafe_b64encode(str(offset).encode()).decode()


def _range(params: QueryParams, now: dt.datetime) -> tuple[dt.datetime, dt.datetime, str | None]:
    """Start, end and width; without a width the report covers whole hours."""
    if "starting_at" not in params:
        raise invalid("starting_at: Field required")
    start = _instant("starting_at", params["starting_at"])
    if start < max(FIRST_DAY, now - OLDEST):
        raise invalid("starting_at: must be within the last 365 days and no earlier than 2026-01-01T00:00:00Z")
    width = params.get("time_bucket_width")
    if width is not None:
        _one("time_bucket_width", width, tuple(WIDTHS))
        if "ending_at" not in params:
            raise invalid("ending_at: required when time_bucket_width is set")
    end = _instant("ending_at", params["ending_at"]) if "ending_at" in params else min(now, start + LONGEST)
    if end <= start:
        raise invalid("ending_at: must be after starting_at")
    if end - start > (LONGEST_BY_MINUTE if width == "1m" else LONGEST):
        raise invalid("ending_at: the range may span at most 31 days, or 24 hours when time_bucket_width is 1m")
    return (start, end, width) if width else (_hour(start), _hour(end), None)


def _hour(instant: dt.datetime) -> dt.datetime:
    return instant.replace(minute=0, second=0, microsecond=0)


def _instant(name: str, text: str) -> dt.datetime:
    wrong = invalid(f"{name}: '{text}' is not an RFC 3339 timestamp with a time zone")
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        raise wrong from None
    if found.tzinfo is None:
        raise wrong
    return found.astimezone(dt.UTC)


def _one(name: str, value: str, accepted: tuple[str, ...]) -> str:
    if value not in accepted:
        raise invalid(f"{name}: Input should be {', '.join(map(repr, accepted))}; it is '{value}'")
    return value


def _each(name: str, values: Iterable[str], accepted: tuple[str, ...]) -> list[str]:
    return [_one(name, value, accepted) for value in values]


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_ROWS
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= MOST_ROWS:
        raise invalid(f"limit: '{text}' is not between 1 and {MOST_ROWS}")
    return int(text)


def _offset(token: str | None) -> int:
    if token is None:
        return 0
    try:
        text = base64.b64decode(token.removeprefix(PAGE), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    if not text.isdecimal():
        raise invalid(f"page: '{token}' is not a page token of this report")
    return int(text)
