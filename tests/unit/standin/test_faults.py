"""The script: faults, delays, and what is billed when something goes wrong."""

import json
from typing import Any

import pytest

from tests.unit.standin.desk import Desk, classify

Json = dict[str, Any]


def test_a_status_fault_hits_the_next_calls_and_is_not_billed(desk: Desk, ask: Json) -> None:
    state = desk.script(faults=[{"times": 2, "status": 529}])
    assert state["faults"] == [{"times": 2, "latency": 0.0, "status": 529}]
    codes = [desk.post(ask) for _ in range(3)]
    assert [answer.status_code for answer in codes] == [529, 529, 200]
    assert codes[0].json()["error"] == {"type": "overloaded_error", "message": "Overloaded"}
    assert len(desk.meter()) == 1
    assert desk.client.get("/_script").json()["faults"] == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "api_error"),
        (504, "timeout_error"),
        (418, "invalid_request_error"),
    ],
)
def test_each_status_has_its_error_type(desk: Desk, ask: Json, status: int, kind: str) -> None:
    desk.script(faults=[{"status": status}])
    assert desk.refusal(ask) == (status, kind, f"scripted fault {status}")


def test_a_429_carries_retry_after_and_error_code(desk: Desk, ask: Json) -> None:
    desk.script(
        faults=[{"status": 429, "retry_after": 7, "error_code": "enforced_spend_limit_reached", "message": "m"}]
    )
    answer = desk.post(ask)
    assert answer.headers["retry-after"] == "7"
    assert answer.json()["error"] == {
        "type": "rate_limit_error",
        "message": "m",
        "details": {"error_code": "enforced_spend_limit_reached"},
    }


def test_a_fault_may_be_for_one_model_or_one_purpose(desk: Desk, ask: Json) -> None:
    desk.script(
        faults=[
            {"times": None, "status": 500, "model": "claude-opus-5-5"},
            {"times": None, "status": 503, "purpose": "classifier"},
        ]
    )
    assert desk.post(ask).status_code == 200
    assert [desk.post(ask | {"model": "claude-opus-5-5"}).status_code for _ in range(2)] == [500, 500]
    assert desk.post(classify("x")).status_code == 503


def test_delays_add_up(desk: Desk, ask: Json) -> None:
    desk.script(latency=0.5, faults=[{"latency": 2}, {"status": 500, "latency": 1}])
    assert [desk.post(ask).status_code for _ in range(3)] == [200, 500, 200]
    assert desk.slept == [2.5, 1.5, 0.5]


def test_billed_faults_are_on_the_meter_in_full(desk: Desk, ask: Json) -> None:
    usage = desk.post(ask).json()["usage"]
    desk.script(faults=[{"kind": "html"}, {"kind": "no_usage"}, {"kind": "cut_after"}])
    page, bare = desk.post(ask), desk.post(ask)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert bare.json()["type"] == "message"
    assert "usage" not in bare.json()
    desk.post(ask)
    assert [(call["fault"], call["usage"]) for call in desk.meter()] == [
        (None, usage),
        ("html", usage),
        ("no_usage", usage),
        ("cut_after", usage),
    ]


def test_a_cut_before_the_answer_is_not_billed(desk: Desk, ask: Json) -> None:
    desk.script(faults=[{"kind": "cut_before"}])
    desk.post(ask)
    assert desk.meter() == []


def test_faults_of_streams_leave_other_calls_alone(desk: Desk, ask: Json) -> None:
    desk.script(faults=[{"kind": "sse_error", "message": "gone", "type": "api_error"}])
    assert desk.post(ask).status_code == 200
    events = events_of(desk.post(ask | {"stream": True}).text)
    assert events[-1][0] == "error"
    assert events[-1][1]["error"] == {"type": "api_error", "message": "gone"}
    assert "message_stop" not in [name for name, _ in events]
    assert [call["fault"] for call in desk.meter()] == [None, "sse_error"]


def test_a_billed_fault_waits_for_the_limit(desk: Desk, ask: Json) -> None:
    desk.script(limits={"rpm": 1}, faults=[])
    desk.post(ask)
    desk.script(faults=[{"kind": "html"}])
    assert desk.post(ask).status_code == 429
    assert desk.client.get("/_script").json()["faults"][0]["times"] == 1


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ({"limit": {}}, "script: unknown field 'limit'; accepted: limits, limits_by_model, latency, chunk_delay, "),
        ({"limits": {"rpm": 0}}, "limits.rpm: 0; accepted: a whole number above 0, or null"),
        ({"limits": {"tpm": 5}}, "limits: unknown field 'tpm'; accepted: rpm, itpm, otpm, burst_seconds"),
        ({"limits_by_model": {"x": None}}, "limits_by_model: unknown field 'x'; accepted: claude-haiku-5-5"),
        ({"latency": -1}, "latency: -1; accepted: seconds, 0 or more"),
        ({"labels": ["hard"]}, "labels.0: 'hard'; accepted: complex, moderate, simple"),
        ({"faults": [{"times": 1}]}, "faults.0: accepted: a status, or a kind (cut_before, "),
        ({"faults": [{"status": 200}]}, "faults.0.status: 200; accepted: 400 to 599"),
        ({"faults": [{"kind": "fire"}]}, "faults.0.kind: 'fire'; accepted: cut_before, cut_after, html"),
        ({"faults": [{"status": 500, "kind": "html"}]}, "faults.0: accepted: a status, or a kind"),
        ({"faults": [{"status": 500, "purpose": "judge"}]}, "faults.0.purpose: 'judge'; accepted: classifier, answer"),
        ({"answers": ["wrong"]}, "answers.0: 'wrong'; accepted: refusal, empty, not-json"),
        ({"answers": "empty"}, "answers: 'empty' is not a list; accepted: of refusal, empty, not-json"),
        ({"system_role": True}, "system_role: True; accepted: accept, refuse, as_api"),
        ([], "script: [] is not an object; accepted fields: limits, "),
    ],
)
def test_a_mistake_in_the_script_is_a_400_that_says_what_is_accepted(desk: Desk, script: object, message: str) -> None:
    answer = desk.client.post("/_script", json=script)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith(message)


def test_a_script_changes_only_what_it_names_and_nothing_when_it_is_wrong(desk: Desk) -> None:
    desk.script(latency=1, labels=["simple"])
    assert desk.client.post("/_script", json={"latency": 2, "labels": ["x"]}).status_code == 400
    state = desk.script(limits={"rpm": 5})
    assert (state["latency"], state["labels"]) == (1, ["simple"])
    assert state["limits"] == {"rpm": 5, "itpm": None, "otpm": None, "burst_seconds": 60.0}
    assert desk.script(limits=None)["limits"] is None


def test_reset_clears_everything(desk: Desk, ask: Json) -> None:
    desk.script(limits={"rpm": 1}, latency=1, faults=[{"status": 500}], labels=["simple"], system_role="refuse")
    desk.script(answers=["empty", "refusal"])
    desk.post(ask)
    state = desk.client.post("/_reset").json()
    assert state == {
        "limits": None,
        "limits_by_model": {},
        "latency": 0.0,
        "chunk_delay": 0.0,
        "report_delay": 0.0,
        "labels": [],
        "answers": [],
        "system_role": "as_api",
        "forced_tool_use": "as_api",
        "foreign_thinking": "as_api",
        "faults": [],
        "batch_seconds": 0.0,
        "batch_faults": [],
        "line_faults": [],
    }
    assert [desk.post(ask).status_code for _ in range(2)] == [200, 200]
    assert len(desk.meter()) == 2


def test_the_meter_shows_calls_in_order_and_since(desk: Desk, ask: Json) -> None:
    desk.post(ask)
    desk.now += 1.5
    desk.post(classify("[[label:complex]]"))
    desk.post({})
    first, second = desk.meter()
    assert (first["request_id"], second["request_id"]) == ("req_1", "req_2")
    assert (first["at"], second["at"]) == ("2026-11-18T11:06:40.000Z", "2026-11-18T11:06:41.500Z")
    assert {name: second[name] for name in ("model", "processing", "purpose", "stream", "label", "fault")} == {
        "model": "claude-haiku-5-5",
        "processing": "realtime",
        "purpose": "classifier",
        "stream": False,
        "label": "complex",
        "fault": None,
    }
    assert desk.client.get("/_meter?since=1").json() == {"calls": [second], "total": 2, "limited": []}
    assert desk.client.get("/_meter?since=x").status_code == 400


def test_a_stream_has_the_events_and_the_usage_of_the_plain_answer(desk: Desk, ask: Json) -> None:
    plain = desk.post(ask).json()
    answer = desk.post(ask | {"stream": True})
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    events = events_of(answer.text)
    names = [name for name, _ in events]
    assert names[:3] == ["message_start", "ping", "content_block_start"]
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(names[3:-3]) == {"content_block_delta"}
    assert "".join(data["delta"]["text"] for _, data in events[3:-3]) == plain["content"][0]["text"]
    start = events[0][1]["message"]
    assert start["usage"] == plain["usage"] | {"output_tokens": 1}
    assert (start["content"], start["stop_reason"]) == ([], None)
    end = events[-2][1]
    assert end["delta"]["stop_reason"] == "end_turn"
    assert end["usage"] == {
        name: plain["usage"][name]
        for name in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
    }


def test_a_stream_without_usage_has_none_in_any_event(desk: Desk, ask: Json) -> None:
    desk.script(faults=[{"kind": "no_usage"}])
    assert "usage" not in desk.post(ask | {"stream": True}).text


def test_chunk_delay_waits_after_every_event(desk: Desk, ask: Json) -> None:
    desk.script(chunk_delay=0.1)
    events = events_of(desk.post(ask | {"stream": True, "max_tokens": 5}).text)
    assert desk.slept == [0.1] * len(events)


def events_of(text: str) -> list[tuple[str, Json]]:
    pairs = [event.split("\n") for event in text.strip().split("\n\n")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in pairs]


@pytest.mark.parametrize(
    ("fault", "names"),
    [
        ({"kind": "sse_error", "after": 0}, ["error"]),
        ({"kind": "sse_error", "after": 2}, ["message_start", "ping", "error"]),
        ({"kind": "sse_end", "after": 3}, ["message_start", "ping", "content_block_start"]),
    ],
)
def test_a_stream_may_break_after_any_number_of_events(
    desk: Desk, ask: Json, fault: dict[str, Any], names: list[str]
) -> None:
    desk.script(faults=[fault])
    assert [name for name, _ in events_of(desk.post(ask | {"stream": True}).text)] == names
    assert [call["fault"] for call in desk.meter()] == [fault["kind"]]


def test_a_stream_may_end_as_if_it_were_whole_without_message_stop(desk: Desk, ask: Json) -> None:
    desk.script(faults=[{"kind": "sse_end"}])
    broken = events_of(desk.post(ask | {"stream": True}).text)
    whole = events_of(desk.post(ask | {"stream": True}).text)
    assert [name for name, _ in broken] == [name for name, _ in whole][:-1]
    assert broken[-1][0] == "message_delta"


def test_how_many_events_come_first_is_for_faults_of_streams_only(desk: Desk) -> None:
    answer = desk.client.post("/_script", json={"faults": [{"kind": "html", "after": 2}]})
    assert answer.status_code == 400
    assert "sse_error, sse_cut, sse_end" in answer.json()["error"]["message"]
