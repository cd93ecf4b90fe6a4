"""Batches over HTTPS in DynamoDB and S3, and their way onto the queue."""

import asyncio
import datetime as dt
import json
import uuid
from dataclasses import replace
from typing import Any

import pytest

from cost_router.adapters.aws import Aws
from cost_router.adapters.groups import DynamoGroups
from cost_router.adapters.jobs_table import JobsTable
from cost_router.adapters.message_batches import DynamoMessageBatches, S3BatchFiles
from cost_router.adapters.outbox import TRIES, SqsOutbox
from cost_router.adapters.results import S3Results
from cost_router.core.errors import StoreError
from cost_router.core.groups import End, GroupState
from cost_router.core.job_ports import Lease, Spent
from cost_router.core.message_batches import KEPT_FOR, Counts, MessageBatch
from cost_router.core.paging import Page
from tests.builders import NOW, FakeClock, FixedChance, run
from tests.unit.adapters.test_job_store import make_jobs

SECOND = dt.timedelta(seconds=1)
ID = "msgbatch_" + "a" * 24


@pytest.fixture
def table(aws: Aws) -> JobsTable:
    return make_jobs(aws).table


@pytest.fixture
def batches(table: JobsTable) -> DynamoMessageBatches:
    return DynamoMessageBatches(table)


@pytest.fixture
def files(aws: Aws, table: JobsTable) -> S3BatchFiles:
    return S3BatchFiles(aws, table.name)  # the bucket bears the table's name


def batch(number: int = 0, tenant: str = "acme", lines: int = 3) -> MessageBatch:
    return MessageBatch(f"msgbatch_{number:024d}", tenant, lines, NOW + number * SECOND)


def find(batches: DynamoMessageBatches, id_: str, now: dt.datetime = NOW) -> MessageBatch | None:
    return run(batches.find(id_, now))


# -- The table ---------------------------------------------------------------------------------------------------------


def test_a_batch_is_found_as_it_was_accepted_and_no_other_is(batches: DynamoMessageBatches) -> None:
    run(batches.accept(batch(1)))
    assert find(batches, batch(1).id) == batch(1)
    assert find(batches, batch(2).id) is None


def test_a_batch_is_kept_for_29_days(batches: DynamoMessageBatches) -> None:
    run(batches.accept(batch()))
    end = NOW + KEPT_FOR
    assert find(batches, batch().id, end - SECOND)
    assert find(batches, batch().id, end) is None
    page = run(batches.page("acme", 20, after=None, before=None, now=end))
    assert page == Page((), has_more=False), "DynamoDB deletes days late"


def test_the_first_cancellation_counts(batches: DynamoMessageBatches) -> None:
    run(batches.accept(batch()))
    first = run(batches.cancel(batch(), NOW))
    assert first.canceled_at == NOW
    assert run(batches.cancel(batch(), NOW + SECOND)).canceled_at == NOW
    assert find(batches, batch().id) == first


def test_what_has_become_of_a_batch_is_kept(batches: DynamoMessageBatches) -> None:
    run(batches.accept(batch()))
    run(batches.unpacked(batch()))
    ended = replace(batch(), unpacked=True, ended=(NOW + SECOND, Counts(0, 1, 1, 1)))
    run(batches.end(ended))
    assert find(batches, batch().id) == ended


def test_nothing_is_made_of_a_batch_that_was_not_accepted(batches: DynamoMessageBatches) -> None:
    run(batches.unpacked(batch()))
    run(batches.end(replace(batch(), ended=(NOW, Counts(0, 3)))))
    assert run(batches.cancel(batch(), NOW)) == batch()
    assert find(batches, batch().id) is None


def test_pages_are_cut_from_the_tenants_own_batches_the_newest_first(batches: DynamoMessageBatches) -> None:
    for number in range(7):
        run(batches.accept(batch(number)))
    run(batches.accept(batch(8, tenant="globex")))

    def page(limit: int, after: int | None = None, before: int | None = None) -> tuple[list[int], bool]:
        cursors = [None if number is None else batch(number) for number in (after, before)]
        found = run(batches.page("acme", limit, after=cursors[0], before=cursors[1], now=NOW))
        return [int(one.id.removeprefix("msgbatch_")) for one in found.items], found.has_more

    assert page(3) == ([6, 5, 4], True)
    assert page(3, after=4) == ([3, 2, 1], True)
    assert page(3, after=1) == ([0], False)
    assert page(7) == ([6, 5, 4, 3, 2, 1, 0], False)
    assert page(3, before=0) == ([3, 2, 1], True)
    assert page(3, before=4) == ([6, 5], False)
    assert page(2, before=4) == ([6, 5], False)


def test_batches_of_the_same_moment_are_listed_once_each(batches: DynamoMessageBatches) -> None:
    made = [replace(batch(number), created_at=NOW) for number in range(3)]
    for one in made:
        run(batches.accept(one))
    first = run(batches.page("acme", 2, after=None, before=None, now=NOW))
    second = run(batches.page("acme", 2, after=first.items[-1], before=None, now=NOW))
    assert {one.id for one in (*first.items, *second.items)} == {one.id for one in made}
    assert (len(first.items), len(second.items)) == (2, 1)


def test_a_group_that_is_canceled_before_its_first_job_stays_so(table: JobsTable) -> None:
    groups = DynamoGroups(table)
    run(groups.cancel(ID, "acme", NOW))
    assert run(groups.open()) == [], "nothing is to be looked after yet"
    assert run(groups.look(ID, "acme", 3, NOW + SECOND)) is GroupState.CANCELED
    (group,) = run(groups.open())
    assert (group.tenant, group.state, group.expected) == ("acme", GroupState.CANCELED, 3)


def test_a_running_group_is_canceled_and_stays_open(table: JobsTable) -> None:
    groups = DynamoGroups(table)
    run(groups.look(ID, "acme", 3, NOW))
    run(groups.cancel(ID, "acme", NOW + SECOND))
    (group,) = run(groups.open())
    assert (group.state, group.seen_at) == (GroupState.CANCELED, NOW)


def test_a_tally_tells_when_it_last_changed(aws: Aws) -> None:
    jobs = make_jobs(aws)
    groups = DynamoGroups(jobs.table)
    assert run(groups.tally(ID)).changed_at is None
    for name, began in (("a", NOW), ("b", NOW + SECOND)):
        lease = run(jobs.take(ID, name, "print", f"req_{name}", (began, began + 100 * SECOND)))
        assert isinstance(lease, Lease)  # nobody else has it
        run(jobs.end(lease, End.DONE, Spent(), began + 5 * SECOND))
    assert run(groups.tally(ID)).changed_at == NOW + 6 * SECOND


# -- The bucket --------------------------------------------------------------------------------------------------------


async def all_results(files: S3BatchFiles, tenant: str = "acme") -> list[dict[str, Any]]:
    return [json.loads(row) async for row in files.results(ID, tenant)]


def test_lines_come_back_as_they_were_kept(files: S3BatchFiles) -> None:
    lines = ['{"text":"a\u2028b\\n"}'.encode(), b'{"text":"c"}']
    assert run(files.lines(ID)) is None
    run(files.keep(ID, lines))
    assert run(files.lines(ID)) == lines
    run(files.forget(ID))
    run(files.forget(ID))
    assert run(files.lines(ID)) is None


def test_results_are_those_of_the_batch_and_of_its_tenant(aws: Aws, files: S3BatchFiles) -> None:
    results = S3Results(aws, files.bucket)
    for number in range(20):
        row = {"custom_id": f"job-{number}", "result": {"type": "canceled"}, "router": {"tenant": "acme"}}
        run(results.put(ID, f"job-{number}", row))
    run(results.put(ID, "unread", {"custom_id": "unread", "result": {}, "router": {"tenant": "nobody"}}))
    run(results.put(ID, "foreign", {"custom_id": "foreign", "result": {}, "router": {"tenant": "globex"}}))
    run(results.put(f"{ID}x", "other", {"custom_id": "other", "result": {}, "router": {"tenant": "acme"}}))
    found = [row["custom_id"] for row in run(all_results(files))]
    assert sorted(found) == sorted([*(f"job-{number}" for number in range(20)), "unread"])


def test_results_are_a_line_each_whatever_they_say(aws: Aws, files: S3BatchFiles) -> None:
    row = {"custom_id": "a", "result": {"text": "line\nfeed \u2028 \u0085"}, "router": {"tenant": "acme"}}
    run(S3Results(aws, files.bucket).put(ID, "a", row))

    async def raw() -> list[bytes]:
        return [line async for line in files.results(ID, "acme")]

    (line,) = run(raw())
    assert line.splitlines() == [line]
    assert json.loads(line) == row


# -- The queue ---------------------------------------------------------------------------------------------------------


class Refusing(Aws):
    """Every call refuses its first message, `times` times; keeps how many were sent in each call."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        self.sizes: list[int] = []

    async def call(self, service: str, operation: str, **arguments: Any) -> Any:
        if operation != "send_message_batch" or not self.times:
            self.sizes += [len(arguments["Entries"])] if "Entries" in arguments else []
            return await super().call(service, operation, **arguments)
        self.times -= 1
        first, *rest = arguments["Entries"]
        self.sizes.append(len(rest))
        await super().call(service, operation, **{**arguments, "Entries": rest}) if rest else None
        return {
            "Successful": [{"Id": entry["Id"]} for entry in rest],
            "Failed": [{"Id": first["Id"], "Code": "InternalError", "SenderFault": False}],
        }


def outbox(aws: Aws, bucket: str) -> SqsOutbox:
    url = aws.client("sqs").create_queue(QueueName=f"queue-{uuid.uuid4()}")["QueueUrl"]
    return SqsOutbox(aws, url, bucket, FakeClock(), FixedChance())


def received(found: SqsOutbox) -> list[dict[str, Any]]:
    bodies: list[dict[str, Any]] = []
    while True:
        reply = found.aws.client("sqs").receive_message(QueueUrl=found.url, MaxNumberOfMessages=10)
        if not reply.get("Messages"):
            return bodies
        bodies += [json.loads(message["Body"]) for message in reply["Messages"]]


def jobs(count: int, text: str = "Hi") -> list[dict[str, Any]]:
    router = {"tenant": "acme", "group": ID}
    return [{"custom_id": f"job-{n:03}", "params": {"text": text}, "router": router} for n in range(count)]


def test_jobs_are_sent_ten_to_a_call_and_large_params_by_way_of_the_bucket(aws: Aws, table: JobsTable) -> None:
    found, watched = outbox(aws, table.name), Refusing(0)
    large = {"custom_id": "large", "params": {"text": "x" * 300_000}, "router": {"tenant": "acme", "group": ID}}
    run(replace(found, aws=watched).send("acme", [*jobs(101), large]))
    assert watched.sizes == [10] * 10 + [2]
    messages = {message["custom_id"]: message for message in received(found)}
    assert messages.keys() == {f"job-{n:03}" for n in range(101)} | {"large"}
    place = messages["large"]["params_at"]
    kept = aws.client("s3").get_object(Bucket=table.name, Key=place)["Body"].read()
    assert json.loads(kept) == large["params"]


def test_messages_that_the_queue_refuses_are_sent_again(aws: Aws, table: JobsTable) -> None:
    found, refusing = outbox(aws, table.name), Refusing(2)
    run(replace(found, aws=refusing).send("acme", jobs(3)))
    assert refusing.sizes == [2, 0, 1]
    assert sorted(message["custom_id"] for message in received(found)) == ["job-000", "job-001", "job-002"]


def test_a_queue_that_goes_on_refusing_is_a_store_that_failed(aws: Aws, table: JobsTable) -> None:
    with pytest.raises(StoreError, match=r"sqs\.send_message_batch: InternalError"):
        asyncio.run(replace(outbox(aws, table.name), aws=Refusing(TRIES)).send("acme", jobs(1)))


def test_the_message_of_a_batch_is_its_id(aws: Aws, table: JobsTable) -> None:
    found = outbox(aws, table.name)
    run(found.announce("acme", ID))
    assert received(found) == [{"batch": ID}]
