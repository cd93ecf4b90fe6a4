"""The front door: the ASGI app of the router function.

On AWS it runs under uvicorn behind the Lambda Web Adapter, in the emulator and with `streaming=False` behind Mangum.
Each kind of thing that is served has a module of its own with its routes; what they share is `handlers/front.py`.
"""

from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Match
from starlette.routing import Route as HttpRoute

from cost_router import __version__
from cost_router.contract import HEALTH_PATH
from cost_router.core.counting import TokenCounter
from cost_router.core.errors import quoted
from cost_router.core.offers import Offers
from cost_router.core.ports import LedgerReader, RequestLog
from cost_router.core.words import Tier
from cost_router.handlers import openapi, replies
from cost_router.handlers.counting import CountEndpoints
from cost_router.handlers.feedback import FeedbackEndpoints, FeedbackParts
from cost_router.handlers.front import Front
from cost_router.handlers.message_batches import BatchParts, MessageBatchEndpoints
from cost_router.handlers.messages import MessageEndpoints
from cost_router.handlers.models import ModelEndpoints
from cost_router.handlers.requests import RequestEndpoints
from cost_router.handlers.spending import SpendEndpoints


@dataclass(frozen=True, slots=True)
class Parts:
    """What endpoints need beside what all of them share."""

    reader: LedgerReader
    requests: RequestLog
    batches: BatchParts
    feedback: FeedbackParts


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What is answered to everybody."""

    front: Front

    def routes(self) -> list[HttpRoute]:
        """Paths and methods."""
        return [HttpRoute(HEALTH_PATH, self.health, methods=["GET"]), openapi.route()]

    async def health(self, _http: HttpRequest) -> Response:
        """`GET /health`: version and lineup; needs no key and touches nothing."""
        lineup = self.front.router.lineup
        models = {tier.word: lineup.models[tier].id for tier in Tier} | {"classifier": lineup.classifier.id}
        return JSONResponse({"status": "ok", "version": __version__, "lineup": lineup.name, "models": models})

    async def nowhere(self, http: HttpRequest, _error: Exception) -> Response:
        """Unknown paths (404) and methods (405, with `allow`), in Anthropic's shape."""
        record = self.front.record("request")
        routes: list[HttpRoute] = http.app.routes
        here = [route for route in routes if route.matches(http.scope)[0] is not Match.NONE]
        served = [f"{method} {route.path}" for route in routes for method in sorted(_methods(route) - {"HEAD"})]
        asked = quoted(f"{http.method} {http.scope['path']}")
        message = f"{asked} is not served; accepted: {', '.join(served)}"
        if not here:
            return replies.plain_error(404, "not_found_error", message, record)
        allowed = {"allow": ", ".join(sorted(set().union(*map(_methods, here))))}
        return replies.plain_error(405, "invalid_request_error", message, record, allowed)


def _methods(route: HttpRoute) -> set[str]:
    return route.methods or set()


def make_app(front: Front, parts: Parts) -> Starlette:
    """The ASGI app over given parts."""
    models, lineup = front.router.decider.catalogue, front.router.lineup
    routes = [
        *MessageEndpoints(front).routes(),
        *MessageBatchEndpoints(front, parts.batches).routes(),
        *CountEndpoints(front, TokenCounter(front.out.claude, front.out.clock, models, lineup)).routes(),
        *ModelEndpoints(front, Offers(models, lineup)).routes(),
        *RequestEndpoints(front, parts.requests).routes(),
        *FeedbackEndpoints(front, parts.requests, parts.feedback).routes(),
        *SpendEndpoints(front, parts.reader).routes(),
    ]
    elsewhere = Elsewhere(front)
    app = Starlette(
        routes=[*routes, *elsewhere.routes()],
        exception_handlers={404: elsewhere.nowhere, 405: elsewhere.nowhere},
        lifespan=front.lifespan,
    )
    app.router.redirect_slashes = False  # a redirect would be the one reply that is not in Anthropic's shape
    return app
