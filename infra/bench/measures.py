"""The measures. Names start with the part measured; `against` says what a value is compared with."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from infra.bench.handler import BARE_CALL, ROUTED_CALL, environment
from infra.bench.race import AMOUNT, LIMIT, RACERS, race
from infra.bench.trips import measure
from infra.local.processes import Children
from infra.local.stack import ROOT, find_upstream

CALLS: Final = 300
ROUNDS: Final = 3
IMPORT_ROUNDS: Final = 5
ADDED_CPU_TARGET_MS: Final = 5.0
IMPORT_TARGET: Final = 1.25
STORE_TRIPS: Final = 3  # look up, reserve, settle


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure; `target` is the most it should be, or the `least`, None where there is none."""

    name: str
    value: float
    unit: str
    target: float | None
    against: str
    least: bool = False  # whether the target is the least that it should be

    @property
    def reached(self) -> bool:
        """Whether it is what it should be."""
        return self.target is None or (self.value >= self.target if self.least else self.value <= self.target)

    def json(self) -> Mapping[str, Any]:
        """The measure as `.local/bench.json` has it."""
        return asdict(self)


def added_cpu() -> list[Measure]:
    """CPU that a warm routed request takes over a bare SDK call to the same stand-in, stores left out (in memory).

    Process time, not wall time, so that waiting for the stand-in does not count; the two run in alternate rounds.
    """
    with tempfile.TemporaryDirectory() as folder:
        children = Children(Path(folder))
        try:
            upstream = find_upstream(children)
            bare: list[float] = []
            routed: list[float] = []
            for _ in range(ROUNDS):
                bare.append(_cpu_ms(BARE_CALL, upstream.url))
                routed.append(_cpu_ms(ROUTED_CALL, upstream.url))
        finally:
            children.end()
    bare_ms, routed_ms = statistics.median(bare), statistics.median(routed)
    against = f"bare SDK call {bare_ms:.2f} ms CPU, routed {routed_ms:.2f} ms; median of {ROUNDS} x {CALLS} calls"
    return [
        Measure("router.added_cpu_ms", routed_ms - bare_ms, "ms", ADDED_CPU_TARGET_MS, against),
        Measure("router.cpu_ratio", routed_ms / bare_ms, "x", None, against),
    ]


def import_ratio() -> list[Measure]:
    """Time to import the deployed router module over the time to import the SDK alone, in alternate fresh processes."""
    env = {**os.environ, **environment("http://127.0.0.1:9")}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    times: dict[str, list[float]] = {"anthropic": [], "cost_router.handlers.entry_router": []}
    for round_ in range(IMPORT_ROUNDS + 1):
        for module, found in times.items():
            seconds = _import_seconds(module, env)
            if round_:  # the first round compiles and warms the disk cache
                found.append(seconds)
    sdk, ours = (statistics.median(found) for found in times.values())
    against = f"import anthropic {sdk:.2f} s, import of the handler {ours:.2f} s; median of {IMPORT_ROUNDS}"
    return [Measure("router.import_ratio", ours / sdk, "x", IMPORT_TARGET, against)]


def budget_race() -> list[Measure]:
    """Whether many reservations at once overrun a budget, and how fast they are answered by the emulated table."""
    overrun, admitted, per_second = race()
    against = f"{RACERS} at once for ${AMOUNT} each of ${LIMIT}; {admitted} admitted, {int(LIMIT / AMOUNT)} fit"
    return [
        Measure("money.race_overrun_usd", float(overrun), "USD", 0.0, against),
        Measure("money.race_per_second", per_second, "/s", None, "answers to reservations, one emulated table"),
    ]


def store_trips() -> list[Measure]:
    """Store round trips that a request waits for one after the other."""
    found = measure()
    told = "; ".join(f"{trips.case}: {', '.join(trips.operations)}" for trips in found)
    return [Measure("router.store_trips", max(len(trips.operations) for trips in found), "", STORE_TRIPS, told)]


def bundle_size() -> list[Measure]:
    """Megabytes of the Lambda bundle, unzipped and zipped, built as for AWS."""
    command = [sys.executable, "-m", "infra.aws.bundle", "--measure"]
    output = subprocess.run(command, check=True, capture_output=True, cwd=ROOT, text=True).stdout
    sizes: Mapping[str, float] = json.loads(output)
    return [
        Measure("bundle.mb", sizes["unzipped_mb"], "MB", 250.0, "Lambda's limit for an unzipped bundle"),
        Measure("bundle.zip_mb", sizes["zipped_mb"], "MB", 50.0, "Lambda's limit for a direct upload"),
    ]


def _cpu_ms(code: str, url: str) -> float:
    env = {**os.environ, **environment(url), "BENCH_CALLS": str(CALLS), "BENCH_URL": url}
    return float(_run([sys.executable, "-c", code], env))


def _import_seconds(module: str, env: Mapping[str, str]) -> float:
    code = f"import time; began = time.perf_counter(); import {module}; print(time.perf_counter() - began)"
    return float(_run([sys.executable, "-c", code], env))


def _run(command: Sequence[str], env: Mapping[str, str]) -> str:
    done = subprocess.run(command, check=True, capture_output=True, env=dict(env), cwd=ROOT, text=True)
    return done.stdout.strip().splitlines()[-1]
