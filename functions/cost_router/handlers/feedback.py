"""`POST /v1/feedback`: how good an answer was, stored beside its label, tier and cost."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route as HttpRoute

from cost_router.adapters.feedback import row
from cost_router.core.errors import InvalidRequest, NotFound, quoted
from cost_router.core.feedback import Feedback, feedback_on
from cost_router.core.ports import RequestLog
from cost_router.core.pricing import dollars
from cost_router.core.record import Record
from cost_router.core.routing_ports import FeedbackStore, QualityTelemetry
from cost_router.handlers import replies
from cost_router.handlers.front import Front
from cost_router.handlers.requests import ACCEPTED, ID
from cost_router.handlers.strict_json import kind_of, parse_json

KIND: Final = "feedback"
MEMBERS: Final = ("request_id", "score", "comment")
SCORE: Final = re.compile(r"0(\.[0-9]{1,20})?|1(\.0{1,20})?")
SCORES: Final = "a number from 0 to 1, or one as a decimal string, with 20 decimals at the most"
MOST_CHARACTERS: Final = 2_000


@dataclass(frozen=True, slots=True)
class Said:
    """What a body says."""

    request_id: str
    score: Decimal
    comment: str | None


@dataclass(frozen=True, slots=True)
class FeedbackParts:
    """What feedback reaches."""

    store: FeedbackStore
    telemetry: QualityTelemetry


@dataclass(frozen=True, slots=True)
class FeedbackEndpoints:
    """Opinions about requests that have ended, as far as a key may see them."""

    front: Front
    log: RequestLog
    parts: FeedbackParts

    def routes(self) -> list[HttpRoute]:
        """Paths and methods."""
        return [HttpRoute("/v1/feedback", self.feedback, methods=["POST"])]

    async def feedback(self, http: HttpRequest) -> Response:
        """`POST /v1/feedback`; another tenant's request is as unknown as one that never was."""

        async def keep(record: Record, _began: float) -> Response:
            tenant = await self.front.tenant(http, record)
            said = parse_feedback(parse_json(await self.front.body(http)))
            now = self.front.out.clock.now()
            found = await self.log.get(said.request_id, now) if ID.fullmatch(said.request_id) else None
            if found is None or not (tenant.reads_account or found.tenant == tenant.name):
                raise NotFound(f"request_id: {quoted(said.request_id)} is not known; {ACCEPTED}")
            given = feedback_on(found, said.score, said.comment, now)
            await self.parts.store.put(given)
            self.parts.telemetry.rated(given)
            return replies.reported(told(given), record)

        return await self.front.guarded(KIND, keep)


def parse_feedback(value: Mapping[str, Any]) -> Said:
    """What a body says; raises `InvalidRequest`, which never quotes the comment."""
    for name in value:
        if name not in MEMBERS:
            raise InvalidRequest(f"{quoted(name)} is unknown; accepted: {', '.join(MEMBERS)}")
    for name in ("request_id", "score"):
        if name not in value:
            raise InvalidRequest(f"{name}: Field required")
    id_ = value["request_id"]
    if not isinstance(id_, str):
        raise InvalidRequest(f"request_id: {quoted(id_)}; {ACCEPTED}")
    return Said(id_, _score(value["score"]), _comment(value.get("comment")))


def _score(value: object) -> Decimal:
    """A JSON number, whose shortest text is what the caller wrote, or a decimal string."""
    text = value if isinstance(value, str) else ""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        text = f"{Decimal(str(abs(value))):f}"
    if not SCORE.fullmatch(text):
        raise InvalidRequest(f"score: {quoted(value)}; accepted: {SCORES}")
    return Decimal(text)


def _comment(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise InvalidRequest(f"comment: it is {kind_of(value)}; accepted: a string")
    if value and len(value) > MOST_CHARACTERS:
        raise InvalidRequest(f"comment: it has {len(value)} characters; accepted: {MOST_CHARACTERS} at the most")
    return value or None


def told(given: Feedback) -> dict[str, Any]:
    """A feedback as its giver gets it back: dollars and the score as decimal strings."""
    found = row(given) | {"cost_usd": dollars(given.cost_usd), "baseline_usd": dollars(given.baseline_usd)}
    return {"type": "feedback", **found, "score": f"{given.score:f}"}
