"""The rules of the limiter one by one, then many workers against the stand-in's token buckets, in simulated time."""

import dataclasses
import heapq
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random

import pytest

from cost_router.core import pacing
from cost_router.core.pacing import Feedback, Pacer
from infra.local.standin.errors import ApiError
from infra.local.standin.limits import Limiter, Limits

MODEL = "claude-haiku-4-5"
EPOCH = 1_800_000_000.0  # the stand-in's clock at the start of a simulation


def limits_of(name: str, limit: object, remaining: object) -> dict[str, str]:
    return {
        f"anthropic-ratelimit-{name}-limit": str(limit),
        f"anthropic-ratelimit-{name}-remaining": str(remaining),
    }


def rpm(remaining: object, limit: object = 300) -> dict[str, str]:
    """300 requests a minute: 5 flow in each second."""
    return limits_of("requests", limit, remaining)


def told(headers: Mapping[str, str], began: float = 0.0, *, estimate: int = 0, used: int = 0, out: int = 0) -> Feedback:
    return Feedback(headers, began, estimate, used, out)


def pacer_at(
    *levels: int, workers: int = 5, headroom: float = 0.2, headers: Callable[[object], dict[str, str]] = rpm
) -> Pacer:
    """A pacer that has seen these levels at 0 seconds, in calls without latency."""
    pacer = Pacer(workers=workers, headroom=headroom)
    for level in levels:
        pacer.answered(MODEL, told(headers(level)), 0.0)
    return pacer


def begun(pacer: Pacer, seconds: float, *, tokens: int = 0, step: float = 0.01) -> int:
    """Calls that begin within so many seconds of asking all the time."""
    return sum(pacer.turn(MODEL, tokens, step * n) == 0.0 for n in range(round(seconds / step)))


@pytest.mark.parametrize("workers", [0, -1])
def test_there_is_at_least_one_worker(workers: int) -> None:
    with pytest.raises(ValueError, match=f"not {workers}"):
        Pacer(workers=workers, headroom=0.2)


@pytest.mark.parametrize("headroom", [-0.01, 1.0, math.nan])
def test_the_headroom_is_a_part_of_the_limit_but_not_all_of_it(headroom: float) -> None:
    with pytest.raises(ValueError, match=f"not {headroom}"):
        Pacer(workers=1, headroom=headroom)


# Before anything is known, and without limits


def test_before_any_answer_three_calls_begin_at_once_and_then_one_each_second() -> None:
    pacer = Pacer(workers=5, headroom=0.2)
    assert [pacer.turn(MODEL, 10, 0.0) for _ in range(4)] == [0.0, 0.0, 0.0, 1.0]
    assert pacer.turn(MODEL, 10, 0.75) == 0.25
    assert pacer.turn(MODEL, 10, 1.0) == 0.0
    assert pacer.turn(MODEL, 10, 1.0) == 1.0


def test_models_are_learned_one_by_one() -> None:
    pacer = pacer_at(300)
    assert [pacer.turn("claude-opus-4-8", 10, 0.0) for _ in range(4)] == [0.0, 0.0, 0.0, 1.0]


BROKEN = [
    {},
    rpm(remaining="many"),
    rpm(remaining=-1),
    rpm(remaining=""),
    rpm(remaining="1e3"),
    rpm(remaining="9" * 5000),
    rpm(remaining=10, limit=0),
    rpm(remaining=10, limit="none"),
    {"anthropic-ratelimit-requests-remaining": "0"},
    {"anthropic-ratelimit-requests-limit": "300"},
]


@pytest.mark.parametrize("headers", BROKEN)
def test_without_usable_headers_calls_are_not_held_back(headers: dict[str, str]) -> None:
    pacer = Pacer(workers=5, headroom=0.2)
    pacer.answered(MODEL, told(headers), 0.0)
    assert {pacer.turn(MODEL, 10_000, 0.0) for _ in range(1000)} == {0.0}


@pytest.mark.parametrize("headers", BROKEN)
def test_unusable_headers_change_nothing_of_what_is_known(headers: dict[str, str]) -> None:
    pacer, same = pacer_at(300, 100), pacer_at(300, 100)
    pacer.answered(MODEL, told(headers), 0.0)
    pacer.turn(MODEL, 0, 0.0)
    same.turn(MODEL, 0, 0.0)
    assert pacer.turn(MODEL, 0, 0.0) == same.turn(MODEL, 0, 0.0) > 0


# The pace, by the level


def test_at_the_level_aimed_at_a_worker_spends_its_equal_share() -> None:
    pacer = pacer_at(300, 121)  # aims at 60 + 12 s * 5/s = 120, and one is taken
    assert pacer.turn(MODEL, 0, 0.0) == 0.0
    assert pacer.turn(MODEL, 0, 0.0) == pytest.approx(1.0)  # a fifth of 5 a second


@pytest.mark.parametrize(
    ("level", "seconds"),
    [
        (301, 0.5),  # full: twice as fast
        (181, 0.5),  # 12 s worth above the aim, just as fast
        (151, 1 / 1.5),
        (121, 1.0),
        (91, 2.0),
        (64, 5.0),  # above the headroom: a fifteenth, told as 5 s, as levels change meanwhile
    ],
)
def test_the_pace_follows_the_level(level: int, seconds: float) -> None:
    pacer = pacer_at(301, level)
    assert pacer.turn(MODEL, 0, 0.0) == 0.0
    assert pacer.turn(MODEL, 0, 0.0) == pytest.approx(seconds, rel=0.02)


def test_calls_are_spread_evenly() -> None:
    pacer = pacer_at(300)
    assert 18 <= begun(pacer, 10.0) <= 21  # 2 each second at a full bucket


def test_who_asks_late_may_catch_up_on_a_quarter_of_a_second_and_no_more() -> None:
    pacer = pacer_at(3000, headers=partial(rpm, limit=3000))
    assert sum(pacer.turn(MODEL, 0, 60.0) == 0.0 for _ in range(100)) == 6  # 20 a second: 5, and the one that is due


def test_the_level_recovers_while_nothing_is_seen() -> None:
    pacer = pacer_at(300, 0)
    assert pacer.turn(MODEL, 0, 0.0) == 5.0
    assert pacer.turn(MODEL, 0, 12.1) > 0.05  # 60.5 by then, and 61 have to be there
    assert pacer.turn(MODEL, 0, 12.2) == 0.0


@pytest.mark.parametrize(("level", "wait"), [(60, 0.2), (61, 0.0), (62, 0.0)])
def test_no_call_takes_the_level_below_the_headroom(level: int, wait: float) -> None:
    assert pacer_at(300, level).turn(MODEL, 0, 0.0) == pytest.approx(wait)


@pytest.mark.parametrize(("level", "wait"), [(0, 0.2), (1, 0.0)])
def test_without_headroom_the_bucket_may_be_emptied(level: int, wait: float) -> None:
    assert pacer_at(300, level, headroom=0.0).turn(MODEL, 0, 0.0) == pytest.approx(wait)


itpm = partial(limits_of, "input-tokens", 60_000)  # 1,000 flow in each second


@pytest.mark.parametrize(
    ("level", "tokens", "wait"),
    [
        (32_000, 20_000, 0.0),  # 12,000 are left
        (31_000, 20_000, 1.0),
        (54_000, 50_000, 0.0),  # can't leave the headroom: begins when the bucket is nearly full
        (53_000, 50_000, 1.0),
    ],
)
def test_a_large_prompt_waits_until_the_bucket_holds_it(level: int, tokens: int, wait: float) -> None:
    assert pacer_at(60_000, level, headers=itpm).turn(MODEL, tokens, 0.0) == pytest.approx(wait)


def test_input_tokens_are_paced_by_their_number() -> None:
    pacer = pacer_at(60_000, 26_000, headers=itpm)
    assert pacer.turn(MODEL, 2_000, 0.0) == 0.0  # down to the 24,000 aimed at
    assert pacer.turn(MODEL, 2_000, 0.0) == 5.0  # 10 s at 200 a second
    assert pacer.turn(MODEL, 2_000, 5.0) > 0


@pytest.mark.parametrize(("used", "seconds"), [(800, 4.0), (600, 3.0), (1000, 5.0), (200, 1.0)])
def test_the_estimate_is_corrected_by_the_usage(used: int, seconds: float) -> None:
    pacer = pacer_at(60_000, 25_000, headers=itpm)
    assert pacer.turn(MODEL, 1_000, 0.0) == 0.0
    pacer.answered(MODEL, told(itpm(24_000), estimate=1_000, used=used), 0.0)
    assert pacer.turn(MODEL, 1_000, 0.0) == pytest.approx(seconds)


def test_output_is_paced_by_what_calls_produce_on_average() -> None:
    otpm = partial(limits_of, "output-tokens", 60_000)
    pacer = Pacer(workers=5, headroom=0.2)
    for tokens in (500, 1_500):  # on average 600: the newest counts a tenth
        pacer.answered(MODEL, told(otpm(60_000), out=tokens), 0.0)
    pacer.answered(MODEL, told(otpm(24_600), out=600), 0.0)
    assert pacer.turn(MODEL, 0, 0.0) == 0.0
    assert pacer.turn(MODEL, 0, 0.0) == pytest.approx(3.0)  # 600 at 200 a second


def test_the_scarcest_limit_decides() -> None:
    pacer = Pacer(workers=5, headroom=0.2)
    pacer.answered(MODEL, told(rpm(300) | itpm(60_000)), 0.0)
    pacer.answered(MODEL, told(rpm(300) | itpm(0)), 0.0)
    assert pacer.turn(MODEL, 1_000, 0.0) == 5.0


def test_a_limit_may_change() -> None:
    pacer = pacer_at(300)
    pacer.answered(MODEL, told(rpm(1201, limit=3000)), 0.0)  # the headroom is 600 now, and the aim 1,200
    pacer.turn(MODEL, 0, 0.0)
    assert pacer.turn(MODEL, 0, 0.0) == pytest.approx(0.1)  # a fifth of 50 a second


def test_an_answer_that_was_overtaken_is_old_news() -> None:
    pacer = pacer_at(300)
    pacer.answered(MODEL, told(rpm(50), began=10.0), 11.0)
    pacer.answered(MODEL, told(rpm(300), began=9.0), 11.0)
    assert pacer.turn(MODEL, 0, 11.0) == pytest.approx(2.2)  # 61 have to be there
    pacer.answered(MODEL, told(rpm(300), began=10.5), 11.0)
    assert pacer.turn(MODEL, 0, 11.0) == 0.0


def test_slow_calls_are_steered_gently() -> None:
    pacer = Pacer(workers=5, headroom=0.2)
    pacer.answered(MODEL, told(rpm(300)), 20.0)  # took 20 s, so T is 30 s: aims at 60 + 120
    pacer.answered(MODEL, told(rpm(181), began=0.0), 20.0)
    assert pacer.turn(MODEL, 0, 20.0) == 0.0
    assert pacer.turn(MODEL, 0, 20.0) == pytest.approx(1.0)


DATE = {"date": "Tue, 24 Nov 2026 12:00:00 GMT"}


@pytest.mark.parametrize(
    ("level", "clock", "wait"),
    [
        (20, DATE | {"anthropic-ratelimit-requests-reset": "2026-11-24T12:00:18Z"}, 0.2),  # 4 s worth, 16 to come: 100
        (20, DATE | {"anthropic-ratelimit-requests-reset": "2026-11-24T12:00:17Z"}, 0.0),  # 95, of which 19 are kept
        (60, DATE | {"anthropic-ratelimit-requests-reset": "2026-11-24T13:00:00Z"}, 0.2),  # a minute's worth at most
        (20, DATE | {"anthropic-ratelimit-requests-reset": "2026-11-24T12:00:02Z"}, 0.0),  # full
        (20, DATE | {"anthropic-ratelimit-requests-reset": "soon"}, 0.0),
        (20, DATE | {"anthropic-ratelimit-requests-reset": "2026-11-24T12:00:52"}, 0.0),  # of which zone?
        (20, {"date": "today", "anthropic-ratelimit-requests-reset": "2026-11-24T12:00:52Z"}, 0.0),
        (20, {"anthropic-ratelimit-requests-reset": "2026-11-24T12:00:52Z"}, 0.0),
    ],
)
def test_a_low_bucket_shows_its_size_by_when_it_will_be_full(level: int, clock: dict[str, str], wait: float) -> None:
    pacer = Pacer(workers=5, headroom=0.2)
    pacer.answered(MODEL, told(rpm(level) | clock), 0.0)
    assert pacer.turn(MODEL, 0, 0.0) == pytest.approx(wait)


# The share


def share(pacer: Pacer) -> float:
    return pacer._flows[MODEL].share


def second_of(pacer: Pacer, level: int, *, waits: bool) -> float:
    """The share after a second at that level, in which calls wait or don't."""
    while waits and pacer.turn(MODEL, 0, 0.0) == 0.0:
        pass
    pacer.answered(MODEL, told(rpm(level), began=1.0), 1.0)
    return share(pacer)


@pytest.mark.parametrize(
    ("level", "waits", "expected"),
    [
        (300, True, 0.25),  # half of 0.2 in 2 s
        (265, True, 0.25),  # just more than 0.8 of the way from 120 to 300
        (264, True, 0.2),
        (120, True, 0.2),
        (300, False, 0.2),  # nobody wants more
    ],
)
def test_the_share_grows_while_the_bucket_is_nearly_full_although_calls_wait(
    level: int, *, waits: bool, expected: float
) -> None:
    assert second_of(pacer_at(300), level, waits=waits) == pytest.approx(expected)


def test_the_share_grows_by_no_more_than_five_seconds_worth_at_a_time_and_only_for_a_wait_since() -> None:
    pacer = pacer_at(300)
    while pacer.turn(MODEL, 0, 0.0) == 0.0:
        pass
    pacer.answered(MODEL, told(rpm(300), began=60.0), 60.0)
    assert share(pacer) == pytest.approx(0.45)
    pacer.answered(MODEL, told(rpm(300), began=61.0), 61.0)
    assert share(pacer) == pytest.approx(0.45)


def test_a_lone_worker_takes_all_that_others_leave_unused_but_not_endlessly_more() -> None:
    pacer = pacer_at(300)
    for second in range(1, 200):
        while pacer.turn(MODEL, 0, float(second)) == 0.0:
            pass
        pacer.answered(MODEL, told(rpm(300), began=float(second)), float(second))
    assert share(pacer) == 1.5


def test_a_rejection_halves_the_share_once_for_all_that_come_together() -> None:
    pacer = pacer_at(300)
    for now in (10.0, 10.1, 10.9):
        pacer.limited(MODEL, {}, 2.0, now, 0.0)
    assert share(pacer) == 0.1
    pacer.limited(MODEL, {}, 2.0, 12.8, 0.0)  # the pause lasts until 12.9
    assert share(pacer) == 0.1
    pacer.limited(MODEL, {}, 2.0, 14.8, 0.0)
    assert share(pacer) == 0.05


@pytest.mark.parametrize(("later", "expected"), [(0.9, 0.1), (1.0, 0.05)])
def test_rejections_within_a_second_are_one_even_without_a_pause(later: float, expected: float) -> None:
    pacer = pacer_at(300)
    pacer.limited(MODEL, {}, None, 10.0, 0.0)
    pacer.limited(MODEL, {}, None, 10.0 + later, 0.0)
    assert share(pacer) == expected


def test_the_share_never_falls_below_a_tenth_of_an_equal_one() -> None:
    pacer = pacer_at(300)
    for n in range(20):
        pacer.limited(MODEL, {}, None, 100.0 * n, 0.5)
    assert share(pacer) == pytest.approx(0.02)


# The pause


def test_a_rejection_pauses_its_model_until_retry_after_and_jitter() -> None:
    pacer = pacer_at(300)
    assert pacer.paused_for(MODEL, 10.0) == 0.0
    pacer.limited(MODEL, {}, 7.0, 10.0, 0.5)
    assert pacer.paused_for(MODEL, 10.0) == 7.125  # half of a quarter of a second
    assert pacer.turn(MODEL, 0, 10.0) == 7.125
    assert pacer.turn(MODEL, 0, 17.125) == 0.0
    assert pacer.paused_for(MODEL, 17.125) == 0.0
    assert pacer.paused_for("claude-opus-4-8", 10.0) == 0.0


def test_the_jitter_grows_with_rejections_in_a_row_and_an_answer_ends_the_row() -> None:
    pacer = pacer_at(300)
    pauses = []
    for n in range(1, 10):
        pacer.limited(MODEL, {}, None, 100.0 * n, 0.5)
        pauses.append(pacer.paused_for(MODEL, 100.0 * n))
    assert pauses == [0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]
    pacer.answered(MODEL, told(rpm(300), began=905.0), 910.0)  # began before the pause, which is not over
    pacer.limited(MODEL, {}, None, 1000.0, 0.5)
    assert pacer.paused_for(MODEL, 1000.0) == 15.0
    pacer.answered(MODEL, told(rpm(300), began=1020.0), 1021.0)
    pacer.limited(MODEL, {}, None, 1100.0, 0.5)
    assert pacer.paused_for(MODEL, 1100.0) == 0.125


def test_a_further_rejection_lengthens_the_pause_but_never_shortens_it() -> None:
    pacer = pacer_at(300)
    pacer.limited(MODEL, {}, 5.0, 10.0, 0.0)
    pacer.limited(MODEL, {}, 1.0, 11.0, 0.0)
    assert pacer.paused_for(MODEL, 11.0) == 4.0
    pacer.limited(MODEL, {}, 9.0, 12.0, 0.0)
    assert pacer.paused_for(MODEL, 12.0) == 9.0


@pytest.mark.parametrize("retry_after", [None, -5.0, math.inf, math.nan])
def test_a_retry_after_that_makes_no_sense_is_none(retry_after: float | None) -> None:
    pacer = pacer_at(300)
    pacer.limited(MODEL, {}, retry_after, 10.0, 0.5)
    assert pacer.paused_for(MODEL, 10.0) == 0.125


def test_the_headers_of_a_rejection_are_read() -> None:
    pacer = pacer_at(300)
    pacer.limited(MODEL, rpm(0), None, 10.0, 0.0)
    assert pacer.turn(MODEL, 0, 10.0) == 5.0  # 12.2 s until 61 are there


def test_a_rejection_may_be_the_first_that_tells_of_limits() -> None:
    pacer = Pacer(workers=5, headroom=0.2)
    pacer.limited(MODEL, rpm(30), None, 0.0, 0.0)
    assert pacer.turn(MODEL, 0, 0.0) == 0.0
    assert pacer.turn(MODEL, 0, 0.0) > 0.9


def test_without_limits_a_rejection_pauses_and_nothing_else() -> None:
    pacer = pacer_at(300, headers=lambda _: {})
    pacer.limited(MODEL, {}, 1.0, 10.0, 0.0)
    assert pacer.turn(MODEL, 0, 10.5) == 0.5
    assert {pacer.turn(MODEL, 0, 11.0) for _ in range(100)} == {0.0}


def test_waits_are_finite_whatever_happens() -> None:
    random = Random(5)
    pacer, now = Pacer(workers=5, headroom=0.5), 0.0
    for _ in range(5_000):
        now += random.choice([0.0, 0.001, 1.0, 100.0])
        headers = (
            random.choice(BROKEN) | itpm(random.randrange(70_000)) | rpm(random.randrange(2), random.choice([1, 9]))
        )
        match random.randrange(4):
            case 0:
                used = random.randrange(100_000)
                pacer.answered(MODEL, told(headers, now - random.random() * 9, used=used, out=used), now)
            case 1:
                pacer.limited(MODEL, headers, random.choice([None, 0.0, 3.0, math.inf]), now, random.random())
            case _:
                assert 0.0 <= pacer.turn(MODEL, random.randrange(100_000), now) < 60.0


# Many workers against the stand-in's token buckets


@dataclass(frozen=True, slots=True)
class Scene:
    """Who calls with what. Calls of others are an interactive user's: small, and never repeated."""

    limits: Limits
    workers: int = 5  # that the pacers are told of
    active: int = 5
    headroom: float = 0.2
    in_flight: int = 10  # per worker
    prompt: Callable[[Random], int] = lambda _: 200
    output: Callable[[Random], int] = lambda _: 20
    latency: Callable[[Random], float] = lambda random: min(5.0, max(0.2, random.lognormvariate(0.0, 0.7)))
    others: Callable[[Random], tuple[float, int]] | None = None  # seconds until they come, and how many at once
    warm_up: float = 30.0
    seed: int = 1


@dataclass(slots=True)
class Tally:
    """What happened in the minute after the warm-up."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    rejected: int = 0
    others: int = 0
    others_rejected: int = 0
    lowest: float = 1.0  # level of any bucket, as a part of its capacity
    inflow: float = 0.0  # of the scarcest limit
    allowed: float = 0.0  # that, and what the bucket held at the start more than at the end

    @property
    def rejections(self) -> float:
        return self.rejected / max(1, self.rejected + self.calls)

    @property
    def others_rejections(self) -> float:
        return self.others_rejected / (self.others_rejected + self.others)


class Simulation:
    """Runs a scene in simulated time; everything random comes from its seed."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.random = Random(scene.seed)
        self.now = 0.0
        self.tally = Tally()
        self.limiter = Limiter()
        self.limiter.configure(scene.limits, {})
        self.buckets = self.limiter._of(MODEL, EPOCH)
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.order = itertools.count()

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        heapq.heappush(self.events, (self.now + seconds, next(self.order), event))

    def run(self, bound: str) -> Tally:
        for _ in range(self.scene.active):
            self.after(self.random.uniform(0.0, 0.5), Worker(self).go)
        if self.scene.others:
            self.others_come(0)
        self.look()
        self.until(self.scene.warm_up)
        self.tally, bucket = Tally(), self.buckets[bound]
        before = bucket.level(EPOCH + self.now)
        self.until(self.scene.warm_up + 60.0)
        self.tally.inflow = bucket.per_minute
        self.tally.allowed = bucket.per_minute + before - bucket.level(EPOCH + self.now)
        return self.tally

    def until(self, end: float) -> None:
        while self.events[0][0] < end:
            self.now, _, event = heapq.heappop(self.events)
            event()
        self.now = end

    def admit(self, input_tokens: int, output_tokens: int) -> dict[str, str]:
        """The headers of the answer, with tokens in thousands as the API has them; raises `ApiError`."""
        at = EPOCH + self.now
        self.limiter.check(MODEL, input_tokens, at)
        self.limiter.charge(MODEL, input_tokens, output_tokens, at)
        return self.rounded(self.limiter.headers(MODEL, at))

    @staticmethod
    def rounded(headers: Mapping[str, str]) -> dict[str, str]:
        return {
            name: str(round(int(text), -3)) if name.endswith("tokens-remaining") else text
            for name, text in headers.items()
        }

    def others_come(self, calls: int) -> None:
        for _ in range(calls):
            try:
                self.admit(100, 10)
                self.tally.others += 1
            except ApiError:
                self.tally.others_rejected += 1
        assert self.scene.others
        gap, following = self.scene.others(self.random)
        self.after(gap, lambda: self.others_come(following))

    def look(self) -> None:
        levels = [bucket.level(EPOCH + self.now) / bucket.capacity for bucket in self.buckets.values()]
        self.tally.lowest = min(self.tally.lowest, *levels)
        self.after(0.25, self.look)


class Worker:
    """One invocation: calls ask for their turn one after the other; a rejected one is the next to ask."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation, self.scene, self.random = simulation, simulation.scene, simulation.random
        self.pacer = Pacer(workers=self.scene.workers, headroom=self.scene.headroom)
        self.calls = 0  # in flight
        self.prompt: int | None = None  # that waits for its turn
        self.waits = False

    def go(self) -> None:
        self.waits = False
        self.begin()

    def begin(self) -> None:
        while not self.waits and self.calls < self.scene.in_flight:
            prompt = self.scene.prompt(self.random) if self.prompt is None else self.prompt
            wait = self.pacer.turn(MODEL, self.estimate(prompt), self.simulation.now)
            if wait > 0:
                self.prompt, self.waits = prompt, True
                self.simulation.after(wait + self.random.uniform(0.0, 0.002), self.go)
            else:
                self.prompt = None
                self.calls += 1
                arrive = partial(self.arrive, prompt, self.simulation.now)
                self.simulation.after(self.random.uniform(0.01, 0.05), arrive)

    @staticmethod
    def estimate(prompt: int) -> int:
        return prompt * 6 // 5

    def arrive(self, prompt: int, began: float) -> None:
        output, tally = self.scene.output(self.random), self.simulation.tally
        try:
            headers = self.simulation.admit(prompt, output)
        except ApiError as error:
            tally.rejected += 1
            self.simulation.after(self.random.uniform(0.02, 0.1), partial(self.rejected, prompt, dict(error.headers)))
            return
        tally.calls += 1
        tally.input_tokens += prompt
        tally.output_tokens += output
        feedback = Feedback(headers, began, self.estimate(prompt), prompt, output)
        self.simulation.after(self.scene.latency(self.random), partial(self.answered, feedback))

    def answered(self, feedback: Feedback) -> None:
        self.calls -= 1
        self.pacer.answered(MODEL, feedback, self.simulation.now)
        self.begin()

    def rejected(self, prompt: int, headers: dict[str, str]) -> None:
        self.calls -= 1
        self.prompt = prompt
        retry_after = float(headers["retry-after"])
        chance = self.random.random()
        self.pacer.limited(MODEL, self.simulation.rounded(headers), retry_after, self.simulation.now, chance)
        self.begin()


def prompts(random: Random) -> int:
    """From a question to a long document: 1,800 tokens in the median, 20,000 at most."""
    return min(20_000, max(200, int(random.lognormvariate(7.5, 0.9))))


@pytest.mark.parametrize("headroom", [0.0, 0.2])
@pytest.mark.parametrize(("workers", "active"), [(5, 5), (5, 1), (2, 2)])
@pytest.mark.parametrize(("limit", "in_flight"), [(300, 10), (3_000, 120)])
def test_rpm_bound_all_that_the_limit_allows_is_used_and_nothing_is_rejected(
    limit: int, in_flight: int, workers: int, active: int, headroom: float
) -> None:
    scene = Scene(Limits(rpm=limit), workers=workers, active=active, headroom=headroom, in_flight=in_flight)
    tally = Simulation(scene).run("requests")
    assert tally.calls >= 0.99 * tally.allowed
    assert tally.calls >= 0.98 * tally.inflow
    assert tally.rejected == 0
    assert tally.lowest >= headroom + 0.03


@pytest.mark.parametrize("headroom", [0.0, 0.2])
@pytest.mark.parametrize("active", [5, 1])
@pytest.mark.parametrize("limit", [400_000, 2_000_000])
def test_itpm_bound_all_that_the_limit_allows_is_used_and_nothing_is_rejected(
    limit: int, active: int, headroom: float
) -> None:
    in_flight = limit // 16_000 // active
    scene = Scene(
        Limits(rpm=4_000, itpm=limit), active=active, headroom=headroom, in_flight=max(10, in_flight), prompt=prompts
    )
    tally = Simulation(scene).run("input-tokens")
    assert tally.input_tokens >= 0.99 * tally.allowed
    assert tally.input_tokens >= 0.95 * tally.inflow
    assert tally.rejected == 0
    assert tally.lowest >= headroom


def test_otpm_bound_all_that_the_limit_allows_is_used() -> None:
    scene = Scene(Limits(rpm=4_000, otpm=80_000), in_flight=30, output=lambda r: int(r.lognormvariate(5.5, 0.8)))
    tally = Simulation(scene).run("output-tokens")
    assert tally.output_tokens >= 0.99 * tally.allowed
    assert tally.output_tokens >= 0.95 * tally.inflow
    assert tally.rejected == 0
    assert tally.lowest >= 0.2


@pytest.mark.parametrize(("active", "headroom"), [(5, 0.0), (5, 0.2), (1, 0.2)])
@pytest.mark.parametrize("limit", [300, 3_000])
@pytest.mark.parametrize(("burst_seconds", "used", "rejections"), [(5.0, 0.93, 0.01), (1.0, 0.9, 0.04)])
def test_a_shorter_window_than_a_minute_is_used_as_well(
    burst_seconds: float, used: float, rejections: float, limit: int, active: int, headroom: float
) -> None:
    scene = Scene(
        Limits(rpm=limit, burst_seconds=burst_seconds), active=active, headroom=headroom, in_flight=limit // 5 // active
    )
    tally = Simulation(scene).run("requests")
    assert tally.calls >= used * tally.allowed
    assert tally.calls >= used * tally.inflow
    assert tally.rejections < rejections


def test_calls_that_take_half_a_minute_do_not_make_it_swing() -> None:
    scene = Scene(Limits(rpm=300), in_flight=60, latency=lambda random: random.uniform(15.0, 45.0), warm_up=120.0)
    tally = Simulation(scene).run("requests")
    assert tally.calls >= 0.95 * tally.allowed
    assert 0.95 * tally.inflow <= tally.calls <= 1.1 * tally.inflow
    assert tally.rejected == 0
    assert tally.lowest >= 0.2


# Interactive traffic


@pytest.mark.parametrize("limit", [300, 3_000])
def test_interactive_calls_are_not_rejected_and_bulk_uses_the_rest(limit: int) -> None:
    others = partial(one_by_one, 0.3 * limit / 60)
    tally = Simulation(Scene(Limits(rpm=limit), in_flight=limit // 25, others=others)).run("requests")
    assert tally.others > 0.2 * limit
    assert tally.others_rejected == 0
    assert tally.calls >= 0.99 * (tally.allowed - tally.others)
    assert tally.rejected == 0
    assert tally.lowest >= 0.2


def one_by_one(per_second: float, random: Random) -> tuple[float, int]:
    return random.expovariate(per_second), 1


def in_crowds(random: Random) -> tuple[float, int]:
    """A fifth of what 300 requests a minute allow, at once."""
    return random.uniform(20.0, 40.0), 60


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_headroom_is_what_crowds_of_interactive_calls_find(seed: int) -> None:
    scene = Scene(Limits(rpm=300), others=in_crowds, seed=seed)
    kept = Simulation(scene).run("requests")
    none = Simulation(dataclasses.replace(scene, headroom=0.0)).run("requests")
    assert kept.others_rejections < 0.01
    assert none.others_rejections > 0.1


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_halving_the_share_is_what_keeps_rejections_rare(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """A short window, in which five workers each believe that they are alone."""
    scene = Scene(Limits(rpm=300, burst_seconds=5.0), workers=1, seed=seed)
    halved = Simulation(scene).run("requests")
    monkeypatch.setattr(pacing, "DECREASE", 1.0)
    kept = Simulation(scene).run("requests")
    assert halved.rejections < 0.02
    assert halved.calls >= 0.95 * halved.allowed
    assert kept.rejections > 0.1


def test_a_simulation_is_the_same_each_time() -> None:
    scene = Scene(Limits(rpm=300), others=partial(one_by_one, 1.0))
    assert Simulation(scene).run("requests") == Simulation(scene).run("requests")
