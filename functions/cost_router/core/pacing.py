"""When a call of the bulk lane may begin, so that many workers use up the account's limits without running into them.

Workers don't talk to each other. What they have in common are the headers of each answer: the level of the account's
token bucket for requests, input tokens and output tokens of a model. For each of them:

    R = limit / 60                                what flows in each second
    C = largest level there can be                learned, since an API may enforce a shorter window than a minute
    L = last level seen + R * time since then - taken here since then, at most C
    S = headroom * C                              what is left to interactive traffic
    M = S + min((C - S) / 2, T * R)               the level aimed at
    pace = share * R * factor,  factor = 1 + (L - M) / (T * R), between 0.05 and 2

A call may begin when the earlier ones are paid off at that pace, and L >= S + what it costs. So all workers together
spend what flows in, plus what is above M within about T seconds, and less when the level is below M: it settles where
as much is spent as flows in, whoever else spends. T is 12 s, or 1.5 times as long as calls take: older news, gentler
steering. A bucket much shorter than T tells little by its level; there the share does most of the work.

The share starts equal. It grows by half an equal share each round trip (2 s at least) while the bucket is nearly full
although calls wait here: somebody uses less than his. It is halved by a 429 or 529, once for those that come together,
and the model is paused for `retry-after` and full jitter.
"""

import datetime as dt
import email.utils
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cost_router.core.backoff import wait_before

NAMES: Final = ("requests", "input-tokens", "output-tokens")
WINDOW: Final = 60.0  # seconds; limits are per minute, and no bucket holds more than a minute's worth
STEADY: Final = 12.0  # seconds; T for calls that take less than 8 s
STEADY_LATENCIES: Final = 1.5  # T in times that a call takes
SLOWEST: Final = 0.05  # factor; never zero, so that levels are seen again
FASTEST: Final = 2.0
NEARLY: Final = 0.9  # of C: nearly full; a call that costs more than there can be above S begins here
UNUSED: Final = 0.8  # of the way from M to C: from here on the share grows
INCREASE: Final = 0.5  # of the equal share, each round trip
ROUND_TRIP: Final = 2.0  # seconds, at least
LARGEST_SHARE: Final = 1.5
DECREASE: Final = 0.5  # share on a rejection
SMALLEST: Final = 0.1  # of the equal share
TOGETHER: Final = 1.0  # seconds; rejections so close are one
CREDIT: Final = 0.25  # seconds; who asks late may catch up on this much
SMOOTHING: Final = 0.1  # weight of the newest value in a moving average
FIRST_CALLS: Final = 3  # at once while nothing is known of a model; then one each second
FIRST_EVERY: Final = 1.0
LONGEST_WAIT: Final = 5.0  # seconds until asking again is worth it, as levels change meanwhile
SHORTEST_WAIT: Final = 0.001  # what is less is rounding
LONGEST_NUMBER: Final = 16  # digits of a header's number; what is longer is none of ours
CLOCK_ROUNDING: Final = 2.0  # seconds; `date` is rounded down and `reset` is rounded up


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a call that ended well tells the limiter. Times are monotonic seconds."""

    headers: Mapping[str, str]  # names in lower case, or any case if the mapping does not care
    began: float  # `now` of the turn that it got
    estimated_input_tokens: int  # as told to that turn
    input_tokens: int  # that count for the limit: uncached ones and cache writes
    output_tokens: int


class Pacer:
    """The limiter of one worker; no clock and no chance of its own."""

    def __init__(self, *, workers: int, headroom: float) -> None:
        """`workers` may be at work at once; `headroom` in [0, 1) of each limit's burst is left to others."""
        if workers < 1:
            raise ValueError(f"workers must be 1 or more, not {workers}")
        if not 0 <= headroom < 1:
            raise ValueError(f"headroom must be at least 0 and less than 1, not {headroom}")
        self._workers = workers
        self._headroom = headroom
        self._flows: dict[str, _Flow] = {}

    def turn(self, model: str, input_tokens: int, now: float) -> float:
        """0 when the call may begin, and then its place is taken; else seconds to wait before asking again.

        A pause is told in full, any other wait is 5 s at most. Let the calls of a worker ask one after the other, first
        come, first served: else small calls overtake a large one for ever.
        """
        return self._of(model).turn(input_tokens, now)

    def answered(self, model: str, told: Feedback, now: float) -> None:
        """A call ended well: learn from its headers, and replace the estimate of its tokens."""
        self._of(model).answered(told, now)

    def limited(
        self, model: str, headers: Mapping[str, str], retry_after: float | None, now: float, chance: float
    ) -> None:
        """A 429 or 529: slow down, and pause the model; `chance` in [0, 1) is for the jitter."""
        self._of(model).limited(headers, retry_after, now, chance)

    def paused_for(self, model: str, now: float) -> float:
        """Seconds that are left of the pause after a rejection, 0 when there is none."""
        flow = self._flows.get(model)
        return max(0.0, flow.paused_until - now) if flow else 0.0

    def _of(self, model: str) -> "_Flow":
        return self._flows.setdefault(model, _Flow(1 / self._workers, self._headroom))


class _Flow:
    """The calls of this worker to one model."""

    def __init__(self, equal_share: float, headroom: float) -> None:
        self.equal_share = equal_share
        self.headroom = headroom
        self.share = equal_share
        self.paused_until = -math.inf
        self.buckets: dict[str, _Bucket] = {}
        self.latency = 0.0  # moving averages
        self.output_tokens = 0.0
        self.rejections = 0  # in a row
        self.cut_at = -math.inf
        self.known = False  # whether anything was answered
        self.begun = 0  # before that
        self.next_first = -math.inf
        self.held_back = False  # since the last answer
        self.answered_at = math.inf

    def turn(self, input_tokens: int, now: float) -> float:
        if now < self.paused_until:
            return self.paused_until - now
        if not self.known:
            return self._first(now)
        costs = {"requests": 1.0, "input-tokens": 1.0 * input_tokens, "output-tokens": self.output_tokens}
        waits = [bucket.wait(costs[name], self.share, self._steady, now) for name, bucket in self.buckets.items()]
        if (wait := max(waits, default=0.0)) > SHORTEST_WAIT:
            self.held_back = True
            return min(LONGEST_WAIT, wait)
        for name, bucket in self.buckets.items():
            bucket.take(costs[name])
        return 0.0

    def _first(self, now: float) -> float:
        if self.begun >= FIRST_CALLS and now < self.next_first:
            return self.next_first - now
        self.begun += 1
        self.next_first = now + FIRST_EVERY
        return 0.0

    @property
    def _steady(self) -> float:
        return max(STEADY, STEADY_LATENCIES * self.latency)

    def answered(self, told: Feedback, now: float) -> None:
        weight = SMOOTHING if math.isfinite(self.answered_at) else 1.0
        self.latency += (now - told.began - self.latency) * weight
        self.output_tokens += (told.output_tokens - self.output_tokens) * weight
        self.known = True
        if now >= self.paused_until:  # else it began before the pause, and tells nothing of how things are now
            self.rejections = 0
        self._read(told.headers, told.began, now)
        if bucket := self.buckets.get("input-tokens"):
            bucket.debt += told.input_tokens - told.estimated_input_tokens
        self._grow(now)

    def limited(self, headers: Mapping[str, str], retry_after: float | None, now: float, chance: float) -> None:
        self._read(headers, now, now)
        if now >= self.paused_until and now - self.cut_at >= TOGETHER:
            self.rejections += 1
            self.cut_at = now
            self.share = max(SMALLEST * self.equal_share, DECREASE * self.share)
        asked = max(0.0, retry_after) if retry_after is not None and math.isfinite(retry_after) else None
        self.paused_until = max(self.paused_until, now + wait_before(max(1, self.rejections), chance, asked))

    def _read(self, headers: Mapping[str, str], began: float, now: float) -> None:
        for name in NAMES:
            limit, remaining = _number(headers, name, "limit"), _number(headers, name, "remaining")
            if limit and remaining is not None:
                self.known = True
                bucket = self.buckets.setdefault(name, _Bucket(self.headroom, now))
                bucket.see(limit, remaining, _seconds_to_full(headers, name), began, now)

    def _grow(self, now: float) -> None:
        elapsed = min(LONGEST_WAIT, max(0.0, now - self.answered_at))
        unused = min((bucket.unused(self._steady) for bucket in self.buckets.values()), default=0.0)
        if self.held_back and unused > UNUSED:
            step = INCREASE * self.equal_share * elapsed / max(ROUND_TRIP, self.latency)
            self.share = min(LARGEST_SHARE, self.share + step)
        self.held_back = False
        self.answered_at = now


class _Bucket:
    """What this worker believes of one of the account's token buckets; the letters are those of the module."""

    def __init__(self, headroom: float, now: float) -> None:
        self.headroom = headroom
        self.rate = 0.0  # R
        self.longest = 0.0  # C / R, in seconds, so that it outlives a change of the limit
        self.seen = 0.0
        self.seen_at = now
        self.began = -math.inf  # of the call that saw it
        self.taken = 0.0  # here, since then
        self.debt = 0.0  # units that are begun and not paid off; below zero is credit
        self.paid_at = now

    def see(self, limit: int, remaining: int, to_full: float, began: float, now: float) -> None:
        """A level in an answer. Calls overtake each other: only the one that began last tells how things are."""
        self.longest = max(self.longest, min(WINDOW, remaining * WINDOW / limit + to_full))
        if began < self.began:
            return
        self.rate = limit / WINDOW
        self.seen, self.seen_at, self.began, self.taken = 1.0 * remaining, now, began, 0.0

    def wait(self, cost: float, share: float, steady: float, now: float) -> float:
        """Seconds until a call of that cost may begin if nothing changes; zero or less is now."""
        capacity = self.longest * self.rate
        level = min(capacity, self.seen + self.rate * (now - self.seen_at) - self.taken)
        factor = 1 + (level - self._aim(steady)) / (steady * self.rate)
        pace = share * self.rate * min(FASTEST, max(SLOWEST, factor))
        self.debt = max(-CREDIT * pace, self.debt - pace * (now - self.paid_at))
        self.paid_at = now
        missing = min(self.headroom * capacity + cost, NEARLY * capacity) - level
        return max(missing / self.rate, self.debt / pace)

    def take(self, cost: float) -> None:
        """A call of that cost begins."""
        self.debt += cost
        self.taken += cost

    def unused(self, steady: float) -> float:
        """How far the level seen is above the one aimed at: 1 when the bucket is full."""
        aim, capacity = self._aim(steady), self.longest * self.rate
        return (self.seen - aim) / (capacity - aim) if capacity > aim else 0.0

    def _aim(self, steady: float) -> float:
        floor = self.headroom * self.longest
        return self.rate * (floor + min((self.longest - floor) / 2, steady))


def _number(headers: Mapping[str, str], name: str, part: str) -> int | None:
    text = headers.get(f"anthropic-ratelimit-{name}-{part}", "")
    return int(text) if text.isdecimal() and len(text) < LONGEST_NUMBER else None


def _seconds_to_full(headers: Mapping[str, str], name: str) -> float:
    """At least so long until the bucket is full, by the server's own clock: shows its size even when it is low."""
    try:
        sent = email.utils.parsedate_to_datetime(headers["date"])
        full = dt.datetime.fromisoformat(headers[f"anthropic-ratelimit-{name}-reset"])
        return max(0.0, (full - sent).total_seconds() - CLOCK_ROUNDING)
    except (KeyError, TypeError, ValueError):
        return 0.0
