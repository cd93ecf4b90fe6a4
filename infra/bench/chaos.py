"""Bulk work while everything goes wrong, long: the chaos test with 2,000 jobs."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from infra.bench.measures import Measure

ROOT: Final = Path(__file__).parents[2]
TEST: Final = "tests/integration/test_chaos.py"
JOBS: Final = 2_000
TOLD: Final = re.compile(r"\{'succeeded': (\d+)(?:, 'errored': (\d+))?\} results; workers died: (\{[^}]*\})")


def chaos() -> list[Measure]:
    """Run it; a job without its one result, or a ledger that is not the bill, fails the whole bench."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", TEST, "-q", "-s", "-p", "no:xdist"],
        cwd=ROOT,
        env=os.environ | {"CHAOS_JOBS": str(JOBS)},
        capture_output=True,
        text=True,
        check=False,
    )
    found = TOLD.search(run.stdout)
    if run.returncode or not found:
        raise RuntimeError(f"{TEST} failed: {run.stdout[-2_000:]}")
    succeeded, errored = int(found[1]), int(found[2] or 0)
    deaths = sum(int(count) for count in re.findall(r": (\d+)", found[3]))
    against = (
        f"{succeeded + errored} results of {JOBS} jobs, each once; {errored} failed after two lost calls; {deaths} "
        "workers died; the ledger is the bill but for its ambiguous entries"
    )
    return [Measure("bulk.chaos_missing_results", JOBS - succeeded - errored, "", 0, against)]
