"""What a judging run says: at the terminal, as JSON, and as the metric that feedback feeds, too."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cost_router.contract import NAMESPACE, SERVICE_DIMENSION, SERVICE_PREFIX, Metric
from cost_router.core.pricing import dollars
from infra.operate.accuracy import Share, share
from infra.operate.judge import Pair, Run
from infra.operate.judging import HIGHER, ROUTED, TIE, Judged
from infra.operate.show import usd
from infra.operate.target import Target

STACK_PREFIX: Final = "claude-cost-router-"  # what stacks are called, before the environment's name
SHOWN: Final = 20  # requests that lost quality
SIMULATED: Final = "Claude is simulated: a stand-in wrote answers and verdicts, which say nothing about Claude."
Both = tuple[Pair, Judged]


def told(made: Run, *, simulated: bool) -> dict[str, Any]:
    """A run as `--json` prints it; dollars as decimal strings."""
    both = _both(made)
    return {
        "simulated": simulated,
        "judged": len(made.judged),
        "undecided": made.undecided,
        "outcomes": _outcomes(row for _, row in both),
        "as_good": _json(as_good(both)),
        "mean_score": {"routed": _mean(both, lambda row: row.routed), "next_tier": _mean(both, lambda row: row.higher)},
        "by_label": {key: _json(as_good(rows)) for key, rows in _by(both, _label).items()},
        "by_cause": {key: _json(as_good(rows)) for key, rows in _by(both, _cause).items()},
        "lost": [_lost(pair, row) for pair, row in both if row.lost],
        "cost_usd": dollars(made.cost_usd),
    }


def print_judging(console: Console, made: Run, *, simulated: bool) -> None:
    """Print a run, the most important figure first."""
    both = _both(made)
    if simulated:
        console.print(SIMULATED, style="yellow", soft_wrap=True)
    found = as_good(both)
    of = f"{len(made.judged)} routed answers" + (f", {made.undecided} undecided" if made.undecided else "")
    console.print(f"as good as the next tier up, or better: {_interval(found)}, of {of}")
    outcomes = _outcomes(row for _, row in both)
    counts = f"better {outcomes[ROUTED]}, no difference {outcomes[TIE]}, worse {outcomes[HIGHER]}"
    routed, higher = _mean(both, lambda row: row.routed), _mean(both, lambda row: row.higher)
    console.print(f"{counts}; mean score {routed} of 5, next tier {higher}")
    for name, key in (("label", _label), ("cause", _cause)):
        table = Table(title=Text(f"As good or better, by {name}"), title_justify="left")
        for column in (name, "share", "answers"):
            table.add_column(Text(column), justify="left" if column == name else "right")
        for value, rows in _by(both, key).items():
            table.add_row(Text(value), _interval(as_good(rows)), str(len(rows)))
        console.print(table)
    lost = [(pair, row) for pair, row in both if row.lost]
    for pair, row in lost[:SHOWN]:
        scores = f"{row.routed:g} against {row.higher:g}"
        said = f"lost quality: {pair.id} on {pair.tier.word} ({pair.label}, {pair.cause}), {scores}"
        console.print(said, markup=False, soft_wrap=True)
    if len(lost) > SHOWN:
        console.print(f"and {len(lost) - SHOWN} more; --json has them all")
    console.print(f"this judging cost {usd(made.cost_usd)}, answers of the next tier and verdicts together")


def as_good(both: Iterable[Both]) -> Share | None:
    """The share of routed answers that are not worse than the next tier's, weighted to the traffic."""
    return share((not row.lost, Decimal(str(pair.weight))) for pair, row in both)


def tell_metric(target: Target, made: Run) -> None:
    """Put the run's share on the metric of quality, where the scores of people are."""
    found = as_good(_both(made))
    stage = target.name.removeprefix(STACK_PREFIX)
    if found is None:
        return
    dimensions = [{"Name": SERVICE_DIMENSION, "Value": SERVICE_PREFIX + stage}]
    datum = {"MetricName": Metric.QUALITY, "Dimensions": dimensions, "Value": found.value, "Unit": "None"}
    target.client("cloudwatch").put_metric_data(Namespace=NAMESPACE, MetricData=[datum])


def _both(made: Run) -> list[Both]:
    pairs = {pair.id: pair for pair in made.pairs}
    return [(pairs[row.id], row) for row in made.judged]


def _outcomes(rows: Iterable[Judged]) -> dict[str, int]:
    found = dict.fromkeys((ROUTED, TIE, HIGHER), 0)
    for row in rows:
        found[row.outcome] += 1
    return found


def _mean(both: Iterable[Both], score: Callable[[Judged], float]) -> float | None:
    rows = [(score(row), pair.weight) for pair, row in both]
    total = sum(weight for _, weight in rows)
    return round(sum(value * weight for value, weight in rows) / total, 2) if total else None


def _by(both: Iterable[Both], key: Callable[[Pair], str]) -> Mapping[str, list[Both]]:
    found: defaultdict[str, list[Both]] = defaultdict(list)
    for pair, row in both:
        found[key(pair)].append((pair, row))
    return dict(sorted(found.items()))


def _label(pair: Pair) -> str:
    return pair.label or "none"


def _cause(pair: Pair) -> str:
    return pair.cause


def _lost(pair: Pair, row: Judged) -> dict[str, Any]:
    scores = {"routed": row.routed, "next_tier": row.higher}
    return {"request_id": pair.id, "tier": pair.tier.word, "label": pair.label, "cause": pair.cause, "scores": scores}


def _json(found: Share | None) -> dict[str, Any] | None:
    return found.json() if found else None


def _interval(found: Share | None) -> str:
    if found is None:
        return "nothing to tell"
    return f"{found.value:.1%} (95 %: {found.low:.1%} to {found.high:.1%})"
