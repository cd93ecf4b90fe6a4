"""Dry runs against the app in process, and against replies that only a deployment out of order gives."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from cost_router.core.words import Label, Tier
from infra.operate.asking import Asker, NotRouted, Routed
from tests.builders import World, message_body, tenant
from tests.unit.handlers.client import post

ROUTE = {
    "label": "simple",
    "cause": "classifier",
    "tier": "haiku",
    "classifier_cost_usd": "0.001",
    "classifier_ms": 12.5,
}
BODY = message_body()


@dataclass
class Deployment:
    """Answers with what is next in `script`, then with `usual`; an exception is raised. Keeps what it was asked."""

    script: list[httpx2.Response | Exception] = field(default_factory=list)
    usual: Callable[[], httpx2.Response] = lambda: httpx2.Response(200, json=ROUTE)
    asked: list[httpx2.Request] = field(default_factory=list)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        reply = self.script.pop(0) if self.script else self.usual()
        if isinstance(reply, Exception):
            raise reply
        return reply

    def asker(self, **options: Any) -> Asker:
        client = httpx2.Client(transport=httpx2.MockTransport(self), base_url="http://router.test/stage")
        return Asker(client, **{"concurrency": 1, "fraction": lambda: 0.0, **options})


def refused(rule: str) -> httpx2.Response:
    error = {"type": "error", "error": {"type": "rate_limit_error", "message": f"{rule}: no"}}
    return httpx2.Response(429, json=error, headers={"x-router-rule": rule})


def in_process(world: World) -> Deployment:
    """The app itself."""

    def usual() -> httpx2.Response:
        request = found.asked[-1]
        headers = {name: request.headers[name] for name in request.headers if name.startswith("x-router-")}
        reply = post(world, json.loads(request.content), request.url.path.removeprefix("/stage"), headers)
        return httpx2.Response(reply.status_code, headers=reply.headers, content=reply.content)

    found = Deployment(usual=usual)
    return found


def test_the_real_decision_is_read_and_the_label_cache_left_alone() -> None:
    world = World(label="complex")
    world.claude.takes = 0.25
    asker = in_process(world).asker()
    first = asker.ask([BODY, BODY])
    assert [(one.label, one.cause, one.tier) for one in first.routed] == [(Label.COMPLEX, "classifier", Tier.OPUS)] * 2
    assert [one.classifier_ms for one in first.routed] == [250.0, 250.0]
    assert world.labels.items == {}
    assert asker.spent_usd == sum((entry.cost_usd for entry in world.ledger.entries), Decimal(0)) > 0
    cached = asker.ask([BODY, BODY], cached=True)
    assert [one.cause for one in cached.routed] == ["classifier", "cache"]
    assert cached.routed[1].classifier_ms is None


def test_a_request_that_needs_no_label_has_none() -> None:
    found = in_process(World(tenant(floor=Tier.OPUS))).asker().ask([BODY])
    assert [(one.label, one.tier, one.cost_usd) for one in found.routed] == [(None, Tier.OPUS, Decimal(0))]


def test_a_budget_that_is_used_up_ends_it_with_what_there_is() -> None:
    deployment = Deployment([httpx2.Response(200, json=ROUTE), refused("budget:tenant-day")])
    found = deployment.asker().ask([BODY] * 5)
    assert [type(one) for one in found.outcomes] == [Routed, *[type(None)] * 4]
    assert found.stopped is not None
    assert "budget:tenant-day: no" in found.stopped
    assert len(deployment.asked) == 2


def test_a_budget_of_the_real_app_ends_it_too() -> None:
    world = World(budget=Decimal("0.000001"))
    found = in_process(world).asker().ask([BODY] * 3)
    assert found.stopped is not None
    assert "budget:" in found.stopped
    assert found.routed == []


def test_a_rule_that_refuses_one_request_ends_only_that() -> None:
    deployment = Deployment([refused("tenant-ceiling")])
    found = deployment.asker().ask([BODY, BODY])
    assert [type(one) for one in found.outcomes] == [NotRouted, Routed]
    assert (found.stopped, len(deployment.asked)) == (None, 2)


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_ends_it_at_once(status: int) -> None:
    deployment = Deployment(usual=lambda: httpx2.Response(status, text="<html>"))
    found = deployment.asker().ask([BODY] * 5)
    assert found.stopped == f"status {status}: no error of the router"
    assert len(deployment.asked) == 1


@pytest.mark.parametrize(
    "passing", [httpx2.Response(429), httpx2.Response(503), httpx2.ConnectError("x"), httpx2.ReadTimeout("x")]
)
def test_what_passes_is_tried_again_twice(passing: httpx2.Response | Exception) -> None:
    found = Deployment([passing, passing]).asker().ask([BODY])
    assert [one.label for one in found.routed] == [Label.SIMPLE]
    thrice = Deployment([passing, passing, passing])
    assert isinstance(thrice.asker().ask([BODY]).outcomes[0], NotRouted)
    assert len(thrice.asked) == 3


def test_a_refusal_of_the_request_itself_is_not_tried_again() -> None:
    deployment = Deployment([httpx2.Response(400, json={"error": {"message": "max_tokens: too many"}})])
    [found] = deployment.asker().ask([BODY]).outcomes
    assert str(found) == "status 400: 'max_tokens: too many'"
    assert len(deployment.asked) == 1


def test_ten_requests_in_a_row_without_a_decision_end_it() -> None:
    deployment = Deployment(usual=lambda: httpx2.Response(400, json=[]))
    found = deployment.asker().ask([BODY] * 50)
    assert (len(deployment.asked), len(found.outcomes)) == (10, 50)
    assert found.stopped is not None
    assert found.stopped.startswith("10 requests in a row")
    mixed = Deployment([httpx2.Response(400 if place % 10 else 200, json=ROUTE) for place in range(50)])
    assert mixed.asker().ask([BODY] * 50).stopped is None


@pytest.mark.parametrize(
    "reply",
    [
        "<html>",
        "[]",
        "{}",
        json.dumps({**ROUTE, "label": "hard"}),
        json.dumps({**ROUTE, "tier": None}),
        json.dumps({**ROUTE, "classifier_cost_usd": "free"}),
    ],
)
def test_a_reply_that_is_no_decision_is_told_as_that(reply: str) -> None:
    [found] = Deployment([httpx2.Response(200, text=reply)]).asker().ask([BODY]).outcomes
    assert isinstance(found, NotRouted)
    assert str(found).startswith("the reply is no decision")


def test_a_reply_of_an_older_deployment_has_no_time_of_the_classifier() -> None:
    older = {name: value for name, value in ROUTE.items() if name != "classifier_ms"}
    [found] = Deployment([httpx2.Response(200, json=older)]).asker().ask([BODY]).routed
    assert found.classifier_ms is None


@pytest.mark.parametrize(("cap", "calls"), [("0.0005", 0), ("0.001", 1), ("0.0039", 3), ("0.004", 4), ("1", 5)])
def test_the_cap_is_never_passed(cap: str, calls: int) -> None:
    deployment = Deployment()
    asker = deployment.asker(cap_usd=Decimal(cap), likely_usd=Decimal("0.001"), concurrency=3)
    found = asker.ask([BODY] * 5)
    assert (len(deployment.asked), asker.spent_usd) == (calls, Decimal("0.001") * calls)
    assert found.stopped == (None if calls == 5 else f"the cap of ${cap} is reached")


def test_the_cap_reckons_with_the_dearest_call_so_far() -> None:
    deployment = Deployment([httpx2.Response(200, json={**ROUTE, "classifier_cost_usd": "0.5"})])
    deployment.asker(cap_usd=Decimal("0.9"), likely_usd=Decimal("0.001")).ask([BODY] * 5)
    assert len(deployment.asked) == 1


def test_what_a_failed_dry_run_has_cost_counts() -> None:
    asker = Deployment([httpx2.Response(400, headers={"x-router-cost-usd": "0.25"}, json={})]).asker()
    asker.ask([BODY])
    assert asker.spent_usd == Decimal("0.25")


def test_ctrl_c_ends_it_with_what_there_is() -> None:
    counted: list[int] = []

    def told(count: int) -> None:
        counted.append(count)
        if len(counted) == 2:
            raise KeyboardInterrupt

    found = Deployment().asker().ask([BODY] * 9, told=told)
    assert found.stopped == "interrupted"
    assert len(found.routed) == 2


def test_the_order_of_outcomes_is_that_of_the_requests() -> None:
    world = World()
    world.claude.labels.extend(["simple", "moderate", "complex"])
    asked = in_process(world).asker().ask([message_body(text) for text in "abc"])
    assert [one.label for one in asked.routed] == [Label.SIMPLE, Label.MODERATE, Label.COMPLEX]
