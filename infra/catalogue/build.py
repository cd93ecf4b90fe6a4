"""Writes `functions/cost_router/data/catalogue.json` from genai-prices and the hand-kept `models.json`.

`python -m infra.catalogue.build [--out PATH] [--check]`; `--check` writes nothing and exits 1 when the file differs.
A model of a lineup without capabilities, without a price in force or past its retirement ends the build: it would be
refused at run time, never free. Old prices and deprecated models are told on standard error.
"""

import argparse
import datetime as dt
import importlib.metadata
import json
import sys
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from genai_prices.data import providers
from genai_prices.types import ModelInfo, ModelPrice, StartDateConstraint, TieredPrices

from infra.catalogue.findings import CATALOGUE, LINEUPS, CatalogueProblem, check, lineup_findings
from infra.catalogue.lifecycle import LifecycleError, released_on, retires_on

MODELS: Final = Path(__file__).with_name("models.json")

PACKAGE: Final = "genai-prices"
ALWAYS: Final = dt.date(1970, 1, 1)  # "from" of a price without a start date
# Our name of a bucket -> genai-prices' name of its price per million tokens.
BUCKETS: Final = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write_5m": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
}
WEB_SEARCH: Final = "web_searches_kcount"  # dollars per 1,000 searches, not per tokens
REALTIME: Final = {"processing": "realtime", "speed": "standard"}
# What genai-prices calls a variant -> what its rows are about. Batches know one speed only.
VARIANTS: Final = (
    ({"processing": "batch"}, {"processing": "batch", "speed": "standard"}),
    ({"speed": "fast"}, {"processing": "realtime", "speed": "fast"}),
)
HAND_KEPT_ONLY: Final = frozenset(
    {"source", "note", "retires_on"}
)  # fields of models.json that the running code has no use for


class BuildError(Exception):
    """The catalogue cannot be built; the message names the model."""


def build(models: Mapping[str, Any], lineups: Mapping[str, Any]) -> dict[str, Any]:
    """The content of `catalogue.json`; raises `BuildError`."""
    for lineup, row in lineups.items():
        for role, model in row.items():
            if model not in models:
                raise BuildError(f"lineup {lineup!r}: {role} model {model!r} is not in {MODELS.name}")
    priced = {}
    for model, capabilities in models.items():
        used_by = [name for name, row in lineups.items() if model in row.values()]
        prices = list(_rows(model, f" (lineup {', '.join(used_by)})" if used_by else ""))
        kept = {name: value for name, value in capabilities.items() if name not in HAND_KEPT_ONLY}
        priced[model] = {**kept, **retires_on(model, capabilities), "prices": prices}
    version = importlib.metadata.version(PACKAGE)
    return {"source": f"{PACKAGE} {version}", "prices_as_of": released_on(PACKAGE, version), "models": priced}


def render(catalogue: Mapping[str, Any]) -> str:
    """The file's text: one price row a line, so that a change of price is one line in a diff."""
    text = json.dumps(catalogue, indent=1)
    for model in catalogue["models"].values():
        for row in model["prices"]:
            spread = json.dumps(row, indent=1).replace("\n", "\n    ")
            text = text.replace(spread, json.dumps(row))
    return text + "\n"


def _rows(model: str, where: str) -> Iterator[dict[str, Any]]:
    info = _info(model)
    if info is None:
        raise BuildError(f"model {model!r}{where} has no price in genai-prices")
    for since in _start_days(info):
        yield from _steps(info, since, REALTIME, info.get_prices(_noon(since)))
    for when, about in VARIANTS:
        for since in _variant_days(info, when):
            yield from _steps(info, since, about, info.get_prices(_noon(since), when))


def _info(model: str) -> ModelInfo | None:
    anthropic = next(provider for provider in providers if provider.id == "anthropic")
    return anthropic.find_model(model)


def _start_days(info: ModelInfo) -> list[dt.date]:
    """Days on which the realtime price changes."""
    if isinstance(info.prices, ModelPrice):
        return [ALWAYS]
    return sorted({_start(info, price.constraint) for price in info.prices})


def _variant_days(info: ModelInfo, when: Mapping[str, str]) -> list[dt.date]:
    """Days on which such a price begins or changes; none is invented for the days before."""
    variants = [variant for variant in info.price_variants or () if variant.when == when]
    begins = sorted({_start(info, variant.constraint) for variant in variants})
    return sorted({*begins, *(day for day in _start_days(info) if begins and day > begins[0])})


def _start(info: ModelInfo, constraint: object) -> dt.date:
    if constraint is None:
        return ALWAYS
    if isinstance(constraint, StartDateConstraint):
        return constraint.start_date
    raise BuildError(f"model {info.id!r} is priced by {type(constraint).__name__}, which the catalogue cannot say")


def _steps(info: ModelInfo, since: dt.date, about: Mapping[str, str], price: ModelPrice) -> Iterator[dict[str, Any]]:
    """A row for short prompts, then one for each step."""
    prices = _token_prices(info, price)
    starts = {tier.start for value in prices.values() if isinstance(value, TieredPrices) for tier in value.tiers}
    for over in sorted({0, *starts}):
        yield {
            "from": since.isoformat(),
            **about,
            "over_prompt_tokens": over,
            **{bucket: _text(_at(value, over)) for bucket, value in prices.items()},
            **_search(price),
        }


def _token_prices(info: ModelInfo, price: ModelPrice) -> dict[str, Decimal | TieredPrices]:
    given = {name: value for name, value in vars(price).items() if value is not None}
    unknown = sorted(given.keys() - set(BUCKETS.values()) - {WEB_SEARCH})
    missing = sorted(set(BUCKETS.values()) - given.keys())
    if unknown or missing:
        raise BuildError(f"model {info.id!r}: prices without a bucket: {unknown}; buckets without a price: {missing}")
    return {bucket: given[name] for bucket, name in BUCKETS.items()}


def _search(price: ModelPrice) -> dict[str, str]:
    """The price of 1,000 searches, if the model is said to have one."""
    value = vars(price).get(WEB_SEARCH)
    return {"web_search": _text(value)} if isinstance(value, Decimal) else {}


def _at(value: Decimal | TieredPrices, over: int) -> Decimal:
    """The price of a prompt just longer than `over` tokens."""
    if isinstance(value, Decimal):
        return value
    reached = [tier.price for tier in value.tiers if tier.start <= over and over > 0]
    return reached[-1] if reached else value.base


def _text(price: Decimal) -> str:
    return f"{price.normalize():f}"


def _noon(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(12), dt.UTC)


def main(arguments: list[str] | None = None, today: dt.date | None = None) -> int:
    """Write or check the file; returns the exit code. today: UTC, the machine's when left out."""
    parser = argparse.ArgumentParser(prog="python -m infra.catalogue.build", description=__doc__)
    parser.add_argument("--out", type=Path, default=CATALOGUE)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the file differs")
    options = parser.parse_args(arguments)
    try:
        models = json.loads(MODELS.read_text(encoding="utf-8"))["models"]
        lineups = json.loads(LINEUPS.read_text(encoding="utf-8"))
        built = build(models, lineups)
        for finding in check(lineup_findings(built, lineups, today or dt.datetime.now(dt.UTC).date())):
            print(f"catalogue: warning: {finding.says}", file=sys.stderr)
    except (BuildError, CatalogueProblem, LifecycleError) as error:
        print(f"catalogue: {error}", file=sys.stderr)
        return 1
    text = render(built)
    if not options.check:
        options.out.write_text(text, encoding="utf-8")
        return 0
    current = options.out.read_text(encoding="utf-8") if options.out.exists() else ""
    if current != text:
        print(f"catalogue: {options.out} is not current: run python -m infra.catalogue.build", file=sys.stderr)
    return int(current != text)


if __name__ == "__main__":
    sys.exit(main())
