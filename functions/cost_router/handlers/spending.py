"""`GET /v1/spend`: the cost report of a UTC day: of the caller's tenant, or of the account where its key may see it."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cost_router.core.errors import InvalidRequest, quoted
from cost_router.core.ports import LedgerReader
from cost_router.core.request import Tenant
from cost_router.core.spend import Spend, check_by

PARAMETERS: Final = ("day", "by")
ELSEWHERE: Final = "`cost-router report` and the exported ledger have no such limit"
MOST_ENTRIES: Final = 200_000  # what is read for one report within a request's time


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
