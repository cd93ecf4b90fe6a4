"""What `/openapi.json` says against what the app does, by requests that somebody else makes up.

The app is served over HTTP with its real way to Claude, the stand-in, and with stores in memory: thousands of requests
would wait for emulated tables most of the time, and their batches would still run while other tests count calls.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import httpx2
import pytest
from anthropic import AsyncAnthropic

from cost_router.adapters.claude import AnthropicClaude
from infra.local.processes import Children
from infra.local.stack import find_upstream
from tests.builders import KEY, FakeClaude, World
from tests.integration.meter import Meter
from tests.unit.adapters.upstream import listening

COMMAND = str(Path(sys.executable).parent / "schemathesis")
CONFIG = str(Path(__file__).with_name("schemathesis.toml"))


@pytest.fixture
def standin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Meter]:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    children = Children(tmp_path)
    try:
        yield Meter(find_upstream(children).url)
    finally:
        children.end()


def test_the_document_is_served_without_a_key_through_both_entrances(entrance: str) -> None:
    found = httpx2.get(f"{entrance}/openapi.json", timeout=60)
    assert (found.status_code, found.headers["content-type"]) == (200, "application/json")
    assert found.json()["openapi"] == "3.1.0"


def test_no_request_gets_a_5xx_or_an_answer_that_is_not_described(standin: Meter, tmp_path: Path) -> None:
    no_sockets_left = {"connection": "close"}
    client = AsyncAnthropic(api_key="key", base_url=standin.url, max_retries=0, default_headers=no_sockets_left)

    async def make_client() -> AsyncAnthropic:
        return client

    world = World(budget=None)
    world.claude = cast("FakeClaude", AnthropicClaude(make_client))  # the real road to Claude
    with listening(world.app()) as url:
        asked = ["run", f"{url}/openapi.json", "--header", f"x-api-key: {KEY}", "--no-color"]
        command = [COMMAND, "--config-file", CONFIG, *asked]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr
    assert world.telemetry.defects == []
    assert "15 selected / 15 total" in done.stdout
    assert len(standin.calls("answer")) > 10, "answers were asked for, not only refusals"
