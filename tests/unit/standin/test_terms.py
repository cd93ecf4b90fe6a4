"""Speed, geography and searches: refused and reported as the API does."""

from typing import Any

import pytest

from tests.unit.standin.desk import Desk

Json = dict[str, Any]
BETA = "fast-mode-2026-02-01"
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"speed": "warp"}, "speed: Input should be 'standard' or 'fast'"),
        ({"speed": "fast"}, '"speed": "fast" is not supported for this model.'),
        ({"speed": "standard", "model": "claude-opus-5"}, "speed: Extra inputs are not permitted"),
        ({"inference_geo": "eu"}, "inference_geo: Input should be 'global' or 'us'"),
        (
            {"inference_geo": "global", "model": "claude-haiku-4-5"},
            "inference_geo is not supported for this model.",
        ),
        ({"tools": [SEARCH | {"name": "find"}]}, "tools.0.web_search_20250305.name: Input should be 'web_search'"),
        (
            {"tools": [SEARCH | {"max_uses": 0}]},
            "tools.0.web_search_20250305.max_uses: Input should be greater than or equal to 1",
        ),
    ],
)
def test_what_the_api_refuses(desk: Desk, ask: Json, change: Json, message: str) -> None:
    assert desk.refusal(ask | change) == (400, "invalid_request_error", message)
    assert desk.meter() == []


def test_usage_and_meter_tell_speed_and_place_when_the_request_did(desk: Desk, ask: Json) -> None:
    for model, beta in (("claude-opus-5-5", ""), ("claude-opus-5", BETA)):
        body = ask | {"model": model, "speed": "fast", "inference_geo": "us"}
        usage = desk.post(body, anthropic_beta=beta).json()["usage"]
        assert (usage["speed"], usage["inference_geo"]) == ("fast", "us")
        assert desk.meter()[-1]["usage"] == usage
    assert {"speed", "inference_geo", "server_tool_use"}.isdisjoint(desk.post(ask).json()["usage"])


def searching(ask: Json, times: int, **tool: Any) -> Json:
    return ask | {"tools": [SEARCH | tool], "messages": [{"role": "user", "content": f"[[search:{times}]] Who won?"}]}


@pytest.mark.parametrize(("times", "billed", "errors"), [(1, 1, 0), (2, 2, 0), (3, 2, 1), (9, 2, 1)])
def test_searches_are_billed_up_to_max_uses(desk: Desk, ask: Json, times: int, billed: int, errors: int) -> None:
    plain = desk.post(searching(ask, times) | {"tools": []}).json()["usage"]
    message = desk.post(searching(ask, times)).json()
    assert message["usage"]["server_tool_use"] == {"web_search_requests": billed, "web_fetch_requests": 0}
    assert message["usage"]["input_tokens"] > plain["input_tokens"] + 400 * billed
    found = [block["content"] for block in message["content"] if block["type"] == "web_search_tool_result"]
    assert sum(isinstance(content, dict) for content in found) == errors
    assert len(found) == billed + errors
    assert message["content"][-1]["type"] == "text"


def test_a_search_is_streamed_as_the_api_streams_it(desk: Desk, ask: Json) -> None:
    text = desk.post(searching(ask, 1) | {"stream": True}).text
    assert '"type":"server_tool_use"' in text
    assert '"content_block":{"type":"web_search_tool_result"' in text
    assert '"web_search_requests":1' in text.partition("event: message_delta")[2]


def test_without_the_tool_the_marker_is_text(desk: Desk, ask: Json) -> None:
    body = searching(ask, 2) | {"tools": []}
    assert "server_tool_use" not in desk.post(body).json()["usage"]
