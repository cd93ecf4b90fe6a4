"""What a stream takes through the router that it does not take straight from the same stand-in: time, and memory.

The app runs under uvicorn, in a process of its own, with the options of the start script; its stores are in memory, so
that what is measured is the router's own. Both streams are read by the same client, in alternate rounds.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx2

from cost_router.contract import Env
from infra.bench.handler import BODY, environment
from infra.bench.measures import Measure
from infra.local.processes import Children, free_port, listens
from infra.local.stack import ROOT, find_upstream

ROUNDS: Final = 100
WARM_UP: Final = 10
TARGET_MS: Final = 20.0
FIRST_CONTENT: Final = b"event: content_block_start"
EVENTS: Final = 200_000
LONG: Final = {  # the stand-in puts 24 characters into an event
    "max_tokens": 128_000,
    "messages": [{"role": "user", "content": f"Write [[bytes:{EVENTS * 24}]]"}],
}
DELTA: Final = b"event: content_block_delta"
GROWTH_TARGET_MB: Final = 8.0
SAMPLE_CHUNKS: Final = 5_000
SERVER: Final = (
    *("-m", "uvicorn", "--factory", "infra.bench.handler:bench_app", "--host", "127.0.0.1", "--loop", "asyncio"),
    *("--http", "h11", "--ws", "none", "--no-access-log", "--log-level", "warning", "--no-server-header"),
)
HEADERS: Final = {"x-api-key": "bench", "anthropic-version": "2026-10-21"}


def first_event() -> list[Measure]:
    """The median of the times to the first content event, routed less direct."""
    with tempfile.TemporaryDirectory() as folder:
        children = Children(Path(folder))
        try:
            upstream = find_upstream(children)
            direct, routed = _times(upstream.url, _serve(children, upstream.url))
        finally:
            children.end()
    direct_ms, routed_ms = (statistics.median(found) for found in (direct, routed))
    against = f"direct {direct_ms:.2f} ms, through uvicorn {routed_ms:.2f} ms; median of {ROUNDS}, stores in memory"
    return [Measure("stream.first_event_added_ms", routed_ms - direct_ms, "ms", TARGET_MS, against)]


def long_stream() -> list[Measure]:
    """How far the memory of the router's process grows over a stream of 200,000 events."""
    with tempfile.TemporaryDirectory() as folder:
        children = Children(Path(folder))
        try:
            upstream = find_upstream(children)
            url, process = _served(children, upstream.url)
            with httpx2.Client(headers=HEADERS, timeout=60) as client:
                _milliseconds(client, url, {"model": "haiku", **BODY})
                before = _rss_mb(process)
                routed, peak = _read(client, url, {"model": "haiku", **LONG}, process)
                direct, _ = _read(client, upstream.url, {"model": "claude-haiku-5-5", **LONG}, process)
        finally:
            children.end()
    against = f"{EVENTS} events in {routed:.1f} s, direct {direct:.1f} s; {before:.0f} MB before, {peak:.0f} MB at most"
    return [Measure("stream.rss_growth_mb", peak - before, "MB", GROWTH_TARGET_MB, against)]


def _read(client: httpx2.Client, url: str, body: Mapping[str, Any], process: int) -> tuple[float, float]:
    """Seconds that a long stream takes, and the most memory of the process seen meanwhile, in MB."""
    began, events, peak, chunks, tail = time.perf_counter(), 0, _rss_mb(process), 0, b""
    with client.stream("POST", f"{url}/v1/messages", json={**body, "stream": True}) as answer:
        for chunk in answer.iter_raw():
            seen = tail + chunk
            events += seen.count(DELTA)
            tail = seen[-len(DELTA) + 1 :]
            chunks += 1
            if chunks % SAMPLE_CHUNKS == 0:
                peak = max(peak, _rss_mb(process))
    if events != EVENTS:
        raise SystemExit(f"{events} of {EVENTS} events came from {url}")
    return time.perf_counter() - began, max(peak, _rss_mb(process))


def _rss_mb(process: int) -> float:
    """Memory of a process that is resident, in MB."""
    command = ["ps", "-o", "rss=", "-p", str(process)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # wherever the machine has it
    return int(output) / 1_024  # of kilobytes


def _serve(children: Children, upstream_url: str) -> str:
    return _served(children, upstream_url)[0]


def _served(children: Children, upstream_url: str) -> tuple[str, int]:
    """The URL of the app in a process of its own, and the process's id."""
    port = free_port()
    env = {**os.environ, **environment(upstream_url), Env.STREAM_DEADLINE_SECONDS: "895"}
    env |= {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'functions'}"}
    child = children.start("uvicorn", [sys.executable, *SERVER, "--port", str(port)], env, cwd=ROOT)
    child.wait_until(lambda: listens(port))
    return f"http://127.0.0.1:{port}", child.process.pid


def _times(upstream_url: str, router_url: str) -> tuple[list[float], list[float]]:
    """Milliseconds to the first content event, direct and routed; the routed request's label is cached."""
    direct: list[float] = []
    routed: list[float] = []
    with httpx2.Client(headers=HEADERS, timeout=30) as client:
        for round_ in range(WARM_UP + ROUNDS):
            straight = _milliseconds(client, upstream_url, {"model": "claude-haiku-5-5", **BODY})
            through = _milliseconds(client, router_url, {"model": "auto", **BODY})
            if round_ >= WARM_UP:
                direct.append(straight)
                routed.append(through)
    return direct, routed


def _milliseconds(client: httpx2.Client, url: str, body: Mapping[str, Any]) -> float:
    """From sending the request to the first content event; the stream is read to its end."""
    began, found, seen = time.perf_counter(), 0.0, b""
    with client.stream("POST", f"{url}/v1/messages", json={**body, "stream": True}) as answer:
        for chunk in answer.iter_raw():
            seen += chunk
            if not found and FIRST_CONTENT in seen:
                found = (time.perf_counter() - began) * 1000
    if not found:
        raise SystemExit(f"no content event from {url}: {seen[:200]!r}")
    return found
