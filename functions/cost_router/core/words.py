"""The words of the product as values: labels and tiers."""

import enum
from typing import Final, Self


class Label(enum.StrEnum):
    """Difficulty of a request."""

    SIMPLE = "simple"
    MODERATE = "moderate"
    COMPLEX = "complex"

    @property
    def tier(self) -> "Tier":
        """The tier that a request of this label runs on when nothing else speaks."""
        return _TIER_OF_LABEL[self]


class Tier(enum.IntEnum):
    """Size class of a model; `Tier.HAIKU < Tier.SONNET < Tier.OPUS`."""

    HAIKU = 1
    SONNET = 2
    OPUS = 3

    @property
    def word(self) -> str:
        """The tier as users write it: `haiku`, `sonnet` or `opus`."""
        return self.name.lower()

    @classmethod
    def parse(cls, text: str) -> Self:
        """The tier called `text`; raises `ValueError` with what is accepted."""
        for tier in cls:
            if tier.word == text:
                return tier
        raise ValueError(f"{text!r} is not a tier; accepted: {', '.join(TIER_WORDS)}")


TIER_WORDS: Final = tuple(tier.word for tier in Tier)
_TIER_OF_LABEL: Final = {Label.SIMPLE: Tier.HAIKU, Label.MODERATE: Tier.SONNET, Label.COMPLEX: Tier.OPUS}
AUTO: Final = "auto"
