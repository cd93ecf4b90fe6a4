"""The machine's clock and randomness."""

import datetime as dt
import string

from cost_router.adapters.system import SystemChance, SystemClock
from tests.builders import run


def test_now_is_utc() -> None:
    assert SystemClock().now().tzinfo is dt.UTC


def test_a_sleep_takes_its_time_on_the_monotonic_clock() -> None:
    clock = SystemClock()
    before = clock.monotonic()
    run(clock.sleep(0.01))
    assert clock.monotonic() - before >= 0.009


def test_tokens_are_24_letters_and_digits_and_never_the_same() -> None:
    tokens = {SystemChance().token() for _ in range(1_000)}
    assert len(tokens) == 1_000
    assert all(len(token) == 24 and set(token) <= set(string.ascii_letters + string.digits) for token in tokens)


def test_fractions_are_at_least_0_and_below_1() -> None:
    assert all(0.0 <= SystemChance().fraction() < 1.0 for _ in range(1_000))
