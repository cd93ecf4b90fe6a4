"""`cost-router keys`: gateway keys and the tenants that own them."""

# ruff: noqa: PLR0913  a command has one argument per option; typer passes them by name

import datetime as dt
import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Annotated, Any, Final

import typer

from cost_router.core.guards import GUARDED
from cost_router.core.request import OPTIONS
from infra.operate import keys as key_store
from infra.operate.show import usd
from infra.operate.show_keys import budgets, cell, key_table
from infra.operate.target import find_target
from infra.operate.tenants import (
    NONE,
    KeyProblem,
    Policy,
    change_tenant,
    parse_allows,
    parse_budget,
    parse_options,
    parse_rpm,
    parse_senders,
    parse_tags,
)
from infra.terminal import AsJson, Stack, console, says_what_is_wrong

keys_app = typer.Typer(no_args_is_help=True, help="Gateway keys and the tenants that own them.")
WITHIN: Final = "in force within 60 seconds"
GRACE_HOURS: Final = 24
MOST_HOURS: Final = 8_760  # a year
KEY_COLUMNS: Final = ("id", "hint", "created_at", "disabled")

Daily = Annotated[str | None, typer.Option("--daily-budget", help="US dollars per UTC day, such as 25 or 0.50")]
Monthly = Annotated[str | None, typer.Option("--monthly-budget", help="US dollars per UTC month")]
Session = Annotated[str | None, typer.Option("--session-budget", help="US dollars per session and UTC day")]
Rpm = Annotated[str | None, typer.Option("--session-rpm", help="requests per session and minute")]
Floor = Annotated[str | None, typer.Option(help="lowest tier: haiku, sonnet or opus")]
Ceiling = Annotated[str | None, typer.Option(help="highest tier")]
Tags = Annotated[str | None, typer.Option(help="service=search,customer=acme; replaces all")]
Reads = Annotated[
    bool | None, typer.Option("--reads-account/--reads-own", help="whether its keys see what all tenants spend")
]
SHOWN: Final = {
    "session budget": "session_budget_usd",
    "daily budget": "daily_budget_usd",
    "spent today": "spent_usd",
    "left today": "left_usd",
    "monthly budget": "monthly_budget_usd",
    "spent in month": "month_spent_usd",
    "left in month": "month_left_usd",
}
Senders = Annotated[str | None, typer.Option(help="ids of the IAM principals that may drop its jobs: AROA...,AIDA...")]
Allow = Annotated[str | None, typer.Option(help=f"what multiplies the bill, none by default: {', '.join(GUARDED)}")]
Options = Annotated[str | None, typer.Option(help=f"what holds for all its requests: {', '.join(OPTIONS)}")]
READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "floor": str,
    "ceiling": str,
    "tags": parse_tags,
    "daily_budget_usd": parse_budget,
    "monthly_budget_usd": parse_budget,
    "session_budget_usd": parse_budget,
    "session_rpm": parse_rpm,
    "senders": parse_senders,
    "allows": parse_allows,
    "options": parse_options,
}


@keys_app.command("create")
@says_what_is_wrong
def keys_create(
    tenant: str,
    *,
    daily_budget: Daily = None,
    monthly_budget: Monthly = None,
    session_budget: Session = None,
    session_rpm: Rpm = None,
    floor: Floor = None,
    ceiling: Ceiling = None,
    tags: Tags = None,
    senders: Senders = None,
    allow: Allow = None,
    options: Options = None,
    reads_account: Reads = None,
    stack: Stack = None,
    as_json: AsJson = False,
) -> None:
    """Make a gateway key for a tenant and print it, once; the tenant is made when it is new.

    Of a tenant that is there already the options given are changed, for all of its keys.
    """
    words = (floor, ceiling, tags, daily_budget, monthly_budget, session_budget, session_rpm, senders, allow, options)
    given = {name: READERS[name](word) for name, word in zip(READERS, words, strict=True) if word is not None}
    policy = Policy(**given, reads_account=reads_account)
    key = key_store.create(find_target(stack), tenant, policy, dt.datetime.now(dt.UTC))
    if as_json:
        print(json.dumps({"tenant": tenant, "key": key}))
    else:
        console.print(f"key of tenant {tenant}, shown this once:\n{key}", soft_wrap=True)
        named = [*given, *(["reads_account"] if reads_account is not None else [])]
        if named:  # a tenant that was there before has other keys, too
            console.print(f"set for all keys of tenant {tenant}: {', '.join(named)}; {WITHIN}", markup=False)


@keys_app.command("list")
@says_what_is_wrong
def keys_list(*, stack: Stack = None, as_json: AsJson = False) -> None:
    """List keys and their tenants' policies; never the keys themselves."""
    found = key_store.list_keys(find_target(stack), dt.datetime.now(dt.UTC))
    if as_json:
        print(json.dumps(found))
    else:
        columns = ("tenant", *KEY_COLUMNS, "budget", "floor", "ceiling", "tags")
        console.print(key_table(columns, [{**row, "budget": budgets(row)} for row in found]))


@keys_app.command("show")
@says_what_is_wrong
def keys_show(tenant: str, *, stack: Stack = None, as_json: AsJson = False) -> None:
    """Show a tenant: its policy, its keys, what it spent today and what is left of its budget."""
    found = key_store.show(find_target(stack), tenant, dt.datetime.now(dt.UTC))
    if as_json:
        print(json.dumps(found))
        return
    console.print(f"tenant {tenant}{', disabled' if found['disabled'] else ''}")
    for name in ("floor", "ceiling", "tags", "session_rpm", "senders", "reads_account", "allows", "options"):
        console.print(f"  {name.replace('_', ' '):<15} {cell(found[name])}")
    for said, name in SHOWN.items():
        amount = found[name]
        console.print(f"  {said:<15} {'-' if amount is None else usd(Decimal(amount))}")
    console.print(key_table(KEY_COLUMNS, found["keys"]))


@keys_app.command("set")
@says_what_is_wrong
def keys_set(
    tenant: str,
    *,
    daily_budget: Daily = None,
    monthly_budget: Monthly = None,
    session_budget: Session = None,
    session_rpm: Rpm = None,
    floor: Floor = None,
    ceiling: Ceiling = None,
    tags: Tags = None,
    senders: Senders = None,
    allow: Allow = None,
    options: Options = None,
    reads_account: Reads = None,
    disable: Annotated[bool | None, typer.Option("--disable/--enable", help="refuse all keys, or no longer")] = None,
    stack: Stack = None,
    as_json: AsJson = False,
) -> None:
    """Change what a tenant may; only what is given changes, within 60 seconds; `none` takes a field away."""
    words = (floor, ceiling, tags, daily_budget, monthly_budget, session_budget, session_rpm, senders, allow, options)
    given = {name: word for name, word in zip(READERS, words, strict=True) if word is not None}
    changes: dict[str, Any] = {name: None if word == NONE else READERS[name](word) for name, word in given.items()}
    if reads_account is not None:
        changes["reads_account"] = reads_account or None
    if disable is not None:
        changes["disabled"] = True if disable else None
    if not changes:
        accepted = "--daily-budget, --monthly-budget, --session-budget, --session-rpm, --floor, --ceiling, --tags, ..."
        raise KeyProblem(f"nothing to change of {tenant!r}; accepted: {accepted}")
    target = find_target(stack)
    change_tenant(target, tenant, changes)
    if as_json:
        print(json.dumps(key_store.show(target, tenant, dt.datetime.now(dt.UTC))))
    else:
        console.print(f"changed {', '.join(changes)} of tenant {tenant}; {WITHIN}", markup=False)


@keys_app.command("rotate")
@says_what_is_wrong
def keys_rotate(
    key_id: str,
    *,
    grace: Annotated[str | None, typer.Option(help="hours that the old key still works; 24 when left out")] = None,
    now: Annotated[bool, typer.Option("--now", help="disable the old key at once")] = False,
    stack: Stack = None,
    as_json: AsJson = False,
) -> None:
    """Make a new key for the same tenant, print it once, and let the old one end."""
    if now and grace is not None:
        raise KeyProblem(f"--now and --grace {grace!r} contradict each other; give one of them")
    wait = dt.timedelta(0) if now else _hours(grace)
    made = key_store.rotate(find_target(stack), key_id, wait, dt.datetime.now(dt.UTC))
    if as_json:
        print(json.dumps(made))
        return
    console.print(f"new key of tenant {made['tenant']}, shown this once:\n{made['key']}", soft_wrap=True)
    ends = f"works until {made['disabled_after']}" if made["disabled_after"] else f"is disabled, {WITHIN}"
    console.print(f"the old key {key_id} {ends}", markup=False)


@keys_app.command("disable")
@says_what_is_wrong
def keys_disable(name: str, *, stack: Stack = None, as_json: AsJson = False) -> None:
    """Disable a key by its id, or all keys of a tenant; takes effect within a minute."""
    count = key_store.disable(find_target(stack), name)
    if as_json:
        print(json.dumps({"name": name, "disabled": count}))
    else:
        console.print(f"disabled {count} key(s); {WITHIN}")


def _hours(text: str | None) -> dt.timedelta:
    """Hours in the words of a command, to the second."""
    try:
        seconds = Decimal(GRACE_HOURS if text is None else text) * 3600
        fits = 0 <= seconds <= MOST_HOURS * 3600
    except ArithmeticError:  # no number, or none that can be compared
        fits = False
    if not fits:
        raise KeyProblem(f"grace {text!r}; accepted: hours from 0 to {MOST_HOURS}, such as 24 or 0.5")
    return dt.timedelta(seconds=int(seconds))
