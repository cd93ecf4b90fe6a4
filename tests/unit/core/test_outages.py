"""A classifier that fails is not waited for by every caller; one that only refused something is asked again."""

import asyncio

import pytest

from cost_router.core.breaker import Breaker
from cost_router.core.calls import INTERACTIVE, QUEUED, Patience
from cost_router.core.errors import DeadlinePassed, Failure, NotCovered, UpstreamError
from cost_router.core.labelling import Labelled
from cost_router.core.outages import Outages
from cost_router.core.record import Record
from cost_router.core.request import Request
from cost_router.core.words import Label
from tests.builders import NEVER, World, failing, limited, rejected, run

HAIKU = "claude-haiku-5-5"
LATE = UpstreamError(Failure.TIMEOUT, maybe_billed=True)


def after(*errors: BaseException | None, model: str = HAIKU) -> Outages:
    """What is known when calls have ended so, all at 100 seconds."""
    outages = Outages()
    for error in errors:
        outages.ended(model, error, 100.0)
    return outages


# --- the state


def test_a_breaker_opens_with_the_last_of_so_many_trips_in_a_row() -> None:
    breaker = Breaker(after=3, cool_down=30.0, longest=50.0)
    breaker.tripped(100.0)
    breaker.tripped(100.0)
    assert not breaker.is_open
    breaker.passed()
    breaker.tripped(100.0)
    breaker.tripped(100.0)
    assert not breaker.is_open
    breaker.tripped(100.0)
    assert breaker.wait(100.0) == 30.0
    assert breaker.wait(130.0) == 0.0
    breaker.tripped(131.0)  # one failed probe is enough
    assert breaker.wait(131.0) == 50.0


@pytest.mark.parametrize(
    "error",
    [
        LATE,
        limited(429),
        limited(529),
        failing(500),
        UpstreamError(Failure.CONNECTION),
        rejected(401, account=True),
    ],
    ids=str,
)
def test_five_failures_in_a_row_hold_the_classifier_back_for_thirty_seconds(error: UpstreamError) -> None:
    outages = after(*[error] * 4)
    assert not outages.hold_back(HAIKU, 100.0)
    assert outages.ended(HAIKU, error, 100.0) == 30.0
    assert outages.hold_back(HAIKU, 129.9)
    assert not outages.hold_back(HAIKU, 130.0)  # the probe
    assert outages.hold_back(HAIKU, 130.0)


@pytest.mark.parametrize(
    "error", [rejected(400), NotCovered("budget:tenant-day", "no"), DeadlinePassed("late"), asyncio.CancelledError()]
)
def test_what_one_caller_brings_about_never_switches_the_labels_of_others_off(error: BaseException) -> None:
    outages = after(*[error] * 50)
    assert not outages.hold_back(HAIKU, 100.0)
    assert not after(*[LATE] * 4, error).hold_back(HAIKU, 100.0)


def test_an_answer_between_failures_starts_the_count_anew() -> None:
    assert not after(*[LATE] * 4, None, *[LATE] * 4).hold_back(HAIKU, 100.0)


def test_each_classifier_has_a_breaker_of_its_own() -> None:
    outages = after(*[LATE] * 5)
    assert outages.hold_back(HAIKU, 100.0)
    assert not outages.hold_back("claude-haiku-4-5", 100.0)


def test_a_probe_that_is_left_is_no_answer_and_the_next_caller_probes_a_second_later() -> None:
    outages = after(*[LATE] * 5)
    assert not outages.hold_back(HAIKU, 130.0)
    assert outages.ended(HAIKU, asyncio.CancelledError(), 131.0) is None
    assert outages.hold_back(HAIKU, 131.5)
    assert not outages.hold_back(HAIKU, 132.0)


def test_only_the_failure_that_opens_it_is_told() -> None:
    outages = Outages()
    told = [outages.ended(HAIKU, LATE, 100.0) for _ in range(7)]
    assert told == [None, None, None, None, 30.0, None, None]


# --- requests


def label(world: World, patience: Patience = INTERACTIVE, asked: Request | None = None) -> tuple[Labelled, Record]:
    trip = world.trip(asked or world.request(deadline=world.clock.monotonic() + 800))

    async def find() -> Labelled:
        labeller = world.router.decider.labeller
        found = await labeller.look_up(trip) or await labeller.classify(labeller.question(trip), trip, patience)
        for task in trip.pending:
            await task
        return found

    return run(find()), trip.record


def broken(world: World) -> None:
    """Five callers wait for a classifier that is late."""
    world.claude.takes = 60.0
    for _ in range(5):
        label(world)
    world.claude.takes = 0.0


def test_callers_do_not_wait_for_a_classifier_that_was_late_five_times() -> None:
    world = World()
    broken(world)
    before = world.clock.monotonic()
    found, told = label(world)
    assert found == Labelled(Label.MODERATE, "default")
    assert (world.clock.monotonic() - before, len(world.claude.calls)) == (0.0, 5)
    assert (told.classifier_skipped, told.classifier_failed, told.classifier_ms) == (True, False, None)
    assert world.labels.items == {}
    assert [fields for event, fields in world.telemetry.notes if event == "classifier_held_back"] == [
        {"model": HAIKU, "seconds": 30.0}
    ]


def test_one_caller_asks_when_the_time_is_up_and_its_answer_lets_all_others_ask() -> None:
    world = World(label="complex")
    broken(world)
    world.clock.advance(30.0)
    assert label(world)[0] == Labelled(Label.COMPLEX, "classifier")
    world.labels.items.clear()
    world.restart()
    assert label(world)[0] == Labelled(Label.COMPLEX, "classifier")


def test_a_known_label_is_given_while_the_classifier_is_held_back() -> None:
    world = World(label="complex")
    known = world.request("known", deadline=2_000.0)
    assert label(world, asked=known)[0].cause == "classifier"
    broken(world)
    assert label(world, asked=known)[0] == Labelled(Label.COMPLEX, "cache")


def test_a_job_asks_all_the_same() -> None:
    world = World()
    broken(world)
    assert label(world, QUEUED)[0] == Labelled(Label.SIMPLE, "classifier")


def test_an_answer_without_a_label_is_an_answer() -> None:
    world = World()
    for _ in range(3):
        world.claude.labels.extend([LATE, LATE, LATE, LATE, "gigantic"])
    assert [label(world)[1].classifier_skipped for _ in range(15)] == [False] * 15


def test_a_caller_who_leaves_while_it_probes_leaves_the_probing_to_the_next() -> None:
    world = World()
    broken(world)
    world.clock.advance(30.0)
    world.claude.labels.append(NEVER)

    async def leave() -> None:
        trip = await world.router.decider.trip(world.request(), Record("req_1", "acme", {}))
        labeller = world.router.decider.labeller
        task = asyncio.create_task(labeller.classify(labeller.question(trip), trip, INTERACTIVE))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait({task})

    run(leave())
    world.clock.advance(1.0)
    assert label(world)[0].cause == "classifier"
