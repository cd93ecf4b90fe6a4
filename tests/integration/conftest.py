"""One local stack for the whole session: the real template in the emulator, the stand-in, both entrances."""

import datetime as dt
import itertools
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest

from cost_router.core.guards import GUARDED
from infra.local.stack import LocalStack, running_stack
from infra.operate.keys import Policy, create
from infra.operate.report import read_entries
from tests.integration.meter import Meter

ENTRANCES = ("base_url", "streaming_url")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ANTHROPIC_API_KEY", raising=False)  # the tests are about the stand-in, whatever the shell has
        with running_stack(tmp_path_factory.mktemp("stack"), daily_budget_usd=Decimal(50)) as running:
            yield running


@pytest.fixture(scope="session")
def allowed_key(stack: LocalStack) -> str:
    """The key of a tenant that may use every field that multiplies the bill."""
    return create(stack.target, "allowed", Policy(allows=[*GUARDED]), dt.datetime.now(dt.UTC))


@pytest.fixture
def folder(stack: LocalStack, tmp_path: Path) -> Path:
    """A folder whose `.local/stack.json` is the running stack's."""
    (tmp_path / ".local").mkdir()
    (tmp_path / ".local" / "stack.json").write_text(json.dumps(dict(stack.description)), encoding="utf-8")
    return tmp_path


@pytest.fixture
def meter(stack: LocalStack) -> Iterator[Meter]:
    """The stand-in's meter and script, as new; the label cache stays, so tests ask unique questions."""
    assert stack.upstream.meter_url
    found = Meter(stack.upstream.meter_url)
    found.reset()
    yield found
    found.reset()


@pytest.fixture(params=ENTRANCES)
def entrance(request: pytest.FixtureRequest, stack: LocalStack) -> str:
    """The URL of an entrance: through API Gateway and Lambda (buffered), and the app under uvicorn."""
    return str(stack.description[request.param])


@pytest.fixture
def client(stack: LocalStack, entrance: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=entrance, api_key=stack.description["gateway_key"], max_retries=0) as made:
        yield made


@pytest.fixture
def http(stack: LocalStack, entrance: str) -> Iterator[httpx2.Client]:
    headers = {"x-api-key": stack.description["gateway_key"], "anthropic-version": "2026-10-21"}
    with httpx2.Client(base_url=entrance, headers=headers, timeout=60) as made:
        yield made


_numbers = itertools.count(1)


@pytest.fixture
def unique() -> Callable[[str], str]:
    """A text that no other test has asked, so that no label is cached for it."""
    return lambda text: f"{text} (case {next(_numbers)})"


@pytest.fixture
def entries(stack: LocalStack) -> Callable[[str], list[dict[str, Any]]]:
    """The ledger entries of a request, by the id in its `x-router-request-id` header."""

    def find(request_id: str) -> list[dict[str, Any]]:
        today = dt.datetime.now(dt.UTC).date()
        return [entry for entry in read_entries(stack.target, today) if entry["request_id"] == request_id]

    return find


@pytest.fixture(scope="session")
def demo_lines() -> list[dict[str, Any]]:
    file = Path(__file__).parents[2] / "events" / "demo.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def group() -> str:
    """The name of a group of jobs that no other test uses."""
    return f"group-{next(_numbers)}"
