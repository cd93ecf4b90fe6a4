"""Watching a group until all of its jobs have ended, and how long that may take."""

import asyncio
import datetime as dt
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cost_router.core.groups import GroupState
from infra.operate.collect import Collector
from infra.operate.groups import GroupDesk, Standing
from infra.operate.target import Target

EVERY_SECONDS: Final = 2.0
REDRAW_SECONDS: Final = 0.5  # while the last results are downloaded
PACE_SECONDS: Final = 600.0  # that the pace is measured over: batches come back in bursts


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a group is. left_seconds: until all have ended, None when not known; collected: results in the file."""

    standing: Standing
    left_seconds: float | None
    collected: int | None
    at: dt.datetime

    @property
    def finished(self) -> bool:
        """Whether all jobs have ended."""
        return self.standing.is_finished(self.at)

    def json(self) -> dict[str, Any]:
        """As `--json` prints it; dollars as decimal strings."""
        left = None if self.left_seconds is None else round(self.left_seconds)
        collected = {} if self.collected is None else {"collected": self.collected}
        return {**self.standing.json(self.at), "left_seconds": left, **collected}


@dataclass(slots=True)
class Pace:
    """How fast jobs end, from what was seen while watching."""

    _seen: deque[tuple[float, int]] = field(default_factory=deque)

    def left(self, standing: Standing, at: float) -> float | None:
        """Seconds until all jobs have ended, at the pace of the last ten minutes; None before any ended in them."""
        ended = standing.tally.ended
        self._seen.append((at, ended))
        while at - self._seen[0][0] > PACE_SECONDS:
            self._seen.popleft()
        since, before = self._seen[0]
        remaining = standing.submitted - ended
        if remaining <= 0:
            return 0.0
        if standing.group.state is GroupState.PAUSED or ended <= before:
            return None
        return remaining * (at - since) / (ended - before)


def watch(target: Target, name: str, out: Path | None, *, follow: bool, show: Callable[[Progress], object]) -> Progress:
    """How far a group is; with `follow`, once all of its jobs have ended, and shown on the way.

    With `out`, the results that are there by then are in that file. Raises `GroupProblem`; Ctrl-C ends it without harm.
    """
    desk, pace = GroupDesk.of(target), Pace()

    def look() -> Progress:
        standing = asyncio.run(desk.standing(name))
        left = pace.left(standing, time.monotonic())
        return Progress(standing, left, collector.count if collector else None, dt.datetime.now(dt.UTC))

    collector: Collector | None = None
    found = look()
    if out is None:
        return _until_finished(look, show, found) if follow else found
    collector = Collector.of(target, name, out)
    with ThreadPoolExecutor(1) as pool:
        collecting = pool.submit(collector.run)
        try:
            if follow:
                found = _until_finished(look, show, found, lambda: collecting.done() and collecting.result())
            collector.last.set()
            while not collecting.done():
                wait([collecting], REDRAW_SECONDS)
                show(look())
        finally:
            collector.quit.set()
            collector.last.set()
        collecting.result()
    collector.finish()
    return look()


def _until_finished(
    look: Callable[[], Progress],
    show: Callable[[Progress], object],
    found: Progress,
    check: Callable[[], object] = lambda: None,
) -> Progress:
    """Look and show until all jobs have ended; `check` may raise."""
    show(found)
    while not found.finished:
        check()
        time.sleep(EVERY_SECONDS)
        found = look()
        show(found)
    return found


def span(seconds: float | None) -> str:
    """A time to wait in the words of people."""
    if seconds is None:
        return "unknown"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"about {seconds / size:.0f} {unit}"
    return f"about {seconds:.0f} s"
