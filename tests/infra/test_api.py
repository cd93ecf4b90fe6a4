"""The front door: how it calls the router, and what it answers by itself."""

import json
import re
from typing import Any

import pytest

from cost_router.contract import Env
from tests.infra.conftest import Template

REPLY = "AWS::ApiGateway::GatewayResponse"
CONTEXT = {"$context.requestId": "c6af9ac6-7b61", "$context.error.messageString": '"Endpoint request timed out"'}


def integrations(template: Template) -> list[dict[str, Any]]:
    return [method["Integration"] for method in template.of_type("AWS::ApiGateway::Method").values()]


def replies(template: Template) -> dict[str, dict[str, Any]]:
    return {reply["ResponseType"]: reply for reply in template.of_type(REPLY).values()}


def body(reply: dict[str, Any]) -> dict[str, Any]:
    """The body that a caller gets, after API Gateway has put in its variables."""
    text = reply["ResponseTemplates"]["application/json"]
    for name, value in CONTEXT.items():
        text = text.replace(name, value)
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def test_streaming_integration_streams_for_fifteen_minutes(streaming: Template) -> None:
    for integration in integrations(streaming):
        assert integration["Type"] == "AWS_PROXY"
        assert integration["ResponseTransferMode"] == "STREAM"
        assert integration["TimeoutInMillis"] == 900_000
        assert integration["Uri"]["Fn::Join"][1][-1] == "/response-streaming-invocations"


def test_buffered_integration_answers_within_the_default_quota(buffered: Template) -> None:
    for integration in integrations(buffered):
        assert integration["Type"] == "AWS_PROXY"
        assert integration.get("ResponseTransferMode", "BUFFERED") == "BUFFERED"
        assert integration["TimeoutInMillis"] == 29_000
        assert integration["Uri"]["Fn::Join"][1][-1] == "/invocations"


def test_every_path_reaches_the_app(streaming: Template) -> None:
    methods = streaming.of_type("AWS::ApiGateway::Method").values()
    assert [method["HttpMethod"] for method in methods] == ["ANY", "ANY"]  # the root, and everything below it
    assert streaming.only("AWS::ApiGateway::Resource")["PathPart"] == "{proxy+}"
    assert streaming.only("AWS::ApiGateway::RestApi")["EndpointConfiguration"]["Types"] == ["REGIONAL"]


def test_the_stage_throttles_and_logs_without_bodies_queries_or_keys(streaming: Template) -> None:
    stage = streaming.only("AWS::ApiGateway::Stage")
    assert stage["StageName"] == "prod"
    (setting,) = stage["MethodSettings"]
    assert (setting["ThrottlingRateLimit"], setting["ThrottlingBurstLimit"]) == (50, 100)
    assert setting["DataTraceEnabled"] is False
    fields = json.loads(stage["AccessLogSetting"]["Format"])
    assert {"request_id", "status", "latency_ms"} <= fields.keys()
    assert not re.search(r"body|querystring|[aA]uthoriz|header", json.dumps(fields))


@pytest.mark.parametrize(
    ("type_", "status", "kind"),
    [
        ("MISSING_AUTHENTICATION_TOKEN", "404", "not_found_error"),
        ("RESOURCE_NOT_FOUND", "404", "not_found_error"),
        ("ACCESS_DENIED", "403", "permission_error"),
        ("WAF_FILTERED", "403", "permission_error"),
        ("REQUEST_TOO_LARGE", "413", "request_too_large"),
        ("THROTTLED", "429", "rate_limit_error"),
        ("INTEGRATION_TIMEOUT", "504", "timeout_error"),
        ("INTEGRATION_FAILURE", "502", "api_error"),
        ("DEFAULT_4XX", None, "invalid_request_error"),
        ("DEFAULT_5XX", None, "api_error"),
    ],
)
def test_the_gateway_answers_in_anthropics_shape(
    streaming: Template, type_: str, status: str | None, kind: str
) -> None:
    reply = replies(streaming)[type_]
    assert reply.get("StatusCode") == status
    answer = body(reply)
    assert answer.keys() == {"type", "error", "request_id"}
    assert answer["type"] == "error"
    assert answer["error"].keys() == {"type", "message"}
    assert answer["error"]["type"] == kind
    assert answer["error"]["message"]
    assert answer["request_id"] == "c6af9ac6-7b61"
    headers = reply["ResponseParameters"]
    assert headers["gatewayresponse.header.content-type"] == "'application/json'"
    assert headers["gatewayresponse.header.request-id"] == "context.requestId"


def test_a_body_that_the_gateway_itself_refuses_is_told_what_the_router_would_accept(streaming: Template) -> None:
    assert (
        "accepted: what the router's max_body_bytes allows"
        in body(replies(streaming)["REQUEST_TOO_LARGE"])["error"]["message"]
    )


def test_only_a_timeout_forbids_a_retry_because_claude_may_have_been_paid(streaming: Template) -> None:
    header = "gatewayresponse.header.x-should-retry"
    found = {type_: reply["ResponseParameters"].get(header) for type_, reply in replies(streaming).items()}
    assert {type_: value for type_, value in found.items() if value} == {"INTEGRATION_TIMEOUT": "'false'"}
    assert replies(streaming)["THROTTLED"]["ResponseParameters"]["gatewayresponse.header.retry-after"] == "'1'"


def test_the_base_url_is_the_stage_without_a_trailing_slash(streaming: Template) -> None:
    parts = streaming.body["Outputs"]["BaseUrl"]["Value"]["Fn::Join"][1]
    assert (parts[0], parts[-1]) == ("https://", "/prod")


def test_a_public_url_stands_in_for_the_stages_own_and_the_router_is_told(
    streaming: Template, buffered: Template
) -> None:
    before, api, after = buffered.body["Outputs"]["BaseUrl"]["Value"]["Fn::Join"][1]
    assert (before, after) == ("http://127.0.0.1:9/restapis/", "/local/_user_request_")
    assert api["Ref"] in buffered.of_type("AWS::ApiGateway::RestApi")
    assert buffered.environment("Router")[Env.PUBLIC_URL] == buffered.body["Outputs"]["BaseUrl"]["Value"]
    assert streaming.environment("Router")[Env.PUBLIC_URL] == "", "requests tell it"
