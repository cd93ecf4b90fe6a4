"""`cost-router groups`: which groups of jobs are open, and pausing, resuming, canceling one."""

import datetime as dt
import json
from typing import Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from cost_router.core.groups import GroupState
from infra.operate.groups import change_group, list_groups
from infra.operate.show import usd
from infra.operate.target import find_target
from infra.terminal import AsJson, Stack, console, says_what_is_wrong

groups_app = typer.Typer(no_args_is_help=True, help="Groups of jobs: which are open, and pausing, resuming, canceling.")
NAMES: Final = ("group", "tenant", "state")
COUNTS: Final = ("submitted", "queued", "running", "done", "failed", "canceled")
MONEY: Final = ("cost", "saved")
WITHIN: Final = "within 10 seconds"
Name = Annotated[str, typer.Argument(metavar="GROUP", help="as `list` shows it")]
SAID: Final = {
    GroupState.PAUSED: (
        f"paused, {WITHIN}: jobs that were not sent to Claude are held until `cost-router groups resume`; those inside "
        "a submitted Message Batch come back all the same"
    ),
    GroupState.RUNNING: f"running, {WITHIN}: held jobs go back on the queue within a few minutes",
    GroupState.CANCELED: (
        f"canceled, {WITHIN}, for good: jobs that were not sent to Claude end unpaid with a result of type `canceled`; "
        "what was sent comes back and is paid for"
    ),
}


@groups_app.command("list")
@says_what_is_wrong
def groups_list(*, stack: Stack = None, as_json: AsJson = False) -> None:
    """List the open groups, the oldest first: how far each is, what it has cost and saved."""
    now, found = dt.datetime.now(dt.UTC), list_groups(find_target(stack))
    if as_json:
        print(json.dumps([standing.json(now) for standing in found]))
        return
    if not found:
        console.print("no open groups")
        return
    table = Table()
    for name in (*NAMES, *COUNTS, *MONEY):
        table.add_column(name, overflow="fold", justify="left" if name in NAMES else "right")
    for standing in found:
        row = standing.json(now)
        money = (usd(standing.tally.cost_usd), usd(standing.saved_usd))
        table.add_row(*(Text(row[name]) for name in NAMES), *(f"{row[name]:,}" for name in COUNTS), *money)
    console.print(table)


@groups_app.command("pause")
@says_what_is_wrong
def groups_pause(name: Name, *, stack: Stack = None, as_json: AsJson = False) -> None:
    """Hold the jobs of a group that were not sent to Claude, until it is resumed."""
    _change(name, GroupState.PAUSED, stack, as_json=as_json)


@groups_app.command("resume")
@says_what_is_wrong
def groups_resume(name: Name, *, stack: Stack = None, as_json: AsJson = False) -> None:
    """Go on with a group that was paused."""
    _change(name, GroupState.RUNNING, stack, as_json=as_json)


@groups_app.command("cancel")
@says_what_is_wrong
def groups_cancel(name: Name, *, stack: Stack = None, as_json: AsJson = False) -> None:
    """End the jobs of a group that were not sent to Claude, unpaid; this cannot be undone."""
    _change(name, GroupState.CANCELED, stack, as_json=as_json)


def _change(name: str, state: GroupState, stack: str | None, *, as_json: bool) -> None:
    changed = change_group(find_target(stack), name, state)
    if as_json:
        print(json.dumps(changed.json(dt.datetime.now(dt.UTC))))
    else:
        console.print(f"group {name} is {SAID[state]}", markup=False, soft_wrap=True)
