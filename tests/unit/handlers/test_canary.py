"""A canary: a share of the conversations is decided by a candidate, everything else as before."""

import datetime as dt
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from cost_router.core.ask import Ask
from cost_router.core.routing import Routing
from cost_router.core.words import Label
from cost_router.handlers import wiring
from tests.builders import FixedPlans, World, failing, job, message_body, run
from tests.unit.core.test_batch_lane import Lane
from tests.unit.handlers.client import WITH_KEY, client_of, post, request, send


def canary(percent: int = 100, **parts: Any) -> Routing:
    return Routing.parse({"candidate": {"mode": "canary", "percent": percent, **(parts or {"lineup": "article"})}})


def set_routing(world: World, routing: Routing) -> None:
    plans = world.router.decider.plans
    assert isinstance(plans, FixedPlans)
    plans.routing = routing


class Sure:
    """A local model that always says the same."""

    version = "1"

    def label(self, _ask: Ask) -> Label | None:
        return Label.COMPLEX


async def _talk(world: World, number: int) -> list[httpx2.Response]:
    """Two turns of a conversation."""
    said: list[dict[str, Any]] = [{"role": "user", "content": f"Question {number}"}]
    async with client_of(world) as client:
        first = await send(client, message_body(messages=said))
        more = [{"role": "assistant", "content": "Yes."}, {"role": "user", "content": f"And then, {number}?"}]
        return [first, await send(client, message_body(messages=[*said, *more]))]


def test_a_share_of_the_conversations_runs_on_the_candidate_and_each_stays_in_its_arm() -> None:
    world = World(routing=canary(30))

    async def all_of_them() -> list[list[httpx2.Response]]:
        return [await _talk(world, number) for number in range(120)]

    talks = run(all_of_them())
    arms = [{reply.headers["x-router-arm"] for reply in talk} for talk in talks]
    assert all(len(found) == 1 for found in arms)
    assert 20 <= sum(found == {"candidate"} for found in arms) <= 52  # 36 +- three standard deviations
    models = {reply.headers["x-router-arm"]: reply.headers["x-router-model"] for talk in talks for reply in talk}
    assert models == {"control": "claude-haiku-5-5", "candidate": "claude-haiku-4-5"}
    for entry in world.ledger.entries:
        assert (entry.arm == "candidate") == (entry.model == "claude-haiku-4-5"), "classifier and answer"
    assert {record.arm for record in world.telemetry.records} == {"control", "candidate"}


def test_savings_compare_with_the_opus_of_the_control_and_fallbacks_stay_in_the_candidates_lineup() -> None:
    world = World(label="complex", script=[failing(), failing()], routing=canary())
    reply = post(world, message_body())
    assert (reply.headers["x-router-model"], reply.headers["x-router-cause"]) == ("claude-sonnet-4-6", "fallback:opus")
    answer = world.ledger.entries[-1]
    assert answer.baseline_usd == Decimal("0.0006")  # 100 and 10 tokens at $4 and $20 a million
    assert answer.cost_usd == Decimal("0.00045")  # at $3 and $15


def test_a_candidates_rubric_asks_and_is_remembered_apart_also_with_the_same_version() -> None:
    rubric = {**wiring.data("rubric.json"), "rules": ["Say complex."]}
    world = World()
    post(world, message_body())
    set_routing(world, canary(rubric=rubric))
    world.claude.label = "complex"
    for cause in ("classifier", "cache"):
        reply = post(world, message_body())
        assert (reply.headers["x-router-model"], reply.headers["x-router-cause"]) == ("claude-opus-5-5", cause)
    control, candidate = world.claude.classifier_calls
    assert not control.body["system"].endswith("Say complex.")
    assert candidate.body["system"].endswith("Say complex.")
    set_routing(world, Routing())
    reply = post(world, message_body())
    assert (reply.headers["x-router-model"], reply.headers["x-router-cause"]) == ("claude-haiku-5-5", "cache")


def test_a_candidates_local_model_labels_without_a_call() -> None:
    world = World(routing=canary(preclassifier="sure"), models={"sure": Sure()})
    reply = post(world, message_body())
    assert (reply.headers["x-router-model"], reply.headers["x-router-cause"]) == ("claude-opus-5-5", "preclassifier")
    assert world.claude.classifier_calls == []


def test_a_candidate_may_do_without_the_local_model_that_the_others_have() -> None:
    settings = {"preclassifier": "sure", "candidate": {"mode": "canary", "percent": 100, "preclassifier": "none"}}
    world = World(routing=Routing.parse(settings), models={"sure": Sure()})
    assert post(world, message_body()).headers["x-router-cause"] == "classifier"


def test_taking_the_candidate_away_rolls_back() -> None:
    world = World(routing=canary())
    assert post(world, message_body()).headers["x-router-model"] == "claude-haiku-4-5"
    set_routing(world, Routing())
    reply = post(world, message_body())
    assert reply.headers["x-router-model"] == "claude-haiku-5-5"
    assert "x-router-arm" not in reply.headers
    assert world.ledger.entries[-1].arm is None


def test_the_receipt_tells_the_arm() -> None:
    world = World(routing=canary())
    id_ = post(world, message_body()).headers["x-router-request-id"]
    assert request(world, "GET", f"/v1/requests/{id_}", WITH_KEY).json()["arm"] == "candidate"


def test_what_is_listed_and_counted_is_the_controls() -> None:
    plain, world = World(), World(routing=canary())
    for path in ("/health", "/v1/models"):
        assert request(world, "GET", path, WITH_KEY).json() == request(plain, "GET", path, WITH_KEY).json()
    counted = {name: value for name, value in message_body().items() if name != "max_tokens"}
    reply = post(world, counted, "/v1/messages/count_tokens")
    assert (reply.headers["x-router-model"], "x-router-arm" in reply.headers) == ("claude-sonnet-5-5", False)


def test_a_dry_run_is_decided_as_the_request_would_be() -> None:
    reply = post(World(routing=canary()), message_body(), "/v1/route")
    assert (reply.json()["model"], reply.headers["x-router-arm"]) == ("claude-haiku-4-5", "candidate")


def test_the_arm_of_a_refused_request_is_told() -> None:
    reply = post(World(routing=canary(), budget=Decimal("0.000001")), message_body())
    assert (reply.status_code, reply.headers["x-router-arm"]) == (429, "candidate")


@pytest.mark.parametrize("lane", ["direct", "batch"])
def test_jobs_of_both_lanes_are_decided_and_booked_by_arm(lane: str) -> None:
    found = Lane(routing=canary())
    records = [job("a", lane=lane, group="g")]
    run(found.world.door().drain({"Records": records}, 900.0))
    for _ in range(2):
        found.round(dt.timedelta(minutes=5))
    entries = found.world.ledger.entries
    assert [(entry.purpose, entry.arm) for entry in entries] == [("classifier", "candidate"), ("answer", "candidate")]
    assert entries[-1].model == "claude-haiku-4-5"
    assert entries[-1].processing == ("batch" if lane == "batch" else "realtime")
    assert {record.arm for record in found.world.telemetry.records} == {"candidate"}


def test_whoever_judges_answers_is_in_no_arm() -> None:
    world = World(routing=canary())
    judge = job("a", params=message_body(model="opus"), group="g", purpose="judge")
    run(world.door().drain({"Records": [judge]}, 900.0))
    assert [(entry.purpose, entry.model, entry.arm) for entry in world.ledger.entries] == [
        ("judge", "claude-opus-5-5", None)
    ]
