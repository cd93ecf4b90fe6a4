"""What an operator may choose at deploy time, read from the CDK context and checked before anything is made.

`cdk deploy -c env=prod -c daily_budget_usd=50 -c alert_email=ops@example.com`, or the same names in `cdk.json` under
"context". Values from the command line are always strings. A bad value raises `BadConfig`, which quotes it.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

LINEUPS: Final = Path(__file__).parents[2] / "functions" / "cost_router" / "data" / "lineups.json"
PROVIDERS: Final = ("anthropic", "aws")
WITHOUT_STORE: Final = ("refuse", "allow")
BUDGETS: Final = ("daily_budget_usd", "monthly_budget_usd", "session_budget_usd")
LOG_RETENTION_DAYS: Final = (1, 3, 5, 7, 14, 30, 60, 90, 120, 180, 365, 731, 1096, 1827, 3653)  # CloudWatch's own
STREAM_SECONDS: Final = 900  # API Gateway's and Lambda's limit for a streamed answer
BUFFERED_SECONDS: Final = 29  # API Gateway's default quota
RAISED_SECONDS: Final = 300  # what an operator may have had that quota raised to
# Whole numbers: least and most.
RANGES: Final = {
    "max_body_bytes": (1_000, 6_000_000),
    "label_ttl_days": (1, 365),
    "results_ttl_days": (1, 3_650),
    "job_concurrency": (1, 100),
    "job_functions": (2, 1_000),  # SQS's own limits on an event source's concurrency
    "job_seconds": (60, 900),  # booking and delivering take some; Lambda's longest
    "headroom_percent": (0, 90),
    "session_rpm": (0, 10_000),
    "sample_percent": (0, 100),
    "throttle_rate": (1, 10_000),
    "throttle_burst": (1, 5_000),
}
WIDEST_BAND: Final = 10  # standard deviations: past it nothing would ever ring
MARGIN_SECONDS: Final = 5  # for a cold start before the app's clock, and for booking after a call was given up
OUR_KEY: Final = re.compile(r"[a-z][a-z0-9_]*")  # CDK's own context keys have a colon, a slash or a dash


class BadConfig(ValueError):
    """A deploy-time value is not acceptable; the message quotes it and says what is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One environment."""

    env: str = "dev"  # name of the environment: API stage, metric dimension, part of the stack's name
    lineup: str = "current"  # a name in data/lineups.json
    provider: str = "anthropic"  # or "aws": Claude Platform on AWS, signed with the functions' roles
    workspace_id: str = ""  # of Claude Platform on AWS; provider aws only
    upstream_url: str = ""  # base URL of the Claude API; empty = the SDK's own
    public_url: str = ""  # base URL that callers use, if not the stage's own; {api} stands for the API's id
    streaming: bool = True  # uvicorn behind the Lambda Web Adapter; False = Mangum, buffered
    gateway_timeout_seconds: int = 0  # 0 = 900 streaming, 29 buffered; buffered, up to 300 with a raised quota
    deadline_seconds: int = 0  # of one HTTPS request; 0 = 5 s before the gateway gives up: 895 streaming, 24 buffered
    stream_deadline_seconds: int = 0  # the same for an answer that is streamed
    classifier_deadline_seconds: Decimal = Decimal(3)
    max_body_bytes: int = 5_000_000  # Lambda takes 6 MB of event, with the body escaped inside
    label_ttl_days: int = 7
    results_ttl_days: int = 30
    job_concurrency: int = 10  # calls in flight in one batch invocation
    job_functions: int = 5  # batch invocations at a time, which share the account's limits
    job_seconds: int = 900  # that a batch invocation may take; a job's call has to end within it
    headroom_percent: int = 20  # of the account's limits, which bulk work leaves to interactive traffic
    throttle_rate: int = 50  # requests a second, all callers together
    throttle_burst: int = 100
    daily_budget_usd: Decimal | None = None  # of the account's UTC day: alarms at 50, 80 and 100 %, then the ladder
    monthly_budget_usd: Decimal | None = None  # the same for the UTC month
    session_budget_usd: Decimal | None = None  # of one session (x-router-session) in a UTC day, if its tenant has none
    session_rpm: int = 0  # requests of one session in a minute; 0 = any number
    ladder: str = "80,95"  # percent of a budget from which sonnet, and from which haiku, is the highest tier
    without_store: str = "refuse"  # or "allow" calls while the table of budgets cannot be reached
    reconcile: bool = False  # compare the ledger with the bill every day; makes a secret for an Admin API key
    bill_workspace_id: str = ""  # compare with one workspace's bill; empty = the whole organisation's
    bill_api_key_id: str = ""  # the same, of one API key: its id in the Console, not the key
    spend_anomaly: Decimal | None = Decimal(3)  # width of the band of expected spend, in standard deviations; or none
    alert_email: str = ""
    log_retention_days: int = 30
    # Of the requests with model `auto`, kept with prompt and answer for 30 days in the results bucket; 0 = none are.
    sample_percent: int = 0
    retain_data: bool = True  # keep ledger, tenants and results when the stack is removed
    domain_examples: str = ""  # path of a JSON file that adds examples to the classifier's rubric
    discounts: str = ""  # path of a JSON file of negotiated discounts: infra/catalogue/discounts.py
    local: bool = False  # bundle the source only: the emulator's interpreter has the dependencies

    def __post_init__(self) -> None:
        """Fill in what follows from other fields, then check every field."""
        gateway = self.gateway_timeout_seconds or (STREAM_SECONDS if self.streaming else BUFFERED_SECONDS)
        object.__setattr__(self, "gateway_timeout_seconds", gateway)
        for name in ("deadline_seconds", "stream_deadline_seconds"):
            object.__setattr__(self, name, getattr(self, name) or gateway - MARGIN_SECONDS)
        _check(self)

    @classmethod
    def from_context(cls, context: Mapping[str, Any]) -> "Config":
        """The config in a CDK context; keys that look like ours but are not are refused, so no typo goes unseen."""
        known = {field.name for field in fields(cls)}
        ours = {key: value for key, value in context.items() if OUR_KEY.fullmatch(key) and value is not None}
        for key in ours.keys() - known:
            raise BadConfig(f"context {key}={ours[key]!r}: unknown name; accepted: {', '.join(sorted(known))}")
        return cls(**{key: _READ[str(cls.__annotations__[key])](key, value) for key, value in ours.items()})


def _check(config: Config) -> None:
    c = config
    for name, (least, most) in RANGES.items():
        _require(c, name, least <= getattr(c, name) <= most, f"{least} to {most}")
    lineups = tuple(json.loads(LINEUPS.read_text(encoding="utf-8")))
    _require(c, "env", re.fullmatch(r"[a-z][a-z0-9-]{0,23}", c.env), "up to 24 of a-z, 0-9 and -, a letter first")
    _require(c, "lineup", c.lineup in lineups, ", ".join(lineups))
    _require(c, "provider", c.provider in PROVIDERS, ", ".join(PROVIDERS))
    fits = re.fullmatch(r"wrkspc_[A-Za-z0-9]+", c.workspace_id) if c.provider == "aws" else not c.workspace_id
    _require(c, "workspace_id", fits, "wrkspc_... with provider aws, nothing with provider anthropic")
    _require(c, "upstream_url", re.fullmatch(r"(https?://\S+)?", c.upstream_url), "http(s)://..., or nothing")
    _require(c, "public_url", re.fullmatch(r"(https?://\S+)?", c.public_url), "http(s)://..., or nothing")
    slowest = STREAM_SECONDS if c.streaming else RAISED_SECONDS
    _require(c, "gateway_timeout_seconds", 10 <= c.gateway_timeout_seconds <= slowest, f"10 to {slowest}")  # noqa: PLR2004  seconds
    below = c.gateway_timeout_seconds - 1
    at_the_most = f"1 to {below}, before the gateway gives up"
    _require(c, "deadline_seconds", 1 <= c.deadline_seconds <= below, at_the_most)
    _require(c, "stream_deadline_seconds", 1 <= c.stream_deadline_seconds <= below, at_the_most)
    longest = c.deadline_seconds
    _require(c, "classifier_deadline_seconds", 0 < c.classifier_deadline_seconds < longest, f"above 0, below {longest}")
    for name in BUDGETS:
        _require(c, name, getattr(c, name) is None or getattr(c, name) > 0, "dollars above 0, or nothing for no budget")
    fits = not (c.reconcile and c.provider == "aws")
    _require(c, "reconcile", fits, "false with provider aws, for which there is no such report")
    for name, kind in (("bill_workspace_id", "wrkspc_"), ("bill_api_key_id", "apikey_")):
        fits = re.fullmatch(rf"({kind}[A-Za-z0-9]+)?", getattr(c, name)) and (c.reconcile or not getattr(c, name))
        _require(c, name, fits, f"{kind}... with reconcile=true, or nothing")
    _require(c, "ladder", _rises(c.ladder), "two rising percentages below 100, such as 80,95")
    _require(c, "without_store", c.without_store in WITHOUT_STORE, ", ".join(WITHOUT_STORE))
    fits = c.spend_anomaly is None or 0 < c.spend_anomaly <= WIDEST_BAND
    _require(c, "spend_anomaly", fits, f"standard deviations above 0, up to {WIDEST_BAND}, or nothing for no alarm")
    _require(c, "alert_email", re.fullmatch(r"([^@\s]+@[^@\s]+\.[^@\s]+)?", c.alert_email), "an address, or nothing")
    days = ", ".join(map(str, LOG_RETENTION_DAYS))
    _require(c, "log_retention_days", c.log_retention_days in LOG_RETENTION_DAYS, days)
    for name in ("domain_examples", "discounts"):
        path = getattr(c, name)
        _require(c, name, not path or Path(path).is_file(), "path of a JSON file, or nothing")


def _rises(ladder: str) -> bool:
    """Whether a ladder's steps are two percentages, the second above the first."""
    steps = re.fullmatch(r"([0-9]{1,2}(?:\.[0-9]+)?),([0-9]{1,2}(?:\.[0-9]+)?)", ladder)
    return steps is not None and 0 < Decimal(steps[1]) < Decimal(steps[2])


def _require(config: Config, name: str, holds: object, accepted: str) -> None:
    if not holds:
        raise BadConfig(f"context {name}={_shown(getattr(config, name))}; accepted: {accepted}")


def _shown(value: object) -> str:
    return str(value) if isinstance(value, Decimal) else repr(value)


def _bool(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() in {"true", "false"}:
        return str(value).lower() == "true"
    raise BadConfig(f"context {name}={value!r}; accepted: true, false")


def _int(name: str, value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if re.fullmatch(r"[0-9]{1,9}", str(value)):
        return int(str(value))
    raise BadConfig(f"context {name}={value!r}; accepted: a whole number")


def _decimal(name: str, value: object) -> Decimal:
    """Numbers of JSON arrive as floats; their shortest text is what the operator wrote."""
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise BadConfig(f"context {name}={value!r}; accepted: a decimal number")
    return number


def _optional_decimal(name: str, value: object) -> Decimal | None:
    return None if value == "" else _decimal(name, value)


def _str(name: str, value: object) -> str:
    if isinstance(value, str):
        return value.strip()
    raise BadConfig(f"context {name}={value!r}; accepted: text")


_READ: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    str(bool): _bool,
    str(int): _int,
    str(str): _str,
    str(Decimal): _decimal,
    str(Decimal | None): _optional_decimal,
}
