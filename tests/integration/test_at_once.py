"""Fifty requests at once in one process, of several tenants, whole and streamed: nothing of one gets into another."""

import datetime as dt
import json
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from threading import Barrier
from typing import Any

import httpx2

from infra.local.stack import LocalStack
from infra.operate.keys import Policy, create
from infra.operate.report import read_entries
from tests.integration.books import by
from tests.integration.meter import Meter, poll, price

AT_ONCE = 50
TENANTS = ("at-once-search", "at-once-support", "at-once-agents")
MODELS = {"haiku": "claude-haiku-5-5", "sonnet": "claude-sonnet-5-5", "opus": "claude-opus-5-5"}
LABELS = {"simple": "haiku", "moderate": "sonnet", "complex": "opus"}


@dataclass(frozen=True)
class Asked:
    """One request, who makes it, and what it has to get."""

    number: int
    tenant: str
    body: Mapping[str, Any]
    tier: str
    text: str = ""

    @property
    def streamed(self) -> bool:
        return bool(self.body.get("stream"))


def asked(number: int, run: str) -> Asked:
    """Every fifth asks for the right tier by its label, the others name one; every second is streamed."""
    tenant = TENANTS[number % 3]
    if number % 5 == 0:
        label = list(LABELS)[number % 3]
        model, tier, text = "auto", LABELS[label], f"[[label:{label}]] Question {number} of {run}"
    else:
        model = tier = list(MODELS)[number % 3]
        text = f"Question {number} of {run}"
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": 100 + number,
        "messages": [{"role": "user", "content": text}],
        "metadata": {"user_id": tenant},
    }
    return Asked(number, tenant, body | ({"stream": True} if number % 2 else {}), tier)


def text_of(answer: httpx2.Response) -> str:
    """The text of an answer, whole or streamed."""
    if answer.headers["content-type"].startswith("text/event-stream"):
        return "".join(json.loads(f'"{part}"') for part in re.findall(r'"text":"((?:[^"\\]|\\.)*)"', answer.text))
    return str(answer.json()["content"][0]["text"])


def costs_of(answer: httpx2.Response) -> Mapping[str, str]:
    """What the answer says about money: in headers, or in the comment at the end of its events."""
    if not answer.headers["content-type"].startswith("text/event-stream"):
        return answer.headers
    found = re.search(r"\n\n: ([^\n]*)\n\n$", answer.text)
    assert found, answer.text[-300:]
    return dict(pair.split("=") for pair in found[1].split(" "))


def expected(question: Asked, upstream_url: str) -> str:
    """What the stand-in says to this prompt: the same words each time."""
    body = {name: value for name, value in question.body.items() if name != "stream"} | {"model": MODELS[question.tier]}
    headers = {"x-api-key": "any", "anthropic-version": "2026-10-21"}
    return text_of(httpx2.post(f"{upstream_url}/v1/messages", json=body, headers=headers, timeout=60))


def all_different(run: str, upstream_url: str) -> tuple[list[Asked], list[str]]:
    """The questions and what the stand-in says to each; it has some thousand texts, so that two may get the same."""
    found: dict[str, Asked] = {}
    for number in range(AT_ONCE):
        tries = (asked(number, f"{run}, try {attempt}") for attempt in range(100))
        told = ((expected(question, upstream_url), question) for question in tries)
        text, question = next((text, question) for text, question in told if text not in found)
        found[text] = question
    return list(found.values()), list(found)


def logged(stack: LocalStack, after: int) -> list[dict[str, Any]]:
    text = (stack.folder / "uvicorn.log").read_bytes()[after:].decode()
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_fifty_at_once_do_not_mix_texts_headers_logs_metrics_or_money(
    stack: LocalStack, meter: Meter, unique: Callable[[str], str]
) -> None:
    now = dt.datetime.now(dt.UTC)
    keys = {name: create(stack.target, name, Policy(), now) for name in TENANTS}
    run = unique("this run")
    questions, texts = all_different(run, stack.description["upstream_url"])
    meter.reset()
    meter.script(latency=0.3, chunk_delay=0.005)
    before = (stack.folder / "uvicorn.log").stat().st_size
    together = Barrier(AT_ONCE)

    def send(question: Asked) -> httpx2.Response:
        headers = {"x-api-key": keys[question.tenant], "x-router-tags": f"number={question.number}"}
        together.wait(60)
        url = f"{stack.description['streaming_url']}/v1/messages"
        return httpx2.post(url, json=question.body, headers=headers, timeout=60)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(send, questions))
    calls = {call["request_id"]: call for call in meter.calls()}
    check_answers(questions, texts, answers, calls)
    entries = ours(read_entries(stack.target, now.date()), answers)
    check_books(questions, answers, calls, entries)
    lines = poll(lambda: complete(logged(stack, before), answers), "log lines of all requests", seconds=10)
    check_lines(questions, answers, entries, lines)


def ours(entries: list[dict[str, Any]], answers: list[httpx2.Response]) -> list[dict[str, Any]]:
    ids = {answer.headers["x-router-request-id"] for answer in answers}
    return [entry for entry in entries if entry["request_id"] in ids]


def complete(lines: list[dict[str, Any]], answers: list[httpx2.Response]) -> list[dict[str, Any]] | None:
    told = {line.get("request_id") for line in lines if "cost_usd" in line}
    return lines if {answer.headers["x-router-request-id"] for answer in answers} <= told else None


def check_answers(
    questions: list[Asked], texts: list[str], answers: list[httpx2.Response], calls: Mapping[str, Any]
) -> None:
    """Each has the words for its own prompt, from its own model, with its own ids and tier."""
    assert len({answer.headers["x-router-request-id"] for answer in answers}) == AT_ONCE
    assert len(calls) == AT_ONCE + 10, "ten were labelled"
    for question, text, answer in zip(questions, texts, answers, strict=True):
        assert answer.status_code == 200, answer.text
        assert text_of(answer) == text
        assert answer.headers["x-router-tier"] == question.tier
        assert answer.headers["x-router-model"] == MODELS[question.tier]
        call = calls[answer.headers["request-id"]]
        assert (call["model"], call["stream"]) == (MODELS[question.tier], question.streamed)


def check_books(
    questions: list[Asked], answers: list[httpx2.Response], calls: Mapping[str, Any], entries: list[dict[str, Any]]
) -> None:
    """Each call is booked once, at its price, on the tenant who made it; answers tell what their own calls cost."""
    assert {entry["upstream_request_id"] for entry in entries} == set(calls)
    assert len(entries) == len(calls)
    for entry in entries:
        assert (entry["cost_usd"], entry["flags"]) == (price(calls[entry["upstream_request_id"]]), [])
    for question, answer in zip(questions, answers, strict=True):
        own = [entry for entry in entries if entry["request_id"] == answer.headers["x-router-request-id"]]
        assert len(own) == (2 if question.body["model"] == "auto" else 1)
        assert {entry["tenant"] for entry in own} == {question.tenant}
        assert [entry["tags"] for entry in own] == [{"number": str(question.number)}] * len(own)
        assert Decimal(costs_of(answer)["x-router-cost-usd"]) == sum(entry["cost_usd"] for entry in own)
        first = sum(entry["cost_usd"] for entry in own if entry["purpose"] == "classifier")
        assert Decimal(costs_of(answer)["x-router-classifier-cost-usd"]) == first
    billed = by("user_id", [call for call in calls.values() if call["purpose"] == "answer"], price)
    booked = by("tenant", [entry for entry in entries if entry["purpose"] == "answer"], lambda row: row["cost_usd"])
    assert booked == billed
    assert set(billed) == set(TENANTS)


def check_lines(
    questions: list[Asked],
    answers: list[httpx2.Response],
    entries: list[dict[str, Any]],
    lines: list[dict[str, Any]],
) -> None:
    """One log line each, with its own tenant, tags and ids; the metrics add up to the money, in all and by model."""
    told = {line["request_id"]: line for line in lines if "cost_usd" in line}
    assert len(told) == AT_ONCE
    for question, answer in zip(questions, answers, strict=True):
        line = told[answer.headers["x-router-request-id"]]
        assert (line["tenant"], line["tags"]) == (question.tenant, {"number": str(question.number)})
        assert line["upstream_request_id"] == answer.headers["request-id"]
        assert (line["model_used"], line["status"]) == (MODELS[question.tier], 200)
        assert Decimal(line["cost_usd"]) == Decimal(costs_of(answer)["x-router-cost-usd"])
    spent = [line for line in lines if "SpendUSD" in line]
    whole = [line for line in spent if "model" not in line]
    assert sum(sum(line["Requests"]) for line in whole) == AT_ONCE
    paid = sum(entry["cost_usd"] for entry in entries)
    assert micro(sum(sum(line["SpendUSD"]) for line in whole)) == micro(paid)
    by_model = by("model", [line for line in spent if "model" in line], lambda row: Decimal(str(row["SpendUSD"][0])))
    cost = {answer.headers["x-router-model"]: Decimal(0) for answer in answers}
    for answer in answers:
        cost[answer.headers["x-router-model"]] += Decimal(costs_of(answer)["x-router-cost-usd"])
    assert {name: micro(usd) for name, usd in by_model.items()} == {name: micro(usd) for name, usd in cost.items()}


def micro(usd: Decimal | float) -> Decimal:
    """Metrics are doubles: rounded to a thousandth of a micro-dollar they are the money again."""
    return round(Decimal(str(usd)), 9)
