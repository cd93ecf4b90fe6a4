"""`GET /v1/spend`: the cost report of a UTC day: of the caller's tenant, or of the account where its key may see it."""

import asyncio
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route as HttpRoute

from cost_router.core.errors import DeadlinePassed, InvalidRequest, quoted
from cost_router.core.ports import LedgerReader
from cost_router.core.record import Record
from cost_router.core.request import Tenant
from cost_router.core.spend import Spend, check_by
from cost_router.handlers import replies
from cost_router.handlers.front import Front

PARAMETERS: Final = ("day", "by")
ELSEWHERE: Final = "`cost-router report` and the exported ledger have no such limit"
MOST_ENTRIES: Final = 200_000  # what is read for one report within a request's time


@dataclass(frozen=True, slots=True)
class SpendEndpoints:
    """The books, as far as a key may see them."""

    front: Front
    reader: LedgerReader

    def routes(self) -> list[HttpRoute]:
        """Paths and methods."""
        return [HttpRoute("/v1/spend", self.spend, methods=["GET"])]

    async def spend(self, http: HttpRequest) -> Response:
        """`GET /v1/spend`: a day's cost report."""
        clock, settings = self.front.out.clock, self.front.settings

        async def read(record: Record, began: float) -> Response:
            tenant = await self.front.tenant(http, record)
            asked = parse_query(http.query_params, clock.now().date())
            left = began + settings.deadline_seconds - clock.monotonic()
            try:
                async with asyncio.timeout(left):
                    return replies.reported(await report(asked, tenant, self.reader), record)
            except TimeoutError:
                raise DeadlinePassed(f"day: {asked.day!r} could not be read in time; {ELSEWHERE}") from None

        return await self.front.guarded("spend", read)


@dataclass(frozen=True, slots=True)
class Asked:
    """Which day, summed by what."""

    day: str
    by: str


def parse_query(query: Mapping[str, str], today: dt.date) -> Asked:
    """The query of `GET /v1/spend`; raises `InvalidRequest`."""
    for name in query:
        if name not in PARAMETERS:
            raise InvalidRequest(f"{quoted(name)} is unknown; accepted: {', '.join(PARAMETERS)}")
    day = query.get("day", today.isoformat())
    try:
        date = dt.date.fromisoformat(day)
        found = date.isoformat() == day and date <= today  # other forms of a date would name another partition
    except ValueError:
        found = False
    if not found:
        raise InvalidRequest(f"day: {quoted(day)}; accepted: a UTC day as YYYY-MM-DD, up to {today.isoformat()}")
    return Asked(day, check_by(query.get("by", "model")))


async def report(asked: Asked, tenant: Tenant, reader: LedgerReader) -> dict[str, Any]:
    """The report of what the tenant may see. Raises `StoreError`, and `InvalidRequest` for too large a day."""
    spend, count = Spend(asked.by), 0
    async for entry in reader.entries(asked.day):
        count += 1
        if count > MOST_ENTRIES:
            raise InvalidRequest(
                f"day: {asked.day!r} has more than {MOST_ENTRIES} ledger entries; accepted: a smaller day; {ELSEWHERE}"
            )
        if tenant.reads_account or entry["tenant"] == tenant.name:
            spend.add(entry)
    return {**spend.json(asked.day), "tenant": None if tenant.reads_account else tenant.name}
