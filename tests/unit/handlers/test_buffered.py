"""The entrance that sends replies whole: nothing begins early, and what Lambda cannot return is kept and announced."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from cost_router.core.errors import StoreError
from cost_router.core.ports import Reply
from cost_router.core.pricing import Usage
from cost_router.handlers.buffered import MOST_BYTES, BufferedEntrance
from cost_router.handlers.waiting import Heartbeat
from tests.builders import World, event, message_body, rejected, reply
from tests.unit.handlers.test_entry import event as lambda_event
from tests.unit.handlers.test_entry import lambdas_loop  # noqa: F401  a fixture

pytestmark = pytest.mark.usefixtures("lambdas_loop")

USAGE = Usage(input_tokens=1_000, output_tokens=100)
TEXT = 'A "quoted" é and a 😀,\nand\ta \\ and \u0001 of ten. ' * 100


@dataclass
class MemoryAnswers:
    """Large answers in memory."""

    down: bool = False
    kept: dict[str, tuple[bytes, str]] = field(default_factory=dict)

    async def keep(self, tenant: str, name: str, content: bytes, media_type: str) -> tuple[str, str]:
        await asyncio.sleep(0)
        if self.down:
            raise StoreError("s3.put_object: ReadTimeoutError")
        self.kept[f"{tenant}/{name}"] = (content, media_type)
        return f"s3://results/answers/{tenant}/{name}", f"https://results.test/answers/{tenant}/{name}?signed"


def answer(text: str = TEXT) -> Reply:
    """As Claude sends it: text beyond ASCII as it is."""
    made = reply("claude-opus-5-5", text, USAGE)
    content = json.dumps(made.message, ensure_ascii=False).encode()
    return Reply(content, made.message, made.usage, made.request_id, made.headers)


def call(
    world: World, answers: MemoryAnswers | None = None, most_bytes: int = MOST_BYTES, **fields: Any
) -> dict[str, Any]:
    entrance = BufferedEntrance(world.app(), answers or MemoryAnswers(), world.telemetry, most_bytes)
    return entrance(lambda_event(json.dumps(message_body(**{"model": "opus", **fields}))), None)


def as_lambda_counts(given: dict[str, Any]) -> int:
    """Bytes of what the runtime of Python 3.13 posts: JSON that keeps what is not ASCII."""
    return len(json.dumps(given, ensure_ascii=False).encode())


def test_the_limit_is_what_lambda_counts_to_the_byte() -> None:
    whole = call(World(script=[answer()]))
    size = as_lambda_counts(whole)
    assert size > len(whole["body"].encode()) * 1.1, "escaping counts"
    assert call(World(script=[answer()]), most_bytes=size) == whole
    too_large = call(World(script=[answer()]), most_bytes=size - 1)
    assert too_large["statusCode"] == 500
    assert json.loads(too_large["body"])["error"]["details"]["bytes"] == size


def test_lambdas_own_limit_is_the_default() -> None:
    assert MOST_BYTES == 6 * 1024 * 1024 + 100
    assert call(World(script=[answer("x" * 6_200_000)]))["statusCode"] == 200
    assert call(World(script=[answer("x" * 6_300_000)]))["statusCode"] == 500
    assert call(World(script=[answer('"' * 2_000_000)]))["statusCode"] == 500, "a quote takes four bytes in the end"


def test_an_answer_that_is_too_large_is_kept_and_the_caller_is_told_where() -> None:
    world, answers, given = World(script=[answer()]), MemoryAnswers(), answer()
    found = call(world, answers, most_bytes=3_000)
    name = f"acme/req_{1:024d}.json"
    assert answers.kept == {name: (given.content, "application/json")}
    body, headers = json.loads(found["body"]), found["headers"]
    assert (body["type"], body["error"]["type"]) == ("error", "api_error")
    details = body["error"]["details"]
    assert details["location"] == f"s3://results/answers/{name}"
    assert details["url"].startswith("https://")
    assert details["most_bytes"] == 3_000
    assert details["location"] in body["error"]["message"]
    for way_out in ("smaller max_tokens", "queue", "streaming=true"):
        assert way_out in body["error"]["message"]
    assert body["request_id"] == headers["request-id"] == "req_upstream"
    assert headers["x-should-retry"] == "false"
    assert headers["content-type"] == "application/json"
    assert headers["content-length"] == str(len(found["body"].encode()))
    ((event_, noted),) = world.telemetry.notes
    assert (event_, noted["tenant"], noted["request_id"]) == ("large_answer_kept", "acme", f"req_{1:024d}")
    assert len(world.ledger.entries) == 1


def test_what_was_decided_and_paid_is_told_as_with_an_answer() -> None:
    fits, too_large = (call(World(script=[answer()]), most_bytes=most)["headers"] for most in (MOST_BYTES, 3_000))
    told = {name: value for name, value in fits.items() if name.startswith("x-router-")}
    assert {"x-router-model", "x-router-cause", "x-router-cost-usd", "x-router-request-id"} <= told.keys()
    assert {name: too_large[name] for name in told} == told


def test_a_transcript_of_events_is_kept_whole_and_its_cost_comes_as_a_header() -> None:
    steps = [
        event("message_start", USAGE),
        *[event("content_block_delta", text="a")] * 100,
        event("message_delta", USAGE, final=True),
        event("message_stop"),
    ]
    world, answers = World(script=[list(steps)]), MemoryAnswers()
    found = call(world, answers, most_bytes=3_000, stream=True)
    ((name, (content, media_type)),) = answers.kept.items()
    assert (name, media_type) == (f"acme/req_{1:024d}.sse", "text/event-stream; charset=utf-8")
    assert content.startswith(b"".join(step.raw for step in steps) + b": x-router-cost-usd=0.006 ")
    assert (found["statusCode"], found["headers"]["content-type"]) == (500, "application/json")
    assert found["headers"]["x-router-cost-usd"] == "0.006"
    assert found["headers"]["x-should-retry"] == "false"
    assert "cache-control" not in found["headers"]


def test_without_the_bucket_the_caller_and_the_operator_are_told_that_the_answer_is_lost() -> None:
    world = World(script=[answer()])
    found = call(world, MemoryAnswers(down=True), most_bytes=3_000)
    error = json.loads(found["body"])["error"]
    assert "paid for, and is lost" in error["message"]
    assert error["details"].keys() == {"bytes", "most_bytes"}
    assert found["headers"]["x-router-cost-usd"] == "0.006"
    ((event_, noted),) = world.telemetry.notes
    assert (event_, noted["error"]) == ("large_answer_lost", "s3.put_object: ReadTimeoutError")
    assert "A \\" not in json.dumps([noted, found]), "nothing of the answer is told"


def test_what_is_no_answer_is_not_kept() -> None:
    world, answers = World(), MemoryAnswers()
    entrance = BufferedEntrance(world.app(), answers, world.telemetry, most_bytes=300)
    found = entrance(lambda_event("", path="/v1/models", method="GET"), None)
    error = json.loads(found["body"])["error"]
    assert (found["statusCode"], error["type"], error["details"]["most_bytes"]) == (500, "api_error", 300)
    assert answers.kept == {}
    assert call(World(script=[rejected(400)]), answers, most_bytes=300)["statusCode"] == 500
    assert answers.kept == {}


@pytest.mark.parametrize(("script", "status"), [([rejected(400)], 400), ([answer()], 200)])
def test_nothing_begins_before_its_end_however_long_it_takes(script: list[object], status: int) -> None:
    """What is sent whole can still say how it ended: the status and the cost are not given away for white space."""
    world = World(script=script)
    world.heartbeat = Heartbeat(after=0.0, every=0.0)
    found = call(world)
    assert found["statusCode"] == status
    assert ("x-router-cost-usd" in found["headers"]) == (status == 200)
    assert not found["body"].startswith("\n")
