"""The jobs queue: messages claimed and put back in tens. What is deferred or set aside is in test_stores.py."""

import json
import uuid
from typing import Any

import pytest

from cost_router.adapters.aws import Aws
from cost_router.adapters.queue import SqsQueue
from cost_router.core.errors import StoreError
from cost_router.core.job_ports import HeldJob
from cost_router.handlers.jobs import returned_job
from tests.builders import run
from tests.unit.adapters.test_job_store import outcomes_of


class Watched(Aws):
    """Keeps what was called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[dict[str, Any]] = []

    async def call(self, service: str, operation: str, **arguments: Any) -> Any:
        self.calls.append(arguments)
        return await super().call(service, operation, **arguments)

    @property
    def sizes(self) -> list[int]:
        """How many messages each call was about."""
        return [len(arguments["Entries"]) for arguments in self.calls]


@pytest.fixture
def watched(aws: Aws) -> Watched:
    return Watched()


@pytest.fixture
def queue(watched: Watched) -> SqsQueue:
    return SqsQueue(watched, watched.client("sqs").create_queue(QueueName=f"queue-{uuid.uuid4()}")["QueueUrl"])


def jobs(count: int) -> list[HeldJob]:
    return [HeldJob("nightly", f"job-{number}", f"req_{number}", "acme") for number in range(count)]


def receive(queue: SqsQueue) -> list[dict[str, Any]]:
    """All messages that are shown; they are hidden from then on."""
    found: list[dict[str, Any]] = []
    while True:
        reply = queue.aws.client("sqs").receive_message(
            QueueUrl=queue.url, MaxNumberOfMessages=10, VisibilityTimeout=100
        )
        if not reply.get("Messages"):
            return found
        found += reply["Messages"]


def sent(queue: SqsQueue, count: int) -> list[str]:
    """The receipt handles of so many messages that somebody has received."""
    for number in range(count):
        queue.aws.client("sqs").send_message(QueueUrl=queue.url, MessageBody=str(number))
    return [message["ReceiptHandle"] for message in receive(queue)]


# --- claim


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (1, [1]), (10, [10]), (11, [10, 1]), (21, [10, 10, 1])])
def test_messages_are_claimed_in_tens(queue: SqsQueue, watched: Watched, count: int, sizes: list[int]) -> None:
    handles = sent(queue, count)
    run(queue.claim(handles, 0.4))
    assert watched.sizes == sizes
    assert len(receive(queue)) == count, "each is shown again when its time is up"


@pytest.mark.parametrize(("seconds", "hidden"), [(914.6, 915), (43_200.0, 43_200), (43_201.0, 43_200), (-1.0, 0)])
def test_messages_are_claimed_for_whole_seconds_and_twelve_hours_at_the_most(
    queue: SqsQueue, watched: Watched, seconds: float, hidden: int
) -> None:
    run(queue.claim(sent(queue, 1), seconds))
    ((entry,),) = [arguments["Entries"] for arguments in watched.calls]
    assert entry["VisibilityTimeout"] == hidden


def test_a_message_that_is_done_already_does_not_keep_the_others_from_being_claimed(queue: SqsQueue) -> None:
    done, *others = sent(queue, 3)
    queue.aws.client("sqs").delete_message(QueueUrl=queue.url, ReceiptHandle=done)
    run(queue.claim([done, *others], 0.0))
    assert len(receive(queue)) == 2


# --- put_back


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (10, [10]), (11, [10, 1])])
def test_jobs_are_put_back_in_tens_and_the_queue_has_each_once(
    queue: SqsQueue, watched: Watched, count: int, sizes: list[int]
) -> None:
    assert run(queue.put_back(jobs(count))) == jobs(count)
    assert watched.sizes == sizes
    bodies = {message["Body"] for message in receive(queue)}
    assert bodies == {f'{{"job": "nightly/job-{number}"}}' for number in range(count)}


def test_a_job_that_was_put_back_is_known_by_its_message(queue: SqsQueue) -> None:
    run(queue.put_back([HeldJob("night.ly-2", "a_B-3", "req_1", "acme")]))
    (message,) = receive(queue)
    assert json.loads(message["Body"]) == {"job": "night.ly-2/a_B-3"}
    assert returned_job(message["Body"]) == ("night.ly-2", "a_B-3")


def test_a_job_is_put_back_into_the_message_group_of_its_tenant_and_group(queue: SqsQueue, watched: Watched) -> None:
    run(queue.put_back([HeldJob("nightly", "a", "req_1", "acme"), HeldJob("n" * 128, "b", "req_2", "globex")]))
    (entries,) = [arguments["Entries"] for arguments in watched.calls]
    assert [entry["MessageGroupId"] for entry in entries] == ["acme.nightly", "globex." + "n" * 121]


class Refusing:
    """A client of a queue that takes only some of the messages of a call."""

    def __init__(self, *taken: str) -> None:
        self.taken = taken

    def send_message_batch(self, **arguments: Any) -> dict[str, Any]:
        ids = {entry["Id"]: json.loads(entry["MessageBody"])["job"] for entry in arguments["Entries"]}
        reply: dict[str, Any] = {
            "Successful": [{"Id": id_} for id_, job in reversed(ids.items()) if job in self.taken],
            "Failed": [{"Id": id_, "Code": "InternalError"} for id_, job in ids.items() if job not in self.taken],
        }
        return {name: rows for name, rows in reply.items() if rows}


def test_what_the_queue_refuses_is_not_said_to_be_there() -> None:
    refusing = Refusing("nightly/job-1", "nightly/job-9", "nightly/job-11")
    found = run(SqsQueue(Aws({"sqs": refusing}), "url").put_back(jobs(12)))
    assert {job.custom_id for job in found} == {"job-1", "job-9", "job-11"}
    assert run(SqsQueue(Aws({"sqs": Refusing()}), "url").put_back(jobs(12))) == []


# --- nobody there


def test_a_queue_that_cannot_be_reached_is_a_store_error(broken_aws: Aws) -> None:
    queue = SqsQueue(broken_aws, "http://127.0.0.1:9/q")
    found = run(outcomes_of({"claim": queue.claim(["handle"], 1.0), "put_back": queue.put_back(jobs(1))}))
    assert found == dict.fromkeys(found, StoreError)
