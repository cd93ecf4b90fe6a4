"""Files of jobs before they are sent, and the road onto the queue."""

import datetime as dt
import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from cost_router.core.errors import InvalidRequest
from cost_router.handlers.jobs import JobBody
from infra.operate.job_file import BadJobs, Checked, FileJob, JobFile, Options
from infra.operate.sending import NotSent, Sender
from infra.operate.submit import announcement

NOW = dt.datetime(2026, 11, 24, 12, 0, tzinfo=dt.UTC)
PROMPT = "the secret prompt"
Write = Callable[..., JobFile]


def line(custom_id: str = "a", text: str = PROMPT, **more: Any) -> dict[str, Any]:
    params = {"max_tokens": 32, "messages": [{"role": "user", "content": text}]}
    return {"custom_id": custom_id, "params": params, **more}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Makes a file of lines, and opens it as the command does."""

    def make(*lines: str | bytes | Mapping[str, Any], **options: Any) -> JobFile:
        path = tmp_path / "jobs.jsonl"
        raw = [
            one if isinstance(one, bytes) else (one if isinstance(one, str) else json.dumps(one)).encode()
            for one in lines
        ]
        path.write_bytes(b"".join(one + b"\n" for one in raw))
        return JobFile.open(path, Options("nightly", **options))

    return make


def check(file: JobFile, admit: Callable[[JobBody], object] = lambda _: None) -> Checked:
    return file.check(admit, NOW, lambda _: None)


def refusal(file: JobFile) -> list[str]:
    with pytest.raises(BadJobs) as caught:
        check(file)
    assert PROMPT not in str(caught.value)
    return str(caught.value).splitlines()


def test_options_are_merged_in_and_a_lines_own_router_wins(write: Write) -> None:
    own = {"tenant": "billing", "tags": {"a": "c"}, "group": "nightly"}
    options = {"tenant": "support", "lane": "batch", "floor": "haiku", "tags": {"a": "b"}}
    file = write(line("a"), line("b", router=own), **options)
    assert check(file).tenant == "support"
    first, second = file.jobs()
    assert first.message["router"] == {"group": "nightly", **options}
    assert second.message["router"] == {"group": "nightly", **options, **own}
    assert (first.tenant, second.tenant) == ("support", "billing")


def test_without_a_tenant_jobs_are_the_default_tenants_and_say_nothing_of_it(write: Write) -> None:
    [job] = write(line()).jobs()
    assert (job.tenant, job.message["router"]) == ("default", {"group": "nightly"})


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ('{"custom_id": "a"', "not valid JSON"),
        ("[1]", "body: it is a list"),
        (b'{"custom_id": "\xff"}', "byte 15 is not UTF-8"),
        (line(params={"max_tokens": 0, "messages": []}), "params.max_tokens: Input should be greater"),
        (line(params={"max_tokens": 1}), "params.messages: Field required"),
        (line(params={"max_tokens": 1, "messages": [{"role": "user"}]}), "params.messages.0"),
        (line(params=[]), "params: it is a list"),
        (line("a b"), "custom_id: 'a b'; accepted"),
        (line(model="auto"), "body: 'model' is unknown; accepted: custom_id, params, router"),
        (line(params_at="jobs/nightly/a.json"), "body: 'params_at' is unknown"),
        (line(router=3), "router: it is a number"),
        (line(router={"group": "other"}), "router.group: 'other' is not the group of the command; accepted: 'nightly'"),
        (line(router={"group_size": 3}), "router.group_size: the command itself tells"),
        (line(router={"lane": "fast"}), "router.lane: 'fast'"),
        (line(router={"floor": "opus", "ceiling": "haiku"}), "floor: 'opus' is above the ceiling 'haiku'"),
        (line(router={"answer_by": "2026-11-24T12:00:00Z"}), "router.answer_by: '2026-11-24T12:00:00Z' has passed"),
    ],
)
def test_a_line_that_is_no_job_is_named(write: Write, bad: Any, said: str) -> None:
    head, problem = refusal(write(line("good"), "", bad))
    assert head.endswith("jobs.jsonl: 1 line is no job; nothing was sent")
    assert problem.startswith("line 3: ")
    assert said in problem


def test_the_first_twenty_problems_are_shown_and_all_are_counted(write: Write) -> None:
    said = refusal(write(*("{}" for _ in range(1_022)), line()))
    assert said[0].endswith("1,022 lines are no job; nothing was sent")
    assert len(said) == 22
    assert said[20].startswith("line 20: custom_id")
    assert said[21] == "... and 1,002 more"


def test_a_custom_id_twice_names_both_lines(write: Write) -> None:
    _, problem = refusal(write(line("a"), line("b"), line("a")))
    assert problem == "line 3: custom_id: 'a' is in line 1 already; accepted: each custom_id once"


@pytest.mark.parametrize("lines", [(), ("", "  ", "\r")])
def test_a_blank_file_is_refused(write: Write, lines: tuple[str, ...]) -> None:
    [said] = refusal(write(*lines))
    assert "it is blank" in said


def test_a_tenant_that_cannot_be_used_is_a_problem_of_its_line(write: Write) -> None:
    def admit(job: JobBody) -> None:
        if job.tenant == "nobody":
            raise InvalidRequest("router.tenant: 'nobody' is unknown")

    file = write(line("a"), line("b", router={"tenant": "nobody"}))
    with pytest.raises(BadJobs, match=r"line 2: router\.tenant: 'nobody' is unknown"):
        check(file, admit)


def test_a_byte_order_mark_and_windows_line_ends_are_no_problem(write: Write) -> None:
    file = write(b"\xef\xbb\xbf" + json.dumps(line("a")).encode() + b"\r", line("b"))
    assert check(file).count == 2


def test_a_line_longer_than_the_api_takes_is_refused_and_the_next_one_is_read(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.operate.job_file.MOST_BYTES", 200)
    _, problem = refusal(write(line("a", "x" * 1_000), line("b")))
    assert problem.startswith("line 1: it is longer than 200 bytes")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lane": "fast"}, "router.lane: 'fast'"),
        ({"answer_by": "tomorrow"}, "router.answer_by: 'tomorrow'"),
        ({"tenant": "a/b"}, "router.tenant: 'a/b'"),
        ({"floor": "huge"}, "router.floor: 'huge'"),
    ],
)
def test_a_wrong_option_is_told_once(write: Write, options: dict[str, str], said: str) -> None:
    with pytest.raises(BadJobs, match=said):
        write(line("a"), line("b"), **options)


def test_a_file_that_cannot_be_read_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadJobs, match=r"missing\.jsonl: No such file"):
        JobFile.open(tmp_path / "missing.jsonl", Options("nightly"))
    with pytest.raises(BadJobs, match="Is a directory"):
        JobFile.open(tmp_path, Options("nightly"))


def test_a_file_that_changes_after_the_check_is_told(write: Write) -> None:
    file = write(line("a"))
    check(file)
    file.path.write_text(json.dumps(line("a")) + "\n" + json.dumps(line("b")) + "\n", encoding="utf-8")
    with pytest.raises(BadJobs, match="was changed while it was read"):
        list(file.jobs())


def test_files_are_told_apart_by_their_custom_ids_and_order(write: Write) -> None:
    one = check(write(line("a"), line("b"))).who
    assert check(write(line("a", "another text"), line("b"), tenant="t")).who == one
    assert check(write(line("b"), line("a"))).who != one
    assert check(write(line("a"))).who != one


def test_a_file_is_announced_once_and_what_came_before_it_with_the_first() -> None:
    assert list(announcement([], 0, "f1", 5)) == [("f1", 5)]
    assert list(announcement([], 3, "f1", 5)) == [("earlier", 3), ("f1", 5)]
    assert list(announcement(["f1:5"], 5, "f1", 0)) == []
    assert list(announcement(["f1:5"], 5, "f2", 2)) == [("f2", 2)]


def job(custom_id: str = "a", text: str = "Hi") -> FileJob:
    message = line(custom_id, text, router={"tenant": "demo", "group": "nightly"})
    return FileJob(custom_id, "demo", message)


class Queue:
    """SQS and S3 in memory; `plan` says how the next calls end: an exception, or codes of entries that fail."""

    def __init__(self, *plan: Any) -> None:
        self.plan = list(plan)
        self.bodies: list[str] = []
        self.objects: dict[str, bytes] = {}
        self.calls = 0
        self.lock = threading.Lock()

    def send_message_batch(self, **asked: Any) -> dict[str, Any]:
        entries = asked["Entries"]
        with self.lock:
            self.calls += 1
            step = self.plan.pop(0) if self.plan else {}
            if isinstance(step, Exception):
                raise step
            failed = {entry["Id"]: step[entry["Id"]] for entry in entries if entry["Id"] in step}
            taken = [entry for entry in entries if entry["Id"] not in failed]
            for entry in taken:
                place = json.loads(entry["MessageBody"]).get("params_at")
                assert place is None or place in self.objects, "params come before the message"
            self.bodies += [entry["MessageBody"] for entry in taken]
            return {
                "Successful": [{"Id": entry["Id"]} for entry in taken],
                "Failed": [{"Id": id_, "Code": code, "SenderFault": fault} for id_, (code, fault) in failed.items()],
            }

    def put_object(self, **asked: Any) -> None:
        self.objects[asked["Key"]] = asked["Body"]

    def sender(self) -> Sender:
        return Sender(self, self, "url", "bucket", fraction=lambda: 0.0)

    def ids(self) -> list[str]:
        return sorted(json.loads(body)["custom_id"] for body in self.bodies)


def refused(code: str, status: int) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "SendMessageBatch")  # type: ignore[typeddict-item]  # the rest of the metadata is of no interest


def test_every_job_is_sent_once_and_counted() -> None:
    queue, told = Queue(), [0]
    sender = queue.sender()
    sender.told = told.append
    sender.send(job(f"j{number:03}") for number in range(257))
    assert queue.ids() == [f"j{number:03}" for number in range(257)]
    assert (sender.sent, sender.claims, sum(told), queue.calls) == (257, 0, 257, 26)


def test_failed_entries_and_throttled_calls_are_tried_again_until_all_are_sent() -> None:
    queue = Queue(
        {"0": ("InternalError", False), "3": ("KMS.ThrottlingException", True)},
        {"3": ("InternalError", False)},
        refused("RequestThrottled", 403),
        refused("ServiceUnavailable", 503),
        EndpointConnectionError(endpoint_url="url"),
    )
    sender = queue.sender()
    sender.send(job(f"j{number}") for number in range(5))
    assert queue.ids() == ["j0", "j1", "j2", "j3", "j4"]
    assert (sender.sent, queue.calls) == (5, 6)


@pytest.mark.parametrize(
    ("plan", "sent", "said"),
    [
        ([{"1": ("InvalidMessageContents", True)}], 2, "InvalidMessageContents"),
        ([refused("AccessDenied", 403)], 0, "AccessDenied"),
        ([{"0": ("InternalError", False)}] * 10, 2, "InternalError"),
    ],
)
def test_what_cannot_be_sent_ends_it_with_an_exact_count(plan: list[Any], sent: int, said: str) -> None:
    queue = Queue(*plan)
    sender = queue.sender()
    with pytest.raises(NotSent, match=f"^sqs.send_message_batch: {said}$"):
        sender.send(job(f"j{number}") for number in range(3))
    assert (sender.sent, len(queue.bodies)) == (sent, sent)


def test_params_of_large_jobs_are_in_the_bucket_before_the_message() -> None:
    queue = Queue({"0": ("InternalError", False)})
    sender = queue.sender()
    sender.send([job("large", "x" * 300_000), job("small")])
    assert (sender.sent, sender.claims, queue.ids()) == (2, 1, ["large", "small"])
    assert list(queue.objects) == ["jobs/nightly/large.json"]
