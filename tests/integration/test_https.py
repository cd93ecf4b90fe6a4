"""Requests over HTTP, through both entrances: API Gateway and Lambda in the emulator, and the app under uvicorn."""

import datetime as dt
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest

from infra.local.processes import Children
from infra.local.stack import LocalStack, start_uvicorn
from infra.operate.keys import Policy, create, disable
from tests.integration.meter import Meter

Unique = Callable[[str], str]
Entries = Callable[[str], list[dict[str, Any]]]
EXPECTED_TIERS = {
    "review-sentiment": "haiku",
    "sentence-language": "haiku",
    "python-review": "sonnet",
    "sql-top-customers": "sonnet",
    "indemnification-risk": "opus",
    "meeting-request": "haiku",
    "architecture-summary": "sonnet",
    "ticket-intent": "haiku",
}


def ask(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "auto", "max_tokens": 64, "messages": [{"role": "user", "content": text}], **more}


def test_the_eight_demo_requests_run_on_the_expected_tiers(
    client: anthropic.Anthropic, meter: Meter, demo_lines: list[dict[str, Any]]
) -> None:
    tiers = {}
    for line in demo_lines:
        raw = client.messages.with_raw_response.create(model="auto", **line["params"])
        assert raw.parse().model == raw.headers["x-router-model"]
        tiers[line["custom_id"]] = raw.headers["x-router-tier"]
    assert tiers == EXPECTED_TIERS
    assert len(meter.calls("answer")) == 8


def test_both_key_headers_are_accepted(entrance: str, stack: LocalStack, meter: Meter, unique: Unique) -> None:
    key = stack.description["gateway_key"]
    for headers in ({"authorization": f"Bearer {key}"}, {"x-api-key": key}):
        answer = httpx2.post(
            f"{entrance}/v1/messages", json=ask(unique("Hi"), model="haiku"), headers=headers, timeout=60
        )
        assert answer.status_code == 200, answer.text
    assert len(meter.calls()) == 2


@pytest.mark.parametrize("headers", [{}, {"x-api-key": "ccr-wrong"}, {"authorization": "Bearer ccr-wrong"}])
def test_without_a_known_key_nothing_is_called(entrance: str, meter: Meter, headers: dict[str, str]) -> None:
    answer = httpx2.post(f"{entrance}/v1/messages", content=b"not even JSON", headers=headers, timeout=60)
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "authentication_error"
    assert meter.requests() == []


def test_a_disabled_key_is_refused_and_others_of_the_tenant_are_not(
    entrance: str, stack: LocalStack, meter: Meter, unique: Unique
) -> None:
    now = dt.datetime.now(dt.UTC)
    kept = create(stack.target, "two-keys", Policy(), now)
    gone = create(stack.target, "one-key-gone", Policy(), now)
    assert disable(stack.target, "one-key-gone") == 1
    statuses = [
        httpx2.post(
            f"{entrance}/v1/messages", json=ask(unique("Hi"), model="haiku"), headers={"x-api-key": key}, timeout=60
        ).status_code
        for key in (kept, gone)
    ]
    assert statuses == [200, 401]
    assert len(meter.calls()) == 1


def test_the_second_call_takes_its_label_from_the_table_even_in_another_process(
    stack: LocalStack, meter: Meter, unique: Unique
) -> None:
    text = unique("Which language is this sentence written in: 'Tack för senast'?")
    causes = []
    for name in ("base_url", "streaming_url", "base_url"):
        url, key = stack.description[name], stack.description["gateway_key"]
        with anthropic.Anthropic(base_url=url, api_key=key) as client:
            raw = client.messages.with_raw_response.create(**ask(text))
        causes.append(raw.headers["x-router-cause"])
    assert causes == ["classifier", "cache", "cache"]
    assert len(meter.calls("classifier")) == 1
    assert len(meter.calls("answer")) == 3


def test_labels_are_kept_apart_by_tenant(stack: LocalStack, meter: Meter, unique: Unique) -> None:
    text, now = unique("Is this spam?"), dt.datetime.now(dt.UTC)
    for tenant in ("tenant-a", "tenant-b"):
        key = create(stack.target, tenant, Policy(), now)
        with anthropic.Anthropic(base_url=stack.description["streaming_url"], api_key=key) as client:
            client.messages.create(**ask(text))
    assert len(meter.calls("classifier")) == 2


def test_the_answer_says_who_gave_it_why_and_what_it_cost(
    http: httpx2.Client, meter: Meter, unique: Unique, entries: Entries
) -> None:
    answer = http.post("/v1/messages", json=ask(unique("[[label:moderate]] Draft a reply")))
    headers = answer.headers
    assert headers["x-router-model"] == answer.json()["model"] == "claude-sonnet-5-5"
    assert (headers["x-router-tier"], headers["x-router-label"]) == ("sonnet", "moderate")
    assert headers["x-router-cause"] == "classifier"
    booked = entries(headers["x-router-request-id"])
    assert {entry["purpose"] for entry in booked} == {"classifier", "answer"}
    assert Decimal(headers["x-router-cost-usd"]) == sum(entry["cost_usd"] for entry in booked)
    assert Decimal(headers["x-router-classifier-cost-usd"]) > 0
    assert Decimal(headers["x-router-baseline-usd"]) > Decimal(headers["x-router-cost-usd"])
    assert 0 < Decimal(headers["x-router-budget-remaining-usd"]) < 50
    assert headers["request-id"] == meter.calls("answer")[0]["request_id"]


def test_a_pinned_tier_or_model_is_not_classified(client: anthropic.Anthropic, meter: Meter, unique: Unique) -> None:
    served = {}
    for model in ("haiku", "opus", "claude-sonnet-4-6"):
        raw = client.messages.with_raw_response.create(**ask(unique("Hi"), model=model))
        assert raw.headers["x-router-cause"] == "pinned"
        served[model] = raw.headers["x-router-model"]
    assert served == {"haiku": "claude-haiku-5-5", "opus": "claude-opus-5-5", "claude-sonnet-4-6": "claude-sonnet-4-6"}
    assert meter.calls("classifier") == []


@pytest.mark.parametrize(
    ("headers", "router", "tier", "cause"),
    [
        ({"x-router-floor": "sonnet"}, None, "sonnet", "rule:floor"),
        ({}, {"floor": "opus"}, "opus", "rule:floor"),
        ({"x-router-floor": "sonnet"}, {"floor": "opus"}, "sonnet", "rule:floor"),
        ({"x-router-ceiling": "haiku"}, None, "haiku", "rule:ceiling"),
    ],
    ids=["header", "body", "header-wins", "ceiling"],
)
def test_floor_and_ceiling_by_header_and_body(
    http: httpx2.Client,
    meter: Meter,
    unique: Unique,
    headers: dict[str, str],
    router: dict[str, str] | None,
    tier: str,
    cause: str,
) -> None:
    body = ask(unique("[[label:simple]] Hi"), **({"router": router} if router else {}))
    answer = http.post("/v1/messages", json=body, headers=headers)
    assert (answer.headers["x-router-tier"], answer.headers["x-router-cause"]) == (tier, cause)
    assert all("router" not in request["body"] for request in meter.requests())


def test_a_tenants_floor_and_ceiling_hold(entrance: str, stack: LocalStack, meter: Meter, unique: Unique) -> None:
    now = dt.datetime.now(dt.UTC)
    floored = create(stack.target, "floored", Policy(floor="sonnet"), now)
    capped = create(stack.target, "capped", Policy(ceiling="haiku", tags={"team": "ops"}), now)
    found = []
    for key, text in ((floored, "[[label:simple]] Hi"), (capped, "[[label:complex]] Hi")):
        answer = httpx2.post(f"{entrance}/v1/messages", json=ask(unique(text)), headers={"x-api-key": key}, timeout=60)
        found.append((answer.headers["x-router-tier"], answer.headers["x-router-cause"]))
    assert found == [("sonnet", "rule:tenant-floor"), ("haiku", "rule:tenant-ceiling")]
    refused = httpx2.post(
        f"{entrance}/v1/messages",
        json=ask(unique("Hi")),
        headers={"x-api-key": capped, "x-router-floor": "opus"},
        timeout=60,
    )
    assert refused.status_code == 429
    assert refused.json()["error"]["details"]["rule"] == "tenant-ceiling"
    assert refused.headers["x-should-retry"] == "false"
    assert len(meter.calls("answer")) == 2


def test_a_529_falls_back_down_the_chain(http: httpx2.Client, meter: Meter, unique: Unique, entries: Entries) -> None:
    meter.script(faults=[{"times": None, "model": "claude-opus-5-5", "status": 529}])
    answer = http.post("/v1/messages", json=ask(unique("[[label:complex]] Prove it")))
    assert answer.status_code == 200
    assert answer.headers["x-router-tier"] == "sonnet"
    assert answer.headers["x-router-cause"] == "fallback:opus"
    answers = [entry for entry in entries(answer.headers["x-router-request-id"]) if entry["purpose"] == "answer"]
    assert [entry["cause"] for entry in answers] == ["fallback:opus"]


def test_the_floor_holds_during_fallback_and_the_original_error_is_kept(
    http: httpx2.Client, meter: Meter, unique: Unique
) -> None:
    meter.script(faults=[{"times": None, "model": "claude-opus-5-5", "status": 529}])
    answer = http.post("/v1/messages", json=ask(unique("Prove it"), model="opus"), headers={"x-router-floor": "opus"})
    assert answer.status_code == 529
    assert answer.json()["error"]["type"] == "overloaded_error"
    assert answer.headers["x-should-retry"] == "false"
    assert {request["body"]["model"] for request in meter.requests()} == {"claude-opus-5-5"}


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413])
def test_errors_that_are_the_callers_go_back_unchanged(
    http: httpx2.Client, meter: Meter, unique: Unique, status: int
) -> None:
    meter.script(faults=[{"times": 1, "status": status, "message": f"made up {status}"}])
    answer = http.post("/v1/messages", json=ask(unique("Hi"), model="sonnet"))
    assert answer.status_code == status
    assert answer.json()["error"]["message"] == f"made up {status}"
    assert len(meter.requests()) == 1


@pytest.fixture
def app_with_deadline(stack: LocalStack, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Starts the same app with a deadline in seconds, so that nobody has to wait for a gateway's 29; gives its URL."""
    children = Children(tmp_path)
    try:
        yield lambda seconds: start_uvicorn(children, stack.emulator, stack.outputs, deadline_seconds=seconds)[1]
    finally:
        children.end()


def test_a_tier_that_hangs_leaves_time_for_the_one_below(
    app_with_deadline: Callable[[str], str], stack: LocalStack, meter: Meter, unique: Unique, entries: Entries
) -> None:
    url = app_with_deadline("16")
    meter.script(faults=[{"times": None, "model": "claude-opus-5-5", "latency": 60.0}])
    headers = {"x-api-key": stack.description["gateway_key"]}
    answer = httpx2.post(f"{url}/v1/messages", json=ask(unique("Prove it"), model="opus"), headers=headers, timeout=60)
    assert (answer.status_code, answer.headers["x-router-cause"]) == (200, "fallback:opus")
    booked = {entry["tier"]: entry for entry in entries(answer.headers["x-router-request-id"])}
    assert booked["opus"]["flags"] == ["ambiguous"]
    assert booked["opus"]["cost_usd"] > booked["sonnet"]["cost_usd"] > 0


def test_when_no_tier_answers_in_time_the_caller_gets_a_504_and_what_was_spent_is_booked(
    app_with_deadline: Callable[[str], str], stack: LocalStack, meter: Meter, unique: Unique, entries: Entries
) -> None:
    url = app_with_deadline("2")
    meter.script(latency=60.0)
    headers = {"x-api-key": stack.description["gateway_key"]}
    answer = httpx2.post(f"{url}/v1/messages", json=ask(unique("Prove it"), model="opus"), headers=headers)
    assert (answer.status_code, answer.json()["error"]["type"]) == (504, "timeout_error")
    assert "queue" in answer.json()["error"]["message"]
    assert answer.headers["x-should-retry"] == "false"
    flags = [entry["flags"] for entry in entries(answer.headers["x-router-request-id"])]
    assert flags == [["ambiguous"]]


def test_one_short_retry_after_is_honoured_before_another_tier_is_tried(
    http: httpx2.Client, meter: Meter, unique: Unique
) -> None:
    meter.script(faults=[{"times": 1, "status": 429, "retry_after": 1}])
    answer = http.post("/v1/messages", json=ask(unique("Hi"), model="opus"))
    assert (answer.headers["x-router-tier"], answer.headers["x-router-cause"]) == ("opus", "pinned")
    assert len(meter.requests()) == 2


def test_a_late_classifier_means_moderate_by_default_and_is_booked_and_not_kept(
    http: httpx2.Client, meter: Meter, unique: Unique, entries: Entries
) -> None:
    meter.script(faults=[{"times": 1, "purpose": "classifier", "latency": 8.0}])
    body = ask(unique("[[label:simple]] Hi"))
    late = http.post("/v1/messages", json=body)
    assert (late.headers["x-router-label"], late.headers["x-router-cause"]) == ("moderate", "default")
    flags = {entry["purpose"]: entry["flags"] for entry in entries(late.headers["x-router-request-id"])}
    assert flags == {"classifier": ["ambiguous"], "answer": []}
    assert http.post("/v1/messages", json=body).headers["x-router-cause"] == "classifier"


def test_classifying_a_long_prompt_costs_what_a_short_one_costs(
    http: httpx2.Client, meter: Meter, unique: Unique
) -> None:
    for text in ("Summarise this. " + "word " * 500, "Summarise this. " + "word " * 80_000):
        assert http.post("/v1/messages", json=ask(unique(text))).status_code == 200
    short, long = (call["usage"]["input_tokens"] for call in meter.calls("classifier"))
    assert abs(long - short) < 20
    assert meter.calls("answer")[1]["usage"]["input_tokens"] > 100_000


def test_a_dry_run_decides_without_an_answer_call(http: httpx2.Client, meter: Meter, unique: Unique) -> None:
    found = http.post("/v1/route", json=ask(unique("[[label:complex]] Plan it"))).json()
    assert (found["tier"], found["label"], found["cause"]) == ("opus", "complex", "classifier")
    assert Decimal(found["estimated_cost_usd"]) > Decimal(found["classifier_cost_usd"]) > 0
    assert meter.calls("answer") == []


def test_health_needs_no_key_and_unknown_paths_answer_in_anthropics_shape(entrance: str) -> None:
    health = httpx2.get(f"{entrance}/health", timeout=60).json()
    assert health["status"] == "ok"
    assert health["models"]["opus"] == "claude-opus-5-5"
    nowhere = httpx2.post(f"{entrance}/v1/nowhere", json={}, timeout=60)
    assert nowhere.status_code == 404
    assert nowhere.json()["error"]["type"] == "not_found_error"


BAD_BODIES: dict[str, tuple[bytes, str]] = {
    "not-json": (b"{nope", "not valid JSON"),
    "not-an-object": (b"[1]", "a JSON object"),
    "no-messages": (b'{"model":"auto","max_tokens":9}', "messages"),
    "empty-messages": (b'{"model":"auto","max_tokens":9,"messages":[]}', "messages"),
    "messages-not-a-list": (b'{"model":"auto","max_tokens":9,"messages":"hi"}', "messages"),
    "content-a-number": (
        b'{"model":"auto","max_tokens":9,"messages":[{"role":"user","content":5}]}',
        "messages.0.content",
    ),
    "no-max-tokens": (b'{"model":"auto","messages":[{"role":"user","content":"x"}]}', "max_tokens"),
    "zero": (b'{"model":"auto","max_tokens":0,"messages":[{"role":"user","content":"x"}]}', "max_tokens"),
    "negative": (b'{"model":"auto","max_tokens":-4,"messages":[{"role":"user","content":"x"}]}', "max_tokens"),
    "huge": (b'{"model":"auto","max_tokens":99999999,"messages":[{"role":"user","content":"x"}]}', "max_tokens"),
    "1e400": (b'{"model":"auto","max_tokens":1e400,"messages":[{"role":"user","content":"x"}]}', "max_tokens"),
    "unknown-model": (b'{"model":"gpt-4","max_tokens":9,"messages":[{"role":"user","content":"x"}]}', "auto, haiku"),
    "deep": (b'{"model":"auto","max_tokens":9,"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "nested"),
    "surrogate": (b'{"model":"auto","max_tokens":9,"messages":[{"role":"user","content":"\\ud800"}]}', "surrogate"),
    "floor": (
        b'{"model":"auto","max_tokens":9,"messages":[{"role":"user","content":"x"}],"router":{"floor":"big"}}',
        "big",
    ),
    "floor-above-ceiling": (
        b'{"model":"auto","max_tokens":9,"messages":[],"router":{"floor":"opus","ceiling":"haiku"}}'.replace(
            b"[]", b'[{"role":"user","content":"x"}]'
        ),
        "ceiling",
    ),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_bad_input_is_a_4xx_that_names_the_field_and_costs_nothing(
    http: httpx2.Client, meter: Meter, name: str
) -> None:
    body, named = BAD_BODIES[name]
    answer = http.post("/v1/messages", content=body, headers={"content-type": "application/json"})
    assert 400 <= answer.status_code < 500, answer.text
    found = answer.json()
    assert found["type"] == "error"
    assert named in found["error"]["message"]
    assert found["request_id"] == answer.headers["request-id"]
    assert meter.requests() == []


def test_invalid_utf8_is_refused_by_the_app(stack: LocalStack, meter: Meter) -> None:
    # API Gateway hands Lambda text, in which such bytes are replaced already, so only the streaming entrance sees them.
    answer = httpx2.post(
        f"{stack.description['streaming_url']}/v1/messages",
        content=b'{"model":"auto","max_tokens":9,"messages":[{"role":"user","content":"\xff"}]}',
        headers={"x-api-key": stack.description["gateway_key"]},
    )
    assert answer.status_code == 400
    assert "UTF-8" in answer.json()["error"]["message"]
    assert meter.requests() == []


def test_a_body_over_the_limit_is_a_413(http: httpx2.Client, meter: Meter) -> None:
    answer = http.post("/v1/messages", json=ask("x" * 5_000_001))
    assert answer.status_code == 413
    assert answer.json()["error"]["type"] == "request_too_large"
    assert meter.requests() == []


@pytest.mark.parametrize("header", ["x-router-tier", "x-router-colour"])
def test_unknown_router_headers_are_refused_with_what_is_accepted(http: httpx2.Client, header: str) -> None:
    answer = http.post("/v1/messages", json=ask("Hi"), headers={header: "on"})
    assert answer.status_code == 400
    assert "x-router-floor" in answer.json()["error"]["message"]


def test_the_callers_version_and_betas_go_upstream_and_its_key_never_does(
    http: httpx2.Client, stack: LocalStack, meter: Meter, unique: Unique
) -> None:
    http.post(
        "/v1/messages",
        json=ask(unique("Hi"), model="haiku", metadata={"user_id": "u1"}),
        headers={"anthropic-version": "2023-06-01", "anthropic-beta": "some-beta-2026-01-01"},
    )
    [received] = meter.requests()
    assert received["headers"]["anthropic-version"] == "2023-06-01"
    assert received["headers"]["anthropic-beta"] == "some-beta-2026-01-01"
    assert stack.description["gateway_key"] not in json.dumps(received)
    assert received["body"]["metadata"] == {"user_id": "u1"}


def test_fifty_requests_at_once_do_not_mix(stack: LocalStack, meter: Meter, unique: Unique, entries: Entries) -> None:
    url, key = f"{stack.description['streaming_url']}/v1/messages", stack.description["gateway_key"]
    tiers = ["haiku", "sonnet", "opus"]

    def one(number: int) -> tuple[str, httpx2.Response]:
        tier = tiers[number % 3]
        headers = {"x-api-key": key, "x-router-tags": f"number={number}"}
        return tier, httpx2.post(url, json=ask(unique("Hi"), model=tier), headers=headers, timeout=60)

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(one, range(50)))
    assert [answer.status_code for _, answer in answers] == [200] * 50
    assert all(answer.headers["x-router-tier"] == tier for tier, answer in answers)
    for number in (0, 17, 49):
        [entry] = entries(answers[number][1].headers["x-router-request-id"])
        assert entry["tags"] == {"number": str(number)}
    assert len(meter.calls("answer")) == 50


@pytest.mark.parametrize(
    "story", sorted(path.stem for path in (Path(__file__).parents[2] / "events" / "api").glob("*.json"))
)
def test_every_example_event_is_answered_by_the_deployed_function(stack: LocalStack, meter: Meter, story: str) -> None:
    file = Path(__file__).parents[2] / "events" / "api" / f"{story}.json"
    event = json.loads(file.read_text(encoding="utf-8").replace("ccr-EXAMPLE", stack.description["gateway_key"]))
    refused = {"unknown_model": 404, "floor_above_ceiling": 400, "no_key": 401, "cost_cap_refused": 429}
    refused |= {"one_hour_cache_refused": 400}
    refused |= {"what_a_request_cost": 404, "feedback": 404}  # nobody has made that request
    expected = refused.get(story, 200)
    reply = stack.emulator.client("lambda").invoke(
        FunctionName=stack.outputs["RouterFunction"], Payload=json.dumps(event).encode()
    )
    answer = json.loads(reply["Payload"].read())
    assert answer["statusCode"] == expected, answer
    assert len(meter.calls("answer")) == (expected == 200 and event["path"] == "/v1/messages")
    if event["path"] == "/v1/messages/batches":  # no line of it may run into the next test
        key = stack.description["gateway_key"]
        with anthropic.Anthropic(base_url=stack.description["base_url"], api_key=key) as client:
            client.messages.batches.cancel(json.loads(answer["body"])["id"])
