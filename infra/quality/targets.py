"""What a row says of its prompt: which tiers fail on it, and which labels may be right."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from cost_router.core.errors import quoted
from cost_router.core.words import TIER_WORDS, Label, Tier
from infra.operate.labelled import BadLabels
from infra.quality.rows import STRONG, WEAK, Row

RIGHT: Final = 0.5  # a score from here on is right
DATE: Final = re.compile(r"\d{8}$")
HARD: Final = frozenset({Label.MODERATE, Label.COMPLEX})


@dataclass(frozen=True, slots=True)
class Target:
    """What training learns of a row. None: the row does not tell.

    cheapest_fails, middle_fails: 1 or 0, and half where no model of the row is right: such a prompt is hard, but
    nothing would be gained by paying more.
    """

    cheapest_fails: float | None
    middle_fails: float | None
    possible: frozenset[Label]  # the labels that may be right: that of the cheapest tier which is right

    def agrees(self, label: Label) -> bool | None:
        """Whether a label is right; None where the row does not tell."""
        if label not in self.possible:
            return False
        return True if len(self.possible) == 1 else None


def target(row: Row) -> Target:
    """The target of a row, by its outcomes where it has any, else by its label; raises `BadLabels`."""
    if not row.correct:
        hard, hardest = row.label is not Label.SIMPLE, row.label is Label.COMPLEX
        return Target(float(hard), float(hardest), frozenset({row.label} if row.label else Label))
    if set(row.correct) == {WEAK, STRONG}:
        fails = _fails(row.correct, WEAK)
        return Target(fails, None, frozenset({Label.SIMPLE}) if fails == 0 else HARD)
    tiers = by_tier(row.correct)
    cheapest = _fails(row.correct, tiers[Tier.HAIKU]) if Tier.HAIKU in tiers else None
    middle = _fails(row.correct, tiers[Tier.SONNET]) if Tier.SONNET in tiers else None
    return Target(cheapest, middle, _possible(cheapest, middle))


def by_tier(models: Iterable[str]) -> dict[Tier, str]:
    """The model of each tier: the one whose name has the tier's word, the oldest where there are several.

    Raises `BadLabels` for a name that has none of the words.
    """
    found: dict[Tier, str] = {}
    for model in sorted(models, key=lambda name: (_date(name), name)):
        words = [word for word in TIER_WORDS if word in model.lower()]
        if len(words) != 1:
            raise BadLabels(f"model {quoted(model)}: which tier is it? accepted: names with {', '.join(TIER_WORDS)}")
        found.setdefault(Tier.parse(words[0]), model)
    return found


def _possible(cheapest: float | None, middle: float | None) -> frozenset[Label]:
    found = set(Label)
    if cheapest == 0:
        return frozenset({Label.SIMPLE})
    if cheapest is not None:
        found -= {Label.SIMPLE}
    if middle is not None:
        found -= {Label.MODERATE if middle else Label.COMPLEX}
    return frozenset(found)


def _fails(correct: Mapping[str, float], model: str) -> float:
    if any(score > 1 for score in correct.values()):
        raise BadLabels(f"scores {quoted(dict(correct))}; accepted for training: 0 to 1, right from {RIGHT} on")
    if correct[model] >= RIGHT:
        return 0.0
    return 1.0 if any(score >= RIGHT for score in correct.values()) else 0.5


def _date(model: str) -> str:
    found = DATE.search(model)
    return found.group() if found else ""
