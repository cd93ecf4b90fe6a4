"""When calls of the bulk lane begin: first come, first served, at the account's limits, not while it is at fault."""

import asyncio
import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from cost_router.core.breaker import Breaker
from cost_router.core.errors import DeadlinePassed, Failure, UpstreamError
from cost_router.core.pacing import Pacer
from cost_router.core.ports import Reply
from cost_router.core.pricing import Usage
from cost_router.core.trip import Call
from cost_router.core.turns import Turns
from tests.builders import World, failing, job, limited, message_body, model, record, rejected, reply, run

LATE = 10_000.0
USED = Usage(input_tokens=100, output_tokens=10)


def turns(world: World, *, headroom: float = 0.2, workers: int = 5) -> Turns:
    pacer = Pacer(workers=workers, headroom=headroom)
    return Turns(pacer, Breaker(), world.clock, world.chance, world.telemetry)


def call(name: str = "claude-haiku-5-5") -> Call:
    return Call(model(name), {}, {}, 1_000, 100, 100, "answer", "pinned", None)


def told(remaining: int, limit: int = 50) -> Reply:
    """An answer with the level of the bucket of requests."""
    headers = {
        "anthropic-ratelimit-requests-limit": str(limit),
        "anthropic-ratelimit-requests-remaining": str(remaining),
    }
    return dataclasses.replace(reply("claude-haiku-5-5", "the answer", USED), headers=headers)


def barred(status: int) -> UpstreamError:
    """The account is at fault for every request: its key (401), its billing (402), its spend limit (429)."""
    return UpstreamError(Failure.REJECTED, status=status, account=True, barred=True)


def waited(world: World, found: Turns, of: Call | None = None, deadline: float = LATE) -> float:
    """Seconds until the turn comes."""
    began = world.clock.monotonic()
    run(found.take(of or call(), deadline))
    return world.clock.monotonic() - began


def when_called(world: World) -> list[float]:
    """Grows by the second of each call to Claude, from now on."""
    began, at, send = world.clock.monotonic(), list[float](), world.claude.send

    async def noting(body: Mapping[str, Any], headers: Mapping[str, str], seconds: float) -> Reply:
        at.append(world.clock.monotonic() - began)
        return await send(body, headers, seconds)

    world.claude.send = noting  # type: ignore[method-assign]  # the fake's own
    return at


def pinned(name: str) -> dict[str, Any]:
    return job(name, params=message_body(f"{name}: easy", model="haiku"), group="g")


def drain(world: World, *messages: Mapping[str, Any], seconds: float = 900.0, concurrency: int = 5) -> list[str]:
    left = run(world.door(concurrency).drain({"Records": list(messages)}, seconds))
    return [failure["itemIdentifier"] for failure in left["batchItemFailures"]]


# -- Turns -------------------------------------------------------------------------------------------------------------


def test_whoever_asks_first_has_his_turn_first() -> None:
    world = World()
    found, order = turns(world), list[int]()

    async def one(number: int) -> None:
        await found.take(call(), LATE)
        order.append(number)

    async def all_of_them() -> None:
        await asyncio.gather(*(one(number) for number in range(12)))

    run(all_of_them())
    assert order == list(range(12))
    assert world.clock.slept == pytest.approx([1.0] * 9), "three at once, then one each second while nothing is known"


def test_models_do_not_wait_for_each_other() -> None:
    world = World()
    found = turns(world)
    found.failed(call("claude-opus-5-5"), limited(429, 100.0))
    assert waited(world, found) == 0.0


def test_a_retry_after_is_waited_for_with_jitter_in_steps_of_five_seconds() -> None:
    world = World()
    found = turns(world)
    found.failed(call(), limited(429, 12.0))
    # Half of the first step of the jitter, 0.25 s, comes on top.
    assert waited(world, found) == pytest.approx(12.125)
    assert world.clock.slept == pytest.approx([5.0, 5.0, 2.125])


def test_a_turn_that_does_not_come_by_the_deadline_is_refused_with_what_is_left_to_wait() -> None:
    world = World()
    found = turns(world)
    found.failed(call(), limited(429, 100.0))
    with pytest.raises(DeadlinePassed) as refused:
        run(found.take(call(), world.clock.monotonic() + 30.0))
    assert world.clock.slept == pytest.approx([5.0] * 6)
    assert refused.value.retry_after == pytest.approx(70.125)


def test_whoever_gives_up_lets_the_next_one_ask() -> None:
    world = World()
    found = turns(world)
    found.failed(call(), limited(429, 100.0))

    async def both() -> list[Any]:
        deadlines = (world.clock.monotonic() + 30.0, LATE)
        return await asyncio.gather(*(found.take(call(), row) for row in deadlines), return_exceptions=True)

    first, second = run(both())
    assert (type(first), second) == (DeadlinePassed, None)


def test_jobs_that_met_a_limit_wait_for_it_here_and_are_answered_in_the_same_invocation() -> None:
    world = World(script=[limited(429, 20.0)])
    at = when_called(world)
    assert drain(world, pinned("a")) == []
    assert at == pytest.approx([0.0, 20.125])
    assert world.jobs.items["g/a"].lease.attempts == 0


def test_classifier_calls_take_turns_too() -> None:
    world = World()
    world.claude.labels.append(limited(429, 20.0))
    at = when_called(world)
    assert drain(world, job("a", group="g")) == []
    assert at == pytest.approx([0.0, 20.125, 20.125])
    assert [sent.is_classifier for sent in world.claude.calls] == [True, True, False]
    assert world.results.items["g/a"]["router"]["cause"] == "classifier", "not a wrong tier for want of a label"


def test_lines_of_the_batch_lane_take_turns_for_their_labels() -> None:
    world = World()
    world.claude.labels.append(limited(529, 20.0))
    at = when_called(world)
    assert drain(world, job("a", group="g", lane="batch")) == []
    assert at == pytest.approx([0.0, 20.125])
    assert world.lines.waiting == ["g/a"]


# -- Headroom ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("remaining", "seconds"), [(11, 0.0), (8, 3.6), (1, 12.0)])
def test_a_fifth_of_the_limit_is_left_to_interactive_calls(remaining: int, seconds: float) -> None:
    """50 a minute, of which 10 are left: a call begins at 11, and 50 a minute flow in."""
    world = World()
    found = turns(world)
    found.answered(call(), told(50), world.clock.monotonic())
    found.answered(call(), told(remaining), world.clock.monotonic())
    assert waited(world, found) == pytest.approx(seconds)


@pytest.mark.parametrize(("headroom", "seconds"), [(0.0, 0.0), (0.5, 21.6)])
def test_the_headroom_is_a_setting(headroom: float, seconds: float) -> None:
    world = World()
    found = turns(world, headroom=headroom)
    found.answered(call(), told(50), world.clock.monotonic())
    found.answered(call(), told(8), world.clock.monotonic())
    assert waited(world, found) == pytest.approx(seconds)


def test_a_job_waits_where_an_interactive_call_does_not() -> None:
    world = World(script=[told(50), told(8), told(7), *[told(6)] * 20])
    at = when_called(world)
    assert drain(world, *(pinned(name) for name in "abc"), concurrency=1) == []
    assert at[1] == 0.0
    assert at[2] >= 3.6
    slept = len(world.clock.slept)

    async def ten() -> None:
        for number in range(10):
            asked = world.request(model="haiku", id_=f"req_live_{number}")
            await world.router.answer(asked, record())

    run(ten())
    assert len(world.clock.slept) == slept
    assert len(at) == 13


def test_the_interactive_router_has_no_turns_and_the_door_has() -> None:
    world = World()
    assert world.router.caller.turns is None
    assert world.router.decider.labeller.caller.turns is None
    door = world.door()
    assert door.runner.router.caller.turns is not None
    assert door.runner.router.decider.labeller.caller.turns is door.runner.router.caller.turns


# -- An account at fault -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 402, 429])
def test_an_account_at_fault_stops_all_calls_for_a_minute_and_then_one_probes(status: int) -> None:
    world = World(script=[barred(status)])
    world.claude.takes = 10.0
    at = when_called(world)
    assert drain(world, *(pinned(name) for name in "abcd"), concurrency=1) == ["a"]
    assert at == pytest.approx([0.0, 70.0, 80.0, 90.0])
    assert world.telemetry.stops == [(status, 60.0)]
    assert world.queue.deferred == {"handle-a": 900.0}
    (lease,) = [item.lease for job_, item in world.jobs.items.items() if job_ == "g/a"]
    assert (lease.attempts, lease.lost) == (0, 0)
    assert drain(world, pinned("a")) == []


def test_while_one_probes_the_others_wait_for_what_it_finds() -> None:
    world = World()
    found = turns(world)
    found.failed(call(), barred(401))
    world.clock.advance(60.0)
    began = world.clock.monotonic()

    async def three() -> list[float]:
        async def one(of: Call) -> float:
            await found.take(of, LATE)
            return world.clock.monotonic() - began

        async def probe() -> float:
            at = await one(call())
            await asyncio.sleep(0)
            await world.clock.sleep(20.0)
            found.answered(call(), told(50), began)
            return at

        others = [one(call("claude-opus-5-5")), one(call("claude-sonnet-5-5"))]
        return list(await asyncio.gather(probe(), *others))

    first, *others = run(three())
    assert first == 0.0
    assert all(at >= 20.0 for at in others)


def test_a_fault_that_lasts_is_probed_ever_more_rarely_and_no_job_counts_an_attempt() -> None:
    world = World(script=[barred(402)] * 100)
    at = when_called(world)
    names = [f"job-{number}" for number in range(8)]
    assert drain(world, *(pinned(name) for name in names), concurrency=1) == names
    assert at == pytest.approx([0.0, 60.0, 180.0, 420.0])
    assert world.telemetry.stops == [(402, 60.0), (402, 120.0), (402, 240.0), (402, 480.0)]
    assert {(item.lease.attempts, item.lease.lost) for item in world.jobs.items.values()} == {(0, 0)}
    assert (world.results.items, world.attempts.counts, world.ledger.entries) == ({}, {}, [])
    assert all(5.0 <= seconds <= 900.0 for seconds in world.queue.deferred.values())


def test_a_probe_that_meets_a_limit_has_got_through() -> None:
    world = World()
    found = turns(world)
    found.failed(call(), barred(401))
    assert waited(world, found) == pytest.approx(60.0)
    found.failed(call(), limited(429, 5.0))
    assert waited(world, found, call("claude-opus-5-5")) == 0.0
    assert waited(world, found) == pytest.approx(5.125)


def test_a_probe_that_fails_otherwise_is_followed_by_another_a_second_later() -> None:
    world = World()
    found = turns(world)
    found.failed(call(), barred(401))
    assert waited(world, found) == pytest.approx(60.0)
    found.failed(call(), failing(500))
    assert waited(world, found) == pytest.approx(1.0)
    assert len(world.telemetry.stops) == 1


def test_a_probe_that_gets_no_turn_in_time_leaves_it_to_another() -> None:
    world = World()
    found = turns(world)
    found.failed(call(), limited(429, 300.0))
    found.failed(call(), barred(401))
    with pytest.raises(DeadlinePassed):
        run(found.take(call(), world.clock.monotonic() + 100.0))
    assert waited(world, found, call("claude-opus-5-5")) == pytest.approx(1.0)


def test_a_refusal_of_one_model_stops_nobody_else() -> None:
    world = World(script=[rejected(403, account=True)])
    at = when_called(world)
    assert drain(world, pinned("a"), pinned("b"), concurrency=1) == ["a"]
    assert at == [0.0, 0.0]
    assert world.telemetry.stops == []


def test_a_stopped_account_stops_labels_too() -> None:
    world = World()
    world.claude.labels.append(barred(401))
    at = when_called(world)
    assert drain(world, job("a", group="g"), pinned("b"), concurrency=1) == ["a"]
    assert world.results.items["g/b"]["result"]["type"] == "succeeded"
    assert at == pytest.approx([0.0, 60.0])
