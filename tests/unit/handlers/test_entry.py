"""The functions as deployed: their imports, and the buffered entrance through Mangum."""

import asyncio
import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mangum import Mangum

from tests.builders import ENV, KEY, World, message_body

FUNCTIONS = Path(__file__).parents[3] / "functions"


def event(body: str, *, encoded: bool = False, path: str = "/v1/messages", method: str = "POST") -> dict[str, Any]:
    """What API Gateway's REST proxy integration sends."""
    headers = {"x-api-key": KEY, "content-type": "application/json", "Host": "abc.execute-api.eu-north-1.amazonaws.com"}
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": {"beta": "true"},
        "multiValueQueryStringParameters": {"beta": ["true"]},
        "requestContext": {"stage": "prod", "path": f"/prod{path}", "identity": {"sourceIp": "192.0.2.1"}},
        "body": body,
        "isBase64Encoded": encoded,
    }


@pytest.fixture
def lambdas_loop() -> Iterator[None]:
    """The loop of Lambda's main thread, which Mangum uses and never closes."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


@pytest.mark.usefixtures("lambdas_loop")
def test_the_buffered_entrance_answers_one_request_after_another() -> None:
    world = World()
    handler = Mangum(world.app(), lifespan="off")
    for place in range(3):
        reply = handler(event(json.dumps(message_body(f"Question {place}"))), {})  # type: ignore[arg-type]
        assert reply["statusCode"] == 200
        assert reply["headers"]["x-router-tier"] == "haiku"
        assert json.loads(reply["body"])["content"][0]["text"] == "the answer"
    assert len(world.ledger.bookings) == 3


@pytest.mark.usefixtures("lambdas_loop")
@pytest.mark.parametrize("raw", [b"\xff\xfe", b"", b'{"a": "\xed\xa0\x80"}', b"[" * 50_000])
def test_bytes_that_are_no_json_are_a_400_there_too(raw: bytes) -> None:
    world = World()
    reply = Mangum(world.app(), lifespan="off")(event(base64.b64encode(raw).decode(), encoded=True), {})  # type: ignore[arg-type]
    assert reply["statusCode"] == 400
    assert json.loads(reply["body"])["error"]["type"] == "invalid_request_error"
    assert world.telemetry.defects == []


def in_its_own_process(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "COST_ROUTER_"))}
    return subprocess.run(
        [sys.executable, "-X", "utf8", "-c", code],
        env={**kept, **ENV, "PYTHONPATH": str(FUNCTIONS), **env},
        capture_output=True,
        text=True,
        check=False,
    )


NO_SOCKETS = """
import socket
def refuse(*_): raise AssertionError("a socket at import")
socket.socket.connect = refuse
import gc
from cost_router.handlers import entry_{name} as entry
assert callable(entry.handler) and gc.isenabled()
"""


@pytest.mark.parametrize("name", ["router", "batch", "collector"])
def test_importing_an_entrance_opens_no_socket(name: str) -> None:
    found = in_its_own_process(NO_SOCKETS.format(name=name))
    assert found.returncode == 0, found.stderr


def test_a_bad_setting_stops_the_function_at_import_by_its_name() -> None:
    found = in_its_own_process("import cost_router.handlers.entry_batch", COST_ROUTER_JOB_CONCURRENCY="0.5")
    assert "BadSetting: COST_ROUTER_JOB_CONCURRENCY='0.5'; accepted: a whole number of at least 1" in found.stderr
