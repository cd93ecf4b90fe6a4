"""The budget's steps ring: metric -> alarm -> topic -> queue, with the deployed alarms, by the bridge's own path."""

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cost_router.contract import NAMESPACE, SERVICE_DIMENSION, SERVICE_PREFIX, Metric, Output
from infra.local.bridge import Bridge
from infra.local.stack import LocalStack
from tests.integration.meter import poll

STEPS = {"Spend50": "ALARM", "Spend80": "ALARM", "Spend100": "ALARM"}


@dataclass
class Gauge:
    """Log lines with the gauge of the day's spend, as the functions write them, read by a bridge of the test's own."""

    stack: LocalStack
    log: Path
    bridge: Bridge = field(init=False)

    def __post_init__(self) -> None:
        self.log.touch()
        self.bridge = Bridge(self.stack.emulator, [], [self.log])

    def shows(self, usd: float, seconds_ago: int = 0) -> None:
        at = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds_ago)
        metrics = [{"Name": Metric.SPEND_TODAY, "Unit": "None"}]
        line = {
            "_aws": {
                "Timestamp": int(at.timestamp() * 1000),
                "CloudWatchMetrics": [
                    {"Namespace": NAMESPACE, "Dimensions": [[SERVICE_DIMENSION]], "Metrics": metrics}
                ],
            },
            SERVICE_DIMENSION: SERVICE_PREFIX + self.stack.config.env,
            Metric.SPEND_TODAY: [usd],
        }
        with self.log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        assert self.bridge.pump() == 1


@dataclass
class Inbox:
    """A queue subscribed to the alerts' topic."""

    stack: LocalStack
    url: str

    def new(self) -> list[tuple[str, str]]:
        """Step and state of every message since the last look, oldest first."""
        sqs, found = self.stack.emulator.client("sqs"), []
        while batch := sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages", []):
            found += [json.loads(json.loads(message["Body"])["Message"]) for message in batch]
            for message in batch:
                sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        return [(alert["AlarmName"].rsplit("-", 1)[-1], alert["NewStateValue"]) for alert in found]


@pytest.fixture
def inbox(stack: LocalStack) -> Iterator[Inbox]:
    sqs, sns = stack.emulator.client("sqs"), stack.emulator.client("sns")
    url = sqs.create_queue(QueueName="alarms-of-the-test")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    subscription = sns.subscribe(TopicArn=stack.outputs[Output.ALERTS_TOPIC], Protocol="sqs", Endpoint=arn)
    yield Inbox(stack, url)
    sns.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])
    sqs.delete_queue(QueueUrl=url)


def states(stack: LocalStack) -> dict[str, str]:
    """The states of the alarms on the day's spend, by step."""
    found: list[dict[str, Any]] = stack.emulator.client("cloudwatch").describe_alarms()["MetricAlarms"]
    alarms = [alarm for alarm in found if alarm["MetricName"] == Metric.SPEND_TODAY]
    return {alarm["AlarmName"].rsplit("-", 1)[-1]: alarm["StateValue"] for alarm in alarms}


def test_each_step_of_the_days_budget_rings_once_and_clears_with_the_first_value_after_midnight(
    stack: LocalStack, inbox: Inbox, tmp_path: Path
) -> None:
    """The budget is $50. The alarms look back a minute, so the day's last values are written as a minute old."""
    gauge = Gauge(stack, tmp_path / "function.log")
    gauge.shows(0.02)
    assert (states(stack), inbox.new()) == (dict.fromkeys(STEPS, "OK"), [])
    rung = []
    for usd, step in [
        (24.999999, None),
        (25, "Spend50"),
        (39.99, None),
        (40, "Spend80"),
        (49.99, None),
        (50, "Spend100"),
    ]:
        gauge.shows(usd, seconds_ago=55)
        expected = [] if step is None else [(step, "ALARM")]
        assert inbox.new() == expected, f"at ${usd}"
        rung += expected
    gauge.shows(50.01, seconds_ago=55)
    assert (states(stack), inbox.new()) == (STEPS, []), "a step that rings does not ring again"
    assert dict(rung) == STEPS

    def cleared() -> bool:
        gauge.shows(0.01)  # a new UTC day has begun
        return states(stack) == dict.fromkeys(STEPS, "OK")

    poll(cleared, "end of all three alarms", seconds=20)
    assert inbox.new() == [], "the end of an alarm wakes nobody"
    gauge.shows(25, seconds_ago=55)
    assert inbox.new() == [("Spend50", "ALARM")], "the next day's step rings anew"
    poll(cleared, "end of the alarm", seconds=20)  # other tests begin with quiet alarms
