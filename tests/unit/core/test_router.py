"""The road of one request: decide, call, try again, fall back, book."""

import asyncio
import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from cost_router.core.calls import INTERACTIVE, QUEUED
from cost_router.core.errors import (
    DeadlinePassed,
    Failure,
    InvalidRequest,
    NotConfigured,
    RouterError,
    RuleRefused,
    UnknownModel,
    UpstreamError,
)
from cost_router.core.ledger import ABANDONED, AMBIGUOUS, ANSWER, CLASSIFIER
from cost_router.core.pricing import Usage
from cost_router.core.request import Hints
from cost_router.core.router import Answer
from cost_router.core.words import Label, Tier
from tests.builders import World, failing, limited, record, rejected, run, tenant

HAIKU, SONNET, OPUS = "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"
CUT = UpstreamError(Failure.CONNECTION, maybe_billed=True)
REFUSED = UpstreamError(Failure.CONNECTION)


def answer(world: World, **changes: Any) -> Answer:
    return run(world.router.answer(world.request(**changes), record()))


def error(world: World, **changes: Any) -> RouterError:
    with pytest.raises(RouterError) as raised:
        answer(world, **changes)
    return raised.value


# --- deciding


@pytest.mark.parametrize(("label", "model"), [("simple", HAIKU), ("moderate", SONNET), ("complex", OPUS)])
def test_the_label_chooses_the_tier(label: str, model: str) -> None:
    world = World(label=label)
    found = answer(world)
    assert (found.choice.model.id, found.choice.cause, found.label) == (model, "classifier", label)
    assert world.claude.answer_models == [model]


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("haiku", HAIKU),
        ("sonnet", SONNET),
        ("opus", OPUS),
        ("claude-opus-4-8", "claude-opus-4-8"),
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
    ],
)
def test_a_pinned_request_is_never_classified(name: str, model: str) -> None:
    world = World()
    found = answer(world, model=name)
    assert (found.choice.model.id, found.choice.cause, found.label) == (model, "pinned", None)
    assert [call.model for call in world.claude.calls] == [name if name not in ("haiku", "sonnet", "opus") else model]


def test_an_unknown_model_is_refused_unpaid_with_all_that_is_accepted() -> None:
    world = World()
    refused = error(world, model="gpt-5")
    assert isinstance(refused, UnknownModel)
    for accepted in ("auto", "haiku", "sonnet", "opus", HAIKU, "claude-opus-4-8"):
        assert accepted in str(refused)
    assert world.claude.calls == []


def test_an_endless_model_name_is_not_echoed_whole() -> None:
    assert len(str(error(World(), model="x" * 100_000))) < 1_000


@pytest.mark.parametrize(
    ("owner", "hints", "model", "cause"),
    [
        (tenant(floor=Tier.SONNET), Hints(), SONNET, "rule:tenant-floor"),
        (tenant(), Hints(floor=Tier.OPUS), OPUS, "rule:floor"),
        (tenant(floor=Tier.SONNET), Hints(floor=Tier.OPUS), OPUS, "rule:floor"),
    ],
)
def test_floors_of_tenant_and_request_hold(owner: object, hints: Hints, model: str, cause: str) -> None:
    choice = answer(World(), owner=owner, hints=hints).choice
    assert (choice.model.id, choice.cause) == (model, cause)


def test_a_contradiction_is_refused_before_the_classifier_is_paid() -> None:
    world = World(tenant(ceiling=Tier.HAIKU))
    refused = error(world, hints=Hints(floor=Tier.SONNET))
    assert isinstance(refused, RuleRefused)
    assert refused.rule == "tenant-ceiling"
    assert world.claude.calls == []


@pytest.mark.parametrize(("max_tokens", "fine"), [(128_000, True), (128_001, False)])
def test_more_output_than_any_model_writes_is_refused_unpaid(max_tokens: int, fine: bool) -> None:  # noqa: FBT001
    world = World()
    if fine:
        answer(world, max_tokens=max_tokens)
        return
    assert "max_tokens: 128001 > 128000" in str(error(world, max_tokens=max_tokens))
    assert world.claude.calls == []


def test_a_model_that_was_named_gets_what_it_cannot_write_and_says_so_itself() -> None:
    world = World()
    found = answer(world, model="claude-haiku-4-5", max_tokens=64_001)
    assert (found.choice.model.id, found.choice.cause) == ("claude-haiku-4-5", "pinned")
    assert world.claude.calls[-1].body["max_tokens"] == 64_001


@pytest.mark.parametrize("name", ["sonnet", "opus"])
def test_a_forced_tool_choice_runs_where_it_is_taken_and_the_cause_says_so(name: str) -> None:
    tools = [{"name": "look", "input_schema": {"type": "object"}}]
    found = answer(World(), model=name, tools=tools, tool_choice={"type": "any"})
    assert (found.choice.model.id, found.choice.cause) == (HAIKU, "rule:forced-tool-choice")
    named = answer(World(), model=SONNET, tools=tools, tool_choice={"type": "any"})
    assert (named.choice.model.id, named.choice.cause) == (SONNET, "pinned")


def test_a_request_too_long_for_every_model_is_refused_unpaid() -> None:
    world = World()
    assert "context-window" in str(error(world, text="x" * 4_100_000))
    assert world.claude.calls == []


# --- the call


def test_the_body_keeps_its_order_and_unknown_fields() -> None:
    world = World(label="complex")
    answer(world, metadata={"user_id": "u"}, thinking={"type": "disabled"}, novelty=1)
    sent = world.claude.answer_calls[0].body
    assert list(sent) == ["model", "max_tokens", "messages", "metadata", "novelty"]  # opus would refuse `disabled`
    assert sent["model"] == OPUS


def test_the_callers_version_and_betas_go_with_the_answer_call() -> None:
    world = World()
    answer(world, headers={"anthropic-beta": "b", "anthropic-version": "2023-06-01"})
    assert world.claude.answer_calls[0].headers == {"anthropic-beta": "b", "anthropic-version": "2023-06-01"}


@pytest.mark.parametrize("failure", [limited(429), limited(529), failing(500), failing(503), CUT, REFUSED], ids=str)
def test_one_short_retry_on_what_may_pass(failure: UpstreamError) -> None:
    world = World(script=[failure])
    found = answer(world, model="sonnet")
    assert found.choice.cause == "pinned"
    assert world.claude.answer_models == [SONNET, SONNET]
    assert len(world.clock.slept) == 1


@pytest.mark.parametrize(("retry_after", "waits"), [(None, 0.125), (1.0, 1.125), (2.0, 2.125)])
def test_the_retry_honours_retry_after(retry_after: float | None, waits: float) -> None:
    world = World(script=[limited(429, retry_after)])
    answer(world, model="sonnet")
    assert world.clock.slept == [waits]


def test_a_longer_retry_after_means_the_next_tier_at_once() -> None:
    world = World(script=[limited(429, 2.1)])
    found = answer(world, model="sonnet")
    assert world.claude.answer_models == [SONNET, HAIKU]
    assert (world.clock.slept, found.choice.cause) == ([], "fallback:sonnet")


@pytest.mark.parametrize("failure", [limited(429), limited(529), failing(500), CUT], ids=str)
def test_the_chain_goes_down_to_haiku(failure: UpstreamError) -> None:
    world = World(script=[failure] * 4)
    told = record()
    found = run(world.router.answer(world.request(model="opus"), told))
    assert world.claude.answer_models == [OPUS, OPUS, SONNET, SONNET, HAIKU]
    assert found.choice.cause == "fallback:opus"
    assert (told.fallback, told.tier, told.model) == (True, Tier.HAIKU, HAIKU)


def test_a_call_that_times_out_while_connecting_falls_back_without_a_retry() -> None:
    world = World(script=[UpstreamError(Failure.TIMEOUT)])
    answer(world, model="opus")
    assert world.claude.answer_models == [OPUS, SONNET]


def test_haiku_falls_up_to_sonnet() -> None:
    world = World(script=[limited(529)] * 2)
    found = answer(world, model="haiku")
    assert (world.claude.answer_models, found.choice.cause) == ([HAIKU, HAIKU, SONNET], "fallback:haiku")


@pytest.mark.parametrize(("name", "hints"), [("haiku", Hints(ceiling=Tier.HAIKU)), ("opus", Hints(floor=Tier.OPUS))])
def test_bounds_hold_for_fallbacks(name: str, hints: Hints) -> None:
    world = World(script=[limited(529)] * 9)
    assert error(world, model=name, hints=hints).__str__().endswith("overloaded (status 529)")
    assert len(set(world.claude.answer_models)) == 1


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413])
def test_what_claude_rejects_goes_back_at_once(status: int) -> None:
    world = World(script=[rejected(status)])
    found = error(world, model="opus")
    assert isinstance(found, UpstreamError)
    assert (found.status, world.claude.answer_models, world.clock.slept) == (status, [OPUS], [])


def test_the_original_error_is_kept_when_a_fallback_is_refused() -> None:
    world = World(script=[limited(529), limited(529), rejected(400)])
    found = error(world, model="opus")
    assert isinstance(found, UpstreamError)
    assert found.status == 529
    assert world.claude.answer_models == [OPUS, OPUS, SONNET]


def test_the_original_error_is_kept_when_the_whole_chain_fails() -> None:
    world = World(script=[limited(529, 9.0), failing(500), failing(500), failing(503), failing(503)])
    found = error(world, model="opus")
    assert isinstance(found, UpstreamError)
    assert found.status == 529


# --- deadlines


def test_a_call_gets_the_time_that_is_left() -> None:
    world = World(script=[limited(529, 2.0)])
    answer(world, model="sonnet", hints=Hints(floor=Tier.SONNET))
    assert [call.seconds for call in world.claude.calls] == pytest.approx([25.0, 22.875])


def test_a_call_that_another_tier_could_follow_gets_two_thirds_of_the_time_left() -> None:
    world = World()
    world.claude.takes = 60.0
    assert isinstance(error(world, model="opus"), DeadlinePassed)
    assert [call.seconds for call in world.claude.calls] == pytest.approx([25 * 2 / 3, 25 / 3])  # under 15 s: all


def test_a_deadline_that_passes_during_the_call_is_told_and_the_call_booked_at_its_bound() -> None:
    world = World()
    world.claude.takes = 60.0
    told = record()
    with pytest.raises(DeadlinePassed):
        run(world.router.answer(world.request(model="sonnet", hints=Hints(floor=Tier.SONNET)), told))
    (entry,) = world.ledger.entries
    assert (entry.flags, entry.usage, entry.baseline_usd) == ((AMBIGUOUS,), Usage(), Decimal(0))
    assert entry.cost_usd > Decimal("0.005")  # 2,000 tokens and more at $2, 100 at $10 per million
    assert (told.ambiguous, told.bill.cost_usd) == (1, entry.cost_usd)
    assert world.claude.answer_models == [SONNET]


def test_no_call_is_begun_without_time_for_it() -> None:
    world = World()
    assert isinstance(error(world, model="sonnet", deadline=world.clock.monotonic() + 0.04), DeadlinePassed)
    assert world.claude.calls == []


def test_what_the_classifier_cost_is_booked_when_the_deadline_passes_after_it() -> None:
    world = World()
    world.claude.takes = 1.0
    assert isinstance(error(world, deadline=world.clock.monotonic() + 1.04), DeadlinePassed)
    assert [entry.purpose for entry in world.ledger.entries] == [CLASSIFIER]


def test_the_first_error_is_told_when_the_deadline_passes_in_a_fallback() -> None:
    world = World(script=[limited(529, 24.0)])
    world.claude.takes = 16.6
    found = error(world, model="opus")
    assert isinstance(found, UpstreamError)
    assert found.status == 529


# --- booking


def test_all_entries_of_a_request_are_booked_in_one_call() -> None:
    world = World(label="complex", script=[CUT, limited(529)])
    found = answer(world, hints=Hints(tags={"customer": "globex"}))
    (booking,) = world.ledger.bookings
    assert [(entry.purpose, entry.model, entry.flags) for entry in booking] == [
        (CLASSIFIER, HAIKU, ()),
        (ANSWER, OPUS, (AMBIGUOUS,)),
        (ANSWER, SONNET, ()),
    ]
    assert [entry.entry_id for entry in booking] == ["req_1#0", "req_1#1", "req_1#2"]
    assert found.bill.cost_usd == sum(entry.cost_usd for entry in booking)
    assert found.bill.classifier_cost_usd == booking[0].cost_usd


def test_the_fields_of_an_entry() -> None:
    world = World(tenant(tags={"team": "shop"}), label="moderate", script=[Usage(1, 2, 3, 4, 5)])
    found = answer(world, hints=Hints(tags={"customer": "globex", "team": "forged"}))
    classified, entry = world.ledger.entries
    assert (entry.request_id, entry.upstream_request_id, entry.tenant) == ("req_1", "req_upstream", "acme")
    assert (entry.label, entry.cause, entry.tier, entry.model) == (Label.MODERATE, "classifier", Tier.SONNET, SONNET)
    assert (entry.purpose, entry.processing, entry.flags, entry.day) == ("answer", "realtime", (), "2026-11-23")
    assert entry.tags == {"team": "shop", "customer": "globex"}  # a caller cannot book on another team
    assert entry.usage == Usage(1, 2, 3, 4, 5)
    assert entry.cost_usd == Decimal("0.0000757")  # 1 * 2 + 2 * 0.1 + 3 * 2.5 + 4 * 4 + 5 * 10 dollars per million
    assert entry.baseline_usd == Decimal("0.0001514")
    assert classified.cost_usd == Decimal("0.000044")
    assert found.bill.saved_usd == Decimal("0.0000317")


@pytest.mark.parametrize("failure", [limited(429), failing(500), REFUSED, rejected(400)], ids=str)
def test_what_was_certainly_not_billed_is_not_booked(failure: UpstreamError) -> None:
    world = World(script=[failure] * 9)
    error(world, model="haiku")
    assert world.ledger.bookings == []


def test_a_call_whose_caller_has_gone_is_booked_at_its_bound() -> None:
    world = World(script=[asyncio.CancelledError()])
    with pytest.raises(asyncio.CancelledError):
        answer(world, model="sonnet")
    assert [entry.flags for entry in world.ledger.entries] == [(AMBIGUOUS, ABANDONED)]


def test_a_ledger_failure_puts_the_entries_in_the_log_and_the_answer_is_given() -> None:
    world = World()
    world.ledger.down = True
    found = answer(world)
    assert found.reply.message["content"][0]["text"] == "the answer"
    assert [entry.purpose for entry in world.telemetry.lost] == [CLASSIFIER, ANSWER]
    assert list(world.ledger.open) == ["req_1#0"], "it is swept when its time is up"


def test_a_counter_that_cannot_be_read_costs_the_gauge_only() -> None:
    world = World(budget=None)
    world.ledger.counter_down = True
    assert answer(world).remaining_usd is None
    assert [event for event, _ in world.telemetry.notes] == ["counter_read_failed"]
    assert world.telemetry.lost == []


def test_a_defect_while_keeping_a_label_loses_neither_booking_nor_answer() -> None:
    world = World()

    async def put(*_: object) -> None:
        raise ZeroDivisionError

    world.labels.put = put  # type: ignore[method-assign, assignment]
    answer(world)
    assert len(world.ledger.entries) == 2
    assert [type(defect) for defect in world.telemetry.defects] == [ZeroDivisionError]


def test_the_gauge_is_the_accounts_day() -> None:
    world = World()
    told = record()
    answer(world)
    found = run(world.router.answer(world.request(id_="req_2"), told))
    assert told.spend_today_usd == sum(entry.cost_usd for entry in world.ledger.entries)
    assert found.remaining_usd == Decimal(10) - (told.spend_today_usd or Decimal(0))


def test_entries_belong_to_the_utc_day_of_their_call() -> None:
    world = World()
    world.clock.at = dt.datetime(2026, 11, 23, 23, 59, 59, tzinfo=dt.UTC)
    world.claude.takes = 1.5
    answer(world)
    assert [entry.day for entry in world.ledger.entries] == ["2026-11-23", "2026-11-24"]


@pytest.mark.parametrize("problem", [NotConfigured("no key"), InvalidRequest("body: ...")])
def test_other_errors_of_the_way_to_claude_end_the_request_unpaid(problem: RouterError) -> None:
    world = World(script=[problem])
    assert error(world, model="haiku") is problem
    assert world.ledger.bookings == []


# --- patience of jobs


def test_a_job_waits_for_its_tier_instead_of_falling_back() -> None:
    world = World(script=[limited(429, 30.0), limited(529), limited(429, 45.0)])
    request = world.request(model="opus", deadline=world.clock.monotonic() + 800)
    run(world.router.answer(request, record(), QUEUED))
    assert world.claude.answer_models == [OPUS] * 4
    assert world.clock.slept == pytest.approx([30.125, 0.25, 45.5])


def test_a_jobs_call_that_may_have_been_paid_for_is_not_repeated_here() -> None:
    """Its lease counts such calls, across deliveries."""
    world = World(script=[CUT] * 9)
    request = world.request(model="opus", deadline=world.clock.monotonic() + 800)
    with pytest.raises(UpstreamError):
        run(world.router.answer(request, record(), QUEUED))
    assert world.claude.answer_models == [OPUS]
    assert len(world.ledger.entries) == 1


def test_limits_between_failures_do_not_use_up_the_retry() -> None:
    world = World(script=[limited(429), failing(500), limited(429)])
    request = world.request(model="opus", deadline=world.clock.monotonic() + 800)
    run(world.router.answer(request, record(), QUEUED))
    assert len(world.claude.calls) == 4
    assert (INTERACTIVE.fall_back, QUEUED.fall_back) == (True, False)


# --- dry run


def test_a_dry_run_decides_and_pays_for_the_classifier_only() -> None:
    world = World(label="complex")
    told = record()
    found = run(world.router.route(world.request(max_tokens=1_000), told))
    assert (found.choice.model.id, found.label, found.choice.cause) == (OPUS, Label.COMPLEX, "classifier")
    assert [entry.purpose for entry in world.ledger.entries] == [CLASSIFIER]
    assert found.estimated_cost_usd >= Decimal("0.02")  # 1,000 tokens of output at $20 per million
    assert world.claude.answer_calls == []
    assert (told.model, told.tier, told.cause) == (OPUS, Tier.OPUS, "classifier")


def test_a_follow_up_whose_ask_could_not_be_labelled_says_so() -> None:
    world = World()
    world.claude.labels.append(failing())
    turns = [
        {"role": "user", "content": "Prove it."},
        {"role": "assistant", "content": "Shall I go on?"},
        {"role": "user", "content": "yes"},
    ]
    found = run(world.router.answer(world.request(messages=turns), record()))
    assert (found.choice.cause, found.label) == ("default", Label.MODERATE)
