"""How long to wait before calling again."""

import pytest

from cost_router.core.backoff import full_jitter, wait_before


@pytest.mark.parametrize(
    ("attempt", "expected"), [(1, 0.25), (2, 0.5), (3, 1.0), (7, 16.0), (8, 30.0), (9, 30.0), (10_000, 30.0)]
)
def test_the_most_that_is_waited_doubles_up_to_the_cap(attempt: int, expected: float) -> None:
    assert full_jitter(attempt, 1.0) == expected
    assert full_jitter(attempt, 0.5) == expected / 2
    assert full_jitter(attempt, 0.0) == 0.0


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_never_less_than_the_server_asked_for(chance: float) -> None:
    assert wait_before(1, chance, 7.0) >= 7.0
    assert wait_before(1, chance, None) <= 0.25
