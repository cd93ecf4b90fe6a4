"""`/v1/messages/batches` through the ASGI app, and the way of a batch's lines over the queue and back."""

import dataclasses
import datetime as dt
import json
from typing import Any

import httpx2
import pytest
from starlette.requests import Request as HttpRequest

from cost_router.core.groups import End, GroupState
from cost_router.core.job_ports import Spent
from cost_router.handlers import batch_lines
from cost_router.handlers.base_url import base_url
from cost_router.handlers.unpacking import NEVER
from tests.builders import KEY, NOW, World, message_body, raw_job, run, tenant
from tests.unit.handlers.client import client_of, error_of, post, request

PATH = "/v1/messages/batches"
OTHER_KEY = "gateway-key-of-globex"
SECRET = "the secret prompt"


def world_of_two() -> World:
    world = World(tenant("acme"), tenant("globex"), tenant("default"))
    world.tenants.keys[OTHER_KEY] = "globex"
    return world


def line(custom_id: str = "a", text: str = SECRET, **more: Any) -> dict[str, Any]:
    return {"custom_id": custom_id, "params": message_body(text), **more}


def create(world: World, *lines: Any, headers: dict[str, str] | None = None, **body: Any) -> httpx2.Response:
    return post(world, {"requests": list(lines), **body}, PATH, headers)


def made(world: World, *lines: Any, **headers: str) -> str:
    reply = create(world, *(lines or (line(),)), headers={f"x-router-{name}": text for name, text in headers.items()})
    assert reply.status_code == 200, reply.text
    return str(reply.json()["id"])


def get(world: World, path: str, key: str = KEY) -> httpx2.Response:
    return request(world, "GET", f"{PATH}{path}", {"x-api-key": key})


def cancel(world: World, id_: str, key: str = KEY) -> httpx2.Response:
    return request(world, "POST", f"{PATH}/{id_}/cancel", {"x-api-key": key})


def drain(world: World, *messages: dict[str, Any]) -> list[str]:
    left = run(world.door().drain({"Records": list(messages)}, 900.0))
    return [failure["itemIdentifier"] for failure in left["batchItemFailures"]]


def announcement(id_: str, sent: dt.datetime = NOW) -> dict[str, Any]:
    message = raw_job(f'{{"batch": "{id_}"}}', "announcement")
    message["attributes"]["SentTimestamp"] = str(int(sent.timestamp() * 1000))
    return message


def queued(world: World) -> list[dict[str, Any]]:
    """The messages of lines that are on the queue; it is empty then."""
    sent, world.outbox.sent = world.outbox.sent, []
    return [raw_job(json.dumps(job), job["custom_id"]) for _, job in sent]


def run_to_the_end(world: World, id_: str) -> None:
    """Both hops over the queue, in the direct lane."""
    assert drain(world, announcement(id_)) == []
    assert drain(world, *queued(world)) == []


# -- create ------------------------------------------------------------------------------------------------------------


def test_a_new_batch_is_told_as_the_api_tells_it() -> None:
    world = World()
    reply = create(world, line("a"), line("b"))
    assert reply.json() == {
        "id": "msgbatch_000000000000000000000002",
        "type": "message_batch",
        "processing_status": "in_progress",
        "request_counts": {"processing": 2, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0},
        "created_at": "2026-11-23T12:00:00Z",
        "expires_at": "2026-11-24T12:00:00Z",
        "ended_at": None,
        "cancel_initiated_at": None,
        "archived_at": None,
        "results_url": None,
    }
    assert reply.headers["request-id"]


def test_each_line_is_kept_as_a_job_of_the_keys_tenant_in_the_group_of_the_batchs_name() -> None:
    world = World()
    id_ = made(world, line("a"), line("b", router={"lane": "direct", "floor": "sonnet"}))
    first, second = map(json.loads, world.files.kept[id_])
    router = {"tenant": "acme", "group": id_}
    assert first == {"custom_id": "a", "params": message_body(SECRET), "router": {"lane": "batch", **router}}
    assert second["router"] == {"lane": "direct", "floor": "sonnet", **router}
    assert world.outbox.announced == [("acme", id_)]
    assert world.outbox.sent == [], "the batch function does that"
    assert world.claude.calls == []


def test_what_stands_closest_to_a_line_counts() -> None:
    world = World()
    reply = create(
        world,
        line("a"),
        line("b", router={"floor": "opus"}),
        headers={"x-router-floor": "sonnet", "x-router-lane": "direct", "x-router-max-cost-usd": "0.5"},
        router={"lane": "batch", "floor": "haiku", "ceiling": "opus"},
    )
    first, second = (json.loads(kept)["router"] for kept in world.files.kept[reply.json()["id"]])
    assert (first["lane"], first["floor"], first["ceiling"], first["max_cost_usd"]) == (
        "direct",
        "sonnet",
        "opus",
        "0.5",
    )
    assert (second["lane"], second["floor"], second["ceiling"]) == ("direct", "opus", "opus")


def test_a_deadline_takes_the_place_of_the_lane() -> None:
    world = World()
    id_ = made(world, line(router={"answer_by": "2026-11-24T06:00:00Z"}))
    assert "lane" not in json.loads(world.files.kept[id_][0])["router"]


BAD_PARAMS = message_body() | {"max_tokens": 0}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "requests: Field required"),
        ({"requests": {}}, "requests: it is an object; accepted: a list of requests"),
        ({"requests": []}, "requests: it has 0 items; accepted: 1 to 100000"),
        ({"requests": [line()], "metadata": {}}, "'metadata' is unknown; accepted: requests, router"),
        ({"requests": [line()], "router": 1}, "router: it is a number; accepted: an object with"),
        ({"requests": [line()], "router": {"tenant": "globex"}}, "router: 'tenant' is unknown"),
        ({"requests": [line()], "router": {"lane": "fast"}}, "router.lane: 'fast'; accepted: 'direct', 'batch'"),
        ({"requests": [line(), 1]}, "requests.1: it is a number; accepted: an object with custom_id and params"),
        ({"requests": [{"custom_id": "a"}]}, "requests.0.params: Field required"),
        ({"requests": [{"params": {}}]}, "requests.0.custom_id: Field required"),
        ({"requests": [line("a b")]}, "requests.0.custom_id: 'a b'; String should match pattern"),
        ({"requests": [line("a" * 65)]}, "requests.0.custom_id: 'aaaaaaaa"),
        ({"requests": [line("a"), line("b"), line("a")]}, "requests.2.custom_id: 'a' is that of requests.0"),
        ({"requests": [line(model="auto")]}, "requests.0.'model' is unknown; accepted: custom_id, params, router"),
        ({"requests": [line(), line("b", params=BAD_PARAMS)]}, "requests.1.params.max_tokens: Input should be greater"),
        (
            {"requests": [line(), line("b", params=message_body(speed="fast"))]},
            "requests.1.params.speed: 'fast' multiplies",
        ),
        ({"requests": [line(params=message_body(stream=True))]}, "requests.0.params.stream: True"),
        ({"requests": [line(params=[])]}, "requests.0.params: it is a list"),
        ({"requests": [line(router={"tenant": "globex"})]}, "requests.0.router.'tenant' is unknown"),
        ({"requests": [line(router={"group": "g"})]}, "requests.0.router.'group' is unknown"),
        ({"requests": [line(router={"lane": "fast"})]}, "requests.0.router.lane: 'fast'"),
        ({"requests": [line(router={"floor": "opus", "ceiling": "haiku"})]}, "requests.0.floor: 'opus' is above"),
        ({"requests": [line(router={"answer_by": NOW.isoformat()})]}, "requests.0.router.answer_by: '2026-11-23T12:00"),
    ],
)
def test_a_batch_that_will_not_do_is_a_400_that_names_the_place_and_keeps_nothing(
    body: dict[str, Any], said: str
) -> None:
    world = World()
    reply = post(world, body, PATH)
    assert reply.status_code == 400
    error = error_of(reply)
    assert error["type"] == "invalid_request_error"
    assert said in error["message"]
    assert SECRET not in error["message"]
    assert (world.files.kept, world.outbox.announced, world.batches.items) == ({}, [], {})


def test_a_wrong_header_is_named_as_such() -> None:
    for name, value, said in (
        ("x-router-lane", "fast", "x-router-lane: 'fast'; accepted: 'direct', 'batch'"),
        ("x-router-floor", "mini", "x-router-floor: 'mini'"),
        ("x-router-tenant", "globex", "x-router-tenant: unknown"),
    ):
        reply = create(World(), line(), headers={name: value})
        assert reply.status_code == 400
        assert error_of(reply)["message"].startswith(said)


def test_there_may_not_be_more_lines_than_the_api_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_lines, "MOST_LINES", 2)
    assert create(World(), line("a"), line("b")).status_code == 200
    assert create(World(), line("a"), line("b"), line("c")).status_code == 400


def test_a_body_over_the_limit_is_a_413() -> None:
    world = World()
    reply = create(world, line(text="x" * world.router_settings.max_body_bytes))
    assert (reply.status_code, error_of(reply)["type"]) == (413, "request_too_large")


@pytest.mark.parametrize(
    ("method", "path"), [("POST", ""), ("GET", ""), ("GET", "/m"), ("GET", "/m/results"), ("POST", "/m/cancel")]
)
def test_every_call_needs_a_key(method: str, path: str) -> None:
    reply = request(World(), method, f"{PATH}{path}", {"x-api-key": "wrong"})
    assert (reply.status_code, error_of(reply)["type"]) == (401, "authentication_error")


# -- A death, or a store that fails, in the middle ---------------------------------------------------------------------


def test_of_a_batch_whose_lines_cannot_be_kept_nothing_is_left() -> None:
    world = World()
    world.files.down = True
    reply = create(world, line())
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
    assert (world.outbox.announced, world.batches.items) == ([], {})


def test_of_a_batch_that_took_too_long_to_check_nothing_is_left() -> None:
    world = World()
    world.router_settings = dataclasses.replace(world.router_settings, deadline_seconds=0.0)
    reply = create(world, line())
    assert (reply.status_code, reply.headers["x-should-retry"]) == (504, "false")
    assert "1 lines could not be checked in time" in error_of(reply)["message"]
    assert (world.files.kept, world.outbox.announced) == ({}, [])


def test_of_a_batch_that_cannot_be_announced_no_line_runs() -> None:
    world = World()
    world.outbox.down = True
    assert create(world, line()).status_code == 503
    assert world.batches.items == {}


def test_a_batch_that_may_have_been_accepted_all_the_same_is_canceled() -> None:
    world = World()
    world.batches.lost = True
    assert create(world, line("a"), line("b")).status_code == 503
    world.batches.lost = False
    ((tenant_name, id_),) = world.outbox.announced
    assert world.groups.groups[id_].state is GroupState.CANCELED
    run_to_the_end(world, id_)
    assert world.claude.calls == []
    row = get(world, f"/{id_}").json()
    assert (row["processing_status"], row["request_counts"]["canceled"]) == ("ended", 2)
    assert tenant_name == "acme"


def test_a_message_of_a_batch_that_was_never_accepted_waits_and_is_dropped_at_last() -> None:
    world = World()
    world.batches.down = True
    assert create(world, line()).status_code == 503
    world.batches.down = False
    ((_, id_),) = world.outbox.announced
    assert drain(world, announcement(id_)) == ["announcement"]
    assert world.queue.deferred == {"handle-announcement": 2.0}, "it is accepted a moment later, as a rule"
    assert drain(world, announcement(id_, NOW - NEVER + dt.timedelta(seconds=1))) == ["announcement"]
    assert world.queue.deferred == {"handle-announcement": 60.0}
    assert id_ in world.files.kept
    assert drain(world, announcement(id_, NOW - NEVER)) == []
    assert world.files.kept == {}  # prompts are kept no longer than they are needed
    assert (world.outbox.sent, world.claude.calls) == ([], [])


def test_lines_that_were_sent_before_the_function_died_are_sent_again_and_run_once() -> None:
    world = World()
    id_ = made(world, *(line(name) for name in "abc"), lane="direct")
    world.outbox.failing = 1
    assert drain(world, announcement(id_)) == ["announcement"], "the message of the batch stays on the queue"
    first = queued(world)
    assert [message["messageId"] for message in first] == ["a"]
    assert not world.batches.items[id_].unpacked
    drain(world, *first)
    run_to_the_end(world, id_)
    assert len(world.claude.answer_calls) == 3
    assert get(world, f"/{id_}").json()["request_counts"]["succeeded"] == 3


def test_lines_are_forgotten_once_they_are_on_the_queue() -> None:
    world = World()
    id_ = made(world)
    drain(world, announcement(id_))
    assert world.files.kept == {}


def test_lines_that_could_not_be_forgotten_are_when_the_message_comes_again() -> None:
    world = World()
    id_ = made(world)
    world.batches.items[id_] = dataclasses.replace(world.batches.items[id_], unpacked=True)
    assert drain(world, announcement(id_)) == []
    assert world.files.kept == {}
    assert world.outbox.sent == []


def test_a_copy_of_the_message_of_a_batch_sends_nothing() -> None:
    world = World()
    id_ = made(world)
    drain(world, announcement(id_))
    queued(world)
    assert drain(world, announcement(id_)) == []
    assert (world.outbox.sent, world.queue.aside) == ([], [])


def test_a_batch_whose_lines_are_gone_is_set_aside_with_the_reason() -> None:
    world = World()
    id_ = made(world)
    world.files.kept.clear()
    assert drain(world, announcement(id_)) == []
    ((body, reason),) = world.queue.aside
    assert json.loads(body) == {"batch": id_}
    assert "not in the results bucket" in reason


# -- The road of its lines ---------------------------------------------------------------------------------------------


def test_lines_run_as_jobs_and_their_results_are_the_apis_with_what_the_router_did() -> None:
    world = World()
    world.claude.labels.extend(["simple", "complex"])
    id_ = made(world, line("a", "easy"), line("b", "hard"), lane="direct")
    run_to_the_end(world, id_)
    reply = get(world, f"/{id_}/results")
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/x-jsonl")
    rows = {row["custom_id"]: row for row in map(json.loads, reply.text.splitlines())}
    assert {row["result"]["type"] for row in rows.values()} == {"succeeded"}
    assert {row["router"]["model"] for row in rows.values()} == {"claude-haiku-5-5", "claude-opus-5-5"}
    assert {entry.tenant for entry in world.ledger.entries} == {"acme"}
    assert {entry.job for entry in world.ledger.entries} == {f"{id_}/a", f"{id_}/b"}
    assert world.groups.groups[id_].expected == 2


def test_lines_take_the_batch_lane_unless_they_say_otherwise() -> None:
    world = World()
    id_ = made(world, line("a"))
    run_to_the_end(world, id_)
    assert world.jobs.state(f"{id_}/a") == "parked"
    assert world.claude.answer_calls == []


def test_a_message_that_was_unpacked_is_no_request_and_its_log_line_names_the_batch() -> None:
    world = World()
    id_ = made(world)
    world.telemetry.records.clear()
    drain(world, announcement(id_))
    (told,) = world.telemetry.records
    assert (told.outcome, told.tenant, told.job) == ("unpacked", "acme", id_)


def test_lines_of_a_tenant_that_names_its_senders_are_admitted_from_the_batch_function_alone() -> None:
    world = World(tenant("acme", senders=frozenset({"AROANIGHTLY"})))
    world.batch_settings = dataclasses.replace(world.batch_settings, role_id="AROABATCH")
    id_ = made(world, line("own"), line("foreign"), lane="direct")
    drain(world, announcement(id_))
    own, foreign = queued(world)
    own["attributes"]["SenderId"] = "AROABATCH:batch-function"
    foreign["attributes"]["SenderId"] = "AROASOMEBODY:batch-function"
    drain(world, own, foreign)
    kinds = {job: result["result"]["type"] for job, result in world.results.items.items()}
    assert kinds == {f"{id_}/own": "succeeded", f"{id_}/foreign": "errored"}


def test_without_a_role_of_its_own_no_sender_is_the_function() -> None:
    world = World(tenant("acme", senders=frozenset({"AROANIGHTLY"})))
    id_ = made(world, lane="direct")
    drain(world, announcement(id_))
    drain(world, *queued(world))
    assert world.results.items[f"{id_}/a"]["result"]["type"] == "errored"


# -- retrieve, cancel, results -----------------------------------------------------------------------------------------


def finish(world: World, id_: str, custom_id: str, end: End, kind: str) -> None:
    """A job of the batch has ended so."""
    run(world.jobs.take(id_, custom_id, "print", "req", (NOW, NOW + dt.timedelta(minutes=1))))
    world.jobs.finish(id_, custom_id, end, Spent())
    row = {"custom_id": custom_id, "result": {"type": kind}, "router": {"tenant": "acme"}}
    run(world.results.put(id_, custom_id, row))


def test_counts_follow_the_group_and_the_end_is_kept() -> None:
    world = World()
    id_ = made(world, line("a"), line("b"), line("c"))
    finish(world, id_, "a", End.DONE, "succeeded")
    row = get(world, f"/{id_}").json()
    assert row["request_counts"] == {"processing": 2, "succeeded": 1, "errored": 0, "canceled": 0, "expired": 0}
    assert (row["processing_status"], row["results_url"], row["ended_at"]) == ("in_progress", None, None)
    finish(world, id_, "b", End.FAILED, "expired")
    finish(world, id_, "c", End.CANCELED, "canceled")
    world.clock.advance(3600)
    row = get(world, f"/{id_}").json()
    assert row["request_counts"] == {"processing": 0, "succeeded": 1, "errored": 1, "canceled": 1, "expired": 0}
    assert (row["processing_status"], row["ended_at"]) == ("ended", "2026-11-23T13:00:00Z")
    assert row["results_url"] == f"http://router.test{PATH}/{id_}/results"
    world.jobs.tallies.clear()  # the table forgets
    world.clock.advance(3600)
    assert get(world, f"/{id_}").json() == row


def test_canceling_ends_what_was_not_called_and_is_told_at_once() -> None:
    world = World()
    id_ = made(world, line("a"), line("b"), lane="direct")
    reply = cancel(world, id_)
    assert (reply.status_code, reply.json()["processing_status"]) == (200, "canceling")
    assert reply.json()["cancel_initiated_at"] == "2026-11-23T12:00:00Z"
    assert get(world, f"/{id_}").json()["processing_status"] == "canceling"
    run_to_the_end(world, id_)
    row = get(world, f"/{id_}").json()
    assert (row["processing_status"], row["request_counts"]["canceled"]) == ("ended", 2)
    assert world.claude.calls == []
    kinds = {json.loads(text)["result"]["type"] for text in get(world, f"/{id_}/results").text.splitlines()}
    assert kinds == {"canceled"}


def test_a_batch_that_has_ended_cannot_be_canceled() -> None:
    world = World()
    id_ = made(world)
    finish(world, id_, "a", End.DONE, "succeeded")
    reply = cancel(world, id_)
    assert (reply.status_code, error_of(reply)["type"]) == (400, "invalid_request_error")
    assert error_of(reply)["message"] == f"Message Batch {id_} has already ended and cannot be canceled"
    assert id_ not in world.groups.groups


def test_there_are_no_results_before_the_end_nor_after_they_have_gone() -> None:
    world = World()
    id_ = made(world)
    reply = get(world, f"/{id_}/results")
    assert (reply.status_code, error_of(reply)["type"]) == (404, "not_found_error")
    assert error_of(reply)["message"] == f"Message Batch {id_} has no results yet: it is in_progress"
    finish(world, id_, "a", End.DONE, "succeeded")
    world.results.items.clear()
    reply = get(world, f"/{id_}/results")
    assert reply.status_code == 404
    assert "no longer kept" in error_of(reply)["message"]


def test_a_bucket_that_cannot_be_reached_is_told_before_the_first_result() -> None:
    world = World()
    id_ = made(world)
    finish(world, id_, "a", End.DONE, "succeeded")
    world.files.down = True
    assert get(world, f"/{id_}/results").status_code == 503


def test_another_tenants_batch_is_as_unknown_as_one_that_never_was() -> None:
    world = world_of_two()
    id_ = made(world)
    finish(world, id_, "a", End.DONE, "succeeded")
    for unknown, key in ((id_, OTHER_KEY), ("msgbatch_" + "a" * 24, KEY), ("m#x", KEY), ("a" * 500, KEY)):
        for reply in (
            get(world, f"/{unknown.replace('#', '%23')}", key),
            get(world, f"/{unknown.replace('#', '%23')}/results", key),
            cancel(world, unknown.replace("#", "%23"), key),
        ):
            assert (reply.status_code, error_of(reply)["type"]) == (404, "not_found_error")
            assert len(error_of(reply)["message"]) < 200
    assert get(world, "", OTHER_KEY).json()["data"] == []
    assert world.batches.items[id_].canceled_at is None


# -- list --------------------------------------------------------------------------------------------------------------


def test_batches_are_listed_the_newest_first_in_the_apis_pages() -> None:
    world = world_of_two()
    ids = [made(world) for _ in range(3)]
    finish(world, ids[1], "a", End.DONE, "succeeded")
    body = get(world, "?limit=2").json()
    assert [row["id"] for row in body["data"]] == [ids[2], ids[1]]
    assert [row["processing_status"] for row in body["data"]] == ["in_progress", "ended"]
    assert (body["first_id"], body["last_id"], body["has_more"]) == (ids[2], ids[1], True)
    body = get(world, f"?limit=2&after_id={ids[1]}").json()
    assert ([row["id"] for row in body["data"]], body["has_more"]) == ([ids[0]], False)
    body = get(world, f"?limit=1&before_id={ids[0]}").json()
    assert ([row["id"] for row in body["data"]], body["has_more"]) == ([ids[1]], True)


def test_a_list_of_nothing_has_no_ids() -> None:
    assert get(World(), "").json() == {"data": [], "has_more": False, "first_id": None, "last_id": None}


def test_a_cursor_is_a_batch_of_the_tenant_and_there_is_one_at_the_most() -> None:
    world = world_of_two()
    id_ = made(world)
    assert get(world, f"?after_id={id_}", OTHER_KEY).status_code == 404
    assert get(world, f"?after_id={id_}&before_id={id_}").status_code == 400
    assert get(world, "?limit=1001").status_code == 400


def test_batches_are_no_requests_for_an_answer() -> None:
    world = World()
    id_ = made(world)
    get(world, f"/{id_}")
    assert {told.kind for told in world.telemetry.records} == {"batches"}


def test_paths_beside_are_not_served() -> None:
    world = World()
    for method, path in (("DELETE", "/m"), ("GET", "/m/cancel"), ("PUT", "")):
        assert request(world, method, f"{PATH}{path}", {"x-api-key": KEY}).status_code == 405
    assert request(world, "GET", f"{PATH}/m/other", {"x-api-key": KEY}).status_code == 404


# -- Under which URL ---------------------------------------------------------------------------------------------------


def results_url(world: World, headers: dict[str, str], base: str = "https://api.example.com") -> str:
    id_ = made(world)
    finish(world, id_, "a", End.DONE, "succeeded")

    async def go() -> httpx2.Response:
        async with client_of(world) as client:
            return await client.get(f"{base}{PATH}/{id_}", headers={"x-api-key": KEY, **headers})

    return str(run(go()).json()["results_url"]).removesuffix(f"{PATH}/{id_}/results")


def context(path: str) -> dict[str, str]:
    """What the web adapter tells of the gateway's event."""
    return {"x-amzn-request-context": json.dumps({"path": path, "stage": "prod"})}


def test_results_are_under_the_url_that_the_caller_used() -> None:
    assert results_url(World(), {}) == "https://api.example.com"
    assert results_url(World(), {}, "http://127.0.0.1:8080") == "http://127.0.0.1:8080"


def test_behind_api_gateway_the_stage_stands_before_the_path() -> None:
    id_ = "msgbatch_000000000000000000000002"
    assert results_url(World(), context(f"/prod{PATH}/{id_}")) == "https://api.example.com/prod"
    assert results_url(World(), context(f"{PATH}/{id_}")) == "https://api.example.com"


@pytest.mark.parametrize("told", ["", "null", "[]", "{", '{"path": 1}', '{"path": "/elsewhere"}'])
def test_a_context_that_tells_nothing_changes_nothing(told: str) -> None:
    assert results_url(World(), {"x-amzn-request-context": told}) == "https://api.example.com"


def test_behind_mangum_the_gateways_event_tells_the_stage() -> None:
    event = {"requestContext": {"path": "/prod/v1/x"}}
    scope = {
        "type": "http",
        "path": "/v1/x",
        "scheme": "https",
        "server": ("h", 443),
        "headers": [],
        "query_string": b"",
    }
    assert base_url(HttpRequest({**scope, "aws.event": event})) == "https://h/prod"
    assert base_url(HttpRequest({**scope, "aws.event": {}})) == "https://h"


def test_a_public_url_stands_over_what_the_request_tells() -> None:
    world = World()
    world.router_settings = dataclasses.replace(world.router_settings, public_url="https://claude.example.com/v/")
    assert results_url(world, context("/prod/x")) == "https://claude.example.com/v"
