"""What sets the price of a request beside its tokens: speed, geography, searches on the web.

Sources: platform.claude.com/docs/en/build-with-claude/fast-mode, .../manage-claude/data-residency and
.../agents-and-tools/tool-use/web-search-tool. What is not priced here is refused by name: better than a wrong figure.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cost_router.core.errors import InvalidRequest, quoted

STANDARD: Final = "standard"
FAST: Final = "fast"
SPEEDS: Final = (STANDARD, FAST)
GLOBAL: Final = "global"
GEOGRAPHIES: Final = (GLOBAL, "us")
FIVE_MINUTES: Final = "5m"
ONE_HOUR: Final = "1h"
THREAD: Final = "thread"  # what the API adds by itself may have markers of its own
MARKER: Final = "cache_control"
OWN_JSON: Final = frozenset({"input", "input_schema", "input_examples", "schema"})  # the caller's: no marker in it
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
    cached_for: str | None = ONE_HOUR  # the longest that a cache marker asks for; None: there is no marker


def read_terms(body: Mapping[str, Any]) -> Terms:
    """The terms of a Messages API body whose `tools` are objects; raises `InvalidRequest` for what is not priced."""
    tools = body.get("tools")
    return Terms(
        speed=_one_of(body, "speed", SPEEDS) or STANDARD,
        inference_geo=_one_of(body, "inference_geo", GEOGRAPHIES),
        web_searches=sum(_searches(place, tool) for place, tool in enumerate(tools if isinstance(tools, list) else ())),
        cached_for=_cached_for(body),
    )


def _cached_for(body: Mapping[str, Any]) -> str | None:
    """A time that is not known counts as an hour, the dearest."""
    times = {ttl == FIVE_MINUTES for _, ttl in cache_markers(body)}
    if body.get(THREAD) or False in times:
        return ONE_HOUR
    return FIVE_MINUTES if times else None


def cache_markers(value: object) -> Iterator[tuple[str, object]]:
    """Where a body marks its prompt for the cache, such as `system.0.cache_control`, and for how long.

    Wherever they stand: at the top (automatic caching), in system, tools and messages, inside tool results and
    documents. Source: platform.claude.com/docs/en/build-with-claude/prompt-caching
    """
    if isinstance(value, Mapping):
        marker = value.get(MARKER)
        if isinstance(marker, Mapping):
            yield MARKER, FIVE_MINUTES if marker.get("ttl") is None else marker["ttl"]
    for name, child in _members(value):
        if isinstance(child, Mapping | list) and name not in OWN_JSON:
            for path, ttl in cache_markers(child):
                yield f"{name}.{path}", ttl


def _members(value: object) -> Iterable[tuple[object, Any]]:
    if isinstance(value, Mapping):
        return value.items()
    return enumerate(value) if isinstance(value, list) else ()


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
