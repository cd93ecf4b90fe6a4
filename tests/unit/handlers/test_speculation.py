"""Speculative execution as a caller over HTTP sees it: whole answers, streamed ones, and what they are said to cost."""

import re
from decimal import Decimal
from typing import Any

import pytest

from cost_router.core.pricing import Usage
from tests.builders import NEVER, Late, World, message_body, streamed_steps
from tests.unit.handlers.client import post

USAGE = Usage(input_tokens=1_000, output_tokens=50)
ON = {"x-router-speculate": "on"}
CLASSIFIER, HAIKU, UNUSED = Decimal("0.000044"), Decimal("0.000125"), Decimal("0.00015")
BODIES: dict[str, dict[str, Any]] = {"whole": {}, "streamed": {"stream": True}}


def cost_in(text: str, headers: Any) -> Decimal:
    found = re.search(r"x-router-cost-usd=(\S+)", text)
    return Decimal(found[1] if found else headers["x-router-cost-usd"])


@pytest.mark.parametrize("way", BODIES)
def test_a_simple_request_is_answered_by_the_call_that_has_begun(way: str) -> None:
    world = World(script=[streamed_steps(USAGE)])
    answer = post(world, message_body(**BODIES[way]), headers=ON)
    assert (answer.status_code, answer.headers["x-router-tier"]) == (200, "haiku")
    assert answer.headers["x-router-cause"] == "classifier"
    assert "the answer" in answer.text
    assert ("event: message_stop" in answer.text) == (way == "streamed")
    assert cost_in(answer.text, answer.headers) == CLASSIFIER + HAIKU
    assert world.telemetry.records[0].speculation == "used"


@pytest.mark.parametrize("way", BODIES)
def test_a_complex_request_is_said_to_cost_what_was_abandoned_too(way: str) -> None:
    world = World(
        script=[
            [*streamed_steps(USAGE)[:4], NEVER],
            streamed_steps() if way == "streamed" else Usage(100, output_tokens=10),
        ]
    )
    world.claude.label = Late(lambda: any(len(stream.steps) == 2 for stream in world.claude.streams), "complex")
    answer = post(world, message_body(**BODIES[way]), headers=ON)
    assert (answer.status_code, answer.headers["x-router-tier"]) == (200, "opus")
    assert cost_in(answer.text, answer.headers) == CLASSIFIER + UNUSED + Decimal("0.0006")
    assert [entry.purpose for entry in world.ledger.entries] == ["classifier", "speculative", "answer"]
    assert world.telemetry.records[0].speculation == "abandoned"


def test_it_may_be_asked_for_in_the_body_and_the_header_wins() -> None:
    asked = message_body(router={"speculate": "on"})
    for headers, told in (({}, "used"), ({"x-router-speculate": "off"}, None)):
        world = World(script=[streamed_steps(USAGE) if told else USAGE])
        assert post(world, asked, headers=headers).status_code == 200
        assert world.telemetry.records[0].speculation == told


def test_a_dry_run_begins_nothing() -> None:
    world = World()
    assert post(world, message_body(), "/v1/route", ON).status_code == 200
    assert world.claude.answer_calls == []
