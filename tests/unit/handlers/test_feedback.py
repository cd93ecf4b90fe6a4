"""`POST /v1/feedback`: what is stored beside what, on whose requests, and what is refused."""

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from tests.builders import KEY, World, message_body
from tests.unit.handlers.client import error_of, post
from tests.unit.handlers.test_openapi import described
from tests.unit.handlers.test_requests import AUDITORS_KEY, CANARY, OTHERS_KEY, world


def answered(made: World, **fields: Any) -> str:
    """The router's id of a request that has been answered."""
    response = post(made, message_body(**fields), headers={"x-router-tags": "customer=acme"})
    assert response.status_code == 200, response.text
    return str(response.headers["x-router-request-id"])


def rate(made: World, id_: object, score: object = 0.8, *, key: str = KEY, **more: object) -> httpx2.Response:
    body = {"request_id": id_, "score": score, **more}
    return post(made, body, "/v1/feedback", headers={"x-api-key": key})


def test_feedback_is_stored_and_told_beside_label_tier_and_cost() -> None:
    made = world(label="moderate")
    id_ = answered(made)
    response = rate(made, id_, 0.85, comment="right, but too long")
    assert response.status_code == 200
    described("/v1/feedback", "POST", response)
    booked = [entry for entry in made.ledger.entries if entry.request_id == id_]
    assert response.json() == {
        "type": "feedback",
        "request_id": id_,
        "at": "2026-11-23T12:00:00.000+00:00",
        "given_at": "2026-11-23T12:00:00.000+00:00",
        "tenant": "acme",
        "tags": {"customer": "acme", "team": "shop"},
        "arm": None,
        "label": "moderate",
        "tier": "sonnet",
        "model": "claude-sonnet-5-5",
        "cause": "classifier",
        "cost_usd": f"{sum(entry.cost_usd for entry in booked):f}",
        "baseline_usd": "0.0006",
        "score": "0.85",
        "comment": "right, but too long",
    }
    [kept] = made.feedback.items.values()
    assert (kept.request_id, kept.score, kept.comment, kept.day) == (
        id_,
        Decimal("0.85"),
        "right, but too long",
        "2026-11-23",
    )
    assert made.telemetry.ratings == [kept]
    assert [record.kind for record in made.telemetry.records] == ["request", "feedback"]


def test_the_last_feedback_on_a_request_wins() -> None:
    made = world()
    id_ = answered(made, model="haiku")
    rate(made, id_, 0, comment="wrong")
    rate(made, "req_upstream", 1)  # the same request by Claude's id
    [kept] = made.feedback.items.values()
    assert kept.score == 1
    assert kept.comment is None


@pytest.mark.parametrize(
    ("score", "told"),
    [(0, "0"), (1, "1"), (-0.0, "0.0"), (1 / 3, "0.3333333333333333"), (1e-5, "0.00001"), ("0.850", "0.850")],
)
def test_a_score_is_kept_as_it_was_given(score: object, told: str) -> None:
    made = world()
    assert rate(made, answered(made), score).json()["score"] == told


@pytest.mark.parametrize(
    "score",
    [
        None,
        True,
        -0.01,
        1.01,
        2,
        1e-21,
        10**400,
        "1.5",
        "0,5",
        "\u0660",
        "1e-2",
        "",
        "-0",
        " 1",
        "0." + "1" * 21,
        [1],
        {},
    ],
    ids=str,
)
def test_any_other_score_is_refused_with_what_is_accepted(score: object) -> None:
    made = world()
    response = rate(made, answered(made), score)
    error = error_of(response)
    assert (response.status_code, error["type"]) == (400, "invalid_request_error")
    assert "from 0 to 1" in error["message"]
    assert made.feedback.items == {}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "request_id: Field required"),
        ({"request_id": "req_1"}, "score: Field required"),
        ({"request_id": 5, "score": 1}, "request_id: 5"),
        ({"request_id": None, "score": 1}, "request_id: None"),
        ({"request_id": "req_1", "score": 1, "stars": 5}, "'stars' is unknown; accepted: request_id, score, comment"),
        ({"request_id": "req_1", "score": 1, "comment": ["x"]}, "comment: it is a list"),
        ({"request_id": "req_1", "score": 1, "comment": "x" * 2_001}, "comment: it has 2001 characters"),
        ([1], "body: it is a list"),
        (b'{"request_id": "req_1", "score": NaN}', "not valid JSON"),
    ],
)
def test_a_body_of_another_shape_is_refused_in_words_that_name_the_member(body: object, said: str) -> None:
    response = post(world(), body, "/v1/feedback")
    assert response.status_code == 400
    assert said in error_of(response)["message"]


def test_a_comment_may_have_2000_characters_and_one_without_any_is_none() -> None:
    made = world()
    id_ = answered(made)
    assert rate(made, id_, comment="x" * 2_000).json()["comment"] == "x" * 2_000
    assert rate(made, id_, comment="").json()["comment"] is None
    assert rate(made, id_, comment=None).json()["comment"] is None


def test_a_request_of_another_tenant_is_as_unknown_as_one_that_never_was() -> None:
    made = world()
    id_ = answered(made)
    theirs, never = rate(made, id_, key=OTHERS_KEY), rate(made, "req_never", key=OTHERS_KEY)
    assert (theirs.status_code, never.status_code) == (404, 404)
    assert error_of(theirs)["message"].replace(id_, "X") == error_of(never)["message"].replace("req_never", "X")
    assert "in the last 24 hours" in error_of(never)["message"]
    assert rate(made, "no id/at all").status_code == 404
    assert made.feedback.items == {}
    assert rate(made, id_, key=AUDITORS_KEY).json()["tenant"] == "acme"


def test_after_a_day_there_is_nothing_left_to_join_feedback_with() -> None:
    made = world()
    id_ = answered(made)
    made.clock.at += dt.timedelta(hours=24)
    assert rate(made, id_).status_code == 404


def test_feedback_needs_a_key_and_a_store() -> None:
    made = world()
    id_ = answered(made)
    assert rate(made, id_, key="wrong").status_code == 401
    made.feedback.down = True
    response = rate(made, id_)
    assert response.status_code == 503
    assert made.telemetry.ratings == []


def test_nothing_of_a_comment_reaches_a_record_a_note_or_a_message() -> None:
    made = world()
    id_ = answered(made)
    rate(made, id_, comment=CANARY)
    refused = rate(made, id_, comment=CANARY * 100)
    told = repr([made.telemetry.records, made.telemetry.notes, made.telemetry.ratings, made.feedback.items])
    assert "canary" not in told + json.dumps(refused.json())
