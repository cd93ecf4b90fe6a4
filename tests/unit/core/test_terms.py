"""Speed, geography and searches on their way through the router: who serves them, what is put aside, what is booked."""

import dataclasses
from decimal import Decimal
from typing import Any

import pytest

from cost_router.core.ask import read_ask
from cost_router.core.errors import RuleRefused
from cost_router.core.ledger import AMBIGUOUS
from cost_router.core.pricing import Usage
from cost_router.core.router import Answer
from cost_router.core.terms import Terms, read_terms
from tests.builders import World, message_body, record, run

SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
HAIKU, SONNET, OPUS = "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"


def answer(world: World, **changes: Any) -> Answer:
    return run(world.router.answer(world.request(**changes), record()))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, Terms(cached_for=None)),
        ({"speed": None, "inference_geo": None, "tools": None}, Terms(cached_for=None)),
        ({"speed": "fast", "inference_geo": "us"}, Terms("fast", "us", cached_for=None)),
        ({"tools": [SEARCH, {"name": "a"}, SEARCH | {"max_uses": 2}]}, Terms(web_searches=5, cached_for=None)),
        ({"cache_control": {"type": "ephemeral"}}, Terms(cached_for="5m")),
        ({"cache_control": {"type": "ephemeral", "ttl": "5m"}}, Terms(cached_for="5m")),
        ({"system": [{"cache_control": {"ttl": "5m"}}, {"cache_control": {"ttl": "1h"}}]}, Terms(cached_for="1h")),
        ({"messages": [{"content": [{"content": [{"cache_control": {"ttl": "1h"}}]}]}]}, Terms(cached_for="1h")),
        ({"cache_control": {"ttl": "24h"}}, Terms(cached_for="1h")),  # not known: the dearest
        ({"thread": {"id": "thread_1"}}, Terms(cached_for="1h")),  # what is in it is not seen here
    ],
)
def test_the_terms_of_a_body(fields: dict[str, Any], expected: Terms) -> None:
    assert read_terms(fields) == expected


FOUND = [{"type": "web_search_tool_result", "tool_use_id": "t", "content": [{"encrypted_content": "x"}]}]


@pytest.mark.parametrize(
    "fields",
    [{"tools": [SEARCH]}, {"messages": [{"role": "assistant", "content": FOUND}, {"role": "user", "content": "so?"}]}],
)
def test_what_a_search_finds_is_bounded_by_the_window_only(fields: dict[str, Any]) -> None:
    assert read_ask(message_body(**fields)).most_tokens(500, 1_000_000) == 1_000_000


def test_a_fast_request_goes_to_the_tier_that_has_it_and_is_booked_at_its_price() -> None:
    world = World(label="simple", script=[Usage(100, output_tokens=10, speed="fast")])
    found = answer(world, speed="fast")
    assert (found.choice.model.id, found.choice.cause) == (OPUS, "rule:speed")
    assert world.claude.answer_calls[0].body["speed"] == "fast"
    booked = world.ledger.entries[-1]
    assert booked.cost_usd == Decimal("0.0012")  # $8/40 a million
    assert booked.baseline_usd == Decimal("0.0012")
    assert booked.usage.speed == "fast"


def test_an_answer_that_was_served_at_standard_speed_is_booked_at_standard_price() -> None:
    world = World(script=[Usage(100, output_tokens=10)])
    answer(world, model="opus", speed="fast")
    assert world.ledger.entries[-1].cost_usd == Decimal("0.0006")


def test_a_fast_request_under_a_ceiling_that_has_no_fast_model_is_refused_by_name() -> None:
    world = World()
    world.ledger.spent_before["account"] = Decimal(8)
    with pytest.raises(RuleRefused, match=r"budget:account-80 allows sonnet at the most, .*: speed"):
        answer(world, speed="fast")
    assert world.claude.calls == []


def test_the_classifier_runs_where_the_request_has_to() -> None:
    world = World()
    answer(world, inference_geo="us")
    assert [call.body.get("inference_geo") for call in world.claude.calls] == ["us", "us"]
    answer(world, text="Another ask.")
    assert [call.body.get("inference_geo") for call in world.claude.calls[2:]] == [None, None]


def test_without_a_classifier_that_can_run_there_the_ask_is_not_sent_elsewhere() -> None:
    world = World(label="simple")
    world.settings = dataclasses.replace(world.settings, lineup="article")
    found = answer(world, inference_geo="us")
    assert (found.choice.model.id, found.choice.cause) == ("claude-sonnet-4-6", "default")
    assert world.claude.classifier_calls == []


def test_a_search_puts_the_window_and_all_its_searches_aside_and_is_booked_by_those_it_made() -> None:
    world = World(budget=Decimal(50), script=[Usage(5_000, output_tokens=100, web_search_requests=2)])
    answer(world, model="sonnet", tools=[SEARCH], max_tokens=1_000)
    [put_aside] = world.ledger.reserved
    assert put_aside.amount_usd == Decimal("4.54")  # (1,000,000 x $4 + 10 x 1,000 x $10) x 1.1 + 3 x $0.01
    assert world.ledger.entries[-1].cost_usd == Decimal("0.031")
    assert world.ledger.entries[-1].baseline_usd == Decimal("0.042")


@pytest.mark.parametrize("usage", [Usage(100, 0, 0, 0, 10, speed="warp"), Usage(100, 0, 0, 0, 10, inference_geo="eu")])
def test_an_answer_at_a_speed_or_place_without_a_price_is_given_and_booked_at_its_bound(usage: Usage) -> None:
    world = World(script=[usage])
    found = answer(world, model="sonnet", inference_geo="global")
    assert found.reply.usage == usage
    [booked] = world.ledger.entries
    assert booked.flags == (AMBIGUOUS,)
    assert booked.cost_usd == world.ledger.reserved[0].amount_usd > 0


def test_an_answer_from_a_workspace_whose_default_is_a_dearer_place_stays_within_what_was_put_aside() -> None:
    world = World(script=[Usage(0, 0, 0, 400, 100, inference_geo="us")])
    answer(world, model="opus", max_tokens=100)
    assert world.ledger.entries[-1].cost_usd == Decimal("0.00572")  # (400 x $8 + 100 x $20) x 1.1
    assert world.ledger.entries[-1].cost_usd <= world.ledger.reserved[0].amount_usd


def test_the_classifiers_question_is_bounded_as_what_it_is_a_prompt_without_markers() -> None:
    world = World()
    marked = world.request(cache_control={"type": "ephemeral", "ttl": "1h"}, inference_geo="us")
    question = world.router.decider.labeller.question(world.trip(marked))
    assert question
    assert read_terms(question.body) == question.terms == Terms(inference_geo="us", cached_for=None)


def test_a_dry_run_estimates_on_the_requests_terms() -> None:
    world = World()
    found = run(world.router.route(world.request(model="opus", speed="fast", inference_geo="us"), record()))
    tokens = found.estimated_input_tokens
    assert found.estimated_cost_usd == (tokens * Decimal(8) + 100 * Decimal(40)) * Decimal("1.1") / 1_000_000
