"""What is known of Claude's prompt caches for one request: what may be warm, and what is worth a marker."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cost_router.core.prompt_cache import Marks, Prefix
from cost_router.core.sessions import Session


@dataclass(slots=True)
class Warmth:
    """Read before a request is decided, used to decide it, and the beginning of what is kept after its answer."""

    session_key: str | None = None  # None where no session is kept
    session: Session | None = None  # as its last answer left it, while that is warm
    prefix: Prefix | None = None  # None where the router marks nothing
    marks: Mapping[str, Marks] = field(default_factory=dict)  # by model id, of those that have seen the prefix lately
