"""Pages of a list, as the API has them: `limit`, `after_id`, `before_id` in; items and `has_more` out.

Source: platform.claude.com/docs/en/api/models-list and .../api/listing-message-batches.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from cost_router.core.errors import InvalidRequest, quoted

T = TypeVar("T")

DEFAULT_LIMIT: Final = 20


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items of a list, in its order. has_more: whether there are more in the direction that was asked for."""

    items: tuple[T, ...]
    has_more: bool

    def body(self, id_of: Callable[[T], str], shown: Callable[[T], Any]) -> dict[str, Any]:
        """The page in the API's shape, each item as it is `shown`; the ids are null when it is empty."""
        ids = [id_of(item) for item in self.items]
        return {
            "data": [shown(item) for item in self.items],
            "has_more": self.has_more,
            "first_id": ids[0] if ids else None,
            "last_id": ids[-1] if ids else None,
        }


def page(
    items: Sequence[T],
    *,
    id_of: Callable[[T], str],
    limit: int = DEFAULT_LIMIT,
    after_id: str | None = None,
    before_id: str | None = None,
) -> Page[T]:
    """The first `limit` items, or those right after one item, or right before one.

    Raises `InvalidRequest` for a cursor that is not in the list. A query's limits are `handlers/paging.py`'s.
    """
    if before_id is not None:
        end = _place(items, id_of, "before_id", before_id)
        start = max(0, end - limit)
        return Page(tuple(items[start:end]), has_more=start > 0)
    start = 0 if after_id is None else _place(items, id_of, "after_id", after_id) + 1
    return Page(tuple(items[start : start + limit]), has_more=start + limit < len(items))


def _place(items: Sequence[T], id_of: Callable[[T], str], name: str, wanted: str) -> int:
    for place, item in enumerate(items):
        if id_of(item) == wanted:
            return place
    raise InvalidRequest(f"{name}: {quoted(wanted)} is not in the list; accepted: the id of an item of it")
