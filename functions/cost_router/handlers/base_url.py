"""The base URL that a caller used, under which it finds what a reply names."""

import json
from collections.abc import Mapping
from typing import Any, Final

from starlette.datastructures import URL
from starlette.requests import Request as HttpRequest

CONTEXT_HEADER: Final = "x-amzn-request-context"  # what the Lambda Web Adapter makes of the gateway's event


def base_url(http: HttpRequest, public_url: str = "") -> str:
    """Without a slash at its end: the public one, where there is one, else host and what stands before the app's path.

    API Gateway's event has the path as the caller wrote it, with the stage or a custom domain's base path, which the
    app's own path lacks. A caller may claim another host or path; it is told only what it claimed.
    """
    if public_url:
        return public_url.rstrip("/")
    whole, path = str(_context(http).get("path", "")), http.scope["path"]
    before = whole.removesuffix(path) if whole.endswith(path) else ""
    url = URL(scope={**http.scope, "query_string": b""})  # one that is no UTF-8 could not be read
    return f"{url.scheme}://{url.netloc}{before}"


def _context(http: HttpRequest) -> Mapping[str, Any]:
    """What API Gateway tells of a request; empty where there is none."""
    event = http.scope.get("aws.event")  # of Mangum
    try:
        found = event["requestContext"] if event else json.loads(http.headers.get(CONTEXT_HEADER, "{}"))
    except (KeyError, RecursionError, ValueError):  # a caller may have made the header
        return {}
    return found if isinstance(found, dict) else {}
