"""The environment, read once: every bad value is named with what is accepted."""

import datetime as dt
from decimal import Decimal

import pytest

from cost_router.contract import Env
from cost_router.core.budget import Ladder, Limits
from cost_router.handlers.settings import BadSetting, BatchSettings, CollectorSettings, RouterSettings, Settings
from tests.builders import ENV


def read(**changes: str) -> tuple[Settings, RouterSettings, BatchSettings]:
    env = {**ENV, **changes}
    CollectorSettings.read(env)
    return Settings.read(env), RouterSettings.read(env), BatchSettings.read(env)


def test_good_settings_are_typed() -> None:
    settings, router, batch = read()
    assert settings.label_ttl == dt.timedelta(days=7)
    assert settings.limits == Limits(daily_usd=Decimal(10))
    assert settings.ladder == Ladder(Decimal("0.8"), Decimal("0.95"))
    assert not settings.without_store
    assert settings.classifier_deadline_seconds == 3.0
    assert settings.upstream_url is None
    assert (router.deadline_seconds, router.max_body_bytes) == (25.0, 1_000_000)
    assert router.stream_deadline_seconds == 100.0
    assert (batch.job_concurrency, batch.jobs_queue_url) == (5, "http://127.0.0.1/jobs")


def test_no_budget_is_a_budget_setting_left_empty() -> None:
    assert read(**{Env.DAILY_BUDGET_USD: ""})[0].limits == Limits()


def test_every_limit_has_its_setting() -> None:
    settings, *_ = read(
        **{
            Env.DAILY_BUDGET_USD: "1",
            Env.MONTHLY_BUDGET_USD: "20",
            Env.SESSION_BUDGET_USD: "0.5",
            Env.SESSION_RPM: "30",
            Env.LADDER: "70,90.5",
            Env.WITHOUT_STORE: "allow",
        }
    )
    assert settings.limits == Limits(Decimal(1), Decimal(20), Decimal("0.5"), 30)
    assert settings.ladder == Ladder(Decimal("0.7"), Decimal("0.905"))
    assert settings.without_store


@pytest.mark.parametrize("value", ["80", "95,80", "80,100", "0,95", "eighty,95", "80,95,99", "nan,95"])
def test_a_ladder_that_does_not_rise_is_refused_by_value(value: str) -> None:
    with pytest.raises(BadSetting, match=f"COST_ROUTER_LADDER='{value}'; accepted: two rising percentages"):
        read(**{Env.LADDER: value})


def test_provider_aws_needs_a_workspace_and_no_secret() -> None:
    settings, *_ = read(**{Env.PROVIDER: "aws", Env.WORKSPACE_ID: "wrkspc_1", Env.SECRET_ARN: ""})
    assert (settings.workspace_id, settings.secret_arn) == ("wrkspc_1", "")


REQUIRED = sorted(set(ENV) - {Env.DAILY_BUDGET_USD})


@pytest.mark.parametrize("name", REQUIRED)
def test_what_is_missing_is_named(name: str) -> None:
    with pytest.raises(BadSetting, match=f"{name} is not set"):
        read(**{name: ""})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (Env.PROVIDER, "openai"),
        (Env.LABEL_TTL_DAYS, "0"),
        (Env.LABEL_TTL_DAYS, "-1"),
        (Env.LABEL_TTL_DAYS, "week"),
        (Env.LABEL_TTL_DAYS, "nan"),
        (Env.LABEL_TTL_DAYS, "inf"),
        (Env.LABEL_TTL_DAYS, "1e9"),
        (Env.DAILY_BUDGET_USD, "0"),
        (Env.DAILY_BUDGET_USD, "-5"),
        (Env.DAILY_BUDGET_USD, "ten"),
        (Env.DAILY_BUDGET_USD, "NaN"),
        (Env.DAILY_BUDGET_USD, "Infinity"),
        (Env.DEADLINE_SECONDS, "0"),
        (Env.DEADLINE_SECONDS, "900.1"),
        (Env.DEADLINE_SECONDS, "25s"),
        (Env.STREAM_DEADLINE_SECONDS, "0"),
        (Env.STREAM_DEADLINE_SECONDS, "901"),
        (Env.CLASSIFIER_DEADLINE_SECONDS, "-0.5"),
        (Env.MAX_BODY_BYTES, "0"),
        (Env.MAX_BODY_BYTES, "0.5"),
        (Env.MAX_BODY_BYTES, "1e6"),
        (Env.SAMPLE_PERCENT, "101"),
        (Env.SAMPLE_PERCENT, "0.5"),
        (Env.JOB_CONCURRENCY, "0"),
        (Env.JOB_CONCURRENCY, "0.5"),  # would be a gate that nothing passes
        (Env.JOB_CONCURRENCY, "many"),
        (Env.JOB_CONCURRENCY, "٣"),
    ],
)
def test_a_bad_value_is_quoted_by_name_with_what_is_accepted(name: str, value: str) -> None:
    with pytest.raises(BadSetting, match=f"{name}='{value}'; accepted: "):
        read(**{name: value})


def test_no_samples_are_kept_unless_a_share_is_set() -> None:
    assert [read(**{Env.SAMPLE_PERCENT: value})[1].sample_percent for value in ("", "0", "5", "100")] == [0, 0, 5, 100]


def test_a_provider_without_its_setting_is_named() -> None:
    with pytest.raises(BadSetting, match=f"{Env.WORKSPACE_ID} is not set"):
        read(**{Env.PROVIDER: "aws"})
