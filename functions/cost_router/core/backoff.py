"""How long to wait before calling again."""

from typing import Final

BASE_SECONDS: Final = 0.25
CAP_SECONDS: Final = 30.0


def full_jitter(attempt: int, chance: float, *, base: float = BASE_SECONDS, cap: float = CAP_SECONDS) -> float:
    """Seconds to wait after failed attempt number `attempt` (from 1): `chance * min(cap, base * 2 ** (attempt - 1))`.

    `chance` is a random number in [0, 1). Source: "Exponential Backoff And Jitter", AWS Architecture Blog.
    """
    return chance * min(cap, base * 2.0 ** min(attempt - 1, 32))


def wait_before(attempt: int, chance: float, retry_after: float | None, *, cap: float = CAP_SECONDS) -> float:
    """Seconds to wait after failed attempt number `attempt`.

    Never less than the server asked for; the jitter on top keeps callers that failed together from coming back so.
    """
    return (retry_after or 0.0) + full_jitter(attempt, chance, cap=cap)
