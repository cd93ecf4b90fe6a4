"""Prices the ledger's tokens anew: against another baseline, or with another lineup.

Each entry is priced by the prices in force on its own day. Tokens are taken as they were counted, so a price on a model
that counts otherwise is an estimate; a note says so. Ambiguous entries have no tokens: they stay as they were booked.

A deployment does not tell its negotiated discounts: they are in its bundle, and its health page is public. So prices
are list prices unless the operator's file of discounts is given; a note says when the ledger was booked at others.
"""

import datetime as dt
import json
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final

import cost_router
from cost_router.core import pricing
from cost_router.core.catalogue import Catalogue, Lineup, Model
from cost_router.core.errors import NoPrice, UnknownModel
from cost_router.core.ledger import AMBIGUOUS, CLASSIFIER, usage_in
from cost_router.core.ports import Row
from cost_router.core.pricing import REALTIME, TOKENS
from cost_router.core.words import AUTO, TIER_WORDS, Tier
from infra.operate.report import BadReport, WhatIf

DATA: Final = Path(cost_router.__file__).parent / "data"
ASKED: Final = "asked"  # the model that the caller named; opus where it named none
BASELINES: Final = ("opus", "sonnet", ASKED)
COUNTS: Final = "2026 counts about 30 % more tokens than 2024 for the same text"


Discounts = Mapping[str, Mapping[str, str]]


def named_lineup(name: str, discounts: Discounts | None = None) -> Lineup:
    """The lineup of that name in data/lineups.json; raises `BadReport` with what is accepted.

    discounts: the content of the deployment's file, as `infra.catalogue.discounts.read_discounts` gives it.
    """
    lineups = _data("lineups.json")
    if name not in lineups:
        raise BadReport(f"lineup {name!r}; accepted: {', '.join(lineups)}")
    return Catalogue(_data("catalogue.json"), discounts).lineup(name, lineups)


def price_notes(entries: Iterable[Row], discounts: Discounts | None = None) -> list[str]:
    """What is to be noted when the ledger was booked at other prices than those that entries are priced anew with."""
    catalogue = Catalogue(_data("catalogue.json"), discounts)
    found = [entry for entry in entries if AMBIGUOUS not in entry["flags"] and entry["model"] in catalogue.ids]
    otherwise = sum(_price(entry, catalogue.model(entry["model"])) != entry["cost_usd"] for entry in found)
    if not otherwise:
        return []
    asked = "other discounts or " if discounts else "negotiated discounts (give their file: --discounts FILE) or "
    return [
        f"{otherwise} of {len(found)} calls were booked at other prices than those used here: {asked}another catalogue."
    ]


def against(entries: Iterable[Row], baseline: str, lineup: Lineup) -> list[Row]:
    """The entries with the baseline asked for; raises `BadReport`.

    The ledger's own baseline is opus. For another one, what has a baseline gets that of the model it stands for.
    """
    if baseline == BASELINES[0]:
        return list(entries)

    def changed(entry: Row) -> Row:
        model = _baseline(entry, baseline, lineup)
        return {**entry, "baseline_usd": _price(entry, model, REALTIME)}

    return [changed(entry) if entry["baseline_usd"] else entry for entry in entries]


def _baseline(entry: Row, baseline: str, lineup: Lineup) -> Model:
    """The model that a baseline stands for, for one call."""
    name = entry.get("asked", AUTO) if baseline == ASKED else baseline
    if name in TIER_WORDS:
        return lineup.models[Tier.parse(name)]
    try:
        return shipped_catalogue().model(name)
    except UnknownModel:  # `auto`, or a model of a catalogue before or after this one
        return lineup.baseline


def baseline_notes(entries: Iterable[Row], baseline: str, lineup: Lineup) -> list[str]:
    """What is to be noted about a baseline: for how many answers it is an estimate."""
    based = [entry for entry in entries if entry["baseline_usd"]]
    estimated = sum(_counted_otherwise(based, lambda entry: _baseline(entry, baseline, lineup)).values())
    if not estimated:
        return []
    said = (
        f"The baseline is an estimate for {estimated} of {len(based)} answers: their tokens were not counted by the "
        f"tokenizer of the model that they are compared with ({COUNTS})."
    )
    return [said]


def with_lineup(entries: Iterable[Row], lineup: Lineup, baseline: str) -> tuple[WhatIf, list[str]]:
    """The same traffic with another lineup: each tier's calls on its model of the tier; and what is to be noted."""
    found = list(entries)

    def serving(entry: Row) -> Model:
        return lineup.classifier if entry["purpose"] == CLASSIFIER else lineup.models[Tier.parse(entry["tier"])]

    priced = []
    for entry in found:
        model = serving(entry)
        changed = {**entry, "model": model.id, "cache_saved_usd": Decimal(0)}  # it was at the other model's prices
        if AMBIGUOUS not in entry["flags"]:
            changed["cost_usd"] = _price(entry, model)
        if entry["baseline_usd"]:
            changed["baseline_usd"] = _price(entry, _baseline(entry, baseline, lineup), REALTIME)
        priced.append(changed)
    return WhatIf(lineup.name, priced), _what_if_notes(found, serving, lineup.name)


def _what_if_notes(entries: list[Row], serving: Callable[[Row], Model], name: str) -> list[str]:
    notes = []
    for (counted, theirs), calls in _counted_otherwise(entries, serving).items():
        really = "less" if counted > theirs else "more"
        notes.append(
            f"What-if {name} is an estimate: the tokens of {calls} of {len(entries)} calls were counted by tokenizer "
            f"{counted}, those of its models by {theirs}; {COUNTS}: it would really cost {really} than shown."
        )
    kept = sum(AMBIGUOUS in entry["flags"] for entry in entries)
    if kept:
        notes.append(f"What-if {name} keeps {kept} ambiguous calls as they were booked: their tokens are not known.")
    return notes


def _counted_otherwise(entries: Iterable[Row], serving: Callable[[Row], Model]) -> dict[tuple[str, str], int]:
    """How many calls with tokens were counted by another tokenizer than their new model's, by both tokenizers."""
    found: dict[tuple[str, str], int] = {}
    catalogue = shipped_catalogue()
    for entry in entries:
        try:
            pair = catalogue.model(entry["model"]).tokenizer, serving(entry).tokenizer
        except UnknownModel:  # of a catalogue before or after this one
            continue
        if pair[0] != pair[1] and any(entry[name] for name in TOKENS):
            found[pair] = found.get(pair, 0) + 1
    return found


def _price(entry: Row, model: Model, processing: str | None = None) -> Decimal:
    """A call's tokens on another model; a baseline is a plain call, whatever the entry's own processing."""
    day = dt.datetime.fromisoformat(entry["at"]).date()
    try:
        return pricing.cost_elsewhere(model, usage_in(entry), on=day, processing=processing or entry["processing"])
    except NoPrice as error:
        raise BadReport(str(error)) from error


@cache
def shipped_catalogue() -> Catalogue:
    """The catalogue that is deployed with this version."""
    return Catalogue(_data("catalogue.json"))


def _data(name: str) -> dict[str, Any]:
    """A file of the bundle's data, without the handlers' imports, which take a second."""
    return dict(json.loads((DATA / name).read_text(encoding="utf-8")))
