"""What Claude's replies say: the message and its tokens, or the error, in the words of the rules."""

import json
from collections.abc import Mapping
from typing import Any, Final

import anthropic
import httpx2

from cost_router.core.errors import Failure, UpstreamError
from cost_router.core.ports import Counted, Reply
from cost_router.core.pricing import Usage
from cost_router.core.terms import GLOBAL, STANDARD

# 429s and 403s that no waiting mends. Source: anthropic.types.shared.*_error_details (2.12).
FINAL_CODES: Final = frozenset(
    {
        "enforced_spend_limit_reached",
        "contract_spend_limit_reached",
        "linked_organization_spend_limit_reached",
        "linked_organization_billing_unavailable",
        "organization_on_hold",
    }
)
_FAILURES: Final[Mapping[int, Failure]] = {429: Failure.RATE_LIMITED, 529: Failure.OVERLOADED, 408: Failure.SERVER}
# The account, not the request, is at fault: key, permission, billing.
ACCOUNT_STATUSES: Final = frozenset({401, 402, 403})
BARRING_STATUSES: Final = frozenset({401, 402})  # a 403 may be about one model
HTTP_REFUSED: Final = 400
HTTP_SERVER: Final = 500
HTTP_BAD_GATEWAY: Final = 502
_UNCONNECTED: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
_KEPT_HEADERS: Final = ("request-id", "retry-after", "anthropic-ratelimit-")


def read_reply(response: httpx2.Response, asked: Mapping[str, Any]) -> Reply:
    """The reply in a 200; raises `UpstreamError` when it is no message or tells no usage: it was billed anyway."""
    try:
        message = json.loads(response.content)
        usage = read_usage(message["usage"], asked)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise UpstreamError(
            Failure.SERVER,
            status=HTTP_BAD_GATEWAY,
            request_id=response.headers.get("request-id"),
            maybe_billed=True,
        ) from error
    return Reply(
        content=response.content,
        message=message,
        usage=usage,
        request_id=response.headers.get("request-id"),
        headers=kept(response.headers),
    )


def read_count(response: httpx2.Response) -> Counted:
    """The number of tokens in a 200; raises `UpstreamError` when there is none in it."""
    request_id = response.headers.get("request-id")
    try:
        found = json.loads(response.content)["input_tokens"]
        valid = isinstance(found, int) and not isinstance(found, bool)
    except (KeyError, RecursionError, TypeError, ValueError):
        valid = False
    if not valid:
        raise UpstreamError(Failure.SERVER, status=HTTP_BAD_GATEWAY, request_id=request_id)
    return Counted(response.content, request_id, kept(response.headers))


def read_usage(usage: Mapping[str, Any], asked: Mapping[str, Any] | None = None) -> Usage:
    """Tokens by bucket and what else is billed, as the API reports it; raises when it cannot be booked.

    Cache writes without a breakdown are 5-minute writes, the API's default. A speed or geography that is not reported
    is the one that the request `asked` for. Source: anthropic.types.Usage (2.12).
    """
    asked = asked or {}
    searches = usage.get("server_tool_use") or {}
    written = _count(usage.get("cache_creation_input_tokens"))
    detail = usage.get("cache_creation") or {}
    hour = _count(detail.get("ephemeral_1h_input_tokens"))
    found = Usage(
        input_tokens=_count(usage["input_tokens"]),
        cache_read_input_tokens=_count(usage.get("cache_read_input_tokens")),
        cache_creation_5m_input_tokens=written - hour,
        cache_creation_1h_input_tokens=hour,
        output_tokens=_count(usage["output_tokens"]),
        web_search_requests=_count(searches.get("web_search_requests")),
        speed=str(usage.get("speed") or asked.get("speed") or STANDARD),
        inference_geo=_place(usage.get("inference_geo") or asked.get("inference_geo")),
    )
    if found.cache_creation_5m_input_tokens < 0:
        raise ValueError(f"1-hour cache writes ({hour}) exceed all cache writes ({written})")
    if found.prompt_tokens + found.output_tokens == 0:
        raise ValueError("usage without a single token")
    return found


def _place(value: object) -> str:
    """Models without `inference_geo` are reported to run at `not_available`: anywhere."""
    return GLOBAL if value is None or value == "not_available" else str(value)


def _count(value: object) -> int:
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is not a number of tokens or requests")
    return value


def upstream_error(error: Exception, *, begun: bool = True) -> UpstreamError:
    """The SDK's errors in the words of the rules; the only place that knows them. begun: a client was at hand."""
    if isinstance(error, anthropic.APIStatusError):
        return _status_error(error)
    late = isinstance(error, TimeoutError | anthropic.APITimeoutError | httpx2.TimeoutException)
    on_the_wire = late or isinstance(error, anthropic.APIConnectionError | httpx2.HTTPError)
    connected = not isinstance(error.__cause__ or error, _UNCONNECTED)
    return UpstreamError(
        Failure.TIMEOUT if late else Failure.CONNECTION, maybe_billed=begun and on_the_wire and connected
    )


def _status_error(error: anthropic.APIStatusError) -> UpstreamError:
    status = error.status_code
    final = error.error_code in FINAL_CODES
    return UpstreamError(
        Failure.REJECTED if final else failure_of(status),
        status=status if status >= HTTP_REFUSED else HTTP_BAD_GATEWAY,
        account=final or status in ACCOUNT_STATUSES,
        barred=final or status in BARRING_STATUSES,
        body=error.response.content,
        request_id=error.request_id,
        retry_after=_seconds(error.response.headers.get("retry-after")),
        headers=kept(error.response.headers),
    )


def failure_of(status: int) -> Failure:
    """The kind of failure that an HTTP status means."""
    return _FAILURES.get(status, Failure.REJECTED if HTTP_REFUSED <= status < HTTP_SERVER else Failure.SERVER)


def _seconds(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text else None  # a duration, not money
    except ValueError:
        return None


def kept(headers: httpx2.Headers) -> dict[str, str]:
    """The headers that go on to the caller: limits and ids, nothing of the organisation."""
    return {name: value for name, value in headers.items() if name.startswith(_KEPT_HEADERS)}
