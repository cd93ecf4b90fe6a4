"""The stand-in as a real server: what the unmodified SDK and a plain HTTP client see of it."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest

ROOT = Path(__file__).parents[2]
KEY = {"x-api-key": "any", "anthropic-version": "2026-10-21"}
HELLO: list[Any] = [{"role": "user", "content": "hello"}]
HAIKU = "claude-haiku-5-5"


def start(ready_file: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "infra.local.standin", "--port", "0", "--ready-file", str(ready_file)], cwd=ROOT
    )
    deadline = time.monotonic() + 20
    while not ready_file.exists():
        assert process.poll() is None, "the stand-in ended before it listened"
        assert time.monotonic() < deadline, "the stand-in did not get ready"
        time.sleep(0.02)
    return process


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    ready_file = tmp_path_factory.mktemp("standin") / "url"
    process = start(ready_file)
    yield ready_file.read_text()
    process.send_signal(signal.SIGTERM)
    process.wait(10)


@pytest.fixture
def http(url: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=url) as client:
        client.post("/_reset").raise_for_status()
        yield client


@pytest.fixture
def claude(url: str, http: httpx2.Client) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(api_key="any", base_url=url, max_retries=0) as client:
        yield client


def script(http: httpx2.Client, **fields: Any) -> None:
    http.post("/_script", json=fields).raise_for_status()


def meter(http: httpx2.Client) -> list[dict[str, Any]]:
    return list(http.get("/_meter").json()["calls"])


def hello(claude: anthropic.Anthropic, model: str = HAIKU) -> anthropic.types.Message:
    return claude.messages.create(model=model, max_tokens=100, messages=HELLO)


def test_sigterm_ends_it_cleanly_and_it_listens_on_loopback_only(tmp_path: Path) -> None:
    process = start(tmp_path / "url")
    url = (tmp_path / "url").read_text()
    assert url.startswith("http://127.0.0.1:")
    assert httpx2.get(f"{url}/health").json()["status"] == "ok"
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{url}/health")


def test_the_sdk_reads_an_answer_and_the_meter_agrees_with_it(claude: anthropic.Anthropic, http: httpx2.Client) -> None:
    answer = hello(claude)
    assert answer.content[0].type == "text"
    assert answer.content[0].text.startswith(f"[stand-in answer from {HAIKU}]")
    (call,) = meter(http)
    assert call["usage"] == answer.usage.model_dump(exclude_none=True)
    assert call["request_id"] == answer._request_id
    counted = claude.messages.count_tokens(model=HAIKU, messages=HELLO)
    assert counted.input_tokens == answer.usage.input_tokens
    assert [model.id for model in claude.models.list()][:1] == [HAIKU]


def test_the_sdk_streams_an_answer(claude: anthropic.Anthropic, http: httpx2.Client) -> None:
    plain = hello(claude)
    with claude.messages.stream(model=HAIKU, max_tokens=100, messages=HELLO) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert [block.to_dict() for block in plain.content] == [{"type": "text", "text": text}]
    assert final.stop_reason == plain.stop_reason
    assert final.usage.model_dump(exclude_none=True) == meter(http)[1]["usage"]


def test_the_sdk_reads_a_streamed_tool_call(claude: anthropic.Anthropic) -> None:
    tool: Any = {
        "name": "weather",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
    with claude.messages.stream(
        model=HAIKU, max_tokens=100, messages=HELLO, tools=[tool], tool_choice={"type": "any"}
    ) as stream:
        final = stream.get_final_message()
    assert final.stop_reason == "tool_use"
    assert final.content[0].type == "tool_use"
    assert final.content[0].input == {"city": "stand-in"}


def test_events_of_a_stream_come_one_by_one(http: httpx2.Client) -> None:
    script(http, chunk_delay=0.05)
    body = {"model": HAIKU, "max_tokens": 5, "messages": HELLO, "stream": True}
    with http.stream("POST", "/v1/messages", json=body, headers=KEY) as answer:
        arrived = [time.monotonic() for line in answer.iter_lines() if line.startswith("event: ")]
    assert arrived[-1] - arrived[0] > 0.2


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, anthropic.BadRequestError),
        (401, anthropic.AuthenticationError),
        (403, anthropic.PermissionDeniedError),
        (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError),
        (503, anthropic.InternalServerError),
        (529, anthropic.APIStatusError),
    ],
)
def test_the_sdk_raises_its_own_error_for_each_status(
    claude: anthropic.Anthropic, http: httpx2.Client, status: int, error: type[anthropic.APIStatusError]
) -> None:
    script(http, faults=[{"status": status, "retry_after": 3, "error_code": "made_up"}])
    with pytest.raises(error) as raised:
        hello(claude)
    assert raised.value.status_code == status
    assert raised.value.response.headers["retry-after"] == "3"
    assert raised.value.error_code == "made_up"
    assert raised.value.request_id is not None
    assert meter(http) == []


@pytest.mark.parametrize(("kind", "billed"), [("cut_before", 0), ("cut_after", 1)])
def test_a_cut_is_a_connection_error_to_the_sdk(
    claude: anthropic.Anthropic, http: httpx2.Client, kind: str, billed: int
) -> None:
    script(http, faults=[{"kind": kind}])
    with pytest.raises(anthropic.APIConnectionError):
        hello(claude)
    assert len(meter(http)) == billed
    assert hello(claude).type == "message"


@pytest.mark.parametrize("kind", ["sse_cut", "cut_after"])
def test_a_cut_stream_breaks_off_after_its_first_events(
    claude: anthropic.Anthropic, http: httpx2.Client, kind: str
) -> None:
    script(http, faults=[{"kind": kind}])
    seen: list[str] = []
    events = claude.messages.create(model=HAIKU, max_tokens=100, messages=HELLO, stream=True)
    with pytest.raises(httpx2.RemoteProtocolError):
        seen.extend(event.type for event in events)
    assert seen[0] == "message_start"
    assert "message_delta" not in seen
    assert len(meter(http)) == 1


def test_an_error_event_in_a_stream_is_a_status_error_to_the_sdk(
    claude: anthropic.Anthropic, http: httpx2.Client
) -> None:
    script(http, faults=[{"kind": "sse_error"}])
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        list(claude.messages.create(model=HAIKU, max_tokens=100, messages=HELLO, stream=True))


def test_html_and_missing_usage_reach_the_sdk_as_such(claude: anthropic.Anthropic, http: httpx2.Client) -> None:
    script(http, faults=[{"kind": "html"}, {"kind": "no_usage"}])
    page: object = hello(claude)
    assert isinstance(page, str)
    bare: Any = hello(claude)
    assert bare.usage is None
    assert len(meter(http)) == 2


def test_a_client_that_gives_up_pays_all_the_same(claude: anthropic.Anthropic, http: httpx2.Client) -> None:
    script(http, faults=[{"latency": 5}])
    with pytest.raises(anthropic.APITimeoutError):
        claude.messages.create(model=HAIKU, max_tokens=100, messages=HELLO, timeout=0.2)
    assert len(meter(http)) == 1


def test_calls_at_once_cannot_overrun_a_limit(url: str, http: httpx2.Client) -> None:
    script(http, limits={"rpm": 10}, latency=0.05)
    body = {"model": HAIKU, "max_tokens": 10, "messages": HELLO}

    def call(_: int) -> int:
        return httpx2.post(f"{url}/v1/messages", json=body, headers=KEY).status_code

    with ThreadPoolExecutor(16) as pool:
        codes = list(pool.map(call, range(32)))
    assert (codes.count(200), codes.count(429)) == (10, 22)
    assert len(meter(http)) == 10


def test_a_large_body_is_refused_over_a_real_socket(http: httpx2.Client) -> None:
    answer = http.post("/v1/messages", content=b"x" * (32 * 1024 * 1024 + 1), headers=KEY)
    assert answer.status_code == 413
    assert json.loads(answer.content)["error"]["type"] == "request_too_large"


def batch_of(claude: anthropic.Anthropic, *names: str) -> str:
    params: Any = {"model": HAIKU, "max_tokens": 100, "messages": HELLO}
    requests: Any = [{"custom_id": name, "params": params} for name in names]
    return claude.messages.batches.create(requests=requests).id


def test_the_sdk_creates_polls_lists_and_reads_a_message_batch(
    claude: anthropic.Anthropic, http: httpx2.Client
) -> None:
    first, second = batch_of(claude, "a"), batch_of(claude, "b", "c")
    assert [batch.id for batch in claude.messages.batches.list(limit=1)] == [second, first], "page after page"
    assert claude.messages.batches.retrieve(second).request_counts.succeeded == 2
    found = {row.custom_id: row.result for row in claude.messages.batches.results(second)}
    assert found.keys() == {"b", "c"}
    assert all(result.type == "succeeded" for result in found.values())
    assert {call["processing"] for call in meter(http)} == {"batch"}


def test_the_sdk_cancels_a_batch(claude: anthropic.Anthropic, http: httpx2.Client) -> None:
    script(http, batch_seconds=600)
    id_ = batch_of(claude, "a")
    assert claude.messages.batches.cancel(id_).processing_status == "canceling"
    assert [row.result.type for row in claude.messages.batches.results(id_)] == ["canceled"]


def test_a_lost_reply_and_cut_results_reach_the_sdk_as_broken_connections(
    claude: anthropic.Anthropic, http: httpx2.Client
) -> None:
    script(http, batch_faults=[{"on": "create", "kind": "cut_after"}, {"on": "results", "kind": "cut_after"}])
    with pytest.raises(anthropic.APIConnectionError):
        batch_of(claude, "a")
    (batch,) = claude.messages.batches.list()
    with pytest.raises((httpx2.HTTPError, anthropic.APIConnectionError, json.JSONDecodeError)):
        list(claude.messages.batches.results(batch.id))
    assert [row.custom_id for row in claude.messages.batches.results(batch.id)] == ["a"]
