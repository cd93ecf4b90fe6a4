"""What changes the price beside tokens, refused and reported as the API does: speed, geography, searches on the web.

The marker `[[search:2]]` in the last user text makes the stand-in search twice, if the request has the web search tool;
one search more than `max_uses` allows is answered by the API's error and not billed. Each search adds 400 input tokens.
`usage` tells speed and geography when the request named them. The refusals' wordings are ours: none is on record.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from infra.local.standin.errors import invalid
from infra.local.standin.labels import last_user_text
from infra.local.standin.models import Model

FAST_BETA: Final = "fast-mode-2026-02-01"
SPEEDS: Final = ("standard", "fast")
GEOGRAPHIES: Final = ("global", "us")
WEB_SEARCH: Final = ("web_search_20250305", "web_search_20260209", "web_search_20260318")
RESULT_TOKENS: Final = 400  # input tokens that one search adds
QUERY_TOKENS: Final = 20  # output tokens that asking for one takes
_MARKER: Final = re.compile(r"\[\[search:([1-9])\]\]")


@dataclass(frozen=True, slots=True)
class Searched:
    """What was searched on the way to an answer."""

    blocks: list[dict[str, Any]]
    requests: int = 0  # billed

    @property
    def input_tokens(self) -> int:
        """Tokens of what was found."""
        return self.requests * RESULT_TOKENS

    @property
    def output_tokens(self) -> int:
        """Tokens of what was asked."""
        return len(self.blocks) // 2 * QUERY_TOKENS


def check(body: dict[str, Any], model: Model, beta: str) -> None:
    """Raise the 400 that the API gives."""
    speed = _one_of("speed", body.get("speed"), SPEEDS)
    if speed and model.fast == "beta" and FAST_BETA not in beta:
        raise invalid("speed: Extra inputs are not permitted")
    if speed == "fast" and not model.fast:
        raise invalid('"speed": "fast" is not supported for this model.')
    if _one_of("inference_geo", body.get("inference_geo"), GEOGRAPHIES) and not model.geographies:
        raise invalid("inference_geo is not supported for this model.")
    for place, tool in enumerate(body.get("tools") or []):
        if tool.get("type") in WEB_SEARCH:
            _check_search(f"tools.{place}.{tool['type']}", tool)


def _check_search(where: str, tool: dict[str, Any]) -> None:
    if tool.get("name") != "web_search":
        raise invalid(f"{where}.name: Input should be 'web_search'")
    most = tool.get("max_uses")
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
        raise invalid(f"{where}.max_uses: Input should be greater than or equal to 1")


def _one_of(name: str, value: object, accepted: tuple[str, ...]) -> object:
    if value is not None and value not in accepted:
        raise invalid(f"{name}: Input should be {' or '.join(map(repr, accepted))}")
    return value


def search(body: dict[str, Any], ids: Callable[[str], str]) -> Searched:
    """The searches that the marker asks for, as far as the tool allows them."""
    tool = next((tool for tool in body.get("tools") or [] if tool.get("type") in WEB_SEARCH), None)
    marker = _MARKER.search(last_user_text(body))
    if tool is None or marker is None:
        return Searched([])
    wanted, most = int(marker.group(1)), tool.get("max_uses") or int(marker.group(1))
    blocks = [block for number in range(min(wanted, most + 1)) for block in _one(ids, found=number < most)]
    return Searched(blocks, min(wanted, most))


def _one(ids: Callable[[str], str], *, found: bool) -> list[dict[str, Any]]:
    use = ids("srvtoolu")
    result = {
        "type": "web_search_result",
        "url": "https://example.com/stand-in",
        "title": "Simulated",
        "page_age": None,
    }
    content: Any = [result | {"encrypted_content": "simulated"}]
    if not found:
        content = {"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"}
    return [
        {"type": "server_tool_use", "id": use, "name": "web_search", "input": {"query": "simulated"}},
        {"type": "web_search_tool_result", "tool_use_id": use, "content": content},
    ]


def usage(body: dict[str, Any], searched: Searched) -> dict[str, Any]:
    """What `usage` tells beside tokens."""
    told = {name: body[name] for name in ("speed", "inference_geo") if body.get(name) is not None}
    if searched.blocks:
        told["server_tool_use"] = {"web_search_requests": searched.requests, "web_fetch_requests": 0}
    return told
