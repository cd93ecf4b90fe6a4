"""What is wrong, or soon will be, with the models and prices that a lineup rests on.

The build, the synthesis and `cost-router doctor` ask this one question: models without a price in force, models that
are retired or will be, prices that have not been looked at for a month.
"""

import datetime as dt
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

DATA: Final = Path(__file__).parents[2] / "functions" / "cost_router" / "data"
CATALOGUE: Final = DATA / "catalogue.json"
LINEUPS: Final = DATA / "lineups.json"
OLD_AFTER: Final = dt.timedelta(days=30)
PROCESSINGS: Final = ("realtime", "batch")
FAIL: Final = "fail"
WARN: Final = "warn"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to be told. kind: a word for it, so that warnings can be told apart."""

    level: str  # FAIL ends a build; WARN does not
    kind: str
    says: str


class CatalogueProblem(Exception):
    """A lineup cannot be deployed: a model of it has no price or is retired; the message names it."""


def lineup_findings(
    catalogue: Mapping[str, Any], lineups: Mapping[str, Mapping[str, str]], today: dt.date
) -> list[Finding]:
    """What is to be said of these lineups on the UTC day `today`; nothing when all is well."""
    used: dict[str, list[str]] = {}
    for lineup, roles in lineups.items():
        for role, model in roles.items():
            used.setdefault(model, []).append(f"{role} of lineup {lineup}")
    found = [finding for model, uses in used.items() for finding in _of_model(catalogue, model, ", ".join(uses), today)]
    return [*found, *_age(catalogue, today)]


def check(findings: Iterable[Finding]) -> list[Finding]:
    """The warnings among the findings; raises `CatalogueProblem` for what has to be mended first."""
    found = list(findings)
    failed = [finding.says for finding in found if finding.level == FAIL]
    if failed:
        raise CatalogueProblem("; ".join(failed))
    return found


def deployed_findings(lineup: str, today: dt.date) -> list[Finding]:
    """`lineup_findings` of one lineup of the data that is deployed."""
    catalogue, lineups = (json.loads(file.read_text(encoding="utf-8")) for file in (CATALOGUE, LINEUPS))
    return lineup_findings(catalogue, {lineup: lineups[lineup]}, today)


def _of_model(catalogue: Mapping[str, Any], model: str, uses: str, today: dt.date) -> Iterator[Finding]:
    row = catalogue["models"].get(model)
    if row is None:
        yield Finding(FAIL, "unknown", f"model {model!r} ({uses}) is not in the catalogue")
        return
    for processing in PROCESSINGS:
        if not any(_in_force(price, processing, today) for price in row["prices"]):
            says = f"model {model!r} ({uses}) has no {processing} price in force on {today.isoformat()}"
            yield Finding(FAIL, "unpriced", says)
    if "retires_on" not in row:
        return
    if today >= dt.date.fromisoformat(row["retires_on"]):
        yield Finding(FAIL, "retired", f"model {model!r} ({uses}) was retired on {row['retires_on']}: choose another")
    else:
        says = f"model {model!r} ({uses}) is deprecated and will be retired on {row['retires_on']}: plan for another"
        yield Finding(WARN, "deprecated", says)


def _in_force(price: Mapping[str, Any], processing: str, today: dt.date) -> bool:
    mine = price["processing"] == processing and price["speed"] == "standard"
    return mine and dt.date.fromisoformat(price["from"]) <= today


def _age(catalogue: Mapping[str, Any], today: dt.date) -> Iterator[Finding]:
    """Whether prices may have changed meanwhile."""
    age = today - dt.date.fromisoformat(catalogue["prices_as_of"])
    if age > OLD_AFTER:
        yield Finding(
            WARN,
            "old-prices",
            f"prices are those of {catalogue['source']}, released on {catalogue['prices_as_of']}, {age.days} days ago: "
            "raise genai-prices in pyproject.toml, then `make catalogue` and deploy",
        )
