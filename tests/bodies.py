"""Random bodies of the Messages API that are valid as far as the router reads them, with members that it never saw."""

from typing import Any, Final

from hypothesis import strategies as st

# What the router reads, gives a meaning to or refuses by name; anything else may stand anywhere.
KNOWN: Final = frozenset(
    {
        *("model", "max_tokens", "messages", "system", "tools", "tool_choice", "stream", "metadata", "stop_sequences"),
        *("thinking", "output_config", "temperature", "top_p", "top_k", "router", "cache_control", "ttl"),
        *("speed", "inference_geo", "service_tier", "container", "billing_policy", "compaction", "fallbacks"),
        *("fallback_credit_token", "mcp_servers", "context_management", "thread", "type", "role", "content", "name"),
        *("text", "source", "input", "is_error", "id"),
    }
)
TEXT: Final = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)
NAMES: Final = TEXT.filter(lambda name: name not in KNOWN)
NUMBERS: Final = st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
JSON: Final = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
MARKERS: Final = st.fixed_dictionaries({"type": st.just("ephemeral")}, optional={"ttl": st.just("5m"), "x-new": TEXT})


def _with_unknown(known: dict[str, st.SearchStrategy[Any]], **maybe: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects with the known members and some that nobody knows, in any order."""
    mixed = st.tuples(
        st.fixed_dictionaries(known, optional=maybe),
        st.dictionaries(NAMES, JSON, max_size=2),
        st.randoms(use_true_random=False),
    )
    return mixed.map(_shuffled)


def _shuffled(parts: tuple[dict[str, Any], dict[str, Any], Any]) -> dict[str, Any]:
    members = [*parts[0].items(), *parts[1].items()]
    parts[2].shuffle(members)
    return dict(members)


TEXT_BLOCKS: Final = _with_unknown({"type": st.just("text"), "text": TEXT}, cache_control=MARKERS)
CALLS: Final = _with_unknown(
    {"type": st.just("tool_use"), "id": TEXT, "name": TEXT, "input": st.dictionaries(NAMES, JSON, max_size=2)}
)
RESULTS: Final = _with_unknown(
    {"type": st.just("tool_result"), "tool_use_id": TEXT}, content=TEXT | st.lists(TEXT_BLOCKS, max_size=2)
)
NEW_BLOCKS: Final = _with_unknown({"type": TEXT.map(lambda kind: f"new_{kind}")})
THINKING: Final = _with_unknown({"type": st.just("thinking"), "thinking": TEXT, "signature": TEXT})
CONTENT: Final = TEXT | st.lists(TEXT_BLOCKS | CALLS | RESULTS | NEW_BLOCKS | THINKING, min_size=1, max_size=3)
TURNS: Final = _with_unknown({"role": st.sampled_from(["user", "assistant", "system"]), "content": CONTENT})
LAST: Final = _with_unknown({"role": st.just("user"), "content": st.lists(TEXT_BLOCKS, min_size=1, max_size=2)})
TOOLS: Final = _with_unknown(
    {"name": TEXT, "input_schema": st.just({"type": "object"})},
    cache_control=MARKERS,
    type=st.just("custom"),
)


def bodies(model: str) -> st.SearchStrategy[dict[str, Any]]:
    """Bodies for `model`."""
    return _with_unknown(
        {
            "model": st.just(model),
            "max_tokens": st.integers(1, 64),
            "messages": st.tuples(st.lists(TURNS, max_size=3), LAST).map(lambda parts: [*parts[0], parts[1]]),
        },
        system=TEXT | st.lists(TEXT_BLOCKS, max_size=2),
        tools=st.lists(TOOLS, max_size=2),
        cache_control=MARKERS,
        metadata=_with_unknown({}),
        stop_sequences=st.lists(TEXT, max_size=2),
    )
