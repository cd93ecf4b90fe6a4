"""Fields that multiply the bill: each takes a permission in the policy of the tenant, and no tenant has one by default.

What a permission lets through is priced (`core/pricing.py`); what has no price is refused to everybody
(`core/terms.py`, `core/capability.py`). A field that is left out is never refused. `service_tier` changes no price
here: capacity that was bought in advance is booked at list price, as the catalogue knows no other.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from cost_router.core.errors import InvalidRequest, quoted
from cost_router.core.request import Tenant
from cost_router.core.terms import FIVE_MINUTES, GLOBAL, STANDARD, WEB_SEARCH, cache_markers

SPEED: Final = "speed"
CACHE_1H: Final = "cache_1h"
SEARCH: Final = "web_search"
SERVICE_TIER: Final = "service_tier"
INFERENCE_GEO: Final = "inference_geo"

# Word of a policy -> what the field does to the bill, and what needs no permission.
GUARDED: Final[Mapping[str, tuple[str, str]]] = {
    SPEED: ("multiplies the price of every token", f"'{STANDARD}'"),
    CACHE_1H: ("writes to the cache at up to twice the price of input", f"'{FIVE_MINUTES}'"),
    SEARCH: ("is billed by the search, and what is found as input", "tools that cost tokens only"),
    SERVICE_TIER: ("may use capacity that is priced apart", "'standard_only'"),
    INFERENCE_GEO: ("may multiply the price of every token", f"'{GLOBAL}'"),
}
_FREE: Final = {SPEED: STANDARD, SERVICE_TIER: "standard_only", INFERENCE_GEO: GLOBAL}


def check(body: Mapping[str, Any], tenant: Tenant) -> None:
    """Raise `InvalidRequest` for the first guarded field of a Messages API body that the tenant may not use."""
    for word, path, value in _found(body):
        if word not in tenant.allows:
            does, accepted = GUARDED[word]
            allow = ",".join(sorted({*tenant.allows, word}))
            raise InvalidRequest(
                f"{path}: {quoted(value)} {does}, which is not allowed for tenant {tenant.name!r}; accepted: "
                f"{accepted}, or a tenant that may (cost-router keys set {tenant.name} --allow {allow})"
            )


def permissions(words: Iterable[str]) -> frozenset[str]:
    """The permissions that these words of a policy give; raises `ValueError` with what is accepted."""
    found = frozenset(words)
    unknown = sorted(found - GUARDED.keys())
    if unknown:
        raise ValueError(f"{quoted(unknown[0])} names no field that is guarded; accepted: {', '.join(GUARDED)}")
    return found


def _found(body: Mapping[str, Any]) -> Iterator[tuple[str, str, object]]:
    """Each guarded field of a body: its word in a policy, its path, its value."""
    for name, free in _FREE.items():
        if body.get(name) not in (None, free):
            yield name, name, body[name]
    tools = body.get("tools")
    for place, tool in enumerate(tools if isinstance(tools, list) else ()):
        kind = tool.get("type") if isinstance(tool, Mapping) else None
        if isinstance(kind, str) and kind in WEB_SEARCH:
            yield SEARCH, f"tools.{place}.type", kind
    for path, ttl in cache_markers(body):
        if ttl != FIVE_MINUTES:
            yield CACHE_1H, f"{path}.ttl", ttl
