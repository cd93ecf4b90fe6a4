"""The sample store: which requests are kept, with what, and that keeping them costs nobody an answer."""

import dataclasses
import json
from typing import Any

import pytest

from cost_router.core import sampling
from cost_router.core.errors import StoreError
from cost_router.core.ports import Event
from cost_router.core.pricing import Usage
from cost_router.core.request import UNSAMPLED
from cost_router.core.samples import takes
from tests.builders import World, event, failing, job, message_body, run, tenant
from tests.unit.handlers.client import post

ENDED = b'data: {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 10}}\n\n'


def world(*tenants: Any, percent: int = 100, **fields: Any) -> World:
    made = World(*tenants, **fields)
    made.router_settings = dataclasses.replace(made.router_settings, sample_percent=percent)
    return made


def streamed(text: str = "the answer") -> list[object]:
    """The events of a whole message, as Claude sends them."""
    usage = Usage(input_tokens=100, output_tokens=10)
    started = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "usage": {"input_tokens": 100}}
    return [
        event("message_start", dataclasses.replace(usage, output_tokens=1), message=started),
        event("ping"),
        event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": text}),
        event("content_block_stop", index=0),
        Event(ENDED, "message_delta", usage, final=True),
        event("message_stop"),
    ]


def test_a_request_is_kept_whole_with_its_answer_and_what_was_decided_and_paid() -> None:
    made = world(tenant("acme", tags={"team": "shop"}), label="moderate")
    body = message_body(system="Be brief.", metadata={"user_id": "u1"}, router={"tags": {"customer": "x"}})
    response = post(made, body)
    [kept] = made.samples.items
    assert kept.params == {name: value for name, value in body.items() if name != "router"}
    assert kept.answer == response.json()
    assert kept.id == response.headers["x-router-request-id"]
    assert (kept.label, kept.cause, kept.model) == ("moderate", "classifier", "claude-sonnet-5-5")
    assert (kept.tenant, kept.tags, kept.day) == ("acme", {"customer": "x", "team": "shop"}, "2026-11-23")
    assert f"{kept.cost_usd:f}" == response.headers["x-router-cost-usd"]


def test_a_streamed_answer_is_kept_as_the_message_that_its_events_make() -> None:
    made = world(script=[streamed()])
    response = post(made, message_body(stream=True))
    [kept] = made.samples.items
    assert kept.answer["content"] == [{"type": "text", "text": "the answer"}]
    assert (kept.answer["stop_reason"], kept.answer["usage"]) == (
        "end_turn",
        {"input_tokens": 100, "output_tokens": 10},
    )
    assert f"x-router-cost-usd={kept.cost_usd:f} " in response.text


def test_a_stream_that_breaks_is_not_kept() -> None:
    made = world(script=[[*streamed()[:4], failing()]])
    assert "event: error" in post(made, message_body(stream=True)).text
    assert (made.samples.items, made.telemetry.notes) == ([], [])


def test_without_the_setting_nothing_is_kept() -> None:
    made = world(percent=0)
    post(made, message_body())
    assert made.router.sampler is None
    assert made.samples.items == []


def test_what_is_pinned_or_exempt_or_no_request_for_an_answer_is_not_kept() -> None:
    made = world(tenant("acme"), tenant("default"))
    post(made, message_body(model="haiku"))
    post(made, message_body(), "/v1/route")
    post(made, message_body(), headers={"x-router-sample": "off"})
    post(made, message_body(router={"sample": "off"}))
    run(made.door().drain({"Records": [job()]}, 900.0))
    assert len(made.claude.answer_calls) == 4
    private = world(tenant("acme", options=frozenset({UNSAMPLED})))
    assert post(private, message_body(), headers={"x-router-sample": "on"}).status_code == 200
    assert (made.samples.items, private.samples.items) == ([], [])


@pytest.mark.parametrize("value", ["no", "", "OFF"])
def test_another_word_than_on_and_off_is_refused(value: str) -> None:
    assert post(world(), message_body(), headers={"x-router-sample": value}).status_code == 400


def test_the_share_is_stable_and_about_what_was_asked_for() -> None:
    made = world()
    trips = [made.trip(made.request(id_=f"req_{number}")) for number in range(2_000)]
    chosen = [{trip.request.id for trip in trips if takes(trip, percent)} for percent in (0, 5, 20, 100)]
    assert chosen[0] < chosen[1] < chosen[2] < chosen[3], "who is in a small share is in a larger one"
    assert (len(chosen[0]), len(chosen[3])) == (0, 2_000)
    assert 60 < len(chosen[1]) < 140
    assert 330 < len(chosen[2]) < 470


@pytest.mark.parametrize("broken", [StoreError("s3.put_object: AccessDenied"), RuntimeError("a defect")])
def test_a_sample_that_cannot_be_kept_costs_no_answer(broken: Exception) -> None:
    made = world(script=[Usage(input_tokens=100, output_tokens=10), streamed()])
    made.samples.broken = broken
    assert post(made, message_body()).status_code == 200
    assert "message_stop" in post(made, message_body(stream=True)).text
    assert len([entry for entry in made.ledger.entries if entry.purpose == "answer"]) == 2
    told = [name for name, _ in made.telemetry.notes], made.telemetry.defects
    assert told == ((["sample_failed"] * 2, []) if isinstance(broken, StoreError) else ([], [broken] * 2))
    assert "great shoes" not in json.dumps(made.telemetry.notes).lower()


def test_events_that_make_no_message_cost_no_answer_either() -> None:
    made = world(script=[[*streamed()[:2], event("content_block_start", index=7), *streamed()[3:]]])
    assert "message_stop" in post(made, message_body(stream=True)).text
    assert [name for name, _ in made.telemetry.notes] == ["sample_failed"]


def test_what_is_too_long_is_not_kept_and_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "MOST_BYTES", 50)
    monkeypatch.setattr(sampling, "MOST_EVENT_BYTES", 600)
    made = world(script=[Usage(input_tokens=100, output_tokens=10), streamed("x" * 600)])
    assert post(made, message_body()).status_code == 200
    assert "x" * 600 in post(made, message_body(stream=True)).text
    assert (made.samples.items, made.telemetry.notes) == ([], [])
    sampler = made.router.sampler
    assert sampler
    tape = sampler.tape(made.trip())
    assert tape
    for _ in range(3):
        tape.add(event("ping", text="x" * 300))
    assert tape.events == []


def test_an_answer_that_fails_is_not_kept() -> None:
    made = world(script=[failing()] * 9)
    assert post(made, message_body()).status_code == 500
    assert made.samples.items == []
