"""`cost-router reconcile`: our ledger against the provider's usage and cost report."""

# ruff: noqa: PLR0913  a command has one argument per option; typer passes them by name

import datetime as dt
import json
from typing import Annotated, Final

import typer

from infra.operate.target import find_target
from infra.terminal import AsJson, Stack, console, says_what_is_wrong

DRIFT: Final = 2  # exit code


@says_what_is_wrong
def reconcile(
    *,
    day: Annotated[
        str | None, typer.Option(help="UTC day, YYYY-MM-DD; yesterday when left out, today with the stand-in")
    ] = None,
    admin_key: Annotated[
        str | None, typer.Option(envvar="ANTHROPIC_ADMIN_KEY", help="sk-ant-admin...; not needed with the stand-in")
    ] = None,
    workspace: Annotated[str | None, typer.Option(help="only this workspace's traffic: wrkspc_...")] = None,
    api_key_id: Annotated[str | None, typer.Option(help="only this API key's traffic: apikey_..., its id")] = None,
    stack: Stack = None,
    as_json: AsJson = False,
) -> None:
    """Compare the ledger with the provider's bill, line by line; ends with 2 when a difference is unexplained."""
    from infra.operate.reconcile import Asked  # noqa: PLC0415  the SDK takes a second, which other commands need not
    from infra.operate.reconcile import reconcile as compare  # noqa: PLC0415  the same
    from infra.operate.show_drift import print_reconciliation  # noqa: PLC0415  the same

    made = compare(find_target(stack), Asked(day, admin_key, workspace, api_key_id), dt.datetime.now(dt.UTC))
    if as_json:
        print(json.dumps(made.json()))
    else:
        print_reconciliation(console, made)
    if not made.agrees:
        raise typer.Exit(DRIFT)
