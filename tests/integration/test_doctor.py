"""`cost-router doctor` against the local stack: what is well, and what it says when something is not."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cost_router.contract import SECRET_PLACEHOLDER, Output
from infra.local.stack import LocalStack
from tests.integration.commands import command

Checks = dict[str, dict[str, str]]


def examined(folder: Path, expect: int = 0) -> tuple[bool, Checks]:
    told: dict[str, Any] = json.loads(command("doctor", "--json", cwd=folder, expect=expect))
    return told["ok"], {check["name"]: check for check in told["checks"]}


@pytest.fixture
def stored(stack: LocalStack) -> Iterator[str]:
    """The ARN of the secret, which gets its key back afterwards."""
    secrets, arn = stack.emulator.client("secretsmanager"), stack.outputs[Output.SECRET_ARN]
    yield arn
    secrets.put_secret_value(SecretId=arn, SecretString=stack.upstream.key)


def test_a_working_stack_is_told_line_by_line(folder: Path) -> None:
    well, checks = examined(folder)
    assert well
    levels = {name: check["level"] for name, check in checks.items()}
    for name in ("stack", "router", "anthropic key", "gateway keys", "jobs queue", "daily budget", "ledger"):
        assert levels[name] == "ok", checks[name]
    assert "lineup current" in checks["router"]["says"]
    assert "a stand-in plays Claude" in checks["router"]["says"]
    assert checks["daily budget"]["says"] == "$50"
    assert " (UTC) so far: " in checks["ledger"]["says"]
    assert set(levels) == {
        *(
            "stack",
            "router",
            "anthropic key",
            "gateway keys",
            "models",
            "routing",
            "jobs queue",
            "dead letters",
            "alarms",
        ),
        *("alerts", "daily budget", "ledger", "reservations"),
    }


def test_a_missing_key_fails_with_what_to_do_and_exit_code_1(folder: Path, stack: LocalStack, stored: str) -> None:
    stack.emulator.client("secretsmanager").put_secret_value(SecretId=stored, SecretString=SECRET_PLACEHOLDER)
    well, checks = examined(folder, expect=1)
    assert not well
    assert checks["anthropic key"]["level"] == "fail"
    assert checks["anthropic key"]["do"].startswith(f"aws secretsmanager put-secret-value --secret-id {stored} ")


def test_a_dead_letter_is_a_warning(folder: Path, stack: LocalStack) -> None:
    sqs, url = stack.emulator.client("sqs"), stack.description["dead_letter_queue_url"]
    sqs.purge_queue(QueueUrl=url)  # other tests have set jobs aside
    sqs.send_message(QueueUrl=url, MessageBody="{}")
    try:
        well, checks = examined(folder)
    finally:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert well
    assert (checks["dead letters"]["level"], checks["dead letters"]["says"]) == ("warn", "1 jobs were set aside")


def test_the_lines_for_people_say_the_same_and_never_the_key(folder: Path, stack: LocalStack, stored: str) -> None:
    stack.emulator.client("secretsmanager").put_secret_value(SecretId=stored, SecretString="sk-ant-canary")
    unsubscribe_all(stack)  # other tests listen to the stack's alerts
    text = command("doctor", cwd=folder)
    assert "ok   anthropic key  stored" in text
    assert "-> deploy with -c alert_email=" in text
    assert "canary" not in text + command("doctor", "--json", cwd=folder)


def unsubscribe_all(stack: LocalStack) -> None:
    sns, topic = stack.emulator.client("sns"), stack.outputs[Output.ALERTS_TOPIC]
    for row in sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]:
        sns.unsubscribe(SubscriptionArn=row["SubscriptionArn"])


def test_without_a_stack_there_is_one_line(tmp_path: Path) -> None:
    assert "no local stack is running" in command("doctor", cwd=tmp_path, expect=1)
