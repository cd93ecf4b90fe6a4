"""`cost-router keys` as a user runs it, and what the router makes of it."""

import datetime as dt
import json
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from infra.local.stack import LocalStack
from infra.operate.keys import KeyProblem, rotate
from infra.operate.target import Target
from infra.operate.tenants import change_tenant
from tests.integration.commands import command
from tests.integration.meter import Meter

Unique = Callable[[str], str]


def keys(*words: str, cwd: Path) -> Any:
    return json.loads(command("keys", *words, "--json", cwd=cwd))


def item(stack: LocalStack, pk: str) -> dict[str, Any]:
    table = stack.description["tables"]["tenants"]
    found = stack.emulator.client("dynamodb").get_item(TableName=table, Key={"pk": {"S": pk}})
    return dict(found.get("Item", {}))


def post(url: str, key: str, text: str) -> httpx2.Response:
    body = {"model": "haiku", "max_tokens": 9, "messages": [{"role": "user", "content": text}]}
    return httpx2.post(f"{url}/v1/messages", json=body, headers={"x-api-key": key}, timeout=60)


def test_a_tenant_is_made_with_a_budget_shown_and_changed_field_by_field(folder: Path, stack: LocalStack) -> None:
    keys("create", "set-me", "--daily-budget", "25.50", "--floor", "haiku", "--tags", "a=b,c=d", cwd=folder)
    assert item(stack, "tenant#set-me")["daily_budget_usd"] == {"N": "25.5"}
    shown = keys("show", "set-me", cwd=folder)
    policy = {"floor": "haiku", "ceiling": None, "tags": {"a": "b", "c": "d"}, "daily_budget_usd": "25.5"}
    assert {name: shown[name] for name in policy} == policy
    assert (shown["disabled"], shown["spent_usd"], shown["left_usd"]) == (False, "0", "25.5")
    [key] = shown["keys"]
    assert (key["hint"][:4], key["disabled"], key["disabled_after"]) == ("ccr-", False, None)

    changed = keys("set", "set-me", "--ceiling", "sonnet", cwd=folder)
    assert {name: changed[name] for name in policy} == policy | {"ceiling": "sonnet"}
    changed = keys(
        "set", "set-me", "--daily-budget", "none", "--floor", "none", "--tags", "none", "--disable", cwd=folder
    )
    assert {name: changed[name] for name in policy} == dict.fromkeys(policy) | {"ceiling": "sonnet"}
    assert (changed["disabled"], changed["left_usd"], changed["keys"][0]["disabled"]) == (True, None, True)
    assert set(item(stack, "tenant#set-me")) == {"pk", "label_key", "created_at", "ceiling", "disabled"}
    assert "is disabled" in command("keys", "create", "set-me", cwd=folder, expect=1)
    assert not keys("set", "set-me", "--enable", cwd=folder)["disabled"]


def test_every_limit_of_a_tenant_is_set_shown_and_taken_away(folder: Path, stack: LocalStack) -> None:
    limits = ("--monthly-budget", "300", "--session-budget", "0.75", "--session-rpm", "30", "--reads-account")
    more = ("--senders", "AROAEXAMPLE12,AIDAEXAMPLE34", "--allow", "web_search,cache_1h")
    options = ("--options", "speculate, max_tokens")
    keys("create", "limited", *limits, *more, *options, cwd=folder)
    stored = item(stack, "tenant#limited")
    assert (stored["monthly_budget_usd"], stored["session_budget_usd"]) == ({"N": "300"}, {"N": "0.75"})
    assert (stored["session_rpm"], stored["reads_account"]) == ({"N": "30"}, {"BOOL": True})
    shown = keys("show", "limited", cwd=folder)
    found = [shown[name] for name in ("monthly_budget_usd", "session_budget_usd", "session_rpm", "reads_account")]
    assert found == ["300", "0.75", 30, True]
    assert shown["senders"] == ["AIDAEXAMPLE34", "AROAEXAMPLE12"]
    assert shown["allows"] == ["cache_1h", "web_search"]
    assert shown["options"] == ["max_tokens", "speculate"]
    assert {row["tenant"]: row["options"] for row in keys("list", cwd=folder)}["limited"] == shown["options"]
    assert (shown["month_spent_usd"], shown["month_left_usd"]) == ("0", "300")
    printed = command("keys", "show", "limited", cwd=folder)
    assert "monthly budget  $300.000000" in printed
    assert "allows          cache_1h, web_search" in printed
    none = ("--monthly-budget", "none", "--session-budget", "none", "--session-rpm", "none", "--reads-own")
    keys("set", "limited", *none, "--senders", "none", "--allow", "none", "--options", "none", cwd=folder)
    assert set(item(stack, "tenant#limited")) == {"pk", "label_key", "created_at"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--monthly-budget", "lots"), "budget 'lots'; accepted: US dollars above 0"),
        (("--session-budget", "0"), "budget '0'; accepted: US dollars above 0"),
        (("--senders", "alice"), "senders 'alice'; accepted: unique ids of roles or users"),
        (("--session-rpm", "1.5"), "session rpm '1.5'; accepted: a whole number from 1 to 10000"),
        (("--allow", "fast"), "'fast' names no field that is guarded; accepted: speed, cache_1h, web_search, service"),
        (("--allow", "speed,"), "allow 'speed,': '' names no field that is guarded; accepted: speed, cache_1h"),
        (("--allow", "none,speed"), "'none' names no field that is guarded"),
        (
            ("--options", "cascade,fast"),
            "options 'cascade,fast': 'fast'; accepted: speculate, cascade, max_tokens",
        ),
    ],
)
def test_a_wrong_limit_is_one_line_and_nothing_is_written(
    folder: Path, stack: LocalStack, words: tuple[str, ...], said: str
) -> None:
    assert said in command("keys", "create", "never-made", *words, cwd=folder, expect=1)
    assert item(stack, "tenant#never-made") == {}


def test_what_a_tenant_may_is_replaced_as_a_whole_and_nothing_unless_it_is_said(
    folder: Path, stack: LocalStack
) -> None:
    keys("create", "guarded", cwd=folder)
    assert "allows" not in item(stack, "tenant#guarded")
    assert keys("show", "guarded", cwd=folder)["allows"] == []
    printed = command("keys", "create", "guarded", "--allow", "speed, inference_geo", cwd=folder)
    assert "set for all keys of tenant guarded: allows; in force within 60 seconds" in printed
    assert keys("show", "guarded", cwd=folder)["allows"] == ["inference_geo", "speed"]
    assert keys("set", "guarded", "--allow", "service_tier", cwd=folder)["allows"] == ["service_tier"]
    assert keys("set", "guarded", "--floor", "haiku", cwd=folder)["allows"] == ["service_tier"]
    assert {row["tenant"]: row["allows"] for row in keys("list", cwd=folder)}["guarded"] == ["service_tier"]
    keys("create", "guarded", "--allow", "none", cwd=folder)
    assert keys("show", "guarded", cwd=folder)["allows"] == []
    assert "allows          -" in command("keys", "show", "guarded", cwd=folder)


def test_show_tells_what_today_has_cost_and_what_is_left(
    folder: Path, stack: LocalStack, meter: Meter, unique: Unique
) -> None:
    key = keys("create", "spender", "--daily-budget", "2", cwd=folder)["key"]
    answer = post(stack.description["streaming_url"], key, unique("Hi"))
    assert answer.status_code == 200
    shown = keys("show", "spender", cwd=folder)
    assert Decimal(shown["spent_usd"]) == Decimal(answer.headers["x-router-cost-usd"]) > 0
    assert Decimal(shown["left_usd"]) == 2 - Decimal(shown["spent_usd"])
    assert shown["day"] == dt.datetime.now(dt.UTC).date().isoformat()
    printed = command("keys", "show", "spender", cwd=folder)
    assert "$2.000000" in printed
    assert f"${Decimal(shown['left_usd']):.6f}" in printed


def test_what_is_spent_beyond_the_budget_is_not_shown_as_left(folder: Path, stack: LocalStack) -> None:
    keys("create", "overspent", "--daily-budget", "1", cwd=folder)
    day = dt.datetime.now(dt.UTC).date().isoformat()
    counter = {"pk": {"S": f"counters#{day}"}, "sk": {"S": "tenant#overspent"}, "cost_usd": {"N": "1.000001"}}
    ledger = stack.description["tables"]["ledger"]
    client = stack.emulator.client("dynamodb")
    client.put_item(TableName=ledger, Item=counter)
    try:
        shown = keys("show", "overspent", cwd=folder)
    finally:
        client.delete_item(TableName=ledger, Key={name: counter[name] for name in ("pk", "sk")})
    assert (shown["spent_usd"], shown["left_usd"]) == ("1.000001", "0")


def test_a_rotated_key_works_during_its_grace_and_the_new_one_after_it_too(
    folder: Path, stack: LocalStack, entrance: str, meter: Meter, unique: Unique
) -> None:
    tenant = "rotated-gateway" if entrance == stack.description["base_url"] else "rotated-uvicorn"
    old = keys("create", tenant, "--ceiling", "haiku", cwd=folder)["key"]
    [row] = keys("show", tenant, cwd=folder)["keys"]
    made = keys("rotate", row["id"], "--grace", "0.003", cwd=folder)  # 10 seconds
    ends = dt.datetime.fromisoformat(made["disabled_after"])
    assert (made["tenant"], made["old"]) == (tenant, row["id"])
    during = [post(entrance, key, unique("Hi")).status_code for key in (old, made["key"])]
    assert dt.datetime.now(dt.UTC) < ends, "this machine is too slow for the test"
    assert during == [200, 200]
    time.sleep((ends - dt.datetime.now(dt.UTC)).total_seconds() + 0.05)
    assert [post(entrance, key, unique("Hi")).status_code for key in (old, made["key"])] == [401, 200]
    rows = {row["id"]: row["disabled"] for row in keys("list", cwd=folder) if row["tenant"] == tenant}
    assert sorted(rows.values()) == [False, True]
    assert rows[row["id"]]


@pytest.mark.parametrize(("number", "words"), [(0, ("--now",)), (1, ("--grace", "0"))])
def test_without_grace_the_old_key_ends_at_once(
    folder: Path, stack: LocalStack, meter: Meter, unique: Unique, number: int, words: tuple[str, ...]
) -> None:
    tenant = f"replaced-{number}"
    old = keys("create", tenant, cwd=folder)["key"]
    [row] = keys("show", tenant, cwd=folder)["keys"]
    made = keys("rotate", row["id"], *words, cwd=folder)
    assert made["disabled_after"] is None
    for url in (stack.description["base_url"], stack.description["streaming_url"]):
        assert [post(url, key, unique("Hi")).status_code for key in (old, made["key"])] == [401, 200]
    assert "rotated already" in command("keys", "rotate", row["id"], cwd=folder, expect=1)


def test_the_grace_is_a_day_unless_told_otherwise_and_the_key_is_stored_nowhere(
    folder: Path, stack: LocalStack
) -> None:
    old = keys("create", "a-day", cwd=folder)["key"]
    [row] = keys("show", "a-day", cwd=folder)["keys"]
    printed = command("keys", "rotate", row["id"], cwd=folder)
    [key] = [line for line in printed.splitlines() if line.startswith("ccr-")]
    table = stack.emulator.client("dynamodb").scan(TableName=stack.description["tables"]["tenants"])
    assert not [secret for secret in (old, key) if secret in json.dumps(table, default=str)]
    rows = keys("show", "a-day", cwd=folder)["keys"]
    [ends] = [dt.datetime.fromisoformat(row["disabled_after"]) for row in rows if row["disabled_after"]]
    assert dt.timedelta(hours=23, minutes=55) < ends - dt.datetime.now(dt.UTC) <= dt.timedelta(hours=24, seconds=1)
    assert not any(row["disabled"] for row in rows)
    assert "after 20" in command("keys", "list", cwd=folder)
    assert keys("disable", row["id"], cwd=folder) == {"name": row["id"], "disabled": 1}
    assert keys("disable", "a-day", cwd=folder) == {"name": "a-day", "disabled": 1}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("create", "x", "--daily-budget", "0"), "'0'"),
        (("create", "x", "--daily-budget", "-1"), "'-1'"),
        (("create", "x", "--daily-budget", "nan"), "'nan'"),
        (("create", "x", "--daily-budget", "1e3"), "'1e3'"),
        (("create", "x", "--daily-budget", "0.0000001"), "micro-dollar"),
        (("create", "x", "--daily-budget", "none"), "'none'"),
        (("create", "x", "--tags", "a=b,a=c"), "'a=c'"),
        (("create", "x", "--tags", ""), "NAME=VALUE"),
        (("create", "mistaken", "--ceiling", "haiku"), "floor 'sonnet' is above ceiling 'haiku'"),
        (("set", "mistaken", "--ceiling", "haiku"), "floor 'sonnet' is above ceiling 'haiku'"),
        (("set", "mistaken", "--floor", "big"), "'big' is not a tier; accepted: haiku, sonnet, opus"),
        (("set", "mistaken", "--daily-budget", "much"), "'much'"),
        (("set", "mistaken", "--tags", "a"), "'a'"),
        (("set", "mistaken"), "nothing to change of 'mistaken'"),
        (("set", "nobody", "--floor", "haiku"), "'nobody'; there are: "),
        (("show", "nobody"), "mistaken"),
        (("rotate", "abc"), "(mistaken)"),
        (("rotate", "abc", "--grace", "soon"), "'soon'"),
        (("rotate", "abc", "--grace", "-1"), "'-1'"),
        (("rotate", "abc", "--grace", "1e999999"), "'1e999999'"),
        (("rotate", "abc", "--grace", "nan"), "'nan'"),
        (("rotate", "abc", "--grace", "5", "--now"), "'5' contradict"),
        (("disable", "nobody"), "'nobody'"),
    ],
)
def test_a_mistake_is_one_line_that_quotes_it_and_nothing_is_written(
    folder: Path, stack: LocalStack, words: tuple[str, ...], said: str
) -> None:
    if not item(stack, "tenant#mistaken"):
        keys("create", "mistaken", "--floor", "sonnet", cwd=folder)
    scan = {"TableName": stack.description["tables"]["tenants"]}
    before = stack.emulator.client("dynamodb").scan(**scan)["Items"]
    printed = command("keys", *words, cwd=folder, expect=1)
    assert said in printed
    assert printed.startswith("cost-router: ")
    assert printed.count("\n") == 1
    assert stack.emulator.client("dynamodb").scan(**scan)["Items"] == before


@pytest.mark.parametrize("words", [("show", "x"), ("set", "x", "--enable"), ("rotate", "x"), ("disable", "x")])
def test_every_command_takes_another_stack(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert "make up" in command("keys", *words, cwd=tmp_path, expect=1)
    assert "'elsewhere'" in command("keys", *words, "--stack", "elsewhere", "--json", cwd=tmp_path, expect=1)


class Raced(Target):
    """A target at which somebody deletes `tenant#gone` just before anything is written."""

    def client(self, service: str) -> Any:
        real = super().client(service)
        target = self

        class Client:
            def __getattr__(self, name: str) -> Any:
                if name in {"update_item", "transact_write_items"}:
                    real.delete_item(TableName=target.tables["tenants"], Key={"pk": {"S": "tenant#gone"}})
                return getattr(real, name)

        return Client()


def test_a_tenant_that_is_deleted_meanwhile_does_not_come_back_as_half_an_item(folder: Path, stack: LocalStack) -> None:
    keys("create", "gone", "--floor", "sonnet", cwd=folder)
    fields = {name: getattr(stack.target, name) for name in Target.__slots__}
    with pytest.raises(KeyProblem, match="'gone' was changed or deleted meanwhile; nothing was written"):
        change_tenant(Raced(**fields), "gone", {"ceiling": "opus"})
    assert item(stack, "tenant#gone") == {}
    keys("create", "gone", cwd=folder)
    before = keys("show", "gone", cwd=folder)["keys"]
    with pytest.raises(KeyProblem, match="deleted meanwhile; nothing was written"):
        rotate(Raced(**fields), before[0]["id"], dt.timedelta(hours=1), dt.datetime.now(dt.UTC))
    rows = [row for row in keys("list", cwd=folder) if row["tenant"] == "gone"]
    assert [row["id"] for row in rows] == [row["id"] for row in before]
    assert all(row["disabled"] and row["disabled_after"] is None for row in rows)
