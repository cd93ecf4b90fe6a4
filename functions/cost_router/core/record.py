"""What is told about one finished request or job: the source of its log line and its metrics."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from cost_router.core.ledger import Bill, Shadow
from cost_router.core.pricing import Usage
from cost_router.core.words import Label, Tier

REQUEST: Final = "request"  # for an answer, over HTTPS
SPECULATION_USED: Final = "used"
SPECULATION_ABANDONED: Final = "abandoned"  # and paid for, or perhaps


@dataclass(slots=True)
class Record:
    """Filled while the request runs; no field ever holds text of a prompt or an answer."""

    request_id: str
    tenant: str
    tags: Mapping[str, str]
    kind: str = REQUEST  # or "route", "job", "batches", "count_tokens", "feedback", "models", "receipt", "spend"
    job: str | None = None  # "GROUP/CUSTOM_ID"
    lane: str | None = None  # of a job: "direct" or "batch"
    label: Label | None = None
    cause: str | None = None
    tier: Tier | None = None
    model: str | None = None
    usage: Usage = field(default_factory=Usage)  # of the answer
    bill: Bill = field(default_factory=Bill)
    spend_today_usd: Decimal | None = None
    status: int = 200
    error: str | None = None  # the error's type, never its message
    cache: str | None = None  # "hit" or "miss"; None when no label was looked up
    arm: str | None = None  # which way to decide was taken, while there is a choice: "control" or "candidate"
    shadow: Shadow | None = None  # what a candidate that only looks on would have done
    classifier_ms: float | None = None
    classifier_failed: bool = False
    classifier_skipped: bool = False  # it had failed too often to be asked
    speculation: str | None = None  # what became of a call that began beside the classifier: "used" or "abandoned"
    fallback: bool = False
    cascade: str | None = None  # of a cascade's first answer: "kept", or the check that it failed
    escalated: bool = False  # whether another answer was given in its place
    rate_limits: int = 0  # 429 and 529 answers met on the way
    ambiguous: int = 0  # calls booked at their upper bound, those apart that were begun early and given up
    answers: int = 0  # calls for the answer that were, or may have been, paid for
    unreserved: int = 0  # calls made though nothing could be put aside for them
    upstream_request_id: str | None = None
    adapted: tuple[str, ...] = ()  # what of the body was changed for the model
    began: float = 0.0  # on the monotonic clock, of a request over HTTPS
    latency_ms: float = 0.0
    # Of a job: "done", "failed", "canceled", "deferred", "parked", "held", "set_aside" or "already_done"; of a batch
    # over HTTPS whose lines were put on the queue: "unpacked".
    outcome: str | None = None


@dataclass(slots=True)
class Collected:
    """What the collector has seen in one round; None where it could not look."""

    spend_today_usd: Decimal | None = None  # of the account's UTC day
    spend_month_usd: Decimal | None = None
    swept: int = 0  # reservations booked as ambiguous payments
    steps: int = 0  # steps of tenants' budgets that were reached
