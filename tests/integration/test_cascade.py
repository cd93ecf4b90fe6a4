"""A cheap answer first, through the deployed stack: what is checked, what is answered again, and every call booked."""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx2

from infra.local.stack import LocalStack
from infra.operate.keys import Policy, create
from tests.integration.meter import Meter, poll, price

HAIKU, SONNET, OPUS = "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"
ON = {"x-router-cascade": "on"}
Entries = Callable[[str], list[dict[str, Any]]]
Unique = Callable[[str], str]
FORM = {
    "format": {
        "type": "json_schema",
        "schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "people": {"type": "integer"}},
            "required": ["city", "people"],
            "additionalProperties": False,
        },
    }
}


def body(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "auto", "max_tokens": 200, "messages": [{"role": "user", "content": text}], **fields}


def told(answer: httpx2.Response) -> tuple[str, str, str]:
    assert answer.status_code == 200, answer.text
    found = [answer.headers[f"x-router-{name}"] for name in ("model", "cause", "cascade")]
    return found[0], found[1], found[2]


def purposes(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(row["purpose"], row["model"]) for row in rows]


def test_a_first_answer_that_passes_is_given_and_both_calls_are_booked_as_they_are_billed(
    http: httpx2.Client, meter: Meter, unique: Unique, entries: Entries
) -> None:
    answer = http.post("/v1/messages", json=body(unique("[[label:complex]] Prove it.")), headers=ON)
    assert told(answer) == (HAIKU, "cascade", "kept")
    calls = meter.calls()
    assert purposes(calls) == [("answer", HAIKU), ("verifier", HAIKU)], "no label was asked for"
    request = answer.headers["x-router-request-id"]
    rows = poll(lambda: entries(request), "entry", 20)
    assert purposes(rows) == [("answer", HAIKU), ("judge", HAIKU)]
    assert Decimal(answer.headers["x-router-cost-usd"]) == sum(map(price, calls))
    assert [row["cost_usd"] for row in rows] == [price(call) for call in calls]


def test_what_the_verifier_rejects_is_answered_higher_and_the_baseline_counts_once(
    http: httpx2.Client, meter: Meter, unique: Unique, entries: Entries
) -> None:
    text = unique("[[verdict:fails]] [[label:complex]] Prove it.")
    answer = http.post("/v1/messages", json=body(text), headers=ON)
    assert told(answer) == (OPUS, "cascade:verifier", "verifier")
    calls = meter.calls()
    made = [("answer", HAIKU), ("verifier", HAIKU), ("classifier", HAIKU), ("answer", OPUS)]
    assert purposes(calls) == made
    rows = poll(lambda: entries(answer.headers["x-router-request-id"]), "entry", 20)
    assert purposes(rows) == [("speculative", HAIKU), ("judge", HAIKU), ("classifier", HAIKU), ("answer", OPUS)]
    assert [row["cost_usd"] for row in rows] == [price(call) for call in calls]
    assert [row["baseline_usd"] for row in rows] == [0, 0, 0, price(calls[3])]
    assert Decimal(answer.headers["x-router-cost-usd"]) == sum(map(price, calls))


def test_json_that_is_none_is_answered_again_and_json_that_is_cut_too(
    http: httpx2.Client, meter: Meter, unique: Unique
) -> None:
    asked = body(unique("[[label:moderate]] How large is Lyon?"), output_config=FORM)
    assert told(http.post("/v1/messages", json=asked, headers=ON)) == (HAIKU, "cascade", "kept")
    meter.script(answers=["not-json"])
    assert told(http.post("/v1/messages", json=asked, headers=ON)) == (SONNET, "cascade:json", "json")
    cut = http.post("/v1/messages", json=asked | {"max_tokens": 3}, headers=ON)
    assert told(cut) == (SONNET, "cascade:json", "json")
    assert cut.json()["stop_reason"] == "max_tokens", "the second answer is not checked"


def test_a_refusal_with_no_other_answer_to_be_had_is_given_and_paid_once(
    http: httpx2.Client, meter: Meter, unique: Unique, entries: Entries
) -> None:
    meter.script(answers=["refusal"], faults=[{"times": None, "model": SONNET, "status": 529}], labels=["moderate"])
    answer = http.post("/v1/messages", json=body(unique("Hi")), headers={"x-router-cascade": "no-refusal"})
    assert told(answer) == (HAIKU, "cascade", "no-refusal")
    assert answer.json()["stop_reason"] == "refusal"
    rows = poll(lambda: entries(answer.headers["x-router-request-id"]), "entry", 20)
    assert purposes(rows) == purposes(meter.calls()) == [("answer", HAIKU), ("classifier", HAIKU)]


def test_a_tenants_policy_asks_for_it_and_streams_go_their_usual_way(
    stack: LocalStack, entrance: str, meter: Meter, unique: Unique
) -> None:
    key = create(stack.target, "cascading", Policy(options=["cascade"]), dt.datetime.now(dt.UTC))
    with httpx2.Client(base_url=entrance, headers={"x-api-key": key, "anthropic-version": "2026-10-21"}) as http:
        assert told(http.post("/v1/messages", json=body(unique("Hi")))) == (HAIKU, "cascade", "kept")
        streamed = body(unique("[[label:moderate]] Hi"), stream=True)
        answer = http.post("/v1/messages", json=streamed)
        assert (answer.status_code, answer.headers["x-router-model"]) == (200, SONNET)
        refused = http.post("/v1/messages", json=streamed, headers=ON)
        assert (refused.status_code, refused.json()["error"]["type"]) == (400, "invalid_request_error")
    assert [call["purpose"] for call in meter.calls()] == ["answer", "verifier", "classifier", "answer"]
