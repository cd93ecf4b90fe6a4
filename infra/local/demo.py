"""`make demo`: the whole road on one machine, with the template that is deployed to AWS.

Claude's answers are simulated unless `ANTHROPIC_API_KEY` is set; AWS is always emulated. Both are said.
"""

import datetime as dt
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import anthropic
import httpx2
from rich.console import Console
from rich.table import Table

from cost_router.contract import NAMESPACE, SERVICE_DIMENSION, SERVICE_PREFIX, Metric, Output
from cost_router.core.ledger import CLASSIFIER
from infra.local.deploy import deploy
from infra.local.stack import ROOT, LocalStack, running_stack
from infra.operate.reconcile import Asked as Bill
from infra.operate.reconcile import reconcile
from infra.operate.report import read_entries, tokens, totals
from infra.operate.show import cost_report, usd

SPEND_STEPS: Final = (50, 80, 100)  # percent of the budget, as the stack has them
REQUESTS: Final = ROOT / "events" / "demo.jsonl"
FIRST_BUDGET: Final = Decimal(50)
WAIT_SECONDS: Final = 90.0


class DemoFailed(RuntimeError):
    """A step did not show what it has to show."""


@dataclass(frozen=True, slots=True)
class Demo:
    """The steps, over a running stack."""

    stack: LocalStack
    console: Console
    lines: tuple[Mapping[str, Any], ...]
    day: dt.date
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))  # by model, of step 1 and 2

    def run(self) -> None:
        """All steps in order; raises `DemoFailed`."""
        first = self.send_all('1. Eight requests, model="auto", through the deployed API with the anthropic client')
        second = self.send_all(
            "2. The same again to another process (uvicorn): labels come from the DynamoDB cache", "streaming_url"
        )
        self.expect(tokens(second, CLASSIFIER) == 0, "the second pass paid no classifier tokens")
        self.console.print(
            f"   classifier tokens: first pass {tokens(first, CLASSIFIER)}, second pass {tokens(second, CLASSIFIER)}"
        )
        self.jobs()
        self.alarm()
        self.console.rule("5. What it cost")
        entries = read_entries(self.stack.target, self.day)
        latency = {model: f"{statistics.median(found) * 1000:.0f} ms" for model, found in self.seconds.items()}
        cost_report(self.console, entries, "model", latency)
        total = totals(entries)
        self.console.print(
            f"{total.requests} requests for {usd(total.cost_usd)} instead of {usd(total.baseline_usd)} all on opus: "
            f"[bold]saved {usd(total.saved_usd)}[/bold]. {self._who_answered()}"
        )
        if self.stack.upstream.simulated:
            self.compare()

    def compare(self) -> None:
        """The ledger against the stand-in's own bill; raises `DemoFailed` when they differ."""
        self.console.rule("6. The ledger against the provider's bill (the stand-in's, priced by genai-prices)")
        made = reconcile(self.stack.target, Bill(self.day.isoformat()), dt.datetime.now(dt.UTC))
        self.expect(made.agrees, "the ledger agrees with the bill")
        for line in made.drift.lines:
            billed = "unknown" if line.billed_usd is None else usd(line.billed_usd)
            self.console.print(f"   {line.model:<18} ledger {usd(line.booked_usd)}   bill {billed}")
        self.console.print(f"   unexplained drift: {usd(made.drift.drift_usd)}")

    def send_all(self, title: str, entrance: str = "base_url") -> list[dict[str, Any]]:
        """Send the eight requests over HTTP and print a line for each; gives the ledger entries they made."""
        self.console.rule(title)
        before = {entry["entry_id"] for entry in read_entries(self.stack.target, self.day)}
        description = self.stack.description
        client = anthropic.Anthropic(base_url=description[entrance], api_key=description["gateway_key"])
        table = Table()
        for name in ("request", "label", "cause", "model", "cost", "latency"):
            table.add_column(name, justify="right" if name in {"cost", "latency"} else "left", no_wrap=True)
        for line in self.lines:
            began = time.perf_counter()
            raw = client.messages.with_raw_response.create(model="auto", **line["params"])
            seconds = time.perf_counter() - began
            headers = raw.headers
            self.seconds[headers["x-router-model"]].append(seconds)
            table.add_row(
                line["custom_id"],
                headers["x-router-label"],
                headers["x-router-cause"],
                headers["x-router-model"],
                usd(Decimal(headers["x-router-cost-usd"])),
                f"{seconds * 1000:.0f} ms",
            )
        self.console.print(table)
        return [entry for entry in read_entries(self.stack.target, self.day) if entry["entry_id"] not in before]

    def jobs(self) -> None:
        """Drop the eight as jobs while Claude is rate limiting, and collect every result."""
        self.console.rule("3. The same eight as jobs on the queue, while Claude is rate limiting")
        target, group = self.stack.target, "demo"
        if self.stack.upstream.simulated:
            self._script({"limits": {"rpm": 60, "burst_seconds": 1}})  # one call a second, no burst
        sqs, s3 = target.client("sqs"), target.client("s3")
        began = time.monotonic()
        for line in self.lines:
            job = {**line, "router": {"tenant": "demo", "group": group, "tags": {"source": "queue"}}}
            sqs.send_message(QueueUrl=target.queue_url, MessageBody=json.dumps(job))
        prefix = f"results/{group}/"

        def all_there() -> bool:
            listing = s3.list_objects_v2(Bucket=target.results_bucket, Prefix=prefix)
            return len(listing.get("Contents", ())) >= len(self.lines)

        with self.console.status("waiting for eight results in the bucket"):
            self.wait(all_there, "eight results in the bucket")
        for line in self.lines:
            body = s3.get_object(Bucket=target.results_bucket, Key=f"{prefix}{line['custom_id']}.json")["Body"].read()
            result = json.loads(body)
            self.expect(result["result"]["type"] == "succeeded", f"job {line['custom_id']} succeeded")
            router = result["router"]
            self.console.print(f"   {line['custom_id']:<22} {router['model']:<20} ${router['cost_usd']}")
        seconds = time.monotonic() - began
        limited = "the account's own limits were not met"
        if self.stack.upstream.simulated:
            self._script({"limits": None})
            self.wait(lambda: self._rate_limits() > 0, "the metric of rate limits")
            limited = f"Claude answered 429 {self._rate_limits()} times meanwhile"
        self.console.print(f"   8 of 8 delivered in {seconds:.1f} s; {limited}")

    def alarm(self) -> None:
        """Set a tiny daily budget and show a refusal, the alarm and its message."""
        self.console.rule("4. A tiny daily budget refuses the next request and rings the CloudWatch alarm")
        spent = totals(read_entries(self.stack.target, self.day)).cost_usd
        budget = max(spent / 2, Decimal("0.000001")).quantize(Decimal("0.000001"))
        config = replace(self.stack.config, daily_budget_usd=budget)
        inbox = self._subscribe()
        deploy(self.stack.emulator, config, self.stack.folder / "cdk.out-budget")
        self.console.print(f"   daily budget set to ${budget} by a stack update; spent today: {usd(spent)}")
        self.console.print(f"   the next request: {self._refused()}")
        cloudwatch = self.stack.target.client("cloudwatch")

        def ringing() -> list[str]:
            alarms = cloudwatch.describe_alarms(StateValue="ALARM")["MetricAlarms"]
            return sorted(alarm["AlarmName"] for alarm in alarms if alarm["MetricName"] == "SpendTodayUSD")

        self.wait(lambda: len(ringing()) == len(SPEND_STEPS), "three spend alarms in ALARM")
        for name in ringing():
            self.console.print(f"   [red]ALARM[/red] {name}")
        subjects: list[str] = []

        def arrived() -> bool:
            subjects.extend(_subjects(inbox))
            return len(subjects) >= 1

        self.wait(arrived, "the SNS message")
        self.console.print(f"   SNS message arrived: {subjects[0]}")

    def wait(self, ready: Callable[[], bool], what: str) -> None:
        """Poll until `ready`; raises `DemoFailed` when the time is up."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not ready():
            self.stack.bridge.check()
            self.expect(time.monotonic() < deadline, f"{what} within {WAIT_SECONDS:.0f} s")
            time.sleep(0.1)  # a poll bounded by the deadline

    def expect(self, held: bool, what: str) -> None:  # noqa: FBT001  a statement and its name
        """Raise `DemoFailed` unless it held."""
        if not held:
            raise DemoFailed(f"expected: {what}; the logs are in {self.stack.folder}")

    def _refused(self) -> str:
        """Send one request more; the refusal, in the router's words."""
        description = self.stack.description
        client = anthropic.Anthropic(base_url=description["base_url"], api_key=description["gateway_key"])
        try:
            client.messages.create(model="auto", **self.lines[0]["params"])
        except anthropic.RateLimitError as error:
            return f"429 {error.api_message}"
        raise DemoFailed("expected: a request over the budget is refused; it was answered")

    def _subscribe(self) -> Callable[[], list[dict[str, Any]]]:
        """An inbox for the alerts' topic."""
        sqs, sns = self.stack.target.client("sqs"), self.stack.target.client("sns")
        url = sqs.create_queue(QueueName="demo-alert-inbox")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        sns.subscribe(TopicArn=self.stack.outputs[Output.ALERTS_TOPIC], Protocol="sqs", Endpoint=arn)

        def receive() -> list[dict[str, Any]]:
            messages: list[dict[str, Any]] = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get(
                "Messages", []
            )
            return messages

        return receive

    def _rate_limits(self) -> int:
        """How many 429s and 529s the functions counted in CloudWatch."""
        now = dt.datetime.now(dt.UTC)
        points = self.stack.target.client("cloudwatch").get_metric_statistics(
            Namespace=NAMESPACE,
            MetricName=Metric.RATE_LIMITS,
            Dimensions=[{"Name": SERVICE_DIMENSION, "Value": SERVICE_PREFIX + self.stack.config.env}],
            StartTime=now - dt.timedelta(hours=1),
            EndTime=now + dt.timedelta(minutes=1),
            Period=3600,
            Statistics=["Sum"],
        )["Datapoints"]
        return int(sum(point["Sum"] for point in points))

    def _script(self, script: Mapping[str, Any]) -> None:
        httpx2.post(f"{self.stack.upstream.meter_url}/_script", json=script).raise_for_status()

    def _who_answered(self) -> str:
        if self.stack.upstream.simulated:
            return "Claude's answers came from the stand-in: simulated; prices are real."
        return "Claude's answers came from the real API."


def _subjects(inbox: Callable[[], list[dict[str, Any]]]) -> list[str]:
    return [json.loads(message["Body"]).get("Subject", "(no subject)") for message in inbox()]


def run_demo(console: Console, folder: Path) -> None:
    """Start a stack, show everything, end it."""
    lines = tuple(json.loads(line) for line in REQUESTS.read_text(encoding="utf-8").splitlines())
    began = time.monotonic()
    console.print("Deploying the CDK template into MiniStack (AWS emulated on loopback) ...")
    with running_stack(folder, daily_budget_usd=FIRST_BUDGET) as stack:
        claude = "the stand-in (simulated answers)" if stack.upstream.simulated else "the real Claude API"
        console.print(
            f"Deployed in {time.monotonic() - began:.0f} s. Claude is {claude} at {stack.description['upstream_url']}."
        )
        Demo(stack, console, lines, dt.datetime.now(dt.UTC).date()).run()
    console.print(f"Done in {time.monotonic() - began:.0f} s; everything it started has been stopped.")
