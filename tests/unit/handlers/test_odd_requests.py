"""Methods, paths, headers and queries that no client should send: always an error in Anthropic's shape, never a 5xx."""

import asyncio
import json
import socket
from collections.abc import Sequence
from typing import Any

import pytest

from tests.builders import KEY, World, message_body, run
from tests.unit.adapters.upstream import listening

Headers = Sequence[tuple[bytes, bytes]]
BODY = json.dumps(message_body(model="haiku")).encode()
BATCH = json.dumps({"requests": [{"custom_id": "a", "params": message_body()}]}).encode()
PATHS = {
    "/v1/messages": "POST",
    "/v1/messages/count_tokens": "POST",
    "/v1/messages/batches": "GET, HEAD, POST",
    "/v1/messages/batches/x": "GET, HEAD",
    "/v1/messages/batches/x/cancel": "POST",
    "/v1/messages/batches/x/results": "GET, HEAD",
    "/v1/route": "POST",
    "/v1/models": "GET, HEAD",
    "/v1/models/x": "GET, HEAD",
    "/v1/requests/x": "GET, HEAD",
    "/v1/spend": "GET, HEAD",
    "/health": "GET, HEAD",
    "/openapi.json": "GET, HEAD",
}


class Reply:
    """What the app sent for one request."""

    def __init__(self, messages: list[Any]) -> None:
        self.status: int = messages[0]["status"]
        self.headers = {name.decode(): value.decode("latin-1") for name, value in messages[0]["headers"]}
        self.body = b"".join(message.get("body", b"") for message in messages[1:])

    @property
    def error(self) -> dict[str, Any]:
        """The error in Anthropic's shape; anything else fails the test."""
        found = json.loads(self.body)
        assert self.headers["content-type"] == "application/json"
        assert (found["type"], found["request_id"]) == ("error", self.headers["request-id"])
        assert isinstance(found["error"]["type"], str)
        return dict(found["error"])


def ask(world: World, method: str, path: str, headers: Headers = (), body: bytes = b"", query: bytes = b"") -> Reply:
    """A request as a server gives it to the app, in bytes that no client library would send."""
    scope = {
        "type": "http",
        "scheme": "http",
        "server": ("router.test", 80),
        "method": method,
        "path": path,
        "query_string": query,
        "headers": [(b"x-api-key", KEY.encode()), *headers],
    }
    sent: list[Any] = []

    async def go() -> None:
        inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        inbox.put_nowait({"type": "http.request", "body": body, "more_body": False})

        async def send(message: Any) -> None:
            sent.append(message)

        await world.app()(scope, inbox.get, send)

    run(go())
    assert world.telemetry.defects == []
    return Reply(sent)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "DELETE", "PUT", "PATCH", "QUERY", "get"])
def test_a_method_that_a_path_has_not_is_a_405_that_says_which_it_has(path: str, method: str) -> None:
    reply = ask(World(), method, path)
    assert (reply.status, reply.error["type"]) == (405, "invalid_request_error")
    assert reply.headers["allow"] == PATHS[path]
    assert f"{method} {path}" in reply.error["message"]


@pytest.mark.parametrize(
    "path",
    ["/", "", "*", "/v1", "/v1/messages/", "//v1/messages", "/V1/messages", "/v1/requests/", "/v1/requests/a/b"],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "HEAD"])
def test_a_path_that_is_not_here_is_a_404_that_says_what_is(path: str, method: str) -> None:
    reply = ask(World(), method, path)
    assert (reply.status, reply.error["type"]) == (404, "not_found_error")
    assert "allow" not in reply.headers
    for served in ("POST /v1/messages,", "GET /v1/requests/{id}", "GET /health", "GET /openapi.json"):
        assert served in reply.error["message"]


def over_a_socket(head: bytes) -> bytes:
    """What a server with the app sends back, to the end of the connection."""
    with (
        listening(World().app()) as url,
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10) as caller,
    ):
        caller.sendall(head + f"\r\nhost: x\r\nconnection: close\r\nx-api-key: {KEY}\r\n\r\n".encode())
        got = b""
        while more := caller.recv(4_096):
            got += more
    return got


def test_head_is_answered_as_get_without_a_body_on_the_wire() -> None:
    for path, status in (("/health", 200), ("/openapi.json", 200), ("/v1/models", 200), ("/v1/models/x", 404)):
        assert ask(World(), "HEAD", path).status == status
    got = over_a_socket(b"HEAD /health HTTP/1.1")
    assert got.startswith(b"HTTP/1.1 200")
    assert got.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "path", ["/v1/requests/{}", "/v1/models/{}", "/v1/messages/batches/{}", "/v1/messages/batches/{}/results", "/{}"]
)
@pytest.mark.parametrize("id_", ["\x00", "\udcff", "é" * 300, "x" * 5_000, "a\r\nb", "{id}", "%00", "..", " "])
def test_an_id_of_any_characters_is_one_that_nobody_knows(path: str, id_: str) -> None:
    reply = ask(World(), "GET", path.format(id_))
    assert (reply.status, reply.error["type"]) == (404, "not_found_error")
    assert len(reply.body) < 1_500


@pytest.mark.parametrize("target", [b"/%ff", b"/%zz", b"/v1/requests/%00", b"/v1/models/a%2Fb", b"/%"])
def test_percent_signs_that_mean_nothing_are_read_as_they_can_be(target: bytes) -> None:
    head, body = over_a_socket(b"GET " + target + b" HTTP/1.1").split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 404")
    assert json.loads(body)["error"]["type"] == "not_found_error"


VALUES = [b"\xff", b"\x00", b"a\tb", b"", b"\xe2\x82\xac", b"x" * 100_000, b"[" * 50_000, b"\r\nx: y"]


@pytest.mark.parametrize(
    "name",
    [
        b"anthropic-version",
        b"anthropic-beta",
        b"x-router-tags",
        b"x-router-floor",
        b"x-router-session",
        b"x-router-max-cost-usd",
        b"x-router-\xff",
        b"content-type",
        b"content-length",
        b"host",
        b"x-amzn-request-context",
        b"transfer-encoding",
    ],
)
def test_no_bytes_in_a_header_are_a_defect(name: bytes) -> None:
    asked = [
        ("POST", "/v1/messages", BODY),
        ("POST", "/v1/messages/batches", BATCH),
        ("GET", "/v1/messages/batches", b""),
    ]
    for method, path, body in asked:
        for value in VALUES:
            reply = ask(World(), method, path, [(name, value)], body)
            assert reply.status in {200, 400}, (path, value[:10])
            if reply.status == 400:
                assert len(reply.error["message"]) < 400


@pytest.mark.parametrize("name", ["authorization", "x-api-key"])
def test_no_bytes_in_a_key_are_a_defect(name: str) -> None:
    for value in VALUES:
        other = World()
        other.tenants.keys.clear()
        reply = ask(other, "GET", "/v1/models", [(name.encode(), value)])
        assert (reply.status, reply.error["type"]) == (401, "authentication_error")


@pytest.mark.parametrize("name", ["anthropic-version", "anthropic-beta"])
@pytest.mark.parametrize("value", [b"\xff", b"\x84", b"a\tb", b"\x7f", b"a\r\nb"])
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens", "/v1/route"])
def test_what_goes_to_claude_in_a_header_is_printable(name: str, value: bytes, path: str) -> None:
    world = World()
    body = BODY if path != "/v1/messages/count_tokens" else BODY.replace(b'"max_tokens": 100, ', b"")
    reply = ask(world, "POST", path, [(name.encode(), value)], body)
    assert (reply.status, reply.error["type"]) == (400, "invalid_request_error")
    assert reply.error["message"].startswith(f"{name}: ")
    assert world.claude.calls == []


def test_betas_in_several_headers_go_to_claude_as_one_list() -> None:
    world = World()
    ask(world, "POST", "/v1/messages", [(b"anthropic-beta", b"a"), (b"anthropic-beta", b"b,c")], BODY)
    assert world.claude.calls[0].headers == {"anthropic-beta": "a,b,c"}


@pytest.mark.parametrize("path", ["/v1/spend", "/v1/models", "/v1/messages/batches", "/health", "/v1/requests/x"])
@pytest.mark.parametrize(
    "query",
    [
        *(b"\xff", b"%ff", b"%", b"&&===", b"a" * 100_000, b"day=%ff", b"day=\x00", b"day=2026-11-2%D9%A1"),
        *(b"limit=%00", b"limit=1&limit=2", b"limit=%D9%A1", b"after_id=%00", b"before_id=msgbatch_" + b"a" * 24),
        *(b"by=tag:%00", b"by=tag:" + b"x" * 5_000, b"lifecycle[]=%ff", b"lifecycle=\xc3\x28", b"beta=true"),
    ],
)
def test_no_query_is_a_defect(path: str, query: bytes) -> None:
    reply = ask(World(), "GET", path, query=query)
    assert reply.status in {200, 400, 404}
    if reply.status != 200:
        assert len(reply.error["message"]) < 500


def test_a_batch_is_told_where_it_is_whatever_query_and_context_came_with_it() -> None:
    """It has been accepted by then: an error would have its lines run for nobody."""
    for headers, query in (((), b"\xff"), (((b"x-amzn-request-context", b"[" * 60_000),), b"")):
        reply = ask(World(), "POST", "/v1/messages/batches", headers, BATCH, query)
        assert reply.status == 200
        assert json.loads(reply.body)["type"] == "message_batch"
