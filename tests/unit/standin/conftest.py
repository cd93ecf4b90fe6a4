"""A stand-in in-process: time, ids and waiting are the test's own."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from infra.local.standin.app import create_app
from tests.unit.standin.desk import Desk


@pytest.fixture
def desk() -> Iterator[Desk]:
    """A fresh stand-in whose clock stands still until the test moves it."""
    made = Desk()
    with TestClient(create_app(made.clock, made.ids, made.sleep), raise_server_exceptions=False) as client:
        made.client = client
        yield made


@pytest.fixture
def ask() -> dict[str, Any]:
    """The smallest request there is."""
    return {"model": "claude-haiku-5-5", "max_tokens": 1_000, "messages": [{"role": "user", "content": "hello"}]}
