"""Counting tokens and listing models through the deployed stack, with the unmodified SDK, through both entrances."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import anthropic
import httpx2
import pytest

from infra.local.stack import LocalStack
from infra.operate.report import read_entries
from tests.integration.meter import Meter

Unique = Callable[[str], str]


def messages(text: str) -> Any:
    return [{"role": "user", "content": text}]


def counted(meter: Meter) -> list[dict[str, Any]]:
    """The counting requests that reached the stand-in."""
    rows: list[dict[str, Any]] = httpx2.get(f"{meter.url}/_requests").json()["requests"]
    return [row for row in rows if row["path"] == "/v1/messages/count_tokens"]


def booked(stack: LocalStack) -> int:
    return len(list(read_entries(stack.target, dt.datetime.now(dt.UTC).date())))


@pytest.mark.parametrize(
    ("model", "served"),
    [("auto", "claude-sonnet-5-5"), ("haiku", "claude-haiku-5-5"), ("claude-sonnet-4-6", "claude-sonnet-4-6")],
)
def test_the_sdk_counts_as_many_tokens_as_claude_and_nothing_is_paid(
    client: anthropic.Anthropic, stack: LocalStack, meter: Meter, unique: Unique, model: str, served: str
) -> None:
    text, before = unique("How many tokens are these, Grüße 😀?"), booked(stack)
    raw = client.messages.with_raw_response.count_tokens(model=model, messages=messages(text), system="Be brief.")
    assert raw.headers["x-router-model"] == served
    (row,) = counted(meter)
    assert row["body"] == {"messages": messages(text), "model": served, "system": "Be brief."}
    with anthropic.Anthropic(base_url=meter.url, api_key="direct") as direct:
        straight = direct.messages.count_tokens(model=served, messages=messages(text), system="Be brief.")
    assert raw.parse() == straight
    assert raw.headers["request-id"].startswith("req_")
    assert (meter.calls(), booked(stack)) == ([], before)


def test_the_beta_client_counts_too(client: anthropic.Anthropic, meter: Meter, unique: Unique) -> None:
    found = client.beta.messages.count_tokens(
        model="auto", messages=messages(unique("Hi")), betas=["context-management-2025-06-27"]
    )
    assert found.input_tokens > 0
    (row,) = counted(meter)
    assert "context-management-2025-06-27" in row["headers"]["anthropic-beta"].split(",")


def test_what_claude_refuses_comes_back_in_its_words_with_its_request_id(
    client: anthropic.Anthropic, meter: Meter, unique: Unique
) -> None:
    extra = {"colour": "red"}
    with pytest.raises(anthropic.BadRequestError) as raised:
        client.messages.count_tokens(model="auto", messages=messages(unique("Hi")), extra_body=extra)
    assert raised.value.response.json()["error"]["message"] == "colour: Extra inputs are not permitted"
    assert raised.value.response.headers["x-router-model"] == "claude-sonnet-5-5"
    assert len(counted(meter)) == 1


def test_an_unknown_model_and_a_wrong_key_are_refused_before_claude_is_asked(
    client: anthropic.Anthropic, entrance: str, meter: Meter
) -> None:
    with pytest.raises(anthropic.NotFoundError, match=r"claude-1.*auto, haiku, sonnet, opus"):
        client.messages.count_tokens(model="claude-1", messages=messages("Hi"))
    with anthropic.Anthropic(base_url=entrance, api_key="wrong", max_retries=0) as stranger:
        with pytest.raises(anthropic.AuthenticationError):
            stranger.messages.count_tokens(model="auto", messages=messages("Hi"))
        with pytest.raises(anthropic.AuthenticationError):
            stranger.models.list()
    assert counted(meter) == []


def test_the_sdk_pages_through_every_model_in_both_directions(client: anthropic.Anthropic) -> None:
    forward = list(client.models.list(limit=5))
    assert [model.id for model in forward[:4]] == ["auto", "haiku", "sonnet", "opus"]
    assert len({model.id for model in forward}) == len(forward) > 10
    assert [model.created_at for model in forward[4:]] == sorted(
        (model.created_at for model in forward[4:]), reverse=True
    )
    last = client.models.list(limit=3, before_id=forward[-1].id)
    backward = [model.id for page in last.iter_pages() for model in reversed(page.data)]
    assert backward == [model.id for model in reversed(forward[:-1])]


def test_the_sdk_reads_a_model_by_name_and_by_dated_alias(client: anthropic.Anthropic) -> None:
    sonnet = client.models.retrieve("sonnet")
    assert (sonnet.display_name, sonnet.line, sonnet.lifecycle) == (
        "Sonnet tier (Claude Sonnet 5.5)",
        "sonnet",
        "active",
    )
    haiku = client.models.retrieve("claude-haiku-4-5-20251001")
    assert (haiku.id, haiku.max_input_tokens, haiku.max_tokens) == ("claude-haiku-4-5", 200_000, 64_000)
    assert haiku.created_at == dt.datetime(2025, 10, 15, tzinfo=dt.UTC)
    assert client.beta.models.retrieve("auto").capabilities is None
    with pytest.raises(anthropic.NotFoundError, match=r"claude-1.*accepted: auto"):
        client.models.retrieve("claude-1")


def test_stages_are_chosen_as_the_sdk_writes_them_and_bad_parameters_are_told(client: anthropic.Anthropic) -> None:
    deprecated = client.models.list(lifecycle=["deprecated", "retired"])
    assert {model.lifecycle for model in deprecated} <= {"deprecated", "retired"}
    assert all(model.lifecycle == "active" for model in client.models.list(lifecycle=["active"]))
    with pytest.raises(anthropic.BadRequestError, match="limit: '1001'"):
        client.models.list(limit=1001)
