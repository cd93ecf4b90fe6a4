"""`cost-router dead-letters` as a user runs it, on queues of the running stack's emulator."""

import datetime as dt
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.local.stack import LocalStack
from infra.operate import dead_letters
from infra.operate.target import Target
from tests.integration.commands import command
from tests.integration.meter import Meter, poll

Unique = Callable[[str], str]
PROMPT = "the secret prompt"
COUNTS = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]


def job(custom_id: str, group: str, text: str = PROMPT) -> str:
    params = {"max_tokens": 32, "messages": [{"role": "user", "content": text}]}
    return json.dumps({"custom_id": custom_id, "params": params, "router": {"tenant": "demo", "group": group}})


@dataclass(frozen=True)
class Queues:
    """A jobs queue that nobody drains and its dead-letter queue, of this test alone."""

    sqs: Any
    dynamodb: Any
    target: Target

    def put(self, body: str, reason: str | None = "TypeError after 3 attempts") -> str:
        """A dead letter as the function leaves it; gives its id."""
        told = {"reason": {"DataType": "String", "StringValue": reason}} if reason else {}
        url = self.target.dead_letter_queue_url
        return str(self.sqs.send_message(QueueUrl=url, MessageBody=body, MessageAttributes=told)["MessageId"])

    def depth(self, url: str) -> tuple[int, int]:
        """How many messages can be received, and how many are hidden."""
        found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=COUNTS)["Attributes"]
        return int(found[COUNTS[0]]), int(found[COUNTS[1]])

    @property
    def dead(self) -> tuple[int, int]:
        return self.depth(self.target.dead_letter_queue_url)

    def jobs(self) -> list[dict[str, Any]]:
        """What was sent to the jobs queue."""
        asked = {"QueueUrl": self.target.queue_url, "MaxNumberOfMessages": 10}
        names = {"MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"]}
        found: list[dict[str, Any]] = self.sqs.receive_message(**asked, **names).get("Messages", [])
        return found

    def fail(self, name: str, times: int) -> None:
        """What the function counts in the jobs table."""
        item = {"job": {"S": name}, "attempts": {"N": str(times)}, "expires_at": {"N": "4102444800"}}
        self.dynamodb.put_item(TableName=self.target.tables["jobs"], Item=item)

    def item(self, name: str) -> dict[str, Any]:
        found = self.dynamodb.get_item(TableName=self.target.tables["jobs"], Key={"job": {"S": name}})
        return dict(found.get("Item", {}))


@pytest.fixture
def queues(stack: LocalStack, group: str) -> Iterator[Queues]:
    sqs = stack.emulator.client("sqs")
    dead = sqs.create_queue(QueueName=f"dead-{group}", Attributes={"VisibilityTimeout": "300"})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
    jobs = sqs.create_queue(QueueName=f"jobs-{group}", Attributes={"RedrivePolicy": policy})["QueueUrl"]
    target = replace(stack.target, queue_url=jobs, dead_letter_queue_url=dead)
    yield Queues(sqs, stack.emulator.client("dynamodb"), target)
    for url in (jobs, dead):
        sqs.delete_queue(QueueUrl=url)


@pytest.fixture
def cwd(queues: Queues, stack: LocalStack, tmp_path: Path) -> Path:
    """A folder whose local stack has this test's queues."""
    own = {"queue_url": queues.target.queue_url, "dead_letter_queue_url": queues.target.dead_letter_queue_url}
    (tmp_path / ".local").mkdir()
    (tmp_path / ".local" / "stack.json").write_text(json.dumps({**stack.description, **own}), encoding="utf-8")
    return tmp_path


def dead(*words: str, cwd: Path, expect: int = 0) -> Any:
    return json.loads(command("dead-letters", *words, "--json", cwd=cwd, expect=expect))


def test_list_tells_what_was_set_aside_but_no_prompt_and_takes_nothing_away(
    queues: Queues, cwd: Path, group: str
) -> None:
    before = dt.datetime.now(dt.UTC).replace(microsecond=0)
    ids = [queues.put(job("ticket-1", group)), queues.put(f"{PROMPT}, which is no JSON", reason=None)]
    found = dead("list", cwd=cwd)
    first, second = found["messages"]
    assert found["total"] == 2
    assert [first["id"], second["id"]] == ids
    assert (first["group"], first["custom_id"]) == (group, "ticket-1")
    assert (second["group"], second["custom_id"]) == ("ungrouped", ids[1])
    assert (first["reason"], second["reason"]) == ("TypeError after 3 attempts", None)
    assert (first["size"], second["size"]) == (len(job("ticket-1", group)), 35)
    assert before <= dt.datetime.fromisoformat(first["sent"]) <= dt.datetime.now(dt.UTC)
    assert first["sent"].endswith("+00:00")
    printed = command("dead-letters", "list", cwd=cwd)
    assert all(id_ in printed for id_ in ids), "looking twice shows the same"
    assert [printed.count(f" {row['size']} │\n") for row in (first, second)] == [1, 1], "no column is cut"
    assert PROMPT not in printed + json.dumps(found)
    assert queues.dead == (2, 0)


def test_an_empty_queue_is_said_to_be_empty(queues: Queues, cwd: Path) -> None:
    assert command("dead-letters", "list", cwd=cwd) == "no dead letters\n"
    assert dead("list", cwd=cwd) == {"total": 0, "messages": []}
    assert dead("redrive", "--all", cwd=cwd) == {"sent_back": [], "stayed": []}


def test_more_than_one_answer_of_sqs_holds_is_listed_and_a_limit_says_how_many_there_are(
    queues: Queues, cwd: Path, group: str
) -> None:
    ids = {queues.put(job(f"many-{number}", group)) for number in range(23)}
    assert {row["id"] for row in dead("list", cwd=cwd)["messages"]} == ids
    few = dead("list", "--limit", "11", cwd=cwd)
    assert (len(few["messages"]), few["total"]) == (11, 23)
    assert "11 of about 23 dead letters; --limit N shows more" in command(
        "dead-letters", "list", "--limit", "11", cwd=cwd
    )
    assert queues.dead == (23, 0)


def test_what_somebody_else_is_reading_is_counted(queues: Queues, cwd: Path, group: str) -> None:
    queues.put(job("elsewhere", group))
    assert queues.sqs.receive_message(QueueUrl=queues.target.dead_letter_queue_url)["Messages"]
    assert "0 of about 1 dead letters; somebody else is reading" in command("dead-letters", "list", cwd=cwd)
    assert queues.dead == (0, 1)


def test_show_prints_the_whole_message(queues: Queues, cwd: Path, group: str) -> None:
    body = job("shown", group, "Gr\u00fc\u00dfe \ud800 \u009b31m")
    ids = [queues.put(body), queues.put("line one\nline [two]"), queues.put(job("other", group))]
    found = dead("show", ids[0], cwd=cwd)
    assert (found["body"], found["group"], found["custom_id"]) == (body, group, "shown")
    assert found["message_attributes"] == {"reason": "TypeError after 3 attempts"}
    assert found["attributes"]["SenderId"] == "0" * 12
    printed = command("dead-letters", "show", ids[0], cwd=cwd)
    assert '\n  "custom_id": "shown",\n' in printed
    assert "Gr\u00fc\u00dfe \\ud800 \\x9b31m" in printed, "nothing of a job steers the terminal"
    assert "line one\nline [two]\n" in command("dead-letters", "show", ids[1], cwd=cwd)
    assert queues.dead == (3, 0)


def test_a_job_that_is_sent_back_is_run_and_its_failures_are_forgotten(
    folder: Path, stack: LocalStack, meter: Meter, unique: Unique, group: str
) -> None:
    real = Queues(stack.emulator.client("sqs"), stack.emulator.client("dynamodb"), stack.target)
    real.fail(f"{group}/again", 3)
    id_ = real.put(job("again", group, unique("[[label:simple]] Hi")))
    assert command("dead-letters", "redrive", id_, cwd=folder) == "sent back 1, stayed 0\n"
    s3, place = stack.emulator.client("s3"), {"Bucket": stack.target.results_bucket, "Prefix": f"results/{group}/"}
    [kept] = poll(lambda: s3.list_objects_v2(**place).get("Contents"), "result")
    result = json.loads(s3.get_object(Bucket=place["Bucket"], Key=kept["Key"])["Body"].read())
    assert (result["custom_id"], result["result"]["type"]) == ("again", "succeeded")
    assert "attempts" not in real.item(f"{group}/again")
    assert real.dead == (0, 0)


def test_only_the_ids_given_are_sent_back_each_once_with_its_group(queues: Queues, cwd: Path, group: str) -> None:
    ids = [queues.put(job(f"part-{number}", group)) for number in range(13)]
    queues.fail(f"{group}/part-12", 3)
    queues.fail(f"{group}/part-0", 3)
    assert dead("redrive", ids[12], ids[3], ids[12], cwd=cwd) == {"sent_back": [ids[12], ids[3]], "stayed": []}
    sent = queues.jobs()
    assert [message["Body"] for message in sent] == [job("part-12", group), job("part-3", group)]
    assert [message["Attributes"]["MessageGroupId"] for message in sent] == [group, group]
    assert queues.dead == (11, 0)
    assert set(queues.item(f"{group}/part-12")) == {"job", "expires_at"}
    assert queues.item(f"{group}/part-0")["attempts"] == {"N": "3"}, "it stayed, and so did its count"
    assert queues.item(f"{group}/part-3") == {}, "an item that was not there is not made"


def test_all_are_sent_back_but_for_what_is_not_json(queues: Queues, cwd: Path, group: str) -> None:
    for number in range(21):
        queues.put(job(f"all-{number}", group))
    broken = [queues.put("not json"), queues.put("[" * 100_000)]
    done = dead("redrive", "--all", cwd=cwd, expect=1)
    assert len(done["sent_back"]) == 21
    assert {row["id"] for row in done["stayed"]} == set(broken)
    assert queues.dead == (2, 0)
    assert queues.depth(queues.target.queue_url) == (21, 0)
    printed = command("dead-letters", "redrive", broken[0], cwd=cwd, expect=1)
    assert printed.startswith(f"sent back 0, stayed 1\n  {broken[0]} stayed: its body is not JSON")
    assert queues.dead == (2, 0)


def test_a_job_that_sqs_itself_moved_has_no_reason_and_goes_back_too(queues: Queues, cwd: Path, group: str) -> None:
    jobs = queues.target.queue_url
    moved = queues.sqs.send_message(QueueUrl=jobs, MessageBody=job("patient", group))["MessageId"]
    for _ in range(2):  # one receive is allowed; the next look moves it
        queues.sqs.receive_message(QueueUrl=jobs, VisibilityTimeout=0)
    [row] = dead("list", cwd=cwd)["messages"]
    assert (row["id"], row["custom_id"], row["reason"]) == (moved, "patient", None)
    assert dead("redrive", "--all", cwd=cwd)["sent_back"] == [moved]
    assert [message["Body"] for message in queues.jobs()] == [job("patient", group)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("redrive",), "nothing to send back; accepted: ids that"),
        (("redrive", "abc", "--all"), "'abc' contradict each other; accepted: either ids or --all"),
        (("redrive", "KNOWN", "abc"), "no dead letter has the id 'abc'; accepted: ids that"),
        (("show", "abc"), "no dead letter has the id 'abc'; accepted: ids that"),
    ],
)
def test_a_mistake_is_one_line_that_quotes_it_and_nothing_is_changed(
    queues: Queues, cwd: Path, group: str, words: tuple[str, ...], said: str
) -> None:
    queues.fail(f"{group}/untouched", 3)
    known = queues.put(job("untouched", group))
    printed = command("dead-letters", *(known if word == "KNOWN" else word for word in words), cwd=cwd, expect=1)
    assert said in printed
    assert printed.startswith("cost-router: ")
    assert printed.count("\n") == 1
    assert (queues.dead, queues.jobs()) == ((1, 0), [])
    assert queues.item(f"{group}/untouched")["attempts"] == {"N": "3"}


@pytest.mark.parametrize("words", [("list",), ("show", "x"), ("redrive", "--all")])
def test_every_command_takes_another_stack(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert "make up" in command("dead-letters", *words, cwd=tmp_path, expect=1)
    assert "'elsewhere'" in command("dead-letters", *words, "--stack", "elsewhere", cwd=tmp_path, expect=1)


Meddle = Callable[[str, Any, dict[str, Any]], Any]


@dataclass(frozen=True)
class Meddled(Target):
    """A target whose SQS answers otherwise where `meddle` gives something."""

    meddle: Meddle = lambda *_: None

    def client(self, service: str) -> Any:
        real, meddle = super().client(service), self.meddle
        if service != "sqs":
            return real

        class Client:
            def __getattr__(self, name: str) -> Any:
                def call(**arguments: Any) -> Any:
                    answer = meddle(name, real, arguments)
                    return getattr(real, name)(**arguments) if answer is None else answer

                return call

        return Client()


def meddled(queues: Queues, meddle: Meddle) -> Meddled:
    fields = {name: getattr(queues.target, name) for name in Target.__slots__}
    return Meddled(**fields, meddle=meddle)


def refused(code: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, operation)


def test_a_letter_that_cannot_be_sent_stays_and_can_be_seen_at_once(queues: Queues, cwd: Path, group: str) -> None:
    queues.put(job("first", group))
    queues.put(job("second", group))
    sends = iter([None, refused("KMS.DisabledException", "SendMessage")])

    def meddle(name: str, real: Any, arguments: dict[str, Any]) -> None:
        error = next(sends) if name == "send_message" else None
        if error:
            raise error

    with pytest.raises(dead_letters.QueueProblem, match=r"KMS.* sent back before: 1; the others stayed"):
        dead_letters.redrive(meddled(queues, meddle), None)
    assert queues.dead == (1, 0)
    assert [message["Body"] for message in queues.jobs()] == [job("first", group)]


def test_a_letter_that_was_sent_but_not_deleted_is_named(queues: Queues, group: str) -> None:
    id_ = queues.put(job("twice", group))

    def meddle(name: str, real: Any, arguments: dict[str, Any]) -> None:
        if name == "delete_message":
            raise refused("AccessDenied", "DeleteMessage")

    with pytest.raises(dead_letters.QueueProblem, match=f"before: 1 \\('{id_}' could not be deleted here\\)"):
        dead_letters.redrive(meddled(queues, meddle), [id_])
    assert queues.dead == (1, 0)


def test_a_letter_that_somebody_else_took_meanwhile_is_not_sent(queues: Queues, group: str) -> None:
    mine, theirs = queues.put(job("mine", group)), queues.put(job("theirs", group))
    taken: list[dict[str, Any]] = []

    def meddle(name: str, real: Any, arguments: dict[str, Any]) -> None:
        if name == "change_message_visibility" and not taken:  # the first to be held: its time had run out
            taken.append(arguments)
            raise refused("AWS.SimpleQueueService.MessageNotInflight", "ChangeMessageVisibility")

    done = dead_letters.redrive(meddled(queues, meddle), [theirs, mine])
    assert (done.sent_back, list(done.stayed)) == ([mine], [theirs])
    assert [message["Body"] for message in queues.jobs()] == [job("mine", group)]


def test_when_reading_fails_what_was_received_is_given_back(queues: Queues, group: str) -> None:
    for number in range(12):
        queues.put(job(f"read-{number}", group))
    receives = iter([None, refused("OverLimit", "ReceiveMessage")])

    def meddle(name: str, real: Any, arguments: dict[str, Any]) -> None:
        error = next(receives) if name == "receive_message" else None
        if error:
            raise error

    with pytest.raises(ClientError, match="OverLimit"):
        dead_letters.list_letters(meddled(queues, meddle), 100)
    assert queues.dead == (12, 0)


def test_a_message_that_sqs_delivers_again_and_again_is_told_and_sent_once(queues: Queues, group: str) -> None:
    ids = [queues.put(job(f"again-{number}", group)) for number in range(3)]
    given: list[dict[str, Any]] = []
    deletions: list[str] = []

    def meddle(name: str, real: Any, arguments: dict[str, Any]) -> Any:
        if name == "receive_message":  # nothing that was given once is hidden from the next receive
            given.extend(real.receive_message(**arguments).get("Messages", []))
            return {"Messages": list(given)}
        if name == "delete_message":
            deletions.append(arguments["ReceiptHandle"])
            return None if deletions.count(arguments["ReceiptHandle"]) == 1 else {}
        return None

    target = meddled(queues, meddle)
    assert [row["id"] for row in dead_letters.list_letters(target, 100)["messages"]] == ids
    assert queues.dead == (3, 0)
    given.clear()
    assert sorted(dead_letters.redrive(target, None).sent_back) == sorted(ids)
    assert sorted(message["Body"] for message in queues.jobs()) == [
        job(f"again-{number}", group) for number in range(3)
    ]
    assert queues.dead == (0, 0)
    assert len(deletions) > 3, "what comes back after it was deleted is deleted again"


def test_a_job_that_is_set_aside_again_at_once_is_not_sent_back_for_ever(queues: Queues, group: str) -> None:
    first = queues.put(job("hopeless", group))
    again: list[str] = []

    def meddle(name: str, real: Any, arguments: dict[str, Any]) -> None:
        if name == "send_message":  # what the function makes of it before this command has looked again
            again.append(queues.put(arguments["MessageBody"], "this name belongs to another job"))

    done = dead_letters.redrive(meddled(queues, meddle), None)
    assert (done.sent_back, list(done.stayed)) == ([first], again)
    assert "was set aside again at once" in done.stayed[again[0]]
    assert (queues.dead, len(queues.jobs())) == ((1, 0), 1)
