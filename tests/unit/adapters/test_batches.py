"""The Message Batches API through the SDK, against the stand-in as a real server."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from anthropic import AsyncAnthropic

from cost_router.adapters.batches import AnthropicBatches
from cost_router.core.batch_ports import Outcome, Seen
from cost_router.core.errors import Failure, UpstreamError
from cost_router.core.pricing import Usage
from tests.builders import run

ROOT = Path(__file__).parents[3]
PARAMS = json.dumps(
    {"model": "claude-haiku-5-5", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi \u2028 there"}]}
).encode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    ready = tmp_path_factory.mktemp("standin") / "url"
    command = [sys.executable, "-m", "infra.local.standin", "--port", "0", "--ready-file", str(ready)]
    process = subprocess.Popen(command, cwd=ROOT)
    deadline = time.monotonic() + 20
    while not ready.exists():
        assert process.poll() is None, "the stand-in ended before it listened"
        assert time.monotonic() < deadline, "the stand-in did not get ready"
        time.sleep(0.02)
    yield ready.read_text()
    process.send_signal(signal.SIGTERM)
    process.wait(10)


@pytest.fixture
def url(server: str) -> str:
    httpx2.post(f"{server}/_reset").raise_for_status()
    return server


def script(url: str, **fields: Any) -> None:
    httpx2.post(f"{url}/_script", json=fields).raise_for_status()


class Api:
    """The adapter with a client of its own for each call, because each runs on an event loop of its own."""

    def __init__(self, url: str) -> None:
        self.url = url

    def _with(self, work: Any) -> Any:
        async def whole() -> Any:
            async with AsyncAnthropic(api_key="any", base_url=self.url, max_retries=0) as client:

                async def make() -> AsyncAnthropic:
                    return client

                return await work(AnthropicBatches(make))

        return run(whole())

    def create(self, *names: str, params: bytes = PARAMS, seconds: float = 20.0) -> Seen:
        found: Seen = self._with(lambda batches: batches.create([(name, params) for name in names], seconds))
        return found

    def find(self, id_: str) -> Seen | None:
        found: Seen | None = self._with(lambda batches: batches.find(id_))
        return found

    def listed(self) -> list[Seen]:
        async def work(batches: AnthropicBatches) -> list[Seen]:
            return [seen async for seen in batches.listed()]

        found: list[Seen] = self._with(work)
        return found

    def results(self, id_: str) -> dict[str, Outcome]:
        async def work(batches: AnthropicBatches) -> dict[str, Outcome]:
            return {outcome.custom_id: outcome async for outcome in batches.results(id_)}

        found: dict[str, Outcome] = self._with(work)
        return found


def test_a_batch_is_created_seen_and_read_line_by_line(url: str) -> None:
    api = Api(url)
    made = api.create("a", "b")
    assert (made.lines, made.ended) == (2, False)
    seen = api.find(made.id)
    assert seen
    assert (seen.lines, seen.ended, seen.created_at) == (2, True, made.created_at)
    found = api.results(made.id)
    assert found.keys() == {"a", "b"}
    message = found["a"].result["message"]
    assert found["a"].usage == Usage(
        input_tokens=message["usage"]["input_tokens"], output_tokens=message["usage"]["output_tokens"]
    )
    assert message["usage"]["service_tier"] == "batch"


def test_an_errored_line_is_given_as_claude_sent_it(url: str) -> None:
    api = Api(url)
    made = api.create("bad", params=PARAMS.replace(b"claude-haiku-5-5", b"gpt-4"))
    (outcome,) = api.results(made.id).values()
    assert (outcome.result["type"], outcome.usage) == ("errored", None)
    assert outcome.result["error"]["error"]["type"] == "not_found_error"


def test_the_list_is_read_page_after_page_the_newest_first(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cost_router.adapters.batches.LISTED", 2)
    api = Api(url)
    ids = [api.create("a").id for _ in range(5)]
    assert [seen.id for seen in api.listed()] == ids[::-1]


def test_a_batch_that_is_not_there_is_none_because_that_may_pass(url: str) -> None:
    api = Api(url)
    made = api.create("a")
    script(url, batch_faults=[{"on": "retrieve", "status": 404}])
    assert api.find(made.id) is None
    assert api.find(made.id) is not None


@pytest.mark.parametrize(("kind", "created"), [("cut_before", 0), ("cut_after", 1)])
def test_a_creation_whose_reply_is_lost_may_have_been_paid_for(url: str, kind: str, created: int) -> None:
    api = Api(url)
    script(url, batch_faults=[{"on": "create", "kind": kind}])
    with pytest.raises(UpstreamError) as caught:
        api.create("a")
    assert (caught.value.failure, caught.value.maybe_billed) == (Failure.CONNECTION, True)
    assert len(api.listed()) == created


@pytest.mark.parametrize(("status", "failure"), [(429, Failure.RATE_LIMITED), (400, Failure.REJECTED)])
def test_a_creation_that_is_refused_was_not_paid_for(url: str, status: int, failure: Failure) -> None:
    script(url, batch_faults=[{"on": "create", "status": status}])
    with pytest.raises(UpstreamError) as caught:
        Api(url).create("a")
    assert (caught.value.failure, caught.value.status, caught.value.maybe_billed) == (failure, status, False)


def test_a_server_that_is_not_there_was_not_paid(url: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        Api("http://127.0.0.1:9").create("a")
    assert (caught.value.failure, caught.value.maybe_billed) == (Failure.CONNECTION, False)


@pytest.mark.parametrize("kind", ["cut_before", "cut_after"])
def test_results_that_are_cut_are_an_upstream_error_after_the_whole_lines(url: str, kind: str) -> None:
    api = Api(url)
    made = api.create(*(f"line-{number}" for number in range(40)))
    script(url, batch_faults=[{"on": "results", "kind": kind}])
    read: list[str] = []

    async def work(batches: AnthropicBatches) -> None:
        async for outcome in batches.results(made.id):
            read.append(outcome.custom_id)  # noqa: PERF401  what was read before the cut counts

    with pytest.raises(UpstreamError):
        api._with(work)
    assert len(read) < 40
    assert len(api.results(made.id)) == 40


def test_line_ends_of_unicode_inside_an_answer_do_not_end_a_line() -> None:
    async def chunks() -> Any:
        text = '{"custom_id":"a","result":{"type":"canceled","x":"1\u20282\u0085"}}\n\n{"custom_id":"b"'.encode()
        for start in range(0, len(text), 7):
            yield text[start : start + 7]
            await asyncio.sleep(0)

    async def work() -> list[bytes]:
        from cost_router.adapters.batches import _lines  # noqa: PLC0415

        return [line async for line in _lines(chunks())]

    whole, rest = run(work())
    assert json.loads(whole)["result"]["x"] == "1\u20282\u0085"
    assert rest == b'{"custom_id":"b"'
