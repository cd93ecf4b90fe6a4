"""What the stand-in refuses, and in which words."""

from typing import Any

import pytest

from tests.unit.standin.desk import Desk

INVALID = "invalid_request_error"
Json = dict[str, Any]


def test_a_call_without_a_key_is_a_401(desk: Desk, ask: Json) -> None:
    answer = desk.client.post("/v1/messages", json=ask, headers={"anthropic-version": "2026-10-21"})
    assert answer.status_code == 401
    assert answer.json() == {
        "type": "error",
        "error": {"type": "authentication_error", "message": "x-api-key header is required"},
        "request_id": "req_1",
    }


@pytest.mark.parametrize("header", [{"authorization": "Bearer k"}, {"x-api-key": "k"}])
def test_both_key_headers_are_accepted(desk: Desk, ask: Json, header: dict[str, str]) -> None:
    answer = desk.client.post("/v1/messages", json=ask, headers=header | {"anthropic-version": "2026-10-21"})
    assert answer.status_code == 200


def test_an_empty_bearer_is_no_key(desk: Desk, ask: Json) -> None:
    headers = {"authorization": "Bearer ", "anthropic-version": "2026-10-21"}
    assert desk.client.post("/v1/messages", json=ask, headers=headers).status_code == 401


def test_the_version_header_is_required_and_known(desk: Desk, ask: Json) -> None:
    assert desk.client.post("/v1/messages", json=ask, headers={"x-api-key": "k"}).json()["error"] == {
        "type": INVALID,
        "message": "anthropic-version: header is required",
    }
    assert desk.refusal(ask, anthropic_version="2025-01-01") == (
        400,
        INVALID,
        'anthropic-version: "2025-01-01" is not a valid version',
    )


def test_every_response_says_that_it_is_simulated(desk: Desk, ask: Json) -> None:
    answers = [desk.post(ask), desk.post({}), desk.client.get("/nowhere"), desk.client.get("/_meter")]
    assert [answer.headers["x-stand-in"] for answer in answers] == ["simulated"] * 4
    assert [answer.headers["request-id"] for answer in answers] == ["req_1", "req_2", "req_3", "req_4"]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_a_body_that_is_not_json_is_a_400(desk: Desk, body: bytes) -> None:
    headers = {"x-api-key": "k", "anthropic-version": "2026-10-21"}
    answer = desk.client.post("/v1/messages", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("The request body is not valid JSON: ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": None}, "model: Field required"),
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"messages": None}, "messages: Field required"),
        ({"messages": []}, "messages: at least one message is required"),
        ({"messages": "hi"}, "messages: Input should be a valid list"),
        ({"messages": ["hi"]}, "messages.0: Input should be an object"),
        ({"messages": [{"content": "hi"}]}, "messages.0.role: Field required"),
        ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role: Input should be 'user' or 'assistant'"),
        (
            {"messages": [{"role": "user", "content": ""}, {"role": "user", "content": "x"}]},
            "messages.0: all messages must have non-empty content except for the optional final assistant message",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]},
            "messages: text content blocks must be non-empty",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image"}]}]},
            "messages.0.content.0.image.source: Field required",
        ),
        ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
        ({"max_tokens": "9"}, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": True}, "max_tokens: Input should be a valid integer"),
        ({"stream": "yes"}, "stream: Input should be a valid boolean"),
        ({"model": 5}, "model: Input should be a valid string"),
        ({"router": {}}, "router: Extra inputs are not permitted"),
        ({"temperature": 1.0}, "temperature: Extra inputs are not permitted"),
        ({"top_p": 0.9}, "top_p: Extra inputs are not permitted"),
        ({"top_k": 5}, "top_k: Extra inputs are not permitted"),
        ({"system": 5}, "system: Input should be a valid list"),
        ({"tools": [{"name": "t"}]}, "tools.0.custom.input_schema: Field required"),
        ({"tool_choice": {"type": "any"}}, "tool_choice: tool_choice may only be specified while providing tools."),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
            "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false",
        ),
    ],
)
def test_malformed_requests_are_refused_in_the_words_of_the_api(
    desk: Desk, ask: Json, change: Json, message: str
) -> None:
    body = {name: value for name, value in (ask | change).items() if value is not None}
    assert desk.refusal(body) == (400, INVALID, message)
    assert desk.meter() == []


def test_an_unknown_block_type_is_refused(desk: Desk, ask: Json) -> None:
    ask["messages"] = [{"role": "user", "content": [{"type": "audio"}]}]
    assert desk.refusal(ask)[2].startswith(
        "messages.0.content.0: Input tag 'audio' found using 'type' does not match any of the expected tags: 'bash_"
    )


def test_a_body_that_is_no_object_is_refused(desk: Desk) -> None:
    assert desk.refusal([]) == (400, INVALID, "Input should be an object")


def test_a_body_over_32_mb_is_a_413(desk: Desk, ask: Json) -> None:
    ask["messages"][0]["content"] = "x" * (32 * 1024 * 1024)
    assert desk.refusal(ask) == (413, "request_too_large", "Request exceeds the maximum size")


def test_beta_fields_need_a_beta_header(desk: Desk, ask: Json) -> None:
    ask |= {"context_management": {"edits": []}}
    assert desk.refusal(ask)[2] == "context_management: Extra inputs are not permitted"
    assert desk.post(ask, anthropic_beta="context-management-2025-06-27").status_code == 200


def test_documents_in_assistant_messages_went_with_the_new_version(desk: Desk, ask: Json) -> None:
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}
    ask["messages"] = [{"role": "assistant", "content": [document]}, {"role": "user", "content": "go on"}]
    assert desk.post(ask).status_code == 400
    assert desk.post(ask, anthropic_version="2023-06-01").status_code == 200


def test_five_cache_markers_are_one_too_many(desk: Desk, ask: Json) -> None:
    block = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}
    ask["messages"] = [{"role": "user", "content": [block] * 5}]
    assert desk.refusal(ask)[2] == "A maximum of 4 blocks with cache_control may be provided. Found 5."
    late = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    ask["messages"] = [{"role": "user", "content": [block, late]}]
    assert "must not come after a ttl='5m'" in desk.refusal(ask)[2]


def test_count_tokens_takes_no_fields_of_the_answer(desk: Desk, ask: Json) -> None:
    assert desk.refusal(ask, "/v1/messages/count_tokens")[2] == "max_tokens: Extra inputs are not permitted"
    del ask["max_tokens"]
    assert desk.post(ask, "/v1/messages/count_tokens").json() == {"input_tokens": 8}


def test_an_unknown_path_is_a_404_in_the_shape_of_the_api(desk: Desk) -> None:
    answer = desk.client.get("/v1/nowhere")
    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "not_found_error"


def test_the_latest_requests_are_kept_without_credentials(desk: Desk, ask: Json) -> None:
    desk.client.post(
        "/v1/messages?beta=true",
        json=ask,
        headers={"authorization": "Bearer secret", "anthropic-version": "2026-10-21", "anthropic-beta": "a,b"},
    )
    (kept,) = desk.client.get("/_requests").json()["requests"]
    assert kept["body"] == ask
    assert (kept["path"], kept["query"], kept["headers"]["anthropic-beta"]) == ("/v1/messages", "beta=true", "a,b")
    assert "authorization" not in kept["headers"]
    for _ in range(205):
        desk.post(ask)
    assert len(desk.client.get("/_requests").json()["requests"]) == 200
