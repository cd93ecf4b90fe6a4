"""Groups, deadlines and copies through the deployed queue, functions, tables and event bus."""

import datetime as dt
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from cost_router.contract import GROUP_EVENT, GROUP_EVENT_SOURCE, Task
from infra.local.emulator import ACCOUNT, REGION
from infra.local.stack import LocalStack
from infra.operate.report import read_entries
from tests.integration.meter import Meter, poll
from tests.integration.test_collector import collect
from tests.integration.test_jobs import drop, job, results, wait_for, waiting

Unique = Callable[[str], str]


def soon(**after: float) -> str:
    return (dt.datetime.now(dt.UTC) + dt.timedelta(**after)).isoformat()


def state(stack: LocalStack, name: str) -> dict[str, Any]:
    key = {"job": {"S": name}}
    table = stack.description["tables"]["jobs"]
    found: dict[str, Any] = stack.emulator.client("dynamodb").get_item(TableName=table, Key=key).get("Item", {})
    return found


def set_group(stack: LocalStack, group: str, word: str) -> None:
    stack.emulator.client("dynamodb").update_item(
        TableName=stack.description["tables"]["jobs"],
        Key={"job": {"S": f"group#{group}"}},
        UpdateExpression="SET #state = :state",
        ConditionExpression="attribute_exists(#state)",
        ExpressionAttributeNames={"#state": "state"},
        ExpressionAttributeValues={":state": {"S": word}},
    )


def delivered(stack: LocalStack, group: str, count: int) -> dict[str, dict[str, Any]]:
    """The results of a group, with rounds of the collector until they are there."""

    def ready() -> dict[str, dict[str, Any]] | None:
        collect(stack, Task.BATCHES)
        found = results(stack, group)
        return found if len(found) == count else None

    found: dict[str, dict[str, Any]] = poll(ready, f"{count} results of {group}")
    return found


def test_copies_at_the_same_moment_are_answered_once(
    stack: LocalStack, meter: Meter, unique: Unique, group: str
) -> None:
    meter.script(latency=1)
    body = job("copy", unique("[[label:simple]] Hi"), group=group)
    drop(stack, *[body] * 8)
    wait_for(stack, group, ["copy"])
    poll(lambda: waiting(stack, "queue_url") == 0, "empty queue")
    assert len(meter.calls("answer")) == 1


def test_another_body_under_the_same_name_is_set_aside_with_the_reason_and_changes_nothing(
    stack: LocalStack, meter: Meter, unique: Unique, group: str
) -> None:
    drop(stack, job("name", unique("[[label:simple]] first"), group=group))
    first = wait_for(stack, group, ["name"])
    other = json.dumps(job("name", unique("[[label:simple]] second"), group=group))
    drop(stack, other)
    sqs, found = stack.emulator.client("sqs"), list[dict[str, Any]]()

    def set_aside() -> bool:
        asked = {"MaxNumberOfMessages": 10, "MessageAttributeNames": ["All"]}
        for message in sqs.receive_message(QueueUrl=stack.description["dead_letter_queue_url"], **asked).get(
            "Messages", []
        ):
            sqs.delete_message(
                QueueUrl=stack.description["dead_letter_queue_url"], ReceiptHandle=message["ReceiptHandle"]
            )
            found.append(message)
        return any(message["Body"] == other for message in found)

    poll(set_aside, "dead letter")
    (letter,) = [message for message in found if message["Body"] == other]
    assert "another body" in letter["MessageAttributes"]["reason"]["StringValue"]
    assert results(stack, group) == first
    assert len(meter.calls("answer")) == 1


def test_a_paused_groups_jobs_are_held_and_run_once_when_it_is_resumed(
    stack: LocalStack, meter: Meter, unique: Unique, group: str
) -> None:
    drop(stack, job("first", unique("[[label:simple]] Hi"), group=group))
    wait_for(stack, group, ["first"])
    set_group(stack, group, "paused")

    def held() -> bool:
        """In force once the processes of the function have forgotten the state that they know."""
        name = unique("job").replace(" ", "-").replace("(", "").replace(")", "")
        drop(stack, job(name, unique("[[label:simple]] Hi"), group=group))
        poll(lambda: "state" in state(stack, f"{group}/{name}"), "job in the table")
        found: str = poll(
            lambda: (now := state(stack, f"{group}/{name}")["state"]["S"]) in {"held", "done"} and now, "end of the job"
        )
        return found == "held"

    poll(held, "held job")
    before, paid = results(stack, group), len(meter.calls("answer"))
    collect(stack, Task.BATCHES)
    assert (results(stack, group), len(meter.calls("answer"))) == (before, paid)
    set_group(stack, group, "running")
    found = delivered(stack, group, len(before) + 1)
    assert {result["result"]["type"] for result in found.values()} == {"succeeded"}
    assert len(meter.calls("answer")) == paid + 1


def test_a_line_whose_deadline_comes_near_is_taken_out_of_its_batch_and_paid_once_at_the_realtime_price(
    stack: LocalStack, meter: Meter, unique: Unique, group: str
) -> None:
    meter.script(batch_seconds=3_600)
    urgent = job(
        "urgent", unique("[[label:simple]] Hi"), group=group, lane="batch", answer_by=soon(minutes=30, seconds=8)
    )
    drop(stack, urgent)
    poll(lambda: state(stack, f"{group}/urgent").get("state", {}).get("S") == "parked", "parked line")
    collect(stack, Task.BATCHES)
    assert state(stack, f"{group}/urgent")["batch"]["S"] not in {f"urgent#{group}", f"held#{group}"}, "in a batch"
    result = delivered(stack, group, 1)["urgent"]
    assert (result["result"]["type"], result["router"]["lane"]) == ("succeeded", "direct")
    (call,) = meter.calls("answer")
    assert call["processing"] == "realtime"
    today = dt.datetime.now(dt.UTC).date()
    mine = [entry for entry in read_entries(stack.target, today) if entry.get("job") == f"{group}/urgent"]
    assert {entry["processing"] for entry in mine if entry["purpose"] == "answer"} == {"realtime"}
    assert sum(entry["cost_usd"] for entry in mine) == Decimal(result["router"]["cost_usd"])


def test_a_group_that_has_ended_is_told_on_the_event_bus_once(
    stack: LocalStack, meter: Meter, unique: Unique, group: str
) -> None:
    events, sqs = stack.emulator.client("events"), stack.emulator.client("sqs")
    url = sqs.create_queue(QueueName=f"events-{group}")["QueueUrl"]
    pattern = {"source": [GROUP_EVENT_SOURCE], "detail-type": [GROUP_EVENT], "detail": {"group": [group]}}
    events.put_rule(Name=f"ended-{group}", EventPattern=json.dumps(pattern))
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:events-{group}"
    events.put_targets(Rule=f"ended-{group}", Targets=[{"Id": "1", "Arn": arn}])
    for number in range(3):
        drop(stack, job(f"job-{number}", unique("[[label:simple]] Hi"), group=group, group_size=3))
    found = wait_for(stack, group, ["job-0", "job-1", "job-2"])
    cost = sum(Decimal(result["router"]["cost_usd"]) for result in found.values())
    told: list[dict[str, Any]] = []

    def arrived() -> bool:
        collect(stack, Task.BATCHES)
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        told.extend(json.loads(message["Body"])["detail"] for message in messages)
        return bool(told)

    poll(arrived, "event")
    collect(stack, Task.BATCHES)
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    (event,) = told
    assert (event["jobs"], event["done"], event["failed"]) == (3, 3, 0)
    assert Decimal(event["cost_usd"]) == cost
