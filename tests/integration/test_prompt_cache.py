"""Prompt caching and sessions against a Claude whose cache works: the stand-in's, which bills what it reads and writes.

The app is the deployed one on the deployment's tables, but for the tenants: what is set here must not reach others.
"""

import datetime as dt
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx2
import pytest

from cost_router.contract import Env, Table
from infra.local.processes import Children, free_port, listens
from infra.local.stack import FUNCTIONS, ROOT, LocalStack, function_environment
from infra.operate.keys import Policy, create
from tests.integration.meter import Meter, price

Unique = Callable[[str], str]
Entries = Callable[[str], list[dict[str, Any]]]
TENANTS = "caching-tenants"
HAIKU, SONNET, OPUS = "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"
LONG = "The clerk reads every clause twice. " * 5_128  # 60,000 tokens as the stand-in counts them


@dataclass(frozen=True)
class Caching:
    """The app, with a key for it."""

    url: str
    key: str
    entries: Entries

    def send(self, messages: list[dict[str, Any]], system: object) -> httpx2.Response:
        body = {"model": "auto", "max_tokens": 300, "system": system, "messages": messages}
        answer = httpx2.post(f"{self.url}/v1/messages", json=body, headers={"x-api-key": self.key}, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer

    def booked(self, answer: httpx2.Response) -> dict[str, Any]:
        """The ledger's entry of the answer, classifier apart."""
        found = self.entries(answer.headers["x-router-request-id"])
        return next(entry for entry in found if entry["purpose"] == "answer")


@pytest.fixture(scope="module")
def app(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caching]:
    key = {"AttributeName": Table.TENANTS_KEY}
    tables = stack.emulator.client("dynamodb")
    tables.create_table(
        TableName=TENANTS,
        AttributeDefinitions=[{**key, "AttributeType": "S"}],
        KeySchema=[{**key, "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    settings = {"pk": {"S": "routing"}, "settings": {"S": json.dumps({"prompt_caching": True})}}
    tables.put_item(TableName=TENANTS, Item=settings)
    target = replace(stack.target, tables={**stack.target.tables, "tenants": TENANTS})
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "ANTHROPIC_"))}
    env |= function_environment(stack.emulator, stack.outputs) | stack.emulator.environment()
    env |= {"PYTHONPATH": f"{ROOT}{os.pathsep}{FUNCTIONS}", Env.TENANTS_TABLE: TENANTS}
    port, children = free_port(), Children(tmp_path_factory.mktemp("caching"))
    command = [sys.executable, "-m", "uvicorn", "tests.integration.lively_app:app", "--port", str(port)]
    try:
        children.start("caching", command, env, cwd=ROOT).wait_until(lambda: listens(port))
        created = create(target, "caching", Policy(), dt.datetime.now(dt.UTC))
        yield Caching(f"http://127.0.0.1:{port}", created, lambda _id: [])
    finally:
        children.end()


@pytest.fixture
def caching(app: Caching, entries: Entries) -> Caching:
    return replace(app, entries=entries)


def test_a_prompt_that_comes_again_is_written_then_read_and_booked_as_it_is_billed(
    caching: Caching, meter: Meter, unique: Unique
) -> None:
    system = unique("Answer as our support does. " * 100)
    told = []
    for _ in range(3):
        answer = caching.send([{"role": "user", "content": unique("[[label:simple]] Is it open?")}], system)
        told.append((answer.headers.get("x-router-adapted"), caching.booked(answer)))
    (first, plain), (second, written), (third, read) = told
    assert (first, second, third) == (None, "cache_control=added", "cache_control=added")
    billed = {call["request_id"]: call for call in meter.calls("answer")}
    for entry in (plain, written, read):
        assert entry["cost_usd"] == price(billed[entry["upstream_request_id"]])
    assert plain["input_tokens"] > 900
    assert written["cache_creation_5m_input_tokens"] == read["cache_read_input_tokens"] > 900
    assert "cache_saved_usd" not in plain
    assert written["cache_saved_usd"] < 0 < written["cache_saved_usd"] + read["cache_saved_usd"]


def test_a_warm_conversation_stays_on_opus_where_sonnet_would_do_and_leaves_for_haiku(
    caching: Caching, meter: Meter, unique: Unique
) -> None:
    system = [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}]
    turns: list[dict[str, Any]] = []
    seen = []
    for label in ("complex", "moderate", "simple"):
        turns.append({"role": "user", "content": unique(f"[[label:{label}]] Mind the next clause")})
        answer = caching.send(turns, system)
        entry = caching.booked(answer)
        seen.append((answer.headers["x-router-label"], entry["model"], entry["cause"]))
        turns.append({"role": "assistant", "content": answer.json()["content"]})
    assert seen == [
        ("complex", OPUS, "classifier"),
        ("moderate", OPUS, "session"),
        ("simple", HAIKU, "classifier"),
    ]
    read = [call["usage"]["cache_read_input_tokens"] for call in meter.calls("answer")]
    assert (read[0], read[1] > 59_000, read[2]) == (0, True, 0)
    other = caching.send([{"role": "user", "content": unique("[[label:moderate]] Mind the first clause")}], system)
    assert other.headers["x-router-model"] == SONNET
