"""Server-sent events out of bytes, wherever the network cuts them."""

import pytest

from cost_router.adapters import sse
from cost_router.adapters.sse import EventReader, EventTooLarge, parse

FIRST = b"event: ping\ndata: {}\n\n"
SECOND = 'event: content_block_delta\r\ndata: {"text":"Grüße 😀"}\r\n\r\n'.encode()
THIRD = b": a comment\n\n"
WHOLE = FIRST + SECOND + THIRD


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, 10_000])
def test_events_come_whole_and_unchanged_wherever_the_bytes_are_cut(size: int) -> None:
    reader = EventReader()
    found = [event for at in range(0, len(WHOLE), size) for event in reader.feed(WHOLE[at : at + size])]
    assert found == [FIRST, SECOND, THIRD]


def test_an_event_is_given_as_soon_as_its_blank_line_is_there_and_not_before() -> None:
    reader = EventReader()
    assert reader.feed(b"data: 1\n") == []
    assert reader.feed(b"\ndata: 2\r\r") == [b"data: 1\n\n", b"data: 2\r\r"]
    assert reader.feed(b"data: unfinished") == []


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (FIRST, ("ping", b"{}")),
        (SECOND, ("content_block_delta", '{"text":"Grüße 😀"}'.encode())),
        (THIRD, ("", b"")),
        (b"data:1\ndata: 2\n\n", ("", b"1\n2")),
        (b"id: 5\nretry: 3\nevent: x\n\n", ("x", b"")),
    ],
)
def test_name_and_data(raw: bytes, expected: tuple[str, bytes]) -> None:
    assert parse(raw) == expected


def test_an_event_without_an_end_is_refused_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "LARGEST_EVENT", 10)
    reader = EventReader()
    assert reader.feed(b"0123456789") == []
    with pytest.raises(EventTooLarge):
        reader.feed(b"0")
