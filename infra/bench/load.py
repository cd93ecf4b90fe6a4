"""How much of the account's limits the direct lane uses, beside the loop that most people write.

Each case runs against the stand-in's own token buckets for a while until their levels are steady, then for a minute.
What the limit allows in that minute is what flows into the bucket; what it held at the start above what it holds at the
end is no merit of the minute, so the smaller share of the two counts. All of it follows from the meter.
"""

import asyncio
import contextlib
import datetime as dt
import json
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import anthropic
import httpx2

from infra.bench.measures import Measure
from infra.local.stack import STAND_IN_KEY, TENANT, LocalStack

WARM_UP: Final = 40.0  # seconds, in which a bucket that was full is drawn down
WINDOW: Final = 60.0
BURST: Final = 20.0  # seconds' worth that a full bucket holds
LATENCY: Final = 0.5  # seconds that the stand-in takes for an answer
UTILISATION: Final = 0.95
REJECTED: Final = 0.02
ALL_DONE: Final = 20.0


@dataclass(frozen=True, slots=True)
class Case:
    """A limit, and jobs that meet it. words: of the prompts, at least and at most."""

    name: str
    model: str
    limits: Mapping[str, float]
    per_second: float  # calls that the limit allows, about
    words: tuple[int, int]

    @property
    def unit(self) -> str:
        """Which limit binds."""
        return "rpm" if "rpm" in self.limits else "itpm"

    def bodies(self, count: int) -> list[dict[str, Any]]:
        """Params of so many jobs, seeded."""
        chance = random.Random(self.name)  # noqa: S311  a seed, so that each run asks the same
        return [
            {
                "model": self.model,
                "max_tokens": 16,
                "messages": [{"role": "user", "content": f"{number} {'word ' * chance.randint(*self.words)}"}],
            }
            for number in range(count)
        ]


CASES: Final = (
    Case("rpm", "claude-haiku-5-5", {"rpm": 300, "burst_seconds": BURST}, 5.0, (5, 50)),
    Case("itpm", "claude-sonnet-5-5", {"itpm": 120_000, "burst_seconds": BURST}, 3.0, (100, 1_000)),
)


@dataclass(frozen=True, slots=True)
class Use:
    """What a minute came to."""

    utilisation: float
    rejected: float


def lane(stack: LocalStack) -> list[Measure]:
    """The deployed direct lane and both plain loops, case by case."""
    found: list[Measure] = []
    worst = 0.0
    plain = {many: asyncio.run(plain_loops(stack, many)) for many in (5, 50)}
    for case in CASES:
        use = deployed(stack, case)
        worst = max(worst, use.rejected)
        others = ", ".join(f"plain loop of {many}: {uses[case.name].utilisation:.3f}" for many, uses in plain.items())
        against = f"{case.limits} for {WINDOW:.0f} s, headroom 20 %; {others}"
        found.append(Measure(f"bulk.{case.name}_utilisation", use.utilisation, "x", UTILISATION, against, least=True))
        shares = ", ".join(f"plain loop of {many}: {uses[case.name].rejected:.3f}" for many, uses in plain.items())
        found.append(Measure(f"bulk.{case.name}_rejected_share", use.rejected, "x", REJECTED, f"429 of all; {shares}"))
    return [*found, Measure("bulk.rejected_share", worst, "x", REJECTED, "the larger of the two")]


def deployed(stack: LocalStack, case: Case) -> Use:
    """Jobs on the real queue, drained by the deployed function."""
    began = reset(stack, [case])
    sqs, queue = stack.target.client("sqs"), stack.description["queue_url"]
    jobs = case.bodies(int(case.per_second * (WARM_UP + WINDOW + ALL_DONE + BURST)))
    group = f"bench-{case.name}-{began:.0f}"
    for start in range(0, len(jobs), 10):
        entries = [
            {
                "Id": str(place),
                "MessageBody": json.dumps(
                    {
                        "custom_id": f"job-{start + place}",
                        "params": params,
                        "router": {"tenant": TENANT, "group": group},
                    }
                ),
            }
            for place, params in enumerate(jobs[start : start + 10])
        ]
        sqs.send_message_batch(QueueUrl=queue, Entries=entries)
    time.sleep(max(0.0, began + WARM_UP + WINDOW - time.time()))  # the minute that is measured
    use = measured(stack, case, began)
    sqs.purge_queue(QueueUrl=queue)
    script(stack, limits=None, limits_by_model={}, latency=0)  # what is left of the jobs ends at once
    return use


async def plain_loops(stack: LocalStack, many: int) -> dict[str, Use]:
    """A semaphore and the SDK's own retries, tried again until the answer comes; all cases at once."""
    began = reset(stack, CASES)
    async with anthropic.AsyncAnthropic(api_key=STAND_IN_KEY, base_url=stack.upstream.url) as client:
        loops = [asyncio.create_task(_plain(client, case, many)) for case in CASES]
        await asyncio.sleep(max(0.0, began + WARM_UP + WINDOW - time.time()))
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
    return {case.name: measured(stack, case, began) for case in CASES}


async def _plain(client: anthropic.AsyncAnthropic, case: Case, many: int) -> None:
    gate = asyncio.Semaphore(many)

    async def one(params: Mapping[str, Any]) -> None:
        async with gate:
            while True:
                with contextlib.suppress(anthropic.RateLimitError):
                    await client.messages.create(**params)
                    return

    async with asyncio.TaskGroup() as group:
        for params in case.bodies(int(case.per_second * (WARM_UP + WINDOW + ALL_DONE + BURST))):
            group.create_task(one(params))


def reset(stack: LocalStack, cases: Iterator[Case] | list[Case] | tuple[Case, ...]) -> float:
    """Full buckets, an empty meter; gives the time."""
    httpx2.post(f"{stack.upstream.meter_url}/_reset").raise_for_status()
    script(stack, limits_by_model={case.model: dict(case.limits) for case in cases}, latency=LATENCY)
    return time.time()


def script(stack: LocalStack, **fields: Any) -> None:
    """Tell the stand-in."""
    httpx2.post(f"{stack.upstream.meter_url}/_script", json=fields).raise_for_status()


def measured(stack: LocalStack, case: Case, began: float) -> Use:
    """What the minute after the warm-up came to, by the meter."""
    told = httpx2.get(f"{stack.upstream.meter_url}/_meter").json()
    taken = sorted((_seconds(row["at"]), _units(row, case)) for row in told["calls"] if row["model"] == case.model)
    start, end = began + WARM_UP, began + WARM_UP + WINDOW
    per_second = case.limits[case.unit] / 60
    used = sum(units for at, units in taken if start <= at < end)
    inflow = per_second * WINDOW
    allowed = inflow + level(taken, start, per_second) - level(taken, end, per_second)
    refused = sum(row["model"] == case.model and start <= _seconds(row["at"]) < end for row in told["limited"])
    answered = sum(start <= at < end for at, _ in taken)
    return Use(min(used / allowed, used / inflow), refused / max(1, refused + answered))


def level(taken: list[tuple[float, float]], at: float, per_second: float) -> float:
    """How full the bucket was: full at first, and then never fuller."""
    capacity = per_second * BURST
    found, last = capacity, taken[0][0] if taken else at
    for moment, units in taken:
        if moment >= at:
            break
        found = min(capacity, found + (moment - last) * per_second) - units
        last = moment
    return min(capacity, found + (at - last) * per_second)


def _units(row: Mapping[str, Any], case: Case) -> float:
    usage = row["usage"]
    return 1 if case.unit == "rpm" else usage["input_tokens"] + (usage.get("cache_creation_input_tokens") or 0)


def _seconds(at: str) -> float:
    return dt.datetime.fromisoformat(at).timestamp()
