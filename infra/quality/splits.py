"""Which part of the data a prompt is in, by a hash of the prompt: the same prompt is in the same part in every file."""

import hashlib
from typing import Final

TEST_SHARE: Final = 20  # percent that nothing is trained or chosen on
FOLDS: Final = 5


def held_out(prompt: str) -> bool:
    """Whether a prompt is in the test part."""
    return _number("part", prompt) % 100 < TEST_SHARE


def fold(prompt: str, folds: int = FOLDS) -> int:
    """The fold of a prompt in cross-validation; unrelated to the test part."""
    return _number("fold", prompt) % folds


def subject_fold(subject: str, folds: int = FOLDS) -> int:
    """The fold of a whole subject."""
    return _number("subject", subject) % folds


def _number(salt: str, text: str) -> int:
    digest = hashlib.sha256(f"{salt}\n{text}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8])
