"""What the rules reach of the world, as one value: adapters in a function, fakes in a test."""

from dataclasses import dataclass

from cost_router.core.ports import Chance, Claude, Clock, LabelStore, Ledger, RequestLog, Telemetry, Tenants


@dataclass(frozen=True, slots=True)
class Outside:
    """Everything outside the rules."""

    claude: Claude
    labels: LabelStore
    ledger: Ledger
    tenants: Tenants
    telemetry: Telemetry
    clock: Clock
    chance: Chance
    requests: RequestLog | None = None  # of the HTTPS entrance only
