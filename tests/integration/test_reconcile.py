"""`cost-router reconcile` as a user runs it, against the stand-in's bill and its meter."""

import datetime as dt
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest

from infra.local.stack import LocalStack
from infra.operate.report import read_entries
from tests.integration.commands import command
from tests.integration.meter import Meter, price

Unique = Callable[[str], str]
HAIKU, SONNET = "claude-haiku-5-5", "claude-sonnet-5-5"


class Books:
    """The ledger's entries of a day, as items."""

    def __init__(self, stack: LocalStack, day: dt.date) -> None:
        self.stack, self.day = stack, day
        self.table = stack.description["tables"]["ledger"]
        self.client = stack.emulator.client("dynamodb")
        self.deleted: list[dict[str, Any]] = []

    def read(self) -> list[dict[str, Any]]:
        return read_entries(self.stack.target, self.day)

    def items(self) -> list[dict[str, Any]]:
        pages = self.client.get_paginator("query").paginate(
            TableName=self.table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": f"entries#{self.day.isoformat()}"}},
        )
        return [item for page in pages for item in page["Items"]]

    def delete(self, entry_id: str) -> None:
        key = {"pk": {"S": f"entries#{self.day.isoformat()}"}, "sk": {"S": entry_id}}
        gone = self.client.delete_item(TableName=self.table, Key=key, ReturnValues="ALL_OLD")
        self.deleted.append(gone["Attributes"])

    def restore(self) -> None:
        for item in self.deleted:
            self.client.put_item(TableName=self.table, Item=item)


@pytest.fixture
def books(stack: LocalStack, meter: Meter) -> Iterator[Books]:
    """Books of today as empty as the meter; everything that was deleted is put back at the end: counters know of it."""
    found = Books(stack, dt.datetime.now(dt.UTC).date())
    for item in found.items():
        found.delete(item["sk"]["S"])
    yield found
    found.restore()


@pytest.fixture
def traffic(stack: LocalStack, meter: Meter, books: Books, unique: Unique) -> None:
    """A classifier and its answer, the same from the label cache, a cached prompt, and an ambiguous payment."""
    url, key = stack.description["streaming_url"], stack.description["gateway_key"]
    question: list[Any] = [{"role": "user", "content": unique("[[label:moderate]] Weigh this")}]
    system: list[Any] = [{"type": "text", "text": "rules " * 2_000, "cache_control": {"type": "ephemeral"}}]
    with anthropic.Anthropic(base_url=url, api_key=key, max_retries=0) as client:
        for _ in range(2):
            client.messages.create(model="auto", max_tokens=50, messages=question)
        for _ in range(2):
            client.messages.create(model="haiku", max_tokens=50, messages=question, system=system)
        meter.script(faults=[{"times": 1, "kind": "cut_after"}])
        client.messages.create(model="sonnet", max_tokens=20, messages=question)


def reconciled(*words: str, cwd: Path, expect: int = 0) -> dict[str, Any]:
    return dict(json.loads(command("reconcile", "--json", *words, cwd=cwd, expect=expect)))


@pytest.mark.usefixtures("traffic")
def test_books_agree_with_the_bill_also_with_caches_and_an_ambiguous_payment(
    folder: Path, books: Books, meter: Meter
) -> None:
    made = reconciled("--day", books.day.isoformat(), cwd=folder)
    assert (made["drift_usd"], made["agrees"], made["unknown"]) == ("0", True, [])
    assert (made["simulated"], made["complete"]) == (True, False)  # the day is not over
    bill = {model: sum(price(call) for call in meter.calls() if call["model"] == model) for model in (HAIKU, SONNET)}
    lines = {line["model"]: line for line in made["lines"]}
    assert {model: Decimal(line["billed_usd"]) for model, line in lines.items()} == bill
    assert lines[HAIKU]["difference_usd"] == "0"
    haiku = {part["bucket"]: part for part in lines[HAIKU]["buckets"]}
    assert haiku["cache_read"]["our_tokens"] == haiku["cache_read"]["their_tokens"] == 3_900  # 12,000 bytes
    assert haiku["cache_write_5m"]["our_tokens"] == haiku["cache_write_5m"]["their_tokens"] == 3_900
    sonnet = lines[SONNET]
    assert sonnet["ambiguous_calls"] == 1
    assert Decimal(sonnet["explained_usd"]) > 0
    assert (made["calls"]["same"], made["calls"]["only_in_ledger"], made["calls"]["only_in_meter"]) == (6, [], [])
    assert [row["billed"] for row in made["calls"]["ambiguous"]] == [True]


def test_books_agree_on_speed_place_and_searches(
    folder: Path, stack: LocalStack, books: Books, meter: Meter, unique: Unique, allowed_key: str
) -> None:
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}
    terms: list[dict[str, Any]] = [
        {"model": "opus", "speed": "fast"},
        {"model": "opus", "speed": "fast", "inference_geo": "us"},
        {"model": "sonnet", "tools": [search], "inference_geo": "us"},
    ]
    url, headers = stack.description["streaming_url"], {"x-api-key": allowed_key}
    for more in terms:
        body = {"max_tokens": 40, "messages": [{"role": "user", "content": unique("Which one?")}], **more}
        httpx2.post(f"{url}/v1/messages", json=body, headers=headers, timeout=60).raise_for_status()
    made = reconciled("--day", books.day.isoformat(), cwd=folder)
    assert (made["drift_usd"], made["agrees"], made["unknown"]) == ("0", True, [])
    assert sum(Decimal(line["billed_usd"]) for line in made["lines"]) == sum(price(call) for call in meter.calls())


@pytest.mark.usefixtures("traffic")
def test_the_table_says_the_same_in_words(folder: Path) -> None:
    printed = command("reconcile", cwd=folder)
    for said in (HAIKU, "cache_write_5m", "ambiguous (1)", "Unexplained drift: $0.000000", "The books agree."):
        assert said in printed
    assert "simulated" in printed
    assert "may be on its way" in printed


@pytest.mark.usefixtures("traffic")
def test_an_entry_that_is_missing_is_named_with_its_line_and_ends_with_2(folder: Path, books: Books) -> None:
    lost = next(entry for entry in books.read() if entry["purpose"] == "classifier")
    books.delete(lost["entry_id"])
    made = reconciled(cwd=folder, expect=2)
    [line] = [line for line in made["lines"] if not line["agrees"]]
    assert (line["model"], Decimal(line["unexplained_usd"])) == (HAIKU, -lost["cost_usd"])
    assert Decimal(made["drift_usd"]) == lost["cost_usd"]
    [call] = made["calls"]["only_in_meter"]
    assert call["request_id"] == lost["upstream_request_id"]
    printed = command("reconcile", cwd=folder, expect=2)
    assert f"only in the meter: {lost['upstream_request_id']} (classifier by {HAIKU}" in printed
    assert "The books do not agree." in printed


@pytest.mark.usefixtures("traffic")
def test_a_missing_entry_is_found_also_where_an_upper_bound_would_cover_its_dollars(folder: Path, books: Books) -> None:
    lost = next(entry for entry in books.read() if entry["model"] == SONNET and not entry["flags"])
    books.delete(lost["entry_id"])
    made = reconciled(cwd=folder, expect=2)
    assert made["drift_usd"] == "0"  # the bill lies between the bounds
    assert [call["request_id"] for call in made["calls"]["only_in_meter"]] == [lost["upstream_request_id"]]


@pytest.mark.usefixtures("traffic")
def test_an_entry_without_a_call_is_named(folder: Path, books: Books, meter: Meter) -> None:
    meter.reset()
    made = reconciled(cwd=folder, expect=2)
    assert {line["in_bill"] for line in made["lines"]} == {False}
    sure = [entry for entry in books.read() if not entry["flags"]]
    assert len(made["calls"]["only_in_ledger"]) == len(sure) == 6
    assert Decimal(made["drift_usd"]) == sum(entry["cost_usd"] for entry in sure)


def test_other_traffic_is_left_out_by_workspace(folder: Path, books: Books, traffic: None) -> None:
    assert reconciled("--workspace", "wrkspc_standin", cwd=folder)["agrees"]
    made = reconciled("--workspace", "wrkspc_elsewhere", cwd=folder, expect=2)
    assert {line["in_bill"] for line in made["lines"]} == {False}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--day", "yesterday"), "YYYY-MM-DD"),
        (("--day", "2999-01-01"), "'2999-01-01' has not begun"),
        (("--workspace", "mine"), "workspace 'mine'; accepted: an id of the Console, wrkspc_..."),
        (("--api-key-id", "sk-ant-x"), "api-key-id 'sk-ant-x'; accepted: an id of the Console, apikey_..."),
    ],
)
def test_a_wrong_day_is_one_line(folder: Path, words: tuple[str, ...], said: str) -> None:
    printed = command("reconcile", *words, cwd=folder, expect=1)
    assert said in printed
    assert "Traceback" not in printed


def test_a_real_provider_needs_an_admin_key(folder: Path, stack: LocalStack) -> None:
    file = folder / ".local" / "stack.json"
    file.write_text(json.dumps({**stack.description, "meter_url": None, "simulated": False}), encoding="utf-8")
    printed = command("reconcile", cwd=folder, expect=1)
    for said in ("ANTHROPIC_ADMIN_KEY", "sk-ant-admin", "platform.claude.com/settings/admin-keys"):
        assert said in printed
    refused = command("reconcile", "--admin-key", "sk-ant-api03-made-up", cwd=folder, expect=1)
    assert "refused" in refused
    assert "sk-ant-api03-made-up" not in refused
