"""What API Gateway itself answers, in the shape of Anthropic's errors: clients that know one shape need no second.

The fields in a body are API Gateway's template variables; `$context.error.messageString` brings its own quotes.
"""

import json
from dataclasses import dataclass, field
from typing import Final

from aws_cdk import aws_apigateway as apigateway

SHAPE: Final = '{"type":"error","error":{"type":"%s","message":%s},"request_id":"$context.requestId"}'
NO_RETRY: Final = {"x-should-retry": "false"}  # Anthropic's SDKs obey it


@dataclass(frozen=True, slots=True)
class GatewayReply:
    """One kind of answer; without a message of ours, the gateway's own is told."""

    type: apigateway.ResponseType
    kind: str  # Anthropic's error type
    status: int | None = None  # None: the gateway's own
    message: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def template(self) -> str:
        """The body, as a template of API Gateway."""
        return SHAPE % (self.kind, json.dumps(self.message) if self.message else "$context.error.messageString")

    @property
    def quoted_headers(self) -> dict[str, str]:
        """Headers as API Gateway wants them: a literal in single quotes, or the name of a value."""
        literals = {"content-type": "application/json", **self.headers}
        return {"request-id": "context.requestId", **{name: f"'{value}'" for name, value in literals.items()}}


_Type = apigateway.ResponseType
REPLIES: Final = (
    # A path or method that is not there; API Gateway's own words are "Missing Authentication Token", with 403.
    GatewayReply(_Type.MISSING_AUTHENTICATION_TOKEN, "not_found_error", 404, "There is no such path or method here."),
    GatewayReply(_Type.RESOURCE_NOT_FOUND, "not_found_error", 404, "There is no such path or method here."),
    GatewayReply(_Type.ACCESS_DENIED, "permission_error", 403),
    GatewayReply(_Type.WAF_FILTERED, "permission_error", 403, "The request was refused by a firewall rule."),
    # Its own limit is 10 MB; Lambda's, 6 MB with the body escaped inside, is told in the same way.
    GatewayReply(
        _Type.REQUEST_TOO_LARGE,
        "request_too_large",
        413,
        "The request is larger than the gateway takes; accepted: what the router's max_body_bytes allows, "
        "5 MB unless its operator chose otherwise.",
    ),
    GatewayReply(
        _Type.THROTTLED,
        "rate_limit_error",
        429,
        "The gateway's own throttle was reached; Claude was not called.",
        {"retry-after": "1"},
    ),
    # Claude may have been paid for an answer that nobody waited for: a client that repeats it pays again.
    GatewayReply(_Type.INTEGRATION_TIMEOUT, "timeout_error", 504, "No answer within the gateway's time.", NO_RETRY),
    GatewayReply(_Type.INTEGRATION_FAILURE, "api_error", 502, "The router failed to answer."),
    GatewayReply(_Type.DEFAULT_4_XX, "invalid_request_error"),
    GatewayReply(_Type.DEFAULT_5_XX, "api_error"),
)
