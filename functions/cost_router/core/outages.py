"""Whether a classifier is asked at all: after five failures in a row nobody waits for it for a while.

A classifier that times out costs each caller its deadline, three seconds by default, and still gives no label. It is a
matter of this process: one that has learned it tells no other, which would cost every request a trip to a store.
Only requests that somebody waits for are held back; jobs wait for the classifier instead (`core/calls.py`).
"""

from dataclasses import dataclass, field
from typing import Final

from cost_router.core.breaker import Breaker
from cost_router.core.errors import UpstreamError

FAILURES: Final = 5  # in a row, of any callers
COOL_DOWN: Final = 30.0  # seconds; doubles with each probe that fails
LONGEST: Final = 300.0


@dataclass(frozen=True, slots=True)
class Outages:
    """The breakers of the classifiers of this process, by model id; times are monotonic seconds."""

    _breakers: dict[str, Breaker] = field(default_factory=dict)

    def hold_back(self, model_id: str, now: float) -> bool:
        """Whether the classifier is not to be asked; when it is not, the caller may be the probe and has to ask."""
        return self._of(model_id).wait(now) > 0

    def is_open(self, model_id: str) -> bool:
        """Whether the classifier is out of order, as far as is known; asking makes nobody the probe."""
        return self._of(model_id).is_open

    def ended(self, model_id: str, error: BaseException | None, now: float) -> float | None:
        """A call ended, well or by an error; gives the seconds that nobody asks if this has opened the breaker.

        Only what says that Claude, or the account, is out of order counts. A call that Claude refused for what is in
        it, or that a budget did not cover, says nothing: else one caller could switch the labels of all others off.
        """
        breaker = self._of(model_id)
        if error is None:
            breaker.passed()
        elif isinstance(error, UpstreamError) and (error.passes_with_time or error.account):
            was_open = breaker.is_open
            breaker.tripped(now)
            if breaker.is_open and not was_open:
                return breaker.wait(now)
        else:
            breaker.gave_up(now)
        return None

    def _of(self, model_id: str) -> Breaker:
        return self._breakers.setdefault(model_id, Breaker(FAILURES, COOL_DOWN, LONGEST))
