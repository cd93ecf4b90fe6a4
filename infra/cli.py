"""`cost-router`: the operator's command."""

import datetime as dt
import json
import sys
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Table

from infra.operate import keys as key_store
from infra.operate.keys import KeyProblem, Policy
from infra.operate.report import BadReport, read_entries
from infra.operate.report import report as make_report
from infra.operate.show import cost_report
from infra.operate.target import STACK_FILE, NoTarget, find_target

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Claude Cost Router: deploy, call, watch.",
)
keys_app = typer.Typer(no_args_is_help=True, help="Gateway keys and the tenants that own them.")
app.add_typer(keys_app, name="keys")
# Piped output is not cut to the width of a terminal that is not there.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)

Stack = Annotated[str | None, typer.Option("--stack", help="CloudFormation stack; the local stack when left out")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]


class SendFailed(RuntimeError):
    """The router answered with an error, or not at all."""


def says_what_is_wrong(command: Callable[..., None]) -> Callable[..., None]:
    """Problems that a user can mend end the command with one line and code 1, not with a traceback."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except (NoTarget, KeyProblem, BadReport, SendFailed, ClientError, BotoCoreError) as error:
            console.print(f"cost-router: {error}", style="red", markup=False)
            raise typer.Exit(1) from error

    return run


@app.command()
def demo() -> None:
    """Deploy into the emulator, send requests and jobs, ring an alarm, print the cost report, clean up."""
    from infra.local.demo import DemoFailed, run_demo  # noqa: PLC0415  jsii starts Node at import
    from infra.local.processes import LocalStackError, ended_by_signals  # noqa: PLC0415

    try:
        with ended_by_signals():
            run_demo(console, STACK_FILE.parent.absolute() / "demo")
    except (DemoFailed, LocalStackError) as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        console.print("stopped; everything it started has been ended")
        raise typer.Exit(130) from None


@app.command()
def up() -> None:
    """Start the local stack in the background and write .local/stack.json."""
    from infra.local import background  # noqa: PLC0415  jsii starts Node at import
    from infra.local.processes import LocalStackError  # noqa: PLC0415

    try:
        with console.status("deploying the template into the emulator"):
            file = background.up()
    except LocalStackError as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from error
    description = json.loads(file.read_text(encoding="utf-8"))
    console.print(f"ready: {STACK_FILE}")
    for name in ("base_url", "streaming_url", "gateway_key", "queue_url", "meter_url"):
        console.print(f"  {name:<14} {description[name]}", soft_wrap=True)
    claude = "the stand-in (simulated)" if description["simulated"] else "the real API"
    console.print(f"AWS is emulated; Claude is {claude}. End it with `make down`.")


@app.command()
def down() -> None:
    """Stop the local stack."""
    from infra.local import background  # noqa: PLC0415

    console.print("stopped" if background.down() else "no local stack was running")


@app.command()
@says_what_is_wrong
def send(
    prompt: str,
    model: Annotated[str, typer.Option(help="auto, haiku, sonnet, opus or a model id")] = "auto",
    max_tokens: int = 1024,
    key: Annotated[str | None, typer.Option(envvar="COST_ROUTER_KEY", help="gateway key")] = None,
    stack: Stack = None,
    as_json: AsJson = False,
) -> None:
    """Send one prompt and print the answer, which model gave it, why, and what it cost."""
    target = find_target(stack)
    gateway_key = key or target.gateway_key
    if not gateway_key:
        raise KeyProblem("no gateway key; give one with --key or COST_ROUTER_KEY")
    import anthropic  # noqa: PLC0415  a second, which the other commands need not wait for

    client = anthropic.Anthropic(base_url=target.base_url, api_key=gateway_key)
    try:
        raw = client.messages.with_raw_response.create(
            model=model, max_tokens=max_tokens, messages=[{"role": "user", "content": prompt}]
        )
    except anthropic.AnthropicError as error:
        raise SendFailed(str(error)) from error
    router = {name.removeprefix("x-router-"): raw.headers[name] for name in raw.headers if name.startswith("x-router-")}
    message = json.loads(raw.http_response.content)
    if as_json:
        print(json.dumps({"message": message, "router": router}, ensure_ascii=False))
        return
    console.print("".join(block.get("text", "") for block in message["content"]), markup=False)
    console.print(
        f"[dim]{router['model']} ({router.get('label', 'no label')}, {router['cause']}) "
        f"${router['cost-usd']}, all opus ${router['baseline-usd']}[/dim]"
    )


@app.command()
@says_what_is_wrong
def report(
    day: Annotated[str | None, typer.Option(help="UTC day, YYYY-MM-DD; today when left out")] = None,
    by: Annotated[str, typer.Option(help="model, tier, label, tenant or tag:NAME")] = "model",
    stack: Stack = None,
    as_json: AsJson = False,
) -> None:
    """Print what a day cost, and what it would have cost on opus."""
    try:
        the_day = dt.date.fromisoformat(day) if day else dt.datetime.now(dt.UTC).date()
    except ValueError:
        raise BadReport(f"day {day!r}; accepted: YYYY-MM-DD") from None
    entries = read_entries(find_target(stack), the_day)
    made = make_report(entries, the_day, by)
    if as_json:
        print(json.dumps(made))
    else:
        cost_report(console, entries, by)


@keys_app.command("create")
@says_what_is_wrong
def keys_create(
    tenant: str,
    floor: Annotated[str | None, typer.Option(help="lowest tier: haiku, sonnet or opus")] = None,
    ceiling: Annotated[str | None, typer.Option(help="highest tier")] = None,
    tags: Annotated[str | None, typer.Option(help="service=search,customer=acme")] = None,
    stack: Stack = None,
    as_json: AsJson = False,
) -> None:
    """Make a gateway key for a tenant and print it, once."""
    policy = Policy(floor, ceiling, _tags(tags))
    key = key_store.create(find_target(stack), tenant, policy, dt.datetime.now(dt.UTC))
    if as_json:
        print(json.dumps({"tenant": tenant, "key": key}))
    else:
        console.print(f"key of tenant {tenant}, shown this once:\n{key}", soft_wrap=True)


@keys_app.command("list")
@says_what_is_wrong
def keys_list(stack: Stack = None, as_json: AsJson = False) -> None:
    """List keys and their tenants' policies; never the keys themselves."""
    found = key_store.list_keys(find_target(stack))
    if as_json:
        print(json.dumps(found))
        return
    table = Table()
    columns = ("id", "hint", "tenant", "created_at", "disabled", "floor", "ceiling", "tags")
    for name in columns:
        table.add_column(name)
    for key in found:
        table.add_row(*(str(key[name]) if key[name] is not None else "-" for name in columns))
    console.print(table)


@keys_app.command("disable")
@says_what_is_wrong
def keys_disable(name: str, stack: Stack = None) -> None:
    """Disable a key by its id, or all keys of a tenant; takes effect within a minute."""
    console.print(f"disabled {key_store.disable(find_target(stack), name)} key(s); in force within 60 seconds")


def _tags(text: str | None) -> dict[str, str] | None:
    if not text:
        return None
    pairs = [part.partition("=") for part in text.split(",")]
    return {name.strip(): value.strip() for name, _, value in pairs}


def main() -> None:
    """Entry point of the `cost-router` command."""
    app()


if __name__ == "__main__":
    main()
