"""The Message Batches API as the stand-in speaks it."""

import json
from typing import Any

import pytest

from tests.unit.standin.desk import KEY, Desk

PATH = "/v1/messages/batches"
Body = dict[str, Any]


def lines(ask: Body, *names: str) -> Body:
    return {"requests": [{"custom_id": name, "params": ask} for name in names]}


def create(desk: Desk, body: Body) -> Body:
    answer = desk.post(body, PATH)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def get(desk: Desk, path: str, **query: str) -> Body:
    answer = desk.client.get(f"{PATH}{path}", headers=KEY, params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def results(desk: Desk, id_: str) -> list[Body]:
    answer = desk.client.get(f"{PATH}/{id_}/results", headers=KEY)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def test_a_batch_is_in_progress_when_created_and_has_ended_at_the_next_look(desk: Desk, ask: Body) -> None:
    made = create(desk, lines(ask, "a", "b"))
    assert (made["processing_status"], made["results_url"], made["request_counts"]["processing"]) == (
        "in_progress",
        None,
        2,
    )
    seen = get(desk, f"/{made['id']}")
    assert seen["processing_status"] == "ended"
    assert seen["request_counts"] == {"processing": 0, "succeeded": 2, "errored": 0, "canceled": 0, "expired": 0}
    assert seen["results_url"].endswith(f"{PATH}/{made['id']}/results")


def test_a_batch_takes_as_long_as_scripted_and_has_no_results_before(desk: Desk, ask: Body) -> None:
    desk.script(batch_seconds=60)
    made = create(desk, lines(ask, "a"))
    desk.now += 59
    assert get(desk, f"/{made['id']}")["processing_status"] == "in_progress"
    assert desk.client.get(f"{PATH}/{made['id']}/results", headers=KEY).status_code == 404
    assert desk.meter() == []
    desk.now += 1
    assert get(desk, f"/{made['id']}")["processing_status"] == "ended"


def test_lines_are_metered_as_batch_with_the_id_of_their_message(desk: Desk, ask: Body) -> None:
    made = create(desk, lines(ask, "a", "b"))
    found = {row["custom_id"]: row["result"]["message"] for row in results(desk, made["id"])}
    metered = {call["custom_id"]: call for call in desk.meter()}
    assert found.keys() == metered.keys() == {"a", "b"}
    for name, message in found.items():
        assert metered[name]["request_id"] == message["id"]
        assert (metered[name]["processing"], metered[name]["batch_id"]) == ("batch", made["id"])
        assert metered[name]["usage"] == message["usage"]
        assert message["usage"]["service_tier"] == "batch"


def test_results_come_in_an_order_of_their_own_which_is_always_the_same(desk: Desk, ask: Body) -> None:
    names = [f"line-{number}" for number in range(20)]
    made = create(desk, lines(ask, *names))
    first = [row["custom_id"] for row in results(desk, made["id"])]
    assert first != names
    assert sorted(first) == sorted(names)
    assert [row["custom_id"] for row in results(desk, made["id"])] == first


def test_wrong_params_make_their_line_errored_when_it_is_worked_on_and_cost_nothing(desk: Desk, ask: Body) -> None:
    body = lines(ask, "good")
    body["requests"] += [
        {"custom_id": "unknown", "params": ask | {"model": "gpt-4"}},
        {"custom_id": "negative", "params": ask | {"max_tokens": -1}},
        {"custom_id": "stream", "params": ask | {"stream": True}},
    ]
    made = create(desk, body)
    found = {row["custom_id"]: row["result"] for row in results(desk, made["id"])}
    assert {name: result["type"] for name, result in found.items()} == {
        "good": "succeeded",
        "unknown": "errored",
        "negative": "errored",
        "stream": "errored",
    }
    assert found["unknown"]["error"]["error"]["type"] == "not_found_error"
    assert found["negative"]["error"]["error"]["type"] == "invalid_request_error"
    assert len(desk.meter()) == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "requests: Field required"),
        ({"requests": []}, "requests: List should have 1 to 100000 items, not 0"),
        ({"requests": {}}, "requests: Input should be a valid list"),
        ({"requests": [1]}, "requests.0: Input should be an object"),
        ({"requests": [{"custom_id": "a"}]}, "requests.0.params: Field required"),
        ({"requests": [{"params": {}}]}, "requests.0.custom_id: Field required"),
        ({"requests": [{"custom_id": "a b", "params": {}}]}, "requests.0.custom_id: String should match pattern"),
        ({"requests": [{"custom_id": "a" * 65, "params": {}}]}, "requests.0.custom_id: String should match pattern"),
        ({"requests": [{"custom_id": "a", "params": 1}]}, "requests.0.params: Input should be an object"),
        ({"requests": [{"custom_id": "a", "params": {}, "router": {}}]}, "requests.0.router: Extra inputs"),
        ({"requests": [{"custom_id": "a", "params": {}}] * 2}, "requests: custom_id values must be unique"),
        ({"requests": [], "model": "x"}, "model: Extra inputs are not permitted"),
    ],
)
def test_a_batch_of_the_wrong_shape_is_refused_as_a_whole(desk: Desk, body: Body, message: str) -> None:
    status, kind, told = desk.refusal(body, PATH)
    assert (status, kind) == (400, "invalid_request_error")
    assert told.startswith(message)
    assert get(desk, "")["data"] == []


def test_the_list_has_the_newest_first_and_pages_both_ways(desk: Desk, ask: Body) -> None:
    ids = [create(desk, lines(ask, "a"))["id"] for _ in range(5)][::-1]
    first = get(desk, "", limit="2")
    assert [row["id"] for row in first["data"]] == ids[:2]
    assert (first["has_more"], first["first_id"], first["last_id"]) == (True, ids[0], ids[1])
    last = get(desk, "", limit="2", after_id=ids[3])
    assert ([row["id"] for row in last["data"]], last["has_more"]) == (ids[4:], False)
    before = get(desk, "", limit="2", before_id=ids[3])
    assert ([row["id"] for row in before["data"]], before["has_more"]) == (ids[1:3], True)
    assert desk.client.get(PATH, headers=KEY, params={"limit": "1001"}).status_code == 400


def test_a_canceled_batch_ends_with_canceled_lines_and_cannot_be_canceled_again(desk: Desk, ask: Body) -> None:
    desk.script(batch_seconds=60)
    id_ = create(desk, lines(ask, "a"))["id"]
    canceling = desk.post({}, f"{PATH}/{id_}/cancel").json()
    assert (canceling["processing_status"], canceling["cancel_initiated_at"] is not None) == ("canceling", True)
    assert get(desk, f"/{id_}")["request_counts"]["canceled"] == 1
    assert results(desk, id_) == [{"custom_id": "a", "result": {"type": "canceled"}}]
    assert desk.refusal({}, f"{PATH}/{id_}/cancel")[0] == 400
    assert desk.meter() == []


def test_a_batch_that_takes_a_day_expires(desk: Desk, ask: Body) -> None:
    desk.script(batch_seconds=90_000)
    id_ = create(desk, lines(ask, "a"))["id"]
    desk.now += 86_400
    assert get(desk, f"/{id_}")["request_counts"]["expired"] == 1
    assert desk.meter() == []


def test_scripted_lines_err_and_expire(desk: Desk, ask: Body) -> None:
    desk.script(line_faults=[{"result": "errored", "type": "overloaded_error"}, {"result": "expired"}])
    id_ = create(desk, lines(ask, "a", "b", "c"))["id"]
    found = {row["custom_id"]: row["result"] for row in results(desk, id_)}
    assert found["a"]["error"]["error"]["type"] == "overloaded_error"
    assert (found["b"]["type"], found["c"]["type"]) == ("expired", "succeeded")


@pytest.mark.parametrize(("kind", "accepted"), [("cut_before", 0), ("cut_after", 1)])
def test_a_lost_reply_leaves_open_whether_the_batch_was_accepted(
    desk: Desk, ask: Body, kind: str, accepted: int
) -> None:
    desk.script(batch_faults=[{"on": "create", "kind": kind}])
    assert desk.post(lines(ask, "a"), PATH).status_code == 500, "the connection is cut"
    assert len(get(desk, "")["data"]) == accepted


def test_a_batch_may_be_missing_for_some_looks(desk: Desk, ask: Body) -> None:
    id_ = create(desk, lines(ask, "a"))["id"]
    desk.script(batch_faults=[{"on": "retrieve", "status": 404, "times": 2}])
    looks = [desk.client.get(f"{PATH}/{id_}", headers=KEY).status_code for _ in range(3)]
    assert looks == [404, 404, 200]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ({"batch_faults": [{"on": "delete", "status": 500}]}, "batch_faults.0.on: 'delete'"),
        ({"batch_faults": [{"on": "create"}]}, "batch_faults.0: accepted: on"),
        ({"line_faults": [{"times": 1}]}, "line_faults.0.result: Field required"),
        ({"line_faults": [{"result": "lost"}]}, "line_faults.0.result: 'lost'"),
    ],
)
def test_a_wrong_script_is_refused(desk: Desk, script: Body, message: str) -> None:
    answer = desk.client.post("/_script", json=script)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith(message)


def test_a_reset_forgets_batches(desk: Desk, ask: Body) -> None:
    create(desk, lines(ask, "a"))
    desk.client.post("/_reset")
    assert get(desk, "")["data"] == []
