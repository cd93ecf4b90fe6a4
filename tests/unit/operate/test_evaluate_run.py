"""What an evaluation will cost is told before it is paid."""

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest

from infra.evaluate_cli import _agree
from infra.operate.evaluate_run import Asked, Plan
from infra.operate.labelled import BadLabels, parse_labelled
from infra.operate.target import Target
from infra.operate.tenants import KeyProblem
from tests.builders import lineup

TARGET = Target("prod", "http://127.0.0.1:1", "", "", "", {}, None)
ITEMS = parse_labelled(
    enumerate([json.dumps({"prompt": f"Ask {n}", "label": "simple"}).encode() for n in range(1_000)], 1), "labels.jsonl"
)


def plan(**changes: Any) -> Plan:
    asked = Asked(
        **{"concurrency": 1, "cap_usd": None, "per_attack": None, "output_tokens": 300, **changes.pop("asked", {})}
    )
    given = {"likely_usd": Decimal("0.0001"), "on": dt.date(2026, 11, 23), "simulated": False, "notes": (), **changes}
    return Plan(target=TARGET, key="k", items=ITEMS, asked=asked, lineup=lineup(), **given)


def test_the_announcement_has_calls_dollars_and_who_pays() -> None:
    assert (
        plan().announcement == "1,000 requests: up to 1,000 classifier calls, about $0.100000; paid by the key's tenant"
    )
    attacked = plan(asked={"per_attack": 5, "cap_usd": Decimal("0.5")}, simulated=True).announcement
    assert attacked == (
        "1,000 requests and 320 attacks: up to 1,320 classifier calls, about $0.132000, $0.500000 at the most; nothing "
        "is really paid: Claude is simulated"
    )


def test_without_a_gateway_key_nothing_is_planned() -> None:
    with pytest.raises(KeyProblem, match="--key or COST_ROUTER_KEY"):
        Plan.make(TARGET, None, ITEMS, Asked(1, None, None, 300))


def test_where_nobody_can_agree_nothing_is_paid() -> None:
    with pytest.raises(BadLabels, match="accepted: --yes"):
        _agree("about $1", asks=True)
    _agree("about $1", asks=False)
