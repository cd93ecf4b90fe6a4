"""`cost-router submit` and `cost-router results`: bulk work, in and out."""

# ruff: noqa: PLR0913  a command has one argument per option; typer passes them by name

import contextlib
import datetime as dt
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import RenderableType
from rich.live import Live
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from infra.operate.groups import Standing
from infra.operate.job_file import Options
from infra.operate.results import Progress, span, watch
from infra.operate.show import usd
from infra.operate.submit import SubmitStopped, Submitted
from infra.operate.submit import submit as submit_file
from infra.operate.target import find_target
from infra.operate.tenants import parse_tags
from infra.terminal import AsJson, Stack, console, says_what_is_wrong

INTERRUPTED: Final = 130  # exit code
BAR_WIDTH: Final = 40
STATES: Final = ("queued", "running", "done", "failed", "canceled")


@says_what_is_wrong
def submit(
    file: Annotated[Path, typer.Argument(metavar="FILE.jsonl", help="a job on each line: custom_id, params, router")],
    *,
    group: Annotated[str, typer.Option(help="what the jobs are called together")],
    tenant: Annotated[str | None, typer.Option(help="whose jobs they are; `default` when left out")] = None,
    lane: Annotated[str | None, typer.Option(help="direct, or batch at half the price")] = None,
    answer_by: Annotated[str | None, typer.Option(help="time such as 2026-11-24T06:00:00Z")] = None,
    floor: Annotated[str | None, typer.Option(help="lowest tier: haiku, sonnet or opus")] = None,
    ceiling: Annotated[str | None, typer.Option(help="highest tier")] = None,
    tags: Annotated[str | None, typer.Option(help="service=search,customer=acme")] = None,
    stack: Stack = None,
    as_json: AsJson = False,
) -> None:
    """Submit a file of jobs; nothing of it is sent unless every line is a job.

    What a line's own `router` says wins over the options. The same file again sends only what the group has not yet.
    """
    options = Options(group, tenant, lane, answer_by, floor, ceiling, parse_tags(tags) if tags else None)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with _ctrl_c("interrupted; nothing was sent"):
        with Bars(*columns, console=console, disable=as_json or not console.is_terminal) as bars:
            try:
                done = submit_file(find_target(stack), file, options, partial(_bar, bars), dt.datetime.now(dt.UTC))
            except SubmitStopped as stopped:
                if isinstance(stopped.__cause__, KeyboardInterrupt):
                    raise KeyboardInterrupt(str(stopped)) from None
                raise
        print(json.dumps(done.json())) if as_json else _tell(done, stack)


@says_what_is_wrong
def results(
    group: str,
    *,
    follow: Annotated[bool, typer.Option("--follow", help="until all jobs have ended; Ctrl-C does no harm")] = False,
    out: Annotated[Path | None, typer.Option(help="write the results to this file, a line for each job")] = None,
    stack: Stack = None,
    as_json: AsJson = False,
) -> None:
    """Show how far a group is, what it has cost and saved; the file of `--out` has Claude's answers in it."""
    left = f"; what came so far is in {out}.part" if out else ""
    with _ctrl_c(f"no longer followed; the group goes on{left}"), _screen(follow=follow, as_json=as_json) as show:
        found = watch(find_target(stack), group, out, follow=follow, show=show)
    if as_json:
        print(json.dumps(found.json()))
        return
    if not follow or console.is_terminal:
        console.print(picture(found))
    if out:
        missing = found.standing.tally.ended - (found.collected or 0)
        console.print(f"{found.collected:,} results written to {out}", markup=False, soft_wrap=True)
        if missing > 0 and found.finished:
            console.print(f"{missing:,} results are not in the bucket any more: they were deleted or have expired")


def picture(found: Progress) -> RenderableType:
    """A group at a glance."""
    standing, tally = found.standing, found.standing.tally
    grid = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=max(1, standing.submitted), completed=tally.ended, width=BAR_WIDTH)
    announced = "" if standing.group.expected is not None else " so far; nobody said how many there are"
    grid.add_row("group", Text(f"{standing.group.name} ({standing.group.state}, tenant {standing.group.tenant})"))
    grid.add_row("submitted", f"{standing.submitted:,}{announced}")
    grid.add_row("", bar)
    grid.add_row("ended", f"{tally.ended:,} ({standing.percent} %)")
    for name, count in counts(standing).items():
        grid.add_row(name, f"{count:,}")
    grid.add_row("cost so far", usd(tally.cost_usd))
    grid.add_row("saved so far", usd(standing.saved_usd))
    grid.add_row("time left", "none, finished" if found.finished else span(found.left_seconds))
    if found.collected is not None:
        grid.add_row("in the file", f"{found.collected:,}")
    return grid


def line(found: Progress) -> str:
    """The same where nothing can be redrawn."""
    standing = found.standing
    states = ", ".join(f"{name} {count:,}" for name, count in counts(standing).items())
    money = f"cost {usd(standing.tally.cost_usd)}, saved {usd(standing.saved_usd)}"
    left = "finished" if found.finished else f"{standing.group.state}, time left {span(found.left_seconds)}"
    return f"{standing.percent} % of {standing.submitted:,}: {states}; {money}; {left}"


def counts(standing: Standing) -> dict[str, int]:
    """Jobs by where they are; together all that were submitted."""
    tally = standing.tally
    return dict(zip(STATES, (standing.queued, tally.running, tally.done, tally.failed, tally.canceled), strict=True))


@contextlib.contextmanager
def _screen(*, follow: bool, as_json: bool) -> Iterator[Callable[[Progress], object]]:
    """How progress is shown: drawn anew in a terminal, else in a line when it has changed."""
    if as_json or not follow:
        yield lambda _: None
    elif console.is_terminal:
        with Live(console=console, transient=True, auto_refresh=False) as live:
            yield lambda found: live.update(picture(found), refresh=True)
    else:
        said = [""]

        def say(found: Progress) -> None:
            if said[-1] != (text := line(found)):
                said[-1] = text
                console.print(text, markup=False, soft_wrap=True)

        yield say


@contextlib.contextmanager
def _ctrl_c(said: str) -> Iterator[None]:
    """One line and code 130 instead of a traceback."""
    try:
        yield
    except KeyboardInterrupt as error:
        console.print(str(error) or said, markup=False, soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None


def _bar(bars: Bars, said: str, total: int) -> Callable[[int], object]:
    return partial(bars.advance, bars.add_task(said, total=total))


def _tell(done: Submitted, stack: str | None) -> None:
    console.print(
        f"sent {done.sent:,} of {done.jobs:,} jobs to group {done.group} "
        f"in {done.seconds:.1f} s ({done.per_second:,.0f} jobs/s)"
    )
    if done.skipped:
        console.print(f"already submitted: {done.skipped:,}; they cost nothing again")
    if done.claim_checks:
        console.print(f"by claim check: {done.claim_checks:,}, too large for a message")
    if done.state != "running":
        console.print(f"the group is {done.state}: its jobs are held until `cost-router groups resume {done.group}`")
    named = f" --stack {stack}" if stack else ""
    console.print(f"next: cost-router results {done.group} --follow{named}", soft_wrap=True)
