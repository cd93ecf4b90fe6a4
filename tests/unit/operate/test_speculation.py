"""Whether speculation pays, in figures that can be checked by hand."""

from decimal import Decimal
from typing import Any

import pytest

from cost_router.core.words import Label
from infra.operate.speculation import speculation_estimate

MIX = {Label.SIMPLE: 60, Label.MODERATE: 30, Label.COMPLEX: 10}
HAIKU = Decimal("0.0002")


def test_used_answers_save_the_classifiers_time_and_abandoned_ones_cost_money() -> None:
    found = speculation_estimate(MIX, 500.0, HAIKU)
    assert (found.used, found.abandoned) == (Decimal(600), Decimal(400))
    assert found.extra_usd == Decimal("0.08")
    assert found.saved_seconds == Decimal(300)
    assert found.usd_per_second == Decimal("0.08") / 300


def test_shares_and_numbers_mean_the_same() -> None:
    shares = {Label.SIMPLE: 0.6, Label.MODERATE: 0.3, Label.COMPLEX: 0.1}
    assert speculation_estimate(shares, 500.0, HAIKU) == speculation_estimate(MIX, 500.0, HAIKU)


def test_the_shorter_of_the_two_waits_is_saved() -> None:
    assert speculation_estimate(MIX, 500.0, HAIKU, begin_ms=300.0).saved_ms == Decimal(300)
    assert speculation_estimate(MIX, 500.0, HAIKU, begin_ms=900.0).saved_ms == Decimal(500)


def test_a_label_that_is_known_without_the_classifier_neither_saves_nor_costs() -> None:
    found = speculation_estimate(MIX, 500.0, HAIKU, classified=0.25)
    assert (found.used, found.abandoned, found.extra_usd) == (Decimal(150), Decimal(100), Decimal("0.02"))


def test_what_is_booked_is_told_beside_what_it_costs() -> None:
    found = speculation_estimate(MIX, 500.0, HAIKU, bound_usd=Decimal("0.016"))
    assert (found.extra_usd, found.booked_usd) == (Decimal("0.08"), Decimal("6.4"))


def test_other_labels_may_run_on_haiku_too() -> None:
    assert speculation_estimate(MIX, 500.0, HAIKU, used=[Label.SIMPLE, Label.MODERATE]).used == Decimal(900)


def test_it_pays_up_to_what_a_second_is_worth() -> None:
    found = speculation_estimate({Label.SIMPLE: 1, Label.COMPLEX: 1}, 500.0, HAIKU)  # $0.1 for 250 s
    assert found.pays(Decimal("0.0004"))
    assert not found.pays(Decimal("0.0003"))


@pytest.mark.parametrize("mix", [{Label.COMPLEX: 1}, {Label.SIMPLE: 0, Label.COMPLEX: 1}])
def test_where_nothing_is_simple_it_never_pays(mix: Any) -> None:
    found = speculation_estimate(mix, 500.0, HAIKU)
    assert found.usd_per_second is None
    assert not found.pays(Decimal(1_000))
    assert found.json()["usd_per_second"] is None


def test_where_all_is_simple_it_costs_nothing() -> None:
    found = speculation_estimate({Label.SIMPLE: 1}, 500.0, HAIKU)
    assert (found.extra_usd, found.pays(Decimal(0))) == (Decimal(0), True)


def test_its_json_has_dollars_as_decimal_strings() -> None:
    assert speculation_estimate(MIX, 500.0, HAIKU, bound_usd=Decimal("0.016")).json() == {
        "used_per_1000": 600.0,
        "abandoned_per_1000": 400.0,
        "saved_ms_per_used": 500.0,
        "saved_seconds_per_1000": 300.0,
        "extra_usd_per_1000": "0.08",
        "booked_usd_per_1000": "6.4",
        "usd_per_second": "0.000267",
    }


@pytest.mark.parametrize(
    ("named", "changes"),
    [
        ("mix", {"mix": {}}),
        ("mix", {"mix": {Label.SIMPLE: 0}}),
        ("mix.simple", {"mix": {Label.SIMPLE: -1}}),
        ("classifier_ms", {"classifier_ms": float("nan")}),
        ("begin_ms", {"begin_ms": -1.0}),
        ("classified", {"classified": float("inf")}),
    ],
)
def test_what_is_no_measurement_is_refused_by_name(named: str, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{named}: .*accepted"):
        speculation_estimate(**{"mix": MIX, "classifier_ms": 500.0, "haiku_usd": HAIKU, **changes})
