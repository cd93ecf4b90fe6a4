"""`POST /v1/messages/count_tokens`: how many tokens a request has."""

from dataclasses import dataclass

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route as HttpRoute

from cost_router.core.counting import TokenCounter
from cost_router.core.errors import DeadlinePassed, UpstreamError
from cost_router.core.record import Record
from cost_router.handlers import replies
from cost_router.handlers.front import Front, forwarded
from cost_router.handlers.hints import parse_hints
from cost_router.handlers.schemas import parse_countable
from cost_router.handlers.strict_json import parse_json


@dataclass(frozen=True, slots=True)
class CountEndpoints:
    """Requests for a count."""

    front: Front
    counter: TokenCounter

    def routes(self) -> list[HttpRoute]:
        """Paths and methods."""
        return [HttpRoute("/v1/messages/count_tokens", self.count_tokens, methods=["POST"])]

    async def count_tokens(self, http: HttpRequest) -> Response:
        """`POST /v1/messages/count_tokens`."""

        async def count(record: Record, began: float) -> Response:
            tenant = await self.front.tenant(http, record)
            message = parse_countable(parse_json(await self.front.body(http)))
            hints = parse_hints(message.router, http.headers)  # a wrong one is told here, not at the paid call
            record.tags = {**hints.tags, **tenant.tags}
            deadline = began + self.front.settings.deadline_seconds
            try:
                counted = await self.counter.count(message.body, forwarded(http), record, deadline)
            except (DeadlinePassed, UpstreamError) as error:
                return replies.failed(error, record, tried=False)
            return replies.counted(counted, record)

        return await self.front.guarded("count_tokens", count)
