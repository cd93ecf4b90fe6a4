"""What the bench measures in processes of their own, with the variables of the deployed functions.

python -m infra.bench.worker park      parks ten thousand lines
python -m infra.bench.worker rounds    packs, submits and collects them
python -m infra.bench.worker drain     drains jobs of both lanes, ten at a time
python -m infra.bench.worker count LANE JOBS   counts what that many jobs ask of AWS
"""

import asyncio
import json
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from cost_router.adapters.aws import Aws
from cost_router.handlers import wiring_bulk
from cost_router.handlers.settings import BatchSettings, CollectorSettings, Settings

LINES: Final = 10_000
WORDS: Final = 200  # of a prompt: about 1.2 kB
TOGETHER: Final = 10  # jobs of an event
DRAINED: Final = 200
SECONDS: Final = 900.0
UNIT: Final = 1_024  # bytes of an item that a write unit covers
INDEXED: Final = ("#batch", "groups")  # a write that moves an item in the index is one more


def event(start: int, count: int, group: str, lane: str) -> dict[str, Any]:
    """An event of that many jobs."""
    records = []
    for number in range(start, start + count):
        content = f"[[label:simple]] {number} {'word ' * WORDS}"
        params = {"model": "haiku", "max_tokens": 16, "messages": [{"role": "user", "content": content}]}
        router = {"tenant": "demo", "group": group, "lane": lane}
        body = json.dumps({"custom_id": f"job-{number}", "params": params, "router": router})
        records.append({"messageId": f"message-{number}", "receiptHandle": f"handle-{number}", "body": body})
    return {"Records": records}


async def drain(aws: Aws, group: str, lane: str, count: int) -> None:
    """Drain jobs through the deployed entrance."""
    door = wiring_bulk.queue_door(Settings.read(os.environ), BatchSettings.read(os.environ), aws)
    for start in range(0, count, TOGETHER):
        await door.drain(event(start, TOGETHER, group, lane), SECONDS)


async def rounds(aws: Aws, count: int) -> None:
    """Rounds of the collector."""
    made = wiring_bulk.batch_rounds(Settings.read(os.environ), CollectorSettings.read(os.environ), aws)
    for _ in range(count):
        await made.every_minute()


def count(lane: str, jobs: int) -> dict[str, Any]:
    """What so many jobs ask of AWS; rounds of the collector are shared by all that wait, so one batch is counted."""
    aws, calls, units = Aws(), Counter[str](), Counter[str]()
    for service in ("dynamodb", "s3", "sqs", "secretsmanager", "events"):
        aws.client(service).meta.events.register("before-parameter-build", _counting(service, calls, units))
    began, cpu = time.monotonic(), time.process_time()
    asyncio.run(drain(aws, f"count-{lane}", lane, jobs))
    if lane == "batch":
        asyncio.run(rounds(aws, 3))
    told = {"calls": dict(calls), "write_units": units["write"], "read_units": units["read"]}
    return told | {"seconds": time.monotonic() - began, "cpu": time.process_time() - cpu}


def _counting(service: str, calls: Counter[str], units: Counter[str]) -> Any:
    def see(params: Mapping[str, Any], model: Any, **_: Any) -> None:
        calls[f"{service}.{model.name}"] += 1
        if service == "dynamodb":
            _units(model.name, params, units)

    return see


def _units(operation: str, params: Mapping[str, Any], units: Counter[str]) -> None:
    """Write and read units: of a transaction each part counts twice; an index takes a write of its own."""
    if operation == "TransactWriteItems":
        units["write"] += sum(2 * _size(part) + _index(part) for part in params["TransactItems"])
    elif operation in {"PutItem", "UpdateItem", "DeleteItem"}:
        units["write"] += _size(params) + _index(params)
    elif operation == "BatchGetItem":
        units["read"] += sum(len(asked["Keys"]) for asked in params["RequestItems"].values())
    else:
        units["read"] += 1


def _size(part: Mapping[str, Any]) -> int:
    return 1 + len(json.dumps(part, default=str)) // UNIT


def _index(part: Mapping[str, Any]) -> int:
    return any(word in json.dumps(part, default=str) for word in INDEXED)


def main() -> None:
    """Do what the arguments say, and print what came of it as JSON."""
    match sys.argv[1:]:
        case ["park"]:
            asyncio.run(drain(Aws(), "memory", "batch", LINES))
            sys.stdout.write(json.dumps({"did": "parked"}) + "\n")
        case ["rounds"]:
            asyncio.run(rounds(Aws(), 3))
            _tell(f"three rounds over {LINES} lines of about 1.2 kB: packed, submitted, collected, delivered")
        case ["drain"]:
            asyncio.run(drain(Aws(), "drained", "direct", DRAINED))
            _tell(f"{DRAINED} jobs of about 1.2 kB, {TOGETHER} at a time")
        case ["count", lane, jobs]:
            sys.stdout.write(json.dumps(count(lane, int(jobs))) + "\n")
        case given:
            raise SystemExit(f"{given}; accepted: park, rounds, drain, count LANE JOBS")


def _tell(did: str) -> None:
    mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024  # kilobytes on Linux
    sys.stdout.write(json.dumps({"rss_mb": mb, "did": did}) + "\n")


if __name__ == "__main__":
    main()
