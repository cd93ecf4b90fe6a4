"""`cost-router evaluate`: how good the routing is, on one's own labelled requests."""

# ruff: noqa: PLR0913  a command has one argument per option; typer passes them by name

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import Progress

from infra.operate import flips
from infra.operate.labelled import BadLabels, Item, read_labelled
from infra.operate.target import find_target
from infra.operate.tenants import parse_budget
from infra.terminal import AsJson, SendFailed, Stack, console, says_what_is_wrong

MOST_AT_ONCE: Final = 64
stderr = Console(stderr=True, highlight=False)

Labels = Annotated[Path, typer.Argument(metavar="FILE.jsonl", help="on each line: prompt or params, and label")]
Key = Annotated[str | None, typer.Option(envvar="COST_ROUTER_KEY", help="gateway key")]
Cached = Annotated[bool, typer.Option("--cached", help="labels as callers get them, from the cache too")]
Injections = Annotated[bool, typer.Option(help="try attacks on the classifier, and report the flip rate")]
PerAttack = Annotated[int, typer.Option(min=1, help="requests that each attack is tried on")]
Concurrency = Annotated[int, typer.Option(min=1, max=MOST_AT_ONCE, help="calls at a time")]
MaxUsd = Annotated[str | None, typer.Option(help="stop before more than this is spent")]
OutputTokens = Annotated[int, typer.Option(min=1, help="tokens that an answer is taken to have")]
Local = Annotated[Path | None, typer.Option("--preclassifier", help="evaluate this local model instead, offline")]
Out = Annotated[Path | None, typer.Option(help="write a line per request, for `replay --labels`")]
Yes = Annotated[bool, typer.Option("--yes", help="do not ask before money is spent")]


@says_what_is_wrong
def evaluate(
    file: Labels,
    *,
    key: Key = None,
    cached: Cached = False,
    injections: Injections = True,
    per_attack: PerAttack = flips.PER_ATTACK,
    concurrency: Concurrency = 4,
    max_usd: MaxUsd = None,
    output_tokens: OutputTokens = 300,
    local: Local = None,
    out: Out = None,
    yes: Yes = False,
    stack: Stack = None,
    as_json: AsJson = False,
) -> None:
    """Measure labels against the right ones: accuracy, what wrong tiers cost, latency, and what attacks do.

    Each request is a dry run: the classifier is paid, at the key's tenant's expense, and nothing is answered.
    """
    from infra.operate.evaluate_run import Asked, Plan  # noqa: PLC0415  httpx2 takes a while
    from infra.operate.show_evaluation import print_evaluation  # noqa: PLC0415  it imports the same client

    items, tries = read_labelled(file), per_attack if injections else None
    if local:
        _evaluate_local(items, local, tries, out, as_json=as_json)
        return
    cap = None if max_usd is None else parse_budget(max_usd)
    plan = Plan.make(find_target(stack), key, items, Asked(concurrency, cap, tries, output_tokens))
    _agree(plan.announcement, asks=not (yes or plan.simulated))
    with Progress(console=stderr, transient=True, disable=not stderr.is_terminal) as bars:
        bar = bars.add_task("asking", total=plan.most_calls)
        made = plan.run(cached=cached, told=lambda count: bars.advance(bar, count))
    if not made.decided:
        raise SendFailed(f"no request got a decision: {made.stopped or made.failures[0][1]}")
    _write(out, made.predictions())
    print(json.dumps(made.json())) if as_json else print_evaluation(console, made)
    if made.stopped:
        raise typer.Exit(1)


def _evaluate_local(items: Sequence[Item], file: Path, tries: int | None, out: Path | None, *, as_json: bool) -> None:
    from infra.operate.evaluate_local import evaluate_local  # noqa: PLC0415  other commands need not wait
    from infra.operate.show_evaluation import print_local  # noqa: PLC0415  other commands need not wait

    made = evaluate_local(items, file, tries)
    _write(out, made.predictions())
    print(json.dumps(made.json())) if as_json else print_local(console, made)


def _agree(announcement: str, *, asks: bool) -> None:
    """Tell what is going to be spent, and wait for a yes where somebody may say it; raises `BadLabels`."""
    stderr.print(announcement, markup=False, soft_wrap=True)
    if not asks:
        return
    if not sys.stdin.isatty():
        raise BadLabels("nothing was asked: money would be spent and nobody is there to agree; accepted: --yes")
    typer.confirm("Go on?", abort=True, err=True)


def _write(out: Path | None, lines: Iterable[str]) -> None:
    """Write the predictions, if they are wanted; raises `BadLabels`."""
    if out is None:
        return
    try:
        out.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    except OSError as error:
        raise BadLabels(f"{out}: {error.strerror}; accepted: a file that can be written") from error
