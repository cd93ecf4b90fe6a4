"""One key at a time from the terminal, and text that cannot command it."""

import contextlib
import os
import signal
import sys
import termios
import tty
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final

ENDINGS: Final = (signal.SIGTERM, signal.SIGHUP)  # by default they end a process before it can tidy up
JOINERS: Final = "\u200c\u200d"  # scripts and emojis need them, and they command nothing
HIDDEN: Final = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})  # Unicode's controls, formats, the unassigned
ESCAPE: Final = b"\x1b"


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of standard input. read: the next one, without Enter, or an empty text at the end of the input.

    forget: throw away what was typed so far, so that no key answers what nobody has seen.
    """

    read: Callable[[], str]
    forget: Callable[[], None]


@contextlib.contextmanager
def keystrokes() -> Iterator[Keys]:
    """The keys of a terminal, which is as it was when the block ends, however it ends.

    Without a terminal characters are taken as they come, but line ends, and nothing is thrown away.
    """
    if not sys.stdin.isatty():
        yield Keys(_piped, lambda: None)
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        with _ended_by_signals():
            tty.setcbreak(descriptor)
            yield Keys(lambda: _typed(descriptor), lambda: termios.tcflush(descriptor, termios.TCIFLUSH))
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _typed(descriptor: int) -> str:
    read = os.read(descriptor, 1)
    if read == ESCAPE:  # what else an arrow key, say, sends with it might be letters
        termios.tcflush(descriptor, termios.TCIFLUSH)
    return read.decode("latin-1")


def _piped() -> str:
    while (read := sys.stdin.buffer.read(1)) in (b"\n", b"\r"):
        pass
    return read.decode("latin-1")


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    def end(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before: dict[signal.Signals, Any] = {number: signal.signal(number, end) for number in ENDINGS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def printable(text: str) -> str:
    """A text in which nothing commands a terminal or hides: controls and their like are shown as escapes."""
    return "".join(_shown(letter) for letter in text.replace("\r\n", "\n"))


def _shown(letter: str) -> str:
    if letter in "\n\t" or letter in JOINERS or unicodedata.category(letter) not in HIDDEN:
        return letter
    return letter.encode("unicode-escape").decode("ascii")
