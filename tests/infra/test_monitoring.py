"""Alarms watch what the code emits, at the right thresholds, and all ring on one topic."""

import json
from typing import Any

import pytest

from cost_router.contract import NAMESPACE, Metric
from tests.infra.conftest import Template

ALARM = "AWS::CloudWatch::Alarm"
OURS = {value for name, value in vars(Metric).items() if not name.startswith("_") and isinstance(value, str)}


def alarm(template: Template, name: str) -> dict[str, Any]:
    return template.only(ALARM, f"Monitoring{name}")


@pytest.mark.parametrize(("start", "threshold"), [("Spend50", 25), ("Spend80", 40), ("Spend100", 50)])
def test_spend_rings_at_each_step_of_the_budget_within_a_minute(
    streaming: Template, start: str, threshold: float
) -> None:
    found = alarm(streaming, start)
    assert (found["Namespace"], found["MetricName"]) == (NAMESPACE, Metric.SPEND_TODAY)
    assert found["Dimensions"] == [{"Name": "service", "Value": "cost-router-prod"}]
    assert (found["Statistic"], found["Period"], found["EvaluationPeriods"]) == ("Maximum", 60, 1)
    assert (found["Threshold"], found["ComparisonOperator"]) == (threshold, "GreaterThanOrEqualToThreshold")
    assert found["TreatMissingData"] == "ignore"


def test_without_a_budget_no_alarm_watches_spend(buffered: Template) -> None:
    assert not [name for name in buffered.of_type(ALARM) if name.startswith("MonitoringSpend")]


@pytest.mark.parametrize(
    ("name", "metric", "statistic", "threshold"),
    [
        ("ClassifierSlow", Metric.CLASSIFIER_LATENCY, "p95", 2_400),
        ("RouterErrors", "5XXError", "Sum", 5),
        ("LedgerFailures", Metric.LEDGER_FAILURES, "Sum", 1),
        ("DeadLetters", "ApproximateNumberOfMessagesVisible", "Maximum", 1),
        ("OldJobs", "ApproximateAgeOfOldestMessage", "Maximum", 21_600),
    ],
)
def test_health_rings(streaming: Template, name: str, metric: str, statistic: str, threshold: float) -> None:
    found = alarm(streaming, name)
    assert found["MetricName"] == metric
    assert found.get("Statistic", found.get("ExtendedStatistic")) == statistic
    assert found["Threshold"] == threshold
    assert found["TreatMissingData"] == "notBreaching"


def test_alarms_on_our_namespace_watch_metrics_of_the_contract(streaming: Template) -> None:
    watched = {found["MetricName"] for found in streaming.of_type(ALARM).values() if found["Namespace"] == NAMESPACE}
    assert watched <= OURS
    assert watched == {Metric.SPEND_TODAY, Metric.CLASSIFIER_LATENCY, Metric.LEDGER_FAILURES}


def test_every_alarm_says_what_is_wrong_and_rings_on_the_topic(streaming: Template) -> None:
    (topic,) = streaming.of_type("AWS::SNS::Topic")
    alarms = streaming.of_type(ALARM)
    assert len(alarms) == 8
    for found in alarms.values():
        assert found["AlarmActions"] == [{"Ref": topic}]
        assert found["AlarmDescription"].endswith(".")


def test_alarms_name_one_metric_each_because_the_emulator_knows_no_metric_math(streaming: Template) -> None:
    assert not [name for name, found in streaming.of_type(ALARM).items() if "Metrics" in found]


def test_alarms_may_publish_although_the_topic_has_a_policy_of_its_own(streaming: Template) -> None:
    statements = streaming.only("AWS::SNS::TopicPolicy")["PolicyDocument"]["Statement"]
    (allow,) = [statement for statement in statements if statement["Effect"] == "Allow"]
    assert allow["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert allow["Action"] == "sns:Publish"
    assert allow["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


def test_an_address_is_subscribed_only_when_given(streaming: Template, buffered: Template) -> None:
    subscription = streaming.only("AWS::SNS::Subscription")
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "ops@example.com")
    assert not buffered.of_type("AWS::SNS::Subscription")


def test_the_dashboard_shows_money_first_and_only_metrics_of_the_contract(streaming: Template) -> None:
    text = json.dumps(streaming.only("AWS::CloudWatch::Dashboard"))
    titles = ["Spend of the UTC day", "Requests by tier", "Latency p95"]
    assert sorted(titles, key=text.index) == titles
    shown = {part.split('\\"')[1] for part in text.split(f'\\"{NAMESPACE}\\"')[1:]}
    assert shown <= OURS
    assert {Metric.SPEND, Metric.SAVED, Metric.SPEND_TODAY, Metric.REQUESTS} <= shown
