"""`GET /openapi.json`: what is served here, as OpenAPI 3.1. Tests hold it against the routes, statuses and headers."""

import json
from importlib import resources
from typing import Any, Final

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route as HttpRoute

from cost_router import __version__

PATH: Final = "/openapi.json"


def document() -> dict[str, Any]:
    """The document of this version."""
    file = resources.files("cost_router") / "data" / "openapi.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    found["info"]["version"] = __version__
    return found


def route() -> HttpRoute:
    """The path of the document, which needs no key."""
    content = json.dumps(document(), ensure_ascii=False).encode()

    async def describe(_http: HttpRequest) -> Response:
        return Response(content, media_type="application/json")

    return HttpRoute(PATH, describe, methods=["GET"])
