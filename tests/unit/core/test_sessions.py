"""What a switch of the model inside a conversation costs, at the points where it begins and ceases to pay."""

import datetime as dt
from decimal import Decimal

import pytest

from cost_router.core.sessions import Session, Turn, Warm, switch
from cost_router.core.words import Tier
from tests.builders import NOW, lineup

ON = NOW.date()
MODELS = lineup().models
OPUS, SONNET, HAIKU = (MODELS[tier] for tier in (Tier.OPUS, Tier.SONNET, Tier.HAIKU))
SESSION = Session("claude-opus-5-5", warm=60_000, fresh=400, output=1_000, estimated=50_000, turns=3, at=NOW)


def test_one_turn_at_a_warm_prefix_of_60_000_tokens_costs_what_it_costs() -> None:
    turn = Turn(60_000, output=1_000)
    assert switch(OPUS, SONNET, turn, 1, ON).stay_usd == Decimal("0.032")
    assert switch(OPUS, SONNET, turn, 1, ON).switch_usd == Decimal("0.160")
    assert switch(OPUS, HAIKU, turn, 1, ON).switch_usd == Decimal("0.008")


@pytest.mark.parametrize(("turns", "stays"), [(1, True), (8, True), (9, False), (10, False)])
def test_opus_keeps_what_sonnet_could_do_for_eight_turns_to_come(turns: int, *, stays: bool) -> None:
    assert switch(OPUS, SONNET, Turn(60_000, output=1_000), turns, ON).is_dearer is stays


@pytest.mark.parametrize(("warm", "stays"), [(60_000, False), (60_001, True)])
def test_at_the_same_price_the_model_that_was_asked_for_answers(warm: int, *, stays: bool) -> None:
    """At nine turns both cost $0.288."""
    found = switch(OPUS, SONNET, Turn(warm, output=1_000), 9, ON)
    assert found.is_dearer is stays
    assert stays or found.stay_usd == found.switch_usd == Decimal("0.288")


@pytest.mark.parametrize(("turns", "usd"), [(1, "0.016"), (4, "0.064")])
def test_a_sonnet_that_is_warm_as_well_gets_every_turn_back(turns: int, usd: str) -> None:
    found = switch(OPUS, SONNET, Turn(60_000, output=1_000, there=60_000), turns, ON)
    assert (found.switch_usd, found.is_dearer) == (Decimal(usd), False)


@pytest.mark.parametrize(
    ("there", "turns", "stays"), [(53_333, 1, True), (53_334, 1, False), (39_999, 3, True), (40_000, 3, False)]
)
def test_only_what_sonnet_lacks_is_written(there: int, turns: int, *, stays: bool) -> None:
    """With 40,000 there and three turns to come both cost $0.096."""
    found = switch(OPUS, SONNET, Turn(60_000, output=1_000, there=there), turns, ON)
    assert found.is_dearer is stays
    assert there != 40_000 or found.stay_usd == found.switch_usd == Decimal("0.096")


@pytest.mark.parametrize(("there", "usd"), [(0, "0.065000625"), (100_001, "0.00750005")])
def test_what_is_read_counts_to_the_size_of_a_prompt_as_well(there: int, usd: str) -> None:
    """Haiku 5.5 above 100,000 tokens: $0.625 a million written, $0.05 read, $2.50 of the answer."""
    assert switch(OPUS, HAIKU, Turn(100_001, output=1_000, there=there), 1, ON).switch_usd == Decimal(usd)


def test_more_than_all_of_the_warm_tokens_is_all_of_them() -> None:
    whole, more = (switch(OPUS, SONNET, Turn(60_000, there=there), 1, ON) for there in (60_000, 70_000))
    assert more == whole


def test_what_is_left_is_what_each_model_still_has() -> None:
    others = {"claude-sonnet-5-5": Warm(50_000, NOW), "claude-haiku-5-5": Warm(40_000, NOW, "1h")}
    later = NOW + dt.timedelta(minutes=2)
    session = Session("claude-opus-5-5", 60_000, 0, 1, 1, 3, later, others=others)
    opus = {"claude-opus-5-5": Warm(60_000, later)}
    assert session.left(NOW + dt.timedelta(seconds=299)) == {**others, **opus}
    assert set(session.left(NOW + dt.timedelta(seconds=300))) == {"claude-haiku-5-5", "claude-opus-5-5"}
    assert set(session.left(NOW + dt.timedelta(seconds=420))) == {"claude-haiku-5-5"}


@pytest.mark.parametrize(
    ("warm", "fresh", "turns", "stays"),
    [
        (100_000, 0, 1, False),
        (100_001, 0, 1, True),
        (99_000, 1_000, 1, False),
        (99_000, 1_001, 1, True),
        (100_001, 0, 2, False),
    ],
)
def test_haiku_costs_five_times_as_much_from_100_001_tokens_on_warm_ones_counted(
    warm: int, fresh: int, turns: int, *, stays: bool
) -> None:
    assert switch(OPUS, HAIKU, Turn(warm, fresh, 1_000), turns, ON).is_dearer is stays


@pytest.mark.parametrize(("output", "stays"), [(157, True), (158, False)])
def test_a_short_answer_of_a_warm_sonnet_is_cheaper_than_warming_haiku(output: int, *, stays: bool) -> None:
    assert switch(SONNET, HAIKU, Turn(60_000, output=output), 1, ON).is_dearer is stays


@pytest.mark.parametrize(("ttl", "usd"), [("5m", "0.0085"), ("1h", "0.0130")])
def test_who_caches_for_an_hour_writes_for_an_hour_anew(ttl: str, usd: str) -> None:
    assert switch(OPUS, HAIKU, Turn(60_000, 5_000, 1_000, ttl), 1, ON).switch_usd == Decimal(usd)


def test_nothing_warm_is_nothing_to_stay_for() -> None:
    assert not switch(OPUS, SONNET, Turn(0, 60_000, 1_000), 1, ON).is_dearer


@pytest.mark.parametrize(("turns", "remaining"), [(0, 1), (1, 1), (2, 2), (10, 10), (11, 10)])
def test_as_many_turns_are_expected_as_there_were_up_to_ten(turns: int, remaining: int) -> None:
    session = Session("claude-opus-5-5", warm=1, fresh=0, output=1, estimated=1, turns=turns, at=NOW)
    assert session.remaining == remaining


@pytest.mark.parametrize(("ttl", "seconds"), [("5m", 300), ("1h", 3_600)])
def test_a_cache_is_warm_until_its_time_is_up(ttl: str, seconds: int) -> None:
    session = Session("claude-opus-5-5", warm=1, fresh=0, output=1, estimated=1, turns=1, at=NOW, ttl=ttl)
    assert session.is_warm(NOW + dt.timedelta(seconds=seconds - 1))
    assert not session.is_warm(NOW + dt.timedelta(seconds=seconds))


@pytest.mark.parametrize(("estimated", "fresh"), [(50_000, 400), (53_000, 3_400), (49_000, 0)])
def test_what_was_said_since_is_new_to_either_model(estimated: int, fresh: int) -> None:
    """The estimate may be a third off, so it is only asked how much it has grown by."""
    assert SESSION.turn(estimated) == Turn(60_000, fresh, 1_000)
    assert SESSION.turn(estimated, 50_000) == Turn(60_000, fresh, 1_000, there=50_000)
