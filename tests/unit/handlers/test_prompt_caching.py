"""The router's own cache markers, at the door: when they are set, what they cost at the most, and what they save."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from cost_router.core.pricing import Usage
from cost_router.core.routing import Routing
from cost_router.core.words import Label
from tests.builders import World, event, job, limited, message_body, streamed_steps, tenant
from tests.unit.handlers.client import WITH_KEY, post, request
from tests.unit.handlers.test_batch import drain
from tests.unit.handlers.test_streaming import last_comment

SYSTEM = "Answer as our support does. " * 200  # 5,600 bytes, 1,820 tokens as they are estimated
MARKED = [{"type": "text", "text": SYSTEM, "cache_control": {"type": "ephemeral"}}]
EPHEMERAL = {"cache_control": {"type": "ephemeral"}}
ON = Routing(prompt_caching=True)
WRITTEN = Usage(input_tokens=100, cache_creation_5m_input_tokens=2_000, output_tokens=10)
READ = Usage(input_tokens=100, cache_read_input_tokens=2_000, output_tokens=10)


def world(*script: object, routing: Routing = ON, **fields: Any) -> World:
    return World(script=script, routing=routing, **fields)


def ask(text: str = "Hi", **fields: Any) -> dict[str, Any]:
    return message_body(text, **{"system": SYSTEM, **fields})


def send(world: World, *bodies: Mapping[str, Any]) -> list[httpx2.Response]:
    """The answers to bodies sent one after another."""
    found = [post(world, body) for body in bodies]
    assert [answer.status_code for answer in found] == [200] * len(bodies)
    return found


def get(world: World, path: str) -> dict[str, Any]:
    found: dict[str, Any] = request(world, "GET", path, WITH_KEY).json()
    return found


def systems(world: World) -> list[Any]:
    return [call.body.get("system") for call in world.claude.answer_calls]


def test_a_prefix_is_marked_when_it_is_seen_for_the_second_time_and_not_before() -> None:
    made = world()
    first, second, third = send(made, ask("One"), ask("Two"), ask("Three"))
    assert systems(made) == [SYSTEM, MARKED, MARKED]
    assert [answer.headers["x-router-adapted"] for answer in (second, third)] == ["cache_control=added"] * 2
    assert "x-router-adapted" not in first.headers
    sent, body = made.claude.answer_calls[1].body, ask("Two")
    assert sent == {**body, "model": "claude-haiku-5-5", "system": MARKED}
    assert list(sent) == list(body)


@pytest.mark.parametrize(("seconds", "found"), [(299, MARKED), (300, SYSTEM)])
def test_five_minutes_after_its_last_use_it_is_new_again(seconds: int, found: object) -> None:
    made = world()
    send(made, ask("One"))
    made.clock.advance(seconds)
    send(made, ask("Two"))
    assert systems(made) == [SYSTEM, found]


def test_each_model_has_a_cache_of_its_own() -> None:
    made = world()
    send(made, ask("One"), ask("Two", model="sonnet"), ask("Three", model="sonnet"), ask("Four"))
    assert systems(made) == [SYSTEM, SYSTEM, MARKED, MARKED]
    assert made.claude.answer_models[1:3] == ["claude-sonnet-5-5"] * 2


def test_the_model_that_answers_in_anothers_place_is_marked_by_what_it_has_seen_itself() -> None:
    made = world()
    send(made, ask("One", model="opus"), ask("Two", model="sonnet"))
    made.claude.script.extend([limited(529), limited(529)])
    send(made, ask("Three", model="opus"))
    assert made.claude.answer_models[2:] == ["claude-opus-5-5"] * 2 + ["claude-sonnet-5-5"]
    assert systems(made)[2:] == [MARKED] * 3
    send(made, ask("Four", model="haiku"))
    assert systems(made)[-1] == SYSTEM


def test_another_process_knows_it_from_the_table() -> None:
    made = world()
    made.prefixes.turns = 200
    send(made, ask("One"))
    made.restart()
    send(made, ask("Two"))
    assert systems(made) == [SYSTEM, MARKED]


def test_what_another_tenant_has_sent_is_not_known() -> None:
    made = World(tenant("acme"), tenant("other"), routing=ON)
    made.tenants.keys["key-of-other"] = "other"
    send(made, ask("One"))
    assert post(made, ask("Two"), headers={"x-api-key": "key-of-other"}).status_code == 200
    assert systems(made) == [SYSTEM, SYSTEM]


# --- what is left alone


@pytest.mark.parametrize(
    "fields",
    [
        {"system": [{"type": "text", "text": SYSTEM}, {"type": "text", "text": "Hi", **EPHEMERAL}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi", **EPHEMERAL}]}]},
        EPHEMERAL,
        {"model": "claude-haiku-5-5"},
        {"system": "x" * 1_575},
    ],
    ids=["marked system", "marked message", "automatic", "named model", "511 tokens"],
)
def test_what_its_caller_marks_or_names_or_is_too_short_goes_out_as_it_came(fields: dict[str, Any]) -> None:
    made = world()
    send(made, *[ask(**fields)] * 3)
    for call in made.claude.answer_calls:
        assert {**call.body, "model": "auto"} == {**ask(**fields), "model": "auto"}
    assert made.prefixes.asked == 0


def test_from_512_tokens_on_it_is_long_enough() -> None:
    made = world()
    send(made, *[ask(system="x" * 1_576)] * 2)
    assert systems(made)[1] == [{"type": "text", "text": "x" * 1_576, **EPHEMERAL}]


def test_without_the_setting_nothing_is_marked_and_no_store_is_asked() -> None:
    made = world(routing=Routing())
    send(made, *[ask()] * 3)
    assert systems(made) == [SYSTEM] * 3
    assert (made.prefixes.asked, made.sessions.asked) == (0, 0)


def test_a_dry_run_is_no_sighting() -> None:
    made = world()
    for _ in range(2):
        assert post(made, ask(), "/v1/route").status_code == 200
    send(made, ask())
    assert systems(made) == [SYSTEM]


def test_a_call_that_is_refused_is_no_sighting() -> None:
    made = world(*[limited()] * 4)
    assert post(made, ask(model="haiku")).status_code == 429
    made.claude.script.clear()
    send(made, ask(model="haiku"))
    assert set(map(str, systems(made))) == {SYSTEM}


# --- the store


def test_a_busy_prefix_costs_a_process_one_read_and_one_write_a_minute() -> None:
    made = world()
    send(made, *[ask()] * 5)
    assert made.prefixes.asked == 2
    made.clock.advance(60)
    send(made, *[ask()] * 5)
    assert made.prefixes.asked == 4


def test_a_table_that_fails_fails_no_request_and_this_process_knows_by_itself() -> None:
    made = world()
    made.prefixes.down = True
    send(made, ask("One"), ask("Two"))
    assert systems(made) == [SYSTEM, MARKED]
    assert [name for name, _ in made.telemetry.notes] == ["prefix_store_failed"] * 3
    assert made.telemetry.defects == []


# --- money


def test_what_is_put_aside_covers_a_prompt_that_is_written_whole() -> None:
    body = ask(max_tokens=100, model="opus")
    most = Usage(cache_creation_5m_input_tokens=len(json.dumps(body)) + 2_000, output_tokens=100, inference_geo="us")
    made = world(Usage(input_tokens=100, output_tokens=10), most)
    send(made, body, body)
    plain, marked = made.ledger.reserved
    assert plain.amount_usd < made.ledger.entries[-1].cost_usd <= marked.amount_usd


def test_the_caps_of_a_request_know_of_the_marker() -> None:
    """What covers a prompt that is read does not cover one that is written."""
    made = world()
    send(made, ask(model="opus"))
    plain = made.ledger.reserved[-1].amount_usd
    capped = post(made, ask(model="opus"), headers={"x-router-max-cost-usd": f"{plain:f}"})
    assert capped.headers["x-router-cause"] == "rule:max-cost"


def test_what_a_marker_saved_is_booked_and_told_apart() -> None:
    """Haiku 5.5 costs $0.10 a million, $0.125 written, $0.01 read: 2,000 tokens lose 0.00005 and gain 0.00018."""
    made = world(Usage(input_tokens=2_100, output_tokens=10), WRITTEN, READ)
    first, second, third = send(made, *[ask(model="haiku")] * 3)
    assert [entry.cache_saved_usd for entry in made.ledger.entries] == [0, Decimal("-0.00005"), Decimal("0.00018")]
    told = [
        get(made, f"/v1/requests/{answer.headers['x-router-request-id']}")["cache_saved_usd"]
        for answer in (first, second, third)
    ]
    assert told == ["0", "-0.00005", "0.00018"]
    totals = get(made, "/v1/spend?day=2026-11-23")["totals"]
    assert totals["cache_saved_usd"] == "0.00013"
    assert [told.bill.cache_saved_usd for told in made.telemetry.records[:3]] == [
        0,
        Decimal("-0.00005"),
        Decimal("0.00018"),
    ]


def test_savings_of_callers_who_mark_themselves_are_their_own() -> None:
    made = world(READ)
    send(made, ask(system=MARKED))
    assert [entry.cache_saved_usd for entry in made.ledger.entries] == [0, 0]


def test_a_call_booked_at_its_bound_has_saved_nothing() -> None:
    made = world(Usage(input_tokens=100, output_tokens=10), [event("message_start", WRITTEN), limited(529)])
    send(made, ask(model="haiku"))
    post(made, ask(model="haiku", stream=True))
    broken = made.ledger.entries[1]
    assert (broken.flags, broken.cache_saved_usd) == (("ambiguous",), Decimal(0))


# --- every way in


def test_streams_are_marked_as_well() -> None:
    made = world(*(streamed_steps(usage) for usage in (Usage(input_tokens=2_100, output_tokens=10), WRITTEN, READ)))
    answers = send(made, *[ask(model="haiku", stream=True)] * 3)
    assert systems(made) == [SYSTEM, MARKED, MARKED]
    assert answers[1].headers["x-router-adapted"] == "cache_control=added"
    assert last_comment(answers[2].text)["x-router-cost-usd"] == "0.000035"
    assert made.ledger.entries[-1].cache_saved_usd == Decimal("0.00018")


def test_so_are_jobs_that_are_called_at_once() -> None:
    made = world()
    for name in ("a", "b"):
        assert drain(made, job(name, params=ask(model="haiku"))) == []
    assert systems(made) == [SYSTEM, MARKED]
    assert made.sessions.asked == 0


def test_lines_of_batches_are_not() -> None:
    made = world()
    send(made, ask(model="haiku"))
    assert drain(made, job("a", params=ask(model="haiku"), lane="batch", tenant="acme")) == []
    assert made.prefixes.asked == 2


def test_an_agents_step_is_marked_at_its_end_so_that_the_next_one_reads_it() -> None:
    turns: list[dict[str, Any]] = [{"role": "user", "content": "Which of these is due?"}]
    made = world(label=Label.MODERATE)
    for step in range(3):
        send(made, ask(messages=turns, model="sonnet"))
        call = {"type": "tool_use", "id": f"t{step}", "name": "look_up", "input": {}}
        result = {"type": "tool_result", "tool_use_id": f"t{step}", "content": "the third"}
        turns = [*turns, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    ends = [call.body["messages"][-1]["content"] for call in made.claude.answer_calls]
    assert systems(made) == [SYSTEM, MARKED, MARKED]
    assert [EPHEMERAL.items() <= end[-1].items() for end in ends[1:]] == [True, True]
    assert "cache_control" not in str([call.body["messages"][:-1] for call in made.claude.answer_calls])
