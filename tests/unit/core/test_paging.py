"""Pages of a list: how many items, from where on, and whether there are more that way."""

import pytest

from cost_router.core.errors import InvalidRequest
from cost_router.core.paging import Page, page

LETTERS = ("a", "b", "c", "d", "e")


def cut(limit: int = 20, after_id: str | None = None, before_id: str | None = None) -> tuple[str, bool]:
    found = page(LETTERS, id_of=str, limit=limit, after_id=after_id, before_id=before_id)
    return "".join(found.items), found.has_more


@pytest.mark.parametrize(
    ("limit", "after_id", "before_id", "expected"),
    [
        (4, None, None, ("abcd", True)),
        (5, None, None, ("abcde", False)),
        (6, None, None, ("abcde", False)),
        (2, "b", None, ("cd", True)),
        (2, "c", None, ("de", False)),
        (2, "e", None, ("", False)),
        (2, None, "d", ("bc", True)),
        (2, None, "c", ("ab", False)),
        (3, None, "c", ("ab", False)),
        (2, None, "a", ("", False)),
    ],
)
def test_a_page_has_the_items_next_to_its_cursor_in_the_order_of_the_list(
    limit: int, after_id: str | None, before_id: str | None, expected: tuple[str, bool]
) -> None:
    assert cut(limit, after_id, before_id) == expected


def test_pages_forward_and_backward_have_every_item_once() -> None:
    forward, cursor, more = "", None, True
    while more:
        items, more = cut(2, after_id=cursor)
        forward, cursor = forward + items, items[-1]
    backward, cursor, more = "", "e", True
    while more:
        items, more = cut(2, before_id=cursor)
        backward, cursor = items + backward, items[0]
    assert (forward, backward) == ("abcde", "abcd")


def test_the_highest_limit_is_accepted() -> None:
    assert cut(1_000) == ("abcde", False)


def test_a_cursor_that_is_not_in_the_list_is_refused_with_its_value() -> None:
    with pytest.raises(InvalidRequest, match="after_id: 'x' is not in the list"):
        cut(after_id="x")
    with pytest.raises(InvalidRequest, match="before_id: 'x' is not in the list"):
        cut(before_id="x")


def test_an_empty_page_has_no_ids() -> None:
    empty: Page[str] = Page((), has_more=False)
    assert empty.body(str, str) == {
        "data": [],
        "has_more": False,
        "first_id": None,
        "last_id": None,
    }
