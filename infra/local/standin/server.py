"""uvicorn, as the stand-in needs it: loopback only, says when it listens, lets replies close their connection."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path
from types import FrameType
from typing import Final

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

HOST: Final = "127.0.0.1"
KEEP_ALIVE_SECONDS: Final = 300  # longer than clients keep connections, or reusing one races with its end
GRACE_SECONDS: Final = 1  # for calls in flight at SIGTERM


class _Protocol(H11Protocol):
    """Puts the connection's transport into the state of its requests, where `replies.py` finds it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = self.app_state | {"transport": transport}


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready_file: Path | None, url: str) -> None:
        super().__init__(config)
        self._ready_file = ready_file
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started and self._ready_file:
            _write(self._ready_file, self._url)


def serve(app: Starlette, port: int, ready_file: Path | None) -> None:
    """Serve `app` until SIGTERM or SIGINT; port 0 takes a free one. The ready file holds the URL, nothing else."""
    signal.signal(signal.SIGTERM, _end)
    if ready_file:
        ready_file.unlink(missing_ok=True)
    listener = socket.create_server((HOST, port), backlog=2_048)
    # asyncio sets this on its own listeners only; without it an event waits until the one before is acknowledged.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    url = f"http://{HOST}:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    _Server(config, ready_file, url).run(sockets=[listener])


def _end(_signal: int, _frame: FrameType | None) -> None:
    """Uvicorn raises the signal again after its own shutdown; being told to stop is no failure."""
    sys.exit(0)


def _write(ready_file: Path, url: str) -> None:
    """Write in one step: a reader finds the whole URL or no file."""
    draft = ready_file.with_name(f"{ready_file.name}.{os.getpid()}")
    draft.write_text(url)
    draft.replace(ready_file)
