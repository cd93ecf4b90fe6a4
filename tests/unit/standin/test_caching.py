"""The prompt cache: each token in exactly one figure, entries that live and expire."""

import dataclasses
import datetime as dt
from typing import Any

import pytest

from cost_router.adapters.claude_replies import read_usage
from cost_router.core.pricing import upper_bound
from cost_router.core.terms import read_terms
from infra.local.standin.billing import costs
from tests.builders import model as catalogue_model
from tests.unit.standin.desk import Desk

Json = dict[str, Any]
MARK = {"type": "ephemeral"}


def marked(text: str, ttl: str | None = None) -> Json:
    return {"type": "text", "text": text, "cache_control": MARK | ({"ttl": ttl} if ttl else {})}


def figures(desk: Desk, body: Json) -> tuple[int, int, int, int]:
    """Fresh, read, written for 5 minutes, written for an hour."""
    usage = desk.post(body).json()["usage"]
    made = usage["cache_creation"]
    assert usage["cache_creation_input_tokens"] == sum(made.values())
    return (
        usage["input_tokens"],
        usage["cache_read_input_tokens"],
        made["ephemeral_5m_input_tokens"],
        made["ephemeral_1h_input_tokens"],
    )


def test_the_first_call_writes_and_the_same_prefix_is_read_until_it_expires(desk: Desk, ask: Json) -> None:
    ask |= {"system": [marked("x" * 4_000)]}  # 1,300 tokens
    assert figures(desk, ask) == (8, 0, 1_300, 0)
    desk.now += 299
    assert figures(desk, ask) == (8, 1_300, 0, 0)
    desk.now += 299  # reading refreshed it
    assert figures(desk, ask) == (8, 1_300, 0, 0)
    desk.now += 300
    assert figures(desk, ask) == (8, 0, 1_300, 0)


def test_another_prefix_or_another_model_reads_nothing(desk: Desk, ask: Json) -> None:
    figures(desk, ask | {"system": [marked("x" * 4_000)]})
    assert figures(desk, ask | {"system": [marked("y" * 4_000)]}) == (8, 0, 1_300, 0)
    assert figures(desk, ask | {"system": [marked("x" * 4_000)], "model": "claude-opus-5-5"}) == (8, 0, 1_300, 0)


def test_a_prefix_under_the_models_minimum_is_not_cached(desk: Desk, ask: Json) -> None:
    ask |= {"model": "claude-sonnet-4-6"}
    for _ in range(2):
        assert figures(desk, ask | {"system": [marked("x" * 4 * 1_023)]}) == (1_031, 0, 0, 0)
    assert figures(desk, ask | {"system": [marked("x" * 4 * 1_024)]}) == (8, 0, 1_024, 0)


def test_a_longer_prefix_reads_what_is_known_and_writes_the_rest(desk: Desk, ask: Json) -> None:
    ask |= {"system": [marked("x" * 4_000)]}
    figures(desk, ask)
    ask["messages"] = [{"role": "user", "content": [marked("y" * 400)]}]
    assert figures(desk, ask) == (3, 1_300, 133, 0)  # 3 message + 130 text
    assert figures(desk, ask) == (3, 1_433, 0, 0)


def test_an_hour_and_five_minutes_are_told_apart(desk: Desk, ask: Json) -> None:
    ask |= {"system": [marked("x" * 4_000, "1h")], "messages": [{"role": "user", "content": [marked("y" * 400)]}]}
    assert figures(desk, ask) == (3, 0, 133, 1_300)
    desk.now += 3_599
    assert figures(desk, ask) == (3, 1_300, 133, 0)


@pytest.mark.parametrize(("between", "read"), [(18, 1_300), (19, 0)])
def test_a_marker_looks_back_20_blocks_itself_included(desk: Desk, ask: Json, between: int, read: int) -> None:
    figures(desk, ask | {"system": [marked("x" * 4_000)]})
    ask["system"] = [{"type": "text", "text": "x" * 4_000}]
    ask["messages"] = [{"role": "user", "content": [*[{"type": "text", "text": "y"}] * between, marked("z")]}]
    assert figures(desk, ask)[1] == read


def test_a_marker_beside_messages_caches_up_to_the_last_block(desk: Desk, ask: Json) -> None:
    ask |= {"cache_control": MARK, "messages": [{"role": "user", "content": "x" * 4_000}]}
    assert figures(desk, ask) == (3, 0, 1_303, 0)
    ask["messages"] += [{"role": "assistant", "content": "yes"}, {"role": "user", "content": "go on"}]
    assert figures(desk, ask) == (3, 1_303, 9, 0)  # 3 + 1 and 3 + 2


@pytest.mark.parametrize("model", ["claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"])
@pytest.mark.parametrize(
    ("fields", "hour"),
    [
        ({"system": "x" * 4_000}, False),
        ({"system": "x" * 4_000, "cache_control": MARK}, False),
        ({"system": "x" * 4_000, "cache_control": MARK | {"ttl": "1h"}}, True),
        ({"system": [marked("x" * 4_000), marked("y" * 4_000, "5m")]}, False),
        ({"system": [marked("x" * 4_000, "1h"), marked("y" * 4_000)]}, True),
        ({"tools": [{"name": "a", "description": "x" * 4_000, "input_schema": {"type": "object"}}]}, False),
        ({"messages": [{"role": "user", "content": [marked("x" * 4_000, "1h")]}]}, True),
    ],
)
def test_no_call_is_billed_above_the_bound_that_its_markers_give(
    desk: Desk, ask: Json, model: str, fields: Json, *, hour: bool
) -> None:
    """The router's bound, which is as tight as the markers let it be, against the stand-in's bill by genai-prices."""
    body = ask | {"model": model} | fields
    for _ in range(2):  # what the first writes the second reads
        assert desk.post(body).status_code == 200
    today = dt.datetime.fromisoformat(desk.meter()[0]["at"]).date()
    terms = read_terms(body)
    assert (terms.cached_for == "1h") is hour
    for call in desk.meter():
        usage = read_usage(call["usage"])
        bound = upper_bound(
            catalogue_model(model),
            prompt_tokens=usage.prompt_tokens,
            max_tokens=usage.output_tokens,
            on=today,
            terms=dataclasses.replace(terms, inference_geo="global"),
        )
        assert sum(costs(call).values()) <= bound
        assert bool(usage.cache_creation_1h_input_tokens) is False or hour
