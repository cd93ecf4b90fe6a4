"""Large answers: `[[bytes:7000000]]` in the last user text makes a text of so many bytes.

`max_tokens` ends it as it ends any other. It is of tokens that are as long as some of Claude's are, runs of one
character, so that 7 MB are 109,375 of them.
"""

import re
from typing import Final

MARKER: Final = re.compile(r"\[\[bytes:([0-9]{1,8})\]\]")
TOKEN_BYTES: Final = 64
LINE: Final = "." * (TOKEN_BYTES - 1) + "\n"


def size(asked: str) -> int:
    """Bytes of the answer that a text asks for; 0 when it asks for none."""
    found = MARKER.search(asked)
    return int(found.group(1)) if found else 0


def text(beginning: str, wanted: int) -> str:
    """`beginning`, then runs of dots, up to `wanted` bytes: all of it ASCII."""
    return (beginning + LINE * (wanted // TOKEN_BYTES + 1))[:wanted]


def tokens(wanted: int) -> int:
    """Output tokens of so many bytes."""
    return -(-wanted // TOKEN_BYTES)
