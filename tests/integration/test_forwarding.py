"""For random valid bodies with members that nobody knows, what Claude receives is what the client sent."""

import json
from typing import Any

import anthropic
import httpx2
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.bodies import bodies
from tests.integration.meter import Meter

TIERS = {"haiku": "claude-haiku-5-5", "sonnet": "claude-sonnet-5-5", "opus": "claude-opus-5-5"}


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.sampled_from(sorted(TIERS)).flatmap(bodies))
def test_what_claude_receives_is_what_the_client_sent(http: httpx2.Client, meter: Meter, body: dict[str, Any]) -> None:
    """The stand-in refuses unknown members, as Claude does, in its own words; what it received it keeps either way."""
    meter.reset()
    answer = http.post("/v1/messages", json=body)
    received = meter.requests()
    assert received, answer.text
    # The one documented change here: a conversation whose made-up thinking blocks are refused goes on without them.
    again = ["messages.thinking=dropped"] if answer.is_success and len(received) > 1 else []
    assert answer.headers.get_list("x-router-adapted") == again
    expected = {**body, "model": TIERS[body["model"]]}
    assert json.dumps(received[0]["body"]) == json.dumps(expected)
    if answer.status_code != httpx2.codes.OK:
        assert answer.status_code == httpx2.codes.BAD_REQUEST
        assert answer.headers["request-id"] == received[0]["request_id"]  # Claude's own words, of the first try


def test_cache_markers_arrive_as_they_were_sent(client: anthropic.Anthropic, meter: Meter) -> None:
    marker = {"type": "ephemeral", "ttl": "5m"}
    system = [{"type": "text", "text": "Rule. " * 600, "cache_control": marker}]
    tools = [{"name": "look", "input_schema": {"type": "object"}, "cache_control": marker}]
    content = [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]
    body: Any = {"max_tokens": 9, "system": system, "tools": tools, "messages": [{"role": "user", "content": content}]}
    first = client.messages.create(model="sonnet", **body)
    again = client.messages.create(model="sonnet", **body)
    assert [row["body"] for row in meter.requests()] == [{"model": "claude-sonnet-5-5", **body}] * 2
    written = first.usage.cache_creation_input_tokens
    assert written
    assert again.usage.cache_read_input_tokens == written
