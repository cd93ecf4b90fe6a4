"""No client at all: `http.client`, with the key in the header `KEY_HEADER` and the API's version `VERSION`."""

import json
import os
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import urlencode, urlsplit

from tests.conformance.clients.protocol import Json, messages_of, serve

BATCHES = "/v1/messages/batches"
HEADERS = {"anthropic-version": os.environ["VERSION"], "content-type": "application/json"}


class HTTPStatus(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, body: Any, request_id: str | None) -> None:
        super().__init__(f"{status}: {json.dumps(body, ensure_ascii=False)}")
        self.status_code = status
        self.body = body
        self.request_id = request_id


def request(told: Json, method: str, path: str, body: Json | None = None) -> tuple[HTTPResponse, bytes]:
    """The response and its whole body; raises `HTTPStatus` for an error."""
    url = urlsplit(told["base"])
    key = told["key"] if os.environ["KEY_HEADER"] == "x-api-key" else f"Bearer {told['key']}"
    connection = HTTPConnection(str(url.hostname), url.port, timeout=60)
    content = None if body is None else json.dumps(body).encode()
    connection.request(method, url.path + path, content, HEADERS | {os.environ["KEY_HEADER"]: key})
    response = connection.getresponse()
    found = response.read()
    connection.close()
    if response.status != 200:
        raise HTTPStatus(response.status, json.loads(found), response.headers["request-id"])
    return response, found


def called(told: Json, method: str, path: str, body: Json | None = None) -> Any:
    """The JSON of an answer."""
    response, content = request(told, method, path, body)
    assert response.headers.get_content_type() == "application/json", response.headers
    return json.loads(content)


def create(told: Json) -> Json:
    response, content = request(told, "POST", "/v1/messages", told["body"])
    headers = dict(response.headers)
    return {"message": json.loads(content), "headers": headers, "request_id": response.headers["request-id"]}


def events(told: Json) -> Json:
    """Server-sent events, each with the name of its type; comments are left out, as the format says."""
    response, content = request(told, "POST", "/v1/messages", told["body"] | {"stream": True})
    assert response.headers.get_content_type() == "text/event-stream", response.headers
    found = []
    for part in content.decode().split("\n\n"):
        lines = [line for line in part.split("\n") if line and not line.startswith(":")]
        if lines:
            name, data = lines
            found.append(json.loads(data.removeprefix("data: ")))
            assert name == f"event: {found[-1]['type']}"
    if found[-1]["type"] == "error":
        raise HTTPStatus(200, found[-1], response.headers["request-id"])
    return {"events": found}


def stream(told: Json) -> Json:
    """The message that the events make, put together by hand."""
    found: list[Json] = events(told)["events"]
    deltas = [event["delta"] for event in found if event["type"] == "content_block_delta"]
    (message,) = messages_of(found)
    return {"message": message, "deltas": deltas}


def tools(told: Json) -> Json:
    body = told["body"]
    first = called(told, "POST", "/v1/messages", body)
    results = [
        {"type": "tool_result", "tool_use_id": block["id"], "content": f"result of {block['name']}"}
        for block in first["content"]
        if block["type"] == "tool_use"
    ]
    turns = [{"role": "assistant", "content": first["content"]}, {"role": "user", "content": results}]
    second = called(told, "POST", "/v1/messages", body | {"messages": [*body["messages"], *turns]})
    return {"first": first, "second": second}


def pages(told: Json, path: str) -> list[list[Json]]:
    """All pages of a list."""
    found, query = [], {"limit": told["limit"]}
    while True:
        page = called(told, "GET", f"{path}?{urlencode(query)}")
        ends = [row["id"] for row in page["data"]]
        assert (page["first_id"], page["last_id"]) == (ends[0], ends[-1])
        found.append(page["data"])
        if not page["has_more"]:
            return found
        query["after_id"] = page["last_id"]


def models_pages(told: Json) -> Json:
    found = [[model["id"] for model in page] for page in pages(told, "/v1/models")]
    return {"pages": found, "all": [name for page in found for name in page]}


def batch_list(told: Json) -> Json:
    found = pages(told, BATCHES)
    return {"batches": found[0], "all": [batch["id"] for page in found for batch in page]}


def batch_results(told: Json) -> Json:
    _, content = request(told, "GET", f"{BATCHES}/{told['id']}/results")
    return {"results": [json.loads(line) for line in content.decode().splitlines()]}


serve(
    {
        "create": create,
        "events": events,
        "stream": stream,
        "tools": tools,
        "count_tokens": lambda told: called(told, "POST", "/v1/messages/count_tokens", told["body"]),
        "models_list": lambda told: {"models": called(told, "GET", "/v1/models")["data"]},
        "models_retrieve": lambda told: called(told, "GET", f"/v1/models/{told['id']}"),
        "models_pages": models_pages,
        "batch_create": lambda told: called(told, "POST", BATCHES, {"requests": told["requests"]}),
        "batch_retrieve": lambda told: called(told, "GET", f"{BATCHES}/{told['id']}"),
        "batch_list": batch_list,
        "batch_results": batch_results,
        "batch_cancel": lambda told: called(told, "POST", f"{BATCHES}/{told['id']}/cancel"),
    }
)
