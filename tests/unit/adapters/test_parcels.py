"""Jobs as SQS takes them: how many to a call, which of them leave their params in the bucket."""

import json
from typing import Any

import pytest

from cost_router.adapters.parcels import Parcel, loads, parcel


def sized(size: int, params: int = 0) -> Parcel:
    return Parcel("", size, "t.g", "key" if params else "", b"-" * params)


@pytest.mark.parametrize(
    ("parcels", "expected"),
    [
        ([sized(1)] * 10, [10]),
        ([sized(1)] * 11, [10, 1]),
        ([sized(200_000)] * 5 + [sized(48_576)], [6]),
        ([sized(200_000)] * 5 + [sized(48_577)], [5, 1]),
        ([sized(1, params=4_000_000)] * 3, [2, 1]),
        ([sized(1, params=30_000_000)] * 2, [1, 1]),
    ],
)
def test_a_call_has_ten_messages_and_a_mebibyte_at_the_most(parcels: list[Parcel], expected: list[int]) -> None:
    assert [len(load) for load in loads(parcels)] == expected


def job(text: str) -> dict[str, Any]:
    params = {"max_tokens": 32, "messages": [{"role": "user", "content": text}]}
    return {"custom_id": "a", "params": params, "router": {"tenant": "demo", "group": "nightly"}}


def test_a_message_over_200_kilobytes_leaves_its_params_in_the_bucket() -> None:
    around = parcel("demo", job("")).size
    inside = parcel("demo", job("x" * (200_000 - around)))
    assert (inside.size, inside.key, inside.params) == (200_000, "", b"")
    outside = parcel("demo", job("x" * (200_001 - around)))
    assert json.loads(outside.text) == {
        "custom_id": "a",
        "params_at": "jobs/nightly/a.json",
        "router": {"tenant": "demo", "group": "nightly"},
    }
    assert outside.key == "jobs/nightly/a.json"
    assert json.loads(outside.params)["messages"][0]["content"] == "x" * (200_001 - around)


def test_characters_that_sqs_does_not_take_are_written_so_that_it_does() -> None:
    text = "\ufffe \uffff \u0001 Gr\u00fc\u00dfe \U0001f600"
    found = parcel("demo", job(text)).text
    assert not {"\ufffe", "\uffff", "\u0001"} & set(found)
    assert json.loads(found)["params"]["messages"][0]["content"] == text


def test_a_message_belongs_to_the_group_of_its_tenant_on_the_queue() -> None:
    entry = parcel("demo", job("Hi")).entry("7")
    assert (entry["Id"], entry["MessageGroupId"]) == ("7", "demo.nightly")
    assert json.loads(entry["MessageBody"]) == job("Hi")
