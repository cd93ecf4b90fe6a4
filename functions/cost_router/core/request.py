"""A request as the rules see it: admitted, checked in shape, not yet decided."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from cost_router.core.ask import Ask
from cost_router.core.budget import Limits
from cost_router.core.ledger import ANSWER
from cost_router.core.pricing import REALTIME
from cost_router.core.words import Tier

SPECULATE: Final = "speculate"
CASCADE: Final = "cascade"
MAX_TOKENS: Final = "max_tokens"
NON_EMPTY: Final = "non-empty"
NO_REFUSAL: Final = "no-refusal"
JSON: Final = "json"
VERIFIER: Final = "verifier"
# Checks of a cascade's first answer (`core/cascade.py`), in the order in which they are made.
CHECKS: Final = (NON_EMPTY, NO_REFUSAL, JSON, VERIFIER)
ON: Final = "on"  # in the place of their names: all that go for the request
UNSAMPLED: Final = "unsampled"
# What a tenant's policy may switch on for all its requests: hints, and that none of them is kept as a sample.
OPTIONS: Final = (SPECULATE, CASCADE, MAX_TOKENS, UNSAMPLED)


@dataclass(frozen=True, slots=True)
class Tenant:
    """Owner of gateway keys and jobs, with its policy."""

    name: str
    label_key: bytes = field(repr=False)  # secret of its label hashes, 32 random bytes
    floor: Tier | None = None
    ceiling: Tier | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    reads_account: bool = False  # whether its keys may see what all tenants spend
    senders: frozenset[str] = frozenset()  # unique ids of the IAM principals that may drop its jobs; empty: any
    allows: frozenset[str] = frozenset()  # words of `core/guards.py`: fields that multiply the bill
    options: frozenset[str] = frozenset()  # words of `OPTIONS`: they hold for requests that say nothing else

    def takes_jobs_from(self, sender: str) -> bool:
        """Whether a principal may drop its jobs: SQS names a role as `ID:SESSION`, a user as `ID`."""
        return not self.senders or sender.partition(":")[0] in self.senders


@dataclass(frozen=True, slots=True)
class Hints:
    """What the caller asks of the router, from headers or from the body's `router` object."""

    floor: Tier | None = None
    ceiling: Tier | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    cache: bool = True  # whether the label may come from, and go to, the label cache
    session: str | None = None  # what the caller calls its conversation or agent run
    max_cost_usd: Decimal | None = None  # the most that the whole request may cost
    sample: bool = True  # whether it may be kept as a sample, where samples are kept
    # What follows is None where the tenant's policy decides.
    speculate: bool | None = None  # whether haiku may begin to answer while the label is not known yet
    cascade: tuple[str, ...] | None = None  # checks of an answer of the lowest tier, or `ON`; empty: no such answer
    max_tokens: bool | None = None  # whether the label's ceiling on `max_tokens` may be applied


@dataclass(frozen=True, slots=True)
class Request:
    """One request for an answer, from HTTPS or from the queue."""

    id: str
    tenant: Tenant
    model: str  # `auto`, a tier's word, or a model's name
    max_tokens: int
    body: Mapping[str, Any] = field(repr=False)  # as the client sent it, without `router`
    body_bytes: int
    ask: Ask = field(repr=False)
    hints: Hints
    headers: Mapping[str, str]  # anthropic-version and anthropic-beta of the caller
    deadline: float  # on the monotonic clock, seconds; of an answer that is streamed: when its content must have begun
    stream_deadline: float = 0.0  # the same clock: when an answer that is streamed must have ended
    processing: str = REALTIME  # how its answer will be asked for: `realtime` or `batch`
    job: str | None = None  # "GROUP/CUSTOM_ID", when it is one
    purpose: str = ANSWER  # what its answer is for: `answer`, or `judge` when it is about other answers

    @property
    def streamed(self) -> bool:
        """Whether the caller wants events."""
        return self.body.get("stream") is True

    @property
    def over_at(self) -> float:
        """When nobody works on the request any more, booking apart."""
        return max(self.deadline, self.stream_deadline) if self.streamed else self.deadline

    def wants(self, option: str) -> bool:
        """Whether a hint of `OPTIONS` is on: as the caller says, else as the tenant's policy does."""
        said = getattr(self.hints, option)
        return bool(said) if said is not None else option in self.tenant.options

    @property
    def may_be_sampled(self) -> bool:
        """Whether neither its caller nor its tenant's policy says that it is not to be kept."""
        return self.hints.sample and UNSAMPLED not in self.tenant.options

    @property
    def tags(self) -> dict[str, str]:
        """Tags of the tenant and of the request; the tenant's win, so that a caller cannot book on others."""
        return {**self.hints.tags, **self.tenant.tags}
