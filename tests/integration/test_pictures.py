"""The deployed dashboard drawn from the metrics that a deployed stack has: `python -m infra.pictures FILE`."""

import datetime as dt
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anthropic
import pytest

from infra.local.stack import LocalStack
from infra.pictures.__main__ import live
from tests.integration.meter import Meter, poll

READING = re.compile(r'<text class="reading"[^>]*>([^<]+)</text>')


def test_the_deployed_dashboard_shows_the_spend_of_a_request_on_its_dial_and_by_model(
    stack: LocalStack,
    folder: Path,
    meter: Meter,
    unique: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The dial ends at the stack's budget of $50; a request of 4,000 tokens of opus moves it."""
    monkeypatch.chdir(folder)
    ask: Any = [{"role": "user", "content": unique("word " * 4_000)}]
    url, key = stack.description["streaming_url"], stack.description["gateway_key"]
    with anthropic.Anthropic(base_url=url, api_key=key, max_retries=0) as client:
        client.messages.create(model="opus", max_tokens=50, messages=ask)

    def shown() -> str | None:
        html = live(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1))
        reading = READING.search(html)
        return html if reading and reading[1] not in {"&ndash;", "0"} and "claude-opus-5-5" in html else None

    html = poll(shown, "reading on the dial")
    assert "Spend today, of $50" in html
    assert html.count("claude-cost-router-local-Spend") == 3
    assert "expected" not in html, "the emulator has no band"
