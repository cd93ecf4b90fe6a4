"""A thousand calls of every kind, seeded, through the deployed stack: the ledger is the bill, to the micro-dollar.

What is compared: each booked call with the stand-in's meter, priced by genai-prices on its own reading of the usage;
then the sums by model and by tenant, the counters of day and month, and the gauges. Calls whose usage nobody was told
are booked at their upper bound and flagged: they are listed one by one and account for the whole difference.
"""

import datetime as dt
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import httpx2

from infra.local.stack import LocalStack
from infra.operate.report import read_entries
from tests.integration.meter import Meter
from tests.integration.test_jobs import drop

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

    def send(self, url: str, key: str, body: Mapping[str, Any], leave_after: int | None) -> int:
        """Send one request; of a stream read as many bytes as a caller does who leaves."""
        headers = {"x-api-key": key, "anthropic-version": "2026-10-21"}
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
            url, key = self.stack.description[entrance], self.keys[self.chance.choice(TENANTS)]
            asked.append((url, key, body, 200 if leaves else None))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(lambda words: self.send(*words), asked))

    def jobs(self, group: str, count: int) -> None:
        """Jobs of both lanes."""
        for number in range(count):
            body = {name: value for name, value in self.body().items() if name != "stream"}
            lane = "batch" if number % 2 else "direct"
            router = {"group": group, "tenant": self.chance.choice(TENANTS), "lane": lane}
            drop(self.stack, {"custom_id": f"job-{number}", "params": body, "router": router})


@dataclass(frozen=True)
class Books:
    """The ledger's entries of the thousand calls and the meter's calls, matched."""

    sure: list[dict[str, Any]]
    unsure: list[dict[str, Any]]
    metered: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, stack: LocalStack, meter: Meter, since: dt.datetime) -> "Books":
        days = sorted({since.date(), dt.datetime.now(dt.UTC).date()})
        entries = [entry for day in days for entry in read_entries(stack.target, day) if entry["tenant"] in TENANTS]
        sure = [entry for entry in entries if "ambiguous" not in entry["flags"]]
        unsure = [entry for entry in entries if "ambiguous" in entry["flags"]]
        return cls(sure, unsure, {call["request_id"]: call for call in meter.calls()})


def by(name: str, rows: Iterable[Mapping[str, Any]], amount: Callable[[Any], Decimal]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        found[row[name]] += amount(row)
    return dict(found)
