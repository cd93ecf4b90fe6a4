"""The bulk lane stops while the account is at fault, and one call at a time finds out whether it still is."""

import pytest

from cost_router.core.breaker import Breaker


def tripped(times: int) -> tuple[Breaker, float]:
    """A breaker after so many trips in a row, and when the last pause is over."""
    breaker, now = Breaker(), 100.0
    for _ in range(times):
        assert breaker.wait(now) == 0.0
        breaker.tripped(now)
        now += breaker.wait(now)
    return breaker, now


def test_a_closed_breaker_lets_all_calls_through() -> None:
    breaker = Breaker()
    assert [breaker.wait(0.0), breaker.wait(0.0)] == [0.0, 0.0]
    assert not breaker.is_open


@pytest.mark.parametrize(("trips", "seconds"), [(1, 60), (2, 120), (3, 240), (4, 480), (5, 600), (6, 600), (40, 600)])
def test_the_pause_doubles_with_each_trip_in_a_row_up_to_ten_minutes(trips: int, seconds: float) -> None:
    breaker, now = tripped(trips - 1)
    breaker.wait(now)
    breaker.tripped(now)
    assert breaker.is_open
    assert breaker.wait(now) == seconds


def test_calls_that_trip_together_are_one_trip() -> None:
    breaker = Breaker()
    breaker.tripped(100.0)
    breaker.tripped(100.5)
    breaker.tripped(130.0)
    assert breaker.wait(130.0) == 30.0
    assert breaker.wait(160.0) == 0.0
    breaker.tripped(161.0)  # the probe
    breaker.tripped(162.0)  # one that began long ago
    assert breaker.wait(162.0) == 119.0


def test_when_the_time_is_up_one_caller_probes_and_the_others_ask_again_in_a_second() -> None:
    breaker = Breaker()
    breaker.tripped(100.0)
    assert breaker.wait(159.5) == 0.5
    assert breaker.wait(160.0) == 0.0
    assert breaker.wait(160.0) == 1.0
    assert breaker.wait(219.5) == 0.5
    assert breaker.is_open


def test_a_probe_that_tells_nothing_for_a_minute_is_lost() -> None:
    breaker, now = tripped(1)
    assert breaker.wait(now) == 0.0
    assert breaker.wait(now + 59.0) == 1.0
    assert breaker.wait(now + 60.0) == 0.0
    assert breaker.wait(now + 60.0) == 1.0


def test_a_call_that_gets_through_closes_it_and_forgets_the_series() -> None:
    breaker, now = tripped(3)
    breaker.wait(now)
    breaker.passed()
    assert not breaker.is_open
    assert [breaker.wait(now), breaker.wait(now)] == [0.0, 0.0]
    breaker.tripped(now)
    breaker.tripped(now)
    assert breaker.wait(now) == 60.0


def test_a_probe_that_gives_up_leaves_the_probing_to_the_next_one() -> None:
    breaker, now = tripped(2)
    assert breaker.wait(now) == 0.0
    breaker.gave_up(now + 3.0)
    assert breaker.is_open
    assert breaker.wait(now + 3.5) == 0.5
    assert breaker.wait(now + 4.0) == 0.0
    assert breaker.wait(now + 4.0) == 1.0
    breaker.tripped(now + 5.0)  # still the same series
    assert breaker.wait(now + 5.0) == 240.0


def test_a_call_that_gives_up_while_nobody_probes_does_not_shorten_the_pause() -> None:
    breaker = Breaker()
    breaker.gave_up(99.0)
    assert breaker.wait(99.0) == 0.0
    breaker.tripped(100.0)
    breaker.gave_up(110.0)
    assert breaker.wait(110.0) == 50.0
