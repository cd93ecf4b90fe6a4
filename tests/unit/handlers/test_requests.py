"""`GET /v1/requests/{id}`: who may see what of which request, and when it is there."""

import asyncio
import datetime as dt
import json
import socket
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from cost_router.core.errors import Failure, UpstreamError
from cost_router.core.pricing import Usage
from tests.builders import (
    KEY,
    NEVER,
    MemoryLedger,
    MemoryRequests,
    World,
    event,
    failing,
    job,
    limited,
    message_body,
    rejected,
    run,
    streamed_steps,
    tenant,
)
from tests.unit.adapters.upstream import listening
from tests.unit.handlers.client import error_of, post, request
from tests.unit.handlers.test_streaming import last_comment, until

USAGE = Usage(input_tokens=1_000, cache_read_input_tokens=2_000, cache_creation_5m_input_tokens=300, output_tokens=100)
CANARY = "the canary sings in the prompt"
OTHERS_KEY, AUDITORS_KEY = "key-of-other", "key-of-auditor"


def world(**fields: Any) -> World:
    """Acme, another tenant, and one that reads the account."""
    made = World(
        tenant("acme", tags={"team": "shop"}), tenant("other"), tenant("auditor", reads_account=True), **fields
    )
    made.tenants.keys |= {OTHERS_KEY: "other", AUDITORS_KEY: "auditor"}
    return made


def seen(world: World, id_: str, key: str = KEY) -> httpx2.Response:
    return request(world, "GET", f"/v1/requests/{id_}", {"x-api-key": key})


def told(world: World, id_: str, key: str = KEY) -> dict[str, Any]:
    response = seen(world, id_, key)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def test_an_answered_request_tells_what_it_cost_and_why_it_ran_where_it_did() -> None:
    made = world(label="moderate", script=[USAGE])
    made.claude.takes = 0.5
    answer = post(made, message_body(CANARY), headers={"x-router-tags": "customer=acme"})
    found = told(made, answer.headers["x-router-request-id"])
    saved = Decimal(answer.headers["x-router-baseline-usd"]) - Decimal(answer.headers["x-router-cost-usd"])
    assert found == {
        "type": "request",
        "id": answer.headers["x-router-request-id"],
        "at": "2026-11-23T12:00:00.000+00:00",
        "tenant": "acme",
        "status": "answered",
        "error": None,
        "model": "claude-sonnet-5-5",
        "tier": "sonnet",
        "label": "moderate",
        "cause": "classifier",
        "arm": None,
        "adapted": [],
        "upstream_request_id": "req_upstream",
        "usage": {
            "input_tokens": 1_000,
            "cache_read_input_tokens": 2_000,
            "cache_creation_5m_input_tokens": 300,
            "cache_creation_1h_input_tokens": 0,
            "output_tokens": 100,
        },
        "cost_usd": answer.headers["x-router-cost-usd"],
        "classifier_cost_usd": answer.headers["x-router-classifier-cost-usd"],
        "baseline_usd": answer.headers["x-router-baseline-usd"],
        "saved_usd": f"{saved:f}",
        "cache_saved_usd": "0",
        "ambiguous": 0,
        "latency_ms": 1_000,
        "tags": {"customer": "acme", "team": "shop"},
    }
    assert Decimal(found["cost_usd"]) == sum(entry.cost_usd for entry in made.ledger.entries) > 0


def test_nothing_of_prompt_or_answer_is_kept_or_told() -> None:
    made = world()
    answer = post(made, message_body(CANARY))
    assert "canary" not in json.dumps(told(made, answer.headers["x-router-request-id"]))
    assert "canary" not in repr(made.requests.puts)
    assert "the answer" not in repr(made.requests.puts)


def test_claudes_id_finds_the_request_too() -> None:
    made = world()
    answer = post(made, message_body(model="haiku"))
    assert answer.headers["request-id"] == "req_upstream"
    assert told(made, "req_upstream")["id"] == answer.headers["x-router-request-id"]


def test_what_is_told_is_never_cached_and_has_an_id_of_its_own() -> None:
    made = world()
    answer = post(made, message_body(model="haiku"))
    response = seen(made, answer.headers["x-router-request-id"])
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["request-id"] not in {"req_upstream", answer.headers["x-router-request-id"]}


def test_a_stream_is_told_with_what_its_last_comment_says() -> None:
    made = world(script=[streamed_steps(USAGE)])
    answer = post(made, message_body(model="opus", stream=True))
    found = told(made, answer.headers["x-router-request-id"])
    assert (found["status"], found["upstream_request_id"]) == ("answered", "req_upstream")
    assert found["cost_usd"] == last_comment(answer.text)["x-router-cost-usd"] == "0.0079"
    assert found["usage"]["output_tokens"] == 100


def asking(**fields: Any) -> tuple[dict[str, Any], asyncio.Queue[dict[str, Any]]]:
    """The scope of a request, and what its connection brings: the body, then what a test puts after it."""
    headers = [(b"x-api-key", KEY.encode())]
    scope = {"type": "http", "method": "POST", "path": "/v1/messages", "query_string": b"", "headers": headers}
    inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    inbox.put_nowait({"type": "http.request", "body": json.dumps(message_body(**fields)).encode()})
    return scope, inbox


def test_the_receipt_is_written_before_the_comment_with_the_cost_goes_out() -> None:
    made = world(script=[streamed_steps(USAGE)])
    events: list[str] = []

    async def go() -> None:
        scope, inbox = asking(model="opus", stream=True)

        async def send(message: Any) -> None:
            if b"x-router-cost-usd" in message.get("body", b""):
                events.append(f"comment after {len(made.requests.puts)}")

        await made.app()(scope, inbox.get, send)

    run(go())
    assert events == ["comment after 1"]


# --- at the same time as the booking


class Meeting:
    """Both sides wait for each other: one that began only after the other had ended would wait for ever."""

    def __init__(self) -> None:
        self.here = 0
        self.both = asyncio.Event()

    async def wait(self) -> None:
        self.here += 1
        if self.here == 2:
            self.both.set()
        await asyncio.wait_for(self.both.wait(), 5)


@pytest.mark.parametrize("stream", [False, True])
def test_it_is_written_while_the_request_is_booked_and_awaited_before_the_answer_ends(stream: bool) -> None:  # noqa: FBT001  a column
    made = world(script=[streamed_steps(USAGE) if stream else USAGE])
    meeting = Meeting()
    book, put = made.ledger.book, made.requests.put

    class Ledger(MemoryLedger):
        async def book(self, *arguments: Any) -> None:
            await meeting.wait()
            await book(*arguments)

    class Requests(MemoryRequests):
        async def put(self, receipt: Any) -> None:
            await meeting.wait()
            for _ in range(20):  # it takes longer than the booking
                await asyncio.sleep(0)
            await put(receipt)

    made.ledger.book = Ledger().book  # type: ignore[assignment,method-assign]  # one method is replaced
    made.requests.put = Requests().put  # type: ignore[method-assign]  # one method is replaced
    answer = post(made, message_body(model="opus", stream=stream))
    assert answer.status_code == 200
    assert len(made.requests.puts) == len(made.ledger.entries) == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("broken", [None, RuntimeError("a defect")], ids=["down", "defect"])
def test_a_log_that_cannot_be_written_fails_nothing_and_is_noted(stream: bool, broken: Exception | None) -> None:  # noqa: FBT001  a column
    made = world(script=[streamed_steps(USAGE) if stream else USAGE])
    made.requests.down, made.requests.broken = True, broken
    answer = post(made, message_body(model="opus", stream=stream))
    assert answer.status_code == 200
    assert "error" not in answer.text
    assert len(made.ledger.entries) == 1
    if broken:
        assert made.telemetry.defects == [broken]
    else:
        ((event_, fields),) = made.telemetry.notes
        assert (event_, fields["request_id"]) == ("request_log_failed", answer.headers["x-router-request-id"])


def test_a_request_that_could_not_be_booked_is_told_all_the_same() -> None:
    made = world(script=[USAGE])
    made.ledger.down = True
    answer = post(made, message_body(model="opus"))
    assert told(made, answer.headers["x-router-request-id"])["cost_usd"] == answer.headers["x-router-cost-usd"]


# --- failed and abandoned ones


def test_a_request_that_failed_after_it_was_decided_is_told_with_the_type_of_its_error() -> None:
    made = world(script=[rejected(400)])
    answer = post(made, message_body())
    assert answer.status_code == 400
    found = told(made, answer.headers["x-router-request-id"])
    assert (found["status"], found["error"], found["cause"]) == ("failed", "invalid_request_error", "classifier")
    assert found["cost_usd"] == found["classifier_cost_usd"] == "0.000044"
    assert found["saved_usd"] == "-0.000044"
    assert "refused with" not in json.dumps(found)


def test_calls_booked_at_their_bound_are_counted() -> None:
    made = world(script=[UpstreamError(Failure.CONNECTION, maybe_billed=True), USAGE])
    answer = post(made, message_body(model="opus"))
    found = told(made, answer.headers["x-router-request-id"])
    assert (found["status"], found["ambiguous"]) == ("answered", 1)
    assert Decimal(found["cost_usd"]) == sum(entry.cost_usd for entry in made.ledger.entries)


def test_a_failed_stream_is_told_as_failed_whether_before_or_after_its_content() -> None:
    start, text = event("message_start", USAGE), event("content_block_delta", text="a")
    made = world(script=[[start, text, UpstreamError(Failure.SERVER, 502, maybe_billed=True)]])
    answer = post(made, message_body(model="opus", stream=True))
    found = told(made, answer.headers["x-router-request-id"])
    assert (found["status"], found["error"], found["ambiguous"]) == ("failed", "api_error", 1)
    made = world(script=[limited(), limited(), limited(), limited(), limited(), limited()])
    answer = post(made, message_body(model="opus", stream=True))
    assert answer.status_code == 429
    found = told(made, answer.headers["x-router-request-id"])
    assert (found["status"], found["error"], found["cost_usd"]) == ("failed", "api_error", "0")


def test_a_fallback_is_told_with_the_model_that_answered() -> None:
    made = world(script=[failing(), failing(), USAGE])
    answer = post(made, message_body(model="opus"))
    found = told(made, answer.headers["x-router-request-id"])
    assert (found["tier"], found["cause"]) == ("sonnet", "fallback:opus")


@pytest.mark.parametrize("steps", [["start", "text"], ["start"]], ids=["in mid-answer", "before the content"])
def test_a_caller_who_leaves_finds_the_request_as_abandoned(steps: list[str]) -> None:
    known = {"start": event("message_start", USAGE), "text": event("content_block_delta", text="a")}
    made = world(script=[[*(known[step] for step in steps), NEVER]])
    body = json.dumps(message_body(model="opus", stream=True)).encode()
    head = f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-length: {len(body)}\r\n\r\n"
    with listening(made.app()) as url:
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as caller:
            caller.sendall(head.encode() + body)
            until(lambda: made.claude.streams and len(made.claude.streams[0].steps) == 0)
        until(lambda: made.telemetry.records)
    found = told(made, made.telemetry.records[0].request_id)
    assert (found["status"], found["error"], found["ambiguous"]) == ("abandoned", None, 1)
    assert Decimal(found["cost_usd"]) == made.ledger.entries[0].cost_usd > 0


def test_a_caller_who_does_not_wait_for_an_unstreamed_answer_leaves_an_abandoned_request() -> None:
    made = world()
    asked = asyncio.Event()

    async def never(*_arguments: Any) -> Any:
        asked.set()
        await asyncio.Event().wait()

    made.claude.send = never  # type: ignore[assignment,method-assign]  # one method is replaced

    async def go() -> None:
        scope, inbox = asking(model="opus")

        async def send(_message: Any) -> None:
            pass

        serving = asyncio.create_task(made.app()(scope, inbox.get, send))
        await asyncio.wait_for(asked.wait(), 5)
        inbox.put_nowait({"type": "http.disconnect"})
        await asyncio.wait_for(serving, 5)

    run(go())
    (receipt,) = made.requests.puts
    assert (receipt.status, receipt.error, receipt.ambiguous) == ("abandoned", None, 1)
    assert receipt.bill.cost_usd == made.ledger.entries[0].cost_usd > 0


def test_an_answer_that_came_whole_is_answered_though_its_caller_left_at_the_end() -> None:
    made = world(script=[[*streamed_steps(USAGE), NEVER]])

    async def go() -> None:
        scope, inbox = asking(model="opus", stream=True)

        async def send(message: Any) -> None:
            if b"message_stop" in message.get("body", b""):
                inbox.put_nowait({"type": "http.disconnect"})

        await made.app()(scope, inbox.get, send)

    run(go())
    assert [receipt.status for receipt in made.requests.puts] == ["answered"]


@pytest.mark.parametrize(
    "change", [{"model": "gpt-4"}, {"max_tokens": 0}, {"messages": []}, {"router": {"floor": "x"}}]
)
def test_a_request_on_which_nothing_was_decided_or_paid_leaves_nothing(change: dict[str, Any]) -> None:
    made = world()
    assert post(made, message_body(**change)).status_code in {400, 404}
    assert made.requests.puts == []


def test_dry_runs_and_jobs_leave_nothing() -> None:
    made = world()
    assert post(made, message_body(), "/v1/route").status_code == 200
    assert run(made.door().drain({"Records": [job(tenant="acme")]}, 900.0)) == {"batchItemFailures": []}
    assert len(made.ledger.entries) == 2  # of the dry run's classifier, whose label the job finds, and of the job
    assert made.requests.puts == []


# --- who may see it


def test_another_tenants_request_is_as_unknown_as_one_that_never_was() -> None:
    made = world()
    id_ = post(made, message_body()).headers["x-router-request-id"]
    for known in (id_, "req_upstream"):
        theirs, nobodys = seen(made, known, OTHERS_KEY), seen(made, "req_nobodys", OTHERS_KEY)
        assert (theirs.status_code, nobodys.status_code) == (404, 404)
        assert error_of(theirs)["type"] == "not_found_error"
        assert error_of(theirs)["message"] == error_of(nobodys)["message"].replace("req_nobodys", known)


def test_a_tenant_that_reads_the_account_sees_all() -> None:
    made = world()
    id_ = post(made, message_body()).headers["x-router-request-id"]
    assert told(made, id_, AUDITORS_KEY)["tenant"] == "acme"


def test_after_a_day_it_is_unknown() -> None:
    made = world()
    id_ = post(made, message_body()).headers["x-router-request-id"]
    made.clock.at += dt.timedelta(hours=24, seconds=-1)
    assert seen(made, id_).status_code == 200
    made.clock.at += dt.timedelta(seconds=1)
    assert seen(made, id_).status_code == 404


def test_without_a_key_nothing_is_looked_up() -> None:
    made = world()
    made.requests.down = True
    response = request(made, "GET", "/v1/requests/req_1")
    assert (response.status_code, error_of(response)["type"]) == (401, "authentication_error")


def test_a_table_that_cannot_be_reached_is_a_503_worth_another_try() -> None:
    made = world()
    made.requests.down = True
    response = seen(made, "req_1")
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize("id_", ["a%00b", "%ff", "x" * 129, "caf%C3%A9", "a%20b", "%7B%7D"])
def test_what_cannot_be_an_id_is_unknown_without_a_look_at_the_table(id_: str) -> None:
    made = world()
    made.requests.down = True
    response = seen(made, id_)
    assert (response.status_code, error_of(response)["type"]) == (404, "not_found_error")
    assert len(error_of(response)["message"]) < 400


def test_a_look_is_no_request_of_its_own() -> None:
    made = world()
    id_ = post(made, message_body()).headers["x-router-request-id"]
    told(made, id_)
    assert [record.kind for record in made.telemetry.records] == ["request", "receipt"]
    assert made.telemetry.records[1].tenant == "acme"
    assert len(made.requests.puts) == 1
