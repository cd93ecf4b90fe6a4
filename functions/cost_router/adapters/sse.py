"""Server-sent events, cut out of a stream of bytes without changing one.

Source: html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream. An event is what stands before a
blank line; what the stream's end leaves unfinished is none.
"""

import re
from dataclasses import dataclass, field
from typing import Final

LARGEST_EVENT: Final = 32_000_000  # bytes; a message is smaller, and no memory may grow without an end
_BLANK_LINE: Final = re.compile(rb"\r?\n\r?\n|\r\r")
_LONGEST_BLANK: Final = 4  # bytes of `\r\n\r\n`
_LINE_END: Final = re.compile(rb"\r\n|\n|\r")


class EventTooLarge(ValueError):
    """An event does not end."""


@dataclass(slots=True)
class EventReader:
    """Takes bytes as they come and gives whole events."""

    _rest: bytearray = field(default_factory=bytearray, repr=False)

    def feed(self, data: bytes) -> list[bytes]:
        """The events that `data` completes, each with its blank line; raises `EventTooLarge`."""
        seen = max(0, len(self._rest) - _LONGEST_BLANK)
        self._rest += data
        found = []
        begin = 0
        for blank in _BLANK_LINE.finditer(self._rest, seen):
            found.append(bytes(self._rest[begin : blank.end()]))
            begin = blank.end()
        del self._rest[:begin]
        if len(self._rest) > LARGEST_EVENT:
            raise EventTooLarge(f"an event of more than {LARGEST_EVENT} bytes")
        return found


def parse(raw: bytes) -> tuple[str, bytes]:
    """Name and data of one event; both empty when it is a comment."""
    name, data = "", []
    for line in _LINE_END.split(raw):
        field_, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field_ == b"event":
            name = value.decode("utf-8", "replace")
        elif field_ == b"data":
            data.append(value)
    return name, b"\n".join(data)
