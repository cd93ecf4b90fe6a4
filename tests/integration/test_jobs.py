"""Jobs dropped on the real queue, drained by the deployed batch function, delivered to the bucket."""

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from infra.local.emulator import ACCOUNT
from infra.local.stack import LocalStack
from infra.operate.keys import Policy, create
from tests.integration.meter import Meter, poll

EVENTS = Path(__file__).parents[2] / "events" / "sqs"
Unique = Callable[[str], str]


def job(custom_id: str, text: str, **router: Any) -> dict[str, Any]:
    params = {"max_tokens": 32, "messages": [{"role": "user", "content": text}]}
    return {"custom_id": custom_id, "params": params, "router": {"tenant": "demo", **router}}


def drop(stack: LocalStack, *bodies: str | Mapping[str, Any]) -> None:
    sqs = stack.emulator.client("sqs")
    for body in bodies:
        text = body if isinstance(body, str) else json.dumps(body)
        sqs.send_message(QueueUrl=stack.description["queue_url"], MessageBody=text)


def results(stack: LocalStack, group: str) -> dict[str, dict[str, Any]]:
    s3, bucket = stack.emulator.client("s3"), stack.description["results_bucket"]
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket=bucket, Prefix=f"results/{group}/").get("Contents", ())]
    found = [json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read()) for key in keys]
    return {result["custom_id"]: result for result in found}


def wait_for(stack: LocalStack, group: str, custom_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    def ready() -> dict[str, dict[str, Any]] | None:
        found = results(stack, group)
        return found if set(custom_ids) <= set(found) else None

    found: dict[str, dict[str, Any]] = poll(ready, f"results of {group}: {custom_ids}")
    return found


def waiting(stack: LocalStack, queue: str) -> int:
    attributes = stack.emulator.client("sqs").get_queue_attributes(
        QueueUrl=stack.description[queue],
        AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    )["Attributes"]
    return sum(int(value) for value in attributes.values())


def test_rate_limited_jobs_are_all_delivered_and_none_is_a_dead_letter(
    stack: LocalStack, meter: Meter, unique: Unique
) -> None:
    meter.script(limits={"rpm": 120, "burst_seconds": 1})
    ids = [f"job-{number}" for number in range(12)]
    drop(stack, *(job(custom_id, unique("[[label:simple]] Hi"), group="limited") for custom_id in ids))
    found = wait_for(stack, "limited", ids)
    assert {result["result"]["type"] for result in found.values()} == {"succeeded"}
    assert {result["router"]["model"] for result in found.values()} == {"claude-haiku-5-5"}
    assert {result["router"]["cause"] for result in found.values()} == {"classifier"}
    assert len(meter.calls("answer")) == 12
    assert len(meter.requests()) > 24, "the limit was met, so some calls were made again"
    assert waiting(stack, "dead_letter_queue_url") == 0
    poll(lambda: waiting(stack, "queue_url") == 0, "empty queue")


def test_a_result_has_the_shape_of_a_batch_result_and_says_what_it_cost(
    stack: LocalStack, meter: Meter, unique: Unique
) -> None:
    text = unique("[[label:complex]] Weigh it")
    drop(stack, job("shape", text, group="shape", tags={"customer": "acme"}, ceiling="sonnet"))
    result = wait_for(stack, "shape", ["shape"])["shape"]
    assert result["result"]["message"]["content"][0]["type"] == "text"
    router = result["router"]
    assert (router["model"], router["label"], router["cause"], router["lane"]) == (
        "claude-sonnet-5-5",
        "complex",
        "rule:ceiling",
        "direct",
    )
    assert Decimal(router["cost_usd"]) > Decimal(router["classifier_cost_usd"]) > 0


def test_broken_jobs_end_with_a_reason_and_the_others_are_unharmed(
    stack: LocalStack, meter: Meter, unique: Unique
) -> None:
    good = [job(f"good-{number}", unique("Is 7 prime?"), group="mixed") for number in range(3)]
    broken: list[str | dict[str, Any]] = [
        {"custom_id": "no-messages", "params": {"max_tokens": 5}, "router": {"group": "mixed"}},
        {"custom_id": "no-params", "router": {"group": "mixed"}},
        job("bad-tokens", "x", group="mixed")
        | {"params": {"max_tokens": -1, "messages": [{"role": "user", "content": ""}]}},
        job("unknown-model", "x", group="mixed")
        | {"params": {"model": "gpt-4", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}},
        job("unknown-tenant", "x", group="mixed") | {"router": {"tenant": "nobody-knows", "group": "mixed"}},
        job("bad-floor", "x", group="mixed", floor="huge"),
        job("bad-lane", "x", group="mixed", lane="fast"),
        job("late", "x", group="mixed", answer_by="2020-01-01T00:00:00Z"),
        '{"custom_id": "deep", "router": {"group": "mixed"}, "params": ' + "[" * 20_000 + "]" * 20_000 + "}",
        json.dumps(job("surrogate", "\ud800", group="mixed")),
    ]
    drop(stack, good[0], *broken, *good[1:])
    names = {
        "no-messages": "messages",
        "no-params": "params",
        "bad-tokens": "max_tokens",
        "unknown-model": "gpt-4",
        "unknown-tenant": "nobody-knows",
        "bad-floor": "huge",
        "bad-lane": "fast",
        "late": "2020-01-01",
        "surrogate": "surrogate",
    }
    found = wait_for(stack, "mixed", [*names, "good-0", "good-1", "good-2"])
    assert {found[f"good-{number}"]["result"]["type"] for number in range(3)} == {"succeeded"}
    for custom_id, named in names.items():
        assert found[custom_id]["result"]["type"] == "errored"
        assert named in found[custom_id]["result"]["error"]["error"]["message"]
    assert len(meter.calls("answer")) == 3
    poll(lambda: waiting(stack, "queue_url") == 0, "empty queue")
    assert waiting(stack, "dead_letter_queue_url") == 0
    unreadable = results(stack, "ungrouped")
    assert any("nested" in result["result"]["error"]["error"]["message"] for result in unreadable.values())


def test_a_job_that_claude_refuses_fails_at_once_and_is_not_retried(
    stack: LocalStack, meter: Meter, unique: Unique
) -> None:
    meter.script(faults=[{"times": 1, "purpose": "answer", "status": 400, "message": "made up refusal"}])
    drop(stack, job("refused", unique("[[label:simple]] Hi"), group="refused"))
    result = wait_for(stack, "refused", ["refused"])["refused"]
    assert result["result"]["error"]["error"]["message"] == "made up refusal"
    assert len([request for request in meter.requests() if "output_config" not in request["body"]]) == 1


def test_a_redelivered_finished_job_is_not_paid_for_again(stack: LocalStack, meter: Meter, unique: Unique) -> None:
    body = job("again", unique("[[label:simple]] Hi"), group="again")
    drop(stack, body)
    first = wait_for(stack, "again", ["again"])["again"]
    drop(stack, body)
    poll(lambda: waiting(stack, "queue_url") == 0, "empty queue")
    assert results(stack, "again")["again"] == first
    assert len(meter.calls("answer")) == 1


def test_a_minimal_job_without_router_runs_for_the_default_tenant(stack: LocalStack, meter: Meter) -> None:
    event = json.loads((EVENTS / "minimal_job.json").read_text(encoding="utf-8"))
    drop(stack, event["Records"][0]["body"])
    result = wait_for(stack, "ungrouped", ["ticket-43"])["ticket-43"]
    assert result["result"]["type"] == "succeeded"
    assert len(meter.calls("answer")) == 1


def test_the_example_events_are_taken_by_the_deployed_function(stack: LocalStack, meter: Meter) -> None:
    for file in sorted(EVENTS.glob("*.json")):
        event = file.read_text(encoding="utf-8").replace('\\"tenant\\": \\"support\\"', '\\"tenant\\": \\"demo\\"')
        reply = stack.emulator.client("lambda").invoke(
            FunctionName=stack.outputs["BatchFunction"], Payload=event.encode()
        )
        assert json.loads(reply["Payload"].read()) == {"batchItemFailures": []}, file.name
    assert results(stack, "nightly-2026-11-23")["ticket-42"]["result"]["type"] == "succeeded"

    def delivered() -> bool:
        """The job of the batch lane, which waits for the collector."""
        task = b'{"task": "batches"}'
        stack.emulator.client("lambda").invoke(FunctionName=stack.outputs["CollectorFunction"], Payload=task)
        return "ticket-44" in results(stack, "half-price-2026-11-24")

    poll(delivered, "result of the batch lane")
    assert results(stack, "half-price-2026-11-24")["ticket-44"]["router"]["lane"] == "batch"


def test_a_tenants_jobs_are_taken_from_the_principals_of_its_policy_only(
    stack: LocalStack, meter: Meter, unique: Unique, group: str
) -> None:
    """The emulator tells the account as the sender of every message."""
    now = dt.datetime.now(dt.UTC)
    create(stack.target, f"mine-{group}", Policy(senders=[ACCOUNT]), now)
    create(stack.target, f"theirs-{group}", Policy(senders=["AROAEXAMPLE12"]), now)
    for name in ("mine", "theirs"):
        drop(stack, job(name, unique("[[label:simple]] Hi"), group=group, tenant=f"{name}-{group}"))
    found = wait_for(stack, group, ["mine", "theirs"])
    assert found["mine"]["result"]["type"] == "succeeded"
    assert f"takes no jobs from '{ACCOUNT}'" in found["theirs"]["result"]["error"]["error"]["message"]
