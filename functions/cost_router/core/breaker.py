"""Whether the bulk lane may call at all: it stops while the account is at fault (spend limit, 401, 402).

closed --tripped--> open: nobody calls for 60 s --time is up--> one probe --passed--> closed
                      ^                                           |  `--gave up--> another probe
                      `--- tripped: 120 s, 240 s, ... 600 s ------'
"""

from typing import Final

COOL_DOWN: Final = 60.0  # seconds after the first trip; doubles with each further one in a row
LONGEST: Final = 600.0
PROBE_LEASE: Final = 60.0  # a probe that has told nothing for so long is lost, and somebody else may probe
ASK_AGAIN: Final = 1.0  # seconds, while another caller probes or after one gave up


class Breaker:
    """Stops all calls once the account is at fault; times are monotonic seconds."""

    def __init__(self) -> None:
        """Start closed."""
        self._trips = 0  # in a row; 0 is closed
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
        """The account was at fault: open for `COOL_DOWN`, doubled with each further trip in a row, up to `LONGEST`.

        While it is open and nobody probes, a trip is of a call that was in flight together with the first one that
        tripped: it says nothing new.
        """
        if self.is_open and self._probe_until is None:
            return
        self._probe_until = None
        self._trips += 1
        self._until = now + min(LONGEST, COOL_DOWN * 2.0 ** min(self._trips - 1, 32))

    def passed(self) -> None:
        """A call got through: closed, and the series is forgotten."""
        self._trips = 0
        self._probe_until = None

    def gave_up(self, now: float) -> None:
        """The probe ended in another way, which tells nothing of the account: after a second somebody else probes."""
        if self._probe_until is not None:
            self._probe_until = None
            self._until = now + ASK_AGAIN
