"""The body of `POST /v1/messages/batches`: every line is checked as a job before anything of the batch is kept.

A line is the API's (`custom_id`, `params`) plus an optional `router` object with its lane, deadline and hints. What all
lines have in common may be said once, in `x-router-*` headers or in a `router` object beside `requests`; what stands
closest to a line counts: its own `router`, then the headers, then the body's. Without any a line takes the batch lane.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cost_router.core import guards
from cost_router.core.errors import InvalidRequest, quoted
from cost_router.core.job import LANES
from cost_router.core.pricing import BATCH
from cost_router.core.request import Tenant
from cost_router.core.wire import encode
from cost_router.handlers.hints import HEADER_PREFIX, SHARED_FIELDS, parse_hints
from cost_router.handlers.jobs import CUSTOM_ID, InvalidParams, job_in
from cost_router.handlers.strict_json import kind_of, parse_json

BODY_MEMBERS: Final = ("requests", "router")
LINE_MEMBERS: Final = ("custom_id", "params", "router")
ROUTER_FIELDS: Final = (*SHARED_FIELDS, "lane", "answer_by")
LANE_HEADER: Final = f"{HEADER_PREFIX}lane"
MOST_LINES: Final = 100_000  # source: platform.claude.com/docs/en/api/creating-message-batches


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose jobs the lines become, in which group, and from when on."""

    tenant: Tenant
    group: str
    now: dt.datetime


def parse_batch(raw: bytes, headers: Mapping[str, str], owner: Owner) -> list[bytes]:
    """The messages of the jobs in a batch, as JSON. Raises `InvalidRequest` for the first line that will not do."""
    body = parse_json(raw)
    _only(body, BODY_MEMBERS, "")
    common = _common(body.get("router", {}), headers)
    requests = body.get("requests")
    if requests is None:
        raise InvalidRequest("requests: Field required")
    if not isinstance(requests, list):
        raise InvalidRequest(f"requests: it is {kind_of(requests)}; accepted: a list of requests")
    if not 1 <= len(requests) <= MOST_LINES:
        raise InvalidRequest(f"requests: it has {len(requests)} items; accepted: 1 to {MOST_LINES}")
    places: dict[str, int] = {}
    return [_line(line, place, common, owner, places) for place, line in enumerate(requests)]


def _common(router: object, headers: Mapping[str, str]) -> dict[str, Any]:
    """What holds for all lines; raises `InvalidRequest` where a hint by itself will not do."""
    if not isinstance(router, dict):
        raise InvalidRequest(f"router: it is {kind_of(router)}; accepted: an object with {', '.join(ROUTER_FIELDS)}")
    told = {name.lower(): value for name, value in headers.items() if name.lower().startswith(HEADER_PREFIX)}
    hints = {name: value for name, value in told.items() if name != LANE_HEADER}
    parse_hints(router, hints, ROUTER_FIELDS)
    for name, lane in (("router.lane", router.get("lane")), (LANE_HEADER, told.get(LANE_HEADER))):
        if lane is not None and lane not in LANES:
            raise InvalidRequest(f"{name}: {quoted(lane)}; accepted: {', '.join(map(repr, LANES))}")
    return router | {name.removeprefix(HEADER_PREFIX).replace("-", "_"): value for name, value in told.items()}


def _line(line: object, place: int, common: Mapping[str, Any], owner: Owner, places: dict[str, int]) -> bytes:
    """The message of a line's job."""
    name = f"requests.{place}"
    if not isinstance(line, dict):
        raise InvalidRequest(f"{name}: it is {kind_of(line)}; accepted: an object with custom_id and params")
    _only(line, LINE_MEMBERS, f"{name}.")
    for field in ("custom_id", "params"):
        if field not in line:
            raise InvalidRequest(f"{name}.{field}: Field required")
    custom_id, own = line["custom_id"], line.get("router", {})
    if not isinstance(custom_id, str) or not CUSTOM_ID.fullmatch(custom_id):
        pattern = f"String should match pattern '^{CUSTOM_ID.pattern}$'"
        raise InvalidRequest(f"{name}.custom_id: {quoted(custom_id)}; {pattern}")
    first = places.setdefault(custom_id, place)
    if first != place:
        raise InvalidRequest(f"{name}.custom_id: {custom_id!r} is that of requests.{first}; accepted: each once")
    if not isinstance(own, dict):
        raise InvalidRequest(f"{name}.router: it is {kind_of(own)}; accepted: an object")
    _only(own, ROUTER_FIELDS, f"{name}.router.")
    router = {**common, **own, "tenant": owner.tenant.name, "group": owner.group}
    if "lane" not in router and "answer_by" not in router:
        router["lane"] = BATCH
    return _checked({"custom_id": custom_id, "params": line["params"], "router": router}, name, owner)


def _checked(message: Mapping[str, Any], name: str, owner: Owner) -> bytes:
    """A job's message as JSON, by the rules of the function that will take it. Raises `InvalidRequest`."""
    try:
        job, raw = job_in(message), encode(message)
    except InvalidParams as error:
        raise InvalidRequest(f"{name}.params.{error}") from None
    except InvalidRequest as error:
        raise InvalidRequest(f"{name}.{error}") from None
    try:
        guards.check(job.params.body, owner.tenant)
    except InvalidRequest as error:
        raise InvalidRequest(f"{name}.params.{error}") from None
    if job.answer_by and job.answer_by <= owner.now:
        passed = quoted(message["router"]["answer_by"])
        raise InvalidRequest(f"{name}.router.answer_by: {passed} has passed; accepted: a time to come")
    return raw


def _only(found: Mapping[str, Any], accepted: tuple[str, ...], prefix: str) -> None:
    for member in found:
        if member not in accepted:
            raise InvalidRequest(f"{prefix}{quoted(member)} is unknown; accepted: {', '.join(accepted)}")
