"""A thousand calls of every kind, seeded, through the deployed stack: the ledger is the bill, to the micro-dollar.

What is compared: each booked call with the stand-in's meter, priced by genai-prices on its own reading of the usage;
then the sums by model and by tenant (the meter's by who each caller says it is), the counters of day and month, and
the gauges. Calls whose usage nobody was told are booked at their upper bound and flagged: they are listed one by one
and account for the whole difference.
"""

import datetime as dt
import random
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import httpx2
import pytest

from cost_router.contract import Metric, Task
from infra.local.stack import LocalStack
from infra.operate.keys import Policy, create
from infra.operate.report import read_entries
from tests.integration.books import Books, by
from tests.integration.meter import Meter, poll, price
from tests.integration.test_collector import collect, datapoints, reservations
from tests.integration.test_jobs import drop, results

SEED: Final = 20_261_124
CALLS: Final = 1_000
AT_ONCE: Final = 12
TENANTS: Final = ("thousand-search", "thousand-support", "thousand-agents")
MODELS: Final = ("haiku", "sonnet", "opus", "claude-opus-4-8", "claude-sonnet-4-6", "claude-haiku-4-5")
LABELS: Final = ("simple", "moderate", "complex")
# What goes wrong with the next calls: unbilled errors that are retried or fall back, and billed calls without usage.
TROUBLES: Final[tuple[list[dict[str, Any]], ...]] = (
    [],
    [{"times": 3, "status": 500}],
    [{"times": 2, "status": 529}, {"times": 2, "status": 429, "retry_after": 0}],
    [{"times": 6, "status": 529, "model": "claude-opus-5-5"}],
    [{"times": 2, "kind": "cut_before"}],
    [{"times": 2, "kind": "cut_after"}],
    [{"times": 1, "kind": "no_usage"}, {"times": 1, "kind": "html"}],
    [{"times": 2, "status": 500, "purpose": "classifier"}, {"times": 1, "kind": "cut_after", "purpose": "classifier"}],
    [{"times": 2, "kind": "sse_cut"}, {"times": 1, "kind": "sse_error"}, {"times": 1, "kind": "sse_end"}],
)


@dataclass
class Traffic:
    """Requests drawn from a seed."""

    stack: LocalStack
    keys: Mapping[str, str]
    chance: random.Random = field(default_factory=lambda: random.Random(SEED))
    drawn: int = 0

    def body(self) -> dict[str, Any]:
        """One request: labelled or pinned, short or with a cached prefix, whole or as a stream."""
        self.drawn += 1
        label, kind = self.chance.choice(LABELS), self.chance.random()
        text = f"[[label:{label}]] Question {self.drawn if kind < 0.7 else self.drawn % 9} of the thousand"
        body: dict[str, Any] = {
            "model": "auto" if self.chance.random() < 0.6 else self.chance.choice(MODELS),
            "max_tokens": self.chance.choice((16, 64, 200)),
            "messages": [{"role": "user", "content": text}],
        }
        if kind > 0.8:  # few prefixes, so that some write the cache and others read it
            ttl, prefix = self.chance.choice(("5m", "1h")), self.chance.randrange(3)
            marker = {"type": "ephemeral", "ttl": ttl}
            words = f"Rules {ttl} {prefix}. " + "rule " * 6_000
            body["system"] = [{"type": "text", "text": words, "cache_control": marker}]
        if self.chance.random() < 0.3:
            body["stream"] = True
        return body

    def send(self, url: str, tenant: str, body: Mapping[str, Any], leave_after: int | None) -> int:
        """Send one request; of a stream read as many bytes as a caller does who leaves."""
        tags = {"x-router-tags": f"caller={tenant}"}
        headers = {"x-api-key": self.keys[tenant], "anthropic-version": "2026-10-21"} | tags
        with httpx2.stream("POST", f"{url}/v1/messages", json=body, headers=headers, timeout=120) as answer:
            read = 0
            for chunk in answer.iter_raw():
                read += len(chunk)
                if leave_after is not None and read > leave_after:
                    break
            return answer.status_code

    def burst(self, count: int) -> list[int]:
        """`count` requests at once, through both entrances; some callers of streams leave."""
        asked = []
        for _ in range(count):
            body = self.body()
            entrance = self.chance.choice(("streaming_url", "streaming_url", "base_url"))
            leaves = body.get("stream") and entrance == "streaming_url" and self.chance.random() < 0.2
            url, tenant = self.stack.description[entrance], self.chance.choice(TENANTS)
            asked.append((url, tenant, body, 200 if leaves else None))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(lambda words: self.send(*words), asked))

    def jobs(self, group: str, count: int) -> None:
        """Jobs of both lanes."""
        for number in range(count):
            body = {name: value for name, value in self.body().items() if name != "stream"}
            lane, tenant = "batch" if number % 2 else "direct", self.chance.choice(TENANTS)
            router = {"group": group, "tenant": tenant, "lane": lane, "tags": {"caller": tenant}}
            drop(self.stack, {"custom_id": f"job-{number}", "params": body, "router": router})


@pytest.fixture(scope="module")
def traffic(stack: LocalStack) -> Traffic:
    now = dt.datetime.now(dt.UTC)
    return Traffic(stack, {name: create(stack.target, name, Policy(allows=["cache_1h"]), now) for name in TENANTS})


def run(traffic: Traffic, meter: Meter, group: str) -> set[int]:
    """At least a thousand billed calls: bursts with one trouble after another, then jobs of both lanes."""
    statuses: set[int] = set()
    rounds = 0
    while len(meter.calls()) < CALLS - 60:
        # Events take a moment, so that a caller who leaves does so before the end.
        meter.script(faults=TROUBLES[rounds % len(TROUBLES)], chunk_delay=0.01)
        statuses |= set(traffic.burst(48))
        rounds += 1
    meter.script(faults=[], chunk_delay=0)
    traffic.jobs(group, 60)
    wanted = {f"job-{number}" for number in range(60)}

    def delivered() -> bool:
        collect(traffic.stack, Task.BATCHES)
        return wanted <= set(results(traffic.stack, group))

    poll(delivered, "results of all jobs", seconds=120)
    return statuses


def test_the_ledger_of_a_thousand_calls_is_the_bill_to_the_micro_dollar(
    stack: LocalStack, meter: Meter, traffic: Traffic, group: str
) -> None:
    since = dt.datetime.now(dt.UTC)
    statuses = run(traffic, meter, group)
    assert statuses <= {200, 429, 500, 502, 504, 529}, "Claude's own errors come through, and none of ours"
    poll(lambda: not reservations(stack), "end of all reservations")
    books = Books.read(stack, meter, since, TENANTS)
    assert len(books.metered) >= CALLS
    check_mix(books)
    check_call_by_call(books)
    check_sums(books)
    check_counters(stack, books, since)


def check_mix(books: Books) -> None:
    """Every kind was among them: a check of nothing proves nothing."""
    calls, entries = list(books.metered.values()), [*books.sure, *books.unsure]
    assert sum(call["stream"] for call in calls) > 100
    assert sum(call["processing"] == "batch" for call in calls) >= 30
    assert {call["purpose"] for call in calls} == {"answer", "classifier"}
    for bucket in ("cache_read_input_tokens", "cache_creation_5m_input_tokens", "cache_creation_1h_input_tokens"):
        assert sum(entry[bucket] for entry in entries) > 0, bucket
    assert sum(entry["cause"].startswith("fallback:") for entry in entries) > 0
    assert sum("abandoned" in entry["flags"] for entry in entries) > 0
    assert {"cut_after", "no_usage", "html", "sse_cut", "sse_error", "sse_end"} <= {call["fault"] for call in calls}
    assert len({entry["model"] for entry in entries}) == len(MODELS)


def check_call_by_call(books: Books) -> None:
    """As the books have it; and only calls that were cut, or whose caller left, are not known for sure."""
    books.check_call_by_call()
    assert all(call["fault"] or call["stream"] for call in books.unseen.values())


def check_sums(books: Books) -> None:
    """By model and by tenant; the whole difference is what the ambiguous entries hold above the bill."""
    sure_calls = [books.metered[entry["upstream_request_id"]] for entry in books.sure]
    caller = {entry["upstream_request_id"]: entry["tags"]["caller"] for entry in books.sure}
    assert by("model", books.sure, lambda row: row["cost_usd"]) == by("model", sure_calls, price)
    billed = [{"tenant": caller[call["request_id"]], "usd": price(call)} for call in sure_calls]
    assert by("tenant", books.sure, lambda row: row["cost_usd"]) == by("tenant", billed, lambda row: row["usd"])
    assert all(entry["tags"]["caller"] == entry["tenant"] for entry in books.unsure)
    books.check_difference()


def check_counters(stack: LocalStack, books: Books, since: dt.datetime) -> None:
    """Counters of day and month are the sums of entries; nothing is put aside; the gauge is the account's counter."""
    now = dt.datetime.now(dt.UTC)
    for tenant in TENANTS:
        mine = [entry for entry in (*books.sure, *books.unsure) if entry["tenant"] == tenant]
        for span in ("%Y-%m-%d", "%Y-%m"):
            spans = sorted({f"{since:{span}}", f"{now:{span}}"})
            counters = [counter(stack, f"tenant#{tenant}", name) for name in spans]
            assert sum(row["cost_usd"] for row in counters) == sum(entry["cost_usd"] for entry in mine)
            assert sum(row["committed_usd"] for row in counters) == sum(entry["cost_usd"] for entry in mine)
            assert sum(row["calls"] for row in counters) == len(mine)
    whole = read_entries(stack.target, now.date())
    account = counter(stack, "account", now.date().isoformat())
    assert account["cost_usd"] == account["committed_usd"] == sum(entry["cost_usd"] for entry in whole)
    collect(stack, Task.MINUTE)
    poll(lambda: float(account["cost_usd"]) in datapoints(stack, Metric.SPEND_TODAY), "gauge of the counter")


def counter(stack: LocalStack, scope: str, span: str) -> dict[str, Decimal]:
    """A counter of a day or month; zeros when nothing has been booked."""
    found = stack.emulator.client("dynamodb").get_item(
        TableName=stack.description["tables"]["ledger"], Key={"pk": {"S": f"counters#{span}"}, "sk": {"S": scope}}
    )
    names = ("cost_usd", "committed_usd", "calls")
    item = found.get("Item", {})
    return {name: Decimal(item[name]["N"]) if name in item else Decimal(0) for name in names}
