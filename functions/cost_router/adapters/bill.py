"""Anthropic's usage and cost report of an organisation, through the SDK's `beta.organization.analytics` resources.

The Usage and Cost Analytics API (beta since October 2026) has what the two older Admin endpoints
(`usage_report/messages`, `cost_report`) had, and costs by service tier and by API key besides; the SDK has no resources
for the older ones. It takes an Admin API key or one with the scope `read:analytics`, and has no data of Claude Platform
on AWS. Amounts come as decimal strings in cents; rows tell what a model was used for in a service tier.

Source: docstrings of anthropic 2.12; platform.claude.com/docs/en/manage-claude/usage-cost-analytics-api.
"""

import asyncio
import datetime as dt
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from itertools import chain
from typing import Any, Final

import anthropic
import httpx2
from anthropic import AsyncAnthropic, Omit, omit
from anthropic.types.beta.organization.analytics import BetaAnalyticsCostItem, BetaAnalyticsUsageItem

from cost_router.adapters.claude import ClientMaker
from cost_router.core.errors import NotConfigured, StoreError
from cost_router.core.pricing import BATCH, REALTIME, TOKENS, Usage
from cost_router.core.statement import NO_MODEL, OTHER, Billed, Statement

ROWS_A_PAGE: Final = 1_000  # the most that the API gives
CENTS: Final = 100
QUOTED: Final = 300  # characters of a refusal
A_DAY: Final = dt.timedelta(days=1)
REFUSED_KEY: Final = frozenset({401, 403})
NO_TIER: Final = "(no tier)"
PROCESSING: Final = {"standard": REALTIME, "batch": BATCH, None: NO_TIER}  # other tiers keep their names
# The report's token types; one that is new here counts as `OTHER`, so that no dollar is lost.
BUCKET_OF: Final = {
    "uncached_input_tokens": "input",
    "cache_read_input_tokens": "cache_read",
    "cache_creation.ephemeral_5m_input_tokens": "cache_write_5m",
    "cache_creation.ephemeral_1h_input_tokens": "cache_write_1h",
    "output_tokens": "output",
}
WHERE_FROM: Final = (
    "an Admin API key (sk-ant-admin...), or a key with the scope read:analytics; an admin of the organisation makes it "
    "at platform.claude.com/settings/admin-keys"
)
Key = tuple[str, str]  # model, processing


@dataclass(frozen=True, slots=True)
class AnthropicBill:
    """A `ProviderBill`. An organisation has other traffic too: narrow it to a workspace, to an API key, or to both.

    The ids are those of the Console: `wrkspc_...` and `apikey_...` (the id of the key, not the key). Nothing is
    retried: whoever asks for a statement may ask again. seconds: for a whole statement.
    """

    make_client: ClientMaker = field(repr=False)
    workspace_id: str | None = None
    api_key_id: str | None = None
    seconds: float = 60.0

    async def statement(self, day: dt.date) -> Statement:
        """The UTC day, by model and processing.

        Raises `NotConfigured` when the key is refused, and `StoreError` for everything else that goes wrong.
        """
        try:
            async with asyncio.timeout(self.seconds):
                client = (await self.make_client()).with_options(max_retries=0)
                return await self._read(client, day)
        except anthropic.APIStatusError as error:
            raise _refusal(error) from error
        except (TimeoutError, anthropic.AnthropicError, httpx2.HTTPError) as error:
            raise StoreError(f"the usage and cost report did not arrive: {type(error).__name__}") from error
        except (AttributeError, InvalidOperation, KeyError, TypeError, ValueError) as error:
            raise StoreError(f"the usage and cost report is not what it should be: {error}") from error

    async def _read(self, client: AsyncAnthropic, day: dt.date) -> Statement:
        start = dt.datetime.combine(day, dt.time(), dt.UTC)
        reports = client.beta.organization.analytics
        used = reports.usage.list(
            starting_at=start,
            ending_at=start + A_DAY,
            group_by=["model", "service_tier"],
            workspace_ids=_only(self.workspace_id),
            api_key_ids=_only(self.api_key_id),
            limit=ROWS_A_PAGE,
        )
        cost = reports.cost.list(
            starting_at=start,
            ending_at=start + A_DAY,
            group_by=["model", "service_tier", "cost_type", "token_type"],
            workspace_ids=_only(self.workspace_id),
            api_key_ids=_only(self.api_key_id),
            limit=ROWS_A_PAGE,
        )
        usage_pages = [page async for page in (await used).iter_pages()]
        cost_pages = [page async for page in (await cost).iter_pages()]
        refreshed = [
            *(page.data_refreshed_at for page in usage_pages),
            *(page.data_refreshed_at for page in cost_pages),
        ]
        return Statement(
            rows=_rows(chain(*(page.data for page in usage_pages)), chain(*(page.data for page in cost_pages))),
            refreshed_at=min(at for at in refreshed if at) if all(refreshed) else None,
        )


def _only(name: str | None) -> list[str] | Omit:
    return [name] if name else omit


def _rows(used: Iterable[BetaAnalyticsUsageItem], costs: Iterable[BetaAnalyticsCostItem]) -> tuple[Billed, ...]:
    usages = {_key(item.group): _usage(item) for item in used}
    usd: dict[Key, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    listed: dict[Key, Decimal] = defaultdict(Decimal)
    for item in costs:
        key, token_type = _key(item.group), item.group.token_type
        if item.cost.currency != "USD":
            raise ValueError(f"an amount in {item.cost.currency!r}; accepted: 'USD'")
        usd[key][OTHER if token_type is None else BUCKET_OF.get(token_type, OTHER)] += _usd(item.cost.amount)
        listed[key] += _usd(item.cost.list_amount)
    return tuple(
        Billed(*key, usages.get(key), dict(usd[key]) if key in usd else None, listed.get(key))
        for key in sorted(usages.keys() | usd.keys())
    )


def _usd(cents: str) -> Decimal:
    amount = Decimal(cents)
    if not amount.is_finite():
        raise ValueError(f"{cents!r} is not an amount of cents")
    return amount / CENTS


def _key(group: Any) -> Key:
    return group.model or NO_MODEL, PROCESSING.get(group.service_tier, group.service_tier)


def _usage(item: BetaAnalyticsUsageItem) -> Usage:
    used = item.usage
    found = Usage(
        input_tokens=used.uncached_input_tokens,
        cache_read_input_tokens=used.cache_read_input_tokens,
        cache_creation_5m_input_tokens=used.cache_creation.ephemeral_5m_input_tokens,
        cache_creation_1h_input_tokens=used.cache_creation.ephemeral_1h_input_tokens,
        output_tokens=used.output_tokens,
    )
    for name in TOKENS:
        if not isinstance(getattr(found, name), int):
            raise TypeError(f"{name}: {getattr(found, name)!r} is not a number of tokens")
    return found


def _refusal(error: anthropic.APIStatusError) -> StoreError | NotConfigured:
    said = str(error)[:QUOTED]
    if error.status_code in REFUSED_KEY:
        return NotConfigured(f"the key for the usage and cost report was refused ({said}); accepted: {WHERE_FROM}")
    return StoreError(f"the usage and cost report was refused: {said}")
