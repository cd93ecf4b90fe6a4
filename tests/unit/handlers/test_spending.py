"""`GET /v1/spend`: what a tenant may see, summed by what it asks for."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from cost_router.core.ports import Row
from cost_router.core.request import Hints
from cost_router.handlers import spending
from tests.builders import KEY, World, record, run, tenant
from tests.unit.handlers.client import request


def asked(world: World, query: str = "", key: str = KEY) -> tuple[int, dict[str, Any]]:
    reply = request(world, "GET", f"/v1/spend{query}", {"x-api-key": key})
    return reply.status_code, reply.json()


def traffic(world: World) -> None:
    """One classified request of acme, a pinned one with a tag, and one of another tenant."""
    run(world.router.answer(world.request(), record()))
    tagged = Hints(tags={"customer": "globex"})
    run(world.router.answer(world.request(model="sonnet", hints=tagged, id_="req_2"), record()))
    run(world.router.answer(world.request(model="haiku", owner=tenant("shop"), id_="req_3"), record()))


def test_a_tenant_sees_its_own_day() -> None:
    world = World()
    traffic(world)
    status, body = asked(world)
    assert status == 200
    assert (body["day"], body["currency"], body["by"], body["tenant"]) == ("2026-11-23", "USD", "model", "acme")
    own = [entry for entry in world.ledger.entries if entry.tenant == "acme"]
    assert Decimal(body["totals"]["cost_usd"]) == sum(entry.cost_usd for entry in own)
    assert body["totals"]["requests"] == 2
    rows = {row["key"]: row for row in body["rows"]}
    assert set(rows) == {"claude-haiku-5-5", "claude-sonnet-5-5"}
    assert rows["claude-haiku-5-5"]["classifier_cost_usd"] == "0.000044"


def test_a_key_that_may_read_the_account_sees_all_tenants() -> None:
    world = World(tenant("acme", reads_account=True))
    traffic(world)
    _, body = asked(world, "?by=tenant")
    assert body["tenant"] is None
    assert {row["key"]: row["requests"] for row in body["rows"]} == {"acme": 2, "shop": 1}
    assert Decimal(body["totals"]["cost_usd"]) == sum(entry.cost_usd for entry in world.ledger.entries)


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("tier", {"haiku", "sonnet"}),
        ("label", {"simple", "(none)"}),
        ("tenant", {"acme"}),
        ("tag:customer", {"globex", "(none)"}),
    ],
)
def test_it_is_summed_by_what_is_asked(by: str, keys: set[str]) -> None:
    world = World()
    traffic(world)
    _, body = asked(world, f"?by={by}&day=2026-11-23")
    assert {row["key"] for row in body["rows"]} == keys


def test_a_day_without_traffic_is_empty_not_an_error() -> None:
    status, body = asked(World(), "?day=2020-02-29")
    assert (status, body["rows"], body["totals"]["cost_usd"]) == (200, [], "0")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?day=today", "day: 'today'; accepted: a UTC day as YYYY-MM-DD"),
        ("?day=20261123", "day: '20261123'; accepted: a UTC day as YYYY-MM-DD"),
        ("?day=2026-02-30", "day: '2026-02-30'"),
        ("?day=2026-11-24", "day: '2026-11-24'; accepted: a UTC day as YYYY-MM-DD, up to 2026-11-23"),
        ("?by=user", "by: 'user'; accepted: model, tier, label, tenant, group, arm, tag:NAME"),
        ("?by=tag:", "by: 'tag:'; accepted"),
        ("?group=model", "'group' is unknown; accepted: day, by"),
    ],
)
def test_a_wrong_query_is_a_400_that_says_what_is_accepted(query: str, said: str) -> None:
    status, body = asked(World(), query)
    assert (status, body["error"]["type"]) == (400, "invalid_request_error")
    assert said in body["error"]["message"]


def test_it_needs_a_key() -> None:
    status, body = asked(World(), key="wrong")
    assert (status, body["error"]["type"]) == (401, "authentication_error")


def test_a_day_of_too_many_entries_names_what_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spending, "MOST_ENTRIES", 2)
    world = World()
    traffic(world)
    status, body = asked(world)
    assert status == 400
    assert "has more than 2 ledger entries" in body["error"]["message"]


def test_a_look_at_the_books_is_logged_and_costs_nothing() -> None:
    world = World()
    asked(world)
    (told,) = world.telemetry.records
    assert (told.kind, told.tenant, told.status, told.bill.cost_usd) == ("spend", "acme", 200, Decimal(0))


def test_a_day_that_takes_too_long_to_read_is_a_504_that_says_what_reads_it() -> None:
    world = World()

    async def endless(_day: str) -> AsyncIterator[Row]:
        await asyncio.sleep(3600)
        yield {}

    world.reader.entries = endless  # type: ignore[method-assign, assignment]
    world.router_settings = dataclasses.replace(world.router_settings, deadline_seconds=0.01)
    status, body = asked(world)
    assert (status, body["error"]["type"]) == (504, "timeout_error")
    assert "`cost-router report`" in body["error"]["message"]
