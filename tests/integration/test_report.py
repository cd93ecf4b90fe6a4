"""`cost-router report` as a user runs it, against the counters that the router keeps."""

import datetime as dt
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import anthropic
import pytest

from infra.local.stack import LocalStack
from tests.integration.commands import command
from tests.integration.meter import Meter, poll

Unique = Callable[[str], str]


def counter(stack: LocalStack, day: dt.date) -> dict[str, Decimal]:
    key = {"pk": {"S": f"counters#{day.isoformat()}"}, "sk": {"S": "account"}}
    table = stack.description["tables"]["ledger"]
    found = stack.emulator.client("dynamodb").get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]
    return {name: Decimal(value["N"]) for name, value in found.items() if "N" in value}


def report(*words: str, cwd: Path) -> dict[str, Any]:
    return dict(json.loads(command("report", "--json", *words, cwd=cwd)))


def test_the_report_is_the_counters_and_its_page_has_the_same_figures(
    folder: Path, stack: LocalStack, meter: Meter, unique: Unique
) -> None:
    url, key = stack.description["streaming_url"], stack.description["gateway_key"]
    with anthropic.Anthropic(base_url=url, api_key=key, max_retries=0) as client:
        for label in ("simple", "moderate", "complex"):
            ask: Any = [{"role": "user", "content": unique(f"[[label:{label}]] Hi")}]
            client.messages.create(model="auto", max_tokens=50, messages=ask)
        meter.script(faults=[{"times": 1, "kind": "cut_after"}])
        client.messages.create(model="sonnet", max_tokens=20, messages=ask)
    day = dt.datetime.now(dt.UTC).date()
    page = folder / "report.html"

    def unmoved() -> dict[str, Any] | None:
        """A report between two equal looks at the counters: jobs of other tests may still be booked."""
        before = counter(stack, day)
        made = report("--day", day.isoformat(), "--html", str(page), cwd=folder)
        return made if counter(stack, day) == before else None

    made = poll(unmoved, "report while nothing is booked")
    booked, total = counter(stack, day), made["totals"]
    for name in ("cost_usd", "baseline_usd", "classifier_cost_usd"):
        assert Decimal(total[name]) == booked[name]
    assert Decimal(total["saved_usd"]) == booked["baseline_usd"] - booked["cost_usd"]
    assert made["ambiguous"]["calls"] >= 1
    assert (made["daily_budget_usd"], made["simulated"]) == ("50", True)
    assert Decimal(made["budget_left_usd"]) == 50 - booked["cost_usd"]
    html = page.read_text(encoding="utf-8")
    for name in ("cost_usd", "baseline_usd", "saved_usd", "classifier_cost_usd"):
        assert f"${abs(Decimal(total[name])):.6f}" in html
    assert "simulated" in html


def test_days_baseline_and_what_if_are_about_the_same_traffic(
    folder: Path, stack: LocalStack, meter: Meter, unique: Unique
) -> None:
    command("send", unique("[[label:simple]] Hi"), cwd=folder)
    made = report("--days", "3", "--baseline", "sonnet", "--what-if", "article", "--by", "tier", cwd=folder)
    assert [row["day"] for row in made["days"]] == sorted(row["day"] for row in made["days"])
    assert len(made["days"]) == 3
    assert sum(Decimal(row["cost_usd"]) for row in made["days"]) == Decimal(made["totals"]["cost_usd"])
    opus = report("--days", "3", cwd=folder)
    assert 0 < Decimal(made["totals"]["baseline_usd"]) < Decimal(opus["totals"]["baseline_usd"])
    assert made["what_if"]["totals"]["requests"] == made["totals"]["requests"]
    assert Decimal(made["what_if"]["difference_usd"]) > 0
    assert any("estimate" in note for note in made["notes"])
    printed = command("report", "--days", "2", "--what-if", "article", cwd=folder)
    assert "Cost report by day" in printed
    assert "What if the lineup were article" in printed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--days", "0"), "1 to 366"),
        (("--days", "2", "--day", "2026-11-22"), "contradict"),
        (("--baseline", "haiku"), "opus, sonnet"),
        (("--what-if", "newest"), "current, article"),
        (("--html", "missing/report.html"), "'missing/report.html' cannot be written"),
    ],
)
def test_a_wrong_option_is_one_line_that_says_what_is_accepted(folder: Path, words: tuple[str, ...], said: str) -> None:
    printed = command("report", *words, cwd=folder, expect=1)
    assert said in printed
    assert "Traceback" not in printed
