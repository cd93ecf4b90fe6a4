"""The batch function, deployed as it is but for this: it dies where a seeded die says so, once for each job and place.

Its times are short, so that leases end within seconds. Everything else is the function that is deployed.
"""

import contextlib
import contextvars
import datetime as dt
import hashlib
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from cost_router.adapters.claude import AnthropicClaude
from cost_router.adapters.job_store import DynamoJobs
from cost_router.adapters.ledger import DynamoLedger
from cost_router.core import jobs
from cost_router.handlers import batch, entry_batch

SEED, FOLDER = os.environ["CHAOS_SEED"], Path(os.environ["CHAOS_FOLDER"])
SHARE = float(os.environ["CHAOS_SHARE"])  # of jobs that kill their worker at each place: a probability, not money
SECONDS = 20.0  # of an invocation
batch.MARGIN_SECONDS = 4.0  # type: ignore[misc]  # final for everybody else
batch.UNCLAIMED = 2.0  # type: ignore[misc]  # the same
batch.DEFECT_WAIT = 2.0  # type: ignore[misc]  # the same
jobs.LEASE_MARGIN = dt.timedelta(seconds=3)  # type: ignore[misc]  # the same
jobs.SHORTEST_WAIT = 1.0  # type: ignore[misc]  # the same
jobs.LONGEST_WAIT = 8.0  # type: ignore[misc]  # the same
jobs.COPY_WAIT = 4.0  # type: ignore[misc]  # the same

_job: contextvars.ContextVar[str] = contextvars.ContextVar("job", default="")


def die(place: str, job: str = "") -> None:
    """End the process as a power cut does, if this job is one that ends it here, the first time."""
    job = job or _job.get()
    drawn = int.from_bytes(hashlib.sha256(f"{SEED}{place}{job}".encode()).digest()[:4]) / 2**32
    if not job or drawn >= SHARE:
        return
    with contextlib.suppress(FileExistsError):
        (FOLDER / f"{place}-{job.replace('/', '-')}").touch(exist_ok=False)
        os._exit(9)


def around(owner: type, name: str, before: str | None, after: str | None) -> None:
    """Wrap a method, so that the process may die before or after its effect."""
    real: Callable[..., Awaitable[Any]] = getattr(owner, name)

    async def wrapped(self: Any, *given: Any, **named: Any) -> Any:
        if name == "take":
            _job.set(f"{given[0]}/{given[1]}")
        if before:
            die(before)
        found = await real(self, *given, **named)
        if after:
            die(after)
        return found

    setattr(owner, name, wrapped)


around(DynamoJobs, "take", "before-lease", "after-lease")
around(AnthropicClaude, "send", None, "after-call")
around(DynamoLedger, "book", "before-settle", None)
around(DynamoJobs, "end", "before-end", None)


class Short:
    """A context with little time."""

    def get_remaining_time_in_millis(self) -> int:
        return int(SECONDS * 1000)


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Drain the event, and die before the queue hears of it."""
    answer = entry_batch.handler(event, Short())
    for record in event["Records"]:
        die("before-delete", str(record["messageId"]))
    return answer
