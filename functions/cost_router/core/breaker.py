"""A circuit breaker: whether something that has failed may be called at all.

closed --tripped--> open: nobody calls for 60 s --time is up--> one probe --passed--> closed
                      ^                                           |  `--gave up--> another probe
                      `--- tripped: 120 s, 240 s, ... 600 s ------'

The bulk lane has one that opens at once, when the account is at fault: spend limit, 401, 402 (`core/turns.py`). Each
classifier has one that opens after several failures in a row (`core/outages.py`).
"""

from typing import Final

COOL_DOWN: Final = 60.0  # seconds after the first trip; doubles with each further one in a row
LONGEST: Final = 600.0
PROBE_LEASE: Final = 60.0  # a probe that has told nothing for so long is lost, and somebody else may probe
ASK_AGAIN: Final = 1.0  # seconds, while another caller probes or after one gave up


class Breaker:
    """Stops all calls of one kind after `after` trips in a row; times are monotonic seconds."""

    def __init__(self, after: int = 1, cool_down: float = COOL_DOWN, longest: float = LONGEST) -> None:
        """Start closed."""
        self._after = after
        self._cool_down = cool_down
        self._longest = longest
        self._forgiven = 0  # trips in a row that have not opened it
        self._trips = 0  # in a row, from the one that opened it; 0 is closed
        self._until = 0.0  # end of the pause
        self._probe_until: float | None = None  # end of the probe's lease, None when nobody probes

    @property
    def is_open(self) -> bool:
        """Whether calls are held back."""
        return self._trips > 0

    def wait(self, now: float) -> float:
        """Seconds to wait before asking again; 0 when the call may be made: as any call, or as the one probe."""
        if not self.is_open:
            return 0.0
        if now < self._until:
            return self._until - now
        if self._probe_until is not None and now < self._probe_until:
            return min(ASK_AGAIN, self._probe_until - now)
        self._probe_until = now + PROBE_LEASE
        return 0.0

    def tripped(self, now: float) -> None:
        """A call met what this breaker is for: `after` of them in a row open it for its cool-down.

        The pause doubles with each further trip in a row, up to the longest. While it is open and nobody probes, a trip
        is of a call that was in flight together with the one that opened it: it says nothing new.
        """
        if self.is_open and self._probe_until is None:
            return
        if not self.is_open and self._forgiven + 1 < self._after:
            self._forgiven += 1
            return
        self._probe_until = None
        self._trips += 1
        self._until = now + min(self._longest, self._cool_down * 2.0 ** min(self._trips - 1, 32))

    def passed(self) -> None:
        """A call got through: closed, and the series is forgotten."""
        self._forgiven = self._trips = 0
        self._probe_until = None

    def gave_up(self, now: float) -> None:
        """The probe ended in another way, which tells nothing: after a second somebody else probes."""
        if self._probe_until is not None:
            self._probe_until = None
            self._until = now + ASK_AGAIN
