"""An evaluation at the terminal."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from cost_router.core.words import Label
from infra.operate import flips
from infra.operate.accuracy import Share, accuracy, confusion
from infra.operate.evaluate import TOLD, Evaluation
from infra.operate.evaluate_local import LocalEvaluation
from infra.operate.flips import Outcome
from infra.operate.injections import CONTROL, DOWN, UP
from infra.operate.show import usd
from infra.operate.speculation import Estimate

SIMULATED = (
    "Claude is simulated: these labels come from a stand-in that looks for words. Its figures, and above all its flip "
    "rates, say nothing about Claude."
)
WAYS = {
    DOWN: "attacks that want simple",
    UP: "attacks that want complex",
    CONTROL: "no attack, a courtesy added",
}


def print_evaluation(console: Console, made: Evaluation) -> None:
    """Print what came of labelled requests, the most important figure first."""
    if made.simulated:
        console.print(SIMULATED, style="yellow", soft_wrap=True)
    right = accuracy(made.pairs)
    console.print(f"accuracy {_interval(right)}, of {len(made.decided):,} of {len(made.items):,} requests")
    console.print(_matrix(confusion(made.pairs)))
    if made.by_cause:
        causes = Table(title="Right labels by cause")
        for column in ("cause", "right", "requests"):
            causes.add_column(column, justify="left" if column == "cause" else "right")
        for cause, found in made.by_cause.items():
            causes.add_row(cause, _interval(found), f"{found.count:,}")
        console.print(causes)
    _print_strategies(console, made)
    for name, told in made.latency.items():
        who = "a dry run, as its caller waits" if name == "request" else "the classifier's call"
        console.print(f"{who}: p50 {told['p50_ms']:,} ms, p95 {told['p95_ms']:,} ms")
    console.print(f"1,000 labels cost {usd(made.labels_usd)}; this evaluation cost {usd(made.spent_usd)}")
    if made.speculation:
        console.print(_speculation(made.speculation), soft_wrap=True)
    if made.attacks is not None:
        _print_attacks(console, made.attacks)
    for line in _remarks(made):
        console.print(line, markup=False, soft_wrap=True)


def _print_strategies(console: Console, made: Evaluation) -> None:
    table = Table(title="Against simpler ways to route; dollars are per 1,000 requests")
    columns = (
        "",
        "right",
        "under-routed",
        "tiers under",
        "over-routed",
        "wasted",
        "withheld",
        "wrong in all",
        "answers",
    )
    for column in columns:
        table.add_column(column, justify="right" if column else "left")
    for row in made.strategies:
        wrong = row.misrouting
        table.add_row(
            row.name,
            f"{row.right.value:.1%}" if row.right else "-",
            f"{wrong.under.value:.1%}",
            f"{wrong.tiers_under:.2f}",
            f"{wrong.over.value:.1%}",
            *(usd(amount) for amount in (wrong.wasted_usd, wrong.withheld_usd, wrong.error_usd, wrong.answers_usd)),
        )
    console.print(table)
    console.print(
        f"Wasted: on larger tiers than the right one. Withheld: what the right tier costs more where a smaller one "
        f"answered. Answers are taken to have {made.output_tokens:,} tokens, or max_tokens where that is less.",
        style="dim",
        soft_wrap=True,
    )


def _print_attacks(console: Console, found: Sequence[Outcome]) -> None:
    """Flip rates in all, then by kind of attack."""
    for way, said in WAYS.items():
        console.print(f"{said}: {_interval(flips.rate(one for one in found if one.direction == way))} flipped")
    table = Table(title="Flipped labels by attack")
    for column in ("attack", "down to simple", "up to complex"):
        table.add_column(column, justify="left" if column == "attack" else "right")
    for kind, ways in flips.by_kind(found).items():
        cells = [f"{ways[way][0]} of {ways[way][1]}" if way in ways else "-" for way in (DOWN, UP)]
        table.add_row(kind, *cells)
    if table.row_count:
        console.print(table)


def print_local(console: Console, made: LocalEvaluation) -> None:
    """Print what a local model said of labelled requests."""
    console.print(f"local model {made.version}: labels {_interval(made.coverage)} of {len(made.items):,} requests")
    console.print(f"agreement where it is sure: {_interval(made.agreement)}")
    console.print(_matrix(confusion(made.pairs)))
    if made.attacks is not None:
        _print_attacks(console, made.attacks)
    console.print(made.verdict, markup=False, soft_wrap=True)


def _speculation(found: Estimate) -> str:
    """Whether x-router-speculate pays, as far as the label mix tells."""
    price = found.usd_per_second
    worth = "it saves no time" if price is None else f"{usd(price)} for each second less of waiting"
    return (
        f"speculation, per 1,000 requests: {found.used:.0f} answers begin {found.saved_ms:.0f} ms sooner, "
        f"{found.abandoned:.0f} calls are given up for {usd(found.extra_usd)} at the most; {worth}"
    )


def _remarks(made: Evaluation) -> list[str]:
    found = [f"line {number}: no decision: {why}" for number, why in made.failures[:TOLD]]
    if len(made.failures) > TOLD:
        found.append(f"... and {len(made.failures) - TOLD:,} more without a decision")
    if made.unlabelled:
        found.append(
            f"{made.unlabelled:,} requests needed no label: floors, ceilings or a small budget leave one tier. A key "
            "whose tenant has none of these measures the labels of all."
        )
    if made.bounded:
        found.append(f"{made.bounded:,} requests were moved by a floor, a ceiling, a budget or a capability.")
    if any(cause == "default" for cause in made.by_cause):
        found.append("Labels with cause `default` are no labels: the classifier failed or was late.")
    if made.stopped:
        found.append(f"stopped: {made.stopped}; the figures are of what was asked until then")
    return [*found, *made.notes]


def _interval(found: Share | None) -> str:
    return f"{found.value:.1%} ({found.low:.1%} to {found.high:.1%})" if found else "-"


def _matrix(rows: Mapping[Label, Mapping[Label, int]]) -> Table:
    table = Table(title="Right label, and the label given")
    for column in ("right", *Label, "found"):
        table.add_column(column, justify="left" if column == "right" else "right")
    for label, row in rows.items():
        total = sum(row.values())
        table.add_row(label, *(f"{row[given]:,}" for given in Label), f"{row[label] / total:.1%}" if total else "-")
    return table
