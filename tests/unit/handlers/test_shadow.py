"""A candidate in shadow: it decides, is written down and booked, changes nothing, and nobody waits for it for long."""

import asyncio
import dataclasses
import datetime as dt
from collections import deque
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from cost_router.adapters.telemetry import _fields
from cost_router.core.errors import Failure, UpstreamError
from cost_router.core.ledger import Entry, Shadow
from cost_router.core.pricing import dollars
from cost_router.core.request import Hints, Tenant
from cost_router.core.routing import Routing
from cost_router.core.words import Label, Tier
from cost_router.handlers import wiring
from tests.builders import NEVER, FakeClock, World, failing, job, message_body, record, run, tenant
from tests.unit.core.test_batch_lane import Lane
from tests.unit.handlers.client import post, post_all
from tests.unit.handlers.test_canary import Sure

OTHERWISE = {**wiring.data("rubric.json"), "rules": ["Say something else."]}
LATE = UpstreamError(Failure.TIMEOUT, maybe_billed=True)


@dataclass
class SlowClock(FakeClock):
    """Others get on with their work while somebody sleeps."""

    async def sleep(self, seconds: float) -> None:
        for _ in range(50):
            await asyncio.sleep(0)
        await super().sleep(seconds)


def shadow(**parts: Any) -> Routing:
    parts = parts or {"lineup": "article", "rubric": OTHERWISE}
    return Routing.parse({"candidate": {"mode": "shadow", "percent": 100, **parts}})


def world_of(*labels: object, routing: Routing | None = None, owner: Tenant | None = None, **fields: Any) -> World:
    """A world whose classifiers give these labels in turn: the control's, then the candidate's."""
    world = World(owner or tenant(), routing=routing or shadow(), **fields)
    world.clock = world.claude.clock = SlowClock()
    world.claude.labels = deque(labels)
    return world


def booked(world: World) -> list[tuple[str, str | None, tuple[str, ...]]]:
    return [(entry.purpose, entry.arm, entry.flags) for entry in world.ledger.entries]


def answer_of(world: World) -> Entry:
    (found,) = [entry for entry in world.ledger.entries if entry.purpose == "answer"]
    return found


PLAIN = [("classifier", "control", ()), ("answer", "control", ())]
LOOKED_ON = ("classifier", "candidate", ("shadow",))


def test_a_shadow_decides_otherwise_and_changes_nothing() -> None:
    world = world_of("simple", "complex")
    reply = post(world, message_body())
    told = {name: reply.headers[f"x-router-{name}"] for name in ("model", "label", "cause", "arm")}
    assert told == {"model": "claude-haiku-5-5", "label": "simple", "cause": "classifier", "arm": "control"}
    assert world.claude.answer_models == ["claude-haiku-5-5"]
    own = world.claude.classifier_calls[1]
    assert (own.model, own.body["system"].endswith("Say something else.")) == ("claude-haiku-4-5", True)
    # 100 and 10 tokens at $5 and $25 a million
    seen = Shadow(Label.COMPLEX, Tier.OPUS, "claude-opus-4-8", Decimal("0.00075"))
    assert answer_of(world).shadow == seen
    (told_of,) = world.telemetry.records
    assert told_of.shadow == seen
    line = {name: value for name, value in _fields(told_of).items() if "shadow" in name}
    assert line == {
        "shadow_label": "complex",
        "shadow_tier": "opus",
        "shadow_model": "claude-opus-4-8",
        "shadow_cost_usd": "0.00075",
    }


def test_its_own_label_is_paid_booked_and_told_to_be_a_shadows() -> None:
    world = world_of("simple", "complex")
    reply = post(world, message_body())
    assert sorted(booked(world), key=str) == sorted([*PLAIN, LOOKED_ON], key=str)
    assert len({entry.entry_id for entry in world.ledger.entries}) == 3
    assert world.ledger.open == {}
    cost = sum(entry.cost_usd for entry in world.ledger.entries)
    assert Decimal(reply.headers["x-router-cost-usd"]) == cost, "all calls made for the request"
    (own,) = [entry for entry in world.ledger.entries if entry.flags]
    assert (own.baseline_usd, own.cost_usd) == (Decimal(0), Decimal("0.00044"))  # 400 and 8 tokens at $1 and $5


def test_the_same_ask_again_costs_no_label_and_is_looked_at_all_the_same() -> None:
    world = world_of("simple", "complex")
    first, second = (post(world, message_body()) for _ in range(2))
    assert [reply.headers["x-router-cause"] for reply in (first, second)] == ["classifier", "cache"]
    assert len(world.claude.classifier_calls) == 2
    assert [record.shadow and record.shadow.label for record in world.telemetry.records] == ["complex", "complex"]


def test_a_candidate_that_asks_the_same_question_takes_the_label_that_is_there() -> None:
    ladder = {"ladder": {"simple": {"tier": "sonnet"}}}
    world = world_of("simple", routing=shadow(preclassifier="none"))
    world.routing = dataclasses.replace(world.routing, ladder=Routing.parse(ladder).ladder)
    post(world, message_body())
    assert booked(world) == PLAIN
    assert answer_of(world).shadow == Shadow(Label.SIMPLE, Tier.SONNET, "claude-sonnet-5-5", Decimal("0.0003"))


def test_a_local_model_that_is_sure_costs_nothing_in_shadow() -> None:
    world = world_of("simple", routing=shadow(preclassifier="sure"), models={"sure": Sure()})
    post(world, message_body())
    assert booked(world) == PLAIN
    found = answer_of(world).shadow
    assert found is not None
    assert (found.label, found.model) == ("complex", "claude-opus-5-5")


def test_a_caller_gets_the_answer_though_the_shadow_never_comes_to_a_decision() -> None:
    world = world_of("simple", NEVER)
    reply = post(world, message_body())
    assert reply.status_code == 200
    assert world.clock.seconds <= 1_003.0, "three seconds, the classifier's own deadline, at the most"
    lost = ("classifier", "candidate", ("ambiguous", "abandoned", "shadow"))
    assert sorted(booked(world), key=str) == sorted([*PLAIN, lost], key=str)
    assert world.ledger.open == {}
    (told,) = world.telemetry.records
    assert (told.shadow, told.ambiguous, told.classifier_failed) == (None, 1, False)
    assert world.telemetry.notes == [("shadow_failed", {"request_id": told.request_id, "error": "late"})]


def test_the_answer_is_asked_for_before_the_shadow_has_come_to_a_decision() -> None:
    world = world_of("simple", NEVER)
    order: list[str] = []
    sleep = world.clock.sleep

    async def noting(seconds: float) -> None:
        order.append(f"waits after {len(world.claude.answer_calls)} answer")
        await sleep(seconds)

    world.clock.sleep = noting  # type: ignore[method-assign]
    post(world, message_body())
    assert order == ["waits after 1 answer"]


def test_events_come_while_the_shadow_is_still_at_it_and_only_the_end_waits() -> None:
    world = world_of("simple", NEVER)

    async def go() -> tuple[int, float]:
        answer = await world.router.answer_stream(world.request(stream=True), record())
        async with answer:
            count = 0
            while await answer.next():
                count += 1
            return count, world.clock.seconds

    assert run(go()) == (7, 1_000.0)
    assert len(booked(world)) == 3


def test_a_streamed_answer_is_looked_at_too() -> None:
    world = world_of("simple", "complex")
    reply = post(world, message_body(stream=True))
    seen = answer_of(world).shadow
    assert seen is not None
    assert (seen.model, seen.cost_usd) == ("claude-opus-4-8", Decimal("0.00075"))
    cost = sum((entry.cost_usd for entry in world.ledger.entries), Decimal(0))
    assert f"x-router-cost-usd={dollars(cost)} " in reply.text


@pytest.mark.parametrize("failure", [LATE, failing(), "nonsense", RuntimeError("a defect")])
def test_a_shadow_that_fails_fails_nobody_and_its_label_by_default_is_no_decision(failure: object) -> None:
    world = world_of("simple", failure)
    reply = post(world, message_body())
    assert (reply.status_code, reply.headers["x-router-model"]) == (200, "claude-haiku-5-5")
    assert answer_of(world).shadow is None
    assert world.ledger.open == {}
    assert world.telemetry.records[0].shadow is None
    assert len(world.telemetry.defects) == isinstance(failure, RuntimeError)


def test_an_excerpt_that_has_to_stay_in_a_place_is_not_sent_to_a_candidate_that_has_no_places() -> None:
    world = world_of("simple", owner=tenant("acme", allows=frozenset({"inference_geo"})))
    reply = post(world, message_body(inference_geo="us"))
    assert reply.status_code == 200
    assert [call.model for call in world.claude.classifier_calls] == ["claude-haiku-5-5"]
    assert answer_of(world).shadow is None
    assert world.telemetry.defects == []


def test_pinned_and_capped_requests_are_left_alone() -> None:
    world = world_of("simple")
    for body in (message_body(model="sonnet"), message_body(router={"max_cost_usd": "0.1"})):
        post(world, body)
    assert [entry.arm for entry in world.ledger.entries] == ["control"] * 3
    assert not any(record.shadow for record in world.telemetry.records)


@pytest.mark.parametrize(("budget", "looks_on"), [("0.04", False), ("0.06", True)])
def test_nothing_is_looked_at_where_a_budget_has_no_ample_room(budget: str, *, looks_on: bool) -> None:
    """A label of the candidate may cost up to half a cent: it would fit four cents, but ten of them would not."""
    world = world_of("simple", "complex", budget=Decimal(budget))
    assert post(world, message_body()).status_code == 200
    assert (LOOKED_ON in booked(world)) == looks_on


def test_a_request_that_fails_books_its_shadow_all_the_same() -> None:
    world = world_of("simple", "complex", script=[failing()] * 9)
    reply = post(world, message_body())
    assert reply.status_code == 500
    assert booked(world) == [PLAIN[0], LOOKED_ON]
    (told,) = world.telemetry.records
    assert told.shadow == Shadow(Label.COMPLEX, Tier.OPUS, "claude-opus-4-8"), "no answer, so no price"


def test_who_leaves_while_the_shadow_is_waited_for_is_booked_whole() -> None:
    world = world_of("simple", NEVER)

    async def go() -> None:
        task = asyncio.ensure_future(world.router.answer(world.request(), record()))
        for _ in range(40):  # the answer has come, and the shadow has not
            await asyncio.sleep(0)
        assert (len(world.claude.calls), world.ledger.bookings) == (3, [])
        task.cancel()
        await asyncio.wait((task,))
        assert task.cancelled()

    run(go())
    assert len(booked(world)) == 3
    assert world.ledger.open == {}


def test_only_a_share_is_looked_at() -> None:
    routing = Routing.parse({"candidate": {"mode": "shadow", "percent": 40, "lineup": "article"}})
    world = world_of(routing=routing)
    bodies = [message_body(f"Question {number}") for number in range(60)]
    assert {reply.headers["x-router-arm"] for reply in post_all(world, bodies)} == {"control"}
    assert 12 <= sum(record.shadow is not None for record in world.telemetry.records) <= 36


def test_a_dry_run_is_not_looked_at() -> None:
    world = world_of("simple")
    post(world, message_body(), "/v1/route")
    assert booked(world) == PLAIN[:1]


def test_a_session_s_pace_counts_requests_not_shadows() -> None:
    world = world_of("simple", "complex")
    run(world.router.answer(world.request(hints=Hints(session="run-1")), record()))
    assert [row.pace for row in world.ledger.reserved if "shadow" in row.id] == [None]


@pytest.mark.parametrize(("lane", "cost"), [("direct", Decimal("0.00075")), ("batch", Decimal("0.00425"))])
def test_jobs_of_both_lanes_are_looked_at(lane: str, cost: Decimal) -> None:
    found = Lane(routing=shadow())
    found.world.clock = found.world.claude.clock = SlowClock()
    found.world.claude.labels = deque(["simple", "complex"])
    run(found.world.door().drain({"Records": [job("a", lane=lane, group="g")]}, 900.0))
    for _ in range(2):
        found.round(dt.timedelta(minutes=5))
    answer = answer_of(found.world)
    assert answer.arm == "control"
    assert answer.shadow == Shadow(Label.COMPLEX, Tier.OPUS, "claude-opus-4-8", cost)
    result = found.world.results.items["g/a"]
    assert Decimal(result["router"]["cost_usd"]) == sum(entry.cost_usd for entry in found.world.ledger.entries)
    assert found.world.telemetry.records[-1].shadow == answer.shadow
