"""The machine's clock and randomness."""

import asyncio
import datetime as dt
import secrets
import string
import time
from typing import Final

_ALPHABET: Final = string.ascii_letters + string.digits
_random = secrets.SystemRandom()  # asks the operating system each time: a restored snapshot repeats nothing


class SystemClock:
    """A `Clock`."""

    def now(self) -> dt.datetime:
        """UTC now."""
        return dt.datetime.now(dt.UTC)

    def monotonic(self) -> float:
        """Seconds that never go backwards."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class SystemChance:
    """A `Chance`."""

    def fraction(self) -> float:
        """A number in [0, 1)."""
        return _random.random()

    def token(self) -> str:
        """24 unguessable letters and digits."""
        return "".join(_random.choices(_ALPHABET, k=24))
