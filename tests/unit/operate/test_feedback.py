"""Feedback in the cost report."""

import io
from decimal import Decimal
from typing import Any

from rich.console import Console

from infra.operate.page import page
from infra.operate.show import print_report, remarks
from tests.unit.operate.entries import entry, report_of


def given(request_id: str, score: str, **changes: Any) -> dict[str, Any]:
    found = {
        "request_id": request_id,
        "tenant": "search",
        "tags": {"customer": "acme"},
        "label": "simple",
        "model": "claude-haiku-5-5",
        "score": Decimal(score),
        "comment": "a canary",
    }
    return found | changes


ROWS = [
    given("r1", "1"),
    given("r2", "0.5"),
    given("r3", "0.25", model="claude-opus-5-5", label="complex", tags={}),
    given("r4", "0", model="claude-opus-5-5", label=None),
]


def test_feedback_is_counted_and_its_mean_told_by_the_key_of_the_report_worst_first() -> None:
    told = report_of(entry(), feedback=ROWS).json()["feedback"]
    assert told == {
        "requests": 4,
        "mean_score": "0.438",
        "rows": [
            {"key": "claude-opus-5-5", "requests": 2, "mean_score": "0.125"},
            {"key": "claude-haiku-5-5", "requests": 2, "mean_score": "0.750"},
        ],
    }


def test_other_keys_are_those_of_the_cost_report() -> None:
    def keys(by: str) -> dict[str, int]:
        rows = report_of(entry(), feedback=ROWS, by=by).json()["feedback"]["rows"]
        return {row["key"]: row["requests"] for row in rows}

    assert keys("label") == {"(none)": 1, "complex": 1, "simple": 2}
    assert keys("tag:customer") == {"acme": 3, "(none)": 1}
    assert keys("tenant") == {"search": 4}
    assert keys("group") == {"(none)": 4}, "jobs have results, and no feedback"


def test_without_feedback_there_is_no_mean_and_no_table() -> None:
    made = report_of(entry())
    assert made.json()["feedback"] == {"requests": 0, "mean_score": None, "rows": []}
    assert not any("Feedback" in line for line in remarks(made))
    assert "Feedback" not in printed(made)


def test_the_printed_report_and_the_page_tell_it_without_any_comment() -> None:
    made = report_of(entry(), feedback=ROWS[:1])
    assert "Feedback by model" in printed(made)
    for text in (printed(made), page(made)):
        assert "Feedback on 1 request: mean score 1.000." in text
        assert "canary" not in text
    assert "canary" not in str(made.json())


def printed(made: Any) -> str:
    out = io.StringIO()
    print_report(Console(file=out, width=140), made)
    return out.getvalue()
