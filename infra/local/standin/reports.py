"""The organisation's usage and cost report, made of the meter.

The stand-in's organisation has one workspace, and an API key for every key that it was called with. Amounts are
decimal strings in cents, and never discounted. As on the API, data may be late: with `report_delay` in the script, what
is younger is not there yet, and `data_refreshed_at` says so.
"""

import datetime as dt
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from infra.local.standin.billing import SEARCHES, costs, counts
from infra.local.standin.models import MODELS
from infra.local.standin.report_query import FAN_OUT, WIDTHS, Query, page_token

BETA: Final = "analytics-usage-cost-2026-08-24"
WORKSPACE: Final = "wrkspc_standin"
TIERS: Final = {"realtime": "standard", "batch": "batch"}
NAMED_BY_DATE: Final = frozenset({"claude-haiku-4-5", "claude-sonnet-4-5", "claude-opus-4-5"})  # later ids have no date
# Every dimension of a row's `group`; null unless it was asked for.
GROUP: Final = (
    *("actor", "actor_type", "agent_id", "api_key_id", "claude_tag_category", "claude_tag_user_id", "context_window"),
    *("deployment_id", "environment_id", "inference_geo", "model", "organization_id", "product", "rbac_group_id"),
    *("service_tier", "session_id", "slack_channel_id", "speed", "user_profile_id", "workspace_id"),
)
Call = Mapping[str, Any]  # a row of the meter
Key = tuple[dt.datetime | None, tuple[str | None, ...]]  # time bucket and group


def api_key_id(key: str) -> str:
    """The id of an API key: always the same for a key, and no way back."""
    return f"apikey_01{hashlib.sha256(key.encode()).hexdigest()[:22]}"


def usage_report(calls: Iterable[Call], query: Query, refreshed: dt.datetime) -> dict[str, Any]:
    """A page of `GET /v1/organizations/analytics/usage`."""
    found = {key: [_usage(group)] for key, group in _groups(calls, query, refreshed).items()}
    return _page(found, "usage", query, refreshed)


def cost_report(calls: Iterable[Call], query: Query, refreshed: dt.datetime) -> dict[str, Any]:
    """A page of `GET /v1/organizations/analytics/cost`."""
    found = {key: _costs(group, query) for key, group in _groups(calls, query, refreshed).items()}
    return _page(found, "cost", query, refreshed)


def _groups(calls: Iterable[Call], query: Query, refreshed: dt.datetime) -> dict[Key, list[Call]]:
    """The calls in the range and through the filters, by time bucket and dimensions."""
    found: dict[Key, list[Call]] = defaultdict(list)
    wanted = [name for name in query.group_by if name not in FAN_OUT]
    for call in calls:
        at, row = dt.datetime.fromisoformat(call["at"]), _dimensions(call)
        fits = all(row[name] in accepted for name, accepted in query.filters.items())
        if fits and query.start <= at < query.end and at <= refreshed:
            bucket = None if query.width is None else _floor(at, WIDTHS[query.width])
            found[bucket, tuple(row[name] for name in wanted)].append(call)
    return found


def _dimensions(call: Call) -> dict[str, str | None]:
    model = call["model"]
    return {
        "model": MODELS[model].alias if model in NAMED_BY_DATE else model,
        "service_tier": TIERS[call["processing"]],
        "workspace_id": WORKSPACE,
        "api_key_id": call["api_key_id"],
    }


def _floor(at: dt.datetime, width: dt.timedelta) -> dt.datetime:
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (at - midnight) // width * width


def _usage(calls: list[Call]) -> dict[str, Any]:
    tokens = _tokens(calls)
    created = {name.partition(".")[2]: tokens.pop(name) for name in list(tokens) if name.startswith("cache_creation.")}
    return {
        "usage": {
            **tokens,
            "cache_creation": created,
            "total_tokens": sum(tokens.values()) + sum(created.values()),
            "requests": len(calls),
            "server_tool_use": {"web_search_requests": 0},
        }
    }


def _tokens(calls: list[Call]) -> dict[str, int]:
    totals: dict[str, int] = defaultdict(int)
    for call in calls:
        for name, count in counts(call["usage"]).items():
            totals[name] += count
    return totals


def _costs(calls: list[Call], query: Query) -> list[dict[str, Any]]:
    """One row for the group, or one for each token type and cost type."""
    usd: dict[str, Decimal] = defaultdict(Decimal)
    for call in calls:
        for name, amount in costs(call).items():
            usd[name] += amount
    if not set(query.group_by) & set(FAN_OUT):
        return [_cost(sum(usd.values(), Decimal(0)), None, None, len(calls))]
    searched = usd.pop(SEARCHES, Decimal(0))
    others = [_cost(searched, SEARCHES, None, None)] if searched else []
    if "token_type" not in query.group_by:
        return [_cost(sum(usd.values(), Decimal(0)), "tokens", None, None), *others]
    return [*(_cost(amount, "tokens", name, None) for name, amount in usd.items() if amount), *others]


def _cost(usd: Decimal, cost_type: str | None, token_type: str | None, requests: int | None) -> dict[str, Any]:
    cents = f"{(usd * 100).normalize():f}"
    return {
        "cost": {"amount": cents, "list_amount": cents, "currency": "USD", "requests": requests},
        "fan_out": {"cost_type": cost_type, "token_type": token_type},
    }


def _page(found: dict[Key, list[dict[str, Any]]], kind: str, query: Query, refreshed: dt.datetime) -> dict[str, Any]:
    """The rows of a page; those of one group stay together."""
    metric = query.order_by if query.order_by != "time" else ("amount" if kind == "cost" else "total_tokens")

    def rank(key: Key) -> Decimal:
        return sum((Decimal(row[kind][metric] or 0) for row in found[key]), Decimal(0))

    keys = sorted(found, key=lambda key: tuple(map(str, key[1])))
    keys.sort(key=rank, reverse=query.order_by == "time" or not query.ascending)
    if query.order_by == "time":
        keys.sort(key=lambda key: str(key[0]), reverse=not query.ascending)
    end = query.offset + query.limit
    more = end < len(keys)
    return {
        "data": [_row(key, row, kind, query) for key in keys[query.offset : end] for row in found[key]],
        "has_more": more,
        "next_page": page_token(end) if more else None,
        "data_refreshed_at": _text(refreshed),
    }


def _row(key: Key, row: dict[str, Any], kind: str, query: Query) -> dict[str, Any]:
    bucket, values = key
    start, end = (query.start, query.end) if bucket is None else (bucket, bucket + WIDTHS[query.width or "1d"])
    wanted = [name for name in query.group_by if name not in FAN_OUT]
    group = dict.fromkeys(GROUP) | dict(zip(wanted, values, strict=True)) | row.get("fan_out", {})
    return {"starting_at": _text(start), "ending_at": _text(end), "group": group, kind: row[kind]}


def _text(instant: dt.datetime) -> str:
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
