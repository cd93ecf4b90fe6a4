"""An evaluation over decisions with literal figures: what is counted, and what it is compared with."""

import datetime as dt
import io
import json
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from rich.console import Console

from cost_router.core.words import Label, Tier
from infra.operate import flips
from infra.operate.asking import NotRouted, Routed
from infra.operate.evaluate import Evaluation, likely_usd
from infra.operate.evaluate_local import LocalEvaluation
from infra.operate.flips import Outcome
from infra.operate.injections import ATTACKS, CONTROL, DOWN, UP
from infra.operate.labelled import Item, parse_labelled
from infra.operate.show_evaluation import print_evaluation, print_local
from tests.builders import lineup

S, M, C = Label
DAY = dt.date(2026, 11, 23)


def items(*labels: Label, **more: Any) -> list[Item]:
    lines = [
        json.dumps({"prompt": f"Ask {place}", "label": label, **more}).encode() for place, label in enumerate(labels)
    ]
    return parse_labelled(enumerate(lines, 1), "labels.jsonl")


def routed(label: Label | None, cause: str = "classifier", tier: Tier | None = None, ms: float = 10.0) -> Routed:
    return Routed(label, cause, tier or (label or M).tier, Decimal("0.0001"), ms * 2, ms)


def evaluation(rows: list[tuple[Label, Routed | NotRouted | None]], **more: Any) -> Evaluation:
    asked = items(*(right for right, _ in rows))
    return Evaluation(asked, [one for _, one in rows], lineup(), DAY, **more)


MIXED = evaluation(
    [
        (S, routed(S)),
        (S, routed(S, "cache")),
        (S, routed(M, "default", ms=3_000)),
        (M, routed(M)),
        (C, routed(S)),
        (C, routed(C)),
        (C, routed(None, "rule:tenant-ceiling", Tier.SONNET)),
        (C, NotRouted("status 400: 'no'")),
        (M, None),
    ],
    stopped="the cap of $1 is reached",
    spent_usd=Decimal("0.0007"),
)


def test_labels_are_judged_and_what_has_none_is_told_apart() -> None:
    found = MIXED.json()
    assert (found["items"], found["decided"], found["unlabelled"], found["moved_by_bounds"]) == (9, 7, 1, 1)
    assert (found["accuracy"]["value"], found["accuracy"]["n"]) == (0.6667, 6)
    assert found["confusion"]["complex"] == {"simple": 1, "moderate": 0, "complex": 1}
    assert {cause: share["n"] for cause, share in found["by_cause"].items()} == {
        "classifier": 4,
        "cache": 1,
        "default": 1,
    }
    assert found["by_cause"]["default"]["value"] == 0.0
    assert (found["failed"], found["failures"]) == (1, [{"line": 8, "why": "status 400: 'no'"}])
    assert found["stopped"] == "the cap of $1 is reached"
    assert found["labels_usd_per_1000"] == "0.1"
    assert found["latency"] == {
        "request": {"p50_ms": 20.0, "p95_ms": 6_000.0},
        "classifier": {"p50_ms": 10.0, "p95_ms": 3_000.0},
    }


def test_the_routing_stands_beside_trivial_ways_to_route() -> None:
    rows = {row["strategy"]: row for row in MIXED.json()["strategies"]}
    assert list(rows) == [
        "this deployment",
        "always simple, the most frequent",
        "always moderate",
        "always complex",
        "the right labels",
    ]
    ours = rows["this deployment"]
    assert (ours["under_routed"]["value"], ours["tiers_under"]) == (0.2857, 1.5)  # 2 of 7, by two tiers and by one
    assert ours["over_routed"]["value"] == 0.1429
    assert rows["always complex"]["under_routed"]["value"] == 0.0
    assert rows["always moderate"]["accuracy"]["value"] == 0.1429
    assert rows["the right labels"]["error_usd_per_1000"] == "0"
    assert len({row["right_usd_per_1000"] for row in rows.values()}) == 1


def test_dollars_are_those_of_the_catalogue_for_the_tokens_of_the_request() -> None:
    found = evaluation([(S, routed(M))], output_tokens=1_000)
    [ours, *_] = found.json()["strategies"]
    # "Ask 0" is 5 bytes: 1 token at 30 % more than 4 bytes each. Sonnet 5.5 is $2 in, $10 out; Haiku 5.5 $0.10, $0.50.
    assert ours["answers_usd_per_1000"] == "10.002"
    assert ours["right_usd_per_1000"] == "0.5001"
    assert ours["wasted_usd_per_1000"] == "9.5019"
    assert evaluation([(S, routed(M))], output_tokens=5_000).json()["strategies"][0]["answers_usd_per_1000"] == "10.242"


def test_weights_are_how_many_requests_of_the_traffic_a_line_stands_for() -> None:
    asked = [*items(S, weight=3), *items(C, weight=1)]
    found = Evaluation(asked, [routed(S), routed(S)], lineup(), DAY).json()
    assert found["accuracy"]["value"] == 0.75
    assert found["label_mix"] == {"simple": 0.75, "moderate": 0.0, "complex": 0.25}
    assert found["confusion"]["simple"]["simple"] == 1


def test_the_right_tier_is_the_one_that_the_deployment_gives_to_the_label() -> None:
    laddered = evaluation([(M, routed(M, tier=Tier.HAIKU)), (M, routed(M, tier=Tier.HAIKU)), (S, routed(S))])
    assert laddered.rungs == {S: Tier.HAIKU, M: Tier.HAIKU, C: Tier.OPUS}
    assert laddered.strategies[0].misrouting.under.value == 0.0
    bounded = evaluation([(M, routed(M, "rule:tenant-ceiling", Tier.HAIKU)), (M, routed(M, "budget:x", Tier.HAIKU))])
    assert bounded.rungs[M] is Tier.SONNET  # a bound says nothing of the ladder
    assert bounded.strategies[0].misrouting.under.value == 1.0


def test_where_bounds_leave_one_tier_the_routing_is_told_without_an_accuracy() -> None:
    made = evaluation([(C, routed(None, "rule:tenant-ceiling", Tier.HAIKU))])
    assert made.json()["accuracy"] is None
    [ours, *_] = made.json()["strategies"]
    assert (ours["strategy"], ours["accuracy"], ours["under_routed"]["value"]) == ("this deployment", None, 1.0)
    assert "1 requests needed no label" in printed(lambda console: print_evaluation(console, made))


def test_the_predictions_are_a_line_each_with_what_replay_needs() -> None:
    asked = items(S, C)
    asked += items(M, id="m-1", weight=2)
    found = Evaluation(asked, [routed(M), routed(None), routed(M, "cache")], lineup(), DAY)
    assert [json.loads(line) for line in found.predictions()] == [
        {"prompt": "Ask 0", "label": "simple", "predicted": "moderate", "cause": "classifier", "weight": 1.0},
        {"id": "m-1", "label": "moderate", "predicted": "moderate", "cause": "cache", "weight": 2.0},
    ]


def test_what_a_label_will_cost_is_about_what_it_costs() -> None:
    # The question has about 3,900 characters; Haiku 5.5 is $0.10 in, $0.50 out a million.
    assert Decimal("0.00008") < likely_usd(items(S), lineup(), DAY) < Decimal("0.00016")


# --- attacks


def asks(*labels: Label, cause: str = "classifier") -> list[tuple[Any, Label, str]]:
    return [(item.params, label, cause) for item, label in zip(items(*labels), labels, strict=True)]


def test_each_attack_is_tried_on_so_many_asks_whose_label_it_could_move() -> None:
    probes = flips.probes(asks(*[S] * 10, *[C] * 3), 2)
    counts = Counter((probe.attack.kind, probe.attack.direction) for probe in probes)
    assert counts.pop((CONTROL, CONTROL)) == 13
    assert set(counts.values()) == {2}
    assert len(counts) == len(ATTACKS)
    assert {probe.before for probe in probes if probe.attack.direction == UP} == {S}
    assert {probe.before for probe in probes if probe.attack.direction == DOWN} == {C}
    assert len({probe.item for probe in probes if probe.attack.direction == UP}) == 10  # not always the same ones
    assert flips.probes(asks(*[S] * 10, *[C] * 3), 2) == probes
    assert len(probes) <= flips.most_probes(13, 2)


def test_labels_that_nobody_has_read_from_the_ask_are_not_attacked() -> None:
    assert flips.probes(asks(M, M, cause="default")) == []
    assert flips.probes(asks(M, M, cause="rule:housekeeping")) == []


def test_a_flip_is_a_move_where_the_attack_wants_it() -> None:
    moves = [
        Outcome("order", DOWN, C, M),
        Outcome("order", DOWN, M, S),
        Outcome("order", DOWN, M, C),
        Outcome("order", UP, S, M),
        Outcome("order", UP, M, M),
        Outcome(CONTROL, CONTROL, M, S),
        Outcome(CONTROL, CONTROL, M, M),
    ]
    found = flips.flips_json(moves)
    assert (found["down"]["value"], found["up"]["value"], found["control"]["value"]) == (0.6667, 0.5, 0.5)
    assert found["by_kind"] == {"order": {"down": {"flipped": 2, "n": 3}, "up": {"flipped": 1, "n": 2}}}


def test_an_attacked_ask_whose_classifier_failed_is_no_outcome() -> None:
    [probe, *_] = flips.probes(asks(M))
    assert flips.outcomes([(probe, M, "default"), (probe, None, "classifier")]) == []
    assert len(flips.outcomes([(probe, S, "classifier")])) == 1


# --- on screen


def printed(show: Callable[[Console], None]) -> str:
    text = io.StringIO()
    show(Console(width=160, file=text))
    return text.getvalue()


def test_a_simulated_claude_is_said_first_and_what_is_missing_last() -> None:
    made = evaluation([(S, routed(S)), (M, NotRouted("late"))], simulated=True, attacks=[Outcome("order", DOWN, M, S)])
    text = printed(lambda console: print_evaluation(console, made))
    assert text.startswith("Claude is simulated")
    assert "accuracy 100.0% (20.7% to 100.0%), of 1 of 2 requests" in text
    assert "attacks that want simple: 100.0% (20.7% to 100.0%) flipped" in text
    assert text.rstrip().endswith("line 2: no decision: late")
    assert "simulated" not in printed(lambda console: print_evaluation(console, MIXED))


# --- a local model


@pytest.mark.parametrize(
    ("stated", "right", "said"),
    [
        (0.7, 10, "may be trusted"),
        (0.95, 10, "neither show nor refute"),
        (0.95, 5, "may not be trusted"),
        (None, 10, "at least 72.2%"),
    ],
)
def test_a_local_model_is_trusted_when_the_low_end_of_the_interval_is_not_under_what_it_states(
    stated: float | None, right: int, said: str
) -> None:
    asked = items(*[S] * right, *[M] * (10 - right), *[C] * 10)
    made = LocalEvaluation(asked, [*[S] * 10, *[None] * 10], "v1", stated)
    assert (made.json()["coverage"]["value"], made.json()["agreement"]["value"]) == (0.5, right / 10)
    assert said in made.verdict
    assert said in printed(lambda console: print_local(console, made))
    assert len(made.predictions()) == 10


def test_a_local_model_that_is_never_sure_is_nothing_to_trust() -> None:
    made = LocalEvaluation(items(S, M), [None, None], "v1", 0.9)
    assert made.agreement is None
    assert "never sure" in made.verdict
