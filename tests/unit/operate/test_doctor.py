"""The doctor's verdicts on what AWS and the router tell, with hand-written clients."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from botocore.exceptions import ClientError

from cost_router.contract import SECRET_PLACEHOLDER, Output
from infra.operate.doctor import Check, examine
from infra.operate.target import Target

NOON = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
SECRET = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:key"
TOPIC = "arn:aws:sns:eu-north-1:123456789012:alerts"
CONFIRMED = f"{TOPIC}:1"


@dataclass(frozen=True)
class Pages:
    """A paginator of one page."""

    page: Mapping[str, Any]

    def paginate(self, **_asked: Any) -> list[Mapping[str, Any]]:
        return [self.page]


@dataclass
class Aws:
    """Every client in one; each field is what one operation tells."""

    status: str = "CREATE_COMPLETE"
    outputs: dict[str, str] = field(default_factory=lambda: {Output.SECRET_ARN: SECRET, Output.ALERTS_TOPIC: TOPIC})
    secret: str = "sk-ant-1"
    depth: dict[str, str] = field(default_factory=lambda: {"jobs": "7", "dead": "0"})
    alarms: dict[str, str] = field(default_factory=lambda: {"prod-Spend100": "OK", "prod-OldJobs": "OK"})
    budget: float | None = 50.0
    subscriptions: list[str] = field(default_factory=lambda: [CONFIRMED])
    keys: list[dict[str, Any]] = field(default_factory=list)
    counter: dict[str, Any] = field(default_factory=dict)
    denied: bool = False

    def describe_stacks(self, **_asked: Any) -> dict[str, Any]:
        if self.denied:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "DescribeStacks")
        rows = [{"OutputKey": name, "OutputValue": value} for name, value in self.outputs.items()]
        return {"Stacks": [{"StackStatus": self.status, "Outputs": rows}]}

    def get_secret_value(self, **_asked: Any) -> dict[str, Any]:
        return {"SecretString": self.secret}

    def get_queue_attributes(self, *, QueueUrl: str, AttributeNames: list[str]) -> dict[str, Any]:  # noqa: N803  boto3's
        return {"Attributes": dict(zip(AttributeNames, (self.depth[QueueUrl], "0"), strict=True))}

    def describe_alarms(self, *, AlarmNames: list[str]) -> dict[str, Any]:  # noqa: N803  boto3's
        assert AlarmNames == ["prod-Spend100"]
        return {"MetricAlarms": [] if self.budget is None else [{"Threshold": self.budget}]}

    def get_item(self, **_asked: Any) -> dict[str, Any]:
        return {"Item": self.counter} if self.counter else {}

    def get_paginator(self, operation: str) -> Pages:
        alarms = [{"AlarmName": name, "StateValue": state} for name, state in self.alarms.items()]
        told: dict[str, dict[str, Any]] = {
            "describe_alarms": {"MetricAlarms": alarms},
            "list_subscriptions_by_topic": {"Subscriptions": [{"SubscriptionArn": arn} for arn in self.subscriptions]},
            "scan": {"Items": self.keys},
            "query": {"Items": []},  # nothing is put aside
        }
        return Pages(told[operation])


@dataclass(frozen=True, slots=True)
class FakeTarget(Target):
    """A deployment whose AWS is the one given."""

    aws: Aws = field(default_factory=Aws)

    def client(self, service: str) -> Any:
        assert service
        return self.aws


KEY = {
    "pk": {"S": "key#" + "a" * 64},
    "hint": {"S": "ccr-ab"},
    "tenant": {"S": "acme"},
    "created_at": {"S": "2026-11-01T00:00:00+00:00"},
}
TENANT = {"pk": {"S": "tenant#acme"}, "label_key": {"B": b"k" * 32}}


@pytest.fixture
def health(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `GET /health` answers; tests change it."""
    told: dict[str, Any] = {"status": "ok", "version": "0.3.0", "lineup": "current"}

    def get(url: str, **_options: Any) -> httpx2.Response:
        assert url == "https://router.example/prod/health"
        response = httpx2.Response(200 if told else 503, json=told)
        response.request = httpx2.Request("GET", url)
        return response

    monkeypatch.setattr(httpx2, "get", get)
    return told


def checks(aws: Aws, now: dt.datetime = NOON) -> dict[str, Check]:
    aws.keys = aws.keys or [KEY, TENANT]
    tables = {name: name for name in ("labels", "ledger", "jobs", "tenants")}
    target = FakeTarget("prod", "https://router.example/prod", "jobs", "dead", "results", tables, "eu-north-1", aws=aws)
    return {check.name: check for check in examine(target, now)}


def test_everything_well(health: dict[str, Any]) -> None:
    assert health
    found = checks(Aws(counter={"cost_usd": {"N": "1.5"}, "calls": {"N": "12"}}))
    assert {check.level for check in found.values()} == {"ok"}
    assert {check.do for check in found.values()} == {""}
    assert found["ledger"].says == "reachable; 2026-11-24 (UTC) so far: 12 calls, $1.5"
    assert found["jobs queue"].says.startswith("7 waiting")
    assert found["models"].says.startswith("lineup current: all priced")


@pytest.mark.parametrize(
    ("changes", "name", "level", "says", "do"),
    [
        ({"status": "UPDATE_ROLLBACK_COMPLETE"}, "stack", "warn", "UPDATE_ROLLBACK_COMPLETE", "events"),
        ({"secret": SECRET_PLACEHOLDER}, "anthropic key", "fail", "placeholder", f"--secret-id {SECRET}"),
        ({"secret": " "}, "anthropic key", "fail", "placeholder", f"--secret-id {SECRET}"),
        ({"outputs": {Output.ALERTS_TOPIC: TOPIC}}, "anthropic key", "ok", "provider aws", ""),
        ({"keys": [TENANT]}, "gateway keys", "fail", "none of 0", "keys create"),
        ({"keys": [KEY | {"disabled": {"BOOL": True}}, TENANT]}, "gateway keys", "fail", "none of 1", "keys create"),
        ({"depth": {"jobs": "0", "dead": "1"}}, "dead letters", "warn", "1 jobs", "redrive"),
        ({"alarms": {"prod-Spend80": "ALARM", "prod-OldJobs": "OK"}}, "alarms", "warn", "1 of 2 ring", "prod-Spend80"),
        ({"alarms": {}}, "alarms", "fail", "prod-...", "make deploy"),
        ({"subscriptions": []}, "alerts", "warn", "nobody", "alert_email"),
        ({"subscriptions": [CONFIRMED, "PendingConfirmation"]}, "alerts", "warn", "1 of 2", "link"),
        ({"budget": None}, "daily budget", "warn", "none", "daily_budget_usd"),
    ],
)
def test_what_is_not_well_says_what_to_do(
    health: dict[str, Any], changes: dict[str, Any], name: str, level: str, says: str, do: str
) -> None:
    assert health
    found = checks(Aws(**changes))[name]
    assert found.level == level
    assert says in found.says
    assert do in found.do


def test_old_prices_are_a_warning_from_the_31st_day_on(health: dict[str, Any]) -> None:
    assert health
    assert checks(Aws(), dt.datetime(2026, 12, 10, tzinfo=dt.UTC))["models"].level == "ok"
    found = checks(Aws(), dt.datetime(2026, 12, 11, tzinfo=dt.UTC))["models"]
    assert (found.level, "31 days ago" in found.says) == ("warn", True)


def test_what_cannot_be_read_fails_and_does_not_hide_the_rest(health: dict[str, Any]) -> None:
    health.clear()
    found = checks(Aws(denied=True))
    assert {name for name, check in found.items() if check.level == "fail"} == {
        *("stack", "router", "anthropic key", "alerts")
    }
    assert "AccessDenied" in found["stack"].says
    assert found["ledger"].level == "ok"


def test_the_key_is_never_told(health: dict[str, Any]) -> None:
    assert health
    assert "canary" not in str(checks(Aws(secret="sk-ant-canary")))
