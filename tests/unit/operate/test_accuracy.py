"""Statistics against figures worked out by hand or taken from tables."""

from decimal import Decimal

import pytest

from cost_router.core.words import Label, Tier
from infra.operate.accuracy import (
    Pair,
    accuracy,
    confusion,
    label_mix,
    most_frequent,
    percentile,
    share,
    wilson,
)
from infra.operate.misrouting import Route, misrouting

S, M, C = Label
ONE = Decimal(1)


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [
        (8, 10, 0.4902, 0.9433),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),
        (1, 1, 0.2065, 1),
    ],
)
def test_the_interval_is_wilsons(hits: int, count: int, low: float, high: float) -> None:
    assert [round(edge, 4) for edge in wilson(hits / count, count)] == [low, high]


def test_a_weight_says_how_many_requests_a_line_stands_for() -> None:
    found = share([(True, Decimal(9)), (False, Decimal(1))])
    assert found is not None
    assert (found.value, found.count) == (0.9, 2)


def test_unequal_weights_widen_the_interval_to_that_of_the_effective_number() -> None:
    even = share([(True, ONE)] * 8 + [(False, ONE)] * 2)
    uneven = share([(True, Decimal(8))] + [(True, ONE)] * 7 + [(False, ONE)] * 3)  # effective number: 18²/74 = 4.378
    assert even is not None
    assert uneven is not None
    assert [round(edge, 4) for edge in (even.low, even.high)] == [0.4902, 0.9433]
    assert uneven.value == pytest.approx(15 / 18)
    assert (uneven.low, uneven.high) == wilson(15 / 18, 324 / 74)


def test_the_scale_of_weights_does_not_matter() -> None:
    rows = [(True, Decimal("0.001")), (False, Decimal("0.002")), (True, Decimal("0.003"))]
    larger = [(hit, weight * 1000) for hit, weight in rows]
    one, other = share(rows), share(larger)
    assert one is not None
    assert other is not None
    assert [one.value, one.low, one.high] == pytest.approx([other.value, other.low, other.high])


def test_of_nothing_there_is_no_share() -> None:
    assert share([]) is None
    assert accuracy([]) is None
    assert misrouting([]) is None
    assert label_mix([]) == {S: 0.0, M: 0.0, C: 0.0}


def test_the_matrix_has_a_row_for_each_right_label() -> None:
    rows = confusion([Pair(S, S), Pair(S, M), Pair(S, M), Pair(C, S, Decimal(50))])
    assert rows == {S: {S: 1, M: 2, C: 0}, M: {S: 0, M: 0, C: 0}, C: {S: 1, M: 0, C: 0}}


def test_the_most_frequent_label_is_so_by_weight_and_the_lower_one_of_equals() -> None:
    assert most_frequent(label_mix([(S, ONE), (S, ONE), (C, Decimal(3))])) is C
    assert most_frequent(label_mix([(M, ONE), (C, ONE)])) is M


@pytest.mark.parametrize(
    ("values", "part", "expected"),
    [([7.0], 0.95, 7.0), ([3, 1, 2], 0.5, 2), ([1, 2, 3, 4], 0.5, 2), (range(1, 101), 0.95, 95), ([1, 9], 0.95, 9)],
)
def test_percentiles_are_values_that_were_seen(values: list[float], part: float, expected: float) -> None:
    assert percentile(list(values), part) == expected


# --- money

COSTS = {Tier.HAIKU: Decimal("0.001"), Tier.SONNET: Decimal("0.01"), Tier.OPUS: Decimal("0.03")}


def test_wrong_tiers_are_told_in_both_directions_per_1000_requests_of_the_traffic() -> None:
    found = misrouting(
        [
            Route(Tier.HAIKU, Tier.HAIKU, COSTS, Decimal(6)),
            Route(Tier.HAIKU, Tier.OPUS, COSTS, Decimal(2)),  # $0.029 too much, twice
            Route(Tier.OPUS, Tier.HAIKU, COSTS),  # two tiers too small
            Route(Tier.SONNET, Tier.HAIKU, COSTS),  # one
        ]
    )
    assert found is not None
    assert [found.over.value, found.under.value, found.tiers_under] == [0.2, 0.2, 1.5]
    assert found.wasted_usd == Decimal("5.8")  # 0.058 / 10 * 1000
    assert found.withheld_usd == Decimal("3.8")  # (0.029 + 0.009) / 10 * 1000
    assert found.error_usd == Decimal("9.6")
    assert found.answers_usd == Decimal("6.8")  # (0.006 + 0.060 + 0.001 + 0.001) / 10 * 1000
    assert found.right_usd == Decimal("4.8")  # (0.006 + 0.002 + 0.030 + 0.010) / 10 * 1000
    assert found.answers_usd - found.right_usd == found.wasted_usd - found.withheld_usd


def test_without_a_wrong_tier_nothing_is_wasted() -> None:
    found = misrouting([Route(tier, tier, COSTS) for tier in Tier])
    assert found is not None
    assert found.error_usd == 0
    assert [found.tiers_under, found.under.value, found.over.value] == [0.0, 0.0, 0.0]
    assert found.json()["error_usd_per_1000"] == "0"
