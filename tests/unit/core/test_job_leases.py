"""Each job once: redelivery, duplicates, two workers, a worker killed anywhere, stores and calls that fail."""

import asyncio
import dataclasses
import datetime as dt
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest

from cost_router.core.budget import Limits
from cost_router.core.errors import Failure, StoreError, UpstreamError
from cost_router.core.groups import Tally
from cost_router.core.pricing import Usage, dollars
from tests.builders import World, job, limited, message_body, raw_job, rejected, run, tenant
from tests.bulk import Killed
from tests.unit.core.test_batch_lane import Lane

LOST = UpstreamError(Failure.TIMEOUT, maybe_billed=True)
HAIKU = Decimal("0.000015")  # 100 tokens at 0.10 and 10 at 0.50 dollars per million
CLASSIFIED = Decimal("0.000044")  # 400 tokens at 0.10 and 8 at 0.50 dollars per million
AFTER_LEASE = 900.0  # seconds: 870 of an invocation and 25 for booking


@dataclasses.dataclass
class Process:
    """What dies together. at: the step at which it dies, as in `end.before`; share: of steps that go wrong."""

    at: str | None = None
    share: float = 0.0
    chance: random.Random = dataclasses.field(default_factory=lambda: random.Random(0))
    dead: bool = False
    paying: dict[str, str] = dataclasses.field(default_factory=dict)  # job -> request id, between calling and delivery
    lost: Counter[str] = dataclasses.field(default_factory=Counter)  # jobs: it died in between, or a call told nothing

    def step(self, name: str, error: Exception | None) -> None:
        """Go on, or fail, or die; once dead, nothing reaches the outside any more."""
        if not self.dead and self.at == name:
            self.die()
        elif not self.dead and self.chance.random() < self.share:
            if error and self.chance.random() < 0.5:
                raise error
            self.die()
        if self.dead:
            raise Killed(name)

    def die(self) -> None:
        self.dead = True
        self.lost.update(self.paying.keys())


class Mortal:
    """An outside as a process reaches it: each operation may fail, or kill the process, before or after its effect."""

    def __init__(self, inner: Any, process: Process, prefix: str = "") -> None:
        self.inner, self.process, self.prefix = inner, process, prefix

    def __getattr__(self, name: str) -> Any:
        real = getattr(self.inner, name)
        if not asyncio.iscoroutinefunction(real):
            return real

        async def call(*given: Any, **named: Any) -> Any:
            self.process.step(f"{self.prefix}{name}.before", self.error(after=False))
            done = await real(*given, **named)
            self.did(name, given, done)
            try:
                self.process.step(f"{self.prefix}{name}.after", self.error(after=True))
            except UpstreamError:
                if job_ := answered_in(given[0]):
                    self.process.lost[job_] += 1
                    del self.process.paying[job_]
                raise
            return done

        return call

    def did(self, name: str, given: Sequence[Any], done: Any) -> None:
        """What the process knows of itself: from when until when a death of it may cost a call."""
        if name == "calling" and done:
            self.process.paying[given[0].job] = given[0].owner
        if self.prefix == "results." and name == "put":
            self.process.paying.pop(f"{given[0]}/{given[1]}", None)

    def error(self, *, after: bool) -> Exception:
        del after
        return StoreError("dynamodb: ReadTimeoutError")


class MortalClaude(Mortal):
    """Claude over a bad line: `paid` counts the answers that were made, by job and request id."""

    def __init__(self, inner: Any, process: Process, paid: "Counter[tuple[str, str]]") -> None:
        super().__init__(inner, process, "claude.")
        self.paid = paid

    def did(self, name: str, given: Sequence[Any], done: Any) -> None:
        del done
        if name == "send" and (job_ := answered_in(given[0])):
            self.paid[job_, self.process.paying[job_]] += 1

    def error(self, *, after: bool) -> Exception:
        return LOST if after else self.process.chance.choice([limited(429, 1.0), UpstreamError(Failure.CONNECTION)])


def answered_in(body: Mapping[str, Any]) -> str | None:
    """The job that a call answers; None of a classifier's."""
    return None if "output_config" in body else "g/" + body["messages"][0]["content"].partition(":")[0]


def worker(world: World, process: Process, paid: "Counter[tuple[str, str]] | None" = None) -> Any:
    """A queue's door whose whole outside is mortal."""
    whole = World()
    whole.__dict__.update(world.__dict__)
    whole.jobs = Mortal(world.jobs, process)  # type: ignore[assignment]  # a stand-in for the fake
    whole.lines = Mortal(world.lines, process)  # type: ignore[assignment]  # a stand-in for the fake
    whole.groups = Mortal(world.groups, process)  # type: ignore[assignment]  # a stand-in for the fake
    whole.results = Mortal(world.results, process, "results.")  # type: ignore[assignment]  # a stand-in for the fake
    whole.ledger = Mortal(world.ledger, process, "ledger.")  # type: ignore[assignment]  # a stand-in for the fake
    whole.claude = MortalClaude(world.claude, process, Counter() if paid is None else paid)  # type: ignore[assignment]  # a stand-in for the fake
    return whole.door()


def deliver(world: World, *messages: Mapping[str, Any], at: str | None = None) -> list[str]:
    """The messages that stay on the queue; all of them, when the worker dies."""
    process = Process(at)
    try:
        left = run(worker(world, process).drain({"Records": list(messages)}, 900.0))
    except Killed:
        return [str(message["messageId"]) for message in messages]
    assert not process.dead
    return [failure["itemIdentifier"] for failure in left["batchItemFailures"]]


def pinned(name: str = "a", text: str = "an easy one", **router: Any) -> dict[str, Any]:
    """A job that is called without a label; its text begins with its name."""
    return job(name, params=message_body(f"{name}: {text}", model="haiku"), **{"group": "g", **router})


def labelled(name: str = "a", **router: Any) -> dict[str, Any]:
    return job(name, params=message_body(f"{name}: what is it?"), **{"group": "g", **router})


def result(world: World, name: str = "a") -> dict[str, Any]:
    return world.results.items[f"g/{name}"]


def lease(world: World, name: str = "a") -> Any:
    return world.jobs.items[f"g/{name}"].lease


def tally(world: World) -> Tally:
    return world.jobs.tallies["g"]


def booked(world: World) -> Decimal:
    return sum((entry.cost_usd for entry in world.ledger.entries), Decimal(0))


# -- Each job once -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Trouble:
    """A world in which workers die, stores fail and calls are lost, and what was paid in it."""

    world: World
    chance: random.Random
    share: float
    paid: "Counter[tuple[str, str]]" = dataclasses.field(default_factory=Counter)
    lost: "Counter[str]" = dataclasses.field(default_factory=Counter)

    def round(self, messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Two workers at once, each with all of the messages; gives those that one of them has not done."""
        processes = [Process(None, self.share, self.chance) for _ in range(2)]
        copies = [[{**row, "messageId": f"{row['messageId']}.{number}"} for row in messages] for number in range(2)]

        async def both() -> list[Any]:
            doors = [worker(self.world, process, self.paid) for process in processes]
            drains = [door.drain({"Records": rows}, 900.0) for door, rows in zip(doors, copies, strict=True)]
            return await asyncio.gather(*drains, return_exceptions=True)

        stays: set[str] = set()
        for process, outcome in zip(processes, run(both()), strict=True):
            self.lost.update(process.lost)
            if isinstance(outcome, Killed):
                stays |= {str(row["messageId"]) for row in messages}
            else:
                assert not isinstance(outcome, BaseException), outcome
                stays |= {row["itemIdentifier"].partition(".")[0] for row in outcome["batchItemFailures"]}
        return [row for row in messages if row["messageId"] in stays]


@pytest.mark.parametrize("seed", range(120))
def test_whatever_goes_wrong_each_job_has_one_result_and_is_paid_twice_only_where_a_call_was_lost(seed: int) -> None:
    chance = random.Random(seed)
    names = [f"job-{number}" for number in range(4)]
    trouble = Trouble(World(budget=None), chance, chance.choice([0.01, 0.03, 0.06]))
    world = trouble.world
    waiting: list[Mapping[str, Any]] = [
        pinned(name) if place % 2 else labelled(name) for place, name in enumerate(names)
    ]
    for _ in range(12):
        waiting = trouble.round(waiting)
        world.clock.advance(chance.choice([1.0, 60.0, 1_000.0]))
    trouble.share = 0.0
    world.claude.script.clear()
    for _ in range(4):
        world.clock.advance(1_000.0)
        waiting = trouble.round(waiting)
    assert waiting == []
    assert sorted(world.results.items) == [f"g/{name}" for name in names]
    assert (world.queue.aside, [type(error).__name__ for error in world.telemetry.defects]) == ([], [])
    answered = [name for name in names if result(world, name)["result"]["type"] == "succeeded"]
    for name in names:
        job_ = f"g/{name}"
        calls = sum(count for (paid, _), count in trouble.paid.items() if paid == job_)
        assert calls <= 2
        assert calls <= 1 + trouble.lost[job_], "a second call only after one that was lost"
        if name not in answered:
            # A call that failed unpaid counts as lost, too, where the store failed before that could be noted.
            left = lease(world, name)
            assert trouble.lost[job_] + left.lost >= 2 or left.attempts >= 4
    expected = Tally(
        started=4,
        done=len(answered),
        failed=4 - len(answered),
        cost_usd=sum((Decimal(result(world, name)["router"]["cost_usd"]) for name in names), Decimal(0)),
        baseline_usd=sum((Decimal(result(world, n)["router"].get("baseline_usd", "0")) for n in names), Decimal(0)),
    )
    told = tally(world)
    assert (told.started, told.done, told.failed, told.canceled) == (4, expected.done, expected.failed, 0)
    assert (told.cost_usd, told.running) == (expected.cost_usd, 0)
    for (job_, request_id), count in trouble.paid.items():
        entries = [row for row in world.ledger.entries if (row.request_id, row.purpose) == (request_id, "answer")]
        held = any(row.startswith(f"{request_id}#") for row in world.ledger.open)
        assert len(entries) + held == count, f"{job_}: each call has an entry or an open reservation"
    before = len(world.claude.calls)
    assert trouble.round([pinned(name) if place % 2 else labelled(name) for place, name in enumerate(names)]) == []
    assert len(world.claude.calls) == before, "and nothing is called for copies that come later"


def test_copies_of_a_message_and_two_workers_at_once_call_once() -> None:
    world = World()
    doors = [worker(world, Process()) for _ in range(2)]

    async def both() -> list[Any]:
        drains = []
        for place, door in enumerate(doors):
            rows = [{**pinned(), "messageId": f"m-{place}-{copy}"} for copy in range(3)]
            drains.append(door.drain({"Records": rows}, 900.0))
        return await asyncio.gather(*drains)

    left = [row["itemIdentifier"] for outcome in run(both()) for row in outcome["batchItemFailures"]]
    assert len(left) == 5, "they wait for the one that works on it"
    assert len(world.claude.calls) == 1
    assert deliver(world, pinned()) == []
    assert (len(world.claude.calls), tally(world).started, tally(world).done) == (1, 1, 1)


def test_a_copy_waits_until_the_lease_of_a_dead_worker_ends_and_no_longer_than_30_seconds_at_a_time() -> None:
    world = World()
    deliver(world, pinned(), at="calling.before")
    assert lease(world).until == world.clock.now() + dt.timedelta(seconds=895)
    for waited, again in ((0.0, 30.0), (870.0, 26.0), (22.0, 5.0), (2.0, 5.0)):
        world.clock.advance(waited)
        assert deliver(world, pinned()) == ["a"]
        assert world.queue.deferred == {"handle-a": pytest.approx(again)}
    assert world.claude.calls == []
    world.clock.advance(1.0)
    assert deliver(world, pinned()) == []
    assert len(world.claude.calls) == 1


@pytest.mark.parametrize(
    ("step", "calls", "lost", "attempts"),
    [
        ("take.after", 1, 0, 1),
        ("ledger.reserve.before", 1, 0, 1),
        ("calling.before", 1, 0, 1),
        ("calling.after", 1, 1, 0),
        ("claude.send.before", 1, 1, 0),
        ("claude.send.after", 2, 1, 0),
        ("results.put.before", 2, 1, 0),
        ("results.put.after", 1, 1, 0),
        ("ledger.book.before", 1, 1, 0),
        ("ledger.book.after", 1, 1, 0),
        ("end.before", 1, 1, 0),
        ("end.after", 1, 0, 0),
    ],
)
def test_a_worker_killed_at_any_step_loses_no_result_and_pays_twice_only_between_the_call_and_the_result(
    step: str, calls: int, lost: int, attempts: int
) -> None:
    world = World()
    assert deliver(world, pinned(), at=step) == ["a"]
    world.clock.advance(AFTER_LEASE)
    assert deliver(world, pinned()) == []
    assert result(world)["result"]["type"] == "succeeded"
    assert len(world.claude.calls) == calls
    assert (lease(world).lost, lease(world).attempts) == (lost, attempts)
    assert tally(world) == Tally(1, 1, cost_usd=HAIKU, baseline_usd=Decimal("0.0006"))
    killed = [row for row in world.ledger.open.values() if row.id.startswith("req_000000000000000000000001")]
    settled = [row for row in world.ledger.entries if row.request_id == "req_000000000000000000000001"]
    reserved = step not in {"take.after", "ledger.reserve.before"}
    assert len(killed) + len(settled) == reserved, "its money is put aside until it is swept, or booked"


@pytest.mark.parametrize("step", ["results.put.after", "ledger.book.before", "ledger.book.after", "end.before"])
def test_a_job_whose_result_was_kept_is_ended_without_a_call_and_costs_what_the_result_says(step: str) -> None:
    world = World()
    deliver(world, labelled(), at=step)
    assert world.jobs.state("g/a") == "calling"
    assert (tally(world).done, tally(world).running) == (0, 1)
    calls, kept = len(world.claude.calls), json.dumps(result(world))
    world.clock.advance(AFTER_LEASE)
    for _ in range(2):
        assert deliver(world, labelled()) == []
    assert (len(world.claude.calls), json.dumps(result(world))) == (calls, kept)
    assert world.jobs.state("g/a") == "done"
    assert tally(world) == Tally(1, 1, cost_usd=HAIKU + CLASSIFIED, baseline_usd=Decimal("0.0006"))


def test_a_worker_killed_between_the_call_and_the_result_twice_is_not_called_a_third_time() -> None:
    world = World()
    for _ in range(2):
        deliver(world, pinned(), at="results.put.before")
        world.clock.advance(AFTER_LEASE)
    for _ in range(2):
        assert deliver(world, pinned()) == []
    assert len(world.claude.calls) == 2
    assert result(world)["result"]["error"]["error"]["type"] == "api_error"
    assert (tally(world).failed, tally(world).running, len(world.ledger.open)) == (1, 0, 2)


@pytest.mark.parametrize(("deaths", "kind", "calls"), [(4, "succeeded", 1), (5, "errored", 0)])
def test_a_job_whose_workers_die_five_times_before_they_call_fails_unpaid(deaths: int, kind: str, calls: int) -> None:
    world = World()
    for _ in range(deaths):
        deliver(world, pinned(), at="calling.before")
        world.clock.advance(AFTER_LEASE)
    assert deliver(world, pinned()) == []
    assert (result(world)["result"]["type"], len(world.claude.calls)) == (kind, calls)


def test_who_comes_back_after_his_lease_has_ended_calls_nothing_more() -> None:
    world = World()
    calling = world.jobs.calling

    async def late(held: Any) -> bool:
        world.jobs.calling = calling  # type: ignore[method-assign]  # the fake's own
        world.clock.advance(AFTER_LEASE)
        assert await world.door().drain({"Records": [pinned()]}, 900.0) == {"batchItemFailures": []}
        return await calling(held)

    world.jobs.calling = late  # type: ignore[method-assign, assignment]  # the fake's own
    assert deliver(world, pinned()) == ["a"]
    assert len(world.claude.calls) == 1
    assert (tally(world).done, world.ledger.open, len(world.ledger.entries)) == (1, {}, 1)
    assert deliver(world, pinned()) == []


# -- What a job costs --------------------------------------------------------------------------------------------------


def test_a_job_that_was_put_back_costs_what_was_booked_for_it_the_classifier_of_its_first_delivery_too() -> None:
    world = World(script=[rejected(403, account=True)])
    assert deliver(world, labelled(cache="off")) == ["a"]
    assert (booked(world), lease(world).spent_usd) == (CLASSIFIED, CLASSIFIED)
    assert deliver(world, labelled(cache="off")) == []
    assert booked(world) == 2 * CLASSIFIED + HAIKU
    assert result(world)["router"]["cost_usd"] == "0.000103"
    assert tally(world).cost_usd == Decimal("0.000103")


def test_a_job_that_a_budget_put_back_costs_what_was_booked_for_it_when_it_goes_on() -> None:
    poor = tenant("poor", limits=Limits(daily_usd=Decimal("0.005")))
    world = World(poor, label="complex", budget=None)
    assert deliver(world, labelled(tenant="poor", cache="off")) == ["a"]
    assert world.queue.deferred == {"handle-a": 900.0}
    assert (len(world.claude.answer_calls), lease(world).spent_usd) == (0, CLASSIFIED)
    world.tenants.tenants["poor"] = tenant("poor")
    assert deliver(world, labelled(tenant="poor", cache="off")) == []
    assert Decimal(result(world)["router"]["cost_usd"]) == booked(world) == tally(world).cost_usd
    assert result(world)["router"]["classifier_cost_usd"] == "0.000044"


@pytest.mark.parametrize("ending", [rejected(400), LOST])
def test_a_job_that_fails_in_the_end_costs_what_was_booked_for_it_by_all_its_deliveries(ending: Exception) -> None:
    world = World(script=[LOST, ending])
    for _ in range(2):
        deliver(world, labelled(cache="off"))
    assert result(world)["result"]["type"] == "errored"
    assert result(world)["router"]["cost_usd"] == dollars(booked(world))
    assert (tally(world).failed, tally(world).cost_usd) == (1, booked(world))


def test_a_line_costs_what_was_booked_for_its_job_before_it_was_parked_too() -> None:
    lane = Lane()
    lane.store.down = True
    assert lane.drop("a", cache="off") == ["a"]
    assert (lease(lane.world).spent_usd, lease(lane.world).attempts, lease(lane.world).lost) == (CLASSIFIED, 0, 0)
    lane.store.down = False
    assert lane.drop("a", cache="off") == []
    lane.round()
    lane.round()
    assert booked(lane.world) == 2 * CLASSIFIED + Decimal("0.000085")
    assert result(lane.world)["router"]["cost_usd"] == "0.000173"
    assert tally(lane.world).cost_usd == Decimal("0.000173")


def test_a_job_whose_store_failed_after_it_was_parked_is_parked_once() -> None:
    lane = Lane()
    park = lane.store.park

    async def park_and_fail(*given: Any) -> None:
        await park(*given)
        raise StoreError("dynamodb.update_item: ReadTimeoutError")

    lane.store.park = park_and_fail  # type: ignore[method-assign, assignment]  # the fake's own
    assert lane.drop("a") == ["a"]
    assert lane.world.jobs.state("g/a") == "parked"
    assert lane.drop("a") == []
    lane.round()
    lane.round()
    assert (lane.kinds, len(lane.batches.submitted), tally(lane.world).done) == ({"a": "succeeded"}, 1, 1)


# -- Failures of ours --------------------------------------------------------------------------------------------------


def test_a_store_that_fails_frees_the_lease_at_once_and_counts_nothing() -> None:
    world = World()
    world.ledger.reserving_down = True
    assert deliver(world, pinned()) == ["a"]
    assert world.jobs.state("g/a") == "queued"
    assert (lease(world).lost, lease(world).attempts, lease(world).until) == (0, 0, world.clock.now())
    world.ledger.reserving_down = False
    assert deliver(world, pinned()) == [], "the clock has not moved"
    assert len(world.claude.calls) == 1


def test_a_defect_frees_the_lease_at_once_and_counts_nothing_as_lost() -> None:
    world = World(script=[ZeroDivisionError("ours")])
    assert deliver(world, pinned()) == ["a"]
    assert (world.jobs.state("g/a"), lease(world).lost, lease(world).attempts) == ("queued", 0, 0)
    assert deliver(world, pinned()) == []
    assert result(world)["result"]["type"] == "succeeded"


@pytest.mark.parametrize("output_tokens", [10, 0])
def test_a_defect_after_the_answer_was_paid_for_counts_it_as_lost(
    output_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer without output is paid for, too: Claude may refuse in no words."""
    world = World(script=[Usage(input_tokens=100, output_tokens=output_tokens)])
    with monkeypatch.context() as patch:
        patch.setattr("cost_router.core.job_results.succeeded", lambda *_: 1 / 0)
        assert deliver(world, pinned()) == ["a"]
    assert (lease(world).lost, lease(world).until) == (1, world.clock.now())
    assert len(world.ledger.entries) == 1


def test_a_defect_in_the_limiter_after_the_answer_was_paid_for_counts_it_as_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    with monkeypatch.context() as patch:
        patch.setattr("cost_router.core.pacing.Pacer.answered", lambda *_: 1 / 0)
        assert deliver(world, pinned()) == ["a"]
    assert lease(world).lost == 1


def test_a_job_that_ended_in_a_failing_store_ends_once() -> None:
    world = World()
    real = world.jobs.end

    async def end(*given: Any) -> None:
        await real(*given)
        raise StoreError("dynamodb.transact_write_items: ReadTimeoutError")

    world.jobs.end = end  # type: ignore[method-assign, assignment]  # the fake's own
    assert deliver(world, pinned()) == ["a"]
    assert (world.jobs.state("g/a"), tally(world).done) == ("done", 1)
    assert deliver(world, pinned()) == []
    assert (len(world.claude.calls), tally(world).done) == (1, 1)


@pytest.mark.parametrize("waits", [1, 3])
def test_a_classifier_that_does_not_answer_and_limits_after_that_never_count_as_a_lost_answer(waits: int) -> None:
    """The classifier's call may have been paid for; that of the answer was not made, so that it may still be."""
    world = World()
    for number in range(waits):
        world.claude.labels.append(UpstreamError(Failure.TIMEOUT, maybe_billed=True))
        world.claude.script.extend([limited(429, 2_000.0)] * 2)
        assert deliver(world, labelled(cache="off")) == ["a"]
        assert (lease(world).lost, lease(world).attempts) == (0, 0)
        world.clock.advance(2_500.0 + number)
    world.claude.script.clear()
    assert deliver(world, labelled(cache="off")) == []
    assert result(world)["result"]["type"] == "succeeded"
    assert Decimal(result(world)["router"]["cost_usd"]) == booked(world)


# -- Names and bodies --------------------------------------------------------------------------------------------------


def broken(name: str = "a") -> dict[str, Any]:
    return raw_job(
        json.dumps({"custom_id": name, "params": {"max_tokens": "many"}, "router": {"group": "g"}}), "broken"
    )


def test_the_same_job_again_costs_nothing_and_with_another_body_it_is_set_aside_with_the_reason() -> None:
    world = World()
    deliver(world, pinned())
    first, spent = json.dumps(result(world)), booked(world)
    assert deliver(world, pinned()) == []
    other = pinned(text="another question")
    assert deliver(world, other) == []
    assert (json.dumps(result(world)), booked(world), len(world.claude.calls)) == (first, spent, 1)
    reason = "its name belongs to a job with another body; accepted: a custom_id of its own"
    assert world.queue.aside == [(other["body"], reason)]
    assert tally(world) == Tally(1, 1, cost_usd=HAIKU, baseline_usd=Decimal("0.0006"))
    assert [told.outcome for told in world.telemetry.records] == ["done", "already_done", "set_aside"]


def test_another_body_is_set_aside_while_the_first_waits_in_the_queue_too() -> None:
    world = World(script=[rejected(403, account=True)])
    deliver(world, pinned())
    assert deliver(world, pinned(text="another")) == []
    assert [reason.partition(";")[0] for _, reason in world.queue.aside] == [
        "its name belongs to a job with another body"
    ]
    assert deliver(world, pinned()) == []
    assert len(world.claude.answer_calls) == 2


def test_a_set_aside_that_fails_leaves_the_message_on_the_queue() -> None:
    world = World()
    deliver(world, pinned())

    async def set_aside(body: str, reason: str) -> None:
        raise StoreError("sqs.send_message: ReadTimeoutError")

    world.queue.set_aside = set_aside  # type: ignore[method-assign]  # the fake's own
    assert deliver(world, pinned(text="another")) == ["a"]


def test_a_broken_message_fails_with_the_reason_and_a_mended_one_of_its_name_takes_its_place() -> None:
    world = World()
    assert deliver(world, broken()) == []
    assert "max_tokens" in result(world)["result"]["error"]["error"]["message"]
    assert (tally(world), world.jobs.state("g/a")) == (Tally(started=1, failed=1), "failed")
    assert deliver(world, broken()) == []
    assert tally(world) == Tally(started=1, failed=1), "a copy changes nothing"
    assert deliver(world, pinned()) == []
    assert result(world)["result"]["type"] == "succeeded"
    assert tally(world) == Tally(1, 1, cost_usd=HAIKU, baseline_usd=Decimal("0.0006"))
    assert world.queue.aside == []


@pytest.mark.parametrize(("step", "calls"), [("calling.before", 1), ("results.put.before", 2), ("end.before", 1)])
def test_the_worker_of_a_mended_message_may_die_too(step: str, calls: int) -> None:
    world = World()
    deliver(world, broken())
    deliver(world, pinned(), at=step)
    world.clock.advance(AFTER_LEASE)
    assert deliver(world, pinned()) == []
    assert (result(world)["result"]["type"], len(world.claude.calls)) == ("succeeded", calls)
    assert (tally(world).started, tally(world).done, tally(world).failed) == (1, 1, 0)


def test_the_worker_of_a_broken_message_may_die_before_it_ends_it() -> None:
    world = World()
    deliver(world, broken(), at="end.before")
    assert (result(world)["result"]["type"], tally(world).ended) == ("errored", 0)
    world.clock.advance(60.0)
    assert deliver(world, broken()) == []
    assert tally(world) == Tally(started=1, failed=1)
    assert deliver(world, pinned()) == []
    assert result(world)["result"]["type"] == "succeeded"


def test_a_mended_message_of_the_batch_lane_takes_the_place_too() -> None:
    world = World()
    deliver(world, broken())
    assert deliver(world, pinned(lane="batch")) == []
    assert (world.lines.waiting, tally(world)) == (["g/a"], Tally(started=1))


def test_a_broken_message_with_the_name_of_a_real_job_is_set_aside_and_harms_nothing() -> None:
    world = World(script=[rejected(403, account=True)])
    deliver(world, pinned())
    bad = broken()
    assert deliver(world, bad) == []
    ((body, reason),) = world.queue.aside
    assert (body, reason.partition(":")[0]) == (bad["body"], "max_tokens")
    assert (world.results.items, tally(world)) == ({}, Tally(started=1))
    assert deliver(world, pinned()) == []
    assert deliver(world, bad) == []
    assert len(world.queue.aside) == 2
    assert (result(world)["result"]["type"], tally(world).done) == ("succeeded", 1)


def test_a_result_older_than_what_the_table_remembers_is_not_paid_for_again() -> None:
    world = World()
    deliver(world, pinned())
    world.jobs.items.clear()
    assert deliver(world, pinned()) == []
    assert (len(world.claude.calls), world.jobs.state("g/a")) == (1, "done")
