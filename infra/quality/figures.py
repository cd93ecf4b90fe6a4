"""What a pre-classifier is worth on rows that it was not trained on. Standard library only: a test runs it."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from cost_router.core.preclassifier import Preclassifier
from cost_router.core.words import Label
from infra.operate.accuracy import share
from infra.quality.rows import Row
from infra.quality.targets import target

DIGITS: Final = 4


def figures(model: Preclassifier, rows: Sequence[Row]) -> dict[str, Any]:
    """How often it labels, how often it agrees when it does, and what it gave for what: on all rows and by source."""
    sources = sorted({row.source for row in rows})
    return {
        **_figures(model, rows),
        "sources": {source: _figures(model, [row for row in rows if row.source == source]) for source in sources},
    }


def _figures(model: Preclassifier, rows: Sequence[Row]) -> dict[str, Any]:
    given: dict[str, dict[str, int]] = {label.value: {"right": 0, "wrong": 0, "untold": 0} for label in Label}
    agreed: list[bool] = []
    for row in rows:
        label = None if model.lone and not row.alone else model.pick(row.excerpt)
        if label:
            agrees = target(row).agrees(label)
            given[label]["untold" if agrees is None else "right" if agrees else "wrong"] += 1
            agreed += [] if agrees is None else [agrees]
    labelled = sum(sum(counts.values()) for counts in given.values())
    found = share((agrees, Decimal(1)) for agrees in agreed)
    return {
        "rows": len(rows),
        "coverage": round(labelled / len(rows), DIGITS) if rows else None,
        "agreement": found.json() if found else None,
        "given": given,
    }
