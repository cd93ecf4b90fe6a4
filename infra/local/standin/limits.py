"""Rate limits as token buckets that refill continuously, one set per model.

A call needs one request and its uncached input tokens (cache writes count, cache reads don't) in the buckets. Output is
not known beforehand and `max_tokens` plays no part, as on the API: a call is admitted while the output bucket holds a
token, and what it then produces may take the bucket below zero, which later calls wait for. A refused call takes
nothing. The `remaining` headers are exact; the API rounds tokens to thousands.
"""

import datetime as dt
import math
from dataclasses import dataclass
from typing import Final

from infra.local.standin.errors import ApiError

_EPSILON: Final = 1e-3  # units; seconds since the epoch are floats, so exact waits come out a little short
_NOUNS: Final = {"requests": "requests", "input-tokens": "input tokens", "output-tokens": "output tokens"}


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits per minute of one model; None is no limit. A full bucket holds `burst_seconds` worth of its limit."""

    rpm: int | None = None
    itpm: int | None = None
    otpm: int | None = None
    burst_seconds: float = 60.0


class Bucket:
    """One limit: `per_minute` units flow in evenly, up to the capacity."""

    def __init__(self, per_minute: int, burst_seconds: float, now: float) -> None:
        """Start full."""
        self.per_minute = per_minute
        self.capacity = max(1.0, per_minute * burst_seconds / 60)
        self._level = self.capacity
        self._at = now

    def level(self, now: float) -> float:
        """Units there now; below zero after more was taken than there was."""
        return min(self.capacity, self._level + max(0.0, now - self._at) * self.per_minute / 60)

    def take(self, units: float, now: float) -> None:
        """Take `units`, whether they are there or not."""
        self._level = self.level(now) - units
        self._at = max(self._at, now)

    def wait(self, units: float, now: float) -> float:
        """Seconds until `units` are there: 0 when they are, `inf` when the bucket can never hold them."""
        if units > self.capacity:
            return math.inf
        missing = units - self.level(now)
        return 0.0 if missing <= _EPSILON else missing * 60 / self.per_minute


class Limiter:
    """The buckets of all models; times are seconds since the epoch."""

    def __init__(self) -> None:
        """No limits until `configure`."""
        self.default: Limits | None = None
        self.by_model: dict[str, Limits | None] = {}
        self._buckets: dict[str, dict[str, Bucket]] = {}

    def configure(self, default: Limits | None, by_model: dict[str, Limits | None]) -> None:
        """Set the limits and start with full buckets; a model named in `by_model` leaves the default aside."""
        self.default = default
        self.by_model = by_model
        self._buckets.clear()

    def check(self, model: str, input_tokens: int, now: float) -> None:
        """Raise the API's 429 when the call has to wait; takes nothing."""
        needs = {"requests": 1, "input-tokens": input_tokens, "output-tokens": 1}
        buckets = self._of(model, now)
        waits = {name: bucket.wait(needs[name], now) for name, bucket in buckets.items()}
        name = max(waits, key=waits.__getitem__, default="")
        if not name or waits[name] == 0:
            return
        bucket = buckets[name]
        seconds = waits[name] if math.isfinite(waits[name]) else bucket.wait(bucket.capacity, now)
        raise ApiError(
            429,
            f"This request would exceed your organization's rate limit of {bucket.per_minute:,} {_NOUNS[name]} per "
            f"minute (model: {model}). For details, refer to: https://docs.claude.com/en/api/rate-limits. You can see "
            "the response headers for current usage.",
            headers=self.headers(model, now) | {"retry-after": str(max(1, math.ceil(seconds - _EPSILON)))},
        )

    def charge(self, model: str, input_tokens: int, output_tokens: int, now: float) -> None:
        """Take what an admitted call used."""
        used = {"requests": 1, "input-tokens": input_tokens, "output-tokens": output_tokens}
        for name, bucket in self._of(model, now).items():
            bucket.take(used[name], now)

    def headers(self, model: str, now: float) -> dict[str, str]:
        """The `anthropic-ratelimit-*` headers; `reset` is when the bucket will be full."""
        found: dict[str, str] = {}
        for name, bucket in self._of(model, now).items():
            full_at = dt.datetime.fromtimestamp(math.ceil(now + bucket.wait(bucket.capacity, now)), dt.UTC)
            found[f"anthropic-ratelimit-{name}-limit"] = str(bucket.per_minute)
            found[f"anthropic-ratelimit-{name}-remaining"] = str(max(0, math.floor(bucket.level(now) + _EPSILON)))
            found[f"anthropic-ratelimit-{name}-reset"] = full_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        return found

    def _of(self, model: str, now: float) -> dict[str, Bucket]:
        limits = self.by_model.get(model, self.default)
        if limits is None:
            return {}
        if model not in self._buckets:
            sizes = {"requests": limits.rpm, "input-tokens": limits.itpm, "output-tokens": limits.otpm}
            self._buckets[model] = {
                name: Bucket(size, limits.burst_seconds, now) for name, size in sizes.items() if size is not None
            }
        return self._buckets[model]
