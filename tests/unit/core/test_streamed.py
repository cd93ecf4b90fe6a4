"""Streamed answers: what passes, what is booked however they end, and when another tier may be asked."""

import asyncio
import dataclasses
from decimal import Decimal
from typing import Any

import pytest

from cost_router.core.errors import CapExceeded, DeadlinePassed, Failure, UpstreamError
from cost_router.core.ports import Event
from cost_router.core.pricing import Usage
from cost_router.core.request import Hints, Request
from cost_router.core.streamed import StreamedAnswer
from tests.builders import NEVER, World, event, failing, limited, record, rejected, run, streamed_steps

USAGE = Usage(input_tokens=1_000, output_tokens=100)  # on opus: $0.004 + $0.002
START = event("message_start", dataclasses.replace(USAGE, output_tokens=1))
TEXT = event("content_block_delta", text="a")
DELTA = event("message_delta", USAGE, final=True)
CUT = UpstreamError(Failure.CONNECTION, maybe_billed=True, request_id="req_upstream")
OVERLOADED = UpstreamError(Failure.OVERLOADED, 529, maybe_billed=True)
EXACT, INPUT_AND_MOST_OUTPUT = Decimal("0.006"), Decimal("0.008")  # of 200 max_tokens
SOME_OUTPUT = event("message_delta", dataclasses.replace(USAGE, output_tokens=40))


def asking(world: World, **changes: Any) -> Request:
    return world.request(**{"model": "opus", "max_tokens": 200, "stream": True, **changes})


async def read(answer: StreamedAnswer) -> list[Event]:
    found = []
    async with answer:
        while (event := await answer.next()) is not None:
            found.append(event)
    return found


def served(world: World, **changes: Any) -> list[Event]:
    async def go() -> list[Event]:
        return await read(await world.router.answer_stream(asking(world, **changes), record()))

    return run(go())


def broken(world: World, **changes: Any) -> Exception:
    with pytest.raises((UpstreamError, DeadlinePassed)) as raised:
        served(world, **changes)
    return raised.value


def test_the_events_pass_as_they_are_and_the_call_is_booked_by_its_last_usage() -> None:
    steps = streamed_steps(USAGE)
    world = World(script=[list(steps)])
    assert served(world) == steps
    (entry,) = world.ledger.entries
    assert (entry.cost_usd, entry.baseline_usd, entry.usage, entry.flags) == (EXACT, EXACT, USAGE, ())
    assert (entry.upstream_request_id, entry.cause, entry.label) == ("req_upstream", "pinned", None)
    assert world.ledger.open == {}
    assert world.claude.streams[0].closed


def test_the_label_is_found_and_paid_as_for_an_unstreamed_request() -> None:
    world = World(label="moderate", script=[streamed_steps(USAGE)])
    served(world, model="auto")
    classifier, answer = world.ledger.entries
    assert (classifier.purpose, answer.purpose) == ("classifier", "answer")
    assert (answer.model, answer.cause, answer.label) == ("claude-sonnet-5-5", "classifier", "moderate")


def test_what_is_not_asked_for_is_not_read() -> None:
    world = World(script=[streamed_steps(USAGE)])

    async def go() -> int:
        async with await world.router.answer_stream(asking(world), record()) as answer:
            await answer.next()
            return len(world.claude.streams[0].steps)

    assert run(go()) == 4  # seven, less the start, the ping and the first content


def test_money_is_put_aside_before_the_call_and_until_the_stream_has_ended() -> None:
    world = World(script=[streamed_steps(USAGE)])

    async def go() -> None:
        async with await world.router.answer_stream(asking(world), record()) as answer:
            assert len(world.ledger.open) == 1
            assert world.ledger.entries == []
            await answer.next()

    run(go())
    (reserved,) = world.ledger.reserved
    assert (reserved.until - reserved.at).total_seconds() == 100 + 120  # the stream's deadline, then a margin
    assert world.ledger.open == {}


def test_nothing_is_called_when_the_money_is_not_covered() -> None:
    world = World()
    with pytest.raises(CapExceeded):
        served(world, hints=Hints(max_cost_usd=Decimal("0.0001")))
    assert world.claude.calls == []


# --- however it ends


ENDS = {
    "cut": CUT,
    "error event": OVERLOADED,
    "no message_stop": UpstreamError(Failure.SERVER, 502, maybe_billed=True),
    "silence": 240.0,
}


@pytest.mark.parametrize("end", ENDS)
def test_a_stream_that_breaks_books_its_input_and_the_most_output_as_ambiguous(end: str) -> None:
    world = World(script=[[START, TEXT, SOME_OUTPUT, ENDS[end], NEVER]])
    assert isinstance(broken(world, stream_deadline=world.clock.monotonic() + 895), UpstreamError)
    (entry,) = world.ledger.entries
    assert (entry.cost_usd, entry.baseline_usd) == (INPUT_AND_MOST_OUTPUT, Decimal(0))
    assert (entry.usage, entry.flags) == (dataclasses.replace(USAGE, output_tokens=40), ("ambiguous",))
    assert world.claude.answer_models == ["claude-opus-5-5"]


def test_a_stream_that_breaks_after_the_final_usage_is_booked_exactly() -> None:
    world = World(script=[[START, TEXT, dataclasses.replace(DELTA, usage=Usage(1_000, output_tokens=10)), CUT]])
    broken(world)
    (entry,) = world.ledger.entries
    assert (entry.cost_usd, entry.flags) == (Decimal("0.0042"), ())


@pytest.mark.parametrize("steps", [[TEXT, CUT], [event("message_start"), TEXT, CUT]])
def test_without_any_usage_the_whole_bound_is_booked(steps: list[object]) -> None:
    world = World(script=[steps])
    broken(world)
    (entry,) = world.ledger.entries
    assert entry.cost_usd == world.ledger.reserved[0].amount_usd > 0
    assert entry.flags == ("ambiguous",)


def test_a_broken_call_that_may_search_the_web_is_booked_at_its_whole_bound() -> None:
    """Searches add input as they go, so what `message_start` told is not all."""
    world = World(script=[[START, TEXT, CUT]])
    broken(world, tools=[{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}])
    (entry,) = world.ledger.entries
    assert (entry.cost_usd, entry.flags) == (world.ledger.reserved[0].amount_usd, ("ambiguous",))


def test_a_whole_answer_at_a_speed_without_a_price_is_booked_at_its_bound() -> None:
    world = World(script=[streamed_steps(dataclasses.replace(USAGE, speed="hasty"))])
    served(world)
    (entry,) = world.ledger.entries
    assert (entry.cost_usd, entry.flags) == (world.ledger.reserved[0].amount_usd, ("ambiguous",))


def test_a_whole_answer_without_usage_is_passed_on_and_booked_at_its_bound() -> None:
    steps = [event("message_start"), TEXT, event("message_delta"), event("message_stop")]
    world = World(script=[list(steps)])
    assert served(world) == steps
    (entry,) = world.ledger.entries
    assert (entry.cost_usd, entry.flags) == (world.ledger.reserved[0].amount_usd, ("ambiguous",))


def test_the_deadline_of_a_stream_is_its_own_and_ends_it() -> None:
    world = World(script=[[START, TEXT, 60.0, TEXT, 60.0, TEXT]])
    error = broken(world)  # 25 s to begin, 100 s in all
    assert isinstance(error, DeadlinePassed)
    assert "queue" in str(error)
    assert world.ledger.entries[0].flags == ("ambiguous",)


def test_a_caller_who_leaves_cancels_the_call_and_it_is_booked() -> None:
    world = World(script=[[START, TEXT, NEVER]])

    async def go() -> None:
        task = asyncio.create_task(read(await world.router.answer_stream(asking(world), record())))
        for _ in range(10):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    run(go())
    (entry,) = world.ledger.entries
    assert (entry.cost_usd, entry.flags) == (INPUT_AND_MOST_OUTPUT, ("ambiguous", "abandoned"))
    assert world.claude.streams[0].closed
    assert world.ledger.open == {}


def test_a_caller_who_leaves_before_the_content_is_booked_too() -> None:
    world = World(script=[[START, NEVER]])

    async def go() -> None:
        task = asyncio.create_task(world.router.answer_stream(asking(world), record()))
        for _ in range(20):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    run(go())
    assert [entry.flags for entry in world.ledger.entries] == [("ambiguous", "abandoned")]
    assert world.claude.streams[0].closed


def test_a_caller_who_leaves_after_the_final_usage_is_booked_exactly_without_a_baseline() -> None:
    world = World(script=[[START, TEXT, DELTA, NEVER]])

    async def go() -> None:
        async with await world.router.answer_stream(asking(world), record()) as answer:
            for _ in range(3):
                await answer.next()

    run(go())
    (entry,) = world.ledger.entries
    assert (entry.cost_usd, entry.baseline_usd, entry.flags) == (EXACT, Decimal(0), ("abandoned",))


@pytest.mark.parametrize("after", range(6))
def test_being_cancelled_while_booking_does_not_lose_the_booking(after: int) -> None:
    world = World(script=[streamed_steps(USAGE)])

    async def go() -> None:
        answer = await world.router.answer_stream(asking(world), record())
        while await answer.next() is not None:
            pass
        task = asyncio.create_task(answer.__aexit__(None, None, None))
        for _ in range(after):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        if task.cancelled() and after == 0:  # it had not begun: then nobody has left the block yet
            await answer.__aexit__(None, None, None)

    run(go())
    assert [entry.cost_usd for entry in world.ledger.entries] == [EXACT]


# --- before the first content


BEFORE_CONTENT: dict[str, list[object]] = {
    "overloaded": [limited(529)] * 2,
    "server": [failing()] * 2,
    "cut": [CUT] * 2,
    "cut after the start": [[START, CUT]] * 2,
    "error event": [[START, event("ping"), OVERLOADED]] * 2,
}


@pytest.mark.parametrize("story", BEFORE_CONTENT)
def test_before_the_first_content_another_tier_is_asked(story: str) -> None:
    world = World(script=[*BEFORE_CONTENT[story], streamed_steps(USAGE)])
    assert served(world) == streamed_steps(USAGE)
    assert world.claude.answer_models == ["claude-opus-5-5", "claude-opus-5-5", "claude-sonnet-5-5"]
    last = world.ledger.entries[-1]
    assert (last.cause, last.flags) == ("fallback:opus", ())


def test_what_was_begun_and_given_up_is_booked_beside_the_answer() -> None:
    world = World(script=[[START, CUT], [START, CUT], streamed_steps(USAGE)])
    served(world)
    assert [(entry.tier.word, entry.flags) for entry in world.ledger.entries] == [
        ("opus", ("ambiguous",)),
        ("opus", ("ambiguous",)),
        ("sonnet", ()),
    ]
    assert all(stream.closed for stream in world.claude.streams)


def test_a_tier_that_does_not_begin_in_time_leaves_time_for_the_next() -> None:
    world = World(script=[[START, 1_000.0], streamed_steps(USAGE)])
    served(world)
    assert world.claude.answer_models == ["claude-opus-5-5", "claude-sonnet-5-5"]


def test_a_refusal_is_raised_as_it_is_and_not_booked() -> None:
    world = World(script=[rejected(400)])
    error = broken(world)
    assert isinstance(error, UpstreamError)
    assert error.status == 400
    assert world.ledger.entries == []
    assert world.ledger.open == {}


def test_after_the_first_content_no_other_tier_is_asked() -> None:
    world = World(script=[[START, TEXT, OVERLOADED], streamed_steps()])
    broken(world)
    assert len(world.claude.calls) == 1
