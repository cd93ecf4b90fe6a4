"""What the API checks in the shape of a request, with messages worded as the API words them.

`check` reads headers' worth of facts (version, betas) and the body; the messages' own shape is in `content.py`, what
the chosen model refuses is in `fitness.py`. Not checked: that every `tool_use` has its `tool_result`.
"""

from collections.abc import Callable
from typing import Any, Final

from infra.local.standin import content, fitness, terms
from infra.local.standin.errors import ApiError, invalid
from infra.local.standin.models import Model, find

OLD_VERSION: Final = "2023-06-01"
NEW_VERSION: Final = "2026-10-21"
SAMPLING: Final = ("temperature", "top_p", "top_k")
EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")
MAX_CACHE_MARKERS: Final = 4

_COUNTED_FIELDS = frozenset(
    {
        "cache_control",
        "messages",
        "model",
        "output_config",
        "speed",
        "system",
        "thinking",
        "tool_choice",
        "tools",
        "user_profile_id",
        "workspace_id",
    }
)
_FIELDS = _COUNTED_FIELDS | {
    "container",
    "diagnostics",
    "inference_geo",
    "max_tokens",
    "metadata",
    "service_tier",
    "stop_sequences",
    "stream",
}
_BETA_FIELDS = frozenset(
    {
        "billing_policy",
        "compaction",
        "context_management",
        "fallback_credit_token",
        "fallbacks",
        "mcp_servers",
        "output_format",
        "thread",
    }
)


def version(header: str | None) -> str:
    """The API version that was asked for; raises the API's 400 for none or an unknown one."""
    if not header:
        raise invalid("anthropic-version: header is required")
    if header not in (OLD_VERSION, NEW_VERSION):
        raise invalid(f'anthropic-version: "{header}" is not a valid version')
    return header


def beta(header: str | None, needed: str) -> None:
    """Raise the API's 400 unless the beta that the endpoint needs is among those of the header."""
    if needed not in [name.strip() for name in (header or "").split(",")]:
        raise invalid(f"anthropic-beta: this endpoint requires {needed}")


def check(
    body: object, *, version: str, beta: str, counting: bool, switches: fitness.Switches
) -> tuple[dict[str, Any], Model]:
    """Raise `ApiError` for what the API would refuse; else the body, and the model that is to answer."""
    if not isinstance(body, dict):
        raise invalid("Input should be an object")
    _known_fields(body, version=version, beta=beta, counting=counting)
    for name in ("model", "messages") if counting else ("model", "max_tokens", "messages"):
        if name not in body:
            raise invalid(f"{name}: Field required")
    for name, value in body.items():
        _CHECKS.get(name, _anything)(name, value)
    content.check_messages(body["messages"], version)
    content.check_system(body.get("system"))
    content.check_markers(body, MAX_CACHE_MARKERS)
    _tool_choice(body)
    model = find(body["model"])
    if model is None:
        raise ApiError(404, f"model: {body['model']}")
    fitness.check(body, model, switches)
    terms.check(body, model, beta)
    return body, model


def _known_fields(body: dict[str, Any], *, version: str, beta: str, counting: bool) -> None:
    known = _COUNTED_FIELDS if counting else _FIELDS
    if version == OLD_VERSION and not counting:
        known = known | frozenset(SAMPLING)
    if beta:
        known = known | _BETA_FIELDS
    for name in body:
        if name not in known:
            raise invalid(f"{name}: Extra inputs are not permitted")


def _anything(_name: str, _value: object) -> None:
    """Fields whose content plays no part here."""


def _string(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise invalid(f"{name}: Input should be a valid string")
    if not value:
        raise invalid(f"{name}: String should have at least 1 character")


def _positive(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise invalid(f"{name}: Input should be a valid integer")
    if value < 1:
        raise invalid(f"{name}: Input should be greater than or equal to 1")


def _number(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid(f"{name}: Input should be a valid number")


def _boolean(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise invalid(f"{name}: Input should be a valid boolean")


def _object(name: str, value: object) -> None:
    if not isinstance(value, dict):
        raise invalid(f"{name}: Input should be an object")


def _strings(name: str, value: object) -> None:
    if not isinstance(value, list):
        raise invalid(f"{name}: Input should be a valid list")
    for i, item in enumerate(value):
        if not isinstance(item, str):
            raise invalid(f"{name}.{i}: Input should be a valid string")


def _thinking(name: str, value: object) -> None:
    kinds = ("adaptive", "between_tools", "disabled", "enabled")
    _object(name, value)
    kind = value.get("type") if isinstance(value, dict) else None
    if kind not in kinds:
        raise invalid(f"{name}: Input tag '{kind}' found using 'type' does not match any of the expected tags: {kinds}")


def _output_config(name: str, value: object) -> None:
    _object(name, value)
    fields: dict[str, Any] = value if isinstance(value, dict) else {}
    for field in fields:
        if field not in ("effort", "format"):
            raise invalid(f"{name}.{field}: Extra inputs are not permitted")
    if fields.get("effort") not in (None, *EFFORTS):
        raise invalid(f"{name}.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'")
    output_format = fields.get("format")
    if output_format is None:
        return
    _object(f"{name}.format", output_format)
    if output_format.get("type") != "json_schema":
        raise invalid(f"{name}.format.type: Input should be 'json_schema'")
    if not isinstance(output_format.get("schema"), dict):
        raise invalid(f"{name}.format.schema: Field required")
    _closed_objects(f"{name}.format.schema", output_format["schema"])


def _closed_objects(name: str, schema: object) -> None:
    """Structured outputs take closed objects only."""
    if isinstance(schema, list):
        for item in schema:
            _closed_objects(name, item)
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        raise invalid(f"{name}: For 'object' type, 'additionalProperties' must be explicitly set to false")
    for key, item in schema.items():
        if key in ("properties", "$defs", "definitions") and isinstance(item, dict):
            _closed_objects(name, list(item.values()))
        elif key not in ("enum", "const", "default", "examples"):
            _closed_objects(name, item)


def _tool_choice(body: dict[str, Any]) -> None:
    choice = body.get("tool_choice")
    if choice is None:
        return
    kinds = ("any", "auto", "none", "tool")
    if choice.get("type") not in kinds:
        raise invalid(f"tool_choice: Input tag '{choice.get('type')}' does not match any of the expected tags: {kinds}")
    if not body.get("tools"):
        raise invalid("tool_choice: tool_choice may only be specified while providing tools.")
    names = [tool.get("name") for tool in body["tools"]]
    if choice["type"] == "tool" and "name" not in choice:
        raise invalid("tool_choice.tool.name: Field required")
    if choice["type"] == "tool" and choice["name"] not in names:
        raise invalid(f"Tool '{choice['name']}' not found in provided tools")


_CHECKS: dict[str, Callable[[str, object], None]] = {
    "model": _string,
    "max_tokens": _positive,
    "stream": _boolean,
    "metadata": _object,
    "stop_sequences": _strings,
    "temperature": _number,
    "top_p": _number,
    "top_k": _number,
    "thinking": _thinking,
    "output_config": _output_config,
    "tool_choice": _object,
    "tools": content.check_tools,
    "cache_control": content.check_cache_control,
}
