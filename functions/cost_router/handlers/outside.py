"""What the rules reach of the world, as one value: adapters in a function, fakes in a test."""

from collections.abc import Callable
from dataclasses import dataclass

from cost_router.adapters.plans import Makers
from cost_router.core.arms import Arm
from cost_router.core.ports import Chance, Claude, Clock, LabelStore, Ledger, RequestLog, Telemetry, Tenants
from cost_router.core.routing_ports import Plans, PrefixStore, SessionStore
from cost_router.core.sampling import Sampler


@dataclass(frozen=True, slots=True)
class Outside:
    """Everything outside the rules."""

    claude: Claude
    labels: LabelStore
    ledger: Ledger
    tenants: Tenants
    plans: Callable[[Arm, Makers], Plans]  # given how requests are decided without settings
    telemetry: Telemetry
    clock: Clock
    chance: Chance
    sessions: SessionStore
    prefixes: PrefixStore
    requests: RequestLog | None = None  # of the HTTPS entrance only
    sampler: Sampler | None = None  # the same, where samples are kept
