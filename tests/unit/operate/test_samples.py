"""Picking requests to label: strata, asks that came several times, and weights that bring the traffic back."""

import json
import random
from collections import Counter
from typing import Any

import pytest

from cost_router.contract import SAMPLES_PREFIX
from infra.operate.samples import Asked, Kept, NoSamples, allotted, draw, kept_in, line_of, pick
from infra.operate.target import Target
from tests.builders import NOW

BODY = {"model": "auto", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}


def stored(id_: str, text: str = "Hi", label: str | None = "simple", **more: Any) -> bytes:
    params = {**BODY, "messages": [{"role": "user", "content": text}]}
    routed = {"label": label, "cause": "classifier", "tier": "haiku", "model": "m", "cost_usd": "0.1", "arm": None}
    sample = {"id": id_, "tenant": "acme", "params": params, "answer": {"content": []}, "routed": routed}
    return json.dumps(sample | more).encode()


def kept(stratum: str, asks: int, each: int = 1) -> list[Kept]:
    """`asks` asks of a stratum, each of which came `each` times."""
    return [Kept(f"{stratum}/{ask}/{time}", stratum, f"{stratum}/{ask}") for ask in range(asks) for time in range(each)]


@pytest.mark.parametrize(
    ("sizes", "n", "shares"),
    [
        ({"simple": 900, "moderate": 90, "complex": 10}, 60, {"simple": 25, "moderate": 25, "complex": 10}),
        ({"simple": 900, "moderate": 90, "complex": 10}, 2_000, {"simple": 900, "moderate": 90, "complex": 10}),
        ({"a": 5, "b": 5, "c": 5}, 4, {"a": 1, "b": 1, "c": 2}),
        ({"a": 5, "b": 5, "c": 5}, 2, {"b": 1, "c": 1}),
    ],
)
def test_strata_give_the_same_and_what_a_small_one_has_not_the_others_give(
    sizes: dict[str, int], n: int, shares: dict[str, int]
) -> None:
    assert allotted(sizes, n) == shares


def test_rare_labels_are_there_and_weights_sum_up_to_the_traffic() -> None:
    rows = [*kept("simple", 900), *kept("moderate", 90), *kept("complex", 10)]
    made = draw(rows, 60, random.Random(7), listed=2_000)
    assert Counter(key.partition("/")[0] for key in made.weights) == {"simple": 25, "moderate": 25, "complex": 10}
    weights = {key.partition("/")[0]: weight for key, weight in made.weights.items()}
    assert weights == {"simple": 72.0, "moderate": 7.2, "complex": 2.0}, "asks / picked * listed / read"
    assert sum(made.weights.values()) == pytest.approx(2_000)
    told = {row.key: (row.requests, row.asks, row.picked) for row in made.strata}
    assert told == {"simple": (900, 900, 25), "moderate": (90, 90, 25), "complex": (10, 10, 10)}


def test_an_ask_is_picked_once_and_weighs_as_often_as_it_came() -> None:
    made = draw([*kept("simple", 2, each=30), *kept("complex", 3)], 10, random.Random(7), listed=63)
    assert Counter(key.rpartition("/")[0] for key in made.weights) == {
        "simple/0": 1,
        "simple/1": 1,
        "complex/0": 1,
        "complex/1": 1,
        "complex/2": 1,
    }
    assert sorted(made.weights.values()) == [1, 1, 1, 30, 30]


def test_the_same_seed_picks_the_same_and_another_others_in_an_order_that_mixes_strata() -> None:
    rows = [*kept("simple", 100), *kept("complex", 100)]
    one, same, other = (list(draw(rows, 20, random.Random(seed), listed=200).weights) for seed in (1, 1, 2))
    assert one == same
    assert set(one) != set(other)
    assert {key.partition("/")[0] for key in one[:10]} == {"simple", "complex"}


def test_requests_that_ask_the_same_of_one_tenant_are_one_ask() -> None:
    def ask(content: bytes) -> str:
        found = kept_in("k", content, "label")
        assert found
        return found.ask

    assert ask(stored("a")) == ask(stored("b", label="moderate"))
    assert ask(stored("a")) != ask(stored("a", "Hello"))
    assert ask(stored("a")) != ask(stored("a", tenant="other"))


@pytest.mark.parametrize(
    ("by", "stratum"),
    [("label", "simple"), ("tier", "haiku"), ("model", "m"), ("cause", "classifier"), ("tenant", "acme")],
)
def test_strata_may_be_made_by_other_keys(by: str, stratum: str) -> None:
    found = kept_in("k", stored("a"), by)
    assert found
    assert found.stratum == stratum


@pytest.mark.parametrize("by", ["arm", "none"])
def test_what_has_no_such_key_is_one_stratum(by: str) -> None:
    found = kept_in("k", stored("a"), by)
    assert found
    assert found.stratum == "(none)"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"5",
        stored("a", params=[]),
        stored("a", params={"messages": 5}),
        stored("a", routed=5),
    ],
)
def test_an_object_that_is_no_sample_is_passed_over(content: bytes) -> None:
    assert kept_in("k", content, "label") is None


def test_a_line_has_the_request_and_where_it_ran_and_neither_a_label_nor_the_answer() -> None:
    assert line_of(stored("a"), 7.2) == {
        "id": "a",
        "params": BODY,
        "label": None,
        "routed": {"label": "simple", "cause": "classifier", "tier": "haiku", "model": "m", "cost_usd": "0.1"},
        "weight": 7.2,
    }


class Store:
    """A client of S3 over objects at hand."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self.objects = objects

    def get_paginator(self, _name: str) -> "Store":
        return self

    def paginate(self, *, Bucket: str, Prefix: str) -> list[dict[str, Any]]:  # noqa: N803  boto3's names
        assert Bucket == "results"
        return [{"Contents": [{"Key": key} for key in self.objects if key.startswith(Prefix)]}]


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> Target:
    store = Store({f"{SAMPLES_PREFIX}/2026-11-15/old.json": stored("old")})
    monkeypatch.setattr(Target, "client", lambda _self, _service: store)
    return Target("prod", "http://127.0.0.1:1", "", "", "results", {}, None)


def test_an_empty_store_says_which_setting_switches_it_on(target: Target) -> None:
    with pytest.raises(NoSamples, match=r"prod keeps no samples, .* the last 7 days; .*-c sample_percent=5"):
        pick(target, Asked(), NOW)


def test_a_store_that_is_on_and_empty_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Target, "client", lambda _self, _service: Store({}))
    on = Target("prod", "http://127.0.0.1:1", "", "", "results", {}, None, sample_percent=5)
    with pytest.raises(NoSamples, match=r"no request was kept in the last 2 days, though 5 % of those"):
        pick(on, Asked(days=2), NOW)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Asked(n=0), "n 0; accepted: 1 to 100000"),
        (Asked(days=31), "days 31; accepted: 1 to 30"),
        (Asked(by="colour"), "by 'colour'; accepted: label, tier"),
    ],
)
def test_a_wrong_option_is_quoted(target: Target, asked: Asked, said: str) -> None:
    with pytest.raises(NoSamples, match=said):
        pick(target, asked, NOW)
