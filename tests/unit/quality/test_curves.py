"""The measures of routing policies, on examples that can be done by hand."""

import numpy as np
import pytest

from infra.quality.curves import Outcomes, curve, measure

# Two of four prompts need the dear model.
FOUR = Outcomes(np.array([0.0, 0.0, 1.0, 1.0]), np.ones(4), np.ones(4))


def apgr(*scores: float, outcomes: Outcomes = FOUR) -> float:
    return float(curve(np.array(scores), outcomes).apgr[0])


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ((4, 3, 2, 1), 0.75),  # PGR 0, 0.5, 1, 1, 1 at shares of 0, 0.25, 0.5, 0.75, 1
        ((1, 2, 3, 4), 0.25),
        ((0, 0, 0, 0), 0.5),  # all alike: chance
        ((4, 1, 3, 2), 0.5),
    ],
)
def test_apgr_is_the_area_under_the_gap_recovered(scores: tuple[float, ...], expected: float) -> None:
    assert apgr(*scores) == pytest.approx(expected)


def test_prompts_ranked_alike_count_as_in_random_order() -> None:
    assert apgr(1, 1, 0, 0) == pytest.approx((apgr(2, 1, 0, 0) + apgr(1, 2, 0, 0)) / 2)
    mixed = Outcomes(np.array([0.0, 1.0, 1.0, 0.0]), np.ones(4), np.ones(4))
    alike = (apgr(4, 3, 2, 1, outcomes=mixed) + apgr(3, 4, 2, 1, outcomes=mixed)) / 2
    assert apgr(3, 3, 2, 1, outcomes=mixed) == pytest.approx(alike)


def test_an_oracle_recovers_more_than_the_gap_where_the_cheap_model_alone_is_right() -> None:
    outcomes = Outcomes(np.array([0.0, 0.0, 0.0, 1.0]), np.array([1.0, 1.0, 1.0, 0.0]), np.ones(4))
    assert apgr(1, 1, 1, -1, outcomes=outcomes) == pytest.approx(0.75 * 0.75 + 0.25 * 1.25)


def test_there_is_no_gap_to_recover_between_equal_models() -> None:
    assert apgr(4, 3, 2, 1, outcomes=Outcomes(np.ones(4), np.ones(4), np.ones(4))) == 0.5


def test_the_share_at_quality_is_where_the_curve_gets_there() -> None:
    # Quality 0.5, 0.75, 1 at shares of 0, 0.25, 0.5: 0.95 is four fifths of the way between the last two.
    assert curve(np.array([4.0, 3.0, 2.0, 1.0]), FOUR).share_at_quality[0] == pytest.approx(0.45)
    assert curve(np.array([0.0, 0.0, 0.0, 0.0]), FOUR).share_at_quality[0] == pytest.approx(0.9)


def test_no_dear_call_is_needed_where_the_cheap_model_is_good_enough() -> None:
    outcomes = Outcomes(np.array([0.96] * 4), np.ones(4), np.ones(4))
    assert curve(np.array([4.0, 3.0, 2.0, 1.0]), outcomes).share_at_quality[0] == 0.0


def test_a_row_counts_as_often_as_it_weighs() -> None:
    weighted = Outcomes(np.array([0.0, 1.0]), np.ones(2), np.array([2.0, 2.0]))
    assert apgr(2, 1, outcomes=weighted) == pytest.approx(apgr(4, 3, 2, 1))
    heavy = Outcomes(np.array([0.0, 1.0]), np.ones(2), np.array([1.0, 3.0]))
    assert apgr(2, 1, outcomes=heavy) == pytest.approx(0.875)


def test_intervals_are_those_of_a_seed_and_hold_the_value() -> None:
    rng = np.random.default_rng(1)
    weak = (rng.random(200) < 0.6).astype(float)
    outcomes = Outcomes(weak, np.ones(200), np.ones(200))
    policies = {"length": rng.random(200), "oracle": 1 - weak}
    found, again, other = (measure(policies, outcomes, np.zeros(200, dtype=int), seed, "length") for seed in (0, 0, 1))
    assert found["oracle"].apgr == again["oracle"].apgr != other["oracle"].apgr
    assert found["length"].apgr.low < found["length"].apgr.value < found["length"].apgr.high
    assert found["length"].over_length.value == 0
    assert found["oracle"].over_length.low > 0.2


def test_scores_of_different_models_are_not_compared() -> None:
    """The second part's model gives all scores 100 more: its prompts would all come first."""
    outcomes = Outcomes(np.array([0.0, 1.0] * 4), np.ones(8), np.ones(8))
    scores = np.array([4.0, 3.0, 2.0, 1.0, 104.0, 103.0, 102.0, 101.0])
    parts = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    one = measure({"ours": scores[:4]}, outcomes[np.arange(4)], parts[:4], 0, "ours")
    both = measure({"ours": scores}, outcomes, parts, 0, "ours")
    assert both["ours"].apgr.value == pytest.approx(one["ours"].apgr.value)
