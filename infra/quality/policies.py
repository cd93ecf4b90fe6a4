"""Routing policies that can be replayed: each scores prompts, higher where the dear model is to answer sooner."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from cost_router.core.preclassifier import Preclassifier
from cost_router.core.words import Label
from infra.quality.curves import Floats, Outcomes
from infra.quality.rows import Row

RANDOM: Final = "random"
LENGTH: Final = "length"
KEYWORDS: Final = "keyword rules"
RUBRIC: Final = "rubric classifier"
PRECLASSIFIER: Final = "pre-classifier"
ORACLE: Final = "oracle"
# What people write into such rules: words of hard tasks, marks of code and of mathematics.
HARD: Final = re.compile(
    r"\b(?:prove|proof|derive|theorem|integral|equation|probability|algorithm|complexity|implement|refactor|debug|"
    r"design|architect\w*|analy[sz]e|compare|evaluate|trade-?offs?|step by step|explain why|legal|liability|contract|"
    r"def|class|function|import|return|select)\b|```|[{};]|==|[∑∫√≤≥^\\]",
    re.IGNORECASE,
)
RANKS: Final = {label: float(rank) for rank, label in enumerate(Label)}


def baselines(rows: Sequence[Row], outcomes: Outcomes) -> dict[str, Floats]:
    """The policies that need no model: random order, length, keyword rules, and the oracle that knows the outcomes."""
    return {
        RANDOM: np.zeros(len(rows)),
        LENGTH: np.array([float(len(row.prompt)) for row in rows]),
        KEYWORDS: np.array([float(len(HARD.findall(row.excerpt))) for row in rows]),
        ORACLE: outcomes.strong - outcomes.weak,
    }


def preclassified(rows: Sequence[Row], model: Preclassifier) -> Floats:
    """How likely the cheapest tier fails, as the model sees it, sure or not."""
    return np.array([model.score(row.excerpt) for row in rows])


def labelled(rows: Sequence[Row], labels: Mapping[str, Label]) -> Floats | None:
    """The classifier's labels by prompt or id, else those in the rows; None unless every row has one."""
    found = [labels.get(row.id or "") or labels.get(row.prompt) or row.label for row in rows]
    ranks = [RANKS[label] for label in found if label]
    return np.array(ranks) if len(ranks) == len(rows) else None
