"""Fields that multiply the bill, through the deployed stack: refused, then allowed, then booked as they are billed."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from infra.local.stack import LocalStack
from infra.operate.keys import Policy, create
from infra.operate.report import read_entries
from tests.integration.commands import command
from tests.integration.meter import Meter, poll, price
from tests.integration.test_jobs import drop, wait_for

Unique = Callable[[str], str]
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}
HOUR = {"type": "text", "text": "fact " * 8_000, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
GUARDED: dict[str, tuple[dict[str, Any], str]] = {
    "speed": ({"speed": "fast"}, "speed: 'fast'"),
    "cache_1h": ({"system": [HOUR]}, "system.0.cache_control.ttl: '1h'"),
    "web_search": ({"tools": [SEARCH]}, "tools.0.type: 'web_search_20250305'"),
    "service_tier": ({"service_tier": "auto"}, "service_tier: 'auto'"),
    "inference_geo": ({"inference_geo": "us"}, "inference_geo: 'us'"),
}


def post(url: str, key: str, **fields: Any) -> httpx2.Response:
    headers = {"x-api-key": key, "anthropic-version": "2026-10-21"}
    return httpx2.post(
        f"{url}/v1/messages", json={"model": "opus", "max_tokens": 40, **fields}, headers=headers, timeout=60
    )


def said(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def test_a_guarded_field_is_refused_to_the_stacks_own_key_and_nothing_reaches_claude(
    stack: LocalStack, entrance: str, meter: Meter, unique: Unique
) -> None:
    for word, (fields, named) in GUARDED.items():
        answer = post(entrance, stack.description["gateway_key"], messages=said(unique("Hi")), **fields)
        error = answer.json()["error"]
        assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
        assert error["message"].startswith(named)
        assert "not allowed for tenant 'demo'; accepted: " in error["message"]
        assert error["message"].endswith(f"(cost-router keys set demo --allow {word})")
    assert meter.requests() == []


def test_once_the_tenant_may_it_is_served_and_the_ledger_is_the_meters_bill(
    stack: LocalStack, entrance: str, meter: Meter, unique: Unique, folder: Path
) -> None:
    tenant = f"asks-{'gateway' if entrance == stack.description['base_url'] else 'uvicorn'}"
    key = json.loads(command("keys", "create", tenant, "--json", cwd=folder))["key"]
    texts = {word: unique("[[search:2]] Which one?") for word in GUARDED}
    for word, (fields, named) in GUARDED.items():
        answer = post(entrance, key, messages=said(texts[word]), **fields)
        assert answer.status_code == 400
        # The command that the refusal names is the one that helps.
        told = answer.json()["error"]["message"]
        assert told.startswith(named)
        words = told.partition("(cost-router ")[2].removesuffix(")").split()
        assert word in json.loads(command(*words, "--json", cwd=folder))["allows"]
        # A key that no process remembers: the policy of one that is known is kept for a minute.
        fresh = json.loads(command("keys", "create", tenant, "--json", cwd=folder))["key"]
        served = post(entrance, fresh, messages=said(texts[word]), **fields)
        assert served.status_code == 200, served.text
    metered = {call["request_id"]: call for call in meter.calls()}
    assert len(metered) == len(GUARDED)

    def mine() -> list[dict[str, Any]]:
        today = read_entries(stack.target, dt.datetime.now(dt.UTC).date())
        return [entry for entry in today if entry["tenant"] == tenant]

    poll(lambda: len(mine()) == len(metered), "entry for every metered call", 20)
    booked = {entry["upstream_request_id"]: entry for entry in mine()}
    assert booked.keys() == metered.keys()
    assert all(booked[id_]["cost_usd"] == price(call) for id_, call in metered.items())
    kinds = ("speed", "inference_geo", "web_search_requests", "cache_creation_1h_input_tokens")
    assert [sum(bool(entry.get(kind)) for entry in booked.values()) for kind in kinds] == [1, 1, 1, 1]


def test_a_job_with_a_guarded_field_fails_at_once_and_one_of_a_tenant_that_may_is_answered(
    stack: LocalStack, meter: Meter, unique: Unique, group: str
) -> None:
    create(stack.target, f"may-{group}", Policy(allows=["cache_1h"]), dt.datetime.now(dt.UTC))
    params = {"model": "haiku", "max_tokens": 9, "system": [HOUR]}
    for name, tenant in (("refused", "demo"), ("answered", f"may-{group}")):
        body = {**params, "messages": said(unique("Hi"))}
        drop(stack, {"custom_id": name, "params": body, "router": {"tenant": tenant, "group": group}})
    found = wait_for(stack, group, ["refused", "answered"])
    assert found["answered"]["result"]["type"] == "succeeded"
    error = found["refused"]["result"]["error"]["error"]
    assert error["type"] == "invalid_request_error"
    assert error["message"].startswith("system.0.cache_control.ttl: '1h' ")
    assert found["refused"]["router"]["tenant"] == "demo"
    assert len(meter.calls()) == 1


def test_submit_refuses_such_a_job_by_its_line_before_anything_is_sent(
    stack: LocalStack, meter: Meter, unique: Unique, group: str, folder: Path
) -> None:
    bodies = [{"max_tokens": 9, "messages": said(unique("Hi")), **more} for more in ({}, {"speed": "fast"})]
    lines = [json.dumps({"custom_id": f"job-{number}", "params": body}) for number, body in enumerate(bodies)]
    (folder / "jobs.jsonl").write_text("\n".join(lines), encoding="utf-8")
    printed = command("submit", "jobs.jsonl", "--group", group, "--tenant", "demo", cwd=folder, expect=1)
    assert "1 line is no job; nothing was sent" in printed
    assert "line 2: params.speed: 'fast' multiplies the price of every token" in printed
