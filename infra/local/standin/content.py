"""The shape of messages, system, tools and cache markers, as the API checks them."""

import re
from collections.abc import Iterator
from typing import Any, Final

from infra.local.standin.errors import invalid

ROLES: Final = ("user", "assistant", "system")

# Block types and the field that each cannot do without.
_REQUIRED: Final = {
    "text": "text",
    "image": "source",
    "document": "source",
    "thinking": "thinking",
    "redacted_thinking": "data",
    "tool_use": "input",
    "tool_result": "tool_use_id",
    "search_result": "content",
    "server_tool_use": "input",
    "web_search_tool_result": "content",
    "web_fetch_tool_result": "content",
    "code_execution_tool_result": "content",
    "bash_code_execution_tool_result": "content",
    "text_editor_code_execution_tool_result": "content",
    "tool_search_tool_result": "content",
    "mcp_tool_use": "input",
    "mcp_tool_result": "content",
    "container_upload": "file_id",
    "compaction": "content",
}
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")


def check_messages(messages: object, version: str) -> None:
    """Raise the API's 400 unless `messages` is a non-empty list of well-formed messages."""
    if not isinstance(messages, list):
        raise invalid("messages: Input should be a valid list")
    if not messages:
        raise invalid("messages: at least one message is required")
    for i, message in enumerate(messages):
        _message(f"messages.{i}", message, version, last=i == len(messages) - 1)


def check_system(system: object) -> None:
    """Raise the API's 400 unless `system` is absent, a string or a list of text blocks."""
    if system is None or isinstance(system, str):
        return
    if not isinstance(system, list):
        raise invalid("system: Input should be a valid list")
    for i, block in enumerate(system):
        _block(f"system.{i}", block)
        if block["type"] != "text":
            raise invalid(f"system.{i}.type: Input should be 'text'")


def check_tools(name: str, tools: object) -> None:
    """Raise the API's 400 unless `tools` is a list of named tools; custom ones need an object schema."""
    if not isinstance(tools, list):
        raise invalid(f"{name}: Input should be a valid list")
    seen: set[str] = set()
    for i, tool in enumerate(tools):
        where = f"{name}.{i}"
        if not isinstance(tool, dict):
            raise invalid(f"{where}: Input should be an object")
        if tool.get("type") not in (None, "custom"):
            continue
        if not isinstance(tool.get("name"), str):
            raise invalid(f"{where}.custom.name: Field required")
        if not _TOOL_NAME.fullmatch(tool["name"]):
            raise invalid(f"{where}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
        if tool["name"] in seen:
            raise invalid("tools: Tool names must be unique.")
        seen.add(tool["name"])
        if not isinstance(tool.get("input_schema"), dict):
            raise invalid(f"{where}.custom.input_schema: Field required")
        if tool["input_schema"].get("type") != "object":
            raise invalid(f"{where}.custom.input_schema.type: Input should be 'object'")


def check_cache_control(name: str, marker: object) -> None:
    """Raise the API's 400 unless the marker is absent or an ephemeral one of 5m or 1h."""
    if marker is None:
        return
    if not isinstance(marker, dict):
        raise invalid(f"{name}: Input should be an object")
    if marker.get("type") != "ephemeral":
        raise invalid(f"{name}.type: Input should be 'ephemeral'")
    if marker.get("ttl", "5m") not in ("5m", "1h"):
        raise invalid(f"{name}.ttl: Input should be '5m' or '1h'")


def check_markers(body: dict[str, Any], maximum: int) -> None:
    """Raise the API's 400 for malformed, too many or wrongly ordered cache markers."""
    markers = list(_markers(body))
    for where, marker in markers:
        check_cache_control(where, marker)
    if len(markers) > maximum:
        raise invalid(f"A maximum of {maximum} blocks with cache_control may be provided. Found {len(markers)}.")
    short = False
    for where, marker in markers:
        if marker.get("ttl") == "1h" and short:
            raise invalid(
                f"{where}.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. Note "
                "that blocks are processed in the following order: `tools`, `system`, `messages`."
            )
        short = short or marker.get("ttl", "5m") == "5m"


def _markers(body: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    lists = [("tools", body.get("tools")), ("system", body.get("system"))]
    lists += [(f"messages.{i}.content", message["content"]) for i, message in enumerate(body["messages"])]
    for where, blocks in lists:
        for i, block in enumerate(blocks if isinstance(blocks, list) else []):
            if block.get("cache_control") is not None:
                yield f"{where}.{i}.cache_control", block["cache_control"]


def _message(where: str, message: object, version: str, *, last: bool) -> None:
    if not isinstance(message, dict):
        raise invalid(f"{where}: Input should be an object")
    for field in ("role", "content"):
        if field not in message:
            raise invalid(f"{where}.{field}: Field required")
    for field in message:
        if field not in ("role", "content"):
            raise invalid(f"{where}.{field}: Extra inputs are not permitted")
    if message["role"] not in ROLES:
        raise invalid(f"{where}.role: Input should be 'user' or 'assistant'")
    content = message["content"]
    if not isinstance(content, str | list):
        raise invalid(f"{where}.content: Input should be a valid list")
    for i, block in enumerate(content if isinstance(content, list) else []):
        _block(f"{where}.content.{i}", block)
        _version_rules(f"{where}.content.{i}", block, message["role"], version)
    if not content and not (last and message["role"] == "assistant"):
        raise invalid(
            f"{where}: all messages must have non-empty content except for the optional final assistant message"
        )


def _block(where: str, block: object) -> None:
    if not isinstance(block, dict):
        raise invalid(f"{where}: Input should be an object")
    if "type" not in block:
        raise invalid(f"{where}.type: Field required")
    kind = block["type"]
    if kind not in _REQUIRED:
        expected = ", ".join(f"'{name}'" for name in sorted(_REQUIRED))
        raise invalid(
            f"{where}: Input tag '{kind}' found using 'type' does not match any of the expected tags: {expected}"
        )
    if _REQUIRED[kind] not in block:
        raise invalid(f"{where}.{kind}.{_REQUIRED[kind]}: Field required")
    if kind == "text" and not isinstance(block["text"], str):
        raise invalid(f"{where}.text.text: Input should be a valid string")
    if kind == "text" and not block["text"]:
        raise invalid(f"{where.split('.', maxsplit=1)[0]}: text content blocks must be non-empty")
    if kind in ("image", "document") and not isinstance(block["source"], dict):
        raise invalid(f"{where}.{kind}.source: Input should be an object")
    if kind == "tool_result":
        _tool_result(f"{where}.tool_result.content", block.get("content"))


def _tool_result(where: str, content: object) -> None:
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, list):
        raise invalid(f"{where}: Input should be a valid list")
    for i, block in enumerate(content):
        _block(f"{where}.{i}", block)


def _version_rules(where: str, block: dict[str, Any], role: str, version: str) -> None:
    """What version 2026-10-21 stopped accepting."""
    if version < "2026-10-21":
        return
    if role == "assistant" and block["type"] == "document":
        raise invalid(f"{where}: document blocks are not permitted in assistant messages")
    if role == "user" and block["type"] == "text" and block.get("citations"):
        raise invalid(f"{where}.text.citations: Extra inputs are not permitted")
