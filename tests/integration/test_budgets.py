"""Budgets at the real interface: HTTP through both entrances, the queue, the tables of the deployed stack."""

import asyncio
import datetime as dt
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import httpx2
from boto3.dynamodb.types import TypeSerializer

from cost_router.adapters.aws import Aws
from cost_router.adapters.ledger import DynamoLedger
from cost_router.adapters.system import SystemChance, SystemClock
from cost_router.core.ledger import Entry
from cost_router.core.pricing import Usage
from cost_router.core.words import Tier
from infra.local.stack import LocalStack
from infra.operate.keys import Policy, create
from infra.operate.report import read_entries
from tests.integration.meter import Meter
from tests.integration.test_jobs import drop, job, results, wait_for, waiting
from tests.integration.test_money import counter

Unique = Callable[[str], str]


def tenant_with_budget(stack: LocalStack, name: str, budget: str) -> str:
    """A key of a new tenant whose day may cost `budget` dollars."""
    key = create(stack.target, name, Policy(), dt.datetime.now(dt.UTC))
    set_budget(stack, name, budget)
    return key


def set_budget(stack: LocalStack, name: str, budget: str) -> None:
    stack.emulator.client("dynamodb").update_item(
        TableName=stack.description["tables"]["tenants"],
        Key={"pk": {"S": f"tenant#{name}"}},
        UpdateExpression="SET daily_budget_usd = :budget",
        ExpressionAttributeValues={":budget": TypeSerializer().serialize(Decimal(budget))},
    )


def post(url: str, key: str, text: str, model: str = "haiku", **headers: str) -> httpx2.Response:
    body = {"model": model, "max_tokens": 50, "messages": [{"role": "user", "content": text}]}
    return httpx2.post(f"{url}/v1/messages", json=body, headers={"x-api-key": key, **headers}, timeout=60)


def spent_by(stack: LocalStack, tenant: str) -> Decimal:
    entries = read_entries(stack.target, dt.datetime.now(dt.UTC).date())
    return sum((entry["cost_usd"] for entry in entries if entry["tenant"] == tenant), Decimal(0))


def test_a_request_that_its_budget_does_not_cover_is_refused_by_name_and_costs_nothing(
    stack: LocalStack, entrance: str, meter: Meter, unique: Unique, group: str
) -> None:
    name = f"poor-{group}"
    key = tenant_with_budget(stack, name, "0.0001")
    refused = post(entrance, key, unique("Hi"), model="opus")
    assert refused.status_code == 429
    error = refused.json()["error"]
    assert (error["type"], error["details"]["rule"]) == ("rate_limit_error", "budget:tenant-daily")
    assert "$0.0001" in error["message"]
    assert refused.headers["x-should-retry"] == "false"
    assert meter.requests() == []
    assert spent_by(stack, name) == 0


def test_a_monthly_budget_refuses_by_its_own_name(
    stack: LocalStack, entrance: str, meter: Meter, unique: Unique, group: str
) -> None:
    name = f"monthly-{group}"
    limits = Policy(monthly_budget_usd=Decimal("0.0001"))
    key = create(stack.target, name, limits, dt.datetime.now(dt.UTC))
    refused = post(entrance, key, unique("Hi"), model="opus")
    assert refused.status_code == 429
    assert refused.headers["x-router-rule"] == refused.json()["error"]["details"]["rule"] == "budget:tenant-monthly"
    assert meter.requests() == []


def test_a_requests_own_cap_lowers_its_tier_or_refuses_it(
    stack: LocalStack, entrance: str, meter: Meter, unique: Unique
) -> None:
    key = stack.description["gateway_key"]
    capped = post(entrance, key, unique("Hi"), model="opus", **{"x-router-max-cost-usd": "0.006"})
    assert capped.status_code == 200, capped.text
    assert (capped.headers["x-router-tier"], capped.headers["x-router-cause"]) == ("sonnet", "rule:max-cost")
    assert Decimal(capped.headers["x-router-cost-usd"]) <= Decimal("0.006")
    meter.reset()
    refused = post(entrance, key, unique("Hi"), **{"x-router-max-cost-usd": "0.000001"})
    assert (refused.status_code, refused.headers["x-router-rule"]) == (429, "max-cost")
    assert refused.headers["x-should-retry"] == "false"
    wrong = post(entrance, key, unique("Hi"), **{"x-router-max-cost-usd": "a dime"})
    assert wrong.status_code == 400
    assert "x-router-max-cost-usd: 'a dime'; accepted: US dollars above 0, such as 0.05" in wrong.text
    assert meter.requests() == []


def test_a_session_that_runs_away_is_stopped_and_told_when_to_come_back(
    stack: LocalStack, entrance: str, meter: Meter, unique: Unique, group: str
) -> None:
    key = create(stack.target, f"looping-{group}", Policy(session_rpm=3), dt.datetime.now(dt.UTC))

    def burst(session: str) -> list[httpx2.Response]:
        with ThreadPoolExecutor(8) as pool:
            texts = [unique("again") for _ in range(8)]
            return list(pool.map(lambda text: post(entrance, key, text, **{"x-router-session": session}), texts))

    minute = dt.datetime.now(dt.UTC).minute
    answers = burst("agent-7")
    if dt.datetime.now(dt.UTC).minute != minute:  # a new minute began in between: one burst more, in one minute
        answers = burst("agent-9")
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [429] * 5
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.headers["x-router-rule"] == "pace:session"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert "x-should-retry" not in refused.headers
    assert post(entrance, key, unique("again"), **{"x-router-session": "agent-8"}).status_code == 200


def test_many_at_once_never_spend_more_than_the_budget_and_what_was_put_aside_is_given_back(
    stack: LocalStack, meter: Meter, unique: Unique
) -> None:
    budget = Decimal("0.002")
    key = tenant_with_budget(stack, "busy", str(budget))
    url = stack.description["streaming_url"]
    texts = [unique("Hi") for _ in range(64)]
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda text: post(url, key, text), texts))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 429}, "some fit, and not all"
    assert len(meter.calls()) == statuses.count(200)
    spent = spent_by(stack, "busy")
    assert 0 < spent <= budget
    assert counter(stack, "tenant#busy")["committed_usd"] == counter(stack, "tenant#busy")["cost_usd"] == spent


def test_the_ladder_caps_the_tier_and_says_so_and_the_header_tells_what_is_left(
    stack: LocalStack, entrance: str, meter: Meter, unique: Unique, group: str
) -> None:
    name = f"ladder-{group}"
    key = tenant_with_budget(stack, name, "1")
    first = post(entrance, key, unique("Hi"), model="opus")
    assert first.headers["x-router-cause"] == "pinned"
    spent = Decimal(first.headers["x-router-cost-usd"])
    assert Decimal(first.headers["x-router-budget-remaining-usd"]) == 1 - spent
    # A policy is remembered for a minute by the process that read it, so the counter is moved instead of the budget.
    bump(stack, name, Decimal("0.81") - spent)
    capped = post(entrance, key, unique("Hi"), model="opus")
    assert (capped.headers["x-router-tier"], capped.headers["x-router-cause"]) == ("sonnet", "budget:tenant-80")
    bump(stack, name, Decimal("0.15"))
    lowest = post(entrance, key, unique("Hi"), model="opus")
    assert (lowest.headers["x-router-tier"], lowest.headers["x-router-cause"]) == ("haiku", "budget:tenant-95")
    bump(stack, name, Decimal("0.05"))
    refused = post(entrance, key, unique("Hi"), model="haiku")
    assert (refused.status_code, refused.json()["error"]["details"]["rule"]) == (429, "budget:tenant-daily")


def bump(stack: LocalStack, tenant: str, amount: Decimal) -> None:
    """A payment of the tenant's by another request, so that entries and counters go on agreeing."""
    aws = Aws({"dynamodb": stack.emulator.client("dynamodb")})
    paid = Entry(
        entry_id=f"bump-{uuid.uuid4()}",
        at=dt.datetime.now(dt.UTC),
        request_id="bump",
        upstream_request_id=None,
        tenant=tenant,
        tags={},
        label=None,
        cause="pinned",
        tier=Tier.OPUS,
        model="claude-opus-5-5",
        purpose="answer",
        usage=Usage(output_tokens=1),
        cost_usd=amount,
        baseline_usd=Decimal(0),
        flags=("ambiguous",),  # so that reports about all of the day's traffic do not price its one token anew
    )
    table = stack.description["tables"]["ledger"]
    asyncio.run(DynamoLedger(aws, table, SystemClock(), SystemChance()).book([paid], []))


def test_a_job_without_budget_waits_on_the_queue_and_harms_no_other(
    stack: LocalStack, meter: Meter, unique: Unique, group: str
) -> None:
    tenant_with_budget(stack, "poor-jobs", "0.0001")
    poor: dict[str, Any] = job("poor", unique("[[label:complex]] Hi"), group=group, tenant="poor-jobs")
    drop(stack, poor, job("rich", unique("[[label:simple]] Hi"), group=group))
    found = wait_for(stack, group, ["rich"])
    assert found["rich"]["result"]["type"] == "succeeded"
    assert "poor" not in results(stack, group)
    assert waiting(stack, "queue_url") == 1
    assert waiting(stack, "dead_letter_queue_url") == 0
    stack.emulator.client("sqs").purge_queue(QueueUrl=stack.description["queue_url"])
