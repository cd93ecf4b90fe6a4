"""Labels from memory, from the store, from the classifier; no failure of any of them fails a request."""

import dataclasses
import datetime as dt
from decimal import Decimal

import pytest

from cost_router.core.calls import INTERACTIVE, QUEUED, Patience
from cost_router.core.errors import Failure, UpstreamError
from cost_router.core.labelling import Labelled, Memory, cache_key, normalised
from cost_router.core.ledger import CLASSIFIER
from cost_router.core.pricing import Usage
from cost_router.core.record import Record
from cost_router.core.request import Hints, Request
from cost_router.core.words import Label
from tests.builders import NOW, World, failing, limited, rejected, reply, request, run, tenant

HOUR = dt.timedelta(hours=1)
SIMPLE = Label.SIMPLE


def label(world: World, asked: Request | None = None, patience: Patience = INTERACTIVE) -> tuple[Labelled, Record]:
    """The label of a request, when all writes have ended."""
    trip = world.trip(asked)

    async def find() -> Labelled:
        labeller = world.router.decider.labeller
        question = labeller.question(trip)
        found = await labeller.look_up(trip) or await labeller.classify(question, trip, patience)
        for task in trip.pending:
            await task
        return found

    return run(find()), trip.record


def test_the_first_time_the_classifier_is_asked_and_the_label_kept() -> None:
    world = World(label="complex")
    found, told = label(world)
    assert found == Labelled(Label.COMPLEX, "classifier")
    assert (told.cache, told.classifier_failed) == ("miss", False)
    assert [kept for kept, _ in world.labels.items.values()] == [Label.COMPLEX]


def test_the_second_time_the_label_comes_from_memory_even_with_the_store_down() -> None:
    world = World()
    label(world)
    world.labels.down = True
    found, told = label(world)
    assert (found, told.cache) == (Labelled(SIMPLE, "cache"), "hit")
    assert len(world.claude.calls) == 1
    assert world.telemetry.notes == []


def test_another_process_finds_the_label_in_the_store() -> None:
    world = World()
    label(world)
    world.restart()
    found, told = label(world)
    assert (found, told.cache) == (Labelled(SIMPLE, "cache"), "hit")
    assert len(world.claude.calls) == 1


@pytest.mark.parametrize("restart", [True, False])
@pytest.mark.parametrize(("seconds", "calls"), [(7 * 86_400 - 1, 1), (7 * 86_400, 2)])
def test_a_label_lives_for_its_time_and_not_a_second_longer(restart: bool, seconds: int, calls: int) -> None:  # noqa: FBT001
    world = World()
    label(world)
    world.clock.at = NOW + dt.timedelta(seconds=seconds)
    if restart:
        world.restart()
    label(world)
    assert len(world.claude.calls) == calls


def test_a_store_failure_is_a_miss() -> None:
    world = World()
    world.labels.down = True
    found, told = label(world)
    assert (found, told.cache) == (Labelled(SIMPLE, "classifier"), "miss")
    assert [(event, fields["operation"]) for event, fields in world.telemetry.notes] == [
        ("label_store_failed", "get"),
        ("label_store_failed", "put"),
    ]


FAILURES = [
    limited(429, retry_after=1.0),
    limited(529),
    failing(500),
    rejected(400),
    rejected(401),
    UpstreamError(Failure.CONNECTION),
    UpstreamError(Failure.TIMEOUT, maybe_billed=True),
    reply("claude-haiku-5-5", "I cannot say", Usage(input_tokens=1)),
    reply("claude-haiku-5-5", '{"label": "gigantic"}', Usage(input_tokens=1)),
]


@pytest.mark.parametrize("failure", FAILURES, ids=str)
def test_a_classifier_failure_means_moderate_by_default_counted_and_not_kept(failure: object) -> None:
    world = World()
    world.claude.labels.append(failure)
    found, told = label(world)
    assert found == Labelled(Label.MODERATE, "default")
    assert told.classifier_failed
    assert world.labels.items == {}
    assert [event for event, _ in world.telemetry.notes] == ["classifier_failed"]
    assert len(world.claude.calls) == 1  # one attempt
    again, _ = label(world)
    assert again == Labelled(SIMPLE, "classifier")  # not remembered either


def test_waiting_for_a_rate_limit_is_not_the_classifiers_latency() -> None:
    world = World()
    world.claude.labels.extend([limited(429, 30.0), "simple"])
    world.claude.takes = 0.2
    _, told = label(world, world.request(deadline=world.clock.monotonic() + 800), QUEUED)
    assert world.clock.slept[0] >= 30.0
    assert told.classifier_ms == pytest.approx(200.0)


def test_the_classifier_has_a_deadline_of_its_own() -> None:
    world = World()
    world.claude.takes = 60.0
    found, told = label(world)
    assert found == Labelled(Label.MODERATE, "default")
    assert world.claude.calls[0].seconds == 3.0
    assert (told.classifier_ms, told.ambiguous) == (3_000.0, 1)


def test_the_deadline_of_the_request_binds_the_classifier_too() -> None:
    world = World()
    label(world, world.request(deadline=world.clock.monotonic() + 1.5))
    assert world.claude.calls[0].seconds == 1.5


def test_a_job_waits_for_a_limit_on_the_classifier_instead_of_guessing() -> None:
    world = World()
    world.claude.labels.extend([limited(429, retry_after=20.0), limited(529)])
    found, told = label(world, world.request(deadline=world.clock.monotonic() + 800), QUEUED)
    assert found == Labelled(SIMPLE, "classifier")
    assert told.rate_limits == 2
    assert world.clock.slept[0] >= 20.0


def test_a_job_whose_limit_lasts_is_told_so() -> None:
    world = World()
    world.claude.labels.append(limited(429, retry_after=600.0))
    with pytest.raises(UpstreamError) as raised:
        label(world, world.request(deadline=world.clock.monotonic() + 800), QUEUED)
    assert raised.value.is_limit


def test_a_hanging_classifier_does_not_eat_the_time_of_a_job() -> None:
    world = World()
    world.claude.takes = 3_600.0
    found, _ = label(world, world.request(deadline=world.clock.monotonic() + 800), QUEUED)
    assert found == Labelled(Label.MODERATE, "default")
    assert world.claude.calls[0].seconds == 3.0


def test_cache_off_neither_reads_nor_writes_labels() -> None:
    world = World()
    label(world)
    found, told = label(world, world.request(hints=Hints(cache=False)))
    assert (found, told.cache) == (Labelled(SIMPLE, "classifier"), None)
    assert len(world.claude.calls) == 2
    world.labels.items.clear()
    world.restart()
    label(world, world.request(hints=Hints(cache=False)))
    assert world.labels.items == {}


def test_the_classifier_does_not_get_the_headers_of_the_caller() -> None:
    world = World()
    label(world, world.request(headers={"anthropic-beta": "context-1m", "anthropic-version": "2023-06-01"}))
    assert world.claude.calls[0].headers == {}


def test_the_classifier_call_is_entered_as_one() -> None:
    world = World()
    trip = world.trip()
    labeller = world.router.decider.labeller
    run(labeller.classify(labeller.question(trip), trip, INTERACTIVE))
    (entry,) = trip.trail.entries
    assert (entry.purpose, entry.model, entry.label, entry.baseline_usd) == (
        CLASSIFIER,
        "claude-haiku-5-5",
        None,
        Decimal(0),
    )


# --- the key

BASE = request("What is the capital of France?")


def key(asked: Request = BASE, rubric: str = "v1", model: str = "claude-haiku-5-5") -> str:
    return cache_key(asked.tenant, asked.ask, rubric, model)


@pytest.mark.parametrize(
    ("what", "other"),
    [
        ("rubric version", key(rubric="v2")),
        ("classifier model", key(model="claude-haiku-4-5")),
        ("ask", key(request("What is the capital of Spain?"))),
        ("case of the ask", key(request("what is the capital of france?"))),
        ("digest: system", key(request("What is the capital of France?", system="Be brief."))),
        ("digest: tools", key(request("What is the capital of France?", tools=[{"name": "a"}]))),
        ("tenant", key(request("What is the capital of France?", owner=tenant("other")))),
        (
            "tenant's key",
            key(request("What is the capital of France?", owner=dataclasses.replace(tenant(), label_key=b"2" * 32))),
        ),
        (
            "tenant's name",
            key(request("What is the capital of France?", owner=dataclasses.replace(tenant(), name="other"))),
        ),
    ],
)
def test_the_key_depends_on(what: str, other: str) -> None:
    assert what
    assert other != key()


@pytest.mark.parametrize(
    "variant",
    [
        "What  is the\tcapital of France?",
        "  What is the capital of France?\n",
        "What is the capital\r\n\r\n of France?",
        "What\u00a0is the capital of France?",
    ],
)
def test_the_key_is_the_same_for_white_space_variants(variant: str) -> None:
    assert key(request(variant)) == key()


def test_the_key_is_the_same_for_composed_and_decomposed_letters() -> None:
    assert key(request("caf\u00e9")) == key(request("cafe\u0301"))


def test_the_key_ignores_what_does_not_change_the_label() -> None:
    assert key(request("What is the capital of France?", max_tokens=7, temperature=1, id_="req_2")) == key()


def test_the_key_tells_the_whole_ask_apart_beyond_the_excerpt() -> None:
    long = "x" * 5_000
    assert key(request(long + "a" + long)) != key(request(long + "b" + long))


def test_the_key_and_the_store_never_hold_the_text() -> None:
    world = World()
    label(world, world.request("canary in the coal mine"))
    assert "canary" not in repr(world.labels.items)
    assert all(len(kept) == 64 and set(kept) <= set("0123456789abcdef") for kept in world.labels.items)


def test_lone_surrogates_do_not_break_the_key() -> None:
    assert key(request("\ud800")) != key()
    assert normalised(request(" a \n b ").ask) == "a b"


# --- memory


def test_memory_forgets_the_least_recently_used_label_beyond_its_capacity() -> None:
    memory = Memory(HOUR, capacity=2)
    memory.put("a", SIMPLE, NOW)
    memory.put("b", SIMPLE, NOW)
    assert memory.get("a", NOW) is SIMPLE  # now b is the oldest
    memory.put("c", SIMPLE, NOW)
    assert [memory.get(name, NOW) for name in "abc"] == [SIMPLE, None, SIMPLE]


def test_memory_holds_ten_thousand_labels() -> None:
    memory = Memory(HOUR)
    for place in range(10_001):
        memory.put(str(place), SIMPLE, NOW)
    assert memory.get("0", NOW) is None
    assert memory.get("1", NOW) is SIMPLE


def test_memory_drops_a_label_at_its_expiry() -> None:
    memory = Memory(HOUR)
    memory.put("a", SIMPLE, NOW)
    assert memory.get("a", NOW + HOUR - dt.timedelta(microseconds=1)) is SIMPLE
    assert memory.get("a", NOW + HOUR) is None
    assert memory.get("a", NOW) is None
