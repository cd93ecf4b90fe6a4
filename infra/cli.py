"""`cost-router`: the operator's command."""

import datetime as dt
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from infra.catalogue.findings import FAIL
from infra.dead_letters_cli import dead_letters_app
from infra.evaluate_cli import evaluate
from infra.groups_cli import groups_app
from infra.jobs_cli import results, submit
from infra.judge_cli import judge_command
from infra.keys_cli import keys_app
from infra.operate.doctor import examine, print_checks
from infra.operate.gather import Asked, gather
from infra.operate.page import write_page
from infra.operate.show import print_report
from infra.operate.show_arms import print_arms
from infra.operate.target import STACK_FILE, find_target
from infra.operate.tenants import KeyProblem
from infra.quality_cli import replay, train
from infra.reconcile_cli import reconcile
from infra.routing_cli import routing_app
from infra.samples_cli import label, sample
from infra.terminal import AsJson, SendFailed, Stack, console, says_what_is_wrong

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Claude Cost Router: deploy, call, watch.",
)
app.add_typer(keys_app, name="keys")
app.add_typer(dead_letters_app, name="dead-letters")
app.add_typer(groups_app, name="groups")
app.add_typer(routing_app, name="routing")
app.command("submit")(submit)
app.command("results")(results)
app.command("reconcile")(reconcile)
app.command("evaluate")(evaluate)
app.command("sample")(sample)
app.command("label")(label)
app.command("judge")(judge_command)
app.command("train")(train)
app.command("replay")(replay)


@app.command()
def demo() -> None:
    """Deploy into the emulator, send requests and jobs, ring an alarm, print the cost report, clean up."""
    from infra.local.demo import DemoFailed, run_demo  # noqa: PLC0415  jsii starts Node at import
    from infra.local.processes import LocalStackError, ended_by_signals  # noqa: PLC0415  the same

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
def up(
    sample_percent: Annotated[
        int, typer.Option(min=0, max=100, help="of the requests with model auto: kept with prompt and answer")
    ] = 0,
) -> None:
    """Start the local stack in the background and write .local/stack.json."""
    from infra.local import background  # noqa: PLC0415  jsii starts Node at import
    from infra.local.processes import LocalStackError  # noqa: PLC0415  the same

    try:
        with console.status("deploying the template into the emulator"):
            file = background.up(sample_percent)
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
    from infra.local import background  # noqa: PLC0415  the same

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
    console.print("".join(block.get("text", "") for block in message["content"]), markup=False, soft_wrap=True)
    console.print(
        f"[dim]{router['model']} ({router.get('label', 'no label')}, {router['cause']}) "
        f"${router['cost-usd']}, all opus ${router['baseline-usd']}[/dim]"
    )


@app.command()
@says_what_is_wrong
def report(
    day: Annotated[str | None, typer.Option(help="UTC day, YYYY-MM-DD; today when left out")] = None,
    days: Annotated[int | None, typer.Option(help="the last N UTC days, with today")] = None,
    by: Annotated[str, typer.Option(help="model, tier, label, tenant or tag:NAME")] = "model",
    baseline: Annotated[str, typer.Option(help="what savings are measured against: opus, sonnet or asked")] = "opus",
    what_if: Annotated[str | None, typer.Option(help="price the same traffic with this lineup, too")] = None,
    discounts: Annotated[Path | None, typer.Option(help="the deployment's file of discounts")] = None,
    html: Annotated[Path | None, typer.Option(help="write a page with charts to this file")] = None,
    stack: Stack = None,
    as_json: AsJson = False,
) -> None:
    """Print what one or more days cost, and what they would have cost on one big model."""
    made = gather(find_target(stack), Asked(day, days, by, baseline, what_if, discounts), dt.datetime.now(dt.UTC))
    if html:
        write_page(made, html)
    if as_json:
        print(json.dumps(made.json()))
    else:
        print_report(console, made)
        print_arms(console, made.arms)
        if html:
            console.print(f"page written to {html}", markup=False, soft_wrap=True)


@app.command()
@says_what_is_wrong
def doctor(stack: Stack = None, as_json: AsJson = False) -> None:
    """Check a deployment: keys, prices, models, queues, alarms, budget, ledger; exit code 1 when something fails."""
    checks = examine(find_target(stack), dt.datetime.now(dt.UTC))
    failed = any(check.level == FAIL for check in checks)
    if as_json:
        print(json.dumps({"ok": not failed, "checks": [asdict(check) for check in checks]}, ensure_ascii=False))
    else:
        print_checks(console, checks)
    if failed:
        raise typer.Exit(1)


def main() -> None:
    """Entry point of the `cost-router` command."""
    app()


if __name__ == "__main__":
    main()
