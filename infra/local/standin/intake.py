"""What comes in over HTTP: the key, the body, and a record of the latest requests."""

import json
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from starlette.requests import Request

from infra.local.standin.errors import ApiError, invalid
from infra.local.standin.meter import iso

MAX_BODY_BYTES: Final = 32 * 1024 * 1024
MAX_BATCH_BYTES: Final = 256 * 1024 * 1024
KEPT_REQUESTS: Final = 200
CREDENTIALS: Final = frozenset({"authorization", "x-api-key", "cookie"})
ADMIN_KEY: Final = "sk-ant-admin"


class Log:
    """The latest requests to the API's endpoints, as received, without credentials."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Start empty."""
        self._clock = clock
        self._entries: deque[dict[str, Any]] = deque(maxlen=KEPT_REQUESTS)

    def add(self, request: Request) -> dict[str, Any]:
        """Note a request; the body is added to the entry when it has been read."""
        entry: dict[str, Any] = {
            "request_id": request.state.request_id,
            "at": iso(self._clock()),
            "method": request.method,
            "path": request.url.path,
            "query": request.url.query,
            "headers": {name: value for name, value in request.headers.items() if name not in CREDENTIALS},
            "body": None,
        }
        self._entries.append(entry)
        return entry

    def rows(self) -> list[dict[str, Any]]:
        """All entries, oldest first."""
        return list(self._entries)

    def clear(self) -> None:
        """Forget all entries."""
        self._entries.clear()


def authenticate(request: Request) -> str:
    """The key that the request carries, any non-empty one; raises the API's 401 without one."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    key = request.headers.get("x-api-key", "").strip() or (token.strip() if scheme.lower() == "bearer" else "")
    if not key:
        raise ApiError(401, "x-api-key header is required")
    return key


def authenticate_admin(request: Request) -> None:
    """Raise the API's 401 unless the request carries an Admin API key."""
    if not authenticate(request).startswith(ADMIN_KEY):
        raise ApiError(401, "invalid x-api-key")


async def json_body(request: Request, most: int = MAX_BODY_BYTES) -> object:
    """The parsed body; raises the API's 413 or 400. A body that is too large is read to its end but not kept."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size <= most:
            parts.append(part)
    if size > most:
        raise ApiError(413, "Request exceeds the maximum size")
    try:
        return json.loads(b"".join(parts))
    except (ValueError, RecursionError) as error:
        raise invalid(f"The request body is not valid JSON: {error}") from error
