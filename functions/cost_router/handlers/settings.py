"""The environment, read once into typed values; what is missing or wrong is named."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final

from cost_router.contract import Env
from cost_router.core.budget import Ladder, Limits

PROVIDERS: Final = ("anthropic", "aws")
WITHOUT_STORE: Final = ("refuse", "allow")
MOST_SECONDS: Final = 900.0  # Lambda's own limit
MOST_DAYS: Final = 3_650.0
MOST_DIGITS: Final = 12
MOST_HEADROOM: Final = 90  # percent


class BadSetting(ValueError):
    """An environment variable is missing or holds something else than it should."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What both functions need."""

    stage: str
    lineup: str
    provider: str
    secret_arn: str
    workspace_id: str
    upstream_url: str | None
    labels_table: str
    ledger_table: str
    tenants_table: str
    label_ttl: dt.timedelta
    limits: Limits  # of the account, and of each session
    ladder: Ladder
    without_store: bool  # whether calls are made while the store of budgets cannot be reached
    classifier_deadline_seconds: float

    @classmethod
    def read(cls, env: Mapping[str, str]) -> "Settings":
        """The settings in `env`; raises `BadSetting`."""
        provider = _one_of(env, Env.PROVIDER, PROVIDERS)
        return cls(
            stage=_text(env, Env.STAGE),
            lineup=_text(env, Env.LINEUP),
            provider=provider,
            secret_arn=_text(env, Env.SECRET_ARN) if provider == "anthropic" else "",
            workspace_id=_text(env, Env.WORKSPACE_ID) if provider == "aws" else "",
            upstream_url=env.get(Env.UPSTREAM_URL) or None,
            labels_table=_text(env, Env.LABELS_TABLE),
            ledger_table=_text(env, Env.LEDGER_TABLE),
            tenants_table=_text(env, Env.TENANTS_TABLE),
            label_ttl=dt.timedelta(days=_positive(env, Env.LABEL_TTL_DAYS, most=MOST_DAYS)),
            limits=Limits(
                daily_usd=_dollars(env, Env.DAILY_BUDGET_USD),
                monthly_usd=_dollars(env, Env.MONTHLY_BUDGET_USD),
                session_usd=_dollars(env, Env.SESSION_BUDGET_USD),
                session_per_minute=_whole(env, Env.SESSION_RPM) if env.get(Env.SESSION_RPM) else None,
            ),
            ladder=_ladder(env, Env.LADDER),
            without_store=_one_of(env, Env.WITHOUT_STORE, WITHOUT_STORE) == "allow",
            classifier_deadline_seconds=_positive(env, Env.CLASSIFIER_DEADLINE_SECONDS),
        )


@dataclass(frozen=True, slots=True)
class RouterSettings:
    """What only the router function needs."""

    deadline_seconds: float
    stream_deadline_seconds: float
    max_body_bytes: int
    public_url: str  # base URL that callers use; empty: as their requests tell it
    requests_table: str
    jobs_table: str
    results_bucket: str
    jobs_queue_url: str
    sample_percent: int  # of the requests with model `auto`, kept with prompt and answer; 0: none

    @classmethod
    def read(cls, env: Mapping[str, str]) -> "RouterSettings":
        """The settings in `env`; raises `BadSetting`."""
        return cls(
            deadline_seconds=_positive(env, Env.DEADLINE_SECONDS),
            stream_deadline_seconds=_positive(env, Env.STREAM_DEADLINE_SECONDS),
            max_body_bytes=_whole(env, Env.MAX_BODY_BYTES),
            public_url=env.get(Env.PUBLIC_URL, ""),
            requests_table=_text(env, Env.REQUESTS_TABLE),
            jobs_table=_text(env, Env.JOBS_TABLE),
            results_bucket=_text(env, Env.RESULTS_BUCKET),
            jobs_queue_url=_text(env, Env.JOBS_QUEUE_URL),
            sample_percent=_percent(env, Env.SAMPLE_PERCENT, most=100) if env.get(Env.SAMPLE_PERCENT) else 0,
        )


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """What only the batch function needs."""

    jobs_table: str
    results_bucket: str
    jobs_queue_url: str
    dead_letter_queue_url: str
    job_concurrency: int
    job_functions: int
    headroom: float  # share of the account's limits that is left to interactive traffic
    role_id: str  # the function's own, as SQS tells who sent a message; empty where nobody knows

    @classmethod
    def read(cls, env: Mapping[str, str]) -> "BatchSettings":
        """The settings in `env`; raises `BadSetting`."""
        return cls(
            jobs_table=_text(env, Env.JOBS_TABLE),
            results_bucket=_text(env, Env.RESULTS_BUCKET),
            jobs_queue_url=_text(env, Env.JOBS_QUEUE_URL),
            dead_letter_queue_url=_text(env, Env.DEAD_LETTER_QUEUE_URL),
            job_concurrency=_whole(env, Env.JOB_CONCURRENCY),
            job_functions=_whole(env, Env.JOB_FUNCTIONS),
            headroom=_percent(env, Env.HEADROOM_PERCENT) / 100,
            role_id=env.get(Env.BATCH_ROLE_ID, ""),
        )


@dataclass(frozen=True, slots=True)
class CollectorSettings:
    """What the collector function needs."""

    stage: str
    ledger_table: str
    tenants_table: str
    jobs_table: str
    results_bucket: str
    jobs_queue_url: str
    alerts_topic: str
    admin_secret_arn: str  # empty: the ledger is not compared with the bill
    bill_workspace_id: str | None
    bill_api_key_id: str | None
    upstream_url: str | None

    @classmethod
    def read(cls, env: Mapping[str, str]) -> "CollectorSettings":
        """The settings in `env`; raises `BadSetting`."""
        return cls(
            stage=_text(env, Env.STAGE),
            ledger_table=_text(env, Env.LEDGER_TABLE),
            tenants_table=_text(env, Env.TENANTS_TABLE),
            jobs_table=_text(env, Env.JOBS_TABLE),
            results_bucket=_text(env, Env.RESULTS_BUCKET),
            jobs_queue_url=_text(env, Env.JOBS_QUEUE_URL),
            alerts_topic=_text(env, Env.ALERTS_TOPIC),
            admin_secret_arn=env.get(Env.ADMIN_SECRET_ARN, ""),
            bill_workspace_id=env.get(Env.BILL_WORKSPACE_ID) or None,
            bill_api_key_id=env.get(Env.BILL_API_KEY_ID) or None,
            upstream_url=env.get(Env.UPSTREAM_URL) or None,
        )


def _text(env: Mapping[str, str], name: str) -> str:
    value = env.get(name, "")
    if not value:
        raise BadSetting(f"{name} is not set")
    return value


def _one_of(env: Mapping[str, str], name: str, accepted: tuple[str, ...]) -> str:
    value = _text(env, name)
    if value not in accepted:
        raise BadSetting(f"{name}={value!r}; accepted: {', '.join(accepted)}")
    return value


def _positive(env: Mapping[str, str], name: str, *, most: float = MOST_SECONDS) -> float:
    value = _text(env, name)
    try:
        number = float(value)  # seconds, days: not money
    except ValueError:
        number = 0.0
    if not 0 < number <= most:
        raise BadSetting(f"{name}={value!r}; accepted: a number above 0, {most:g} at the most")
    return number


def _whole(env: Mapping[str, str], name: str) -> int:
    value = _text(env, name)
    if not (value.isascii() and value.isdigit() and len(value) <= MOST_DIGITS and int(value)):
        raise BadSetting(f"{name}={value!r}; accepted: a whole number of at least 1")
    return int(value)


def _percent(env: Mapping[str, str], name: str, *, most: int = MOST_HEADROOM) -> int:
    value = _text(env, name)
    if not (value.isascii() and value.isdigit() and int(value) <= most):
        raise BadSetting(f"{name}={value!r}; accepted: a whole number from 0 to {most}")
    return int(value)


def _ladder(env: Mapping[str, str], name: str) -> Ladder:
    """`80,95`: from which percent of a budget on sonnet, and from which on haiku is the highest tier."""
    value = _text(env, name)
    try:
        sonnet, haiku = (Decimal(part) / 100 for part in value.split(","))
        rising = 0 < sonnet < haiku < 1
    except (InvalidOperation, ValueError):
        rising = False
    if not rising:
        raise BadSetting(f"{name}={value!r}; accepted: two rising percentages below 100, such as 80,95")
    return Ladder(sonnet, haiku)


def _dollars(env: Mapping[str, str], name: str) -> Decimal | None:
    value = env.get(name, "")
    if not value:
        return None
    try:
        amount = Decimal(value)
    except InvalidOperation:
        amount = Decimal(0)
    if not amount.is_finite() or amount <= 0:
        raise BadSetting(f"{name}={value!r}; accepted: dollars above 0, or nothing for no budget")
    return amount
