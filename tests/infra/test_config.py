"""A bad deploy-time value is refused before anything is made, in words that quote it and say what is accepted."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from infra.aws.config import BadConfig, Config


def test_command_line_values_are_strings_and_cdk_json_values_are_typed() -> None:
    typed = {"env": "prod", "daily_budget_usd": 12.5, "streaming": False, "job_concurrency": 8}
    written = {"env": "prod", "daily_budget_usd": "12.5", "streaming": "false", "job_concurrency": "8"}
    assert Config.from_context(typed) == Config.from_context(written)
    assert Config.from_context(written).daily_budget_usd == Decimal("12.5")


def test_cdks_own_context_is_left_alone() -> None:
    assert (
        Config.from_context({"aws:cdk:bundling-stacks": [], "@aws-cdk/core:x": True, "cli-telemetry": False})
        == Config()
    )


@pytest.mark.parametrize(
    ("given", "gateway", "deadline", "streamed"),
    [
        ({}, 900, 895, 895),
        ({"stream_deadline_seconds": 600}, 900, 895, 600),
        ({"deadline_seconds": 600}, 900, 600, 895),
        ({"streaming": False}, 29, 24, 24),
        ({"streaming": False, "gateway_timeout_seconds": 120}, 120, 115, 115),
        ({"streaming": False, "gateway_timeout_seconds": 300}, 300, 295, 295),
        ({"streaming": False, "deadline_seconds": 20}, 29, 20, 24),
    ],
)
def test_the_deadlines_stay_below_the_gateways_timeout(
    given: dict[str, Any], gateway: int, deadline: int, streamed: int
) -> None:
    config = Config(**given)
    assert (config.gateway_timeout_seconds, config.deadline_seconds) == (gateway, deadline)
    assert config.stream_deadline_seconds == streamed


@pytest.mark.parametrize(
    ("context", "says"),
    [
        ({"daily_budget": "5"}, r"daily_budget='5': unknown name; accepted: alert_email, .*daily_budget_usd"),
        ({"daily_budget_usd": "fifty"}, r"daily_budget_usd='fifty'; accepted: a decimal number"),
        ({"daily_budget_usd": "NaN"}, r"daily_budget_usd='NaN'; accepted: a decimal number"),
        ({"spend_anomaly": "0"}, r"spend_anomaly=0; accepted: standard deviations above 0, up to 10, or nothing"),
        ({"spend_anomaly": "11"}, r"spend_anomaly=11; accepted: standard deviations above 0, up to 10"),
        ({"daily_budget_usd": "0"}, r"daily_budget_usd=0; accepted: dollars above 0"),
        ({"env": "Prod!"}, r"env='Prod!'; accepted: up to 24 of a-z"),
        ({"lineup": "newest"}, r"lineup='newest'; accepted: current, article"),
        ({"provider": "bedrock"}, r"provider='bedrock'; accepted: anthropic, aws"),
        ({"provider": "aws"}, r"workspace_id=''; accepted: wrkspc_\.\.\. with provider aws"),
        ({"workspace_id": "wrkspc_1"}, r"workspace_id='wrkspc_1'; .*nothing with provider anthropic"),
        ({"streaming": "maybe"}, r"streaming='maybe'; accepted: true, false"),
        ({"streaming": "false", "deadline_seconds": "29"}, r"deadline_seconds=29; accepted: 1 to 28"),
        ({"stream_deadline_seconds": "900"}, r"stream_deadline_seconds=900; accepted: 1 to 899"),
        ({"streaming": "false", "gateway_timeout_seconds": "301"}, r"gateway_timeout_seconds=301; accepted: 10 to 300"),
        ({"gateway_timeout_seconds": "901"}, r"gateway_timeout_seconds=901; accepted: 10 to 900"),
        ({"classifier_deadline_seconds": "900"}, r"classifier_deadline_seconds=900; accepted: above 0, below 895"),
        ({"log_retention_days": "8"}, r"log_retention_days=8; accepted: 1, 3, 5, 7"),
        ({"sample_percent": "101"}, r"sample_percent=101; accepted: 0 to 100"),
        ({"sample_percent": "0.5"}, r"sample_percent='0.5'; accepted: a whole number"),
        ({"job_functions": "1"}, r"job_functions=1; accepted: 2 to 1000"),
        ({"max_body_bytes": "7000000"}, r"max_body_bytes=7000000; accepted: 1000 to 6000000"),
        ({"label_ttl_days": "1.5"}, r"label_ttl_days='1.5'; accepted: a whole number"),
        ({"alert_email": "ops"}, r"alert_email='ops'; accepted: an address"),
        ({"upstream_url": "api.anthropic.com"}, r"upstream_url='api.anthropic.com'; accepted: http"),
        ({"public_url": "claude.example.com"}, r"public_url='claude.example.com'; accepted: http"),
        ({"domain_examples": "/nowhere.json"}, r"domain_examples='/nowhere.json'; accepted: path of a JSON file"),
        ({"alert_email": 5}, r"alert_email=5; accepted: text"),
    ],
)
def test_bad_values_are_quoted(context: dict[str, Any], says: str) -> None:
    with pytest.raises(BadConfig, match=f"^context {says}"):
        Config.from_context(context)


def test_an_empty_budget_means_none() -> None:
    assert Config.from_context({"daily_budget_usd": ""}).daily_budget_usd is None


def test_a_file_of_examples_is_accepted_by_path(tmp_path: Path) -> None:
    file = tmp_path / "examples.json"
    file.write_text("{}", encoding="utf-8")
    assert Config.from_context({"domain_examples": str(file)}).domain_examples == str(file)
