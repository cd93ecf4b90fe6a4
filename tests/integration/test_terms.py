"""Speed, geography and searches through the deployed stack: the ledger against the meter, priced by genai-prices."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest

from infra.local.stack import LocalStack
from infra.operate.report import read_entries
from tests.integration.commands import command
from tests.integration.meter import Meter, poll, price

Unique = Callable[[str], str]
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}
BETA = {"anthropic-beta": "fast-mode-2026-02-01"}


def new_entries(stack: LocalStack, before: set[str]) -> list[dict[str, Any]]:
    entries = read_entries(stack.target, dt.datetime.now(dt.UTC).date())
    return [entry for entry in entries if entry["entry_id"] not in before]


def test_the_ledger_equals_the_meter_on_all_terms(
    stack: LocalStack, http: httpx2.Client, meter: Meter, unique: Unique, folder: Path, allowed_key: str
) -> None:
    before = {entry["entry_id"] for entry in new_entries(stack, set())}
    asked: list[tuple[dict[str, Any], str]] = [
        ({"model": "auto", "speed": "fast"}, "claude-opus-5-5"),
        ({"model": "opus", "speed": "fast", "inference_geo": "us"}, "claude-opus-5-5"),
        ({"model": "claude-opus-5", "speed": "fast"}, "claude-opus-5"),
        ({"model": "haiku", "inference_geo": "us"}, "claude-haiku-5-5"),
        ({"model": "sonnet", "inference_geo": "global"}, "claude-sonnet-5-5"),
        ({"model": "auto", "inference_geo": "us"}, "claude-haiku-5-5"),
        ({"model": "haiku", "tools": [SEARCH]}, "claude-haiku-5-5"),
        ({"model": "sonnet", "tools": [SEARCH], "inference_geo": "us"}, "claude-sonnet-5-5"),
        ({"model": "opus", "tools": [SEARCH], "inference_geo": "us", "speed": "fast"}, "claude-opus-5-5"),
    ]
    for fields, model in asked:
        text = unique("[[label:simple]] [[search:3]] Hi")
        body = {"max_tokens": 60, "messages": [{"role": "user", "content": text}], **fields}
        reply = http.post("/v1/messages", json=body, headers={**BETA, "x-api-key": allowed_key})
        assert reply.status_code == 200, reply.text
        assert reply.headers["x-router-model"] == model
    metered = {call["request_id"]: call for call in meter.calls()}
    poll(lambda: len(new_entries(stack, before)) == len(metered), "entry for every metered call", 20)
    booked = {entry["upstream_request_id"]: entry for entry in new_entries(stack, before)}
    assert booked.keys() == metered.keys()
    for request_id, call in metered.items():
        entry, usage = booked[request_id], call["usage"]
        assert entry["cost_usd"] == price(call), call
        assert entry.get("speed") == usage.get("speed")
        assert entry.get("inference_geo") == (
            usage.get("inference_geo") if usage.get("inference_geo") == "us" else None
        )
        assert entry.get("web_search_requests", 0) == usage.get("server_tool_use", {}).get("web_search_requests", 0)
    assert sum(entry.get("web_search_requests", 0) for entry in booked.values()) == 6
    assert len([call for call in meter.calls("classifier") if call["usage"].get("inference_geo") == "us"]) == 1
    assert "claude-opus-5-5" in command("report", "--what-if", "current", cwd=folder)


def test_what_is_not_priced_is_refused_by_name_and_costs_nothing(
    client: anthropic.Anthropic, meter: Meter, unique: Unique
) -> None:
    for fields, says in (
        ({"speed": "warp"}, "speed: no price is known for 'warp'; accepted: standard, fast"),
        ({"inference_geo": "eu"}, "inference_geo: no price is known for 'eu'; accepted: global, us"),
        ({"tools": [SEARCH | {"max_uses": None}]}, r"tools\.0\.max_uses: None; accepted: a whole number"),
        ({"tools": [{"type": "code_execution_20260120", "name": "code_execution"}]}, r"tools\.0\.type"),
    ):
        with pytest.raises(anthropic.BadRequestError, match=says):
            client.post(
                "/v1/messages",
                cast_to=httpx2.Response,
                body={
                    "model": "auto",
                    "max_tokens": 9,
                    "messages": [{"role": "user", "content": unique("Hi")}],
                    **fields,
                },
            )
    assert meter.calls() == []


def test_a_search_that_a_budget_cannot_cover_is_refused_before_it_is_made(
    entrance: str, meter: Meter, unique: Unique, folder: Path
) -> None:
    """The prompt can become a window of 1,000,000 tokens at $4 a million: with the answers more than $4."""
    made = json.loads(
        command("keys", "create", "searcher", "--daily-budget", "4", "--allow", "web_search", "--json", cwd=folder)
    )
    body = {"model": "sonnet", "max_tokens": 9, "messages": [{"role": "user", "content": unique("Hi")}]}
    with httpx2.Client(
        base_url=entrance, headers={"x-api-key": made["key"], "anthropic-version": "2026-10-21"}
    ) as http:
        floor = {"x-router-floor": "sonnet"}  # haiku would be covered, and asked
        refused = http.post("/v1/messages", json=body | {"tools": [SEARCH]}, headers=floor)
        assert (refused.status_code, refused.json()["error"]["details"]) == (429, {"rule": "budget:tenant-daily"})
        assert meter.calls() == []
        assert http.post("/v1/messages", json=body).status_code == 200
