"""Speculative execution through both entrances, against the stand-in's meter: used, abandoned, and not begun."""

import datetime as dt
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from infra.local.stack import LocalStack
from infra.operate.keys import Policy, create
from tests.integration.meter import Meter, poll, price

Unique = Callable[[str], str]
Entries = Callable[[str], list[dict[str, Any]]]
HAIKU, OPUS = "claude-haiku-5-5", "claude-opus-5-5"
WAYS: dict[str, dict[str, Any]] = {"whole": {}, "streamed": {"stream": True}}
ON = {"x-router-speculate": "on"}
SLOW_LABEL = {"times": None, "purpose": "classifier", "latency": 0.3}  # seconds: haiku has begun by then


def ask(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "auto", "max_tokens": 300, "messages": [{"role": "user", "content": text}], **more}


def text_of(answer: httpx2.Response) -> str:
    """What Claude says, whole or streamed."""
    if answer.headers["content-type"].startswith("application/json"):
        return str(answer.json()["content"][0]["text"])
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    return "".join(event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta")


@pytest.mark.parametrize("way", WAYS)
def test_a_simple_request_is_answered_by_the_call_that_has_begun(
    http: httpx2.Client, meter: Meter, unique: Unique, entries: Entries, way: str
) -> None:
    meter.script(faults=[SLOW_LABEL])
    answer = http.post("/v1/messages", json=ask(unique("[[label:simple]] Hi"), **WAYS[way]), headers=ON)
    assert (answer.status_code, answer.headers["x-router-tier"]) == (200, "haiku"), answer.text
    (call,) = meter.calls("answer")
    assert (call["model"], call["request_id"], call["stream"]) == (HAIKU, answer.headers["request-id"], True)
    assert text_of(answer).startswith(f"[stand-in answer from {HAIKU}]")
    booked = poll(lambda: entries(answer.headers["x-router-request-id"]), "ledger entries")
    told = {entry["purpose"]: (entry["cost_usd"], entry["flags"], entry["cause"]) for entry in booked}
    (label,) = meter.calls("classifier")
    assert told == {
        "classifier": (price(label), [], "classifier"),
        "answer": (price(call), [], "classifier"),
    }


@pytest.mark.parametrize("way", WAYS)
def test_a_complex_request_shows_the_abandoned_call_on_the_meter_and_in_the_ledger(
    http: httpx2.Client, meter: Meter, unique: Unique, entries: Entries, way: str
) -> None:
    meter.script(faults=[SLOW_LABEL], chunk_delay=0.02)
    answer = http.post("/v1/messages", json=ask(unique("[[label:complex]] Hi"), **WAYS[way]), headers=ON)
    assert (answer.status_code, answer.headers["x-router-tier"]) == (200, "opus"), answer.text
    assert text_of(answer).startswith(f"[stand-in answer from {OPUS}]")
    haiku, opus = meter.calls("answer")
    assert (haiku["model"], opus["model"]) == (HAIKU, OPUS)
    booked = poll(lambda: entries(answer.headers["x-router-request-id"]), "ledger entries")
    rows = {entry["purpose"]: entry for entry in booked}
    assert set(rows) == {"classifier", "speculative", "answer"}
    unused = rows["speculative"]
    assert (unused["model"], unused["flags"]) == (HAIKU, ["ambiguous", "abandoned"])
    assert (unused["upstream_request_id"], unused["baseline_usd"]) == (haiku["request_id"], 0)
    assert unused["input_tokens"] == haiku["usage"]["input_tokens"]
    assert unused["cost_usd"] > price(haiku)
    assert rows["answer"]["cost_usd"] == price(opus)
    ledger, bill = sum(entry["cost_usd"] for entry in booked), sum(map(price, meter.calls()))
    assert ledger - bill == unused["cost_usd"] - price(haiku), "what is above the bill is the bound of the ended call"


def test_a_budget_that_does_not_amply_cover_both_begins_nothing(
    stack: LocalStack, meter: Meter, unique: Unique
) -> None:
    found = []
    for name, budget in (("ample", Decimal(5)), ("narrow", Decimal("0.05"))):
        policy = Policy(daily_budget_usd=budget, options=["speculate"])
        key = create(stack.target, f"speculates-{name}", policy, dt.datetime.now(dt.UTC))
        meter.reset()
        url = f"{stack.description['streaming_url']}/v1/messages"
        answer = httpx2.post(url, json=ask(unique("[[label:simple]] Hi")), headers={"x-api-key": key}, timeout=60)
        assert answer.status_code == 200, answer.text
        (call,) = meter.calls("answer")
        found.append(call["stream"])
    assert found == [True, False], "only what speculates is streamed for a caller who does not stream"


def test_the_answer_begins_while_the_label_is_still_asked_for(stack: LocalStack, meter: Meter, unique: Unique) -> None:
    latency = 1.0
    meter.script(faults=[{**SLOW_LABEL, "latency": latency}])
    url = f"{stack.description['streaming_url']}/v1/messages"
    headers = {"x-api-key": stack.description["gateway_key"], **ON}
    answer = httpx2.post(url, json=ask(unique("[[label:simple]] Hi"), stream=True), headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    (label,), (call,) = meter.calls("classifier"), meter.calls("answer")
    apart = dt.datetime.fromisoformat(call["at"]) - dt.datetime.fromisoformat(label["at"])
    assert abs(apart.total_seconds()) < latency / 2, "asked after the label, it would be later by all of the latency"
