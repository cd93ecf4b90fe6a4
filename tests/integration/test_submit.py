"""`cost-router submit`, `results` and `groups` as a user runs them; most on a queue that nobody drains."""

import json
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cost_router.core.fingerprint import fingerprint
from cost_router.core.groups import shard_of
from infra.local.stack import LocalStack
from infra.operate.target import Target
from tests.integration.commands import BIN, command, environment
from tests.integration.meter import Meter, poll

Unique = Callable[[str], str]
PROMPT = "the secret prompt"
COUNTS = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]


def job(custom_id: str, text: str = PROMPT, **router: Any) -> dict[str, Any]:
    params = {"max_tokens": 32, "messages": [{"role": "user", "content": text}]}
    return {"custom_id": custom_id, "params": params} | ({"router": router} if router else {})


@dataclass(frozen=True)
class Bulk:
    """A deployment's tables and bucket, with a queue of this test alone, and the commands in a folder of its own."""

    stack: LocalStack
    target: Target
    group: str
    cwd: Path

    def file(self, *jobs: Mapping[str, Any], name: str = "jobs.jsonl") -> str:
        (self.cwd / name).write_text("".join(json.dumps(one) + "\n" for one in jobs), encoding="utf-8")
        return name

    def submit(self, *jobs: Mapping[str, Any], options: tuple[str, ...] = ("--tenant", "demo")) -> dict[str, Any]:
        words = ("submit", self.file(*jobs), "--group", self.group, *options, "--json")
        return dict(json.loads(command(*words, cwd=self.cwd)))

    def refused(self, *jobs: Mapping[str, Any], options: tuple[str, ...] = ("--tenant", "demo")) -> str:
        """What the command says when it sends nothing."""
        before = self.depth()
        said = command("submit", self.file(*jobs), "--group", self.group, *options, cwd=self.cwd, expect=1)
        assert self.depth() == before
        assert "nothing was sent" in said
        assert PROMPT not in said
        return said

    def results(self, *words: str) -> dict[str, Any]:
        return dict(json.loads(command("results", self.group, *words, "--json", cwd=self.cwd)))

    def depth(self) -> int:
        asked = {"QueueUrl": self.target.queue_url, "AttributeNames": COUNTS}
        found = self.stack.emulator.client("sqs").get_queue_attributes(**asked)["Attributes"]
        return sum(int(found[name]) for name in COUNTS)

    def messages(self) -> list[dict[str, Any]]:
        """Takes everything off the queue."""
        sqs, found = self.stack.emulator.client("sqs"), []
        asked = {"QueueUrl": self.target.queue_url, "MaxNumberOfMessages": 10, "MessageSystemAttributeNames": ["All"]}
        while batch := sqs.receive_message(**asked).get("Messages"):
            found += batch
        sqs.purge_queue(QueueUrl=self.target.queue_url)
        return found

    def ids(self) -> list[str]:
        return sorted(json.loads(message["Body"])["custom_id"] for message in self.messages())

    def item(self, key: str) -> dict[str, Any]:
        asked = {"TableName": self.target.tables["jobs"], "Key": {"job": {"S": key}}}
        return dict(self.stack.emulator.client("dynamodb").get_item(**asked).get("Item", {}))

    def put(self, key: str, **values: str | int | Decimal) -> None:
        item = {name: {"S": value} if isinstance(value, str) else {"N": str(value)} for name, value in values.items()}
        dynamodb, table = self.stack.emulator.client("dynamodb"), self.target.tables["jobs"]
        dynamodb.put_item(TableName=table, Item={"job": {"S": key}, **item})

    def take(self, *jobs: Mapping[str, Any], printed: str | None = None) -> None:
        """What the function writes when it takes jobs from the queue."""
        tenants, key = self.target.tables["tenants"], {"pk": {"S": "tenant#demo"}}
        secret = self.stack.emulator.client("dynamodb").get_item(TableName=tenants, Key=key)["Item"]["label_key"]["B"]
        for one in jobs:
            found = printed or fingerprint(bytes(secret), one["params"])
            self.put(f"{self.group}/{one['custom_id']}", state="leased", fingerprint=found, owner="req_1")
        self.count(*jobs)

    def count(self, *jobs: Mapping[str, Any], **counts: int | Decimal) -> None:
        """The group's counts; the same of each job."""
        shards: dict[int, int] = {}
        for one in jobs:
            shard = shard_of(one["custom_id"])
            shards[shard] = shards.get(shard, 0) + 1
        for shard, number in shards.items():
            values = {name: value * number for name, value in counts.items()}
            self.put(f"group#{self.group}#{shard}", started=number, **values)

    def deliver(self, *jobs: Mapping[str, Any]) -> None:
        """Results, and then the counts, as the function writes them."""
        for one in jobs:
            body = {"custom_id": one["custom_id"], "result": {"type": "succeeded"}}
            key = f"results/{self.group}/{one['custom_id']}.json"
            s3 = self.stack.emulator.client("s3")
            s3.put_object(Bucket=self.target.results_bucket, Key=key, Body=json.dumps(body).encode())
        self.count(*jobs, done=1, cost_usd=Decimal("0.000031"), baseline_usd=Decimal("0.00124"))


@pytest.fixture
def bulk(stack: LocalStack, group: str, tmp_path: Path) -> Iterator[Bulk]:
    name = f"bulk-{group}"
    sqs = stack.emulator.client("sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    (tmp_path / ".local").mkdir()
    description = {**stack.description, "queue_url": url}
    (tmp_path / ".local" / "stack.json").write_text(json.dumps(description), encoding="utf-8")
    yield Bulk(stack, replace(stack.target, queue_url=url), name, tmp_path)
    sqs.delete_queue(QueueUrl=url)


def test_jobs_are_sent_as_the_queue_takes_them_and_their_number_is_announced(bulk: Bulk) -> None:
    jobs = [job(f"j{number:02}") for number in range(23)] + [job("own", floor="opus", tenant="default")]
    done = bulk.submit(*jobs, options=("--tenant", "demo", "--lane", "batch", "--floor", "haiku", "--tags", "a=b"))
    assert {name: done[name] for name in ("group", "state", "jobs", "sent", "skipped", "claim_checks")} == {
        "group": bulk.group,
        "state": "running",
        "jobs": 24,
        "sent": 24,
        "skipped": 0,
        "claim_checks": 0,
    }
    found = {json.loads(message["Body"])["custom_id"]: message for message in bulk.messages()}
    assert sorted(found) == sorted(one["custom_id"] for one in jobs)
    router: dict[str, Any] = {
        "tenant": "demo",
        "group": bulk.group,
        "lane": "batch",
        "floor": "haiku",
        "tags": {"a": "b"},
    }
    assert json.loads(found["j07"]["Body"]) == job("j07", **router)
    assert json.loads(found["own"]["Body"])["router"] == router | {"floor": "opus", "tenant": "default"}
    assert found["j07"]["Attributes"]["MessageGroupId"] == f"demo.{bulk.group}"
    assert found["own"]["Attributes"]["MessageGroupId"] == f"default.{bulk.group}"
    standing = bulk.results()
    assert (standing["tenant"], standing["submitted"], standing["queued"]) == ("demo", 24, 24)
    [row] = [row for row in json.loads(command("groups", "list", "--json", cwd=bulk.cwd)) if row["group"] == bulk.group]
    assert (row["state"], row["announced"], row["submitted"], row["finished"]) == ("running", True, 24, False)


def test_it_is_said_what_was_sent_and_what_comes_next(bulk: Bulk) -> None:
    said = command("submit", bulk.file(job("a")), "--group", bulk.group, cwd=bulk.cwd)
    assert re.match(rf"sent 1 of 1 jobs to group {bulk.group} in \d+\.\d s \(\d+ jobs/s\)\n", said)
    assert said.endswith(f"\nnext: cost-router results {bulk.group} --follow\n")
    assert bulk.item(f"group#{bulk.group}")["tenant"] == {"S": "default"}


def test_a_file_with_a_wrong_line_sends_nothing_and_makes_no_group(bulk: Bulk) -> None:
    said = bulk.refused(job("a"), job("b") | {"params": {"max_tokens": "many", "messages": []}}, job("a"))
    assert "jobs.jsonl: 2 lines are no job" in said
    assert "\nline 2: params.max_tokens: Input should be a valid integer" in said
    assert "\nline 3: custom_id: 'a' is in line 1 already" in said
    assert bulk.item(f"group#{bulk.group}") == {}


def test_the_same_file_again_sends_what_was_not_taken_yet_and_counts_once(bulk: Bulk) -> None:
    jobs = [job(f"j{number:03}") for number in range(250)]
    bulk.submit(*jobs)
    assert len(bulk.messages()) == 250
    bulk.take(*jobs[:240])
    bulk.put(f"{bulk.group}/j240", state="done", fingerprint="x", expires_at=1)  # long ago: another job may have it
    again = bulk.submit(*jobs)
    assert (again["sent"], again["skipped"]) == (10, 240)
    assert bulk.ids() == [f"j{number:03}" for number in range(240, 250)]
    assert bulk.results()["submitted"] == 250
    printed = command("submit", "jobs.jsonl", "--group", bulk.group, "--tenant", "demo", cwd=bulk.cwd)
    assert "already submitted: 240; they cost nothing again" in printed
    assert bulk.results()["submitted"] == 250


def test_of_a_file_that_overlaps_only_the_new_jobs_are_counted(bulk: Bulk) -> None:
    jobs = [job(f"j{number}") for number in range(5)]
    bulk.submit(*jobs[:3])
    bulk.take(*jobs[:3])
    assert (bulk.submit(*jobs)["sent"], bulk.results()["submitted"]) == (2, 5)


def test_jobs_that_came_before_any_announcement_are_announced_with_the_first_file(bulk: Bulk) -> None:
    bulk.take(job("dropped-1"), job("dropped-2"))
    bulk.submit(job("a"), job("b"), job("c"))
    standing = bulk.results()
    assert (standing["submitted"], standing["queued"], standing["running"]) == (5, 3, 2)


def test_a_name_that_belongs_to_another_body_is_refused(bulk: Bulk) -> None:
    bulk.submit(job("a"), job("b"))
    bulk.take(job("a"), job("b"))
    said = bulk.refused(job("a"), job("b", "another text"), job("c"))
    assert "'b': their name belongs to another body in this group" in said
    assert bulk.results()["submitted"] == 2
    said = bulk.refused(job("a", tenant="default"), job("c"))
    assert "'a': their name belongs to another body" in said


def test_a_job_whose_message_was_broken_may_be_sent_again(bulk: Bulk) -> None:
    bulk.submit(job("a"))
    bulk.messages()
    bulk.take(job("a"), printed="broken")
    assert (bulk.submit(job("a"))["sent"], bulk.results()["submitted"]) == (1, 1)


def test_a_large_job_goes_by_way_of_the_bucket(bulk: Bulk) -> None:
    large = job("large", "x" * 2_000_000)
    assert bulk.submit(job("small"), large)["claim_checks"] == 1
    bodies = {body["custom_id"]: body for body in (json.loads(message["Body"]) for message in bulk.messages())}
    key = f"jobs/{bulk.group}/large.json"
    router = {"tenant": "demo", "group": bulk.group}
    assert bodies["large"] == {"custom_id": "large", "params_at": key, "router": router}
    kept = bulk.stack.emulator.client("s3").get_object(Bucket=bulk.target.results_bucket, Key=key)["Body"].read()
    assert json.loads(kept) == large["params"]


def test_jobs_of_an_unknown_or_disabled_tenant_or_of_one_that_others_send_for_are_refused(bulk: Bulk) -> None:
    said = bulk.refused(job("a"), options=("--tenant", "nobody"))
    assert said.startswith("cost-router: router.tenant: 'nobody' is unknown or disabled; accepted:")
    assert "\nline 2: router.tenant: 'nobody' is unknown" in bulk.refused(job("a"), job("b", tenant="nobody"))
    for name, words in (("off", ()), ("theirs", ("--senders", "AROAEXAMPLE12"))):
        command("keys", "create", f"{name}-{bulk.group}", *words, cwd=bulk.cwd)
    command("keys", "set", f"off-{bulk.group}", "--disable", cwd=bulk.cwd)
    assert "is unknown or disabled" in bulk.refused(job("a"), options=("--tenant", f"off-{bulk.group}"))
    assert "takes no jobs from '000000000000'" in bulk.refused(job("a"), options=("--tenant", f"theirs-{bulk.group}"))


def test_a_group_is_paused_resumed_and_canceled_for_good(bulk: Bulk) -> None:
    bulk.submit(job("a"))
    said = command("groups", "pause", bulk.group, cwd=bulk.cwd)
    assert said.startswith(
        f"group {bulk.group} is paused, within 10 seconds: jobs that were not sent to Claude are held"
    )
    assert bulk.item(f"group#{bulk.group}")["state"] == {"S": "paused"}
    printed = command("submit", bulk.file(job("b")), "--group", bulk.group, "--tenant", "demo", cwd=bulk.cwd)
    assert f"the group is paused: its jobs are held until `cost-router groups resume {bulk.group}`" in printed
    assert json.loads(command("groups", "resume", bulk.group, "--json", cwd=bulk.cwd))["state"] == "running"
    assert json.loads(command("groups", "cancel", bulk.group, "--json", cwd=bulk.cwd))["state"] == "canceled"
    for word in ("pause", "resume"):
        said = command("groups", word, bulk.group, cwd=bulk.cwd, expect=1)
        assert f"group '{bulk.group}' was canceled, which cannot be undone; accepted: a group of another name" in said
    assert "was canceled" in bulk.refused(job("c"))
    command("groups", "cancel", bulk.group, cwd=bulk.cwd)


@pytest.mark.parametrize("words", [("groups", "pause"), ("groups", "cancel"), ("results",)])
def test_an_unknown_group_is_told_with_the_open_ones(bulk: Bulk, words: tuple[str, ...]) -> None:
    bulk.submit(job("a"))
    said = command(*words, "unknown", cwd=bulk.cwd, expect=1)
    assert said.startswith("cost-router: no group is called 'unknown'; open groups: ")
    assert bulk.group in said
    assert bulk.item("group#unknown") == {}


def test_progress_is_told_from_the_counts_and_results_are_written_while_jobs_end(bulk: Bulk) -> None:
    jobs = [job(f"j{number:02}") for number in range(40)]
    bulk.submit(*jobs)
    bulk.take(*jobs[:30])
    bulk.deliver(*jobs[:10])
    bulk.count(*jobs[:10], done=1, cost_usd=Decimal("0.000031"), baseline_usd=Decimal("0.00124"))
    found = bulk.results("--out", "some.jsonl")
    assert (found["submitted"], found["done"], found["percent"], found["collected"]) == (40, 10, 25.0, 10)
    assert (found["cost_usd"], found["saved_usd"], found["finished"]) == ("0.00031", "0.01209", False)
    assert len((bulk.cwd / "some.jsonl").read_text(encoding="utf-8").splitlines()) == 10

    said: list[str] = []
    words = ("results", bulk.group, "--follow", "--out", "all.jsonl")
    following = threading.Thread(target=lambda: said.append(command(*words, cwd=bulk.cwd)))
    following.start()
    poll((bulk.cwd / "all.jsonl.part").exists, "file")
    bulk.deliver(*jobs)
    following.join(60)
    rows = [json.loads(row) for row in (bulk.cwd / "all.jsonl").read_text(encoding="utf-8").splitlines()]
    assert sorted(row["custom_id"] for row in rows) == [one["custom_id"] for one in jobs]
    *_, last, written = said[0].splitlines()
    assert last == (
        "100.0 % of 40: queued 0, running 0, done 40, failed 0, canceled 0; cost $0.001240, saved $0.048360; finished"
    )
    assert written == "40 results written to all.jsonl"
    assert not (bulk.cwd / "all.jsonl.part").exists()


def start(*words: str, cwd: Path) -> subprocess.Popen[str]:
    line = [str(BIN / "cost-router"), *words]
    return subprocess.Popen(line, cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_ctrl_c_ends_following_without_harm(bulk: Bulk) -> None:
    bulk.submit(job("a"), job("b"))
    bulk.deliver(job("a"))
    process = start("results", bulk.group, "--follow", "--out", "out.jsonl", cwd=bulk.cwd)
    part = bulk.cwd / "out.jsonl.part"
    poll(lambda: part.exists() and part.stat().st_size, "result")
    process.send_signal(signal.SIGINT)
    said, trouble = process.communicate(timeout=60)
    assert (process.returncode, trouble) == (130, "")
    assert said.endswith("no longer followed; the group goes on; what came so far is in out.jsonl.part\n")
    assert len(part.read_text(encoding="utf-8").splitlines()) == 1


def test_a_submission_that_is_interrupted_says_exactly_how_many_were_sent(bulk: Bulk) -> None:
    total = 40_000
    process = start("submit", bulk.file(*map(job, map(str, range(total)))), "--group", bulk.group, cwd=bulk.cwd)
    poll(lambda: bulk.depth() > 100, "message")
    process.send_signal(signal.SIGINT)
    said, trouble = process.communicate(timeout=60)
    assert (process.returncode, trouble) == (130, "")
    match = re.search(
        r"interrupted; ([\d,]+) of 40,000 jobs were sent, and the same command again sends the rest", said
    )
    assert match, said
    assert int(match[1].replace(",", "")) == bulk.depth() < total


def test_a_thousand_jobs_a_second_are_sent_at_the_least(bulk: Bulk) -> None:
    """Measured at 5,000 a second where this was written."""
    began = time.monotonic()
    done = bulk.submit(*(job(f"j{number}", "x" * 400) for number in range(10_000)))
    assert (done["sent"], bulk.depth()) == (10_000, 10_000)
    assert 10_000 / (time.monotonic() - began) > 1_000


def test_a_group_runs_through_the_deployed_functions_and_comes_back_in_one_file(
    folder: Path, stack: LocalStack, meter: Meter, unique: Unique, group: str
) -> None:
    bulk = Bulk(stack, stack.target, f"whole-{group}", folder)
    jobs = [job(f"j{number:02}", unique("[[label:simple]] Hi")) for number in range(20)]
    jobs.append(job("large", unique("[[label:simple]] Hi") + " x" * 120_000))
    assert (bulk.submit(*jobs)["sent"], len(jobs)) == (21, 21)
    found = bulk.results("--follow", "--out", "all.jsonl")
    assert (found["finished"], found["submitted"], found["done"], found["collected"]) == (True, 21, 21, 21)
    rows = [json.loads(row) for row in (folder / "all.jsonl").read_text(encoding="utf-8").splitlines()]
    assert sorted(row["custom_id"] for row in rows) == sorted(one["custom_id"] for one in jobs)
    assert {row["result"]["type"] for row in rows} == {"succeeded"}
    assert sum(Decimal(row["router"]["cost_usd"]) for row in rows) == Decimal(found["cost_usd"])
    again = bulk.submit(*jobs)
    assert (again["sent"], again["skipped"]) == (0, 21)
    assert len(meter.calls("answer")) == 21


def test_a_job_whose_message_was_broken_runs_when_it_is_submitted_mended(
    folder: Path, stack: LocalStack, meter: Meter, unique: Unique, group: str
) -> None:
    bulk = Bulk(stack, stack.target, f"mended-{group}", folder)
    broken = job("fixme", group=bulk.group, tenant="demo") | {"params": {"max_tokens": -1, "messages": []}}
    stack.emulator.client("sqs").send_message(QueueUrl=stack.target.queue_url, MessageBody=json.dumps(broken))
    poll(lambda: bulk.item(f"{bulk.group}/fixme").get("state") == {"S": "failed"}, "failed job")
    assert bulk.submit(job("fixme", unique("[[label:simple]] Hi")))["sent"] == 1
    poll(lambda: (found := bulk.results())["done"] == 1 and found["failed"] == 0, "mended job", seconds=20)
    bulk.results("--out", "all.jsonl")
    [row] = (folder / "all.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(row)["result"]["type"] == "succeeded"


def test_a_paused_group_waits_and_a_canceled_one_ends_unpaid(
    folder: Path, stack: LocalStack, meter: Meter, unique: Unique, group: str
) -> None:
    bulk = Bulk(stack, stack.target, f"held-{group}", folder)
    first = job("first", unique("[[label:simple]] Hi"))
    bulk.submit(first)
    assert bulk.results("--follow")["done"] == 1
    command("groups", "pause", bulk.group, cwd=folder)
    # A process remembers the group as running for ten seconds: jobs sent after that are held.
    poll(lambda: _held(bulk, unique), "held job", seconds=120)
    paid = len(meter.calls("answer"))
    command("groups", "cancel", bulk.group, cwd=folder)
    task = b'{"task": "minute"}'

    def ended() -> bool:
        for name in (b"minute", b"batches"):
            stack.emulator.client("lambda").invoke(
                FunctionName=stack.outputs["CollectorFunction"], Payload=task.replace(b"minute", name)
            )
        return bool(bulk.results()["finished"])

    poll(ended, "end of the canceled group", seconds=120)
    found = bulk.results("--out", "all.jsonl")
    rows = [json.loads(row) for row in (folder / "all.jsonl").read_text(encoding="utf-8").splitlines()]
    assert found["canceled"] >= 1
    assert [row["result"]["type"] for row in rows].count("canceled") == found["canceled"]
    assert len(meter.calls("answer")) == paid


def _held(bulk: Bulk, unique: Unique) -> bool:
    """Submit another job, wait for what becomes of it; whether it is held."""
    name = f"j{time.monotonic_ns()}"
    bulk.submit(job(name, unique("[[label:simple]] Hi")))
    state = poll(
        lambda: (found := bulk.item(f"{bulk.group}/{name}").get("state", {}).get("S")) in {"held", "done"} and found,
        "state",
    )
    return bool(state == "held")
