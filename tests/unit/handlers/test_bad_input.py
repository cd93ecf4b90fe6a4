"""Whatever comes in wrong is a 4xx in Anthropic's shape that names the field, and costs nothing."""

import copy
import json
import random
from collections.abc import Iterator
from typing import Any, Final

import pytest

from cost_router.core.errors import InvalidRequest
from cost_router.core.words import Tier
from cost_router.handlers.strict_json import parse_json
from tests.builders import EASY, World, job, message_body, raw_job, run, tenant
from tests.unit.handlers.bad_input import BODIES, Bad
from tests.unit.handlers.client import error_of, post, post_all

SEED: Final = 7
by_story = pytest.mark.parametrize("bad", BODIES, ids=lambda bad: bad.story)


@by_story
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/route"])
def test_a_bad_body_is_refused_by_name_and_costs_nothing(bad: Bad, path: str) -> None:
    world = World()
    response = post(world, bad.body, path)
    error = error_of(response)
    assert (response.status_code, error["type"]) == (bad.status, bad.kind)
    assert bad.says in error["message"]
    assert len(error["message"]) < 1_000
    assert world.claude.calls == []
    assert world.telemetry.defects == []


@pytest.mark.parametrize("bad", [bad for bad in BODIES if bad.status != 413], ids=lambda bad: bad.story)
def test_a_bad_body_as_a_job_is_a_failed_result_and_the_others_are_unharmed(bad: Bad) -> None:
    world = World()
    text = b'{"custom_id": "bad", "params": ' + bad.body + b"}"
    records = [job("before"), raw_job(text.decode("utf-8", "surrogateescape"), "m-bad"), job("after")]
    left = run(world.door().drain({"Records": records}, 900.0))
    assert left == {"batchItemFailures": []}
    kinds = {name: found["result"]["type"] for name, found in world.results.items.items()}
    failed = next(name for name, kind in kinds.items() if kind == "errored")
    assert failed in {"ungrouped/bad", "ungrouped/m-bad"}
    assert [kinds["ungrouped/before"], kinds["ungrouped/after"]] == ["succeeded", "succeeded"]
    assert len(kinds) == 3
    error = world.results.items[failed]["result"]["error"]
    assert error["type"] == "error"
    assert error["error"]["type"] in {"invalid_request_error", "not_found_error"}
    assert {call.body["messages"][0]["content"] for call in world.claude.answer_calls} == {EASY}
    assert world.telemetry.defects == []


BAD_JOBS = [
    ("not JSON", "hello", "body: not valid JSON"),
    ("a list", "[]", "body: it is a list"),
    (
        "an unknown member",
        json.dumps({"custom_id": "a", "params": message_body(), "priority": 1}),
        "'priority' is unknown",
    ),
    ("no custom_id", json.dumps({"params": message_body()}), "custom_id: None"),
    (
        "a custom_id with a slash",
        json.dumps({"custom_id": "../../a", "params": message_body()}),
        "custom_id: '../../a'",
    ),
    ("a custom_id of 65 letters", json.dumps({"custom_id": "a" * 65, "params": message_body()}), "custom_id: 'aaa"),
    ("a custom_id with a line break", json.dumps({"custom_id": "a\n", "params": message_body()}), "custom_id"),
    ("no params", json.dumps({"custom_id": "a"}), "params: it is missing or null"),
    ("a stream", json.dumps({"custom_id": "a", "params": message_body(stream=True)}), "params.stream: True"),
    ("hints in params", json.dumps({"custom_id": "a", "params": message_body(router={})}), "params.router"),
    ("a lone surrogate", '{"custom_id": "a\ud800"}', "lone surrogate"),
]


@pytest.mark.parametrize(("text", "says"), [row[1:] for row in BAD_JOBS], ids=[row[0] for row in BAD_JOBS])
def test_a_message_that_is_no_job_is_a_failed_result_that_says_so(text: str, says: str) -> None:
    world = World()
    assert run(world.door().drain({"Records": [raw_job(text)]}, 900.0)) == {"batchItemFailures": []}
    ((place, result),) = world.results.items.items()
    assert place in {"ungrouped/m-1", "ungrouped/a"}
    assert says in result["result"]["error"]["error"]["message"]
    assert [told.outcome for told in world.telemetry.records] == ["failed"]


@pytest.mark.parametrize(
    ("router", "says"),
    [
        ({"lane": "fast"}, "router.lane: 'fast'; accepted: 'direct', 'batch'"),
        ({"group": "a/b"}, "router.group: 'a/b'"),
        ({"group": ".."}, "router.group"),
        ({"group": 5}, "router.group: 5"),
        ({"tenant": "nobody-we-know"}, "router.tenant: 'nobody-we-know' is unknown or disabled"),
        ({"tenant": ""}, "router.tenant: ''"),
        ({"answer_by": "tomorrow"}, "router.answer_by: 'tomorrow'"),
        ({"answer_by": "2026-11-24T06:00:00"}, "router.answer_by"),  # whose midnight?
        ({"answer_by": 5}, "router.answer_by: 5"),
        ({"floor": "huge"}, "router.floor: 'huge'; accepted: haiku, sonnet, opus"),
        ({"floor": "opus", "ceiling": "haiku"}, "floor: 'opus' is above the ceiling 'haiku'"),
        ({"cache": False}, "router.cache: False; accepted: 'on', 'off'"),
        ({"tags": {"a": 1}}, "router.tags"),
        ({"urgent": True}, "router: 'urgent' is unknown"),
    ],
)
def test_a_bad_hint_of_a_job_is_named(router: dict[str, Any], says: str) -> None:
    world = World()
    run(world.door().drain({"Records": [job("a", **router)]}, 900.0))
    (result,) = world.results.items.values()
    assert says in result["result"]["error"]["error"]["message"]
    assert world.claude.calls == []


BAD_HINTS = [
    ({"x-router-floor": "huge"}, "x-router-floor: 'huge'; accepted: haiku, sonnet, opus"),
    ({"x-router-floor": ""}, "x-router-floor: ''"),
    ({"x-router-floor": "Haiku"}, "x-router-floor: 'Haiku'"),
    ({"x-router-ceiling": "claude-opus-5-5"}, "x-router-ceiling"),
    ({"x-router-floor": "opus", "x-router-ceiling": "sonnet"}, "floor: 'opus' is above the ceiling 'sonnet'"),
    ({"x-router-cache": "yes"}, "x-router-cache: 'yes'; accepted: 'on', 'off'"),
    ({"x-router-tags": "customer"}, "x-router-tags"),
    ({"x-router-tags": "customer=a b"}, "x-router-tags"),
    ({"x-router-tags": ",".join(f"t{place}=v" for place in range(11))}, "at most 10 pairs"),
    ({"x-router-speed": "fast"}, "x-router-speed: unknown; accepted: x-router-floor, x-router-ceiling"),
    ({"x-router-": "fast"}, "x-router-: unknown"),
]


@pytest.mark.parametrize(("headers", "says"), BAD_HINTS)
def test_a_bad_hint_in_a_header_is_named_and_costs_nothing(headers: dict[str, str], says: str) -> None:
    world = World()
    response = post(world, message_body(), headers=headers)
    assert response.status_code == 400
    assert says in error_of(response)["message"]
    assert world.claude.calls == []


@pytest.mark.parametrize(
    ("router", "says"),
    [
        ({"floor": 2}, "router.floor: 2"),
        ({"floor": None}, "router.floor: None"),
        ({"tags": None}, "router.tags"),
        ({"cache": True}, "router.cache: True"),
        ({"x" * 100_000: 1}, "is unknown; accepted: floor"),
        ({"floor": "x" * 100_000}, "router.floor: 'xxx"),
        ([], "router: it is a list"),
        (None, "router: it is missing or null"),
    ],
)
def test_a_bad_hint_in_the_body_is_named_and_not_echoed_whole(router: object, says: str) -> None:
    world = World()
    response = post(world, message_body(router=router))
    assert response.status_code == 400
    message = error_of(response)["message"]
    assert says in message
    assert len(message) < 400


def test_a_floor_above_the_tenants_ceiling_is_a_429_that_is_not_to_be_retried() -> None:
    world = World(tenant(ceiling=Tier.HAIKU))
    response = post(world, message_body(), headers={"x-router-floor": "sonnet"})
    assert (response.status_code, response.headers["x-should-retry"]) == (429, "false")
    error = error_of(response)
    assert (error["type"], error["details"]) == ("rate_limit_error", {"rule": "tenant-ceiling"})
    assert world.claude.calls == []


@pytest.mark.parametrize(("levels", "fine"), [(200, True), (201, False)])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_json_may_be_200_levels_deep(levels: int, fine: bool, opening: str, closing: str) -> None:  # noqa: FBT001
    text = '{"a":' + opening * (levels - 1) + "1" + closing * (levels - 1) + "}"
    if fine:
        assert parse_json(text)
        return
    with pytest.raises(InvalidRequest, match="nested too deeply"):
        parse_json(text)


@pytest.mark.parametrize("levels", [150, 190, 200, 201, 300, 450, 500, 700, 900, 950, 975, 990, 1_000, 1_100, 3_000])
@pytest.mark.parametrize(
    "field", ["metadata", "max_tokens", "model", "system", "messages", "router", "tools", "anything"]
)
def test_no_depth_in_any_field_is_a_500(levels: int, field: str) -> None:
    world = World()
    shape = json.dumps(message_body(**{field: "NEST"})).replace('"NEST"', "[" * levels + "]" * levels)
    response = post(world, shape.encode())
    assert response.status_code in {200, 400}
    assert world.telemetry.defects == []


def test_whole_characters_beyond_the_first_plane_are_fine() -> None:
    world = World()
    body = json.dumps(message_body("😀 \\ud800 is only quoted here")).encode()
    assert post(world, body).status_code == 200
    assert b"\\ud83d" in body


# --- random mutations

VALUES: Final[list[Any]] = [
    None, True, False, 0, -1, 1, 2**63, 10**400, 1.5, 1e308, "", "x", "auto", "\x00", "😀", "\u202e", [], {}, [[]],
    [{}], [None], {"type": "text"}, {"type": "text", "text": None}, {"type": "tool_result", "content": 5}, {"type": []},
    [{"type": "image"}], [{"type": "document", "source": 5}], {"": ""}, {"role": "user"}, {"router": {}},
]  # fmt: skip
START: Final[dict[str, Any]] = message_body(
    "What is this?",
    system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
    tools=[{"name": "look", "input_schema": {"type": "object", "properties": {}}}],
    tool_choice={"type": "auto"},
    stop_sequences=["\n"],
    metadata={"user_id": "u"},
    thinking={"type": "disabled"},
    router={"floor": "haiku", "tags": {"a": "b"}, "cache": "off"},
)
START["messages"] += [
    {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "look", "input": {"at": "sky"}}]},
    {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "b"}]}],
    },
    {"role": "system", "content": "A reminder."},
]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container of a JSON value with each of its keys."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


def mutated(draw: random.Random) -> bytes:
    body = copy.deepcopy(START)
    for _ in range(draw.choice([1, 1, 2, 3])):
        container, key = draw.choice(list(places(body)))
        if draw.random() < 0.2:
            del container[key]
        else:
            container[key] = copy.deepcopy(draw.choice(VALUES))
        if not body:
            break
    raw = bytearray(json.dumps(body, ensure_ascii=draw.random() < 0.5).encode())
    if draw.random() < 0.2:
        raw[draw.randrange(len(raw))] = draw.randrange(256)
    return bytes(raw)


def test_no_random_mutation_is_a_500() -> None:
    draw = random.Random(SEED)
    bodies = [mutated(draw) for _ in range(600)]
    world = World()
    responses = post_all(world, bodies)
    assert world.telemetry.defects == []
    for body, response in zip(bodies, responses, strict=True):
        assert response.status_code in {200, 400, 404, 413}, body
        if response.status_code != 200:
            error_of(response)
    assert (
        50 < sum(response.status_code == 200 for response in responses) < 550
    )  # the mutations bite, and not all of them


def test_no_random_mutation_of_a_job_harms_the_others() -> None:
    draw = random.Random(SEED + 1)
    world = World()
    for place in range(30):
        texts = ['{"custom_id": "x", "params": ' + mutated(draw).decode("utf-8", "replace") + "}" for _ in range(9)]
        records = [raw_job(text, f"m-{place}-{number}") for number, text in enumerate(texts)]
        left = run(world.door().drain({"Records": [*records, job(f"good-{place}")]}, 900.0))
        assert left == {"batchItemFailures": []}
        assert world.results.items[f"ungrouped/good-{place}"]["result"]["type"] == "succeeded"
    assert world.telemetry.defects == []
