"""`GET /v1/models` and `GET /v1/models/{id}`: what a caller may name as `model`, in the API's shape.

The shape is that of `anthropic.types.ModelInfo` (SDK 2.12); older clients read four of its fields. `capabilities` and
`deprecated_at` are null, as the API allows: a part of the former would be an object without members that clients rely
on, and nobody tells the latter.
"""

import datetime as dt
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from starlette.datastructures import QueryParams
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route as HttpRoute

from cost_router.core.errors import InvalidRequest, quoted
from cost_router.core.offers import ACTIVE, DEPRECATED, LIFECYCLES, Offer, Offers
from cost_router.core.paging import page
from cost_router.core.record import Record
from cost_router.handlers import replies
from cost_router.handlers.front import Front
from cost_router.handlers.paging import parse_cursor

UNKNOWN_DAY: Final = dt.date(1970, 1, 1)  # as the API has it for a release date that is not known


@dataclass(frozen=True, slots=True)
class ModelEndpoints:
    """What is offered."""

    front: Front
    offers: Offers

    def routes(self) -> list[HttpRoute]:
        """Paths and methods."""
        return [
            HttpRoute("/v1/models", self.list_models, methods=["GET"]),
            HttpRoute("/v1/models/{id}", self.retrieve, methods=["GET"]),
        ]

    async def list_models(self, http: HttpRequest) -> Response:
        """`GET /v1/models`."""

        async def shown() -> dict[str, Any]:
            cursor, stages, today = parse_cursor(http.query_params), parse_lifecycle(http.query_params), self._today()
            offers = [offer for offer in self.offers.all() if offer.lifecycle(today) in stages]
            found = page(
                offers,
                id_of=_id_of,
                limit=cursor.limit,
                after_id=cursor.after_id,
                before_id=cursor.before_id,
            )
            return found.body(_id_of, lambda offer: model_info(offer, today))

        return await self._serve(http, shown)

    async def retrieve(self, http: HttpRequest) -> Response:
        """`GET /v1/models/{id}`, where the id may be an alias."""

        async def shown() -> dict[str, Any]:
            return model_info(self.offers.find(http.path_params["id"]), self._today())

        return await self._serve(http, shown)

    def _today(self) -> dt.date:
        return self.front.out.clock.now().date()

    async def _serve(self, http: HttpRequest, shown: Callable[[], Awaitable[dict[str, Any]]]) -> Response:
        """What is shown to whoever has a key."""

        async def serve(record: Record, _began: float) -> Response:
            await self.front.tenant(http, record)
            return replies.reported(await shown(), record)

        return await self.front.guarded("models", serve)


def parse_lifecycle(query: QueryParams) -> frozenset[str]:
    """The stages whose models are asked for, those that can be called by default; raises `InvalidRequest`.

    The parameter may be given several times, as `lifecycle` or, as the SDK writes it, as `lifecycle[]`.
    """
    asked = [*query.getlist("lifecycle"), *query.getlist("lifecycle[]")]
    for stage in asked:
        if stage not in LIFECYCLES:
            raise InvalidRequest(f"lifecycle: {quoted(stage)}; accepted: {', '.join(LIFECYCLES)}")
    return frozenset(asked or (ACTIVE, DEPRECATED))


def model_info(offer: Offer, today: dt.date) -> dict[str, Any]:
    """An offer as the API shows a model on a UTC day."""
    return {
        "type": "model",
        "id": offer.id,
        "display_name": offer.display_name,
        "created_at": _midnight(offer.released or UNKNOWN_DAY),
        "lifecycle": offer.lifecycle(today),
        "deprecated_at": None,
        "retires_at": _midnight(offer.retires_on) if offer.retires_on else None,
        "line": offer.tier.word if offer.tier else None,
        "max_input_tokens": offer.context_window,
        "max_tokens": offer.max_output_tokens,
        "capabilities": None,
    }


def _id_of(offer: Offer) -> str:
    return offer.id


def _midnight(day: dt.date) -> str:
    return f"{day.isoformat()}T00:00:00Z"
