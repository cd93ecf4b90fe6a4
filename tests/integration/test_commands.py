"""The commands as a user runs them: up, down, send, keys, report, demo, deploy. Each is a process of its own."""

import json
import signal
import stat
import subprocess
from pathlib import Path
from typing import Any

import anthropic
import pytest

from infra.local.emulator import start_emulator
from infra.local.processes import Children
from infra.local.stack import ROOT, LocalStack
from tests.integration.commands import BIN, command, environment
from tests.integration.meter import Meter

CDK = "aws-cdk@2.1148.1"


def test_send_prints_the_answer_and_what_it_cost(folder: Path, meter: Meter) -> None:
    found = json.loads(command("send", "[[label:simple]] Is 97 prime?", "--json", cwd=folder))
    assert found["router"]["model"] == "claude-haiku-5-5"
    assert found["message"]["content"][0]["text"]
    assert "claude-opus-5-5" in command("send", "Hi", "--model", "opus", cwd=folder)


def test_keys_are_made_listed_and_disabled_and_the_key_is_stored_nowhere(
    folder: Path, stack: LocalStack, meter: Meter
) -> None:
    made = json.loads(
        command("keys", "create", "search", "--floor", "sonnet", "--tags", "service=search", "--json", cwd=folder)
    )
    url = stack.description["streaming_url"]
    hello: dict[str, Any] = {"max_tokens": 9, "messages": [{"role": "user", "content": "[[label:simple]] Hi"}]}
    with anthropic.Anthropic(base_url=url, api_key=made["key"], max_retries=0) as client:
        raw = client.messages.with_raw_response.create(model="auto", **hello)
    assert raw.headers["x-router-tier"] == "sonnet"
    [row] = [row for row in json.loads(command("keys", "list", "--json", cwd=folder)) if row["tenant"] == "search"]
    assert (row["floor"], row["tags"], row["disabled"]) == ("sonnet", {"service": "search"}, False)
    table = json.dumps(
        stack.emulator.client("dynamodb").scan(TableName=stack.description["tables"]["tenants"]), default=str
    )
    assert made["key"] not in table
    assert "disabled 1 key" in command("keys", "disable", row["id"], cwd=folder)
    [row] = [row for row in json.loads(command("keys", "list", "--json", cwd=folder)) if row["tenant"] == "search"]
    assert row["disabled"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("keys", "create", "a b"), "'a b'"),
        (("keys", "create", "x", "--floor", "big"), "haiku, sonnet, opus"),
        (("keys", "create", "x", "--floor", "opus", "--ceiling", "haiku"), "nothing could be served"),
        (("keys", "disable", "nobody"), "'nobody'"),
        (("report", "--day", "yesterday"), "YYYY-MM-DD"),
        (("report", "--by", "colour"), "tag:NAME"),
    ],
)
def test_a_mistake_is_one_line_that_quotes_it(folder: Path, words: tuple[str, ...], said: str) -> None:
    printed = command(*words, cwd=folder, expect=1)
    assert said in printed
    assert "Traceback" not in printed


def test_without_a_stack_the_commands_say_how_to_get_one(tmp_path: Path) -> None:
    assert "make up" in command("report", cwd=tmp_path, expect=1)


def test_the_report_agrees_with_itself_by_every_key(folder: Path, stack: LocalStack, meter: Meter) -> None:
    command("send", "[[label:complex]] Weigh it", cwd=folder)
    reports = {
        by: json.loads(command("report", "--by", by, "--json", cwd=folder)) for by in ("model", "label", "tag:service")
    }
    assert len({json.dumps(report["totals"]) for report in reports.values()}) == 1
    for report in reports.values():
        assert report["currency"] == "USD"
        assert sum(row["requests"] for row in report["rows"]) == report["totals"]["requests"] > 0
    assert "saved %" in command("report", cwd=folder)


def test_up_writes_the_description_and_down_ends_everything() -> None:
    file = ROOT / ".local" / "stack.json"
    if file.exists():
        pytest.fail("a local stack is running in this checkout; stop it with `make down` before the tests")
    try:
        printed = command("up", cwd=ROOT)
        assert "simulated" in printed
        described = json.loads(file.read_text(encoding="utf-8"))
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert {
            "base_url",
            "streaming_url",
            "gateway_key",
            "queue_url",
            "dead_letter_queue_url",
            "results_bucket",
        } <= set(described)
        assert set(described["tables"]) == {"labels", "ledger", "jobs", "tenants", "requests"}
        for name in ("base_url", "streaming_url"):
            with anthropic.Anthropic(base_url=described[name], api_key=described["gateway_key"]) as client:
                hello: Any = [{"role": "user", "content": "Hi"}]
                answer = client.messages.create(model="haiku", max_tokens=9, messages=hello)
            assert answer.model == "claude-haiku-5-5"
        assert "ready" in command("up", cwd=ROOT), "a second up finds the first"
    finally:
        assert "stopped" in command("down", cwd=ROOT)
    assert not file.exists()
    assert "no local stack" in command("down", cwd=ROOT)
    with (
        anthropic.Anthropic(base_url=described["streaming_url"], api_key="x", max_retries=0) as client,
        pytest.raises(anthropic.APIConnectionError),
    ):
        client.models.list()


def test_the_demo_shows_every_step_and_cleans_up(tmp_path: Path) -> None:
    printed = command("demo", cwd=tmp_path)
    assert "Claude is the stand-in (simulated answers)" in printed
    assert printed.count("claude-haiku-5-5") >= 4 + 4 + 4
    assert "second pass 0" in printed
    assert "8 of 8 delivered" in printed
    assert printed.count("ALARM ") >= 3
    assert "429 budget:account-daily" in printed
    assert "SNS message arrived" in printed
    assert "all on opus: saved $" in printed
    assert still_running(tmp_path) == []


def test_ctrl_c_ends_the_demo_and_everything_it_started(tmp_path: Path) -> None:
    words = [str(BIN / "cost-router"), "demo"]
    with subprocess.Popen(words, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout
        for line in demo.stdout:
            if "Deployed in" in line:
                break
        assert still_running(tmp_path)
        demo.send_signal(signal.SIGINT)
        rest = demo.stdout.read()
        assert demo.wait(60) == 130
    assert "everything it started has been ended" in rest
    assert still_running(tmp_path) == []


def still_running(folder: Path) -> list[str]:
    """Command lines of live processes whose working folder or arguments lie in `folder`, and their logs' writers."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            outputs = {str((process / "fd" / number).readlink()) for number in ("1", "2")}
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if any(output.startswith(str(folder)) for output in outputs):
            found.append(line)
    return found


def test_the_pinned_cdk_command_deploys_the_same_app(tmp_path: Path) -> None:
    children = Children(tmp_path)
    try:
        emulator = start_emulator(children)
        emulator.client("ssm").put_parameter(Name="/cdk-bootstrap/hnb659fds/version", Value="30", Type="String")
        emulator.client("s3").create_bucket(Bucket="cdk-hnb659fds-assets-000000000000-us-east-1")
        settings = ("env=cdktest", "local=true", "streaming=false", "daily_budget_usd=5", "monthly_budget_usd=90")
        # The emulator has no metric math, of which the band of usual spend is made.
        context = [word for setting in (*settings, "spend_anomaly=") for word in ("-c", setting)]
        done = subprocess.run(
            ["npx", "--yes", CDK, "deploy", "--require-approval", "never", "--output", str(tmp_path / "out"), *context],
            cwd=ROOT,
            env=environment(**emulator.environment(), CDK_DISABLE_CLI_TELEMETRY="true"),
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        [stack] = emulator.client("cloudformation").describe_stacks(StackName="claude-cost-router-cdktest")["Stacks"]
        assert stack["StackStatus"] == "CREATE_COMPLETE"
    finally:
        children.end()


def test_the_cdk_version_is_the_one_that_make_deploy_uses() -> None:
    assert f"CDK_VERSION := {CDK.partition('@')[2]}" in (ROOT / "Makefile").read_text(encoding="utf-8")
