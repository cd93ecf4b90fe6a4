"""`GET /v1/models` and `GET /v1/models/{id}`: what may be named as `model`, in the API's shape and pages."""

import datetime as dt
from typing import Any

import pytest
from anthropic.types import ModelInfo

from cost_router.core.offers import Offer, Offers
from cost_router.handlers.models import model_info
from tests.builders import World, catalogue, lineup
from tests.unit.handlers.client import WITH_KEY, error_of, request

DAY = dt.date(2026, 11, 30)  # on which Claude Sonnet 4.5 is retired


def asked(world: World, path: str = "/v1/models") -> dict[str, Any]:
    reply = request(world, "GET", path, WITH_KEY)
    assert reply.status_code == 200, reply.text
    body: dict[str, Any] = reply.json()
    return body


def ids(body: dict[str, Any]) -> list[str]:
    return [row["id"] for row in body["data"]]


def test_auto_comes_first_then_the_tiers_then_every_model_newest_first() -> None:
    body = asked(World())
    assert ids(body) == [
        "auto",
        "haiku",
        "sonnet",
        "opus",
        "claude-haiku-5-5",
        "claude-sonnet-5-5",
        "claude-opus-5-5",
        "claude-opus-5",
        "claude-sonnet-5",
        "claude-opus-4-8",
        "claude-opus-4-7",
        "claude-sonnet-4-6",
        "claude-opus-4-6",
        "claude-opus-4-5",
        "claude-haiku-4-5",
        "claude-sonnet-4-5",
    ]
    assert set(ids(body)[4:]) == set(catalogue().ids)
    assert (body["has_more"], body["first_id"], body["last_id"]) == (False, "auto", "claude-sonnet-4-5")


def test_auto_and_the_tiers_say_which_models_serve_them() -> None:
    rows = {row["id"]: row for row in asked(World())["data"]}
    assert rows["auto"]["display_name"] == "Auto (Claude Haiku 5.5, Claude Sonnet 5.5 or Claude Opus 5.5)"
    assert rows["opus"]["display_name"] == "Opus tier (Claude Opus 5.5)"
    assert (rows["auto"]["created_at"], rows["auto"]["line"]) == ("1970-01-01T00:00:00Z", None)
    assert (rows["opus"]["created_at"], rows["opus"]["line"]) == ("2026-09-22T00:00:00Z", "opus")
    assert (rows["auto"]["max_input_tokens"], rows["auto"]["max_tokens"]) == (1_000_000, 128_000)


def test_auto_takes_what_the_largest_model_of_the_lineup_takes() -> None:
    offers = Offers(catalogue(), lineup("article"))
    auto, haiku = offers.find("auto"), offers.find("haiku")
    assert (haiku.display_name, haiku.context_window, haiku.max_output_tokens) == (
        "Haiku tier (Claude Haiku 4.5)",
        200_000,
        64_000,
    )
    assert (auto.context_window, auto.max_output_tokens) == (1_000_000, 128_000)


def test_a_model_has_every_field_of_the_installed_sdks_type_and_no_other() -> None:
    body = asked(World(), "/v1/models/claude-sonnet-4-5")
    assert body == {
        "type": "model",
        "id": "claude-sonnet-4-5",
        "display_name": "Claude Sonnet 4.5",
        "created_at": "2025-09-29T00:00:00Z",
        "lifecycle": "deprecated",
        "deprecated_at": None,
        "retires_at": "2026-11-30T00:00:00Z",
        "line": "sonnet",
        "max_input_tokens": 200_000,
        "max_tokens": 64_000,
        "capabilities": None,
    }
    assert set(body) == set(ModelInfo.model_fields)
    for row in asked(World())["data"]:
        ModelInfo.model_validate(row, strict=False)


@pytest.mark.parametrize(
    ("name", "id_"),
    [
        ("auto", "auto"),
        ("haiku", "haiku"),
        ("claude-opus-5", "claude-opus-5"),
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
    ],
)
def test_a_model_is_found_by_its_id_and_by_its_dated_alias(name: str, id_: str) -> None:
    assert asked(World(), f"/v1/models/{name}?beta=true")["id"] == id_


@pytest.mark.parametrize("name", ["claude-1", "claude-haiku-4-5-20200101", "AUTO"])
def test_an_unknown_model_is_a_404_in_the_apis_words_that_lists_what_is_accepted(name: str) -> None:
    reply = request(World(), "GET", f"/v1/models/{name}", WITH_KEY)
    error = error_of(reply)
    assert (reply.status_code, error["type"]) == (404, "not_found_error")
    assert error["message"].startswith(
        f"model: '{name}' is not known here; accepted: auto, haiku, sonnet, opus, claude-"
    )


def test_pages_are_cut_by_limit_and_cursor() -> None:
    world = World()
    first = asked(world, "/v1/models?limit=5")
    assert (len(first["data"]), first["has_more"], first["last_id"]) == (5, True, "claude-haiku-5-5")
    second = asked(world, f"/v1/models?limit=1000&after_id={first['last_id']}")
    assert (len(second["data"]), second["has_more"]) == (11, False)
    before = asked(world, f"/v1/models?limit=2&before_id={second['first_id']}")
    assert (ids(before), before["has_more"]) == (["opus", "claude-haiku-5-5"], True)
    empty = asked(world, f"/v1/models?after_id={second['last_id']}")
    assert empty == {"data": [], "has_more": False, "first_id": None, "last_id": None}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("limit=0", "limit: '0'; accepted: a whole number from 1 to 1000"),
        ("limit=1001", "limit: '1001'"),
        ("limit=many", "limit: 'many'"),
        ("limit=", "limit: ''"),
        ("limit=%D9%A3", "limit: '٣'"),
        ("after_id=claude-1", "after_id: 'claude-1' is not in the list"),
        ("before_id=claude-1", "before_id: 'claude-1' is not in the list"),
        ("after_id=auto&before_id=opus", "after_id: 'auto' and before_id: 'opus'"),
        ("lifecycle=fresh", "lifecycle: 'fresh'; accepted: active, deprecated, retired"),
        ("lifecycle%5B%5D=fresh", "lifecycle: 'fresh'"),
    ],
)
def test_a_bad_parameter_is_refused_with_its_value(query: str, said: str) -> None:
    reply = request(World(), "GET", f"/v1/models?{query}", WITH_KEY)
    assert (reply.status_code, error_of(reply)["type"]) == (400, "invalid_request_error")
    assert said in error_of(reply)["message"]


def test_parameters_of_newer_clients_and_empty_cursors_are_passed_over() -> None:
    assert len(asked(World(), "/v1/models?beta=true&colour=red&after_id=&before_id=")["data"]) == 16


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", (15, False)),
        ("?lifecycle[]=active&lifecycle[]=deprecated", (15, False)),
        ("?lifecycle=retired", (1, True)),
        ("?lifecycle[]=active&lifecycle[]=retired", (16, True)),
    ],
)
def test_a_model_whose_day_has_come_is_listed_only_when_retired_ones_are_asked_for(
    query: str, expected: tuple[int, bool]
) -> None:
    world = World()
    world.clock.at = dt.datetime.combine(DAY, dt.time(), dt.UTC)
    found = ids(asked(world, f"/v1/models{query}"))
    assert (len(found), "claude-sonnet-4-5" in found) == expected


def test_a_model_is_deprecated_until_the_day_on_which_it_is_retired() -> None:
    offer = Offer("m", "M", dt.date(2025, 1, 1), None, 1, 1, retires_on=DAY)
    shown = {day: model_info(offer, day)["lifecycle"] for day in (DAY - dt.timedelta(days=1), DAY)}
    assert list(shown.values()) == ["deprecated", "retired"]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/auto"])
def test_a_key_is_needed_and_a_look_at_the_list_is_told(path: str) -> None:
    world = World()
    reply = request(world, "GET", path)
    assert (reply.status_code, error_of(reply)["type"]) == (401, "authentication_error")
    asked(world, path)
    assert [(record.kind, record.status, record.tenant) for record in world.telemetry.records] == [
        ("models", 401, "nobody"),
        ("models", 200, "acme"),
    ]
    assert (world.claude.calls, world.claude.counts) == ([], [])
