"""Rate limits: buckets that refill continuously."""

from typing import Any

import pytest

from infra.local.standin.errors import ApiError
from infra.local.standin.limits import Limiter, Limits
from tests.unit.standin.desk import Desk, classify

Json = dict[str, Any]
HAIKU = "claude-haiku-5-5"


def test_without_limits_there_are_no_headers(desk: Desk, ask: Json) -> None:
    assert not [name for name in desk.post(ask).headers if name.startswith("anthropic-ratelimit")]


def test_requests_over_rpm_wait_for_the_refill_and_are_not_billed(desk: Desk, ask: Json) -> None:
    desk.script(limits={"rpm": 2})
    assert [desk.post(ask).status_code for _ in range(3)] == [200, 200, 429]
    refused = desk.post(ask)
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert "rate limit of 2 requests per minute" in refused.json()["error"]["message"]
    assert refused.headers["retry-after"] == "30"
    assert refused.headers["anthropic-ratelimit-requests-limit"] == "2"
    assert refused.headers["anthropic-ratelimit-requests-remaining"] == "0"
    desk.now += 29.9
    assert desk.post(ask).headers["retry-after"] == "1"
    desk.now += 0.1
    assert desk.post(ask).status_code == 200
    assert len(desk.meter()) == 3


def test_headers_of_a_200_show_what_is_left_and_when_it_is_full(desk: Desk, ask: Json) -> None:
    desk.script(limits={"rpm": 60, "itpm": 6_000, "otpm": 600})
    headers = desk.post(ask | {"max_tokens": 5}).headers
    assert headers["anthropic-ratelimit-requests-remaining"] == "59"
    assert headers["anthropic-ratelimit-input-tokens-remaining"] == "5992"
    assert headers["anthropic-ratelimit-output-tokens-remaining"] == "595"
    assert headers["anthropic-ratelimit-requests-reset"] == "2026-11-18T11:06:41Z"


def test_each_model_has_its_own_buckets(desk: Desk, ask: Json) -> None:
    desk.script(limits={"rpm": 1}, limits_by_model={"claude-opus-5-5": None, "claude-sonnet-5-5-20260928": {"rpm": 2}})
    codes = {
        model: [desk.post(ask | {"model": model}).status_code for _ in range(3)]
        for model in (HAIKU, "claude-haiku-4-5", "claude-sonnet-5-5", "claude-opus-5-5")
    }
    assert codes == {
        HAIKU: [200, 429, 429],
        "claude-haiku-4-5": [200, 429, 429],
        "claude-sonnet-5-5": [200, 200, 429],
        "claude-opus-5-5": [200, 200, 200],
    }


def test_cache_reads_do_not_count_against_the_input_limit(desk: Desk, ask: Json) -> None:
    desk.script(limits={"itpm": 1_400})
    ask |= {"system": [{"type": "text", "text": "x" * 4_000, "cache_control": {"type": "ephemeral"}}]}
    assert [desk.post(ask).status_code for _ in range(4)] == [200, 200, 200, 200]
    other = ask | {"system": "y" * 4_000}
    assert desk.post(other).status_code == 429


def test_a_refused_call_leaves_no_trace_in_the_cache_or_the_labels(desk: Desk, ask: Json) -> None:
    desk.script(limits={"rpm": 1}, labels=["complex"])
    desk.post(ask)
    assert desk.post(classify("x")).status_code == 429
    assert desk.client.get("/_script").json()["labels"] == ["complex"]


def test_output_may_overdraw_and_later_calls_pay_for_it() -> None:
    limiter = Limiter()
    limiter.configure(Limits(otpm=60), {})
    limiter.check(HAIKU, 10, 0.0)
    limiter.charge(HAIKU, 10, 90, 0.0)  # 30 below zero
    with pytest.raises(ApiError) as refused:
        limiter.check(HAIKU, 10, 0.0)
    assert refused.value.headers["retry-after"] == "31"
    limiter.check(HAIKU, 10, 31.0)


def test_a_call_that_can_never_fit_is_refused_however_long_it_waits() -> None:
    limiter = Limiter()
    limiter.configure(Limits(itpm=100), {})
    limiter.check(HAIKU, 100, 0.0)
    with pytest.raises(ApiError, match="100 input tokens per minute"):
        limiter.check(HAIKU, 101, 1e6)


def test_admitted_requests_keep_to_the_rate_over_any_time() -> None:
    limiter = Limiter()
    limiter.configure(Limits(rpm=120, burst_seconds=1), {})
    admitted = 0
    for tick in range(6_001):  # ten minutes, ten calls a second
        now = 1_795_000_000 + tick / 10
        try:
            limiter.check(HAIKU, 1, now)
        except ApiError:
            continue
        limiter.charge(HAIKU, 1, 1, now)
        admitted += 1
    assert 1_199 <= admitted <= 1_202


def test_waiting_as_long_as_told_is_enough() -> None:
    limiter = Limiter()
    limiter.configure(Limits(rpm=7), {})
    now = 1_795_000_000.123
    for _ in range(50):
        try:
            limiter.check(HAIKU, 1, now)
        except ApiError as refused:
            now += int(refused.headers["retry-after"])
            limiter.check(HAIKU, 1, now)
        limiter.charge(HAIKU, 1, 1, now)
