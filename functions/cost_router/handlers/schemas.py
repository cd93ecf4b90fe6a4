"""The shape of a Messages API body, checked field by field before anything is paid for.

Only what the router itself reads, and what would cost a classifier call before Claude refused it, is checked here;
roles and unknown fields are Claude's business and go through untouched. Messages are worded as the API words them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cost_router.core import capability
from cost_router.core.ask import Ask, read_ask
from cost_router.core.errors import InvalidRequest, quoted
from cost_router.handlers.strict_json import kind_of


@dataclass(frozen=True, slots=True)
class MessageBody:
    """A Messages API body that may be routed, and what the router reads of it."""

    body: Mapping[str, Any]  # without `router`
    model: str
    max_tokens: int
    ask: Ask
    router: Mapping[str, Any]


def parse_message(value: Mapping[str, Any], *, model: str | None = None) -> MessageBody:
    """The Messages body in `value`; `model` stands in when it names none. Raises `InvalidRequest`."""
    body = {name: field for name, field in value.items() if name != "router"}
    router = value.get("router", {})
    if not isinstance(router, dict):
        raise InvalidRequest(f"router: it is {kind_of(router)}; accepted: an object of hints")
    name = body.get("model", model)
    if name is None:
        raise InvalidRequest("model: Field required")
    if not isinstance(name, str):
        raise InvalidRequest(f"model: it is {kind_of(name)}; accepted: a string such as 'auto'")
    max_tokens = _max_tokens(body)
    _check_types(body)
    _check_messages(body)
    capability.check_billing_fields(body)
    _check_tool_names(body)
    return MessageBody(body, name, max_tokens, read_ask(body), router)


def _max_tokens(body: Mapping[str, Any]) -> int:
    if "max_tokens" not in body:
        raise InvalidRequest("max_tokens: Field required")
    value = body["max_tokens"]
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidRequest(f"max_tokens: {quoted(value)}; accepted: a whole number of at least 1")
    if value < 1:
        raise InvalidRequest(f"max_tokens: {quoted(value)} must be greater than or equal to 1")
    return value


def _check_types(body: Mapping[str, Any]) -> None:
    for name, kinds, accepted in (
        ("system", (str, list), "a string or a list of text blocks"),
        ("tools", (list,), "a list of tools"),
        ("stream", (bool,), "true or false"),
        ("metadata", (dict,), "an object"),
        ("stop_sequences", (list,), "a list of strings"),
        ("thinking", (dict,), "an object"),
        ("tool_choice", (dict,), "an object"),
        ("output_config", (dict,), "an object"),
    ):
        value = body.get(name)
        if value is not None and not isinstance(value, kinds):
            raise InvalidRequest(f"{name}: it is {kind_of(value)}; accepted: {accepted}")
    for name, kind, accepted in (
        ("system", dict, "a text block"),
        ("tools", dict, "an object"),
        ("stop_sequences", str, "a string"),
    ):
        items = body.get(name)
        for place, item in enumerate(items if isinstance(items, list) else ()):
            if not isinstance(item, kind):
                raise InvalidRequest(f"{name}.{place}: it is {kind_of(item)}; accepted: {accepted}")
    for name in ("temperature", "top_p", "top_k"):
        value = body.get(name)
        if value is not None and (not isinstance(value, int | float) or isinstance(value, bool)):
            raise InvalidRequest(f"{name}: it is {kind_of(value)}; accepted: a number")


def _check_tool_names(body: Mapping[str, Any]) -> None:
    for place, tool in enumerate(body.get("tools") or ()):
        if not isinstance(tool.get("name"), str):
            raise InvalidRequest(f"tools.{place}.name: it is {kind_of(tool.get('name'))}; accepted: a string")


def _check_messages(body: Mapping[str, Any]) -> None:
    messages = body.get("messages")
    if messages is None:
        raise InvalidRequest("messages: Field required")
    if not isinstance(messages, list):
        raise InvalidRequest(f"messages: it is {kind_of(messages)}; accepted: a list of messages")
    if not messages:
        raise InvalidRequest("messages: at least one message is required")
    for place, message in enumerate(messages):
        if not isinstance(message, dict):
            raise InvalidRequest(f"messages.{place}: it is {kind_of(message)}; accepted: an object")
        if not isinstance(message.get("role"), str):
            raise InvalidRequest(f"messages.{place}.role: it is {kind_of(message.get('role'))}; accepted: a string")
        _check_content(f"messages.{place}", message)


def _check_content(place: str, message: Mapping[str, Any]) -> None:
    content = message.get("content")
    if not isinstance(content, str | list):
        accepted = "accepted: a string or a list of content blocks"
        raise InvalidRequest(f"{place}.content: it is {kind_of(content)}; {accepted}")
    for number, block in enumerate(content if isinstance(content, list) else ()):
        if not isinstance(block, dict):
            raise InvalidRequest(f"{place}.content.{number}: it is {kind_of(block)}; accepted: a content block")
    if not content and message["role"] == "user":
        raise InvalidRequest(f"{place}: user messages must have non-empty content")
