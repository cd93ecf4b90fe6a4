from decimal import Decimal
from typing import Any

import pytest

from infra.operate.report import BadReport, totals
from infra.operate.what_if import against, baseline_notes, named_lineup, price_notes, with_lineup
from tests.unit.operate.entries import ambiguous, classifier, entry

CURRENT, ARTICLE = named_lineup("current"), named_lineup("article")


def test_another_baseline_prices_the_tokens_of_answers_only() -> None:
    found = against([classifier(), entry(), ambiguous()], "sonnet", CURRENT)
    assert [row["baseline_usd"] for row in found] == [0, Decimal("0.003"), 0]  # $2/10 a million
    assert totals(found).saved_usd == Decimal("0.003") - Decimal("0.020235")


def test_the_baseline_of_a_batch_line_is_the_realtime_price() -> None:
    [found] = against([entry(processing="batch")], "sonnet", CURRENT)
    assert found["baseline_usd"] == Decimal("0.003")


def test_the_opus_baseline_is_the_ledgers_own() -> None:
    booked = entry(baseline_usd=Decimal("7.7"))
    assert against([booked], "opus", CURRENT) == [booked]


@pytest.mark.parametrize(
    ("asked", "baseline"),
    [
        ({"asked": "auto"}, "0.006"),  # opus
        ({"asked": "sonnet"}, "0.003"),
        ({"asked": "claude-opus-4-8"}, "0.0075"),  # $5/25 a million
        ({"asked": "claude-next"}, "0.006"),
        ({}, "0.006"),  # an entry from before it was written down
    ],
)
def test_the_asked_baseline_is_the_model_that_the_caller_named(asked: dict[str, str], baseline: str) -> None:
    [found] = against([entry(**asked)], "asked", CURRENT)
    assert found["baseline_usd"] == Decimal(baseline)


def test_a_baseline_is_an_estimate_where_the_tokenizers_differ() -> None:
    assert baseline_notes([classifier(), entry()], "opus", CURRENT) == []
    [note] = baseline_notes([entry(), entry("r2", model="claude-haiku-4-5")], "opus", CURRENT)
    assert "estimate for 1 of 2 answers" in note


def test_another_lineup_prices_each_tier_on_its_own_model_and_labels_on_its_classifier() -> None:
    what_if, notes = with_lineup([classifier(tier="opus"), entry()], ARTICLE, "opus")
    labelled, answered = what_if.entries
    assert (labelled["model"], labelled["cost_usd"]) == ("claude-haiku-4-5", Decimal("0.00085"))  # $1/5 a million
    assert (answered["model"], answered["cost_usd"]) == ("claude-haiku-4-5", Decimal("0.0015"))
    assert answered["baseline_usd"] == Decimal("0.0075")  # claude-opus-4-8, $5/25 a million
    [note] = notes
    assert "estimate" in note
    assert "2 of 2 calls" in note
    assert "2026 counts about 30 % more" in note
    assert "cost less than shown" in note


def test_the_same_lineup_is_no_estimate_and_costs_the_same() -> None:
    entries = [classifier(), entry()]
    what_if, notes = with_lineup(entries, CURRENT, "opus")
    assert notes == []
    assert totals(what_if.entries) == totals(entries)
    assert what_if.json(totals(entries), "tier")["difference_usd"] == "0"


def test_tokens_counted_by_the_older_tokenizer_would_be_more() -> None:
    _, [note] = with_lineup([entry(model="claude-haiku-4-5")], CURRENT, "opus")
    assert "cost more than shown" in note


def test_ambiguous_calls_stay_as_they_were_booked() -> None:
    what_if, [note] = with_lineup([ambiguous()], ARTICLE, "opus")
    assert totals(what_if.entries).cost_usd == Decimal("0.02")
    assert "1 ambiguous" in note


def test_a_long_prompt_is_priced_at_its_step_and_by_the_prices_of_its_day() -> None:
    what_if, _ = with_lineup([entry(input_tokens=100_001, output_tokens=0)], CURRENT, "opus")
    assert what_if.entries[0]["cost_usd"] == Decimal("0.0500005")  # $0.50 a million above 100,000
    too_early = entry(processing="batch", at="2026-10-13T23:59:59.000+00:00")
    with pytest.raises(BadReport, match="2026-10-13"):
        with_lineup([too_early], CURRENT, "opus")


def test_a_wrong_name_is_quoted_with_what_is_accepted() -> None:
    with pytest.raises(BadReport, match=r"'newest'.*current, article"):
        named_lineup("newest")


OPUS_AT_HALF = {"claude-opus-5-5": {"percent": "50", "from": "2026-11-23"}}


def fast_in_the_us() -> dict[str, Any]:
    """1,000 tokens in and 100 out on Opus 5.5, fast ($8/40) and in the US (x 1.1), with two searches ($0.02)."""
    paid = {"cost_usd": Decimal("0.0332"), "baseline_usd": Decimal("0.0332")}
    terms = {"speed": "fast", "inference_geo": "us", "web_search_requests": Decimal(2)}
    return entry(tier="opus", model="claude-opus-5-5") | paid | terms


def test_speed_place_and_searches_are_priced_anew_where_the_other_model_has_them() -> None:
    what_if, _ = with_lineup([fast_in_the_us()], CURRENT, "sonnet")
    assert what_if.entries[0]["cost_usd"] == Decimal("0.0332")
    assert what_if.entries[0]["baseline_usd"] == Decimal("0.0233")  # no fast sonnet: $2/10 x 1.1, and the searches


def test_discounts_are_those_that_are_given() -> None:
    opus = entry(tier="opus", model="claude-opus-5-5", cost_usd=Decimal("0.003"), baseline_usd=Decimal("0.003"))
    yesterday = {**opus, "at": "2026-11-22T23:59:59.000+00:00"}
    discounted = named_lineup("current", OPUS_AT_HALF)
    what_if, _ = with_lineup([opus, yesterday], discounted, "opus")
    assert [row["cost_usd"] for row in what_if.entries] == [Decimal("0.003"), Decimal("0.006")]


def test_other_prices_in_the_ledger_than_those_used_here_are_noted() -> None:
    cheap = entry("r2", tier="opus", model="claude-opus-5-5", cost_usd=Decimal("0.003"))
    assert price_notes([entry(), fast_in_the_us(), ambiguous()]) == []
    [note] = price_notes([entry(), cheap, ambiguous()])
    assert "1 of 2 calls" in note
    assert "--discounts FILE" in note
    assert price_notes([entry(), cheap], OPUS_AT_HALF) == []
