"""What a deployment says of itself: its lineup, its budget, and whether its answers are simulated."""

import json
from decimal import Decimal
from typing import Final

import httpx2
from botocore.exceptions import BotoCoreError, ClientError

from cost_router.core.catalogue import Lineup
from infra.operate.report import BadReport
from infra.operate.target import STACK_FILE, Target
from infra.operate.what_if import Discounts, named_lineup

DEFAULT_LINEUP: Final = "current"
LOCAL_STACK: Final = "claude-cost-router-local"
TOP_STEP: Final = "Spend100"  # the alarm at 100 % of the daily budget: its threshold is the budget
PATIENCE: Final = 10.0  # seconds


def deployed_lineup(target: Target, discounts: Discounts | None = None) -> tuple[Lineup, list[str]]:
    """The lineup that `GET /health` names, or `current` with a note when it does not tell."""
    url = f"{target.base_url}/health"
    try:
        name = str(httpx2.get(url, timeout=PATIENCE).raise_for_status().json()["lineup"])
        return named_lineup(name, discounts), []
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, KeyError, TypeError) as error:
        problem = str(error) if isinstance(error, BadReport) else type(error).__name__
        note = f"{url} did not tell the lineup of the deployment ({problem}): taken to be {DEFAULT_LINEUP}."
        return named_lineup(DEFAULT_LINEUP, discounts), [note]


def daily_budget(target: Target) -> Decimal | None:
    """The account's budget for a UTC day in US dollars; None without one, or when it cannot be read."""
    stack = LOCAL_STACK if target.endpoint_url else target.name
    try:
        reply = target.client("cloudwatch").describe_alarms(AlarmNames=[f"{stack}-{TOP_STEP}"])
    except (BotoCoreError, ClientError):  # the report does not need it
        return None
    return next((Decimal(str(alarm["Threshold"])) for alarm in reply["MetricAlarms"]), None)


def simulated(target: Target) -> bool:
    """Whether a stand-in answers instead of Claude, as the local stack's description says."""
    if not target.endpoint_url or not STACK_FILE.is_file():
        return False
    return bool(json.loads(STACK_FILE.read_text(encoding="utf-8")).get("simulated"))
