"""The shape of a job as dropped on the queue: an Anthropic batch request line plus an optional `router` object."""

import datetime as dt
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cost_router.contract import DEFAULT_TENANT
from cost_router.core.errors import InvalidRequest, quoted
from cost_router.core.jobs import DIRECT, LANES
from cost_router.core.request import Hints
from cost_router.core.words import AUTO
from cost_router.handlers.hints import HINT_FIELDS, NAME, parse_hints
from cost_router.handlers.schemas import MessageBody, parse_message
from cost_router.handlers.strict_json import kind_of, parse_json

JOB_FIELDS: Final = (*HINT_FIELDS, "tenant", "group", "lane", "answer_by")
JOB_MEMBERS: Final = ("custom_id", "params", "router")
CUSTOM_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")  # platform.claude.com/docs/en/api/creating-message-batches
UNGROUPED: Final = "ungrouped"


@dataclass(frozen=True, slots=True)
class JobBody:
    """A job as dropped on the queue."""

    group: str
    custom_id: str
    tenant: str
    params: MessageBody
    hints: Hints
    answer_by: dt.datetime | None
    lane: str


def parse_job(raw: str) -> JobBody:
    """The job in the body of a queue message. Raises `InvalidRequest`."""
    value = parse_json(raw)
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
    lane = router.get("lane", DIRECT)
    if lane not in LANES:
        raise InvalidRequest(f"router.lane: {quoted(lane)}; accepted: {', '.join(map(repr, LANES))}")
    if params.get("stream") is True:
        raise InvalidRequest("params.stream: True; a job has one result; accepted: false, or leave it out")
    hints = parse_hints(router, {}, JOB_FIELDS)
    return JobBody(
        group=_name(router, "group", UNGROUPED),
        custom_id=custom_id,
        tenant=_name(router, "tenant", DEFAULT_TENANT),
        params=parse_message(params, model=AUTO),
        hints=hints,
        answer_by=_time(router.get("answer_by")),
        lane=lane,
    )


def job_address(raw: str, message_id: str) -> tuple[str, str]:
    """Where the result of a broken job goes: its own group and id as far as they can be read, the message's id else."""
    try:
        value = json.loads(raw)
        router = value.get("router") or {}
        group, custom_id = router.get("group", UNGROUPED), value.get("custom_id")
    except (AttributeError, RecursionError, ValueError):
        return UNGROUPED, message_id
    usable_group = group if isinstance(group, str) and NAME.fullmatch(group) else UNGROUPED
    usable_id = custom_id if isinstance(custom_id, str) and CUSTOM_ID.fullmatch(custom_id) else message_id
    return usable_group, usable_id


def _name(router: Mapping[str, Any], field: str, default: str) -> str:
    value = router.get(field, default)
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise InvalidRequest(f"router.{field}: {quoted(value)}; accepted: a string matching ^{NAME.pattern}$")
    return value


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
