"""`make up` and `make down`: a supervisor that owns the local stack until it is told to end it.

The supervisor holds a lock on `.local/supervisor.lock` as long as it lives, so `down` never signals a stranger that
inherited an old process number.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from infra.local.processes import Child, LocalStackError, ended_by_signals
from infra.local.stack import ROOT, running_stack, write_description
from infra.operate.target import STACK_FILE

FOLDER: Final = ROOT / STACK_FILE.parent
LOCK: Final = FOLDER / "supervisor.lock"
DESCRIPTION: Final = ROOT / STACK_FILE
UP_SECONDS: Final = 240.0
DOWN_SECONDS: Final = 30.0


def up(sample_percent: int = 0) -> Path:
    """Start the supervisor in the background and wait for the description; raises `LocalStackError`.

    One that runs already stays as it is.
    """
    if running():
        return DESCRIPTION
    FOLDER.mkdir(exist_ok=True)
    DESCRIPTION.unlink(missing_ok=True)
    log = FOLDER / "supervisor.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "infra.local.background", str(sample_percent)],
            cwd=ROOT,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    Child("the local stack", process, log).wait_until(DESCRIPTION.is_file, UP_SECONDS)
    return DESCRIPTION


def down() -> bool:
    """End the supervisor and all it started; whether there was one. Raises `LocalStackError` when it does not end."""
    if not running():
        DESCRIPTION.unlink(missing_ok=True)
        return False
    os.kill(int(LOCK.read_text(encoding="utf-8")), signal.SIGTERM)
    deadline = time.monotonic() + DOWN_SECONDS
    while running():
        if time.monotonic() > deadline:
            raise LocalStackError(f"the local stack did not end within {DOWN_SECONDS:.0f} s; see {FOLDER}")
        time.sleep(0.05)  # a poll bounded by the deadline
    return True


def running() -> bool:
    """Whether a supervisor holds the lock."""
    if not LOCK.is_file():
        return False
    with LOCK.open("r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def supervise(sample_percent: int) -> None:
    """Keep a local stack until SIGTERM; its description is there exactly as long as it runs."""
    FOLDER.mkdir(exist_ok=True)
    with LOCK.open("a+", encoding="utf-8") as lock, ended_by_signals(), contextlib.suppress(KeyboardInterrupt):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        try:
            with running_stack(FOLDER, sample_percent=sample_percent) as stack:
                write_description(stack, DESCRIPTION)
                while True:
                    signal.pause()
        finally:
            DESCRIPTION.unlink(missing_ok=True)


if __name__ == "__main__":
    supervise(int(sys.argv[1]))
