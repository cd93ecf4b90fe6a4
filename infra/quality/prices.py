"""What a prompt's answer costs on each model, where that is known or can be estimated."""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final

import cost_router
from cost_router.core.ask import BYTES_PER_TOKEN
from cost_router.core.catalogue import Catalogue, Model
from cost_router.core.errors import UnknownModel
from cost_router.core.pricing import Usage, cost
from cost_router.core.words import TIER_WORDS, Tier
from infra.quality.rows import Row

DATA: Final = Path(cost_router.__file__).parent / "data"
LINEUP: Final = "current"


def prices(rows: Sequence[Row], name: str, on: dt.date) -> list[Decimal] | None:
    """US dollars of each prompt's answer on a model; None unless they are known for every row.

    They are what the rows say, else estimated from characters at list prices of the day: those of the model of that
    name, or of the `current` lineup's model of its tier. Models of no tier have no price here.
    """
    if all(name in row.cost_usd for row in rows):
        return [row.cost_usd[name] for row in rows]
    model = _model(name)
    if model is None or not all(name in row.characters for row in rows):
        return None
    return [cost(model, _usage(row, name), on=on) for row in rows]


def _usage(row: Row, name: str) -> Usage:
    return Usage(
        input_tokens=-(-len(row.prompt) // BYTES_PER_TOKEN), output_tokens=-(-row.characters[name] // BYTES_PER_TOKEN)
    )


def _model(name: str) -> Model | None:
    catalogue = Catalogue(_data("catalogue.json"))
    try:
        return catalogue.model(name)
    except UnknownModel:
        words = [word for word in TIER_WORDS if word in name.lower()]
        lineup = catalogue.lineup(LINEUP, _data("lineups.json"))
        return lineup.models[Tier.parse(words[0])] if len(words) == 1 else None


def _data(name: str) -> Mapping[str, Mapping[str, str]]:
    content: Mapping[str, Mapping[str, str]] = json.loads((DATA / name).read_text(encoding="utf-8"))
    return content
