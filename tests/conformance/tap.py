"""A tap between a client and the router: passes every byte on as it is, and keeps what the client asked.

So a test sees the requests that an unmodified client really made: how many (does it retry?), with which headers, and
which body, to compare with what reached Claude.
"""

import contextlib
import json
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

CHUNK: Final = 65_536
LAST: Final = 5.0  # seconds that connections have to end when nobody is left on either side
_START: Final = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.1\r\n")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as the client sent it; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.content) if self.content else None


@dataclass(slots=True)
class Tap:
    """What came through, connection by connection, since the last `clear`."""

    url: str
    sent: list[bytearray] = field(default_factory=list)

    def clear(self) -> None:
        """Forget what came through; connections that are kept alive go on."""
        for kept in self.sent:
            kept.clear()

    def requests(self) -> list[Asked]:
        """All whole requests; those of one connection in their order."""
        return [asked for kept in self.sent for asked in _parsed(bytes(kept))]


@contextlib.contextmanager
def tapped(url: str) -> Iterator[Tap]:
    """A tap in front of `url`; its own URL has another port and the same path."""
    parts = urlsplit(url)
    with socket.create_server(("127.0.0.1", 0)) as server:
        tap = Tap(f"http://127.0.0.1:{server.getsockname()[1]}{parts.path}")
        target = (str(parts.hostname), int(parts.port or 80))
        connections: list[threading.Thread] = []
        accepting = threading.Thread(target=_accept, args=(server, target, tap, connections), daemon=True)
        accepting.start()
        yield tap
        server.shutdown(socket.SHUT_RDWR)
        for thread in (accepting, *connections):
            thread.join(LAST)


def _accept(server: socket.socket, target: tuple[str, int], tap: Tap, connections: list[threading.Thread]) -> None:
    with contextlib.suppress(OSError):  # the server is shut down when the block ends
        while True:
            client, _ = server.accept()
            kept = bytearray()
            tap.sent.append(kept)
            connections.append(threading.Thread(target=_connect, args=(client, target, kept), daemon=True))
            connections[-1].start()


def _connect(client: socket.socket, target: tuple[str, int], kept: bytearray) -> None:
    with client, socket.create_connection(target) as upstream:
        back = threading.Thread(target=_pass, args=(upstream, client, None), daemon=True)
        back.start()
        _pass(client, upstream, kept)
        with contextlib.suppress(OSError):  # nobody is left to read what may still come
            upstream.shutdown(socket.SHUT_RDWR)
        back.join()


def _pass(source: socket.socket, to: socket.socket, kept: bytearray | None) -> None:
    """Pass on what comes until one side ends, then end the other side's half too."""
    with contextlib.suppress(OSError):
        while data := source.recv(CHUNK):
            if kept is not None:
                kept += data
            to.sendall(data)
    with contextlib.suppress(OSError):
        to.shutdown(socket.SHUT_WR)


def _parsed(data: bytes) -> Iterator[Asked]:
    at = 0
    while (start := _START.match(data, at)) and (end := data.find(b"\r\n\r\n", at)) > 0:
        lines = data[start.end() : end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        at = end + 4
        if headers.get("transfer-encoding") == "chunked":
            content, at = _chunks(data, at)
        else:
            length = int(headers.get("content-length", 0))
            content, at = data[at : at + length], at + length
        yield Asked(start.group(1).decode(), start.group(2).decode(), headers, content)


def _chunks(data: bytes, at: int) -> tuple[bytes, int]:
    found = b""
    while True:
        end = data.index(b"\r\n", at)
        size = int(data[at:end], 16)
        found += data[end + 2 : end + 2 + size]
        at = end + 2 + size + 2
        if size == 0:
            return found, at
