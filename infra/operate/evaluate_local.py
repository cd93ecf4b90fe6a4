"""How good a local pre-classifier is on labelled requests: read from a file, asked here, without any network."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cost_router.core import rules
from cost_router.core.ask import read_ask
from cost_router.core.errors import quoted
from cost_router.core.preclassifier import Preclassifier
from cost_router.core.words import Label
from infra.operate import flips
from infra.operate.accuracy import Pair, Share, accuracy, confusion, share
from infra.operate.flips import Outcome
from infra.operate.labelled import BadLabels, Item

CAUSE: Final = "preclassifier"
NO_RULES: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True)
class LocalEvaluation:
    """What a local model said of each item, None where it was not sure. stated: the agreement that it claims."""

    items: Sequence[Item]
    labels: Sequence[Label | None]
    version: str
    stated: float | None
    attacks: Sequence[Outcome] | None = None

    @property
    def coverage(self) -> Share | None:
        """The share of requests that it labels."""
        return share((label is not None, item.weight) for item, label in zip(self.items, self.labels, strict=True))

    @property
    def pairs(self) -> list[Pair]:
        """Right and given labels, where it gave one."""
        rows = zip(self.items, self.labels, strict=True)
        return [Pair(item.label, label, item.weight) for item, label in rows if label]

    @property
    def agreement(self) -> Share | None:
        """How often it is right when it is sure."""
        return accuracy(self.pairs)

    @property
    def verdict(self) -> str:
        """Whether it may be trusted at the agreement that it states, in one sentence."""
        found = self.agreement
        if found is None:
            return "It is never sure: there is nothing to trust, and nothing to gain."
        if self.stated is None:
            return f"It states no agreement; on these labels it is at least {found.low:.1%}."
        if found.low >= self.stated:
            return f"It may be trusted: even the low end of the interval is not under the {self.stated:.1%} it states."
        if found.high < self.stated:
            return f"It may not be trusted: even the high end of the interval is under the {self.stated:.1%} it states."
        return (
            f"These labels neither show nor refute the {self.stated:.1%} that it states: the interval has both sides "
            "of it. More labels narrow it."
        )

    def json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        covered, agreed = self.coverage, self.agreement
        return {
            "preclassifier": self.version,
            "items": len(self.items),
            "coverage": covered.json() if covered else None,
            "agreement": agreed.json() if agreed else None,
            "stated_agreement": self.stated,
            "verdict": self.verdict,
            "confusion": confusion(self.pairs),
            "injections": None if self.attacks is None else flips.flips_json(self.attacks),
        }

    def predictions(self) -> list[str]:
        """A line for each request that it labels, as `cost-router replay --labels` reads it."""
        found = []
        for item, label in zip(self.items, self.labels, strict=True):
            if label:
                named = {"id": item.id} if item.id else {"prompt": item.prompt or item.ask.text}
                # JSON has no decimals; a weight counts requests, not money.
                told = {**named, "label": item.label, "predicted": label, "cause": CAUSE, "weight": float(item.weight)}
                found.append(json.dumps(told, ensure_ascii=False))
        return found


def evaluate_local(items: Sequence[Item], file: Path, per_attack: int | None) -> LocalEvaluation:
    """What the model in a file says of the items, and of attacked ones unless `per_attack` is None.

    Follow-ups are read as the router reads them, by the ask that they go on with. Raises `BadLabels`.
    """
    data = _read(file)
    try:
        model = Preclassifier.parse(data)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadLabels(f"{file}: {error}; accepted: a local model as `cost-router train` writes it") from error

    def label(params: Mapping[str, Any]) -> Label | None:
        return model.label(rules.asked(read_ask(params), NO_RULES)[0])

    labels = [label(item.params) for item in items]
    attacks = None
    if per_attack is not None:
        sure = [(item.params, given, CAUSE) for item, given in zip(items, labels, strict=True) if given]
        probes = flips.probes(sure, per_attack)
        attacks = flips.outcomes([(probe, label(probe.body), CAUSE) for probe in probes])
    return LocalEvaluation(items, labels, model.version, _stated(data), attacks)


def _read(file: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadLabels(f"{file}: {error.strerror}; accepted: the JSON of a local model") from error
    except ValueError as error:
        raise BadLabels(f"{file}: it is no JSON; accepted: the JSON of a local model") from error
    if not isinstance(found, dict):
        raise BadLabels(f"{file}: {quoted(found)}; accepted: the JSON object of a local model")
    return found


def _stated(data: Mapping[str, Any]) -> float | None:
    value = data.get("agreement")
    # An agreement or a coverage, from 0 to 1.
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
