"""The deployed collector: what a killed process leaves, alerts by tenant, gauges, the export, the bill."""

import contextlib
import datetime as dt
import gzip
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cost_router.contract import NAMESPACE, Metric, Output, Task
from infra.local.processes import Children
from infra.local.stack import LocalStack, start_uvicorn
from infra.operate.keys import Policy, create
from infra.operate.report import read_entries
from tests.integration.meter import Meter, poll
from tests.integration.test_money import counter

EVENTS = Path(__file__).parents[2] / "events" / "collector"
Unique = Callable[[str], str]


def today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()


def collect(stack: LocalStack, task: str, **more: str) -> None:
    """Call the deployed function as its schedule does."""
    reply = stack.emulator.client("lambda").invoke(
        FunctionName=stack.outputs[Output.COLLECTOR_FUNCTION], Payload=json.dumps({"task": task, **more})
    )
    assert "FunctionError" not in reply, reply["Payload"].read()


def reservations(stack: LocalStack) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stack.emulator.client("dynamodb").query(
        TableName=stack.description["tables"]["ledger"],
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": "reservations"}},
    )["Items"]
    return found


def end_lease(stack: LocalStack, item: dict[str, Any]) -> None:
    """Make the reservation as old as it is when its time is up."""
    stack.emulator.client("dynamodb").update_item(
        TableName=stack.description["tables"]["ledger"],
        Key={"pk": item["pk"], "sk": item["sk"]},
        UpdateExpression="SET #until = :past",
        ExpressionAttributeNames={"#until": "until"},
        ExpressionAttributeValues={":past": {"S": "2026-01-01T00:00:00.000+00:00"}},
    )


@pytest.fixture
def inbox(stack: LocalStack, group: str) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What arrives on a queue that is subscribed to the alerts' topic."""
    sqs, sns = stack.emulator.client("sqs"), stack.emulator.client("sns")
    url = sqs.create_queue(QueueName=f"inbox-{group}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    subscription = sns.subscribe(TopicArn=stack.outputs[Output.ALERTS_TOPIC], Protocol="sqs", Endpoint=arn)
    found: list[dict[str, Any]] = []

    def receive() -> list[dict[str, Any]]:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            found.append(json.loads(message["Body"]))
        return found

    yield receive
    sns.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])


def test_what_a_killed_process_was_paying_for_is_booked_by_the_sweep_and_nothing_stays_put_aside(
    stack: LocalStack, meter: Meter, unique: Unique, group: str, tmp_path: Path
) -> None:
    tenant = f"killed-{group}"
    key = create(stack.target, tenant, Policy(daily_budget_usd=Decimal(1)), dt.datetime.now(dt.UTC))
    meter.script(latency=30)
    children = Children(tmp_path)
    try:
        _, url = start_uvicorn(children, stack.emulator, stack.outputs)
        body = {"model": "sonnet", "max_tokens": 50, "messages": [{"role": "user", "content": unique("Hi")}]}

        def ask() -> None:
            with contextlib.suppress(httpx2.HTTPError):  # its server is killed
                httpx2.post(f"{url}/v1/messages", json=body, headers={"x-api-key": key}, timeout=60)

        asking = threading.Thread(target=ask)
        asking.start()
        poll(meter.calls, "call at the stand-in")
        os.killpg(children._children[0].process.pid, signal.SIGKILL)
        asking.join()
    finally:
        children.end()
    (lost,) = [item for item in reservations(stack) if item["if_lost"]["M"]["tenant"]["S"] == tenant]
    collect(stack, Task.MINUTE)
    assert lost in reservations(stack), "its time is not up"
    end_lease(stack, lost)
    collect(stack, Task.MINUTE)
    collect(stack, Task.MINUTE)
    assert lost["sk"] not in [item["sk"] for item in reservations(stack)]
    (entry,) = [entry for entry in read_entries(stack.target, today()) if entry["tenant"] == tenant]
    assert (entry["flags"], entry["model"], entry["asked"]) == (["ambiguous", "swept"], "claude-sonnet-5-5", "sonnet")
    assert entry["cost_usd"] == Decimal(lost["amount_usd"]["N"]) > 0
    found = counter(stack, f"tenant#{tenant}")
    assert found["cost_usd"] == found["committed_usd"] == entry["cost_usd"]


def test_a_tenant_that_reaches_steps_of_its_budget_is_told_by_name_once_each(
    stack: LocalStack, meter: Meter, unique: Unique, group: str, inbox: Callable[[], list[dict[str, Any]]]
) -> None:
    tenant = f"spender-{group}"
    key = create(stack.target, tenant, Policy(), dt.datetime.now(dt.UTC))
    url = stack.description["streaming_url"]
    body = {"model": "haiku", "max_tokens": 50, "messages": [{"role": "user", "content": unique("Hi")}]}
    assert httpx2.post(f"{url}/v1/messages", json=body, headers={"x-api-key": key}).status_code == 200
    spent = counter(stack, f"tenant#{tenant}")["cost_usd"]
    budget = (spent * 100 / 85).quantize(Decimal("0.000001"))  # it stands at 85 % now
    create(stack.target, tenant, Policy(daily_budget_usd=budget), dt.datetime.now(dt.UTC))
    for _ in range(2):
        collect(stack, Task.MINUTE)
    named = poll(lambda: [found for found in inbox() if tenant in found["Subject"]][1:] and inbox(), "two alerts")
    mine = [found for found in named if tenant in found["Subject"]]
    assert sorted(found["Subject"] for found in mine) == [
        f"claude-cost-router-local: tenant {tenant} has reached {step} % of its daily budget" for step in (50, 80)
    ]
    assert all(f"of ${budget.normalize():f} are spent in {today()} (UTC)" in found["Message"] for found in mine)


def datapoints(stack: LocalStack, name: str) -> list[float]:
    """The metric's values of the last half hour, oldest first."""
    now = dt.datetime.now(dt.UTC)
    found = stack.emulator.client("cloudwatch").get_metric_statistics(
        Namespace=NAMESPACE,
        MetricName=name,
        Dimensions=[{"Name": "service", "Value": "cost-router-local"}],
        StartTime=now - dt.timedelta(minutes=30),
        EndTime=now + dt.timedelta(minutes=1),
        Period=60,
        Statistics=["Maximum"],
    )
    return [row["Maximum"] for row in sorted(found["Datapoints"], key=lambda row: row["Timestamp"])]


def test_the_gauges_are_the_counters(stack: LocalStack, meter: Meter, unique: Unique) -> None:
    body = {"model": "haiku", "max_tokens": 50, "messages": [{"role": "user", "content": unique("Hi")}]}
    headers = {"x-api-key": stack.description["gateway_key"]}
    httpx2.post(f"{stack.description['streaming_url']}/v1/messages", json=body, headers=headers).raise_for_status()

    def shown() -> bool:
        """Whether both gauges show both counters, between two equal looks at these: jobs may still be booked."""
        before = counters(stack)
        collect(stack, Task.MINUTE)
        gauges = [datapoints(stack, name) for name in (Metric.SPEND_TODAY, Metric.SPEND_THIS_MONTH)]
        return counters(stack) == before and all(usd in gauge for usd, gauge in zip(before, gauges, strict=True))

    poll(shown, "gauges that show the counters")


def counters(stack: LocalStack) -> list[float]:
    """What the account's day and month have cost; CloudWatch has doubles."""
    found = []
    for span in (today().isoformat(), f"{today():%Y-%m}"):
        key = {"pk": {"S": f"counters#{span}"}, "sk": {"S": "account"}}
        table = stack.description["tables"]["ledger"]
        item = stack.emulator.client("dynamodb").get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]
        found.append(float(item["cost_usd"]["N"]))
    return found


def test_the_export_has_every_entry_of_the_day_once_as_json_lines(
    stack: LocalStack, meter: Meter, unique: Unique
) -> None:
    body = {"model": "auto", "max_tokens": 50, "messages": [{"role": "user", "content": unique("Hi")}]}
    headers = {"x-api-key": stack.description["gateway_key"], "x-router-tags": "customer=globex"}
    httpx2.post(f"{stack.description['streaming_url']}/v1/messages", json=body, headers=headers).raise_for_status()
    entries = {entry["entry_id"]: entry for entry in read_entries(stack.target, today())}
    for _ in range(2):  # written anew, not added to
        collect(stack, Task.HOUR)
    found = stack.emulator.client("s3").get_object(
        Bucket=stack.description["results_bucket"], Key=f"ledger/day={today()}/entries.jsonl.gz"
    )
    lines = [json.loads(line) for line in gzip.decompress(found["Body"].read()).splitlines()]
    assert sorted(line["entry_id"] for line in lines) == sorted(entries)
    for line in lines:
        entry = entries[line["entry_id"]]
        assert Decimal(line["cost_usd"]) == entry["cost_usd"]
        assert (line["model"], line["tags"], line["input_tokens"]) == (
            entry["model"],
            entry["tags"],
            entry["input_tokens"],
        )
        assert {"pk", "sk"}.isdisjoint(line)


def test_a_day_that_differs_from_the_bill_is_told_and_rings(stack: LocalStack, meter: Meter) -> None:
    yesterday = today() - dt.timedelta(days=1)
    client, table = stack.emulator.client("dynamodb"), stack.description["tables"]["ledger"]
    collect(stack, Task.DAY)
    poll(lambda: datapoints(stack, Metric.LEDGER_DRIFT) == [0.0], "drift of nothing")
    made_up = {
        "pk": {"S": f"entries#{yesterday}"},
        "sk": {"S": "made-up"},
        "model": {"S": "claude-haiku-5-5"},
        "processing": {"S": "realtime"},
        "flags": {"L": []},
        "cost_usd": {"N": "0.25"},
        **{name: {"N": "0"} for name in ("input_tokens", "output_tokens", "cache_read_input_tokens")},
        **{f"cache_creation_{ttl}_input_tokens": {"N": "0"} for ttl in ("5m", "1h")},
    }
    client.put_item(TableName=table, Item=made_up)
    try:
        collect(stack, Task.DAY, day=yesterday.isoformat())
        poll(lambda: 0.25 in datapoints(stack, Metric.LEDGER_DRIFT), "drift of $0.25")
    finally:
        client.delete_item(TableName=table, Key={"pk": made_up["pk"], "sk": made_up["sk"]})
    alarm = "claude-cost-router-local-LedgerDrift"

    def state() -> str:
        (found,) = stack.emulator.client("cloudwatch").describe_alarms(AlarmNames=[alarm])["MetricAlarms"]
        return str(found["StateValue"])

    poll(lambda: state() == "ALARM", f"alarm {alarm}")


def test_an_unknown_task_fails_the_function_by_its_value(stack: LocalStack) -> None:
    reply = stack.emulator.client("lambda").invoke(
        FunctionName=stack.outputs[Output.COLLECTOR_FUNCTION], Payload=json.dumps({"task": "decade"})
    )
    assert "FunctionError" in reply
    assert "task 'decade'; accepted: minute, batches, hour, day" in reply["Payload"].read().decode()


@pytest.mark.parametrize("file", sorted(EVENTS.glob("*.json")), ids=lambda file: file.stem)
def test_the_example_events_are_taken_by_the_deployed_function(stack: LocalStack, meter: Meter, file: Path) -> None:
    reply = stack.emulator.client("lambda").invoke(
        FunctionName=stack.outputs[Output.COLLECTOR_FUNCTION], Payload=file.read_bytes()
    )
    assert "FunctionError" not in reply, reply["Payload"].read()
