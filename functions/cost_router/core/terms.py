"""What sets the price of a request beside its tokens: speed, geography, searches on the web.

Sources: platform.claude.com/docs/en/build-with-claude/fast-mode, .../manage-claude/data-residency and
.../agents-and-tools/tool-use/web-search-tool. What is not priced here is refused by name: better than a wrong figure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cost_router.core.errors import InvalidRequest, quoted

STANDARD: Final = "standard"
FAST: Final = "fast"
SPEEDS: Final = (STANDARD, FAST)
GLOBAL: Final = "global"
GEOGRAPHIES: Final = (GLOBAL, "us")
# Versions from 20260209 on filter what they find by code execution, which is then free of charge.
WEB_SEARCH: Final = frozenset({"web_search_20250305", "web_search_20260209", "web_search_20260318"})
# Client tools cost tokens only. Source: platform.claude.com/docs/en/agents-and-tools/tool-use
UNBILLED_TOOLS: Final = ("bash_", "text_editor_", "computer_", "memory_")


@dataclass(frozen=True, slots=True)
class Terms:
    """What a request asks for, as its price depends on it."""

    speed: str = STANDARD
    inference_geo: str | None = None  # None: where the workspace's default says, which is not known here
    web_searches: int = 0  # at the most


def read_terms(body: Mapping[str, Any]) -> Terms:
    """The terms of a Messages API body whose `tools` are objects; raises `InvalidRequest` for what is not priced."""
    tools = body.get("tools")
    return Terms(
        speed=_one_of(body, "speed", SPEEDS) or STANDARD,
        inference_geo=_one_of(body, "inference_geo", GEOGRAPHIES),
        web_searches=sum(_searches(place, tool) for place, tool in enumerate(tools if isinstance(tools, list) else ())),
    )


def _one_of(body: Mapping[str, Any], name: str, accepted: tuple[str, ...]) -> str | None:
    value = body.get(name)
    if value is not None and value not in accepted:
        raise InvalidRequest(f"{name}: no price is known for {quoted(value)}; accepted: {', '.join(accepted)}")
    return value


def _searches(place: int, tool: Mapping[str, Any]) -> int:
    """How often a tool may search; 0 for tools that cost tokens only."""
    kind = tool.get("type") or "custom"
    if not isinstance(kind, str) or not (kind == "custom" or kind in WEB_SEARCH or kind.startswith(UNBILLED_TOOLS)):
        raise InvalidRequest(
            f"tools.{place}.type: {quoted(kind)} may be billed apart from tokens, which is not priced here; accepted: "
            f"custom tools, the bash, text editor, computer and memory tools, {', '.join(sorted(WEB_SEARCH))}"
        )
    if kind not in WEB_SEARCH:
        return 0
    most = tool.get("max_uses")
    if not isinstance(most, int) or isinstance(most, bool) or most < 1:
        raise InvalidRequest(
            f"tools.{place}.max_uses: {quoted(most)}; accepted: a whole number of at least 1, because each search is "
            "billed and a request without a limit has no upper bound"
        )
    return most
