"""Large answers, by the marker that asks for them."""

from typing import Any

import pytest

from tests.unit.standin.desk import Desk, classify

Json = dict[str, Any]


def asking(ask: Json, size: int, max_tokens: int) -> Json:
    return ask | {"max_tokens": max_tokens, "messages": [{"role": "user", "content": f"Write [[bytes:{size}]]"}]}


@pytest.mark.parametrize(("size", "tokens"), [(100, 2), (64_000, 1_000), (64_001, 1_001), (7_000_000, 109_375)])
def test_an_answer_has_as_many_bytes_as_are_asked_for_in_tokens_that_fit_a_model(
    desk: Desk, ask: Json, size: int, tokens: int
) -> None:
    answer = desk.post(asking(ask, size, 128_000)).json()
    text = answer["content"][0]["text"]
    assert text.startswith("[stand-in answer from claude-haiku-5-5] This answer is simulated: ")
    assert len(text.encode()) == size
    assert (answer["stop_reason"], answer["usage"]["output_tokens"]) == ("end_turn", tokens)
    assert desk.meter()[-1]["usage"]["output_tokens"] == tokens


def test_max_tokens_ends_it(desk: Desk, ask: Json) -> None:
    answer = desk.post(asking(ask, 7_000_000, 1_000)).json()
    assert (answer["stop_reason"], answer["usage"]["output_tokens"]) == ("max_tokens", 1_000)
    assert len(answer["content"][0]["text"]) == 64_000


def test_a_classifier_that_reads_the_marker_gives_its_label(desk: Desk) -> None:
    answer = desk.post(classify("Write [[bytes:7000000]]")).json()
    assert len(answer["content"][0]["text"]) < 100


def test_streamed_it_is_the_same_text(desk: Desk, ask: Json) -> None:
    whole = desk.post(asking(ask, 10_000, 1_000)).json()["content"][0]["text"]
    streamed = desk.post(asking(ask, 10_000, 1_000) | {"stream": True}).text
    assert streamed.count("event: content_block_delta") == 417  # of 24 characters
    assert streamed.count(".") == whole.count(".")
