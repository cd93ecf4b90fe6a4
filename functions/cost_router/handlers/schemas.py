"""The shape of a Messages API body, checked field by field before anything is paid for.

Only what the router itself reads, and what would cost a classifier call before Claude refused it, is checked here;
roles and unknown fields are Claude's business and go through untouched. Messages are worded as the API words them,
because clients act on its words.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cost_router.core import capability
from cost_router.core.ask import Ask, read_ask
from cost_router.core.errors import InvalidRequest
from cost_router.handlers.strict_json import kind_of

A_LIST: Final = "a valid list"
AN_OBJECT: Final = "an object"
A_STRING: Final = "a valid string"


@dataclass(frozen=True, slots=True)
class MessageBody:
    """A Messages API body that may be routed, and what the router reads of it."""

    body: Mapping[str, Any]  # without `router`
    model: str
    max_tokens: int
    ask: Ask
    router: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CountableBody:
    """A Messages API body whose tokens may be counted."""

    body: Mapping[str, Any]  # without `router`
    model: str
    router: Mapping[str, Any]


def parse_message(value: Mapping[str, Any], *, model: str | None = None) -> MessageBody:
    """The Messages body in `value`; `model` stands in when it names none. Raises `InvalidRequest`."""
    body, name, router = _parts(value, model)
    max_tokens = _max_tokens(body)
    _check_types(body)
    _check_messages(body)
    capability.check_billing_fields(body)
    _check_tool_names(body)
    return MessageBody(body, name, max_tokens, read_ask(body), router)


def parse_countable(value: Mapping[str, Any]) -> CountableBody:
    """The body in `value`, which needs no `max_tokens` and, as it is not billed, no price. Raises `InvalidRequest`."""
    body, name, router = _parts(value, None)
    if "max_tokens" in body:  # for Claude to refuse, but it is compared with the model's limit on the way
        _max_tokens(body)
    _check_types(body)
    _check_messages(body)
    return CountableBody(body, name, router)


def _parts(value: Mapping[str, Any], model: str | None) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """The body without `router`, the model that it names, or `model`, and `router`."""
    body = {name: field for name, field in value.items() if name != "router"}
    router = value.get("router", {})
    if not isinstance(router, dict):
        raise InvalidRequest(f"router: it is {kind_of(router)}; accepted: an object of hints")
    name = body.get("model", model)
    if name is None:
        raise InvalidRequest("model: Field required")
    if not isinstance(name, str):
        raise InvalidRequest(f"model: it is {kind_of(name)}; accepted: a string such as 'auto'")
    return body, name, router


def _max_tokens(body: Mapping[str, Any]) -> int:
    if "max_tokens" not in body:
        raise InvalidRequest("max_tokens: Field required")
    value = body["max_tokens"]
    if not isinstance(value, int) or isinstance(value, bool):
        raise _should_be("max_tokens", "a valid integer")
    if value < 1:
        raise _should_be("max_tokens", "greater than or equal to 1")
    return value


def _check_types(body: Mapping[str, Any]) -> None:
    for name, kinds, wanted in (
        ("system", (str, list), A_LIST),
        ("tools", (list,), A_LIST),
        ("stream", (bool,), "a valid boolean"),
        ("metadata", (dict,), AN_OBJECT),
        ("stop_sequences", (list,), A_LIST),
        ("thinking", (dict,), AN_OBJECT),
        ("tool_choice", (dict,), AN_OBJECT),
        ("output_config", (dict,), AN_OBJECT),
    ):
        value = body.get(name)
        if value is not None and not isinstance(value, kinds):
            raise _should_be(name, wanted)
    for name, kind, wanted in (
        ("system", dict, AN_OBJECT),
        ("tools", dict, AN_OBJECT),
        ("stop_sequences", str, A_STRING),
    ):
        items = body.get(name)
        for place, item in enumerate(items if isinstance(items, list) else ()):
            if not isinstance(item, kind):
                raise _should_be(f"{name}.{place}", wanted)
    for name in ("temperature", "top_p", "top_k"):
        value = body.get(name)
        if value is not None and (not isinstance(value, int | float) or isinstance(value, bool)):
            raise _should_be(name, "a valid number")


def _check_tool_names(body: Mapping[str, Any]) -> None:
    for place, tool in enumerate(body.get("tools") or ()):
        if not isinstance(tool.get("name"), str):
            raise InvalidRequest(f"tools.{place}.name: it is {kind_of(tool.get('name'))}; accepted: a string")


def _check_messages(body: Mapping[str, Any]) -> None:
    messages = body.get("messages")
    if messages is None:
        raise InvalidRequest("messages: Field required")
    if not isinstance(messages, list):
        raise _should_be("messages", A_LIST)
    if not messages:
        raise InvalidRequest("messages: at least one message is required")
    for place, message in enumerate(messages):
        if not isinstance(message, dict):
            raise _should_be(f"messages.{place}", AN_OBJECT)
        for name in ("role", "content"):
            if name not in message:
                raise InvalidRequest(f"messages.{place}.{name}: Field required")
        if not isinstance(message["role"], str):
            raise _should_be(f"messages.{place}.role", "'user' or 'assistant'")
        _check_content(f"messages.{place}", message)


def _check_content(place: str, message: Mapping[str, Any]) -> None:
    content = message["content"]
    if not isinstance(content, str | list):
        raise _should_be(f"{place}.content", A_LIST)
    for number, block in enumerate(content if isinstance(content, list) else ()):
        if not isinstance(block, dict):
            raise _should_be(f"{place}.content.{number}", AN_OBJECT)
    if not content and message["role"] == "user":
        raise InvalidRequest(
            f"{place}: all messages must have non-empty content except for the optional final assistant message"
        )


def _should_be(field: str, wanted: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: Input should be {wanted}")
