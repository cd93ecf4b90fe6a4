"""`cost-router judge`: whether routing lost quality, judged on own traffic."""

# ruff: noqa: PLR0913  a command has one argument per option; typer passes them by name

import datetime as dt
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final

import typer

from infra.jobs_cli import INTERRUPTED
from infra.operate.deployment import simulated
from infra.operate.job_file import Options
from infra.operate.judge import JudgeProblem, Pair, judge, pairs_of
from infra.operate.results import Progress, span, watch
from infra.operate.samples import Asked, documents, pick
from infra.operate.show_judging import print_judging, tell_metric, told
from infra.operate.submit import submit
from infra.operate.target import Target, find_target
from infra.terminal import AsJson, Stack, console, says_what_is_wrong

LANES: Final = ("batch", "direct")
SPARE: Final = 2  # samples read for each pair: those answered by opus, or about pictures, cannot be judged
NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_-]{0,39}")


@says_what_is_wrong
def judge_command(
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="where the run is kept; the same again goes on with it")
    ] = None,
    *,
    n: Annotated[int, typer.Option("--n", help="how many routed answers")] = 100,
    days: Annotated[int, typer.Option(help="samples of the last N UTC days, with today")] = 7,
    seed: Annotated[int, typer.Option(help="another one picks others")] = 0,
    tenant: Annotated[str | None, typer.Option(help="who pays for it; `default` when left out")] = None,
    lane: Annotated[str, typer.Option(help="batch at half the price, or direct, which takes minutes")] = "batch",
    stack: Stack = None,
    as_json: AsJson = False,
) -> None:
    """Compare routed answers with those of the next tier up, judged blind by the sonnet tier in both orders.

    Answers come from the sample store (sample_percent). Both steps are jobs of the bulk lane; Ctrl-C does no harm.
    """
    now = dt.datetime.now(dt.UTC)
    place = folder or Path(f"judge-{now:%Y%m%d-%H%M%S}")
    _check(place, lane)
    target = find_target(stack)

    def picked() -> Iterable[Pair]:
        return pairs_of(documents(target, pick(target, Asked(SPARE * n, days, "tier", seed), now)), n)

    def run(jobs: Path, group: str, out: Path) -> None:
        _run(target, jobs, Options(group, tenant, lane), out, quiet=as_json)

    try:
        made = judge(place, picked, run, place.name)
    except KeyboardInterrupt:
        again = f"cost-router judge {place}"
        console.print(f"interrupted; `{again}` goes on, and pays for nothing twice", markup=False, soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None
    tell_metric(target, made)
    if as_json:
        print(json.dumps(told(made, simulated=simulated(target))))
    else:
        print_judging(console, made, simulated=simulated(target))
        console.print(f"kept in {place}: requests, answers and verdicts", markup=False, soft_wrap=True)


def _check(folder: Path, lane: str) -> None:
    """Refuse what would fail on the way."""
    if lane not in LANES:
        raise JudgeProblem(f"lane {lane!r}; accepted: {', '.join(LANES)}")
    if not NAME.fullmatch(folder.name):
        raise JudgeProblem(f"folder {folder.name!r}; accepted: a name matching ^{NAME.pattern}$, which its groups get")


def _run(target: Target, jobs: Path, options: Options, out: Path, *, quiet: bool) -> None:
    """Submit a file of jobs, and wait until all have ended; results are in `out`."""
    done = submit(target, jobs, options, lambda _said, _total: lambda _step: None, dt.datetime.now(dt.UTC))
    if not quiet:
        console.print(f"group {done.group}: {done.jobs} jobs, {done.skipped} of them had been submitted before")
    said = [""]

    def show(found: Progress) -> None:
        tally, left = found.standing.tally, span(found.left_seconds)
        text = f"{tally.ended} of {found.standing.submitted} ended, time left {left}"
        if not quiet and text != said[-1]:
            said.append(text)
            console.print(text, markup=False, soft_wrap=True)

    watch(target, options.group, out, follow=True, show=show)
