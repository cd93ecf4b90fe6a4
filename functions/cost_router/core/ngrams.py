"""What the local pre-classifier sees of a text: hashed n-grams and a few plain features.

Letters are read as UTF-8 in lower case, a run of digits as its length, any other mark as a word of its own: so code
marks, operators and question marks are words. Hashes are CRC-32, the same in every process and on every machine.
"""

import math
import re
from dataclasses import dataclass
from typing import Final
from zlib import crc32

WORD: Final = re.compile(rb"[a-z\x80-\xff]+|[0-9]+|[^\sa-z0-9\x80-\xff]")
NUMBERS: Final = (b"#1", b"#2", b"#3", b"#4")  # a run of digits; longer ones are the last
ZERO, NINE = ord("0"), ord("9")
PAIRED: Final = 0x9E3779B9  # keeps a pair of words apart from the word that they make when written together
WITHIN: Final = 0x85EBCA6B  # and characters of a word from words
LONGEST_WORD: Final = 24  # bytes whose character n-grams are counted: text without spaces costs no more than other text
SHORTEST_WORD: Final = 4  # shorter ones are their own n-gram
PLAIN: Final = ("log_characters", "log_capitals")  # others were tried and left out: docs/routing-quality.md
CAPITALS: Final = re.compile(r"[A-Z]")


@dataclass(frozen=True, slots=True)
class Grams:
    """Which n-grams are counted. buckets: a power of two; characters: lengths of n-grams within words."""

    buckets: int
    pairs: bool  # of words that stand side by side
    characters: tuple[int, ...]

    def of(self, text: str) -> set[int]:
        """The buckets of a text: whether an n-gram is there, not how often."""
        mask = self.buckets - 1
        words = [
            word if not ZERO <= word[0] <= NINE else NUMBERS[min(len(word), len(NUMBERS)) - 1] for word in _words(text)
        ]
        hashes = [crc32(word) for word in words]
        found = {number & mask for number in hashes}
        if self.pairs:
            found.update(crc32(word, before ^ PAIRED) & mask for before, word in zip(hashes, words[1:], strict=False))
        for length in self.characters:
            for word in set(words):
                if len(word) >= SHORTEST_WORD:
                    edged = b"<%b>" % word[:LONGEST_WORD]
                    ends = range(length, len(edged) + 1)
                    found.update(crc32(edged[end - length : end], WITHIN) & mask for end in ends)
        return found


def plain(text: str) -> tuple[float, ...]:
    """The features of `PLAIN`, in that order."""
    return (math.log1p(len(text)), math.log1p(len(CAPITALS.findall(text))))


def _words(text: str) -> list[bytes]:
    return WORD.findall(text.lower().encode("utf-8", "surrogatepass"))
