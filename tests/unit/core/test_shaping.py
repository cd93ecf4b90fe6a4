"""What a label sets in a body: tier and effort of its rung, and its ceiling on `max_tokens`, asked for over HTTP."""

import dataclasses
import itertools
import json
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from cost_router.core.request import Hints
from cost_router.core.routing import Routing
from cost_router.core.shaping import shape_of
from cost_router.core.words import Label
from infra.local.standin import fitness
from infra.local.standin.models import find
from tests.builders import World, job, lineup, message_body, request, run, tenant
from tests.unit.core.test_batch_lane import Lane
from tests.unit.handlers.client import post

HAIKU, SONNET, OPUS = "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"
LADDER = {"moderate": {"tier": "sonnet", "effort": "low"}, "complex": {"tier": "sonnet", "effort": "max"}}
BY_LABEL = {"x-router-max-tokens": "by-label"}
QUIET = {"type": "disabled"}
CEILINGS = {"simple": 32, "moderate": 256, "complex": 1024}


def world(label: str = "moderate", *tenants: Any, **settings: Any) -> World:
    return World(*tenants, label=label, routing=Routing.parse(settings or {"ladder": LADDER}))


def asked(made: World, **fields: Any) -> tuple[dict[str, Any], httpx2.Response]:
    """The body that Claude got, and the reply."""
    headers = fields.pop("headers", None)
    response = post(made, message_body(max_tokens=fields.pop("max_tokens", 2_000), **fields), headers=headers)
    assert response.status_code == 200, response.text
    return dict(made.claude.answer_calls[-1].body), response


# --- the ladder


@pytest.mark.parametrize(
    ("label", "model", "effort"), [("simple", HAIKU, None), ("moderate", SONNET, "low"), ("complex", SONNET, "max")]
)
def test_a_label_runs_on_its_rungs_tier_at_its_rungs_effort(label: str, model: str, effort: str | None) -> None:
    body, response = asked(world(label))
    assert (body["model"], (body.get("output_config") or {}).get("effort")) == (model, effort)
    assert response.headers["x-router-tier"] == response.headers["x-router-model"].split("-")[1]
    assert response.headers.get("x-router-adapted") == (f"effort={effort}" if effort else None)


def test_without_a_ladder_no_effort_is_set() -> None:
    body, response = asked(World(label="moderate"))
    assert "output_config" not in body
    assert "x-router-adapted" not in response.headers


def test_the_callers_own_effort_wins() -> None:
    body, response = asked(world(), output_config={"effort": "high"})
    assert body["output_config"] == {"effort": "high"}
    assert "x-router-adapted" not in response.headers


def test_what_else_the_caller_says_of_the_output_stays() -> None:
    form = {"format": {"type": "json_schema", "schema": {"type": "object"}}}
    body, _ = asked(world(), output_config=form)
    assert body["output_config"] == {**form, "effort": "low"}


@pytest.mark.parametrize("model", [SONNET, "sonnet"])
def test_who_names_a_model_or_a_tier_has_no_label_and_so_no_rung(model: str) -> None:
    body, response = asked(world(), model=model)
    assert "output_config" not in body
    assert "x-router-adapted" not in response.headers


def test_an_effort_that_the_model_has_not_becomes_the_next_lower_one() -> None:
    made = world(ladder={"moderate": {"tier": "sonnet", "effort": "max"}})
    body, response = asked(made, thinking={"type": "disabled"})  # with which sonnet goes up to high only
    assert body["output_config"] == {"effort": "high"}
    assert response.headers["x-router-adapted"] == "effort=high,thinking=between_tools"


def test_an_effort_that_nobody_asked_for_is_not_missed_on_a_model_without_any() -> None:
    made = World(label="simple", routing=Routing.parse({"ladder": {"simple": {"tier": "haiku", "effort": "low"}}}))
    made.settings = dataclasses.replace(made.settings, lineup="article")
    body, response = asked(made)
    assert body["model"] == "claude-haiku-4-5"
    assert "output_config" not in body
    assert "x-router-adapted" not in response.headers


@pytest.mark.parametrize("config", [[], "low", 5, {"effort": 5}, {"effort": []}, {"effort": None}, None])
def test_odd_output_configs_are_no_crash(config: Any) -> None:
    response = post(world(), message_body(output_config=config))
    assert response.status_code in {200, 400}


def test_a_dry_run_names_the_effort_too() -> None:
    response = post(world(), message_body(), "/v1/route")
    assert response.headers["x-router-adapted"] == "effort=low"


# --- max_tokens by label


@pytest.mark.parametrize(("label", "most"), [("simple", 32), ("moderate", 256), ("complex", 1024)])
def test_a_label_lowers_max_tokens_where_the_caller_allows_it(label: str, most: int) -> None:
    made = world(label, max_tokens=CEILINGS)
    made.settings = dataclasses.replace(made.settings, lineup="article")  # whose models do not think unasked
    body, response = asked(made, headers=BY_LABEL)
    assert (body["max_tokens"], "thinking" in body) == (most, False)
    assert response.headers["x-router-adapted"] == f"max_tokens={most}"


def test_a_model_that_need_not_think_is_asked_not_to_so_that_the_ceiling_is_the_answers() -> None:
    body, response = asked(world("simple", max_tokens=CEILINGS), headers=BY_LABEL)
    assert (body["model"], body["max_tokens"], body["thinking"]) == (HAIKU, 32, {"type": "disabled"})
    assert response.headers["x-router-adapted"] == "max_tokens=32,thinking=disabled"
    effort = {"effort": "high"}  # whoever asks for one wants the model to think
    body, _ = asked(world("simple", max_tokens=CEILINGS), headers=BY_LABEL, output_config=effort)
    assert (body["max_tokens"], "thinking" in body, body["output_config"]) == (2_000, False, effort)


@pytest.mark.parametrize("label", ["moderate", "complex"])
def test_where_the_model_always_thinks_nothing_is_lowered_unless_the_caller_wants_it_quiet(label: str) -> None:
    body, response = asked(world(label, max_tokens=CEILINGS), headers=BY_LABEL)
    assert (body["max_tokens"], "thinking" in body) == (2_000, False)
    assert "x-router-adapted" not in response.headers


@pytest.mark.parametrize(
    "headers", [None, {"x-router-max-tokens": "asked"}, {"x-router-cascade": "off"}], ids=["nothing", "asked", "other"]
)
def test_without_permission_nothing_is_lowered(headers: Any) -> None:
    body, response = asked(world(max_tokens=CEILINGS), headers=headers)
    assert body["max_tokens"] == 2_000
    assert "x-router-adapted" not in response.headers


def test_a_tenants_policy_allows_it_for_all_and_its_caller_may_say_no() -> None:
    owner = tenant(options=frozenset({"max_tokens"}))
    assert asked(world("simple", owner, max_tokens=CEILINGS))[0]["max_tokens"] == 32
    refused = asked(world("simple", owner, max_tokens=CEILINGS), headers={"x-router-max-tokens": "asked"})
    assert refused[0]["max_tokens"] == 2_000


def test_what_is_below_the_ceiling_stays() -> None:
    body, response = asked(world(max_tokens=CEILINGS), headers=BY_LABEL, max_tokens=100, thinking=QUIET)
    assert body["max_tokens"] == 100
    assert response.headers["x-router-adapted"] == "thinking=between_tools"


@pytest.mark.parametrize("model", [SONNET, "sonnet"])
def test_a_pin_has_no_label_and_so_no_ceiling(model: str) -> None:
    assert asked(world(max_tokens=CEILINGS), headers=BY_LABEL, model=model)[0]["max_tokens"] == 2_000


@pytest.mark.parametrize(
    "thinking", [{"type": "adaptive"}, {"type": "enabled", "budget_tokens": 1_500}, {"budget_tokens": 1_500}, 5, []]
)
def test_where_the_caller_wants_thinking_nothing_is_lowered_because_it_counts(thinking: Any) -> None:
    made = world(max_tokens=CEILINGS)
    response = post(made, message_body(max_tokens=2_000, thinking=thinking), headers=BY_LABEL)
    if response.status_code == 200:
        assert made.claude.answer_calls[-1].body["max_tokens"] == 2_000


def test_where_the_caller_wants_no_thinking_it_is_lowered() -> None:
    body, response = asked(world(max_tokens=CEILINGS), headers=BY_LABEL, thinking={"type": "disabled"})
    assert body["max_tokens"] == 256
    assert response.headers["x-router-adapted"] == "max_tokens=256,thinking=between_tools"


def test_what_is_put_aside_is_the_lowered_bound_once_the_label_is_known() -> None:
    """With a budget so tight that every call is covered for itself."""
    made = World(label="moderate", budget=Decimal("0.011"), routing=Routing.parse({"max_tokens": CEILINGS}))
    body, _ = asked(made, headers=BY_LABEL, max_tokens=500, thinking=QUIET)
    assert body["max_tokens"] == 256
    # Sonnet: about 0.0047 for the prompt and 256 x $11 per million; with 500 it would be about 0.0102.
    assert made.ledger.reserved[-1].amount_usd < Decimal("0.0078")


# --- jobs


def test_a_job_of_the_direct_lane_is_shaped_like_a_request() -> None:
    made = world("moderate", ladder=LADDER, max_tokens=CEILINGS)
    dropped = job(params=message_body(max_tokens=2_000, thinking=QUIET), max_tokens="by-label", tenant="acme")
    run(made.door().drain({"Records": [dropped]}, 900.0))
    (call,) = made.claude.answer_calls
    assert (call.body["max_tokens"], call.body["output_config"]) == (256, {"effort": "low"})


def line(lane: Lane, **router: Any) -> dict[str, Any]:
    """The body of the one line that is submitted for a job of 2,000 tokens."""
    params = router.pop("params", message_body(max_tokens=2_000, thinking=QUIET))
    lane.drop("a", params=params, tenant="acme", **router)
    lane.round()
    ((_, ((_, body),)),) = lane.batches.made.values()
    found: dict[str, Any] = json.loads(body)
    return found


def test_a_line_of_the_batch_lane_is_shaped_too_and_its_money_with_it() -> None:
    def lane(**settings: Any) -> Lane:
        return Lane(label="moderate", routing=Routing.parse(settings))

    shaped, plain = lane(ladder=LADDER, max_tokens=CEILINGS), lane()
    body = line(shaped, max_tokens="by-label")
    assert (body["model"], body["max_tokens"], body["output_config"]) == (SONNET, 256, {"effort": "low"})
    as_asked = line(plain, max_tokens="by-label")
    assert (as_asked["max_tokens"], "output_config" in as_asked) == (2_000, False)
    (less,), (more,) = shaped.world.ledger.open.values(), plain.world.ledger.open.values()
    # 1,744 output tokens less, at half of sonnet's $10 per million and a tenth more, which is the dearest place.
    assert more.amount_usd - less.amount_usd == Decimal("0.009592")


def test_a_line_whose_model_thinks_keeps_its_max_tokens_and_the_money_for_it() -> None:
    lane = Lane(label="moderate", routing=Routing.parse({"max_tokens": CEILINGS}))
    body = line(lane, params=message_body(max_tokens=2_000), max_tokens="by-label")
    assert body["max_tokens"] == 2_000
    (_, parked) = lane.store.lines["g/a"]
    assert parked.max_tokens == 2_000


def test_a_line_without_permission_keeps_its_max_tokens_and_one_with_an_effort_keeps_that() -> None:
    lane = Lane(label="moderate", routing=Routing.parse({"ladder": LADDER, "max_tokens": CEILINGS}))
    body = line(lane, params=message_body(max_tokens=2_000, output_config={"effort": "high"}))
    assert (body["max_tokens"], body["output_config"]) == (2_000, {"effort": "high"})


def test_the_label_of_a_line_is_what_it_was_labelled() -> None:
    lane = Lane(label="moderate", routing=Routing.parse({"ladder": LADDER}))
    line(lane)
    (_, parked) = lane.store.lines["g/a"]
    assert (parked.label, parked.effort, parked.max_tokens) == (Label.MODERATE, "low", 2_000)


# --- the stand-in takes what is sent


@pytest.mark.parametrize("name", ["current", "article"])
@pytest.mark.parametrize("version", ["2023-06-01", "2026-10-21"])
def test_whatever_is_set_the_models_take_it(name: str, version: str) -> None:
    """Each tier at each effort and a small ceiling, with whatever a caller says of thinking."""
    efforts, kinds = ("low", "medium", "high", "xhigh", "max"), ("adaptive", "disabled", "between_tools")
    thinkings = [{}, *({"type": kind} for kind in kinds), {"type": "enabled", "budget_tokens": 1_500}]
    for model, effort, thinking in itertools.product(lineup(name).models.values(), efforts, thinkings):
        settings = Routing.parse({"ladder": {"simple": {"tier": "haiku", "effort": effort}}, "max_tokens": CEILINGS})
        said: dict[str, Any] = {"thinking": thinking} if thinking else {}
        made = request(max_tokens=2_000, hints=Hints(max_tokens=True), **said)
        sent = shape_of(made, settings, Label.SIMPLE).fitted(made.body, model, version).body
        known = find(model.id)
        assert known
        fitness.check(dict(sent), known, fitness.Switches())  # raises as the API would refuse it
