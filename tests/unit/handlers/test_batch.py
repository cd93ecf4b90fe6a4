"""The bulk entrance: which messages stay on the queue, and that none harms another."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from cost_router.adapters.telemetry import PowertoolsTelemetry
from cost_router.core.errors import NotConfigured, StoreError
from cost_router.core.ports import Reply
from cost_router.core.words import Tier
from cost_router.handlers.jobs import job_address
from tests.builders import World, failing, job, limited, message_body, raw_job, rejected, run, tenant


def drain(world: World, *records: Mapping[str, Any], concurrency: int = 5, seconds: float = 900.0) -> list[str]:
    """The ids of the messages that stay on the queue."""
    left = run(world.door(concurrency).drain({"Records": list(records)}, seconds))
    return [failure["itemIdentifier"] for failure in left["batchItemFailures"]]


def pinned(name: str, **router: Any) -> dict[str, Any]:
    return job(name, params=message_body(model="haiku"), **router)


def kinds(world: World) -> dict[str, str]:
    return {place.split("/")[1]: found["result"]["type"] for place, found in world.results.items.items()}


def test_answered_failed_and_deferred_jobs_of_one_batch() -> None:
    world = World(script=[rejected(403, account=True), rejected(400)])
    left = drain(world, pinned("barred"), pinned("bad"), pinned("good"), concurrency=1)
    assert left == ["barred"]
    assert kinds(world) == {"bad": "errored", "good": "succeeded"}
    assert list(world.queue.deferred) == ["handle-barred"]
    assert [told.outcome for told in world.telemetry.records] == ["deferred", "failed", "done"]


def test_an_empty_event_leaves_nothing() -> None:
    assert drain(World()) == []


def test_group_tenant_tags_and_bounds_of_a_job_hold() -> None:
    world = World(tenant("acme"), tenant("support", floor=Tier.SONNET, tags={"team": "support"}))
    drain(world, job("a", group="nightly-2026", tenant="support", tags={"customer": "globex"}, ceiling="sonnet"))
    assert world.results.items["nightly-2026/a"]["router"]["cause"] == "rule:tenant-floor"
    entry = world.ledger.entries[-1]
    assert (entry.tenant, entry.tags) == ("support", {"customer": "globex", "team": "support"})
    (told,) = world.telemetry.records
    assert (told.kind, told.job, told.tenant, told.outcome) == ("job", "nightly-2026/a", "support", "done")


def test_a_job_without_a_model_is_labelled_and_without_a_tenant_is_the_defaults() -> None:
    world = World()
    params = {name: value for name, value in message_body().items() if name != "model"}
    drain(world, job("a", params=params))
    assert world.results.items["ungrouped/a"]["router"]["cause"] == "classifier"
    assert list(world.claude.answer_calls[0].body) == ["model", "max_tokens", "messages"]
    assert {entry.tenant for entry in world.ledger.entries} == {"default"}


@pytest.mark.parametrize("concurrency", [1, 3, 5])
def test_no_more_calls_are_in_flight_than_the_setting_allows(concurrency: int) -> None:
    world = World()
    running = most = 0
    real = world.claude.send

    async def send(body: Mapping[str, Any], headers: Mapping[str, str], seconds: float) -> Reply:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(5):
            await asyncio.sleep(0)
        try:
            return await real(body, headers, seconds)
        finally:
            running -= 1

    world.claude.send = send  # type: ignore[method-assign]
    assert drain(world, *(job(f"job-{place}") for place in range(20)), concurrency=concurrency) == []
    assert most == concurrency
    assert len(world.results.items) == 20


def test_a_job_that_makes_the_function_fail_is_put_back_and_the_third_time_set_aside() -> None:
    world = World()
    bad = pinned("bad")
    for expected in (["bad"], ["bad"], []):
        world.claude.script.append(ZeroDivisionError("secret"))
        assert drain(world, bad, pinned("good"), concurrency=1) == expected
    assert world.queue.aside == [(bad["body"], "ZeroDivisionError after 3 attempts")]
    assert world.queue.deferred == {"handle-bad": 60.0}
    assert kinds(world) == {"good": "succeeded"}
    assert len(world.telemetry.defects) == 3
    outcomes = [(told.status, told.outcome) for told in world.telemetry.records if told.job == "ungrouped/bad"]
    assert outcomes == [(500, "deferred"), (500, "deferred"), (500, "failed")]


def test_a_store_that_is_down_puts_jobs_back_uncounted_and_never_sets_them_aside() -> None:
    world = World()
    world.results.down = True
    for _ in range(10):
        assert drain(world, pinned("a"), pinned("b")) == ["a", "b"]
    assert world.claude.calls == []
    assert (world.attempts.counts, world.queue.aside, world.telemetry.defects) == ({}, [], [])
    world.results.down = False
    assert drain(world, pinned("a"), pinned("b")) == []


def test_a_queue_that_is_down_leaves_messages_to_their_visibility_timeout() -> None:
    world = World(script=[rejected(403, account=True)])
    world.queue.down = True
    assert drain(world, pinned("a")) == ["a"]
    assert world.telemetry.records[0].outcome == "deferred"


def test_a_secret_that_cannot_be_read_is_no_defect() -> None:
    world = World(script=[StoreError("secretsmanager.get_secret_value: AccessDenied")])
    assert drain(world, pinned("a")) == ["a"]
    assert world.telemetry.defects == []
    assert world.queue.deferred == {"handle-a": 60.0}


def test_a_tenant_that_cannot_be_read_leaves_its_jobs_queued() -> None:
    world = World()

    async def by_name(name: str) -> None:
        raise NotConfigured(f"tenant {name!r} is not written as it should be")

    world.tenants.by_name = by_name  # type: ignore[method-assign]
    assert drain(world, pinned("a")) == ["a"]
    assert world.queue.deferred == {"handle-a": 900.0}
    assert world.telemetry.defects == []


@pytest.mark.parametrize(("takes", "begun"), [(749.0, 2), (751.0, 1)])
def test_no_job_is_begun_that_would_be_paid_for_and_cut_off(takes: float, begun: int) -> None:
    """Two minutes for the call, and thirty seconds for booking and delivering, or another invocation's turn."""
    world = World()
    world.claude.takes = takes
    assert drain(world, pinned("a"), pinned("b"), concurrency=1) == ["b"]
    assert len(world.claude.calls) == begun
    assert world.attempts.counts == {}


@pytest.mark.parametrize(("takes", "begun"), [(22.0, 2), (23.0, 1)])
def test_a_short_invocation_begins_calls_until_a_quarter_of_its_time_is_left(takes: float, begun: int) -> None:
    world = World()
    world.claude.takes = takes
    drain(world, pinned("a"), pinned("b"), concurrency=1, seconds=60.0)
    assert len(world.claude.calls) == begun


def test_messages_are_shown_again_soon_after_this_functions_end() -> None:
    world = World()
    drain(world, pinned("a"), pinned("b"), seconds=900.0)
    assert world.queue.claimed == {"handle-a": 915.0, "handle-b": 915.0}


def test_a_result_that_cannot_be_kept_is_tried_again_without_paying_again() -> None:
    world = World()
    world.results.failing_puts = 3
    assert drain(world, pinned("a")) == []
    assert len(world.claude.calls) == 1
    assert "ungrouped/a" in world.results.items


def test_a_job_whose_result_can_not_be_kept_is_not_paid_for_a_third_time_and_told_so_in_the_end() -> None:
    world = World()
    world.results.failing_puts = 1_000
    for _ in range(4):
        assert drain(world, pinned("a")) == ["a"]
        world.clock.advance(60)
    assert (len(world.claude.calls), world.queue.aside) == (2, [])
    world.results.failing_puts = 0
    assert drain(world, pinned("a")) == []
    assert "may have been paid for" in world.results.items["ungrouped/a"]["result"]["error"]["error"]["message"]
    assert len(world.claude.calls) == 2


def test_a_job_is_answered_once_however_often_it_is_delivered() -> None:
    world = World()
    for delivery in range(1, 4):
        assert drain(world, job("a", receive_count=delivery)) == []
    assert len(world.claude.answer_calls) == 1
    assert [told.outcome for told in world.telemetry.records] == ["done", "already_done", "already_done"]


def test_a_rate_limited_batch_is_delivered_in_the_end_without_an_attempt() -> None:
    world = World(script=[limited(429, 70.0)] * 12)
    waiting = [pinned(f"job-{place}") for place in range(8)]
    deliveries = 0
    while waiting:
        deliveries += 1
        left = drain(world, *waiting, concurrency=2)
        waiting = [record for record in waiting if record["messageId"] in left]
        world.clock.advance(100.0)
    assert deliveries <= 3
    assert set(kinds(world).values()) == {"succeeded"}
    assert len(world.results.items) == 8
    assert (world.attempts.counts, world.queue.aside) == ({}, [])


def test_a_server_failure_counts_once_per_delivery() -> None:
    world = World(script=[failing(500)] * 99)
    for _ in range(4):
        assert drain(world, pinned("a")) == ["a"]
    assert world.jobs.items["ungrouped/a"].lease.attempts == 4
    assert drain(world, pinned("a")) == []
    assert kinds(world) == {"a": "errored"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello", ("ungrouped", "m-1")),
        ("[]", ("ungrouped", "m-1")),
        ("5", ("ungrouped", "m-1")),
        ('{"custom_id": "a"}', ("ungrouped", "a")),
        ('{"custom_id": 5, "router": {"group": "g"}}', ("g", "m-1")),
        ('{"custom_id": "a", "router": {"group": "../g"}}', ("ungrouped", "a")),
        ('{"custom_id": "a", "router": null}', ("ungrouped", "a")),
        ('{"custom_id": "a", "router": [1]}', ("ungrouped", "m-1")),
        ("[" * 100_000, ("ungrouped", "m-1")),
        ("9" * 5_000, ("ungrouped", "m-1")),
    ],
)
def test_a_broken_jobs_result_goes_where_it_can_be_found(text: str, expected: tuple[str, str]) -> None:
    assert job_address(text, "m-1") == expected


def test_nothing_of_a_job_gets_into_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    canary = "canary-77aa"
    world = World(script=[ZeroDivisionError(canary), rejected(400)])
    world.telemetry = PowertoolsTelemetry.make("batch-privacy")  # type: ignore[assignment]
    params = message_body(canary, model="haiku")
    broken = raw_job(json.dumps({"custom_id": "x", "params": canary}))
    drain(world, job("defect", params=params), job("bad", params=params), job("good", params=params), broken)
    out, err = capsys.readouterr()
    assert out.count('"message":"job"') == 4
    assert canary not in out + err
    assert "the answer" not in out + err


@pytest.mark.parametrize(
    ("sender", "kind"),
    [
        ("AROAEXAMPLE12:nightly", "succeeded"),
        ("AROAEXAMPLE12", "succeeded"),
        ("AIDASOMEONE34", "errored"),
        ("", "errored"),
    ],
)
def test_a_tenant_takes_jobs_from_the_principals_that_its_policy_names(sender: str, kind: str) -> None:
    world = World(tenant("acme", senders=frozenset({"AROAEXAMPLE12"})))
    record = pinned("a", tenant="acme")
    record["attributes"]["SenderId"] = sender
    assert drain(world, record) == []
    assert kinds(world) == {"a": kind}
    assert bool(world.claude.calls) == (kind == "succeeded")


def test_without_senders_in_its_policy_a_tenant_takes_jobs_from_everybody() -> None:
    world = World(tenant("acme"))
    drain(world, pinned("a", tenant="acme"))
    assert kinds(world) == {"a": "succeeded"}


def test_thirty_minutes_of_429_lose_nothing_and_put_nothing_in_the_dead_letter_queue() -> None:
    world = World()
    answer, over = world.claude.send, world.clock.seconds + 1_800

    async def limited_for_half_an_hour(*given: Any) -> Reply:
        if world.clock.seconds < over:
            raise limited(429, 20.0)
        return await answer(*given)

    world.claude.send = limited_for_half_an_hour  # type: ignore[assignment,method-assign]  # the fake is asked this way
    waiting = [job(f"job-{place}") for place in range(20)]
    for _ in range(10):
        left = drain(world, *waiting, concurrency=10)
        waiting = [record for record in waiting if record["messageId"] in left]
        world.clock.advance(60.0)
    assert (waiting, world.queue.aside, world.attempts.counts) == ([], [], {})
    assert set(kinds(world).values()) == {"succeeded"}
    assert len(world.results.items) == 20
    assert world.clock.seconds > over
    assert not [entry for entry in world.ledger.entries if entry.flags]
