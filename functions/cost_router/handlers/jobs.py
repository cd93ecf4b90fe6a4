"""The shape of a job as dropped on the queue: an Anthropic batch request line plus an optional `router` object.

Params too large for a message stand in the results bucket, and the message has `params_at`, their key, in their place.
The functions' own messages are `{"job": "GROUP/CUSTOM_ID"}`: a job that was held comes back.
"""

import datetime as dt
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cost_router.contract import DEFAULT_TENANT, JOBS_PREFIX
from cost_router.core.errors import InvalidRequest, quoted
from cost_router.core.job import LANES
from cost_router.core.ledger import ANSWER, JUDGE
from cost_router.core.request import Hints
from cost_router.core.words import AUTO
from cost_router.handlers.hints import NAME, SHARED_FIELDS, parse_hints
from cost_router.handlers.schemas import MessageBody, parse_message
from cost_router.handlers.strict_json import kind_of, parse_json

JOB_FIELDS: Final = (*SHARED_FIELDS, "tenant", "group", "group_size", "lane", "answer_by", "purpose")
JOB_MEMBERS: Final = ("custom_id", "params", "params_at", "router")
PURPOSES: Final = (ANSWER, JUDGE)  # in the ledger; what is judged counts as no request of anybody
CUSTOM_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")  # platform.claude.com/docs/en/api/creating-message-batches
UNGROUPED: Final = "ungrouped"
RETURNED: Final = re.compile(rf'\{{"job": "({NAME.pattern})/({CUSTOM_ID.pattern})"\}}')


class InvalidParams(InvalidRequest):
    """The params of a job will not do; the message names the field as in a body of the Messages API."""


@dataclass(frozen=True, slots=True)
class JobBody:
    """A job as dropped on the queue."""

    group: str
    custom_id: str
    tenant: str
    params: MessageBody
    hints: Hints
    answer_by: dt.datetime | None
    lane: str | None  # None: by `answer_by`
    purpose: str
    group_size: int | None
    message: Mapping[str, Any]  # as it was dropped, with its params


def parse_job(raw: str) -> JobBody:
    """The job in the body of a queue message that has its params. Raises `InvalidRequest`."""
    return job_in(parse_json(raw))


def params_key(value: Mapping[str, Any]) -> str | None:
    """Where the params of a job are in the results bucket; None when they are in its message.

    Raises `InvalidRequest` for a place that is not its group's.
    """
    key = value.get("params_at")
    if key is None:
        return None
    router = value.get("router")
    group = _name(router if isinstance(router, dict) else {}, "group", UNGROUPED)
    place = f"{JOBS_PREFIX}/{group}/"
    if not isinstance(key, str) or not key.startswith(place):
        raise InvalidRequest(f"params_at: {quoted(key)}; accepted: a key that begins with {place}")
    if "params" in value:
        raise InvalidRequest("params_at: it stands beside params; accepted: one of the two")
    return key


def returned_job(raw: str) -> tuple[str, str] | None:
    """Group and custom id in a message for a job that was held; None for any other message."""
    found = RETURNED.fullmatch(raw)
    return (found[1], found[2]) if found else None


def job_in(value: Mapping[str, Any]) -> JobBody:
    """The job in a message, whose params have been put in. Raises `InvalidRequest`."""
    unknown = [name for name in value if name not in JOB_MEMBERS]
    if unknown:
        raise InvalidRequest(f"body: {quoted(unknown[0])} is unknown; accepted: {', '.join(JOB_MEMBERS)}")
    custom_id = value.get("custom_id")
    if not isinstance(custom_id, str) or not CUSTOM_ID.fullmatch(custom_id):
        raise InvalidRequest(f"custom_id: {quoted(custom_id)}; accepted: a string matching ^{CUSTOM_ID.pattern}$")
    router, params = value.get("router", {}), value.get("params")
    if not isinstance(params, dict):
        raise InvalidRequest(f"params: it is {kind_of(params)}; accepted: a Messages API body")
    if "router" in params:
        raise InvalidRequest("params.router: the hints of a job stand beside params; accepted: router at the top")
    if not isinstance(router, dict):
        raise InvalidRequest(f"router: it is {kind_of(router)}; accepted: an object with {', '.join(JOB_FIELDS)}")
    lane = router.get("lane")
    if lane is not None and lane not in LANES:
        raise InvalidRequest(f"router.lane: {quoted(lane)}; accepted: {', '.join(map(repr, LANES))}")
    purpose = router.get("purpose", ANSWER)
    if purpose not in PURPOSES:
        raise InvalidRequest(f"router.purpose: {quoted(purpose)}; accepted: {', '.join(map(repr, PURPOSES))}")
    if params.get("stream") is True:
        raise InvalidRequest("params.stream: True; a job has one result; accepted: false, or leave it out")
    hints = parse_hints(router, {}, JOB_FIELDS)
    return JobBody(
        group=_name(router, "group", UNGROUPED),
        custom_id=custom_id,
        tenant=_name(router, "tenant", DEFAULT_TENANT),
        params=_params(params),
        hints=hints,
        answer_by=_time(router.get("answer_by")),
        lane=lane,
        purpose=purpose,
        group_size=_size(router.get("group_size")),
        message=value,
    )


def job_address(raw: str, message_id: str) -> tuple[str, str]:
    """Where the result of a broken job goes: its own group and id as far as they can be read, the message's id else."""
    returned = returned_job(raw)
    if returned:
        return returned
    try:
        value = json.loads(raw)
        router = value.get("router") or {}
        group, custom_id = router.get("group", UNGROUPED), value.get("custom_id")
    except (AttributeError, RecursionError, ValueError):
        return UNGROUPED, message_id
    usable_group = group if isinstance(group, str) and NAME.fullmatch(group) else UNGROUPED
    usable_id = custom_id if isinstance(custom_id, str) and CUSTOM_ID.fullmatch(custom_id) else message_id
    return usable_group, usable_id


def _params(params: Mapping[str, Any]) -> MessageBody:
    try:
        return parse_message(params, model=AUTO)
    except InvalidRequest as error:
        raise InvalidParams(str(error)) from None


def _name(router: Mapping[str, Any], field: str, default: str) -> str:
    value = router.get(field, default)
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise InvalidRequest(f"router.{field}: {quoted(value)}; accepted: a string matching ^{NAME.pattern}$")
    return value


def _size(value: object) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise InvalidRequest(f"router.group_size: {quoted(value)}; accepted: how many jobs the group has")


def _time(value: object) -> dt.datetime | None:
    if value is None:
        return None
    try:
        found = dt.datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise InvalidRequest(f"router.answer_by: {quoted(value)}; accepted: a time such as '2026-11-24T06:00:00Z'")
    return found
