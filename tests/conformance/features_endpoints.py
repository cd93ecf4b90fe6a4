"""Counting, models and Message Batches: the endpoints beside messages."""

from typing import Any, Final

import httpx2

from infra.local.standin.models import MODELS
from tests.conformance.case import FORWARDED, Case, Json
from tests.conformance.features_messages import CLOCK, PERSON, WEATHER
from tests.integration.meter import TLS, poll
from tests.integration.test_batch_lane import round_of

NAMES: Final = ("auto", "haiku", "sonnet", "opus")
ENDED: Final = "ended"


def count_tokens(case: Case) -> None:
    """The figure is Claude's own for the model that would answer."""
    body = case.ask("How long?", system="Rules.", tools=[WEATHER, CLOCK])
    del body["max_tokens"]
    for model, real in (("haiku", "claude-haiku-5-5"), ("claude-opus-4-8", "claude-opus-4-8")):
        told = case.tell("count_tokens", body=body | {"model": model}).given()
        asked = case.asked()[-1]
        assert asked.target.split("?")[0].endswith("/v1/messages/count_tokens")
        headers = {name: asked.headers[name] for name in FORWARDED if name in asked.headers} | {"x-api-key": "any"}
        url = f"{case.meter.url}/v1/messages/count_tokens"
        direct = httpx2.post(url, json=asked.body | {"model": real}, headers=headers, verify=TLS).json()
        assert told["input_tokens"] == direct["input_tokens"] > 0
    assert case.meter.calls() == [], "counting costs nothing"


def count_tokens_auto(case: Case) -> None:
    body = case.ask("[[label:simple]] How long?", model="auto")
    del body["max_tokens"]
    assert case.tell("count_tokens", body=body).given()["input_tokens"] > 0


def models_list(case: Case) -> None:
    """The names of the router, and real models, each with the members that the API gives."""
    found = {model["id"]: model for model in case.tell("models_list").given()["models"]}
    assert {*NAMES, "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"} <= set(found)
    assert set(found) <= {*NAMES, *MODELS}
    for model in found.values():
        assert model["type"] == "model"
        assert model["display_name"]
        assert model["created_at"][:2] in ("19", "20"), model


def models_retrieve(case: Case) -> None:
    for name in ("claude-opus-5-5", "auto", "haiku"):
        found = case.tell("models_retrieve", id=name).given()
        assert (found["type"], found["id"]) == ("model", name)
    error = case.tell("models_retrieve", id="claude-nothing-9").raised()
    assert case.client.errors["unknown model"] in error["bases"]
    assert (error["status"], error["type"]) == (404, "not_found_error")


def models_pages(case: Case) -> None:
    """Small pages hold together what one large page holds, each model once, in the same order."""
    whole = [model["id"] for model in case.tell("models_list").given()["models"]]
    found = case.tell("models_pages", limit=2).given()
    assert [len(page) for page in found["pages"][:-1]] == [2] * (len(found["pages"]) - 1)
    assert [name for page in found["pages"] for name in page] == found["all"] == whole
    assert len(found["pages"]) > 1


def batch(case: Case) -> None:
    """Create, retrieve until it has ended, list, results; each line as the API gives it."""
    made = case.tell("batch_create", requests=_lines(case)).given()
    assert (made["type"], made["processing_status"]) == ("message_batch", "in_progress")
    assert made["request_counts"]["processing"] == 4
    ended = poll(lambda: _after_a_round(case, made["id"]), "ended batch")
    assert ended["request_counts"] == {"processing": 0, "succeeded": 3, "errored": 1, "canceled": 0, "expired": 0}
    assert ended["results_url"].endswith(f"/v1/messages/batches/{made['id']}/results")
    results = {row["custom_id"]: row["result"] for row in case.tell("batch_results", id=made["id"]).given()["results"]}
    assert set(results) == {"auto", "tier", "person", "wrong"}
    assert results["tier"]["message"]["model"] == "claude-sonnet-5-5"
    assert results["auto"]["message"]["model"] == "claude-haiku-5-5"
    assert results["tier"]["message"]["content"][0]["text"].startswith("[stand-in answer from claude-sonnet-5-5]")
    assert results["wrong"]["type"] == "errored"
    assert results["wrong"]["error"]["error"]["type"] == "invalid_request_error"


def batch_list(case: Case) -> None:
    """The newest first, by pages."""
    ids = [case.tell("batch_create", requests=_pinned(case)).given()["id"] for _ in range(3)]
    found = case.tell("batch_list", limit=2).given()
    assert [row["id"] for row in found["batches"]] == ids[:0:-1]
    assert found["all"][:3] == ids[::-1]
    assert len(set(found["all"])) == len(found["all"])


def batch_cancel(case: Case) -> None:
    made = case.tell("batch_create", requests=_pinned(case)).given()
    canceled = case.tell("batch_cancel", id=made["id"]).given()
    assert canceled["id"] == made["id"]
    assert canceled["processing_status"] in ("canceling", ENDED)
    assert canceled["cancel_initiated_at"]
    ended = poll(lambda: _after_a_round(case, made["id"]), "ended batch")
    counts = ended["request_counts"]
    assert (counts["processing"], counts["canceled"] + counts["succeeded"]) == (0, 1)


def batch_errors(case: Case) -> None:
    error = case.tell("batch_retrieve", id="msgbatch_nothing").raised()
    assert case.client.errors["unknown model"] in error["bases"]
    assert (error["status"], error["type"]) == (404, "not_found_error")
    error = case.tell("batch_create", requests=_pinned(case) * 2).raised()
    assert case.client.errors["invalid"] in error["bases"]
    assert (error["status"], error["type"]) == (400, "invalid_request_error")


def _line(case: Case, custom_id: str, text: str, **more: Any) -> Json:
    return {"custom_id": custom_id, "params": case.ask(text, **more)}


def _pinned(case: Case) -> list[Json]:
    """A line that is not classified: nothing of it reaches Claude while later tests count what does."""
    return [_line(case, "tier", "Hi", model="sonnet")]


def _lines(case: Case) -> list[Json]:
    form = {"format": {"type": "json_schema", "schema": PERSON}}
    return [
        _line(case, "auto", "[[label:simple]] Hi", model="auto"),
        _line(case, "tier", "Hi", model="sonnet"),
        _line(case, "person", "Who?", output_config=form),
        _line(case, "wrong", "Hi", messages=[{"role": "robot", "content": "Hi"}]),
    ]


def _after_a_round(case: Case, batch_id: str) -> Json | None:
    """The batch, once it has ended; the collector does a round first, whatever its schedule says."""
    round_of(case.stack)
    found = case.tell("batch_retrieve", id=batch_id).given()
    return found if found["processing_status"] == ENDED else None
