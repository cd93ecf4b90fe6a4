"""A conversation whose prompt is warm on a model stays there while that is cheaper, at the door."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from cost_router.core.budget import Limits
from cost_router.core.guards import GUARDED
from cost_router.core.pricing import Usage
from cost_router.core.routing import Routing
from tests.builders import World, job, limited, message_body, streamed_steps, tenant
from tests.unit.handlers.client import post
from tests.unit.handlers.test_batch import drain

SYSTEM = [{"type": "text", "text": "You are a careful clerk.", "cache_control": {"type": "ephemeral"}}]
HOURLY = [{"type": "text", "text": "You are a careful clerk.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
WARM = Usage(cache_creation_5m_input_tokens=60_000, output_tokens=1_000)  # what FACTS of the design reckons with
READ = Usage(cache_read_input_tokens=60_000, output_tokens=1_000)
OPUS, SONNET, HAIKU = "claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"


class Talk:
    """One conversation: each call sends all turns so far and one more."""

    def __init__(self, world: World, first: str = "Draft the contract", **fields: Any) -> None:
        self.world, self.turns = world, [{"role": "user", "content": first}]
        self.fields = {"system": SYSTEM, **fields}

    def say(
        self,
        label: str,
        usage: Usage | None = READ,
        headers: Mapping[str, str] | None = None,
        path: str = "/v1/messages",
    ) -> httpx2.Response:
        """The answer to the next turn, which is labelled so; `usage`: of the answer."""
        claude = self.world.claude
        claude.label = label
        if usage:
            claude.script.append(streamed_steps(usage) if self.fields.get("stream") else usage)
        body = message_body(**{**self.fields, "messages": self.turns})
        answer = post(self.world, body, path, headers)
        assert answer.status_code == 200, answer.text
        self.turns = [
            *self.turns,
            {"role": "assistant", "content": "Done."},
            {"role": "user", "content": f"Next, the clause numbered {len(self.turns)}"},
        ]
        return answer


def told(answer: httpx2.Response) -> tuple[str, str]:
    return answer.headers["x-router-model"], answer.headers["x-router-cause"]


def warm(world: World | None = None, **fields: Any) -> Talk:
    """A conversation whose first turn opus has answered, with 60,000 tokens in its cache."""
    talk = Talk(world or World(), **fields)
    assert told(talk.say("complex", WARM)) == (OPUS, "classifier")
    return talk


def test_opus_keeps_a_turn_that_sonnet_could_do_and_gives_haiku_what_it_can() -> None:
    talk = warm()
    kept = talk.say("moderate")
    assert (told(kept), kept.headers["x-router-label"]) == ((OPUS, "session"), "moderate")
    assert told(talk.say("simple")) == (HAIKU, "classifier")


def moderate_with_one_hard_question(world: World) -> Talk:
    """Two turns on sonnet and one on opus, 20 seconds apart; both have 60,000 tokens of it in their caches."""
    talk = Talk(world)
    for label, usage in (("moderate", WARM), ("moderate", READ), ("complex", WARM)):
        assert told(talk.say(label, usage))[1] == "classifier"
        world.clock.advance(20)
    return talk


def test_one_hard_question_does_not_keep_a_moderate_conversation_on_opus() -> None:
    """Sonnet's cache was used 40 seconds ago: a turn there is $0.016, on opus $0.032."""
    talk = moderate_with_one_hard_question(World())
    answers = [talk.say("moderate") for _ in range(4)]
    assert [told(answer) for answer in answers] == [(SONNET, "classifier")] * 4
    assert talk.world.claude.answer_models == [SONNET, SONNET, OPUS, *[SONNET] * 4]


@pytest.mark.parametrize(("seconds", "model"), [(259, SONNET), (260, OPUS)])
def test_it_stays_on_opus_once_sonnets_cache_is_cold(seconds: int, model: str) -> None:
    """Sonnet was last used 40 seconds before, opus 20."""
    talk = moderate_with_one_hard_question(World())
    talk.world.clock.advance(seconds)
    assert talk.say("moderate").headers["x-router-model"] == model


def test_what_is_kept_of_the_others_is_what_was_warm_when_the_last_one_answered() -> None:
    talk = moderate_with_one_hard_question(World())
    [kept] = talk.world.sessions.items.values()
    assert (kept.model, {model: warm.tokens for model, warm in kept.others.items()}) == (OPUS, {SONNET: 60_000})
    talk.world.clock.advance(270)
    talk.say("complex")
    [kept] = talk.world.sessions.items.values()
    assert (kept.model, kept.others) == (OPUS, {})


def test_a_session_leaves_the_effort_to_its_caller_so_that_what_is_warm_is_read() -> None:
    ladder = {"moderate": {"tier": "sonnet", "effort": "low"}}
    talk = warm(World(routing=Routing.parse({"ladder": ladder})))
    kept = talk.say("moderate")
    assert told(kept) == (OPUS, "session")
    assert "output_config" not in talk.world.claude.answer_calls[-1].body
    assert "x-router-adapted" not in kept.headers


def test_a_conversation_that_is_not_warm_goes_where_its_label_says() -> None:
    world = World()
    warm(world)
    assert told(Talk(world, first="Another matter").say("moderate", WARM)) == (SONNET, "classifier")
    assert told(Talk(world, tools=[{"name": "t", "input_schema": {}}]).say("moderate", WARM)) == (SONNET, "classifier")


def test_a_harder_ask_goes_up_whatever_the_cache_says() -> None:
    talk = Talk(World())
    assert told(talk.say("simple", WARM)) == (HAIKU, "classifier")
    assert told(talk.say("complex", WARM)) == (OPUS, "classifier")


def test_with_nine_turns_to_come_the_switch_is_cheaper() -> None:
    talk = warm()
    causes = [talk.say("moderate").headers["x-router-cause"] for _ in range(9)]
    assert causes == ["session"] * 8 + ["classifier"]
    assert told(talk.say("moderate", WARM)) == (SONNET, "classifier")


@pytest.mark.parametrize(
    ("system", "seconds", "model"),
    [(SYSTEM, 299, OPUS), (SYSTEM, 300, SONNET), (HOURLY, 3_599, OPUS), (HOURLY, 3_600, SONNET)],
)
def test_a_cold_cache_is_nothing_to_stay_for(system: list[Any], seconds: int, model: str) -> None:
    talk = warm(World(tenant(allows=frozenset(GUARDED))), system=system)
    talk.world.clock.advance(seconds)
    assert talk.say("moderate").headers["x-router-model"] == model


def test_another_process_knows_the_session_from_the_table() -> None:
    talk = warm()
    talk.world.restart()
    assert told(talk.say("moderate")) == (OPUS, "session")


def test_a_session_by_name_needs_no_history() -> None:
    world, named = World(), {"x-router-session": "run-7"}
    Talk(world).say("complex", WARM, named)
    assert told(Talk(world, first="Another step of it").say("moderate", READ, named)) == (OPUS, "session")
    other = Talk(world, first="A step of another run").say("moderate", WARM, {"x-router-session": "run-8"})
    assert told(other) == (SONNET, "classifier")
    brief = [{**SYSTEM[0], "text": "Be brief."}]
    helper = Talk(world, first="A helper's step", system=brief).say("moderate", WARM, named)
    assert told(helper) == (SONNET, "classifier"), "its prompts begin with something else"


def test_what_is_kept_is_kept_before_the_answer_is_over() -> None:
    world = World()
    world.sessions.turns = 200
    assert told(warm(world).say("moderate")) == (OPUS, "session")


def test_a_stream_is_kept_and_tells_of_its_cache_too() -> None:
    talk = warm(stream=True)
    assert told(talk.say("moderate")) == (OPUS, "session")


def test_the_model_of_a_fallback_is_the_one_that_is_warm() -> None:
    talk = Talk(World())
    talk.world.claude.script.extend([limited(529), limited(529)])
    assert told(talk.say("complex", WARM)) == (SONNET, "fallback:opus")
    assert told(talk.say("moderate")) == (SONNET, "classifier")
    assert talk.world.sessions.items.popitem()[1].model == SONNET


# --- bounds hold


def test_a_ceiling_holds_for_a_session_and_then_its_label_decides() -> None:
    assert told(warm().say("moderate", READ, {"x-router-ceiling": "sonnet"})) == (SONNET, "classifier")


def test_so_does_a_budget() -> None:
    world = World(limits=Limits(daily_usd=Decimal(10)))
    talk = warm(world)
    world.ledger.spent_before["account"] = Decimal(8)
    assert told(talk.say("moderate")) == (SONNET, "classifier")


def test_so_does_a_cap_on_the_cost() -> None:
    assert told(warm().say("moderate", READ, {"x-router-max-cost-usd": "0.014"})) == (SONNET, "classifier")


def test_where_a_floor_moves_it_the_model_it_is_moved_to_is_priced() -> None:
    """Haiku would be cheaper than to stay, but may not answer."""
    talk = warm()
    assert told(talk.say("simple", READ, {"x-router-floor": "sonnet"})) == (OPUS, "session")


# --- what is asked of the store and of the classifier


def test_where_every_label_would_stay_nobody_is_asked_for_it() -> None:
    """Above 100,000 tokens a first turn on haiku is dearer than one more on opus."""
    talk = Talk(World())
    talk.say("complex", Usage(cache_creation_5m_input_tokens=150_000, output_tokens=1_000))
    asked = len(talk.world.claude.classifier_calls)
    assert told(talk.say("moderate")) == (OPUS, "session")
    assert len(talk.world.claude.classifier_calls) == asked


def test_the_first_turn_is_kept_and_the_second_one_is_read() -> None:
    talk = Talk(World())
    talk.say("complex", WARM)
    assert talk.world.sessions.asked == 1
    talk.say("moderate")
    assert talk.world.sessions.asked == 3


@pytest.mark.parametrize(
    ("fields", "usage"),
    [({"system": "No marker here."}, WARM), ({"model": "opus"}, WARM), ({}, Usage(input_tokens=100, output_tokens=10))],
    ids=["no marker", "pinned", "nothing cached"],
)
def test_no_session_is_kept_where_none_could_matter(fields: dict[str, Any], usage: Usage) -> None:
    talk = Talk(World(), **fields)
    talk.say("complex", usage)
    assert talk.world.sessions.items == {}


def test_jobs_have_no_sessions() -> None:
    world = World(script=[WARM])
    assert drain(world, job("a", params=message_body(system=SYSTEM), session="run-7")) == []
    assert world.sessions.asked == 0


def test_switched_off_a_warm_cache_is_left_whatever_that_costs() -> None:
    talk = Talk(World(routing=Routing(sessions=False)))
    talk.say("complex", WARM)
    assert told(talk.say("moderate")) == (SONNET, "classifier")
    assert talk.world.sessions.asked == 0


def test_a_store_that_fails_fails_no_request() -> None:
    talk = warm()
    talk.world.sessions.down = True
    assert told(talk.say("moderate")) == (SONNET, "classifier")
    assert [name for name, _ in talk.world.telemetry.notes] == ["session_store_failed"] * 2
    assert talk.world.telemetry.defects == []


def test_a_dry_run_tells_of_the_session_and_leaves_it_as_it_was() -> None:
    talk = warm()
    before = dict(talk.world.sessions.items)
    route = talk.say("moderate", None, path="/v1/route").json()
    assert (route["model"], route["cause"]) == (OPUS, "session")
    assert talk.world.sessions.items == before


def test_what_the_routers_own_marker_has_warmed_counts_as_well() -> None:
    system = "You are a careful clerk. " * 200
    world = World(routing=Routing(prompt_caching=True))
    talk = Talk(world, system=system)
    talk.say("complex", Usage(input_tokens=60_000, output_tokens=1_000))
    talk.say("complex", WARM)
    assert told(talk.say("moderate")) == (OPUS, "session")


def test_what_is_warm_is_nothing_to_stay_for_when_the_router_would_not_mark_it_this_time() -> None:
    world = World(routing=Routing(prompt_caching=True))
    talk = Talk(world, system="You are a careful clerk. " * 200)
    talk.say("complex", Usage(input_tokens=60_000, output_tokens=1_000))
    talk.say("complex", WARM)
    world.prefixes.items.clear()
    world.restart()
    assert told(talk.say("moderate")) == (SONNET, "classifier")


@pytest.mark.parametrize(("forgotten", "model"), [(None, SONNET), (SONNET, OPUS)])
def test_neither_is_what_is_warm_where_it_would_go_something_to_go_for(forgotten: str | None, model: str) -> None:
    world = World(routing=Routing(prompt_caching=True))
    talk = Talk(world, system="You are a careful clerk. " * 200)
    for label in ("moderate", "complex"):
        talk.say(label, Usage(input_tokens=60_000, output_tokens=1_000))
        talk.say(label, WARM)
    [(key, seen)] = world.prefixes.items.items()
    world.prefixes.items[key] = {name: at for name, at in seen.items() if name != forgotten}
    world.restart()
    assert told(talk.say("moderate"))[0] == model
