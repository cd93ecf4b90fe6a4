"""Errors as the Claude API answers them.

Every refusal inside the stand-in is an `ApiError`; `app.py` turns it into
`{"type": "error", "error": {"type", "message", "details"?}, "request_id"}`.
"""

from typing import Any

SERVER_ERRORS = range(500, 600)
TYPE_BY_STATUS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    502: "api_error",
    503: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class ApiError(Exception):
    """A refusal: HTTP status, the API's error type (by default the status's own) and its message."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type_: str | None = None,
        details: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Keep what the answer needs; `headers` go out with it."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type_ or type_of(status)
        self.details = details
        self.headers = headers or {}

    def body(self, request_id: str) -> dict[str, Any]:
        """The JSON that goes back."""
        error: dict[str, Any] = {"type": self.type, "message": self.message}
        if self.details:
            error["details"] = self.details
        return {"type": "error", "error": error, "request_id": request_id}


def invalid(message: str) -> ApiError:
    """A 400 worded as the API words it."""
    return ApiError(400, message)


def type_of(status: int) -> str:
    """The API's error type for a status; statuses without one of their own are `api_error` or invalid requests."""
    return TYPE_BY_STATUS.get(status, "api_error" if status in SERVER_ERRORS else "invalid_request_error")
