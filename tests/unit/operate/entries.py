"""Ledger entries as the table gives them, with literal figures."""

import datetime as dt
from decimal import Decimal
from typing import Any

from infra.operate.report import Report

DAY = dt.date(2026, 11, 23)
NOON = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)


def entry(request_id: str = "r1", **changes: Any) -> dict[str, Any]:
    """An answer of haiku: 1,000 tokens in, 100 out, on claude-haiku-5-5 at $0.10/$0.50 and opus at $4/$20."""
    found = {
        "entry_id": f"{request_id}#1",
        "at": "2026-11-23T09:30:00.000+00:00",
        "request_id": request_id,
        "tenant": "search",
        "tags": {"customer": "acme"},
        "label": "simple",
        "tier": "haiku",
        "model": "claude-haiku-5-5",
        "purpose": "answer",
        "processing": "realtime",
        "input_tokens": Decimal(1000),
        "cache_read_input_tokens": Decimal(0),
        "cache_creation_5m_input_tokens": Decimal(0),
        "cache_creation_1h_input_tokens": Decimal(0),
        "output_tokens": Decimal(100),
        "cost_usd": Decimal("0.00015"),
        "baseline_usd": Decimal("0.006"),
        "flags": [],
    }
    return found | changes


def classifier(request_id: str = "r1", **changes: Any) -> dict[str, Any]:
    """Its classifier call: 800 tokens in, 10 out."""
    words = {"entry_id": f"{request_id}#0", "purpose": "classifier", "input_tokens": 800, "output_tokens": 10}
    return entry(request_id, **words | {"cost_usd": Decimal("0.000085"), "baseline_usd": Decimal(0)} | changes)


def ambiguous(request_id: str = "r1", **changes: Any) -> dict[str, Any]:
    """A call without an answer, booked at its upper bound."""
    words = {"entry_id": f"{request_id}#2", "input_tokens": 0, "output_tokens": 0, "flags": ["ambiguous"]}
    return entry(request_id, **words | {"cost_usd": Decimal("0.02"), "baseline_usd": Decimal(0)} | changes)


def report_of(*entries: dict[str, Any], **changes: Any) -> Report:
    """A report about the 23rd, made at noon of it."""
    usual: dict[str, Any] = {"days": {DAY: list(entries)}, "by": "model", "now": NOON}
    return Report(**usual | changes)
