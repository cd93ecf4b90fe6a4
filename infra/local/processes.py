"""Child processes of the local stack: started on free loopback ports, waited for, and always ended."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

START_SECONDS: Final = 60.0
END_SECONDS: Final = 10.0


class LocalStackError(RuntimeError):
    """A part of the local stack did not start; the message says which and where its log is."""


@dataclass(slots=True)
class Child:
    """A process that this one started, with its own process group and its output in a file."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Raise `LocalStackError` when the process has ended."""
        code = self.process.poll()
        if code is not None:
            tail = self.log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise LocalStackError(f"{self.name} ended with code {code}; the end of {self.log}:\n{tail}")

    def wait_until(self, ready: Callable[[], bool], seconds: float = START_SECONDS) -> None:
        """Poll `ready` until it is true; raises `LocalStackError` when the process ends or the time is up."""
        deadline = time.monotonic() + seconds
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise LocalStackError(f"{self.name} was not ready after {seconds:.0f} s; its log is {self.log}")
            time.sleep(0.05)  # a poll of our own child, bounded by the deadline

    def end(self) -> None:
        """End the process and whatever it started; harmless when it has ended."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(END_SECONDS)
                return


@dataclass(slots=True)
class Children:
    """The processes of one local stack, ended in reverse order."""

    folder: Path
    _children: list[Child] = field(default_factory=list)

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str], cwd: Path | None = None) -> Child:
        """Start a process whose output goes to `NAME.log` in the folder."""
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, env=dict(env), cwd=cwd, stdout=output, stderr=output, start_new_session=True
            )
        child = Child(name, process, log)
        self._children.append(child)
        return child

    def check(self) -> None:
        """Raise `LocalStackError` when one of the processes has ended."""
        for child in self._children:
            child.check()

    def end(self) -> None:
        """End them all."""
        while self._children:
            self._children.pop().end()


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether somebody accepts connections on the loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGINT into an orderly end; a shell's background jobs start with SIGINT ignored."""

    def stop(_sign: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = {sign: signal.signal(sign, stop) for sign in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
