"""The ladder, and requests under a budget: what is not covered is not called, what was put aside is given back."""

from decimal import Decimal

import pytest

from cost_router.core.budget import Scope, Standing, ceilings, check_not_spent, remaining
from cost_router.core.errors import BudgetExhausted, Failure, StoreError, UpstreamError
from cost_router.core.jobs import LONGEST_WAIT, Deferred, Job
from cost_router.core.request import Hints
from cost_router.core.words import Tier
from tests.builders import World, limited, record, run, tenant

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
    assert [(bound.tier, bound.rule) for bound in ceilings([standing(spent)])] == bounds


def test_a_scope_without_a_budget_has_no_ladder_and_is_never_spent() -> None:
    free = standing("1000000", Scope("account", None))
    assert list(ceilings([free])) == []
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


def test_every_call_is_covered_before_it_is_made_and_given_back_after() -> None:
    world = World(label="complex")
    run(world.router.answer(world.request(), record()))
    assert [row.id for row in world.ledger.reserved] == ["req_1#0", "req_1#1"]
    put_aside = sum(row.amount_usd for row in world.ledger.reserved)
    assert put_aside >= sum(entry.cost_usd for entry in world.ledger.entries)
    assert world.ledger.open == {}


def test_without_a_budget_nothing_is_put_aside() -> None:
    world = World(budget=None)
    run(world.router.answer(world.request(), record()))
    assert world.ledger.reserved == []


def test_a_call_that_its_tenants_budget_does_not_cover_is_refused_unpaid() -> None:
    world = World(tenant("acme", daily_budget_usd=Decimal("0.0001")))
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
    run(world.router.answer(world.request(model="opus"), record()))
    return world.ledger.reserved[0].amount_usd


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
