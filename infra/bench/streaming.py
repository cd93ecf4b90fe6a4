"""How much later a stream's first content event comes through the router than straight from the same stand-in.

The app runs under uvicorn, in a process of its own, with the options of the start script; its stores are in memory, so
that what is measured is the router's own time. Both streams are read by the same client in alternate rounds.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx2

from infra.bench.handler import BODY, environment
from infra.bench.measures import Measure
from infra.local.processes import Children, free_port, listens
from infra.local.stack import ROOT, find_upstream

ROUNDS: Final = 100
WARM_UP: Final = 10
TARGET_MS: Final = 20.0
FIRST_CONTENT: Final = b"event: content_block_start"
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


def _serve(children: Children, upstream_url: str) -> str:
    port = free_port()
    env = {**os.environ, **environment(upstream_url), "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'functions'}"}
    child = children.start("uvicorn", [sys.executable, *SERVER, "--port", str(port)], env, cwd=ROOT)
    child.wait_until(lambda: listens(port))
    return f"http://127.0.0.1:{port}"


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
