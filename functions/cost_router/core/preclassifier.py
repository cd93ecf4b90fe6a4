"""Local pre-classifier (placeholder: whoever writes it replaces this file)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cost_router.core.ask import Ask
from cost_router.core.words import Label


@dataclass(frozen=True, slots=True)
class Preclassifier:
    """A local model that is never sure."""

    version: str = "none"

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> "Preclassifier":
        """The model in its JSON; raises `ValueError`."""
        return cls(str(data.get("version", "none")))

    def label(self, ask: Ask) -> Label | None:
        """None."""
        return None if ask else None
