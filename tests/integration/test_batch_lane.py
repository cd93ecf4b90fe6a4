"""Jobs of the batch lane through the deployed stack: the queue, both functions, Message Batches of the stand-in."""

import datetime as dt
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from cost_router.contract import Output
from infra.local.stack import FUNCTIONS, LocalStack
from infra.operate.report import read_entries, totals
from tests.integration.meter import Meter, poll, price
from tests.integration.test_jobs import drop, job, results, waiting
from tests.integration.test_money import counter

Unique = Callable[[str], str]
Result = dict[str, Any]
KILLED = """
import asyncio, os
from cost_router.adapters.aws import Aws
from cost_router.adapters.results import S3Results
from cost_router.handlers import wiring_bulk
from cost_router.handlers.settings import CollectorSettings, Settings

async def put(*_):
    os._exit(9)

S3Results.put = put
settings, collecting = Settings.read(os.environ), CollectorSettings.read(os.environ)
asyncio.run(wiring_bulk.batch_rounds(settings, collecting, Aws()).every_minute())
"""


def lane_job(custom_id: str, text: str, group: str, **router: Any) -> dict[str, Any]:
    return job(custom_id, text, group=group, lane="batch", **router)


def round_of(stack: LocalStack) -> None:
    """One round of the collector, whatever its schedule says."""
    reply = stack.emulator.client("lambda").invoke(
        FunctionName=stack.outputs[Output.COLLECTOR_FUNCTION], Payload=b'{"task": "batches"}'
    )
    assert "FunctionError" not in reply, reply["Payload"].read()


def indexed(stack: LocalStack, batch: str) -> list[dict[str, Any]]:
    """Lines that are parked or in a batch, or the open batches."""
    items: list[dict[str, Any]] = stack.emulator.client("dynamodb").query(
        TableName=stack.description["tables"]["jobs"],
        IndexName="by_batch",
        KeyConditionExpression="#batch = :batch",
        ExpressionAttributeNames={"#batch": "batch"},
        ExpressionAttributeValues={":batch": {"S": batch}},
    )["Items"]
    return items


def park(stack: LocalStack, jobs: Sequence[dict[str, Any]]) -> None:
    """Drop jobs and wait until all are parked, or in a batch already: the collector's schedule may be faster."""
    drop(stack, *jobs)
    poll(lambda: waiting(stack, "queue_url") == 0, "empty queue")


def deliver(stack: LocalStack, group: str, count: int) -> dict[str, Result]:
    """Rounds until all results of a group are there."""

    def ready() -> dict[str, Result] | None:
        found = results(stack, group)
        return found if len(found) >= count else None

    found: dict[str, Result] = rounds_until(stack, ready, f"{count} results of {group}")
    return found


def rounds_until(stack: LocalStack, ready: Callable[[], Any], what: str) -> Any:
    """The first truthy value of `ready` after a round."""

    def after_a_round() -> Any:
        round_of(stack)
        return ready()

    return poll(after_a_round, what)


def today(stack: LocalStack) -> list[dict[str, Any]]:
    return read_entries(stack.target, dt.datetime.now(dt.UTC).date())


def lines_of(stack: LocalStack, found: dict[str, Result]) -> dict[str, dict[str, Any]]:
    """The entries of succeeded lines, by the id of their message."""
    ids = {row["result"]["message"]["id"] for row in found.values() if row["result"]["type"] == "succeeded"}
    return {row["upstream_request_id"]: row for row in today(stack) if row.get("upstream_request_id") in ids}


def reservations(stack: LocalStack) -> list[str]:
    """The ids of what is put aside for batch lines."""
    items = stack.emulator.client("dynamodb").query(
        TableName=stack.description["tables"]["ledger"],
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": "reservations"}},
    )["Items"]
    return [item["sk"]["S"] for item in items if "#line" in item["sk"]["S"]]


def mixed(unique: Unique, group: str) -> list[dict[str, Any]]:
    """Thirty jobs: three labels, two tenants, cached prompts, a prompt above haiku's price step."""
    labels = ("simple", "moderate", "complex")
    jobs = [lane_job(f"job-{n}", unique(f"[[label:{labels[n % 3]}]] Hi"), group) for n in range(24)]
    facts = {"type": "text", "text": unique("Facts.") + " fact" * 8_000}
    for number, ttl in enumerate(("5m", "5m", "1h", "1h")):
        cached = lane_job(f"cached-{number}", unique("Which fact?"), group)
        system = [{**facts, "text": f"{ttl} {facts['text']}", "cache_control": {"type": "ephemeral", "ttl": ttl}}]
        cached["params"] |= {"model": "sonnet", "system": system}
        cached["router"]["tenant"] = "allowed"
        jobs.append(cached)
    long = lane_job("long", unique("word " * 90_000), group)
    long["params"]["model"] = "haiku"
    ownerless = lane_job("ownerless", unique("[[label:simple]] Hi"), group)
    ownerless["router"].pop("tenant")
    return [*jobs, long, ownerless]


def test_thirty_jobs_come_back_at_half_price_and_the_ledger_equals_the_meter(
    stack: LocalStack, meter: Meter, unique: Unique, group: str, allowed_key: str
) -> None:
    park(stack, mixed(unique, group))
    found = deliver(stack, group, 30)
    assert {row["result"]["type"] for row in found.values()} == {"succeeded"}
    assert {row["router"]["lane"] for row in found.values()} == {"batch"}
    models = Counter(row["router"]["model"] for row in found.values())
    assert models == {"claude-haiku-5-5": 10, "claude-sonnet-5-5": 12, "claude-opus-5-5": 8}
    metered = {call["request_id"]: call for call in meter.calls() if call["processing"] == "batch"}
    booked = lines_of(stack, found)
    assert booked.keys() == metered.keys()
    for id_, call in metered.items():
        assert booked[id_]["cost_usd"] == price(call), call
        assert price(call) == price({**call, "processing": "realtime"}) / 2, "all of it at half price"
        assert (booked[id_]["processing"], booked[id_]["purpose"]) == ("batch", "answer")
    assert any(entry["cache_creation_1h_input_tokens"] for entry in booked.values())
    assert any(entry["cache_read_input_tokens"] for entry in booked.values())
    assert max(entry["input_tokens"] for entry in booked.values()) > 100_000
    assert {entry["tenant"] for entry in booked.values()} == {"demo", "default", "allowed"}
    for row in found.values():
        router, entry = row["router"], booked[row["result"]["message"]["id"]]
        assert Decimal(router["cost_usd"]) == entry["cost_usd"] + Decimal(router["classifier_cost_usd"])
    whole, account = totals(today(stack)), counter(stack, "account")
    assert (account["cost_usd"], account["baseline_usd"]) == (whole.cost_usd, whole.baseline_usd)
    assert account["committed_usd"] == whole.cost_usd
    rounds_until(stack, lambda: not indexed(stack, "open"), "closed batches")
    assert (reservations(stack), indexed(stack, "parked")) == ([], [])
    objects = stack.emulator.client("s3").list_objects_v2(Bucket=stack.description["results_bucket"], Prefix="batches/")
    assert objects.get("KeyCount", 0) == 0, "bodies are forgotten with their results"


def test_a_batch_whose_reply_was_lost_is_not_submitted_again(
    stack: LocalStack, meter: Meter, unique: Unique, group: str
) -> None:
    meter.script(batch_faults=[{"on": "create", "kind": "cut_after"}, {"on": "retrieve", "status": 404}])
    park(stack, [lane_job(f"job-{n}", unique("[[label:simple]] Hi"), group) for n in range(5)])
    found = deliver(stack, group, 5)
    assert {row["result"]["type"] for row in found.values()} == {"succeeded"}
    lines = [call for call in meter.calls("answer") if call["processing"] == "batch"]
    assert len({call["batch_id"] for call in lines}) == 1
    assert len({call["custom_id"] for call in lines}) == len(lines) == 5
    assert len(lines_of(stack, found)) == 5


def test_a_collector_killed_between_settling_and_delivering_delivers_later_and_books_once(
    stack: LocalStack, meter: Meter, unique: Unique, group: str
) -> None:
    meter.script(batch_seconds=3_600)
    park(stack, [lane_job(f"job-{n}", unique("[[label:simple]] Hi"), group) for n in range(4)])
    rounds_until(stack, lambda: not indexed(stack, "parked"), "packed lines")
    (batch,) = poll(lambda: [row for row in indexed(stack, "open") if "upstream_id" in row], "batch")
    meter.script(batch_seconds=0)
    before = len(today(stack))
    function = stack.outputs[Output.COLLECTOR_FUNCTION]
    variables = stack.emulator.client("lambda").get_function_configuration(FunctionName=function)["Environment"]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "ANTHROPIC_"))}
    env |= variables["Variables"] | stack.emulator.environment() | {"PYTHONPATH": str(FUNCTIONS)}
    killed = subprocess.run([sys.executable, "-c", KILLED], env=env, capture_output=True, text=True, timeout=60)
    assert killed.returncode == 9, killed.stderr
    assert len(today(stack)) == before + 4, "all are settled"
    assert results(stack, group) == {}
    stack.emulator.client("dynamodb").update_item(  # as if the lease of the dead had ended
        TableName=stack.description["tables"]["jobs"],
        Key={"job": batch["job"]},
        UpdateExpression="SET lease = :past",
        ExpressionAttributeValues={":past": {"S": "2020-01-01T00:00:00+00:00"}},
    )
    found = deliver(stack, group, 4)
    assert len(lines_of(stack, found)) == 4
    assert len(today(stack)) == before + 4
    assert reservations(stack) == []


def test_lines_that_err_expire_or_are_refused_end_as_they_should(
    stack: LocalStack, meter: Meter, unique: Unique, group: str
) -> None:
    faults = [
        {"model": "claude-haiku-5-5", "result": "errored", "type": "overloaded_error"},  # then it is served
        {"model": "claude-sonnet-5-5", "result": "expired", "times": 2},  # for good, the second time
        {"model": "claude-opus-5-5", "result": "canceled"},
    ]
    meter.script(line_faults=faults)
    jobs = [lane_job(name, unique("Hi"), group) for name in ("haiku", "sonnet", "opus")]
    for named in jobs:
        named["params"]["model"] = named["custom_id"]
    refused = lane_job("refused", unique("Hi"), group)
    refused["params"] |= {"model": "haiku", "no_such_field": 1}
    park(stack, [*jobs, refused])
    found = deliver(stack, group, 4)
    kinds = {name: row["result"]["type"] for name, row in found.items()}
    assert kinds == {"haiku": "succeeded", "sonnet": "expired", "opus": "canceled", "refused": "errored"}
    assert "no_such_field" in json.dumps(found["refused"]["result"]["error"])
    assert [row["router"]["cost_usd"] for name, row in found.items() if name != "haiku"] == ["0"] * 3
    assert len([call for call in meter.calls() if call["processing"] == "batch"]) == 1
    assert len(lines_of(stack, found)) == 1
    assert reservations(stack) == []


def test_a_finished_job_that_comes_again_costs_nothing(
    stack: LocalStack, meter: Meter, unique: Unique, group: str
) -> None:
    body = lane_job("again", unique("[[label:simple]] Hi"), group)
    park(stack, [body, body])
    first = deliver(stack, group, 1)
    park(stack, [body])
    round_of(stack)
    round_of(stack)
    assert results(stack, group) == first
    assert len(meter.calls("answer")) == 1
