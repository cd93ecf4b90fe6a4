"""From a message to a job: where its params are, who sent it, which lane it takes, and what tells two jobs apart."""

import datetime as dt
import json
from typing import Any

import pytest

from cost_router.core.errors import InvalidRequest, StoreError
from cost_router.core.fingerprint import fingerprint
from cost_router.core.groups import GroupState
from cost_router.core.job import Job
from cost_router.handlers import intake
from tests.builders import NOW, World, job, message_body, raw_job, record, run, tenant

PARAMS = message_body("a: easy", model="haiku")
KEY = "jobs/g/large.json"


def large(name: str = "a", key: object = KEY, **more: Any) -> dict[str, Any]:
    """A job whose params stand in the results bucket."""
    return raw_job(json.dumps({"custom_id": name, "params_at": key, "router": {"group": "g"}, **more}), name)


def pointer(address: str = "g/a") -> dict[str, Any]:
    return raw_job(f'{{"job": "{address}"}}', "back")


def small(name: str = "a", **router: Any) -> dict[str, Any]:
    return job(name, params=PARAMS, **{"group": "g", **router})


def read(world: World, message: dict[str, Any]) -> Job | None:
    return run(world.door().intake.job(message, record(), world.clock.monotonic() + 800.0))


def refused(world: World, message: dict[str, Any]) -> str:
    with pytest.raises(InvalidRequest) as error:
        read(world, message)
    return str(error.value)


def drain(world: World, *messages: dict[str, Any]) -> list[str]:
    left = run(world.door().drain({"Records": list(messages)}, 900.0))
    return [failure["itemIdentifier"] for failure in left["batchItemFailures"]]


def error_of(world: World, name: str = "a") -> str:
    return str(world.results.items[f"g/{name}"]["result"]["error"]["error"]["message"])


# -- Params in the bucket ----------------------------------------------------------------------------------------------


def test_params_that_were_too_large_for_a_message_are_read_from_the_bucket() -> None:
    world = World()
    world.params.objects[KEY] = json.dumps(PARAMS).encode()
    assert drain(world, large()) == []
    assert world.results.items["g/a"]["result"]["type"] == "succeeded"
    assert world.claude.calls[0].body["messages"] == PARAMS["messages"]


def test_they_are_the_same_job_as_in_the_message_and_count_for_its_size() -> None:
    world = World()
    world.params.objects[KEY] = content = json.dumps(PARAMS).encode()
    message = large()
    there, here = read(world, message), read(world, small())
    assert there
    assert here
    assert there.fingerprint == here.fingerprint
    assert there.request.body == here.request.body
    assert there.request.body_bytes == len(message["body"]) + len(content)
    assert there.message == {"custom_id": "a", "router": {"group": "g"}, "params": PARAMS}, "nothing is read twice"


def test_a_held_job_keeps_its_large_params_though_they_go_from_the_bucket() -> None:
    world = World()
    drain(world, small("first"))
    world.groups.set("g", GroupState.PAUSED)
    world.params.objects[KEY] = json.dumps(PARAMS).encode()
    assert drain(world, large()) == []
    world.params.objects.clear()
    world.groups.set("g", GroupState.RUNNING)
    assert drain(world, pointer()) == []
    assert world.results.items["g/a"]["result"]["type"] == "succeeded"


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("jobs/other/large.json", "'jobs/other/large.json'; accepted: a key that begins with jobs/g/"),
        ("jobs/g", "'jobs/g'; accepted: a key that begins with jobs/g/"),
        ("results/g/a.json", "'results/g/a.json'; accepted: a key that begins with jobs/g/"),
        ("jobs/gg/large.json", "'jobs/gg/large.json'; accepted: a key that begins with jobs/g/"),
        ("", "''; accepted: a key that begins with jobs/g/"),
        (5, "5; accepted: a key that begins with jobs/g/"),
        (["jobs/g/a"], "['jobs/g/a']; accepted: a key that begins with jobs/g/"),
    ],
)
def test_params_of_another_group_are_not_read(key: object, found: str) -> None:
    world = World()
    world.params.objects.update(
        {"jobs/other/large.json": b"{}", "results/g/a.json": b"{}", "jobs/gg/large.json": b"{}"}
    )
    assert drain(world, large(key=key)) == []
    assert error_of(world) == f"params_at: {found}"


def test_a_job_without_a_group_has_its_params_among_the_ungrouped() -> None:
    world = World()
    world.params.objects["jobs/ungrouped/a"] = json.dumps(PARAMS).encode()
    message = raw_job(json.dumps({"custom_id": "a", "params_at": "jobs/ungrouped/a"}))
    assert drain(world, message) == []
    assert list(world.results.items) == ["ungrouped/a"]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "params_at: 'jobs/g/large.json' is not there; accepted: the key of an object in ResultsBucket"),
        (b"\xff\xfe{}", "params_at: 'jobs/g/large.json' is not UTF-8; accepted: params as JSON in UTF-8"),
        (b"{", "body: not valid JSON at character 1; accepted: a JSON object"),
        (b"[]", "body: it is a list; accepted: a JSON object"),
        (b"{}", "max_tokens"),
        (json.dumps({**PARAMS, "router": {"floor": "opus"}}).encode(), "params.router"),
    ],
)
def test_params_that_are_none_fail_with_the_reason(content: bytes | None, found: str) -> None:
    world = World()
    if content is not None:
        world.params.objects[KEY] = content
    assert drain(world, large()) == []
    assert error_of(world).startswith(found)
    assert (world.claude.calls, world.queue.aside) == ([], [])


def test_params_beside_params_at_are_refused() -> None:
    world = World()
    world.params.objects[KEY] = json.dumps(PARAMS).encode()
    expected = "params_at: it stands beside params; accepted: one of the two"
    assert refused(world, large(params=PARAMS)) == expected


@pytest.mark.parametrize(("most", "fits"), [(0, True), (-1, False)])
def test_params_may_be_as_large_as_a_body_of_the_api(most: int, fits: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001  a column
    assert intake.MOST_BYTES == 32_000_000
    world = World()
    world.params.objects[KEY] = content = json.dumps(PARAMS).encode()
    monkeypatch.setattr(intake, "MOST_BYTES", len(content) + most)
    if fits:
        assert read(world, large()) is not None
    else:
        expected = f"params_at: 'jobs/g/large.json' has {len(content)} bytes; accepted: at most {len(content) - 1}"
        assert refused(world, large()) == expected


def test_a_bucket_that_is_down_puts_the_job_back() -> None:
    world = World()

    async def unreadable(key: str) -> bytes | None:
        raise StoreError(f"s3.get_object {key}: ReadTimeoutError")

    world.params.read = unreadable  # type: ignore[method-assign]  # the fake's own
    assert drain(world, large()) == ["a"]
    assert (world.results.items, world.attempts.counts) == ({}, {})


# -- Jobs that come back -----------------------------------------------------------------------------------------------


def test_a_pointer_to_a_job_that_nobody_knows_is_done_silently() -> None:
    world = World()
    assert drain(world, pointer("g/unknown")) == []
    assert (world.results.items, world.queue.aside, world.jobs.items) == ({}, [], {})
    assert [told.outcome for told in world.telemetry.records] == ["already_done"]


def test_a_pointer_to_a_job_that_was_never_held_is_done_silently() -> None:
    world = World()
    drain(world, small())
    assert drain(world, pointer()) == []
    assert len(world.claude.calls) == 1


@pytest.mark.parametrize(
    "text",
    ['{"job": "../a"}', '{"job": "g/a/b"}', '{"job": "g"}', '{"job": 5}', '{"job": "g/a", "x": 1}', '{"job":"g/a"}'],
)
def test_what_only_looks_like_a_pointer_is_a_broken_message(text: str) -> None:
    world = World()
    assert drain(world, raw_job(text)) == []
    (place,) = world.results.items
    assert place == "ungrouped/m-1"


def held(world: World, **attributes: str) -> None:
    """A held job of the tenant."""
    drain(world, from_(small("first", tenant="acme"), **attributes))
    world.groups.set("g", GroupState.PAUSED)
    assert drain(world, from_(small(tenant="acme"), **attributes)) == []
    assert world.jobs.state("g/a") == "held"
    world.groups.set("g", GroupState.RUNNING)


def from_(message: dict[str, Any], **attributes: str) -> dict[str, Any]:
    message["attributes"].update(attributes)
    return message


def test_a_job_that_comes_back_was_admitted_when_it_was_held_and_others_are_held_to_the_senders_rule() -> None:
    world = World(tenant("acme", senders=frozenset({"AIDAME"})))
    held(world, SenderId="AIDAME")
    assert drain(world, from_(pointer(), SenderId="AROACOLLECTOR:collector")) == []
    assert world.results.items["g/a"]["result"]["type"] == "succeeded"
    assert drain(world, from_(small("b", tenant="acme"), SenderId="AROACOLLECTOR:collector")) == []
    assert error_of(world, "b").startswith("router.tenant: 'acme' takes no jobs from 'AROACOLLECTOR:collector'")


def test_a_job_whose_tenant_was_disabled_while_it_was_held_fails_with_the_reason() -> None:
    world = World(tenant("acme"))
    held(world)
    world.tenants.tenants.clear()
    for _ in range(2):
        assert drain(world, pointer()) == []
    assert error_of(world).startswith("router.tenant: 'acme' is unknown or disabled")
    assert (world.queue.aside, world.jobs.state("g/a")) == ([], "failed")
    assert (world.jobs.tallies["g"].failed, world.jobs.tallies["g"].running) == (1, 0)


# -- What a job says of itself -----------------------------------------------------------------------------------------


def test_a_job_says_how_many_its_group_has() -> None:
    world = World()
    drain(world, small(group_size=3))
    assert world.groups.groups["g"].expected == 3
    drain(world, small("b"))
    assert world.groups.groups["g"].expected == 3
    assert world.groups.groups["g"].tenant == "default"


@pytest.mark.parametrize("size", [0, -1, True, 1.5, "3", [3]])
def test_a_group_size_that_is_none_is_refused(size: object) -> None:
    assert refused(World(), small(group_size=size)).startswith("router.group_size: ")


@pytest.mark.parametrize(
    ("router", "lane", "processing"),
    [
        ({}, "direct", "realtime"),
        ({"lane": "batch"}, "batch", "batch"),
        ({"answer_by": "2026-11-23T14:00:00Z"}, "batch", "batch"),
        ({"answer_by": "2026-11-23T13:59:59Z"}, "direct", "realtime"),
        ({"answer_by": "2026-11-23T15:00:00+01:00"}, "batch", "batch"),
        ({"answer_by": "2026-11-24T00:00:00Z", "lane": "direct"}, "direct", "realtime"),
    ],
)
def test_the_lane_is_the_one_given_else_by_the_deadline_at_noon(
    router: dict[str, str], lane: str, processing: str
) -> None:
    found = read(World(), small(**router))
    assert found
    assert (found.lane, found.request.processing) == (lane, processing)
    assert (found.answer_by is not None) == ("answer_by" in router)


def test_a_job_with_a_deadline_that_was_put_back_until_it_is_near_takes_the_direct_lane() -> None:
    world = World()
    message = small(answer_by="2026-11-23T14:00:00Z")
    first = read(world, message)
    world.clock.advance(1.0)
    second = read(world, message)
    assert first
    assert second
    assert (first.lane, second.lane) == ("batch", "direct")
    assert first.fingerprint == second.fingerprint


@pytest.mark.parametrize("answer_by", ["tomorrow", "2026-11-24T06:00:00", 5, ""])
def test_a_deadline_that_is_no_time_is_refused(answer_by: object) -> None:
    assert refused(World(), small(answer_by=answer_by)).startswith("router.answer_by: ")


@pytest.mark.parametrize("lane", ["fast", "", 5, ["batch"]])
def test_an_unknown_lane_is_refused(lane: object) -> None:
    assert refused(World(), small(lane=lane)).endswith("accepted: 'direct', 'batch'")


def test_the_job_bears_its_message_its_count_and_its_name() -> None:
    found = read(World(), from_(small(), ApproximateReceiveCount="7"))
    assert found
    assert (found.id, found.receive_count, found.kept, found.request.job) == ("g/a", 7, False, "g/a")
    assert found.answer_by is None
    assert found.request.deadline == 1_800.0
    assert NOW.tzinfo is dt.UTC


# -- What tells two jobs apart -----------------------------------------------------------------------------------------


def test_the_order_of_members_does_not_count_that_of_lists_does() -> None:
    one = {"max_tokens": 5, "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    two = {"messages": [{"content": "a", "role": "user"}, {"content": "b", "role": "assistant"}], "max_tokens": 5}
    three = {**one, "messages": one["messages"][::-1]}  # type: ignore[index]  # JSON
    assert fingerprint(b"k" * 32, one) == fingerprint(b"k" * 32, two) != fingerprint(b"k" * 32, three)


@pytest.mark.parametrize(
    "changed",
    [{"max_tokens": 101}, {"model": "sonnet"}, {"temperature": 0}, {"messages": [{"role": "user", "content": "b"}]}],
)
def test_whatever_is_asked_differently_is_another_job(changed: dict[str, Any]) -> None:
    assert fingerprint(b"k" * 32, PARAMS) != fingerprint(b"k" * 32, {**PARAMS, **changed})


def test_the_same_params_of_another_tenant_are_another_job() -> None:
    world = World(tenant("acme"), tenant("zeta"))
    acme, zeta = read(world, small(tenant="acme")), read(world, small(tenant="zeta"))
    assert acme
    assert zeta
    assert acme.fingerprint != zeta.fingerprint
    assert drain(world, small(tenant="acme")) == []
    assert drain(world, small(tenant="zeta")) == []
    assert [reason.partition(";")[0] for _, reason in world.queue.aside] == [
        "its name belongs to a job with another body"
    ]


def test_hints_do_not_tell_jobs_apart() -> None:
    world = World()
    one, two = read(world, small()), read(world, small(floor="opus", tags={"customer": "globex"}, lane="batch"))
    assert one
    assert two
    assert one.fingerprint == two.fingerprint


def test_the_message_with_members_in_another_order_costs_nothing() -> None:
    world = World()
    drain(world, small())
    swapped = {"router": {"group": "g"}, "params": dict(reversed(PARAMS.items())), "custom_id": "a"}
    assert drain(world, raw_job(json.dumps(swapped))) == []
    assert (len(world.claude.calls), world.queue.aside) == (1, [])


def test_a_fingerprint_tells_nothing_of_the_prompt_without_the_tenants_key() -> None:
    found = fingerprint(b"k" * 32, PARAMS)
    assert len(found) == 64
    assert found != fingerprint(b"l" * 32, PARAMS)
