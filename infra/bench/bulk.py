"""Ten thousand jobs: how fast they are submitted, what they take in memory, and what AWS asks for a million of them."""

import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Final

from cost_router.contract import Output
from infra.bench.costs import Counted, prices
from infra.bench.load import lane
from infra.bench.measures import Measure
from infra.local.stack import ROOT, TENANT, LocalStack, running_stack

JOBS: Final = 10_000
WORDS: Final = 200  # of a prompt: about 1.2 kB
PER_SECOND: Final = 1_000
MEMORY_MB: Final = 256
COUNTED: Final = 200  # jobs whose calls to AWS are counted


def bulk() -> list[Measure]:
    """All measures of the bulk lane, on one local stack."""
    with tempfile.TemporaryDirectory() as folder, running_stack(Path(folder) / "stack") as stack:
        stop_draining(stack)
        found = [*submission(stack, Path(folder)), *memory(stack), *costs(stack)]
        start_draining(stack)
        return [*found, *lane(stack)]


def submission(stack: LocalStack, folder: Path) -> list[Measure]:
    """The real command on a file of ten thousand lines; nobody drains the queue meanwhile."""
    file = folder / "jobs.jsonl"
    with file.open("w", encoding="utf-8") as lines:
        for number in range(JOBS):
            params = {"model": "haiku", "max_tokens": 16, "messages": [{"role": "user", "content": prompt(number)}]}
            lines.write(json.dumps({"custom_id": f"job-{number}", "params": params}) + "\n")
    (folder / ".local").mkdir()
    (folder / ".local" / "stack.json").write_text(json.dumps(dict(stack.description)), encoding="utf-8")
    command = [str(Path(sys.executable).parent / "cost-router"), "submit", str(file), "--group", "bench"]
    run = subprocess.run(
        [*command, "--tenant", TENANT, "--lane", "batch", "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(run.stdout)
    rate = told["sent"] / told["seconds"]
    against = f"{told['sent']} jobs in {told['seconds']:.1f} s by one process; the emulator shares its cores"
    stack.target.client("sqs").purge_queue(QueueUrl=stack.description["queue_url"])
    return [Measure("bulk.submit_per_second", rate, "/s", PER_SECOND, against, least=True)]


def memory(stack: LocalStack) -> list[Measure]:
    """The largest size of a process that packs and collects ten thousand lines, and of one that drains jobs."""
    child(stack, "park")
    told = {what: child(stack, what) for what in ("rounds", "drain")}
    names = {"rounds": "bulk.collector_rss_mb", "drain": "bulk.batch_function_rss_mb"}
    return [Measure(names[what], row["rss_mb"], "MB", MEMORY_MB, row["did"]) for what, row in told.items()]


def costs(stack: LocalStack) -> list[Measure]:
    """What AWS asks for a million jobs of each lane, from the calls that some hundred make."""
    found = []
    for name in ("direct", "batch"):
        told = child(stack, "count", name, str(COUNTED))
        counted = Counted(Counter(told["calls"]), told["write_units"], told["read_units"], told["cpu"], COUNTED)
        amount, parts = prices(counted, name)
        found.append(Measure(f"bulk.aws_usd_per_million_{name}", float(amount), "USD", None, parts))  # to be printed
    return found


def child(stack: LocalStack, *arguments: str) -> dict[str, Any]:
    """What a process of its own tells, with the variables of the stack's functions."""
    lambda_, env = stack.emulator.client("lambda"), dict(stack.emulator.environment())
    for output in (Output.BATCH_FUNCTION, Output.COLLECTOR_FUNCTION):
        env |= lambda_.get_function_configuration(FunctionName=stack.outputs[output])["Environment"]["Variables"]
    command = [sys.executable, "-m", "infra.bench.worker", *arguments]
    run = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"{arguments}: {run.stderr[-2_000:]}")
    told: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return told


def stop_draining(stack: LocalStack) -> None:
    """Let the queue fill up."""
    _drain(stack, enabled=False)


def start_draining(stack: LocalStack) -> None:
    """Let the function drain the queue again."""
    _drain(stack, enabled=True)


def _drain(stack: LocalStack, *, enabled: bool) -> None:
    lambda_ = stack.emulator.client("lambda")
    for mapping in lambda_.list_event_source_mappings()["EventSourceMappings"]:
        lambda_.update_event_source_mapping(UUID=mapping["UUID"], Enabled=enabled)


def prompt(number: int) -> str:
    """A prompt that no other job has."""
    return f"[[label:simple]] {number} {'word ' * WORDS}"
