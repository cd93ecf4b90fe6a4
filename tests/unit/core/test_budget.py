"""The ladder, and requests under a budget: what is not covered is not called, what was put aside is given back."""

import dataclasses
import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from cost_router.core.budget import (
    Ladder,
    Limits,
    Period,
    Reservation,
    Scope,
    Standing,
    ceilings,
    check_not_spent,
    remaining,
)
from cost_router.core.errors import (
    BudgetExhausted,
    CapExceeded,
    Failure,
    PaceExceeded,
    RuleRefused,
    StoreError,
    UpstreamError,
)
from cost_router.core.job import Deferred, Job
from cost_router.core.jobs import LONGEST_WAIT
from cost_router.core.ledger import Entry, swept
from cost_router.core.ports import Reply
from cost_router.core.pricing import Usage
from cost_router.core.request import Hints
from cost_router.core.words import Tier
from tests.builders import NOW, World, limited, record, reply, run, tenant

TEN = Scope("account", Decimal(10))


def standing(spent: str, scope: Scope = TEN) -> Standing:
    return Standing(scope, Decimal(spent), Decimal(spent))


@pytest.mark.parametrize(
    ("spent", "bounds"),
    [
        ("0", []),
        ("7.9999", []),
        ("8", [(Tier.SONNET, "budget:account-80")]),
        ("9.4999", [(Tier.SONNET, "budget:account-80")]),
        ("9.5", [(Tier.HAIKU, "budget:account-95")]),
        ("12", [(Tier.HAIKU, "budget:account-95")]),
    ],
)
def test_the_ladder_steps_at_80_and_95_percent_of_what_is_spent(spent: str, bounds: list[tuple[Tier, str]]) -> None:
    assert [(bound.tier, bound.rule) for bound in ceilings([standing(spent)], Ladder())] == bounds


def test_a_scope_without_a_budget_has_no_ladder_and_is_never_spent() -> None:
    free = standing("1000000", Scope("account", None))
    assert list(ceilings([free], Ladder())) == []
    check_not_spent([free])
    assert remaining([free]) is None


def test_a_spent_budget_refuses_by_name_at_100_percent() -> None:
    check_not_spent([standing("9.999999")])
    with pytest.raises(BudgetExhausted) as refused:
        check_not_spent([standing("1"), standing("5", Scope("tenant#acme", Decimal(5)))])
    assert refused.value.rule == "budget:tenant-daily"


def test_the_tightest_budget_is_what_remains() -> None:
    assert remaining([standing("4"), standing("2", Scope("tenant#acme", Decimal(3)))]) == 1
    assert remaining([standing("11")]) == 0


def test_with_ample_room_the_classifier_and_the_dearest_answer_are_put_aside_in_one_write() -> None:
    world = World(label="complex")
    run(world.router.answer(world.request(), record()))
    assert [row.id for row in world.ledger.reserved] == ["req_1#0"]
    assert world.ledger.round_trips == ["standings", "reserve", "book"]
    assert world.ledger.reserved[0].amount_usd >= sum(entry.cost_usd for entry in world.ledger.entries)
    assert world.ledger.reserved[0].if_lost.model == "claude-opus-5-5"
    assert world.ledger.open == {}


def test_close_to_a_limit_each_call_is_covered_for_itself_so_that_a_simple_request_still_fits() -> None:
    world = World(label="simple", budget=_bound_of(World(), "opus", max_tokens=20_000))
    bound = world.settings.limits.daily_usd
    run(world.router.answer(world.request(max_tokens=20_000), record()))
    assert [row.if_lost.purpose for row in world.ledger.reserved] == ["classifier", "answer"]
    assert sum(row.amount_usd for row in world.ledger.reserved) < (bound or 0)
    assert world.ledger.open == {}


def test_every_call_has_a_reservation_also_without_a_budget_so_that_no_payment_is_lost_with_its_process() -> None:
    world = World(budget=None)
    run(world.router.answer(world.request(), record()))
    (reservation,) = world.ledger.reserved
    assert reservation.scopes == ()
    assert {entry.reservation for entry in world.ledger.entries} == {reservation.id}


def test_a_reservation_outlives_its_requests_deadline_by_two_minutes_and_says_what_is_booked_if_it_is_lost() -> None:
    world = World()
    run(world.router.answer(world.request(model="sonnet", hints=Hints(tags={"customer": "globex"})), record()))
    (reservation,) = world.ledger.reserved
    assert reservation.until == NOW + dt.timedelta(seconds=25 + 120)
    lost = swept(reservation.if_lost)
    assert (lost.entry_id, lost.flags) == ("req_1#0#swept", ("ambiguous", "swept"))
    assert (lost.model, lost.tenant, lost.tags) == ("claude-sonnet-5-5", "acme", {"customer": "globex"})
    assert lost.cost_usd == reservation.amount_usd


def test_a_call_that_its_tenants_budget_does_not_cover_is_refused_unpaid() -> None:
    world = World(tenant("acme", limits=Limits(daily_usd=Decimal("0.0001"))))
    told = record()
    with pytest.raises(BudgetExhausted) as refused:
        run(world.router.answer(world.request(model="opus"), told))
    assert refused.value.rule == "budget:tenant-daily"
    assert world.claude.calls == []
    assert world.ledger.open == {}
    assert told.spend_today_usd == 0, "the gauge is told on refusals too"


@pytest.mark.parametrize(
    ("spent", "tier", "cause"),
    [("7", Tier.OPUS, "pinned"), ("8", Tier.SONNET, "budget:account-80"), ("9.5", Tier.HAIKU, "budget:account-95")],
)
def test_the_ladder_moves_a_pinned_choice_and_says_so(spent: str, tier: Tier, cause: str) -> None:
    world = World()
    world.ledger.spent_before["account"] = Decimal(spent)
    found = run(world.router.answer(world.request(model="opus"), record()))
    assert (found.choice.tier, found.choice.cause) == (tier, cause)


def test_what_claude_refused_to_do_is_given_back() -> None:
    world = World(script=[limited(429, 90.0)] * 9)
    with pytest.raises(UpstreamError):
        run(world.router.answer(world.request(model="sonnet"), record()))
    assert world.ledger.reserved
    assert world.ledger.open == {}
    assert world.ledger.entries == []


def test_a_retry_that_is_not_covered_any_more_keeps_the_original_error() -> None:
    """The first call may have been paid for, so that its reservation is used up."""
    cut = UpstreamError(Failure.CONNECTION, maybe_billed=True)
    world = World(script=[cut] * 9)
    bound = _bound_of_one_call(World())
    world = World(script=[cut] * 9, budget=bound * Decimal("1.5"))
    with pytest.raises(UpstreamError) as told:
        run(world.router.answer(world.request(model="opus", hints=Hints(floor=Tier.OPUS)), record()))
    assert told.value.failure is Failure.CONNECTION
    assert len(world.claude.calls) == 1
    assert sum(entry.cost_usd for entry in world.ledger.entries) <= bound * Decimal("1.5")


def test_a_cheaper_tier_that_is_still_covered_answers_instead() -> None:
    cut = UpstreamError(Failure.CONNECTION, maybe_billed=True)
    world = World(script=[cut], budget=_bound_of_one_call(World()) * Decimal("1.6"))
    found = run(world.router.answer(world.request(model="opus"), record()))
    assert (found.choice.tier, found.choice.cause) == (Tier.SONNET, "fallback:opus")


def _bound_of_one_call(world: World) -> Decimal:
    return _bound_of(world, "opus")


def test_a_budget_that_nobody_can_look_up_refuses() -> None:
    for name in ("counter_down", "reserving_down"):
        world = World()
        setattr(world.ledger, name, True)
        with pytest.raises(StoreError):
            run(world.router.answer(world.request(model="haiku"), record()))
        assert world.claude.calls == []


def test_a_job_waits_for_a_larger_budget_and_no_attempt_is_counted() -> None:
    world = World(budget=Decimal("0.0001"))
    request = world.request(model="opus", deadline=world.clock.monotonic() + 800)
    outcome = run(world.runner.run(Job("nightly", "a", request, 1), record()))
    assert outcome == Deferred(LONGEST_WAIT)
    assert (world.claude.calls, dict(world.attempts.counts), world.results.items) == ([], {}, {})


def test_a_budget_that_covers_a_lower_tier_only_lowers_it_rather_than_refuse() -> None:
    bounds = {tier: _bound_of(World(), tier) for tier in ("haiku", "sonnet", "opus")}
    world = World(limits=Limits(daily_usd=bounds["sonnet"]))
    found = run(world.router.answer(world.request(model="opus"), record()))
    assert (found.choice.tier, found.choice.cause) == (Tier.SONNET, "budget:account-daily")
    assert bounds["haiku"] < bounds["sonnet"] < bounds["opus"]


def test_what_is_put_aside_by_others_counts_for_what_a_budget_covers() -> None:
    sonnet = _bound_of(World(), "sonnet")
    world = World(limits=Limits(daily_usd=sonnet))
    aside = Reservation("req_0#0", Decimal("0.001"), (Scope("account", sonnet),), NOW, _entry(NOW))
    world.ledger.open[aside.id] = aside
    found = run(world.router.answer(world.request(model="opus"), record()))
    assert found.choice.tier is Tier.HAIKU


def test_a_job_waits_for_a_budget_that_covers_its_tier() -> None:
    world = World(limits=Limits(daily_usd=_bound_of(World(), "sonnet")))
    request = world.request(model="opus", deadline=world.clock.monotonic() + 800)
    assert run(world.runner.run(Job("nightly", "a", request, 1), record())) == Deferred(LONGEST_WAIT)
    assert world.claude.calls == []


def test_a_job_whose_floor_is_above_the_ladders_ceiling_waits_for_tomorrow() -> None:
    world = World()
    world.ledger.spent_before["account"] = Decimal(9)
    hints = Hints(floor=Tier.OPUS)
    request = world.request(hints=hints, deadline=world.clock.monotonic() + 800)
    assert run(world.runner.run(Job("nightly", "a", request, 1), record())) == Deferred(LONGEST_WAIT)
    with pytest.raises(BudgetExhausted) as refused:
        run(world.router.answer(world.request(hints=hints), record()))
    assert refused.value.rule == "budget:account-80"


def test_a_refusal_tells_what_would_have_had_to_be_covered() -> None:
    world = World(limits=Limits(daily_usd=Decimal("0.00001")))
    with pytest.raises(BudgetExhausted, match=r"can cost, \$0\.\d+; a smaller max_tokens or a lower tier needs less"):
        run(world.router.answer(world.request(model="haiku"), record()))


# --- months


def test_a_monthly_budget_refuses_by_its_own_name_and_starts_anew_on_the_first() -> None:
    month = Scope("account", Decimal(10), Period.MONTH)
    with pytest.raises(BudgetExhausted, match=r"monthly budget of .10 .* on the first of the month, UTC") as told:
        check_not_spent([standing("10", month)])
    assert told.value.rule == "budget:account-monthly"
    steps = [(bound.tier, bound.rule) for bound in ceilings([standing("8", month)], Ladder())]
    assert steps == [(Tier.SONNET, "budget:account-month-80")]


@pytest.mark.parametrize(
    ("at", "day", "month"),
    [
        ("2026-11-30T23:59:59.999999+00:00", "2026-11-30", "2026-11"),
        ("2026-12-01T00:00:00+00:00", "2026-12-01", "2026-12"),
    ],
)
def test_the_rollover_is_exact(at: str, day: str, month: str) -> None:
    moment = dt.datetime.fromisoformat(at)
    assert (Period.DAY.of(moment), Period.MONTH.of(moment)) == (day, month)


def test_yesterday_s_spend_does_not_count_today_but_counts_for_the_month() -> None:
    bound = _bound_of_one_call(World())
    world = World(limits=Limits(daily_usd=bound * 2, monthly_usd=bound * 2))
    world.clock.at = dt.datetime(2026, 11, 23, 23, 59, 59, tzinfo=dt.UTC)
    cut = UpstreamError(Failure.CONNECTION, maybe_billed=True)
    world.claude.script.extend([cut, cut])
    with pytest.raises(UpstreamError):
        run(world.router.answer(world.request(model="opus", hints=Hints(floor=Tier.OPUS)), record()))
    world.clock.advance(1)  # midnight: the day is new, the month is spent
    with pytest.raises(BudgetExhausted) as refused:
        run(world.router.answer(world.request(model="opus", id_="req_2"), record()))
    assert refused.value.rule == "budget:account-monthly"


def test_money_put_aside_before_midnight_covers_no_call_after_it() -> None:
    """The classifier is asked at 23:59:59, the answer at 00:00:00.5: the new day has to cover it."""
    world = World(label="complex")
    world.clock.at = dt.datetime(2026, 11, 23, 23, 59, 59, tzinfo=dt.UTC)
    world.claude.takes = 1.5
    run(world.router.answer(world.request(), record()))
    assert [row.at.date().day for row in world.ledger.reserved] == [23, 24]
    assert [entry.at.date().day for entry in world.ledger.entries] == [23, 24]
    assert world.ledger.open == {}


def test_a_new_day_whose_budget_is_committed_refuses_the_call_that_crosses_midnight() -> None:
    world = World(label="complex", limits=Limits(daily_usd=Decimal(1)))
    midnight = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
    taken = Reservation("req_0#0", Decimal(1), (Scope("account", Decimal(1)),), midnight, _entry(midnight))
    world.ledger.open[taken.id] = taken
    world.clock.at = midnight - dt.timedelta(seconds=1)
    world.claude.takes = 1.5
    with pytest.raises(BudgetExhausted):
        run(world.router.answer(world.request(), record()))
    assert [entry.purpose for entry in world.ledger.entries] == ["classifier"]


def _entry(at: dt.datetime) -> Entry:
    donor = World()
    run(donor.router.answer(donor.request(model="haiku"), record()))
    return dataclasses.replace(donor.ledger.entries[0], at=at)


# --- a ladder of one's own


def test_the_ladder_stands_where_the_operator_puts_it() -> None:
    ladder = Ladder(sonnet=Decimal("0.5"), haiku=Decimal("0.625"))
    assert [bound.rule for bound in ceilings([standing("5")], ladder)] == ["budget:account-50"]
    assert [bound.rule for bound in ceilings([standing("6.25")], ladder)] == ["budget:account-62.5"]


# --- the request's own cap


def test_a_cap_lowers_the_tier_before_it_refuses() -> None:
    bounds = {tier: _bound_of(World(), tier) for tier in ("haiku", "sonnet", "opus")}
    world = World()
    capped = Hints(max_cost_usd=bounds["sonnet"])
    found = run(world.router.answer(world.request(model="opus", hints=capped), record()))
    assert (found.choice.tier, found.choice.cause) == (Tier.SONNET, "rule:max-cost")


def test_a_cap_under_the_cheapest_tier_refuses_before_anything_is_paid() -> None:
    for model in ("auto", "haiku"):
        world = World()
        with pytest.raises(CapExceeded, match=r"max-cost: the request may cost up to \$0.* cap of \$0.00001;"):
            run(world.router.answer(world.request(model=model, hints=Hints(max_cost_usd=Decimal("0.00001"))), record()))
        assert world.claude.calls == []
        assert world.ledger.reserved == []


def test_a_cap_below_a_floor_is_refused_by_name() -> None:
    capped = Hints(floor=Tier.OPUS, max_cost_usd=_bound_of(World(), "sonnet"))
    with pytest.raises(RuleRefused) as refused:
        run(World().router.answer(World().request(hints=capped), record()))
    assert refused.value.rule == "max-cost"


def test_a_retry_above_the_cap_is_not_made() -> None:
    cut = UpstreamError(Failure.CONNECTION, maybe_billed=True)
    world = World(script=[cut] * 9)
    bound = _bound_of(World(), "haiku")
    with pytest.raises(UpstreamError):
        run(world.router.answer(world.request(model="haiku", hints=Hints(max_cost_usd=bound)), record()))
    assert len(world.claude.calls) == 1


def _bound_of(world: World, tier: str, **changes: Any) -> Decimal:
    run(world.router.answer(world.request(model=tier, **changes), record()))
    return world.ledger.reserved[0].amount_usd


# --- sessions


def test_a_session_has_a_budget_of_its_own_and_leaves_others_alone() -> None:
    bound = _bound_of(World(), "haiku")
    world = World(limits=Limits(session_usd=bound))
    first = Hints(session="loop-1")
    run(world.router.answer(world.request(model="haiku", hints=first), record()))
    with pytest.raises(BudgetExhausted, match="the session's daily budget") as refused:
        run(world.router.answer(world.request(model="haiku", hints=first, id_="req_2"), record()))
    assert refused.value.rule == "budget:session-daily"
    run(world.router.answer(world.request(model="haiku", hints=Hints(session="loop-2"), id_="req_3"), record()))
    run(world.router.answer(world.request(model="haiku", id_="req_4"), record()))


def test_a_session_that_runs_away_is_stopped_until_the_next_minute() -> None:
    world = World(limits=Limits(session_per_minute=2))
    world.clock.at = NOW.replace(second=41)
    hints = Hints(session="loop-1")
    for number in range(2):
        run(world.router.answer(world.request(model="haiku", hints=hints, id_=f"req_{number}"), record()))
    with pytest.raises(PaceExceeded, match="has made its 2 requests of this minute") as refused:
        run(world.router.answer(world.request(model="haiku", hints=hints, id_="req_8"), record()))
    assert (refused.value.rule, refused.value.retry_after) == ("pace:session", 19)
    assert len(world.claude.calls) == 2
    world.clock.advance(19)
    run(world.router.answer(world.request(model="haiku", hints=hints, id_="req_9"), record()))


def test_a_request_of_a_session_counts_once_however_many_calls_it_takes() -> None:
    bound = _bound_of(World(), "opus", max_tokens=20_000)
    world = World(label="simple", limits=Limits(daily_usd=bound, session_per_minute=1))
    run(world.router.answer(world.request(hints=Hints(session="loop-1"), max_tokens=20_000), record()))
    assert [row.pace is not None for row in world.ledger.reserved] == [True, False]


def test_a_tenants_own_session_limits_win() -> None:
    patient = tenant("acme", limits=Limits(session_per_minute=9))
    world = World(patient, limits=Limits(session_per_minute=1))
    for number in range(3):
        hints = Hints(session="loop-1")
        run(world.router.answer(world.request(model="haiku", hints=hints, id_=f"req_{number}"), record()))
    assert len(world.claude.calls) == 3


def test_a_job_of_a_session_that_is_too_fast_waits_for_the_next_minute() -> None:
    world = World(limits=Limits(session_per_minute=1))
    hints = Hints(session="loop-1")
    run(world.router.answer(world.request(model="haiku", hints=hints), record()))
    request = world.request(model="haiku", hints=hints, deadline=world.clock.monotonic() + 800, id_="req_2")
    assert run(world.runner.run(Job("nightly", "a", request, 1), record())) == Deferred(60)


# --- a store that cannot be reached


def test_without_the_store_calls_are_made_where_the_operator_says_so_and_counted() -> None:
    world = World(without_store=True)
    world.ledger.counter_down = world.ledger.reserving_down = True
    told = record()
    run(world.router.answer(world.request(model="haiku"), told))
    assert told.unreserved == 1
    assert [event for event, _ in world.telemetry.notes] == ["counter_read_failed", "unreserved"]
    assert len(world.ledger.entries) == 1


def test_what_may_have_been_put_aside_though_no_reply_came_is_given_back() -> None:
    world = World()

    async def reserve_without_reply(reservation: Reservation) -> None:
        world.ledger.open[reservation.id] = reservation
        raise StoreError("dynamodb.transact_write_items: ReadTimeoutError")

    world.ledger.reserve = reserve_without_reply  # type: ignore[method-assign]
    with pytest.raises(StoreError):
        run(world.router.answer(world.request(model="haiku"), record()))
    assert world.ledger.open == {}


# --- sweeping


def test_what_was_swept_too_early_is_reversed_when_its_request_settles_after_all() -> None:
    world = World()

    async def sweep_meanwhile(*_: object) -> Reply:
        for reservation in await world.ledger.outstanding():
            assert await world.ledger.sweep(reservation)
        return reply("claude-haiku-5-5", "late", Usage(input_tokens=100, output_tokens=10))

    world.claude.send = sweep_meanwhile  # type: ignore[method-assign, assignment]
    found = run(world.router.answer(world.request(model="haiku"), record()))
    assert [entry.flags for entry in world.ledger.entries] == [("ambiguous", "swept"), (), ("ambiguous", "reversal")]
    assert sum(entry.cost_usd for entry in world.ledger.entries) == found.bill.cost_usd
