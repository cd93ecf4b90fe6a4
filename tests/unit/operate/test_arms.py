"""Two ways to decide side by side, in a report."""

import io
from decimal import Decimal
from typing import Any

from rich.console import Console

from infra.operate.page import page
from infra.operate.report import rows
from infra.operate.show_arms import print_arms
from tests.unit.operate.entries import ambiguous, classifier, entry, report_of

OPUS = {"label": "complex", "tier": "opus", "model": "claude-opus-4-8", "cost_usd": Decimal("0.0075")}


def canary() -> list[dict[str, Any]]:
    """Two requests of the control, one of them simple, and one of the candidate, which is complex there."""
    control, candidate = {"arm": "control"}, {"arm": "candidate"}
    return [
        classifier("r1", **control),
        entry("r1", **control),
        entry("r2", **control, label="moderate", tier="sonnet", cost_usd=Decimal("0.003")),
        classifier("r3", **candidate),
        entry("r3", **candidate, **OPUS),
    ]


def seen(request_id: str, label: str, tier: str, cost: str | None, **changes: Any) -> dict[str, Any]:
    """An answer of the control, and what a candidate in shadow would have done."""
    shadow = {"shadow_label": label, "shadow_tier": tier, "shadow_model": f"claude-{tier}-4"}
    return entry(
        request_id, arm="control", **shadow, shadow_cost_usd=None if cost is None else Decimal(cost), **changes
    )


def shadowed() -> list[dict[str, Any]]:
    own = classifier("r1", arm="candidate", flags=["shadow"], entry_id="r1#shadow0", cost_usd=Decimal("0.0005"))
    return [
        classifier("r1", arm="control"),
        own,
        seen("r1", "complex", "opus", "0.0075"),
        seen("r2", "simple", "haiku", "0.0005"),
        seen("r3", "simple", "haiku", None, flags=["ambiguous"]),
    ]


def block(*entries: dict[str, Any], **changes: Any) -> Any:
    return report_of(*entries, **changes).json()["arms"]


def printed(*entries: dict[str, Any], **changes: Any) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    print_arms(console, report_of(*entries, **changes).arms)
    return console.export_text()


def test_without_a_candidate_nothing_is_compared() -> None:
    assert block(classifier(), entry()) is None
    assert printed(classifier(), entry()) == ""


def test_a_canary_s_arms_are_compared_by_what_a_request_cost_and_how_it_was_labelled() -> None:
    arms = {row.pop("arm"): row for row in block(*canary())["arms"]}
    assert set(arms) == {"control", "candidate"}
    control, candidate = arms["control"], arms["candidate"]
    assert (control["requests"], control["cost_usd"], control["cost_per_request_usd"]) == (2, "0.003235", "0.001618")
    assert (candidate["requests"], candidate["cost_per_request_usd"]) == (1, "0.007585")
    assert (control["classifier_cost_usd"], control["saved_usd"]) == ("0.000085", "0.008765")
    assert control["labels"] == {"simple": 1, "moderate": 1, "complex": 0, "(none)": 0}
    assert candidate["tiers"] == {"haiku": 0, "sonnet": 0, "opus": 1}
    assert block(*canary())["shadow"] is None


def test_requests_from_before_there_was_a_candidate_have_a_row_of_their_own() -> None:
    found = block(*canary(), entry("r0"))
    assert [row["arm"] for row in found["arms"]] == ["(none)", "candidate", "control"]


def test_feedback_is_told_by_arm() -> None:
    said = [{"arm": "control", "score": Decimal("0.5")}, {"arm": "control", "score": Decimal(1)}]
    arms = {row["arm"]: row["feedback"] for row in block(*canary(), feedback=said)["arms"]}
    assert arms["control"] == {"requests": 2, "mean_score": "0.750"}
    assert arms["candidate"] == {"requests": 0, "mean_score": None}


def test_by_arm_a_shadow_s_calls_are_the_candidates_and_not_the_controls() -> None:
    found = {key: figures.json() for key, figures in rows(shadowed(), "arm").items()}
    assert (found["candidate"]["requests"], found["candidate"]["cost_usd"]) == (0, "0.0005")
    assert found["control"]["cost_usd"] == "0.000535"


def test_what_a_shadow_would_have_done_is_held_against_what_was_done() -> None:
    found = block(*shadowed())["shadow"]
    assert (found["requests"], found["labels_agree"], found["priced"]) == (3, 2, 2)
    assert found["labels"] == [
        {"control": "simple", "candidate": "simple", "requests": 2},
        {"control": "simple", "candidate": "complex", "requests": 1},
    ]
    assert found["tiers"][1] == {"control": "haiku", "candidate": "opus", "requests": 1}
    assert (found["cost_usd"], found["would_have_cost_usd"], found["difference_usd"]) == ("0.0003", "0.008", "0.0077")
    assert found["classifier_cost_usd"] == "0.0005"


def test_the_terminal_and_the_page_say_the_same() -> None:
    text = printed(*shadowed())
    for said in (
        "In shadow the candidate gave 2 of 3 requests the same label (66.7 %).",
        "would have answered for $0.008000 what cost $0.000300: $0.007700 more",
        "Looking on has cost $0.000500 for labels of its own.",
    ):
        assert said in text
        assert said in page(report_of(*shadowed()))
    assert "Arms compared" in text
    assert "Labels: control down, candidate in shadow across" in text


def test_a_shadow_that_only_ever_failed_still_has_its_cost() -> None:
    lost = ambiguous("r1", arm="candidate", purpose="classifier", flags=["ambiguous", "abandoned", "shadow"])
    found = block(entry("r1", arm="control"), lost)["shadow"]
    assert (found["requests"], found["classifier_cost_usd"]) == (0, "0.02")
    assert "Looking on has cost $0.020000" in printed(entry("r1", arm="control"), lost)
