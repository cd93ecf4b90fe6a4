"""An answer that begins before the label is known: when it is used, what it costs when it is not, and when never."""

import asyncio
import contextlib
import datetime as dt
import itertools
import json
from decimal import Decimal
from typing import Any

import pytest

from cost_router.core.budget import AMPLE, refusal
from cost_router.core.errors import BudgetExhausted, Failure, NotConfigured, RouterError, UpstreamError
from cost_router.core.ledger import Entry
from cost_router.core.policy import Choice
from cost_router.core.ports import Event
from cost_router.core.pricing import Usage
from cost_router.core.record import Record
from cost_router.core.request import Hints, Request
from cost_router.core.routing import Routing, Rung
from cost_router.core.words import Label, Tier
from tests.builders import (
    NEVER,
    FakeStream,
    Late,
    World,
    event,
    failing,
    job,
    limited,
    model,
    record,
    rejected,
    run,
    streamed_steps,
    tenant,
)

HAIKU, SONNET, OPUS = "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"
ON = Hints(speculate=True)
USAGE = Usage(input_tokens=1_000, output_tokens=50)
EXACT = Decimal("0.000125")  # on haiku: $0.0001 of input, $0.000025 of output
UNUSED = Decimal("0.00015")  # the same with all of 100 `max_tokens`
LOST = UpstreamError(Failure.CONNECTION, maybe_billed=True)
BEGUN = [*streamed_steps(USAGE)[:4], NEVER]  # content has come, the end does not
WAYS = ["streamed", "whole"]


def asking(world: World, way: str = "whole", **changes: Any) -> Request:
    stream = {"stream": True} if way == "streamed" else {}
    return world.request(**{"hints": ON, **stream, **changes})


async def go(world: World, way: str, told: Record | None = None, **changes: Any) -> str:
    """The text that the caller gets."""
    request, told = asking(world, way, **changes), told or record()
    if way == "whole":
        reply = (await world.router.answer(request, told)).reply
        assert json.loads(reply.content) == reply.message
        return str(reply.message["content"][0]["text"])
    raw = b""
    async with await world.router.answer_stream(request, told) as answer:
        while (found := await answer.next()) is not None:
            raw += found.raw
    return "the answer" if b"the answer" in raw else raw.decode()


def served(world: World, way: str = "whole", **changes: Any) -> Record:
    told = record()
    assert run(go(world, way, told, **changes)) == "the answer"
    assert world.ledger.open == {}
    assert all(stream.closed for stream in world.claude.streams)
    return told


def failed(world: World, way: str = "whole", **changes: Any) -> RouterError:
    with pytest.raises(RouterError) as raised:
        run(go(world, way, **changes))
    assert world.ledger.open == {}
    return raised.value


def booked(world: World) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(entry.purpose, entry.model, entry.flags) for entry in world.ledger.entries]


def begun(world: World, left: int) -> bool:
    """Whether a stream has been read until so many steps are left."""
    return any(len(stream.steps) == left for stream in world.claude.streams)


CLASSIFIED = ("classifier", HAIKU, ())
ABANDONED = ("speculative", HAIKU, ("ambiguous", "abandoned"))


def first_of(world: World, purpose: str) -> Entry:
    return next(entry for entry in world.ledger.entries if entry.purpose == purpose)


# --- it is used


@pytest.mark.parametrize("way", WAYS)
def test_a_simple_request_gets_the_answer_that_has_begun_and_pays_for_nothing_else(way: str) -> None:
    world = World(label="simple", script=[streamed_steps(USAGE)])
    told = served(world, way)
    assert (told.speculation, told.cause, told.tier, told.label) == ("used", "classifier", Tier.HAIKU, "simple")
    assert (told.usage, told.upstream_request_id) == (USAGE, "req_upstream")
    assert booked(world) == [CLASSIFIED, ("answer", HAIKU, ())]
    entry = first_of(world, "answer")
    assert (entry.cost_usd, entry.usage, entry.label, entry.cause) == (EXACT, USAGE, "simple", "classifier")
    assert entry.baseline_usd == Decimal("0.005")
    assert world.claude.answer_models == [HAIKU]
    assert world.claude.answer_calls[0].body["stream"] is True


def test_a_caller_who_streams_gets_its_events_from_the_first_and_as_they_are() -> None:
    steps = streamed_steps(USAGE)
    world = World(script=[list(steps)])

    async def read() -> list[Event]:
        async with await world.router.answer_stream(asking(world, "streamed"), record()) as answer:
            return [found async for found in events_of(answer)]

    async def events_of(answer: Any) -> Any:
        while (found := await answer.next()) is not None:
            yield found

    assert run(read()) == steps


@pytest.mark.parametrize("way", WAYS)
def test_the_answer_begins_while_the_label_is_not_known(way: str) -> None:
    world = World(script=[streamed_steps(USAGE)])
    world.claude.label = Late(lambda: begun(world, 4), "simple")
    assert served(world, way).speculation == "used"


@pytest.mark.parametrize("way", WAYS)
def test_a_label_that_comes_first_waits_for_the_answer_that_has_begun(way: str) -> None:
    world = World(label="simple", script=[[*streamed_steps(USAGE)[:1], 1.0, 1.0, *streamed_steps(USAGE)[1:]]])
    assert served(world, way).speculation == "used"
    assert len(world.claude.answer_calls) == 1


def test_the_message_is_put_together_and_keeps_the_headers_and_the_usage_of_its_stream() -> None:
    world = World(script=[streamed_steps(USAGE)])
    reply = run(world.router.answer(asking(world), record())).reply
    assert reply.message == {
        "id": "msg_1",
        "content": [{"type": "text", "text": "the answer"}],
        "stop_reason": "end_turn",
    }
    assert (reply.usage, reply.request_id) == (USAGE, "req_upstream")
    assert reply.headers == {"request-id": "req_upstream"}


def test_a_tenants_option_turns_it_on_and_its_caller_may_turn_it_off() -> None:
    keen = tenant("acme", options=frozenset({"speculate"}))
    assert served(World(keen), hints=Hints()).speculation == "used"
    assert served(World(keen), hints=Hints(speculate=False)).speculation is None


def test_another_label_that_means_the_very_same_call_gets_the_answer_that_has_begun() -> None:
    world = World(label="moderate", routing=Routing(ladder={Label.MODERATE: Rung(Tier.HAIKU)}))
    assert served(world).speculation == "used"
    assert first_of(world, "answer").label == "moderate"


# --- it is not used


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("label", "served_by"), [("moderate", SONNET), ("complex", OPUS)])
def test_another_label_ends_it_and_what_it_cost_is_booked_as_abandoned(way: str, label: str, served_by: str) -> None:
    world = World(script=[list(BEGUN)])
    world.claude.label = Late(lambda: begun(world, 2), label)
    told = served(world, way)
    assert (told.speculation, told.model, told.cause) == ("abandoned", served_by, "classifier")
    assert booked(world) == [CLASSIFIED, ABANDONED, ("answer", served_by, ())]
    entry = first_of(world, "speculative")
    assert (entry.cost_usd, entry.baseline_usd) == (UNUSED, Decimal(0))
    assert (entry.label, entry.cause, entry.upstream_request_id) == (None, "speculation", "req_upstream")
    assert told.bill.cost_usd == sum(entry.cost_usd for entry in world.ledger.entries)
    assert world.claude.answer_models == [HAIKU, served_by]


@pytest.mark.parametrize("steps", [[NEVER], [*BEGUN[:2], NEVER]], ids=["nothing", "no content"])
def test_one_that_has_not_come_so_far_is_ended_too(steps: list[object]) -> None:
    world = World(script=[steps])
    world.claude.label = Late(lambda: begun(world, 0), "complex")
    assert served(world).speculation == "abandoned"
    assert booked(world) == [CLASSIFIED, ABANDONED, ("answer", OPUS, ())]


def test_one_that_never_left_the_house_costs_nothing() -> None:
    """Where the classifier is not asked after all, the label is there before the call is made."""
    world = World()
    outages = world.router.decider.labeller.outages
    for _ in range(20):
        outages.ended(HAIKU, failing(), world.clock.monotonic())
    assert served(world).speculation is None
    assert booked(world) == [("answer", SONNET, ())]


def test_a_classifier_that_fails_means_moderate_and_ends_it() -> None:
    world = World(script=[list(BEGUN)])
    world.claude.label = Late(lambda: bool(world.claude.streams), failing())
    told = served(world)
    assert (told.speculation, told.cause, told.model) == ("abandoned", "default", SONNET)


def test_a_label_with_another_effort_gets_an_answer_of_its_own() -> None:
    world = World(routing=Routing(ladder={Label.MODERATE: Rung(Tier.HAIKU, "low")}), script=[list(BEGUN)])
    world.claude.label = Late(lambda: begun(world, 2), "moderate")
    assert served(world).speculation == "abandoned"
    assert [call.body.get("output_config") for call in world.claude.answer_calls] == [None, {"effort": "low"}]
    assert booked(world) == [CLASSIFIED, ABANDONED, ("answer", HAIKU, ())]


def test_it_asks_what_a_simple_request_would() -> None:
    routing = Routing(ladder={Label.SIMPLE: Rung(Tier.HAIKU, "low")}, max_tokens={Label.SIMPLE: 64})
    world = World(routing=routing)
    assert served(world, hints=Hints(speculate=True, max_tokens=True)).speculation == "used"
    (call,) = world.claude.answer_calls
    assert (call.body["output_config"], call.body["max_tokens"]) == ({"effort": "low"}, 64)


# --- it fails


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("error", [limited(), limited(529), failing()], ids=["429", "529", "500"])
def test_one_that_fails_counts_as_the_first_try_of_a_simple_request(way: str, error: UpstreamError) -> None:
    world = World(script=[error, streamed_steps(USAGE) if way == "streamed" else USAGE])
    assert served(world, way).speculation is None
    assert world.claude.answer_models == [HAIKU, HAIKU]
    assert booked(world) == [CLASSIFIED, ("answer", HAIKU, ())]
    assert len(world.clock.slept) == 1


def test_one_that_is_refused_is_not_asked_again_unstreamed() -> None:
    world = World(script=[rejected(400)])
    error = failed(world)
    assert isinstance(error, UpstreamError)
    assert error.status == 400
    assert len(world.claude.answer_calls) == 1


@pytest.mark.parametrize("error", [limited(), failing(), rejected(400), NotConfigured("no key")])
def test_one_that_fails_is_nothing_to_a_complex_request(error: Exception) -> None:
    world = World(script=[error])
    world.claude.label = Late(lambda: not world.claude.script, "complex")
    assert served(world).speculation is None
    assert booked(world) == [CLASSIFIED, ("answer", OPUS, ())]


def test_one_that_could_not_be_made_is_made_the_usual_way() -> None:
    world = World(label="simple", script=[NotConfigured("no key")])
    assert served(world).speculation is None
    assert booked(world) == [CLASSIFIED, ("answer", HAIKU, ())]


@pytest.mark.parametrize("label", ["simple", "complex"])
def test_one_that_fails_and_may_have_been_paid_for_is_booked(label: str) -> None:
    world = World(script=[LOST])
    world.claude.label = Late(lambda: not world.claude.script, label)
    assert served(world).speculation == "abandoned"
    assert booked(world)[0] == ("speculative", HAIKU, ("ambiguous",))
    assert booked(world)[-1] == ("answer", HAIKU if label == "simple" else OPUS, ())


def test_a_whole_answer_that_breaks_midway_is_asked_for_again_and_both_are_booked() -> None:
    world = World(label="simple", script=[[*BEGUN[:4], LOST]])
    served(world)
    assert booked(world) == [CLASSIFIED, ("answer", HAIKU, ("ambiguous",)), ("answer", HAIKU, ())]


def test_a_streamed_answer_that_breaks_midway_is_the_callers() -> None:
    world = World(label="simple", script=[[*BEGUN[:4], LOST]])
    assert isinstance(failed(world, "streamed"), UpstreamError)
    assert booked(world) == [CLASSIFIED, ("answer", HAIKU, ("ambiguous",))]


def test_events_that_are_no_message_that_is_understood_are_asked_for_again_unstreamed() -> None:
    odd = event("content_block_delta", index=0, delta={"type": "audio_delta", "audio": "secret"})
    world = World(label="simple", script=[[*BEGUN[:3], odd, NEVER]])
    assert served(world).speculation == "abandoned"
    assert booked(world) == [CLASSIFIED, ABANDONED, ("answer", HAIKU, ())]
    assert "stream" not in world.claude.answer_calls[1].body
    ((name, fields),) = world.telemetry.notes
    assert name == "stream_not_assembled"
    assert "secret" not in str(fields)


def test_a_tool_call_that_the_tokens_end_is_used_as_far_as_it_came_and_not_paid_twice() -> None:
    start, ping, *_ = streamed_steps(USAGE)
    tool = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
    piece = {"type": "input_json_delta", "partial_json": '{"city": "Bern", "days": [1, 2, "thr'}
    steps = [
        start,
        ping,
        event("content_block_start", index=0, content_block=tool),
        event("content_block_delta", index=0, delta=piece),
        event("content_block_stop", index=0),
        event("message_delta", USAGE, final=True, delta={"stop_reason": "max_tokens"}),
        event("message_stop"),
    ]
    world = World(label="simple", script=[steps])
    told = record()
    message = run(world.router.answer(asking(world), told)).reply.message
    assert message["content"] == [{**tool, "input": {"city": "Bern", "days": [1, 2]}}]
    assert (message["stop_reason"], told.speculation) == ("max_tokens", "used")
    assert booked(world) == [CLASSIFIED, ("answer", HAIKU, ())]
    assert first_of(world, "answer").cost_usd == EXACT


def test_events_that_are_not_understood_pass_to_a_caller_who_streams() -> None:
    odd = event("content_block_delta", index=0, delta={"type": "audio_delta", "audio": "aGk="})
    steps = streamed_steps(USAGE)
    world = World(label="simple", script=[[*steps[:3], odd, *steps[3:]]])
    assert served(world, "streamed").speculation == "used"


# --- when it does not begin


CODE = "\n".join(f"total_{number} = add(total_{number}, {number})" for number in range(20))
NEVER_BEGUN: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nobody asked for it": ({}, {"hints": Hints()}),
    "a tier by name": ({}, {"model": "haiku"}),
    "a rule that lets nothing be simple": ({}, {"text": f"What is this?\n```python\n{CODE}\n```"}),
    "a floor above haiku": ({}, {"hints": Hints(speculate=True, floor=Tier.SONNET)}),
    "a ceiling that leaves one tier": ({}, {"hints": Hints(speculate=True, ceiling=Tier.HAIKU)}),
    "simple requests go elsewhere": ({"routing": Routing(ladder={Label.SIMPLE: Rung(Tier.SONNET)})}, {}),
    "searches on the web": (
        {"budget": None},
        {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 1}]},
    ),
    "a cascade": ({}, {"hints": Hints(speculate=True, cascade=("non-empty",))}),
    "a cap that covers one call": ({}, {"hints": Hints(speculate=True, max_cost_usd=Decimal("0.0042"))}),
    "a budget without ample room": ({"budget": Decimal("0.03")}, {}),
}


@pytest.mark.parametrize("story", NEVER_BEGUN)
def test_it_does_not_begin(story: str) -> None:
    made, changes = NEVER_BEGUN[story]
    world = World(label="complex", **made)
    assert served(world, **changes).speculation is None
    assert len(world.claude.answer_calls) == 1
    assert "stream" not in world.claude.answer_calls[0].body


def test_a_label_from_the_cache_has_nothing_to_wait_for() -> None:
    world = World()
    assert served(world).speculation == "used"
    assert served(world, id_="req_2").speculation is None


def test_it_does_not_begin_while_nobody_knows_what_a_budget_covers() -> None:
    world = World(without_store=True, label="complex")
    world.ledger.counter_down = True
    assert served(world).speculation is None


def test_jobs_have_time() -> None:
    world = World(tenant("acme", options=frozenset({"speculate"})), tenant("default"), label="complex")
    run(world.door().drain({"Records": [job(tenant="acme")]}, 600.0))
    assert [entry.purpose for entry in world.ledger.entries] == ["classifier", "answer"]
    assert world.results.items
    assert "stream" not in world.claude.answer_calls[0].body


# --- money


def haiku_bound(world: World) -> Decimal:
    return world.router.decider.most(Choice(model(HAIKU), Tier.HAIKU, "any"), world.trip())


def amount_together(world: World) -> Decimal:
    """What a request puts aside that speculates."""
    served(world)
    return world.ledger.reserved[0].amount_usd


def test_the_money_for_all_three_calls_is_put_aside_in_one_write_before_any() -> None:
    plain, keen = World(label="complex"), World(label="complex")
    served(plain, hints=Hints())
    (usual,), together = plain.ledger.reserved, amount_together(keen)
    assert len(keen.ledger.reserved) == 1
    assert together == usual.amount_usd + haiku_bound(keen)


@pytest.mark.parametrize(("missing", "outcome"), [(Decimal(0), "used"), (Decimal("0.000001"), None)])
def test_it_begins_only_where_a_budget_has_ample_room_for_all(missing: Decimal, outcome: str | None) -> None:
    amount = amount_together(World())
    assert served(World(budget=AMPLE * amount - missing)).speculation == outcome


@pytest.mark.parametrize(("missing", "outcome"), [(Decimal(0), "used"), (Decimal("0.000001"), None)])
def test_it_begins_only_where_the_requests_own_cap_allows_all(missing: Decimal, outcome: str | None) -> None:
    cap = amount_together(World()) - missing
    assert served(World(), hints=Hints(speculate=True, max_cost_usd=cap)).speculation == outcome


def test_others_who_were_faster_leave_the_usual_way() -> None:
    """Between what is read and what is put aside the budget is taken: each call is covered for itself then."""
    world = World(label="complex")
    room = amount_together(World()) - Decimal("0.000001")
    standings = world.ledger.standings

    async def then_taken(*args: Any) -> Any:
        found = await standings(*args)
        world.ledger.spent_before["account"] = Decimal(10) - room
        return found

    world.ledger.standings = then_taken  # type: ignore[assignment, method-assign]  # a race, made to happen
    assert served(world).speculation is None
    assert booked(world) == [CLASSIFIED, ("answer", OPUS, ())]


def test_calls_at_once_never_count_on_the_same_money() -> None:
    """The sum is put aside beforehand; past midnight it covers nothing, and each call needs its own all the same."""
    world = World(label="simple", script=[streamed_steps(USAGE)])
    reserve = world.ledger.reserve

    async def until_midnight(reservation: Any) -> None:
        await reserve(reservation)
        if len(world.ledger.reserved) == 1:
            world.clock.at += dt.timedelta(days=1)

    world.ledger.reserve = until_midnight  # type: ignore[method-assign]  # the clock passes midnight in mid-write
    assert served(world).speculation == "used"
    yesterday, *today = world.ledger.reserved
    assert len({row.id for row in world.ledger.reserved}) == len(world.ledger.reserved) == 3
    question = world.router.decider.labeller.question(world.trip())
    assert question
    assert sum(row.amount_usd for row in today) == question.bound(world.clock.now().date()) + haiku_bound(world)
    assert yesterday.at.date() < world.clock.now().date()


def test_a_reservation_never_takes_the_number_of_one_that_was_refused() -> None:
    """Two may be under way at once: with the number of how many there are, the second would be taken for the first."""
    world = World(label="complex", budget=Decimal("0.03"))
    reserve = world.ledger.reserve

    async def refused_once(reservation: Any) -> None:
        if reservation.id.endswith("#0"):
            raise refusal(reservation.scopes[0])
        await reserve(reservation)

    world.ledger.reserve = refused_once  # type: ignore[method-assign]  # one refusal, made to happen
    trip, at = world.trip(), world.clock.now()
    call = world.router.decider.call(Choice(model(HAIKU), Tier.HAIKU, "any"), None, trip)

    async def twice() -> None:
        for _ in range(2):
            with contextlib.suppress(BudgetExhausted):
                await world.router.caller.put_aside(Decimal(1) / 1_000, call, trip, at)

    run(twice())
    assert [row.id for row in trip.reservations] == ["req_1#1"]


@pytest.mark.parametrize("error", [None, rejected(400), failing(), LOST, NotConfigured("no key"), "not covered"])
def test_a_call_that_is_over_is_under_way_no_more(error: object) -> None:
    world = World(script=[USAGE if error is None else error], budget=Decimal(error != "not covered"))
    trip = world.trip()
    call = world.router.decider.call(Choice(model(HAIKU), Tier.HAIKU, "any"), None, trip)
    with contextlib.suppress(RouterError):
        run(world.router.caller.call(call, trip, world.clock.monotonic() + 5))
    assert trip.under_way == []


# --- who waits leaves


@pytest.mark.parametrize("label", ["simple", "complex"])
@pytest.mark.parametrize("way", WAYS)
def test_whoever_leaves_at_any_moment_leaves_nothing_running_and_everything_booked_once(way: str, label: str) -> None:
    for turns in itertools.count():
        world = World(label=label)
        world.claude.label = Late(lambda world=world: bool(world.claude.streams), label)  # type: ignore[misc]  # bound now
        over = run(left_after(world, way, turns))
        ids = [entry.entry_id for entry in world.ledger.entries]
        assert len(set(ids)) == len(ids) == len(world.claude.calls), turns
        assert world.ledger.open == {}
        assert all(stream.closed for stream in world.claude.streams)
        if over:
            break
    assert turns > 10


async def left_after(world: World, way: str, turns: int) -> bool:
    """Leave after so many turns of the loop; whether the answer was over before."""
    task = asyncio.create_task(go(world, way))
    for _ in range(turns):
        await asyncio.sleep(0)
    over = task.done()
    task.cancel()
    await asyncio.wait((task,))
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return over


def test_whoever_leaves_while_it_is_being_ended_does_not_leave_its_connection_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def slowly(stream: FakeStream) -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        stream.closed = True

    monkeypatch.setattr(FakeStream, "aclose", slowly)
    for turns in range(10, 60):
        world = World(script=[list(BEGUN)])
        world.claude.label = Late(lambda world=world: begun(world, 2), "complex")  # type: ignore[misc]  # bound now
        run(left_after(world, "whole", turns))
        assert all(stream.closed for stream in world.claude.streams), turns


def test_both_calls_are_booked_when_the_caller_leaves_before_the_label() -> None:
    world = World(label=NEVER, script=[list(BEGUN)])
    run(left_after(world, "whole", 60))
    flags = ("ambiguous", "abandoned")
    assert sorted(booked(world)) == [("classifier", HAIKU, flags), ("speculative", HAIKU, flags)]
    assert first_of(world, "speculative").cost_usd == UNUSED
