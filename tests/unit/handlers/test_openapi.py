"""`/openapi.json` held against the code: routes, statuses, headers, shapes."""

import ast
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import jsonschema_rs
import pytest

from cost_router import __version__
from cost_router.core.budget import Limits
from cost_router.core.errors import Failure, RouterError, UpstreamError
from cost_router.core.pricing import Usage
from cost_router.core.routing import Routing
from cost_router.handlers import replies
from cost_router.handlers.batch_lines import LANE_HEADER
from cost_router.handlers.hints import HEADER_PREFIX, HINT_FIELDS, SHARED_FIELDS
from cost_router.handlers.openapi import document
from tests.builders import World, failing, limited, message_body, rejected, streamed_steps, tenant
from tests.unit.handlers.client import WITH_KEY, post, request

HANDLERS = Path(replies.__file__).parent
DOCUMENT = document()
PATHS: dict[str, dict[str, Any]] = DOCUMENT["paths"]
OPERATIONS = {(path, method.upper()): found for path, methods in PATHS.items() for method, found in methods.items()}
OPEN = {("/health", "GET"), ("/openapi.json", "GET")}
ASKING = {("/v1/messages", "POST"), ("/v1/messages/count_tokens", "POST"), ("/v1/route", "POST")}
BULK = ("/v1/messages/batches", "POST")
WITH_BODY = ASKING | {BULK}
BATCH = {"requests": [{"custom_id": "a", "params": message_body()}]}


def resolved(node: Any) -> Any:
    """A node, or what it refers to."""
    while isinstance(node, dict) and "$ref" in node:
        where = node["$ref"].removeprefix("#/").split("/")
        node = DOCUMENT
        for step in where:
            node = node[step]
    return node


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for child in node.values():
            yield from references(child)
    elif isinstance(node, list):
        for child in node:
            yield from references(child)


def parameters(operation: dict[str, Any], where: str) -> set[str]:
    found = [resolved(row) for row in operation.get("parameters", ())]
    return {row["name"] for row in found if row["in"] == where}


def described(path: str, method: str, response: httpx2.Response) -> None:
    """A response is one that the operation describes: status, content type, headers of ours, shape."""
    operation = OPERATIONS[path, method]
    told = resolved(operation["responses"][str(response.status_code)])
    media = response.headers["content-type"].split(";")[0]
    assert media in told["content"]
    ours = {name for name in response.headers if name.startswith(("x-router-", "x-should-", "retry-after", "allow"))}
    assert ours <= set(told.get("headers", {})), (path, response.status_code)
    for name, header in told.get("headers", {}).items():
        header = resolved(header)  # noqa: PLW2901  what stands behind the reference
        if header.get("required") or name in response.headers:
            check(header["schema"], response.headers[name])
    if media == "application/json":
        check(told["content"][media]["schema"], response.json())


def check(schema: dict[str, Any], value: object) -> None:
    """The value is as the schema says, whose references are the document's."""
    jsonschema_rs.validate({**schema, "components": DOCUMENT["components"]}, value)


# --- the document by itself


def test_it_is_served_without_a_key_and_says_the_version() -> None:
    found = request(World(), "GET", "/openapi.json")
    assert (found.status_code, found.headers["content-type"]) == (200, "application/json")
    assert found.json() == DOCUMENT
    assert (DOCUMENT["openapi"], DOCUMENT["info"]["version"]) == ("3.1.0", __version__)


def test_every_reference_leads_somewhere_and_every_component_is_used() -> None:
    used = set(references(DOCUMENT))
    assert all(resolved({"$ref": name}) for name in used)
    parts = DOCUMENT["components"]
    there = {f"#/components/{kind}/{name}" for kind in parts if kind != "securitySchemes" for name in parts[kind]}
    assert there - used == {"#/components/responses/MethodNotAllowed"}, "no operation can describe it"


def test_every_schema_is_a_json_schema() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)


def test_the_examples_of_bodies_are_answered() -> None:
    for path, method in sorted(WITH_BODY):
        example = OPERATIONS[path, method]["requestBody"]["content"]["application/json"]["example"]
        response = post(World(), example, path)
        assert response.status_code == 200, response.text
        described(path, method, response)


# --- routes


def test_every_route_is_described_and_nothing_besides() -> None:
    served = {
        (route.path, method)  # type: ignore[attr-defined]  # they are all routes with a path
        for route in World().app().routes
        for method in route.methods  # type: ignore[attr-defined]  # the same
        if method != "HEAD"  # goes with GET, wherever that is
    }
    assert served == set(OPERATIONS)


def test_names_of_operations_are_unique() -> None:
    names = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(set(names)) == len(names)


def test_path_parameters_are_those_of_the_path() -> None:
    for (path, _), operation in OPERATIONS.items():
        assert parameters(operation, "path") == set(re.findall(r"\{(\w+)\}", path))


@pytest.mark.parametrize("place", sorted(OPERATIONS), ids=" ".join)
def test_what_needs_a_key_says_so(place: tuple[str, str]) -> None:
    path, method = place
    response = request(World(), method, path.replace("{id}", "x"))
    needs_key = OPERATIONS[place].get("security", DOCUMENT["security"]) != []
    assert needs_key == (place not in OPEN) == (response.status_code == 401)
    described(path, method, response)


# --- statuses


def test_every_status_of_an_error_is_described_where_answers_are_asked_for() -> None:
    produced = {*replies.STATUSES.values(), *replies.NO_ANSWER.values(), replies.SERVER_ERROR, 502}
    produced |= {
        400,
        401,
        402,
        403,
        404,
        409,
        413,
        429,
        500,
        504,
        529,
    }  # Claude's: platform.claude.com/docs/en/api/errors
    for place in (("/v1/messages", "POST"), ("/v1/messages/count_tokens", "POST")):
        assert {str(status) for status in produced} <= set(OPERATIONS[place]["responses"])


def test_every_error_has_a_status_and_every_operation_describes_what_befalls_all() -> None:
    for (path, method), operation in OPERATIONS.items():
        told = set(operation["responses"])
        assert "200" in told
        if (path, method) not in OPEN:  # no key, a defect, a table that cannot be reached
            assert {"401", "500", "503"} <= told
        if (path, method) in WITH_BODY:
            assert {"400", "413"} <= told
        if "{id}" in path:
            assert "404" in told


def test_every_status_in_the_code_is_described() -> None:
    """Numbers that a reply is made with anywhere in the handlers."""
    found = set()
    for path in HANDLERS.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and type(node.value) is int and 400 <= node.value < 600:
                found.add(node.value)
    told = {int(status) for operation in OPERATIONS.values() for status in operation["responses"]}
    assert found - told == {405, replies.CALLER_LEFT}, "a method that is not there, and a reply that nobody reads"
    assert "405" in DOCUMENT["info"]["description"]


class Unmapped(RouterError):
    """An error that nobody thought of."""


def test_an_error_without_a_status_of_its_own_is_a_500() -> None:
    assert replies.status_of(Unmapped()) == 500


# --- headers


def test_every_hint_is_described_where_answers_are_asked_for_and_none_besides() -> None:
    hints = {HEADER_PREFIX + field.replace("_", "-") for field in HINT_FIELDS}
    shared = {HEADER_PREFIX + field.replace("_", "-") for field in SHARED_FIELDS} | {LANE_HEADER}
    for place, operation in OPERATIONS.items():
        told = {name for name in parameters(operation, "header") if name.startswith(HEADER_PREFIX)}
        assert told == (hints if place in ASKING else shared if place == BULK else set())
    schemas = DOCUMENT["components"]["schemas"]
    assert set(schemas["Hints"]["properties"]) == set(HINT_FIELDS)
    assert set(schemas["BatchHints"]["properties"]) == {*SHARED_FIELDS, "lane", "answer_by"}


def test_every_header_of_ours_in_the_code_is_described() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in HANDLERS.glob("*.py"))
    sent = set(re.findall(r'"(x-router-[a-z-]+|x-should-retry|retry-after)"', text))
    assert {"x-router-cost-usd", "x-router-adapted", "x-router-rule", "x-should-retry"} <= sent
    hints = {HEADER_PREFIX + field.replace("_", "-") for field in HINT_FIELDS}
    assert sent - hints - {HEADER_PREFIX, LANE_HEADER} <= set(DOCUMENT["components"]["headers"])


# --- what is really answered


CANARY = Routing.parse({"candidate": {"mode": "canary", "percent": 100, "lineup": "article"}})
OVERRUN = UpstreamError(Failure.TIMEOUT, maybe_billed=True)
ANSWERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "answered": ({}, {}),
    "while there is a candidate": ({"routing": CANARY}, {}),
    "adapted and streamed": ({"script": [streamed_steps()]}, {"model": "opus", "stream": True}),
    "without a budget": ({"budget": None}, {}),
    "refused by Claude": ({"script": [rejected(402, account=True)]}, {}),
    "not found at Claude": ({"script": [rejected(404)]}, {}),
    "limited": ({"script": [limited(429, 30.0)] * 9}, {}),
    "overloaded": ({"script": [limited(529)] * 9}, {}),
    "failed": ({"script": [failing()] * 9}, {}),
    "cut": ({"script": [UpstreamError(Failure.CONNECTION, maybe_billed=True)] * 9}, {}),
    "late": ({"script": [OVERRUN] * 9}, {}),
    "over its budget": ({"budget": Decimal("0.000001")}, {}),
    "over its cap": ({}, {"router": {"max_cost_usd": "0.000001"}}),
    "unknown model": ({}, {"model": "gpt-4"}),
    "no messages": ({}, {"messages": []}),
    "too large": ({}, {"system": "x" * 1_000_001}),
}


@pytest.mark.parametrize("story", ANSWERS)
def test_answers_and_errors_are_as_described(story: str) -> None:
    fields, change = ANSWERS[story]
    described("/v1/messages", "POST", post(World(**fields), message_body(**change)))


def test_a_defect_and_stores_that_are_down_and_a_pace_are_as_described() -> None:
    world = World(script=[RuntimeError("a defect")])
    response = post(world, message_body())
    assert response.status_code == 500
    described("/v1/messages", "POST", response)
    world = World()
    world.tenants.down = True
    response = post(world, message_body())
    assert response.status_code == 503
    described("/v1/messages", "POST", response)
    world = World(tenant("acme", limits=Limits(session_per_minute=1)))
    for status in (200, 429):
        response = post(world, message_body(), headers={"x-router-session": "run-1"})
        assert response.status_code == status
        described("/v1/messages", "POST", response)


def test_what_is_read_is_as_described() -> None:
    world = World(label="moderate", script=[Usage(input_tokens=9, output_tokens=9, speed="fast", inference_geo="us")])
    answer = post(world, message_body(), headers={"x-router-tags": "customer=acme"})
    batch = post(world, BATCH, "/v1/messages/batches")
    described("/v1/messages/batches", "POST", batch)
    described("/v1/route", "POST", post(world, message_body(), "/v1/route"))
    asked = {
        "/v1/requests/{id}": answer.headers["x-router-request-id"],
        "/v1/messages/batches/{id}": batch.json()["id"],
        "/v1/messages/batches/{id}/results": batch.json()["id"],
        "/v1/models/{id}": "auto",
        "/v1/models": "",
        "/v1/messages/batches": "",
        "/v1/spend": "",
        "/health": "",
    }
    for path, id_ in asked.items():
        for known in {id_, "unknown"} if "{id}" in path else {""}:
            described(path, "GET", request(world, "GET", path.replace("{id}", known), WITH_KEY))
    for _ in range(2):
        path = "/v1/messages/batches/{id}/cancel"
        described(path, "POST", request(world, "POST", path.replace("{id}", batch.json()["id"]), WITH_KEY))


def test_a_receipt_has_no_member_that_is_not_described() -> None:
    world = World()
    id_ = post(world, message_body()).headers["x-router-request-id"]
    found = request(world, "GET", f"/v1/requests/{id_}", WITH_KEY).json()
    assert set(found) == set(DOCUMENT["components"]["schemas"]["Receipt"]["properties"])
    assert json.dumps(found)
