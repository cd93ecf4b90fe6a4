"""Alarms watch what the code emits, at the right thresholds, and all ring on one topic."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App, Stack
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs

from cost_router.contract import NAMESPACE, Metric
from infra.aws.dashboard import Dashboard
from infra.aws.metrics import Metrics
from infra.aws.monitoring import Limits, Monitoring, spend_rings
from tests.infra.conftest import Template

ALARM = "AWS::CloudWatch::Alarm"
OURS = {value for name, value in vars(Metric).items() if not name.startswith("_") and isinstance(value, str)}


def body(template: Template) -> str:
    """The dashboard as JSON, with what CloudFormation fills in left blank."""
    found = template.only("AWS::CloudWatch::Dashboard")["DashboardBody"]
    return "".join(part if isinstance(part, str) else "" for part in found["Fn::Join"][1])


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


@pytest.fixture(scope="module")
def monthly(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """Alarms and dashboard of a stack with a monthly budget of $600 and no daily one."""
    outdir: Path = tmp_path_factory.mktemp("monthly")
    app = App(outdir=str(outdir))
    stack = Stack(app, "monthly")
    api = apigateway.RestApi(stack, "Api")
    api.root.add_method("GET")
    limits = Limits(monthly_budget_usd=Decimal(600))
    metrics = Metrics(
        stage="prod",
        rest_api=api,
        jobs=sqs.Queue(stack, "Jobs"),
        dead_letter_queue=sqs.Queue(stack, "Dead"),
        collector=lambda_.Function(
            stack,
            "Collector",
            code=lambda_.Code.from_inline("pass"),
            handler="index.handler",
            runtime=lambda_.Runtime.PYTHON_3_13,
        ),
    )
    rings = spend_rings(metrics, limits)
    monitoring = Monitoring(stack, "Monitoring", rings=rings, surges=[], alert_email="")
    Dashboard(stack, "Dashboard", metrics=metrics, alarms=monitoring.alarms, limits=limits)
    app.synth()
    return Template.read(outdir / stack.template_file)


@pytest.mark.parametrize(("start", "threshold"), [("Month50", 300), ("Month80", 480), ("Month100", 600)])
def test_the_month_rings_at_each_step_of_its_budget(monthly: Template, start: str, threshold: float) -> None:
    found = alarm(monthly, start)
    assert (found["MetricName"], found["Statistic"], found["Period"]) == (Metric.SPEND_THIS_MONTH, "Maximum", 60)
    assert (found["Threshold"], found["TreatMissingData"]) == (threshold, "ignore")
    assert found["AlarmDescription"].startswith("Claude spend of this UTC month has reached")
    assert len(monthly.of_type(ALARM)) == 3


def test_the_rate_of_spend_rings_above_the_band_that_cloudwatch_expects_and_never_below(streaming: Template) -> None:
    found = alarm(streaming, "SpendRate")
    band, rate = found["Metrics"]
    assert band["Expression"] == "ANOMALY_DETECTION_BAND(m0, 3)"
    assert found["ThresholdMetricId"] == band["Id"]
    assert (rate["Id"], rate["MetricStat"]["Metric"]["MetricName"]) == ("m0", Metric.SPEND)
    assert (rate["MetricStat"]["Stat"], rate["MetricStat"]["Period"], found["EvaluationPeriods"]) == ("Sum", 300, 3)
    assert found["ComparisonOperator"] == "GreaterThanUpperThreshold"
    assert found["TreatMissingData"] == "notBreaching"
    assert "ANOMALY_DETECTION_BAND(m0, 3)" in body(streaming)


def test_the_state_of_the_last_reconciled_day_stays_until_the_next(streaming: Template) -> None:
    found = alarm(streaming, "LedgerDrift")
    assert (found["MetricName"], found["Statistic"], found["Threshold"]) == (Metric.LEDGER_DRIFT, "Maximum", 0.01)
    assert (found["ComparisonOperator"], found["TreatMissingData"]) == ("GreaterThanOrEqualToThreshold", "ignore")


@pytest.mark.parametrize(
    ("name", "metric", "statistic", "threshold"),
    [
        ("ClassifierSlow", Metric.CLASSIFIER_LATENCY, "p95", 2_400),
        ("ClassifierSkipped", Metric.CLASSIFIER_SKIPPED, "Sum", 1),
        ("ClassifierFailing", Metric.CLASSIFIER_FAILURES, "Sum", 10),
        ("RouterErrors", "5XXError", "Sum", 5),
        ("LedgerFailures", Metric.LEDGER_FAILURES, "Sum", 1),
        ("LaneStopped", Metric.LANE_STOPPED, "Sum", 1),
        ("BudgetSteps", Metric.BUDGET_STEPS, "Sum", 1),
        ("Ambiguous", Metric.AMBIGUOUS, "Sum", 5),
        ("Unreserved", Metric.UNRESERVED, "Sum", 1),
        ("DeadLetters", "ApproximateNumberOfMessagesVisible", "Maximum", 1),
        ("OldJobs", "ApproximateAgeOfOldestMessage", "Maximum", 21_600),
    ],
)
def test_rings_that_end_by_themselves(
    streaming: Template, name: str, metric: str, statistic: str, threshold: float
) -> None:
    found = alarm(streaming, name)
    assert found["MetricName"] == metric
    assert found.get("Statistic", found.get("ExtendedStatistic")) == statistic
    assert found["Threshold"] == threshold
    assert found["TreatMissingData"] == "notBreaching"


def test_alarms_on_our_namespace_watch_metrics_of_the_contract(streaming: Template) -> None:
    alarms = streaming.of_type(ALARM).values()
    single = {found["MetricName"] for found in alarms if found.get("Namespace") == NAMESPACE}
    inside = [
        part["MetricStat"]["Metric"] for found in alarms for part in found.get("Metrics", ()) if "MetricStat" in part
    ]
    watched = single | {metric["MetricName"] for metric in inside if metric["Namespace"] == NAMESPACE}
    assert watched <= OURS
    assert watched == {
        Metric.SPEND_TODAY,
        Metric.SPEND,
        Metric.BUDGET_STEPS,
        Metric.AMBIGUOUS,
        Metric.LEDGER_DRIFT,
        Metric.UNRESERVED,
        Metric.CLASSIFIER_LATENCY,
        Metric.CLASSIFIER_SKIPPED,
        Metric.CLASSIFIER_FAILURES,
        Metric.LEDGER_FAILURES,
        Metric.LANE_STOPPED,
    }


def test_every_alarm_says_what_is_wrong_and_rings_on_the_topic(streaming: Template) -> None:
    (topic,) = streaming.of_type("AWS::SNS::Topic")
    alarms = streaming.of_type(ALARM)
    assert len(alarms) == 17
    for found in alarms.values():
        assert found["AlarmActions"] == [{"Ref": topic}]
        assert found["AlarmDescription"].endswith(".")


def test_in_the_emulator_alarms_name_one_metric_each_because_it_knows_no_metric_math(buffered: Template) -> None:
    assert not [name for name, found in buffered.of_type(ALARM).items() if "Metrics" in found]
    assert "ANOMALY" not in body(buffered)


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
    text = body(streaming)
    titles = ["Spend today", "by model", "Rate of spend", "Budgets and bookings", "Requests per", "Latency p95"]
    assert sorted(titles, key=text.index) == titles
    shown = {part.split('"')[1] for part in text.split(f'"{NAMESPACE}"')[1:]}
    shown |= {name for name in OURS if f'MetricName=\\"{name}\\"' in text}
    assert shown == OURS, "each metric is billed: what is on no panel is not worth it"


def widgets(template: Template) -> dict[str, dict[str, Any]]:
    """The properties of each widget with a title."""
    found = [widget["properties"] for widget in json.loads(body(template))["widgets"]]
    return {properties["title"]: properties for properties in found if "title" in properties}


def test_spend_is_a_dial_that_ends_at_the_budget(streaming: Template) -> None:
    dial = widgets(streaming)["Spend today, of $50"]
    assert (dial["view"], dial["yAxis"]["left"]) == ("gauge", {"min": 0, "max": 50})
    assert [(mark["value"], mark["fill"]) for mark in dial["annotations"]["horizontal"]] == [
        (40, "above"),
        (47.5, "above"),
    ]


def test_without_a_budget_the_spend_is_a_figure_and_has_no_line_over_it(buffered: Template) -> None:
    found = widgets(buffered)
    assert found["Spend today"]["view"] == "singleValue"
    assert "annotations" not in found["Spend of the UTC day so far"]


def test_the_budgets_are_lines_over_what_day_and_month_have_cost(streaming: Template, monthly: Template) -> None:
    day = widgets(streaming)["Spend of the UTC day so far"]["annotations"]["horizontal"]
    month = widgets(monthly)["Spend of the UTC month so far"]["annotations"]["horizontal"]
    assert [(line["value"], line["label"]) for line in day] == [(50, "Daily budget $50")]
    assert [(line["value"], line["label"]) for line in month] == [(600, "Monthly budget $600")]


def test_spend_by_model_shows_also_models_that_are_in_no_lineup(streaming: Template) -> None:
    [[spend]] = widgets(streaming)["Spend per 5 minutes, by model"]["metrics"]
    assert spend["expression"] == (
        "SEARCH('{ClaudeCostRouter,model,service} service=\"cost-router-prod\" MetricName=\"SpendUSD\"', 'Sum', 300)"
    )
    assert spend["label"] == "${PROP('Dim.model')}"


def test_a_longer_range_does_not_stretch_the_periods_that_the_titles_name(streaming: Template) -> None:
    assert json.loads(body(streaming))["periodOverride"] == "inherit"


def test_the_widgets_fill_every_row_of_24_columns_without_overlap(streaming: Template) -> None:
    cells = [
        (x, y)
        for widget in json.loads(body(streaming))["widgets"]
        for x in range(widget["x"], widget["x"] + widget["width"])
        for y in range(widget["y"], widget["y"] + widget["height"])
    ]
    lowest = max(y for _, y in cells)
    assert sorted(cells) == [(x, y) for x in range(24) for y in range(lowest + 1)]
