"""Bulk work while everything goes wrong: each job has one result, each payment is booked once.

Seeded jobs of both lanes go through the deployed local stack. Meanwhile the stand-in answers 429, 529 and 500, cuts
connections and is slow; workers die (`os._exit`) before and after each step; messages come twice; DynamoDB's replies
are lost between the functions and the emulator, and its requests are throttled. `CHAOS_JOBS` says how many jobs: a few
hundred as a test, 2,000 as `make bench` runs it.
"""

import contextlib
import datetime as dt
import json
import os
import random
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from cost_router.contract import Output, Task
from cost_router.core.groups import SHARDS
from infra.local.processes import Children, free_port, listens
from infra.local.stack import LocalStack, running_stack
from infra.operate.keys import Policy, create
from tests.integration.books import Books
from tests.integration.meter import Meter, poll
from tests.integration.test_collector import collect, end_lease, reservations

JOBS: Final = int(os.environ.get("CHAOS_JOBS", "200"))
SEED: Final = int(os.environ.get("CHAOS_SEED", "20261124"))
KILLS: Final = 4 / JOBS  # share of jobs that end their worker, at each place
TWICE: Final = 0.1  # of messages
BATCH: Final = 0.25  # of jobs
TENANTS: Final = ("chaos-search", "chaos-support")
GROUPS: Final = ("chaos-night", "chaos-day")
LABELS: Final = ("simple", "moderate", "complex")
PLACES: Final = {"before-lease", "after-lease", "after-call", "before-settle", "before-end", "before-delete"}
TROUBLES: Final[tuple[list[dict[str, Any]], ...]] = (
    [{"times": 6, "status": 429, "retry_after": 0}],
    [{"times": 3, "status": 529}],
    [{"times": 3, "status": 500}],
    [{"times": 2, "kind": "cut_before"}, {"times": 1, "latency": 2}],
    [{"times": 1, "kind": "cut_after"}],
    [],
    [{"times": 1, "kind": "no_usage"}, {"times": 2, "status": 500, "purpose": "classifier"}],
)
# Of DynamoDB's calls: the reply is cut off after it had its effect; the request is refused.
PROXY: Final = [
    {"service": "dynamodb", "probability": 0.01, "response": {"abort_bytes": 1}},
    {"service": "dynamodb", "probability": 0.01, "error": {"code": "ProvisionedThroughputExceededException"}},
]


@dataclass(frozen=True)
class Chaos:
    """A stack whose batch function dies, behind a proxy that loses replies."""

    stack: LocalStack
    meter: Meter
    kills: Path
    proxy: str

    def died_at(self) -> Counter[str]:
        """How many workers died at each place."""
        places = sorted(PLACES)
        return Counter(next(place for place in places if file.name.startswith(place)) for file in self.kills.iterdir())


@pytest.fixture(scope="module")
def chaos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chaos]:
    folder = tmp_path_factory.mktemp("chaos")
    kills = folder / "kills"
    kills.mkdir()
    children = Children(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ANTHROPIC_API_KEY", raising=False)
        with running_stack(folder / "stack") as stack:
            try:
                proxy = start_proxy(children, stack, folder)
                deploy_chaos(stack, proxy, kills)
                assert stack.upstream.meter_url
                yield Chaos(stack, Meter(stack.upstream.meter_url), kills, proxy)
            finally:
                children.end()


def start_proxy(children: Children, stack: LocalStack, folder: Path) -> str:
    """A proxy between the functions and DynamoDB."""
    port, rules = free_port(), folder / "proxy.yml"
    rules.write_text(json.dumps({"upstream": stack.emulator.endpoint, "port": port, "rules": PROXY}), encoding="utf-8")
    command = [sys.executable, "-m", "microburst", "--config", str(rules), "--host", "127.0.0.1"]
    children.start("proxy", command, dict(os.environ)).wait_until(lambda: listens(port))
    return f"http://127.0.0.1:{port}"


def deploy_chaos(stack: LocalStack, proxy: str, kills: Path) -> None:
    """Give the deployed functions the proxy, and the batch function a handler that dies."""
    lambda_ = stack.emulator.client("lambda")
    dying = {
        "PYTHONPATH": str(Path(__file__).parent),
        "CHAOS_SEED": str(SEED),
        "CHAOS_SHARE": f"{KILLS}",
        "CHAOS_FOLDER": str(kills),
    }
    for output, more in ((Output.BATCH_FUNCTION, dying), (Output.COLLECTOR_FUNCTION, {})):
        name = stack.outputs[output]
        known = lambda_.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        variables = {**known, "AWS_ENDPOINT_URL_DYNAMODB": proxy, **more}
        handler = {"Handler": "chaos_worker.handler"} if more else {}
        lambda_.update_function_configuration(FunctionName=name, Environment={"Variables": variables}, **handler)


def jobs(chance: random.Random) -> list[dict[str, Any]]:
    """Jobs of both lanes, tenants and groups; each asks something of its own."""
    made = []
    for number in range(JOBS):
        label = chance.choice(LABELS)
        params = {
            "max_tokens": chance.choice([16, 64, 256]),
            "metadata": {"user_id": f"job-{number}"},  # by which the meter knows a job's calls
            "messages": [
                {"role": "user", "content": f"[[label:{label}]] chaos {number} {'words ' * chance.randrange(40)}"}
            ],
        }
        if chance.random() < 0.5:
            params["model"] = chance.choice(["haiku", "sonnet", "opus"])
        router = {
            "tenant": chance.choice(TENANTS),
            "group": chance.choice(GROUPS),
            "lane": "batch" if chance.random() < BATCH else "direct",
        }
        made.append({"custom_id": f"job-{number}", "params": params, "router": router})
    return made


def send(stack: LocalStack, made: list[dict[str, Any]], chance: random.Random) -> None:
    """Drop the jobs, some of them twice, in no order."""
    bodies = [json.dumps(job) for job in made]
    bodies += [body for body in bodies if chance.random() < TWICE]
    chance.shuffle(bodies)
    sqs = stack.emulator.client("sqs")
    for some in tens(bodies):
        entries = [{"Id": str(place), "MessageBody": body} for place, body in enumerate(some)]
        sqs.send_message_batch(QueueUrl=stack.description["queue_url"], Entries=entries)


def tens(bodies: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(bodies), 10):
        yield bodies[start : start + 10]


def names(stack: LocalStack) -> Counter[str]:
    """The results there are, by `GROUP/CUSTOM_ID`."""
    s3, found = stack.emulator.client("s3"), Counter[str]()
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=stack.description["results_bucket"], Prefix="results/")
    for page in pages:
        found.update(row["Key"].removeprefix("results/").removesuffix(".json") for row in page.get("Contents", ()))
    return found


@contextlib.contextmanager
def trouble(meter: Meter, chance: random.Random) -> Iterator[None]:
    """The stand-in has one trouble after another until the block ends."""
    over = threading.Event()

    def go_wrong() -> None:
        while not over.wait(0.4):
            meter.script(faults=chance.choice(TROUBLES))

    going = threading.Thread(target=go_wrong)
    going.start()
    try:
        yield
    finally:
        over.set()
        going.join()
        meter.script(faults=[])


def rounds(stack: LocalStack) -> None:
    """A round of the collector, which may meet a lost reply: then the next one goes on."""
    name = stack.outputs[Output.COLLECTOR_FUNCTION]
    stack.emulator.client("lambda").invoke(FunctionName=name, Payload=json.dumps({"task": Task.BATCHES}))


def run(chaos: Chaos) -> dict[str, dict[str, Any]]:
    """All jobs, until each has a result; gives the results by `GROUP/CUSTOM_ID`."""
    chance = random.Random(SEED)
    made = jobs(chance)
    wanted = {f"{job['router']['group']}/{job['custom_id']}" for job in made}
    send(chaos.stack, made, chance)

    def delivered() -> bool:
        rounds(chaos.stack)
        return wanted <= set(names(chaos.stack))

    def nearly() -> bool:
        rounds(chaos.stack)
        return len(names(chaos.stack)) >= 0.9 * JOBS

    with trouble(chaos.meter, chance):
        poll(nearly, "nearly all results", seconds=900)
    try:
        poll(delivered, "all results", seconds=300)
    except AssertionError as error:
        raise AssertionError(f"{error}; {states(chaos.stack, wanted)}") from error
    poll(lambda: queue_is_empty(chaos.stack), "empty queue", seconds=120)
    assert set(names(chaos.stack)) == wanted
    return read(chaos.stack, wanted)


def states(stack: LocalStack, wanted: set[str]) -> list[Any]:
    """What the table has of the jobs without a result."""
    table, dynamodb = stack.description["tables"]["jobs"], stack.emulator.client("dynamodb")
    missing = sorted(wanted - set(names(stack)))
    items = [dynamodb.get_item(TableName=table, Key={"job": {"S": job}}).get("Item", {}) for job in missing[:20]]
    told = ("job", "state", "batch", "lease", "attempts", "lost")
    rows: list[Any] = [{name: item[name] for name in told if name in item} for item in items]
    markers = {item["batch"]["S"] for item in items if "batch" in item}
    batches = [dynamodb.get_item(TableName=table, Key={"job": {"S": f"batch#{marker}"}}) for marker in markers]
    return [len(missing), rows, [batch.get("Item") for batch in batches], dt.datetime.now(dt.UTC).isoformat()]


def queue_is_empty(stack: LocalStack) -> bool:
    wanted = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = stack.emulator.client("sqs").get_queue_attributes(
        QueueUrl=stack.description["queue_url"], AttributeNames=wanted
    )["Attributes"]
    return not any(int(value) for value in found.values())


def read(stack: LocalStack, wanted: set[str]) -> dict[str, dict[str, Any]]:
    s3, bucket = stack.emulator.client("s3"), stack.description["results_bucket"]

    def one(name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(s3.get_object(Bucket=bucket, Key=f"results/{name}.json")["Body"].read())
        return found

    with ThreadPoolExecutor(8) as pool:
        return dict(zip(wanted, pool.map(one, wanted), strict=True))


def test_each_job_has_one_result_and_each_payment_one_entry_whatever_goes_wrong(chaos: Chaos) -> None:
    now = dt.datetime.now(dt.UTC)
    for tenant in TENANTS:
        create(chaos.stack.target, tenant, Policy(), now)
    results = run(chaos)
    assert set(chaos.died_at()) == PLACES, "workers died at every place"
    fired = httpx2.get(f"{chaos.proxy}/_microburst/fired", params={"limit": 10_000}).json()
    assert fired, "replies were lost"
    for item in reservations(chaos.stack):  # of workers that died: their time is up
        end_lease(chaos.stack, item)
    sweep(chaos.stack)
    books = Books.read(chaos.stack, chaos.meter, now, TENANTS)
    books.check_call_by_call()
    books.check_difference()
    check_jobs(results, books)
    check_groups(chaos.stack, results)
    tell(chaos, results, books)


def sweep(stack: LocalStack) -> None:
    """Rounds of the collector until nothing is put aside."""

    def swept() -> bool:
        with contextlib.suppress(AssertionError):  # a lost reply fails the round; the next one goes on
            collect(stack, Task.MINUTE)
        return not reservations(stack)

    poll(swept, "end of all reservations")


def check_jobs(results: Mapping[str, Mapping[str, Any]], books: Books) -> None:
    """A job is answered once; it is paid for a second time only where the first payment is ambiguous."""
    answered = Counter(entry["job"] for entry in books.sure if entry["purpose"] == "answer")
    assert max(answered.values()) == 1, "no job is answered twice and known to be"
    billed = Counter(call["user_id"] for call in books.metered.values() if call["purpose"] == "answer")
    assert max(billed.values()) <= 2, "at most one extra payment"
    doubtful = Counter(entry["job"] for entry in books.unsure if entry["purpose"] == "answer")
    for job, result in results.items():
        paid = billed[job.partition("/")[2]]
        assert paid - answered[job] <= doubtful[job], f"{job}: a payment that is not known for sure is told so"
        if result["result"]["type"] == "succeeded":
            assert paid >= 1
        else:
            message = result["result"]["error"]["error"]["message"]
            assert doubtful[job] or "may have been paid for" in message, f"{job} failed, but not for lost calls"


def check_groups(stack: LocalStack, results: Mapping[str, Mapping[str, Any]]) -> None:
    """A group's counts are those of its results."""
    for group in GROUPS:
        mine = [result["result"]["type"] for job, result in results.items() if job.startswith(f"{group}/")]
        counts = Counter[str]()
        for shard in range(SHARDS):
            key = {"job": {"S": f"group#{group}#{shard}"}}
            found = stack.emulator.client("dynamodb").get_item(TableName=stack.description["tables"]["jobs"], Key=key)
            for name in ("started", "done", "failed"):
                counts[name] += int(found.get("Item", {}).get(name, {}).get("N", 0))
        assert counts["started"] == len(mine)
        assert counts["done"] == mine.count("succeeded")
        assert counts["failed"] == len(mine) - mine.count("succeeded")


def tell(chaos: Chaos, results: Mapping[str, Mapping[str, Any]], books: Books) -> None:
    """What happened, on the terminal of whoever asks for it (`-s`)."""
    kinds = Counter(result["result"]["type"] for result in results.values())
    sys.stdout.write(f"\n{dict(kinds)} results; workers died: {dict(chaos.died_at())}\n")
    sys.stdout.write(f"{len(books.metered)} calls billed, {len(books.unsure)} entries ambiguous:\n")
    for entry in books.unsure:
        sys.stdout.write(f"  {entry['entry_id']} {entry.get('job')} {entry['cost_usd']} {entry['flags']}\n")
