"""A client under test: a script in the client's own environment that does what it is told, line by line.

In: `{"verb": "create", "base": URL, "key": KEY, ...}`. Out: `{"name": "create", "ok": true, "detail": {...}}`; when the
client raised, `ok` is false and `detail` says what: `clients/protocol.py`.
"""

import contextlib
import json
import os
import selectors
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.conformance.environments import BIN, ROOT

LONGEST: Final = 90.0  # seconds for one verb
NOWHERE: Final = "http://127.0.0.1:9"  # the discard port: a client that looks for anything but loopback finds nobody


@dataclass(frozen=True, slots=True)
class Told:
    """What the driver tells of one verb."""

    ok: bool
    detail: dict[str, Any]

    def given(self) -> dict[str, Any]:
        """What the client gave; fails with what it raised instead."""
        assert self.ok, self.detail
        return self.detail

    def raised(self) -> dict[str, Any]:
        """What the client raised: `class`, `bases`, `status`, `type`, `message`; fails when it raised nothing."""
        assert not self.ok, f"nothing was raised: {self.detail}"
        return self.detail


@dataclass(slots=True)
class Driver:
    """A running driver script."""

    process: subprocess.Popen[bytes]
    log: Path
    _rest: bytes = b""

    def tell(self, verb: str, **arguments: Any) -> Told:
        """Have the client do something; waits for what comes of it."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"verb": verb, **arguments}).encode() + b"\n")
        self.process.stdin.flush()
        answer = json.loads(self._line())
        assert answer["name"] == verb, answer
        return Told(answer["ok"], answer["detail"])

    def _line(self) -> bytes:
        assert self.process.stdout
        deadline = time.monotonic() + LONGEST
        with selectors.DefaultSelector() as ready:
            ready.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                assert ready.select(deadline - time.monotonic()), f"no answer within {LONGEST:.0f} s; {self._last()}"
                data = os.read(self.process.stdout.fileno(), 65_536)
                assert data, f"the driver ended; {self._last()}"
                self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _last(self) -> str:
        return f"its log ends: {self.log.read_text(encoding='utf-8', errors='replace')[-2_000:]}"


@contextlib.contextmanager
def driven(command: list[str], folder: Path, variables: Mapping[str, str]) -> Iterator[Driver]:
    """A driver for the length of a block, with an empty home in `folder` and nothing of the shell's environment."""
    folder.mkdir(parents=True, exist_ok=True)
    env = {
        "HOME": str(folder),
        "PATH": f"{BIN}{os.pathsep}{os.defpath}",
        "HTTP_PROXY": NOWHERE,
        "HTTPS_PROXY": NOWHERE,
        "NO_PROXY": "127.0.0.1,localhost",
        **variables,
    }
    log = folder / "driver.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        )
    try:
        yield Driver(process, log)
    finally:
        process.kill()
        process.communicate()
