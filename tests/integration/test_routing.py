"""`cost-router routing` as an operator runs it, and what the router makes of it.

The app is the deployed one, with the deployment's own settings and tables, but for the tenants: what is set here must
not reach the entrances that other tests use. It remembers nothing of the settings, which saves a minute for each step.
"""

import base64
import json
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cost_router.contract import Env, Table
from cost_router.handlers import wiring
from infra.local.processes import Children, free_port, listens
from infra.local.stack import FUNCTIONS, ROOT, LocalStack, function_environment
from tests.integration.commands import command
from tests.integration.meter import Meter

Unique = Callable[[str], str]
CANARY = ("--candidate", "canary", "--percent", "100", "--candidate-lineup", "article")
ALWAYS_SIMPLE = {
    "format": 1,
    "lone": False,
    "buckets": 4,
    "pairs": False,
    "characters": [],
    "heads": {
        "above_simple": {
            "bias": -9.0,
            "plain": {},
            "scale": 1.0,
            "weights": base64.b64encode(zlib.compress(bytes(4))).decode(),
        },
        "above_moderate": None,
    },
    "thresholds": {"simple": 0.9, "moderate": None, "complex": None},
}


@dataclass(frozen=True)
class Deployment:
    """A deployment of its own as far as tenants and routing go."""

    folder: Path
    url: str
    key: str

    def run(self, *words: str, expect: int = 0) -> str:
        return command(*words, cwd=self.folder, expect=expect)

    def routing(self, *words: str) -> dict[str, Any]:
        return dict(json.loads(self.run("routing", *words, "--json")))

    def ask(self, text: str) -> httpx2.Response:
        body = {"model": "auto", "max_tokens": 20, "messages": [{"role": "user", "content": text}]}
        found = httpx2.post(f"{self.url}/v1/messages", json=body, headers={"x-api-key": self.key}, timeout=60)
        assert found.status_code == 200, found.text
        return found


@pytest.fixture(scope="module")
def tenants_table(stack: LocalStack) -> str:
    key = {"AttributeName": Table.TENANTS_KEY}
    stack.emulator.client("dynamodb").create_table(
        TableName="routed-tenants",
        AttributeDefinitions=[{**key, "AttributeType": "S"}],
        KeySchema=[{**key, "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return "routed-tenants"


@pytest.fixture(scope="module")
def deployment(stack: LocalStack, tenants_table: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder, port = tmp_path_factory.mktemp("routed"), free_port()
    command_line = [sys.executable, "-m", "uvicorn", "tests.integration.forgetful_app:app", "--port", str(port)]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "ANTHROPIC_"))}
    env |= function_environment(stack.emulator, stack.outputs) | stack.emulator.environment()
    env |= {"PYTHONPATH": f"{ROOT}{os.pathsep}{FUNCTIONS}", Env.TENANTS_TABLE: tenants_table}
    described = dict(stack.description) | {"base_url": f"http://127.0.0.1:{port}"}
    described |= {"tables": {**described["tables"], "tenants": tenants_table}}
    (folder / ".local").mkdir()
    (folder / ".local" / "stack.json").write_text(json.dumps(described), encoding="utf-8")
    children = Children(folder)
    try:
        children.start("forgetful", command_line, env, cwd=ROOT).wait_until(lambda: listens(port))
        key = json.loads(command("keys", "create", "routed", "--json", cwd=folder))["key"]
        yield Deployment(folder, described["base_url"], key)
    finally:
        children.end()


@pytest.fixture(autouse=True)
def without_settings(deployment: Deployment, meter: Meter, stack: LocalStack, tenants_table: str) -> Iterator[None]:
    """Each test begins without settings, and with the stand-in as new."""
    assert deployment
    assert meter
    yield
    key = {Table.TENANTS_KEY: {"S": "routing"}}
    stack.emulator.client("dynamodb").delete_item(TableName=tenants_table, Key=key)


def row(report: dict[str, Any], arm: str) -> dict[str, Any]:
    return next(found for found in report["rows"] if found["key"] == arm)


def test_a_canary_is_set_seen_and_rolled_back_by_one_setting(
    deployment: Deployment, entries: Callable[[str], list[dict[str, Any]]], unique: Unique
) -> None:
    assert deployment.ask(unique("[[label:simple]] Hi")).headers["x-router-model"] == "claude-haiku-5-5"
    told = deployment.run("routing", "set", *CANARY)
    assert told.startswith("in force within 60 seconds:")
    assert "canary: lineup article decides for 100 % of the conversations" in told
    answer = deployment.ask(unique("[[label:simple]] Hi"))
    assert (answer.headers["x-router-model"], answer.headers["x-router-arm"]) == ("claude-haiku-4-5", "candidate")
    booked = entries(answer.headers["x-router-request-id"])
    assert {(entry["arm"], entry["model"]) for entry in booked} == {("candidate", "claude-haiku-4-5")}
    receipt = httpx2.get(
        f"{deployment.url}/v1/requests/{answer.headers['x-router-request-id']}", headers={"x-api-key": deployment.key}
    ).json()
    assert receipt["arm"] == "candidate"

    after = deployment.routing("set", "--candidate", "none")
    assert (after["settings"], after["problem"]) == ({}, None)
    answer = deployment.ask(unique("[[label:simple]] Hi"))
    assert (answer.headers["x-router-model"], "x-router-arm" in answer.headers) == ("claude-haiku-5-5", False)

    made = json.loads(deployment.run("report", "--by", "arm", "--json"))
    cost = sum(entry["cost_usd"] for entry in booked)
    assert row(made, "candidate")["requests"] >= 1
    assert Decimal(row(made, "candidate")["cost_usd"]) >= cost
    assert {arm["arm"] for arm in made["arms"]["arms"]} >= {"candidate", "(none)"}
    spent = httpx2.get(f"{deployment.url}/v1/spend?by=arm", headers={"x-api-key": deployment.key}).json()
    assert {found["key"]: found["requests"] for found in spent["rows"]} == {"candidate": 1, "(none)": 2}


def test_a_shadow_with_a_local_model_of_its_own_is_compared_before_it_acts(
    deployment: Deployment, entries: Callable[[str], list[dict[str, Any]]], unique: Unique
) -> None:
    model, rubric = deployment.folder / "model.json", deployment.folder / "rubric.json"
    model.write_text(json.dumps(ALWAYS_SIMPLE), encoding="utf-8")
    rubric.write_text(json.dumps(wiring.data("rubric.json")), encoding="utf-8")
    words = "--candidate shadow --percent 100 --candidate-preclassifier model.json --candidate-rubric rubric.json"
    set_ = deployment.routing("set", *words.split(), "--rules-off", "planning", "--no-sessions")["settings"]
    assert (set_["rules_off"], set_["sessions"], set_["candidate"]["mode"]) == (["planning"], False, "shadow")
    assert len(set_["candidate"]["preclassifier"]) == 16
    answer = deployment.ask(unique("[[label:complex]] Hi"))
    assert (answer.headers["x-router-model"], answer.headers["x-router-arm"]) == ("claude-opus-5-5", "control")
    booked = entries(answer.headers["x-router-request-id"])
    (answered,) = [entry for entry in booked if entry["purpose"] == "answer"]
    shadow = {name: answered[f"shadow_{name}"] for name in ("label", "tier", "model")}
    assert shadow == {"label": "simple", "tier": "haiku", "model": "claude-haiku-5-5"}
    assert 0 < answered["shadow_cost_usd"] < answered["cost_usd"]
    assert len(booked) == 2, "its local model is sure: nothing is paid for its label"

    found = json.loads(deployment.run("report", "--json"))["arms"]["shadow"]
    assert {"control": "complex", "candidate": "simple", "requests": 1} in found["labels"]
    assert Decimal(found["difference_usd"]) < 0
    shown = deployment.run("routing", "show")
    assert "rules           all but planning" in shown
    checks = json.loads(deployment.run("doctor", "--json"))["checks"]
    (check,) = [found for found in checks if found["name"] == "routing"]
    assert (check["level"], "shadow" in check["says"]) == ("ok", True)


def test_settings_that_the_router_cannot_use_are_a_problem_that_doctor_and_show_tell(
    deployment: Deployment, stack: LocalStack, tenants_table: str, unique: Unique
) -> None:
    file = deployment.folder / "settings.json"
    file.write_text('{"candidate": {"mode": "canary", "percent": 100, "lineup": "article"}}', encoding="utf-8")
    deployment.routing("set", "--file", "settings.json")
    item = {"pk": {"S": "routing"}, "settings": {"S": '{"rules_off": ["gone"]}'}}
    assert deployment.ask(unique("[[label:simple]] Hi")).headers["x-router-model"] == "claude-haiku-4-5"
    stack.emulator.client("dynamodb").put_item(TableName=tenants_table, Item=item)
    answer = deployment.ask(unique("[[label:simple]] Hi"))
    assert answer.headers["x-router-model"] == "claude-haiku-4-5", "as before"
    printed = deployment.run("routing", "show", expect=1)
    assert "cost-router: the router cannot use the settings" in printed
    assert "rules_off: 'gone'" in printed
    checks = json.loads(deployment.run("doctor", "--json", expect=1))["checks"]
    assert [found["level"] for found in checks if found["name"] == "routing"] == ["fail"]
    deployment.run("routing", "clear")
    assert deployment.ask(unique("[[label:simple]] Hi")).headers["x-router-model"] == "claude-haiku-5-5"
