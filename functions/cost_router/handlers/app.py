"""The front door: the ASGI app of the router function.

On AWS it runs under uvicorn behind the Lambda Web Adapter, in the emulator and with `streaming=False` behind Mangum.
Each kind of thing that is served has a module of its own with its routes; what they share is `handlers/front.py`.
"""

from dataclasses import dataclass
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route as HttpRoute

from cost_router import __version__
from cost_router.contract import HEALTH_PATH
from cost_router.core.errors import quoted
from cost_router.core.ports import LedgerReader
from cost_router.core.words import Tier
from cost_router.handlers import replies
from cost_router.handlers.front import Front
from cost_router.handlers.messages import MessageEndpoints
from cost_router.handlers.spending import SpendEndpoints


@dataclass(frozen=True, slots=True)
class Parts:
    """What endpoints need beside what all of them share."""

    reader: LedgerReader


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What is answered to everybody."""

    front: Front
    served: tuple[str, ...]  # "METHOD /path" of each route

    async def health(self, _http: HttpRequest) -> Response:
        """`GET /health`: version and lineup; needs no key and touches nothing."""
        lineup = self.front.router.lineup
        models = {tier.word: lineup.models[tier].id for tier in Tier} | {"classifier": lineup.classifier.id}
        return JSONResponse({"status": "ok", "version": __version__, "lineup": lineup.name, "models": models})

    async def nowhere(self, http: HttpRequest, error: Exception) -> Response:
        """Unknown paths and methods, in Anthropic's shape."""
        record = self.front.record("request")
        status = getattr(error, "status_code", 404)
        kind = "not_found_error" if status == HTTPStatus.NOT_FOUND else "invalid_request_error"
        asked = quoted(f"{http.method} {http.scope['path']}")
        message = f"{asked} is not served; accepted: {', '.join(self.served)}"
        return replies.plain_error(status, kind, message, record)


def make_app(front: Front, parts: Parts) -> Starlette:
    """The ASGI app over given parts."""
    routes = [*MessageEndpoints(front).routes(), *SpendEndpoints(front, parts.reader).routes()]
    served = tuple(
        f"{method} {route.path}" for route in routes for method in sorted(route.methods or ()) if method != "HEAD"
    )
    elsewhere = Elsewhere(front, (*served, f"GET {HEALTH_PATH}"))
    app = Starlette(
        routes=[*routes, HttpRoute(HEALTH_PATH, elsewhere.health, methods=["GET"])],
        exception_handlers={404: elsewhere.nowhere, 405: elsewhere.nowhere},
        lifespan=front.lifespan,
    )
    app.router.redirect_slashes = False  # a redirect would be the one reply that is not in Anthropic's shape
    return app
