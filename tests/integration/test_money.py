"""The ledger against the stand-in's meter, priced by genai-prices itself; counters, gauge, alarms, logs."""

import datetime as dt
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import anthropic
import pytest

from cost_router.contract import Metric, Output
from infra.local.deploy import apply_template
from infra.local.stack import LocalStack
from infra.operate.report import read_entries, totals
from tests.integration.meter import Meter, poll, price
from tests.integration.test_jobs import drop, job, wait_for

Unique = Callable[[str], str]
CANARY = "periwinkle-umbrella-7731"


def counter(stack: LocalStack, scope: str) -> dict[str, Decimal]:
    day = dt.datetime.now(dt.UTC).date().isoformat()
    item = stack.emulator.client("dynamodb").get_item(
        TableName=stack.description["tables"]["ledger"], Key={"pk": {"S": f"counters#{day}"}, "sk": {"S": scope}}
    )["Item"]
    return {name: Decimal(value["N"]) for name, value in item.items() if "N" in value}


def cached_ask(unique: Unique, ttl: str, words: int) -> dict[str, Any]:
    system = [
        {"type": "text", "text": unique("Facts.") + " fact" * words, "cache_control": {"type": "ephemeral", "ttl": ttl}}
    ]
    return {"max_tokens": 40, "system": system, "messages": [{"role": "user", "content": unique("Which fact?")}]}


def test_the_ledger_equals_the_meter_priced_by_genai_prices(
    stack: LocalStack,
    client: anthropic.Anthropic,
    meter: Meter,
    unique: Unique,
    group: str,
    demo_lines: list[dict[str, Any]],
    allowed_key: str,
) -> None:
    before = {entry["entry_id"] for entry in read_entries(stack.target, dt.datetime.now(dt.UTC).date())}
    for line in demo_lines:
        client.messages.create(model="auto", **line["params"])
    for ttl in ("5m", "1h"):  # cache writes, then reads
        body = cached_ask(unique, ttl, 8_000)
        for model in ("sonnet", "sonnet", "opus", "claude-sonnet-4-6"):
            client.with_options(api_key=allowed_key).messages.create(model=model, **body)
    long_prompt = {"role": "user", "content": unique("word " * 90_000)}  # above haiku's step of 100,000 tokens
    client.messages.create(model="haiku", max_tokens=50, messages=[long_prompt])  # type: ignore[list-item]
    meter.script(faults=[{"times": None, "model": "claude-opus-5-5", "status": 529}])
    client.messages.create(model="opus", max_tokens=9, messages=[{"role": "user", "content": unique("Hi")}])
    meter.script(faults=[{"times": 1, "purpose": "answer", "status": 500}])
    drop(stack, *(job(f"job-{number}", unique("[[label:simple]] Hi"), group=group) for number in range(2)))
    wait_for(stack, group, ["job-0", "job-1"])
    poll(lambda: len(new_entries(stack, before)) == len(meter.calls()), "entry for every metered call", 20)
    metered = {call["request_id"]: call for call in meter.calls()}
    booked = {entry["upstream_request_id"]: entry for entry in new_entries(stack, before)}
    assert booked.keys() == metered.keys()
    for request_id, call in metered.items():
        assert booked[request_id]["cost_usd"] == price(call), call
        assert booked[request_id]["model"] == call["model"]
        assert booked[request_id]["purpose"] == call["purpose"]
    assert any(entry["cache_creation_1h_input_tokens"] for entry in booked.values())
    assert any(entry["cache_read_input_tokens"] for entry in booked.values())


def new_entries(stack: LocalStack, before: set[str]) -> list[dict[str, Any]]:
    entries = read_entries(stack.target, dt.datetime.now(dt.UTC).date())
    return [entry for entry in entries if entry["entry_id"] not in before]


def test_a_call_that_was_paid_for_without_an_answer_is_booked_at_its_upper_bound(
    stack: LocalStack, client: anthropic.Anthropic, meter: Meter, unique: Unique
) -> None:
    before = {entry["entry_id"] for entry in read_entries(stack.target, dt.datetime.now(dt.UTC).date())}
    for kind in ("cut_after", "html", "no_usage"):
        meter.script(faults=[{"times": 1, "kind": kind}])
        raw = client.messages.with_raw_response.create(
            model="sonnet", max_tokens=20, messages=[{"role": "user", "content": unique("Hi")}]
        )
        assert raw.headers["x-router-tier"] == "sonnet", "the same tier is tried once more"
    entries = new_entries(stack, before)
    ambiguous = [entry for entry in entries if "ambiguous" in entry["flags"]]
    assert len(ambiguous) == 3
    assert len(entries) == len(meter.calls()) == 6
    dearest = max(price(call) for call in meter.calls())
    assert all(entry["cost_usd"] >= dearest for entry in ambiguous)


def test_counters_are_the_sum_of_the_entries_and_the_gauge_is_the_counter(
    stack: LocalStack, client: anthropic.Anthropic, meter: Meter, unique: Unique
) -> None:
    client.messages.create(model="haiku", max_tokens=9, messages=[{"role": "user", "content": unique("Hi")}])
    entries = read_entries(stack.target, dt.datetime.now(dt.UTC).date())
    total = totals(entries)
    account = counter(stack, "account")
    assert account["cost_usd"] == total.cost_usd
    assert account["baseline_usd"] == total.baseline_usd
    assert account["classifier_cost_usd"] == total.classifier_cost_usd
    assert account["calls"] == len(entries)
    by_tenant = sum(counter(stack, f"tenant#{name}")["cost_usd"] for name in {entry["tenant"] for entry in entries})
    assert by_tenant == total.cost_usd
    poll(lambda: gauge(stack) == round(float(total.cost_usd), 9), f"gauge at {total.cost_usd}")


def gauge(stack: LocalStack) -> float | None:
    """The latest maximum of the metric that the alarms watch."""
    now = dt.datetime.now(dt.UTC)
    points = stack.emulator.client("cloudwatch").get_metric_statistics(
        Namespace="ClaudeCostRouter",
        MetricName=Metric.SPEND_TODAY,
        Dimensions=[{"Name": "service", "Value": "cost-router-local"}],
        StartTime=now - dt.timedelta(hours=1),
        EndTime=now + dt.timedelta(minutes=1),
        Period=3600,
        Statistics=["Maximum"],
    )["Datapoints"]
    return max((round(point["Maximum"], 9) for point in points), default=None)


def test_a_budget_that_is_passed_rings_the_deployed_alarm_and_its_message_arrives(
    stack: LocalStack, client: anthropic.Anthropic, meter: Meter, unique: Unique
) -> None:
    inbox = subscribe(stack)
    client.messages.create(model="haiku", max_tokens=9, messages=[{"role": "user", "content": unique("Hi")}])
    template = stack.folder / "cdk.out" / "claude-cost-router-local.template.json"
    tiny = template.with_name("tiny.template.json")
    document = json.loads(template.read_text(encoding="utf-8"))
    spend = [
        resource["Properties"]
        for resource in document["Resources"].values()
        if resource["Properties"].get("MetricName") == Metric.SPEND_TODAY
    ]
    assert sorted(alarm["Threshold"] for alarm in spend) == [25, 40, 50]
    for alarm in spend:
        alarm["Threshold"] /= 50_000_000
    tiny.write_text(json.dumps(document), encoding="utf-8")
    apply_template(stack.emulator, "claude-cost-router-local", tiny)
    client.messages.create(model="haiku", max_tokens=9, messages=[{"role": "user", "content": unique("Hi")}])
    subjects: list[str] = []

    def three() -> bool:
        subjects.extend(inbox())
        return len(subjects) >= 3

    poll(three, "three alarm messages")
    assert all(subject.startswith("ALARM") for subject in subjects)
    assert len(subjects) == 3, "each step rings once"
    apply_template(stack.emulator, "claude-cost-router-local", template)


def subscribe(stack: LocalStack) -> Callable[[], list[str]]:
    sqs, sns = stack.emulator.client("sqs"), stack.emulator.client("sns")
    url = sqs.create_queue(QueueName="alarm-inbox")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=stack.outputs[Output.ALERTS_TOPIC], Protocol="sqs", Endpoint=arn)

    def receive() -> list[str]:
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        for message in messages:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return [json.loads(message["Body"])["Subject"] for message in messages]

    return receive


def test_no_prompt_and_no_answer_is_ever_in_a_log_line(
    stack: LocalStack, client: anthropic.Anthropic, meter: Meter, unique: Unique, group: str
) -> None:
    body = {"max_tokens": 60, "messages": [{"role": "user", "content": unique(CANARY)}]}
    client.messages.create(model="auto", **body)  # type: ignore[call-overload]
    meter.script(faults=[{"times": 4, "status": 400, "message": f"about {CANARY}"}])
    for _ in range(2):
        with pytest.raises(anthropic.BadRequestError, match=CANARY):  # Claude's own error goes back to its caller only
            client.messages.create(model="sonnet", **body)  # type: ignore[call-overload]
    meter.reset()
    drop(stack, job("canary", unique(CANARY), group=group))
    wait_for(stack, group, ["canary"])
    poll(lambda: any(f'"job":"{group}/canary"' in line for line in stack.bridge.lines), "the job's log line")
    assert not [line for line in stack.bridge.lines if CANARY in line or "stand-in answer" in line]


def test_the_log_line_of_a_request_has_the_figures(
    stack: LocalStack, client: anthropic.Anthropic, meter: Meter, unique: Unique
) -> None:
    raw = client.messages.with_raw_response.create(
        model="auto",
        max_tokens=20,
        messages=[{"role": "user", "content": unique("[[label:simple]] Hi")}],
        extra_headers={"x-router-tags": "service=search"},
    )
    request_id = raw.headers["x-router-request-id"]

    def found() -> dict[str, Any] | None:
        lines = [line for line in stack.bridge.lines if request_id in line and '"message":"request"' in line]
        return json.loads(lines[0]) if lines else None

    line = poll(found, "the request's log line")
    assert (line["model_used"], line["complexity_label"], line["cause"]) == ("claude-haiku-5-5", "simple", "classifier")
    assert (line["tenant"], line["tags"]) == ("demo", {"service": "search"})
    assert Decimal(line["cost_usd"]) == Decimal(raw.headers["x-router-cost-usd"])
    usage = raw.parse().usage
    assert (line["input_tokens"], line["output_tokens"]) == (usage.input_tokens, usage.output_tokens)
