"""How good the routing of a deployment is, on labelled requests: what `cost-router evaluate` reports.

Each request is decided by the deployment itself, by a dry run with its real rules, local model and classifier. Tiers
are compared with those that the deployment gives to the right labels.
"""

import datetime as dt
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any, Final

from cost_router.core import pricing, rules
from cost_router.core.ask import BYTES_PER_TOKEN, NEWER_TOKENIZER
from cost_router.core.catalogue import Lineup
from cost_router.core.pricing import THOUSAND, Usage
from cost_router.core.rubric import Rubric
from cost_router.core.words import Label, Tier
from infra.operate import flips
from infra.operate.accuracy import Pair, Share, accuracy, confusion, label_mix, most_frequent, percentile
from infra.operate.asking import Asked, Asker, NotRouted, Routed
from infra.operate.flips import Outcome
from infra.operate.labelled import Item
from infra.operate.misrouting import MILLIONTH, OUTPUT_TOKENS, Misrouting, Route, answer_costs, misrouting
from infra.operate.speculation import Estimate, speculation_estimate
from infra.operate.what_if import DATA

FOR_THE_LABEL: Final = frozenset(
    {"cache", "classifier", "default", "preclassifier", *(f"rule:{name}" for name in rules.RULES)}
)  # causes of a tier that is the label's own; of others a bound has moved it
ASKED: Final = frozenset({"classifier", "default"})  # causes of labels that somebody had to wait for
ANSWER: Final = 12  # tokens of a classifier's answer
TOLD: Final = 20  # requests without a decision that are told one by one
PERCENTILES: Final = (0.5, 0.95)
Advance = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class Strategy:
    """A way to route the same requests. right: the share of labels that are right, None where none was needed."""

    name: str
    right: Share | None
    misrouting: Misrouting

    def json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {"strategy": self.name, "accuracy": self.right.json() if self.right else None, **self.misrouting.json()}


@dataclass(frozen=True)
class Evaluation:
    """What came of labelled requests. found: a decision for each item, in their order, as far as there is one."""

    items: Sequence[Item]
    found: Sequence[Routed | NotRouted | None]
    lineup: Lineup
    on: dt.date  # whose prices hold
    output_tokens: int = OUTPUT_TOKENS
    attacks: Sequence[Outcome] | None = None  # None: none were tried
    stopped: str | None = None
    simulated: bool = False
    spent_usd: Decimal = Decimal(0)
    notes: Sequence[str] = field(default_factory=tuple)

    @cached_property
    def decided(self) -> list[tuple[Item, Routed]]:
        """The items with a decision."""
        return [(item, one) for item, one in zip(self.items, self.found, strict=True) if isinstance(one, Routed)]

    @cached_property
    def pairs(self) -> list[Pair]:
        """Right and given labels of what was labelled."""
        return [Pair(item.label, one.label, item.weight) for item, one in self.decided if one.label]

    @property
    def failures(self) -> list[tuple[int, str]]:
        """Line numbers of requests that got no decision, and why."""
        rows = zip(self.items, self.found, strict=True)
        return [(item.number, str(one)) for item, one in rows if isinstance(one, NotRouted)]

    @property
    def unlabelled(self) -> int:
        """Requests that bounds leave one tier for, so that no label was needed."""
        return sum(one.label is None for _, one in self.decided)

    @property
    def bounded(self) -> int:
        """Requests that a floor, a ceiling, a budget or a capability has moved, whatever their label."""
        return sum(one.cause not in FOR_THE_LABEL for _, one in self.decided)

    @property
    def by_cause(self) -> dict[str, Share]:
        """How often labels of each cause are right, the most frequent cause first."""
        groups: dict[str, list[Pair]] = {}
        for item, one in self.decided:
            if one.label:
                groups.setdefault(one.cause, []).append(Pair(item.label, one.label, item.weight))
        told = {cause: accuracy(pairs) for cause, pairs in groups.items()}
        return dict(sorted(((cause, found) for cause, found in told.items() if found), key=lambda row: -row[1].count))

    @cached_property
    def mix(self) -> dict[Label, float]:
        """The share of each right label."""
        return label_mix((item.label, item.weight) for item, _ in self.decided)

    @cached_property
    def rungs(self) -> dict[Label, Tier]:
        """The tier of each label in this deployment: as its decisions tell it, else the usual one."""
        seen = {label: Counter[Tier]() for label in Label}
        for _, one in self.decided:
            if one.label and one.cause in FOR_THE_LABEL:
                seen[one.label][one.tier] += 1
        return {label: tiers.most_common(1)[0][0] if tiers else label.tier for label, tiers in seen.items()}

    @cached_property
    def strategies(self) -> list[Strategy]:
        """The deployment's own way, and trivial ones to judge it by."""
        frequent, often = most_frequent(self.mix), ("", ", the most frequent")
        constant = [label for label in Label if label in {Label.MODERATE, Label.COMPLEX, frequent}]
        ways: dict[str, Callable[[Item, Routed], tuple[Label | None, Tier]]] = {
            "this deployment": lambda _, one: (one.label, one.tier),
            **{f"always {label}{often[label is frequent]}": self._always(label) for label in constant},
            "the right labels": lambda item, _: (item.label, self.rungs[item.label]),
        }
        return [made for name, way in ways.items() if (made := self._strategy(name, way))]

    def _always(self, label: Label) -> Callable[[Item, Routed], tuple[Label | None, Tier]]:
        return lambda *_: (label, self.rungs[label])

    def _strategy(self, name: str, way: Callable[[Item, Routed], tuple[Label | None, Tier]]) -> Strategy | None:
        routes, pairs = [], []
        for place, (item, one) in enumerate(self.decided):
            label, tier = way(item, one)
            routes.append(Route(self.rungs[item.label], tier, self._costs[place], item.weight))
            if label:
                pairs.append(Pair(item.label, label, item.weight))
        wrong = misrouting(routes)
        return Strategy(name, accuracy(pairs), wrong) if wrong else None

    @cached_property
    def _costs(self) -> list[Mapping[Tier, Decimal]]:
        return [answer_costs(item, self.lineup, self.on, self.output_tokens) for item, _ in self.decided]

    @property
    def labels_usd(self) -> Decimal:
        """What 1,000 labels of this traffic cost."""
        weight = sum((item.weight for item, _ in self.decided), Decimal(0))
        cost = sum((one.cost_usd * item.weight for item, one in self.decided), Decimal(0))
        return cost / weight * THOUSAND if weight else Decimal(0)

    @cached_property
    def speculation(self) -> Estimate | None:
        """What speculative execution would do to 1,000 such requests; None where no label was asked for.

        haiku's calls are taken to be whole answers, which is the most that an ended one costs.
        """
        rows = [(item, one, cost) for (item, one), cost in zip(self.decided, self._costs, strict=True)]
        asked = [row for row in rows if row[1].label and row[1].cause in ASKED]
        if not asked or "classifier" not in self.latency:
            return None
        weight = sum((item.weight for item, _, _ in asked), Decimal(0))
        return speculation_estimate(
            label_mix((one.label, item.weight) for item, one, _ in asked if one.label),
            self.latency["classifier"]["p50_ms"],
            sum((cost[Tier.HAIKU] * item.weight for item, _, cost in asked), Decimal(0)) / weight,
            classified=float(weight / sum((item.weight for item, _, _ in rows), Decimal(0))),  # a share, not money
            used=[label for label, tier in self.rungs.items() if tier is Tier.HAIKU],
        )

    @property
    def latency(self) -> dict[str, dict[str, float]]:
        """p50 and p95 in milliseconds: of the whole dry run as its caller waits, and of the classifier's call alone."""
        spans = {
            "request": [one.wall_ms for _, one in self.decided],
            "classifier": [one.classifier_ms for _, one in self.decided if one.classifier_ms is not None],
        }
        return {
            name: {f"p{part * 100:.0f}_ms": round(percentile(values, part), 1) for part in PERCENTILES}
            for name, values in spans.items()
            if values
        }

    def json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        matrix = confusion(self.pairs)
        right = accuracy(self.pairs)
        return {
            "simulated": self.simulated,
            "items": len(self.items),
            "decided": len(self.decided),
            "unlabelled": self.unlabelled,
            "moved_by_bounds": self.bounded,
            "stopped": self.stopped,
            "failures": [{"line": number, "why": why} for number, why in self.failures[:TOLD]],
            "failed": len(self.failures),
            "accuracy": right.json() if right else None,
            "confusion": {label: {given: row[given] for given in Label} for label, row in matrix.items()},
            "by_cause": {cause: found.json() for cause, found in self.by_cause.items()},
            "label_mix": {label: round(part, 4) for label, part in self.mix.items()},
            "tiers": {label: tier.word for label, tier in self.rungs.items()},
            "strategies": [made.json() for made in self.strategies],
            "assumed_output_tokens": self.output_tokens,
            "latency": self.latency,
            "labels_usd_per_1000": pricing.dollars(self.labels_usd.quantize(MILLIONTH)),
            "spent_usd": pricing.dollars(self.spent_usd),
            "speculation": self.speculation.json() if self.speculation else None,
            "injections": None if self.attacks is None else flips.flips_json(self.attacks),
            "notes": list(self.notes),
        }

    def predictions(self) -> Iterable[str]:
        """A line for each labelled request, as `cost-router replay --labels` reads it."""
        for item, one in self.decided:
            if one.label:
                named = {"id": item.id} if item.id else {"prompt": item.prompt or item.ask.text}
                told = {**named, "label": item.label, "predicted": one.label, "cause": one.cause}
                yield json.dumps({**told, "weight": float(item.weight)}, ensure_ascii=False)  # of requests


def likely_usd(items: Sequence[Item], lineup: Lineup, on: dt.date) -> Decimal:
    """About what one label of these items costs, in US dollars, with the rubric that is shipped; raises `NoPrice`."""
    rubric = Rubric.parse(json.loads((DATA / "rubric.json").read_text(encoding="utf-8")))
    size = sum(len(json.dumps(rubric.question(item.ask, lineup.classifier, "0" * 24))) for item in items) / len(items)
    newer = NEWER_TOKENIZER if lineup.classifier.tokenizer == "2026" else 1.0
    usage = Usage(input_tokens=int(size / BYTES_PER_TOKEN * newer), output_tokens=ANSWER)
    return pricing.cost(lineup.classifier, usage, on=on)


def attack(
    asker: Asker, items: Sequence[Item], asked: Asked, per_attack: int, told: Advance
) -> tuple[list[Outcome], str | None]:
    """What attacks did to the labels of the items, and why not all of them were tried."""
    labelled = [
        (item, one.label, one.cause)
        for item, one in zip(items, asked.outcomes, strict=True)
        if isinstance(one, Routed) and one.label
    ]
    probes = flips.probes([(item.params, label, cause) for item, label, cause in labelled], per_attack)
    done = asker.ask([probe.body for probe in probes], told=told)
    probed = [
        (probe, one.label, one.cause)
        for probe, one in zip(probes, done.outcomes, strict=True)
        if isinstance(one, Routed)
    ]
    return flips.outcomes(probed), done.stopped
