"""A page as headless Chromium sees it: its DOM, what it fetched, what it complained about, and a picture of it.

Spoken to over a pipe (`--remote-debugging-pipe`), so no port is opened and no package is needed.
Source: chromedevtools.github.io/devtools-protocol
"""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
FLAGS: Final = (
    "--headless",
    "--no-sandbox",  # containers run as root, which its sandbox refuses; the pages are our own
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
SECONDS: Final = 60.0
# Chromium reads from 3 and writes to 4. A process between puts our ends there: one with threads, as tests have, must
# not run code of its own after a fork, and a shell knows no descriptor above 9.
AS_3_AND_4: Final = """
import fcntl, os, sys
reads, writes = (fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3])
os.dup2(reads, 3), os.dup2(writes, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
BOXES: Final = """[...document.querySelectorAll('svg')].map(svg => {
  const box = svg.getBoundingClientRect();
  return {name: svg.getAttribute('aria-label'), width: box.width, height: box.height}})"""


class NoChromium(RuntimeError):
    """There is no Chromium on PATH, or it did not do what it was told."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a page turned out to be."""

    dom: str
    complaints: tuple[str, ...]  # errors and warnings of the console, and of the browser about the page
    requests: tuple[str, ...]  # every URL asked for, the page's own first
    charts: tuple[Mapping[str, Any], ...]  # name, width and height of each svg, in CSS pixels
    content_width: int  # CSS pixels; more than the window's: the page scrolls sideways
    png: bytes  # of the whole page


def find_chromium() -> str | None:
    """The Chromium on PATH, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def look(page: Path, *, width: int = 1280, dark: bool = False, scale: float = 1.0) -> Seen:
    """Open a file in a window of that width and tell what is there; raises `NoChromium`.

    `scale` is that of the picture: below one, fewer pixels and a smaller file.
    """
    with _browser() as talk:
        target = talk.call("Target.createTarget", url="about:blank")["targetId"]
        talk.session = talk.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            talk.call(f"{domain}.enable")
        talk.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        talk.call("Emulation.setEmulatedMedia", features=[scheme])
        talk.call("Page.navigate", url=page.resolve().as_uri())
        talk.wait("Page.loadEventFired")
        size = talk.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": width, "height": size["height"], "scale": scale}
        shot = talk.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        return Seen(
            dom=talk.value("document.documentElement.outerHTML"),
            complaints=tuple(talk.complaints()),
            requests=tuple(event["request"]["url"] for event in talk.events("Network.requestWillBeSent")),
            charts=tuple(talk.value(BOXES)),
            content_width=int(size["width"]),
            png=base64.b64decode(shot["data"]),
        )


@dataclass(slots=True)
class _Talk:
    reads: int
    writes: int
    session: str | None = None
    _heard: list[dict[str, Any]] = field(default_factory=list)
    _rest: bytes = b""
    _number: int = 0

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.writes, json.dumps(message).encode() + b"\0")
        answer = self._until(lambda heard: heard.get("id") == self._number, method)
        if "error" in answer:
            raise NoChromium(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def wait(self, event: str) -> None:
        """Until the event has happened."""
        if not self.events(event):
            self._until(lambda heard: heard.get("method") == event, event)

    def value(self, expression: str) -> Any:
        """What a JavaScript expression gives; the page itself may have no script."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"]["value"]

    def events(self, method: str) -> list[dict[str, Any]]:
        return [heard["params"] for heard in self._heard if heard.get("method") == method]

    def complaints(self) -> Iterator[str]:
        for event in self.events("Log.entryAdded"):
            yield event["entry"]["text"]
        for event in self.events("Runtime.exceptionThrown"):
            yield event["exceptionDetails"]["text"]
        for event in self.events("Runtime.consoleAPICalled"):
            yield f"console.{event['type']}: {[argument.get('value') for argument in event['args']]}"

    def _until(self, wanted: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        deadline = time.monotonic() + SECONDS
        while True:
            while b"\0" in self._rest:
                line, _, self._rest = self._rest.partition(b"\0")
                self._heard.append(json.loads(line))
                if wanted(self._heard[-1]):
                    return self._heard[-1]
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.reads], [], [], left)[0]:
                raise NoChromium(f"no answer to {what} within {SECONDS:.0f} s")
            more = os.read(self.reads, 1 << 20)
            if not more:
                raise NoChromium(f"Chromium ended before it answered {what}")
            self._rest += more


@contextmanager
def _browser() -> Iterator[_Talk]:
    """A Chromium with a new profile, ended with the block."""
    binary = find_chromium()
    if not binary:
        raise NoChromium(f"none of {', '.join(NAMES)} is on PATH; on Debian: apt-get install chromium")
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    start = [sys.executable, "-c", AS_3_AND_4, str(theirs_in), str(theirs_out), binary, *FLAGS]
    try:
        with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
            process = subprocess.Popen(
                [*start, f"--user-data-dir={profile}"],
                pass_fds=(theirs_in, theirs_out),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            os.close(theirs_in)
            os.close(theirs_out)
            talk = _Talk(ours_in, ours_out)
            try:
                yield talk
            finally:
                _end(process, talk)
    finally:
        os.close(ours_in)
        os.close(ours_out)


def _end(process: subprocess.Popen[bytes], talk: _Talk) -> None:
    """By asking; a browser that does not go within five seconds is killed."""
    talk.session = None
    try:
        talk.call("Browser.close")
        process.wait(5)
    except (NoChromium, OSError, subprocess.TimeoutExpired):
        process.kill()
        process.wait()
