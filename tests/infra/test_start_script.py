"""The start script of the streaming entry, run as the Web Adapter and `make up` run it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from cost_router.contract import Handler
from infra.aws.bundle import FUNCTIONS

SCRIPT = FUNCTIONS / Handler.ROUTER_STREAMING
APP = """
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answer(port: int, within: float = 20.0) -> bytes:
    deadline = time.monotonic() + within
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1) as reply:
                return bytes(reply.read())
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def test_it_serves_the_app_of_its_task_root_on_loopback_and_ends_on_sigterm(tmp_path: Path) -> None:
    handlers = tmp_path / "cost_router" / "handlers"
    handlers.mkdir(parents=True)
    for package in (handlers, handlers.parent):
        (package / "__init__.py").touch()
    (handlers / "entry_router.py").write_text(APP, encoding="utf-8")
    shutil.copy(SCRIPT, tmp_path / "cost_router")
    port = free_port()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": path, "LAMBDA_TASK_ROOT": str(tmp_path), "AWS_LWA_PORT": str(port)}
    server = subprocess.Popen([tmp_path / Handler.ROUTER_STREAMING], env=environment, cwd="/")
    try:
        assert answer(port) == b"ok"
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(10) in {0, -signal.SIGTERM}
