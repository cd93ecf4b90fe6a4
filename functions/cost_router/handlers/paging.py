"""The query of a list: how long a page, and where it begins. For every list that the API pages alike."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cost_router.core.errors import InvalidRequest, quoted
from cost_router.core.paging import DEFAULT_LIMIT

MOST_ITEMS: Final = 1_000
WHOLE_NUMBER: Final = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Cursor:
    """Which page is asked for; `core.paging.page` cuts it."""

    limit: int
    after_id: str | None
    before_id: str | None


def parse_cursor(query: Mapping[str, str]) -> Cursor:
    """The page that a query asks for; raises `InvalidRequest`.

    Other parameters are passed over: clients send some that are not about the page, such as `beta=true`, and a newer
    client will send more.
    """
    limit = query.get("limit", str(DEFAULT_LIMIT))
    if not WHOLE_NUMBER.fullmatch(limit) or not 1 <= int(limit) <= MOST_ITEMS:
        raise InvalidRequest(f"limit: {quoted(limit)}; accepted: a whole number from 1 to {MOST_ITEMS}")
    after_id, before_id = _id(query, "after_id"), _id(query, "before_id")
    if after_id is not None and before_id is not None:
        raise InvalidRequest(
            f"after_id: {quoted(after_id)} and before_id: {quoted(before_id)}; accepted: one of them, not both"
        )
    return Cursor(int(limit), after_id, before_id)


def _id(query: Mapping[str, str], name: str) -> str | None:
    """A cursor; one that is empty is none, as a client's unset variable makes it."""
    return query.get(name) or None
