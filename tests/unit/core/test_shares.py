"""How long a tier may take before the next one is asked: literals, at the edges."""

import dataclasses

import pytest

from cost_router.core.shares import share
from cost_router.core.terms import Terms
from tests.builders import request


@pytest.mark.parametrize(
    ("left", "max_tokens", "seconds"),
    [
        (14.9, 100, 14.9),  # not worth sharing
        (15.0, 100, 10.0),
        (24.0, 100, 16.0),  # buffered: two thirds
        (180.0, 1, 120.0),  # two thirds, whatever the answer
        (195.0, 160, 129.0),  # 120 s to read the prompt, and 160 tokens at 17.8 a second
        (895.0, 1_000, 176.25),
        (895.0, 4_096, 350.4),
        (895.0, 8_480, 895 * 2 / 3),
        (895.0, 128_000, 895 * 2 / 3),
    ],
)
def test_a_tier_has_two_thirds_of_the_time_and_never_more_than_an_honest_call_takes(
    left: float, max_tokens: int, seconds: float
) -> None:
    assert share(request(max_tokens=max_tokens), left) == pytest.approx(seconds)


def test_a_call_that_may_search_the_web_has_two_thirds_whatever_its_max_tokens() -> None:
    asked = request(max_tokens=1)
    searching = dataclasses.replace(asked, ask=dataclasses.replace(asked.ask, terms=Terms(web_searches=5)))
    assert share(asked, 600.0) == pytest.approx(120.05625)
    assert share(searching, 600.0) == pytest.approx(400.0)
