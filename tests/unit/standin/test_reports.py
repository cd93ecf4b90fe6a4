"""The usage and cost report of the stand-in's organisation: what is in it, and what is refused."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from httpx2 import Response

from infra.local.standin.billing import costs
from tests.unit.standin.desk import Desk

Json = dict[str, Any]
ADMIN = {
    "authorization": "Bearer sk-ant-admin01-made-up",
    "anthropic-version": "2026-10-21",
    "anthropic-beta": "analytics-usage-cost-2026-08-24",
}
DAY = (("starting_at", "2026-11-18T00:00:00Z"), ("ending_at", "2026-11-19T00:00:00Z"))
USAGE, COST = "/v1/organizations/analytics/usage", "/v1/organizations/analytics/cost"
NOON = 1_795_003_200.0  # 2026-11-18T12:00:00Z
HAIKU, OPUS = "claude-haiku-5-5", "claude-opus-5-5"


def get(desk: Desk, path: str, *more: tuple[str, str], headers: Json | None = None) -> Response:
    return desk.client.get(path, params=[*DAY, *more], headers=ADMIN if headers is None else headers)


def report(desk: Desk, path: str, *more: tuple[str, str]) -> Json:
    answer = get(desk, path, *more)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def by(*dimensions: str) -> list[tuple[str, str]]:
    return [("group_by[]", name) for name in dimensions]


def refusal(answer: Response) -> tuple[int, str, str]:
    error = answer.json()["error"]
    return answer.status_code, error["type"], error["message"]


@pytest.fixture
def noon(desk: Desk) -> Desk:
    desk.now = NOON
    return desk


def test_usage_is_the_meters_by_model(noon: Desk, ask: Json) -> None:
    for model in (HAIKU, HAIKU, OPUS):
        noon.post(ask | {"model": model})
    metered = [call["usage"] for call in noon.meter()]
    made = report(noon, USAGE, *by("model", "service_tier"))
    rows = {row["group"]["model"]: row for row in made["data"]}
    assert set(rows) == {HAIKU, OPUS}
    haiku = rows[HAIKU]
    assert haiku["group"]["service_tier"] == "standard"
    assert haiku["group"]["workspace_id"] is None  # not grouped by
    assert haiku["usage"]["requests"] == 2
    assert haiku["usage"]["uncached_input_tokens"] == metered[0]["input_tokens"] + metered[1]["input_tokens"]
    assert haiku["usage"]["output_tokens"] == metered[0]["output_tokens"] + metered[1]["output_tokens"]
    assert (haiku["starting_at"], haiku["ending_at"]) == ("2026-11-18T00:00:00.000Z", "2026-11-19T00:00:00.000Z")
    assert (made["has_more"], made["next_page"], made["data_refreshed_at"]) == (False, None, "2026-11-18T12:00:00.000Z")


def metered(model: str = HAIKU, processing: str = "realtime", **usage: Any) -> Json:
    whole = {"input_tokens": 0, "output_tokens": 0, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}
    return {"model": model, "processing": processing, "at": "2026-11-18T12:00:00.000Z", "usage": whole | usage}


WRITES: Json = {
    "cache_creation_input_tokens": 30,
    "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 10},
}


def test_a_call_is_priced_by_token_type() -> None:
    found = costs(metered(input_tokens=1_000, output_tokens=10, cache_read_input_tokens=100, **WRITES))
    assert found == {
        "uncached_input_tokens": Decimal("0.0001"),
        "cache_read_input_tokens": Decimal("0.000001"),
        "cache_creation.ephemeral_5m_input_tokens": Decimal("0.0000025"),
        "cache_creation.ephemeral_1h_input_tokens": Decimal("0.000002"),
        "output_tokens": Decimal("0.000005"),
    }


def test_a_batch_line_costs_half_and_a_long_prompt_five_times_as_much() -> None:
    assert costs(metered(processing="batch", input_tokens=1_000))["uncached_input_tokens"] == Decimal("0.00005")
    assert costs(metered(input_tokens=100_000))["uncached_input_tokens"] == Decimal("0.01")
    assert costs(metered(input_tokens=100_001))["uncached_input_tokens"] == Decimal("0.0500005")


def test_costs_are_cents_as_decimal_strings_by_token_type(noon: Desk, ask: Json) -> None:
    noon.post(ask)
    [call] = noon.meter()
    made = report(noon, COST, *by("model", "cost_type", "token_type"))
    rows = {row["group"]["token_type"]: row for row in made["data"]}
    cents = Decimal(call["usage"]["input_tokens"]) / 100_000  # $0.10 a million tokens
    assert Decimal(rows["uncached_input_tokens"]["cost"]["amount"]) == cents
    assert set(rows) == {"uncached_input_tokens", "output_tokens"}
    row = rows["output_tokens"]
    assert row["group"]["cost_type"] == "tokens"
    assert (row["cost"]["currency"], row["cost"]["requests"]) == ("USD", None)
    assert row["cost"]["list_amount"] == row["cost"]["amount"]


def test_without_groups_there_is_one_row_for_the_whole_range(noon: Desk, ask: Json) -> None:
    assert report(noon, COST)["data"] == []
    noon.post(ask)
    noon.post(ask | {"model": OPUS})
    [row] = report(noon, COST)["data"]
    assert row["cost"]["requests"] == 2
    assert {row["group"][name] for name in row["group"]} == {None}
    assert "E" not in row["cost"]["amount"]


def test_pages_hold_whole_groups_and_are_followed_by_their_token(noon: Desk, ask: Json) -> None:
    for model in (HAIKU, "claude-sonnet-5-5", OPUS):
        noon.post(ask | {"model": model})
    seen: list[str] = []
    page: list[tuple[str, str]] = []
    for more in (True, True, False):
        made = report(noon, COST, *by("model", "token_type"), ("limit", "1"), *page)
        assert len(made["data"]) == 2  # input and output: they do not count toward the limit
        seen += {row["group"]["model"] for row in made["data"]}
        assert made["has_more"] is more
        page = [("page", made["next_page"])]
    assert seen == [OPUS, "claude-sonnet-5-5", HAIKU]  # dearest first


def test_a_bucket_holds_its_start_and_not_its_end(noon: Desk, ask: Json) -> None:
    for at in (NOON - 0.001, NOON, NOON + 3_599.999, NOON + 3_600):
        noon.now = at
        noon.post(ask)
    made = report(noon, USAGE, ("time_bucket_width", "1h"), ("order_by", "time"), ("order", "asc"))
    assert [(row["starting_at"], row["usage"]["requests"]) for row in made["data"]] == [
        ("2026-11-18T11:00:00.000Z", 1),
        ("2026-11-18T12:00:00.000Z", 2),
        ("2026-11-18T13:00:00.000Z", 1),
    ]


def test_a_range_holds_its_start_and_not_its_end(noon: Desk, ask: Json) -> None:
    for day, second in ((17, 59), (18, 0), (18, 59), (19, 0)):
        hour, minute = (0, 0) if second == 0 else (23, 59)
        noon.now = dt.datetime(2026, 11, day, hour, minute, second, tzinfo=dt.UTC).timestamp()
        noon.post(ask)
    assert report(noon, USAGE)["data"][0]["usage"]["requests"] == 2


def test_what_is_too_young_is_not_there_yet_and_the_report_says_how_far_it_reaches(noon: Desk, ask: Json) -> None:
    noon.script(report_delay=300)
    noon.post(ask)
    noon.now += 299.999
    assert report(noon, USAGE)["data"] == []
    noon.now += 0.001
    made = report(noon, USAGE)
    assert made["data"][0]["usage"]["requests"] == 1
    assert made["data_refreshed_at"] == "2026-11-18T12:00:00.000Z"


def test_filters_leave_out_other_keys_and_workspaces(noon: Desk, ask: Json) -> None:
    noon.post(ask)
    noon.post(ask, x_api_key="another")
    ids = [call["api_key_id"] for call in noon.meter()]
    assert len(set(ids)) == 2
    [row] = report(noon, USAGE, ("api_key_ids[]", ids[0]), *by("api_key_id", "workspace_id"))["data"]
    assert (row["usage"]["requests"], row["group"]["api_key_id"]) == (1, ids[0])
    assert row["group"]["workspace_id"] == "wrkspc_standin"
    assert report(noon, USAGE, ("workspace_ids[]", "wrkspc_elsewhere"))["data"] == []
    assert report(noon, COST, ("models[]", OPUS))["data"] == []


def test_models_up_to_4_5_are_named_by_their_date(noon: Desk, ask: Json) -> None:
    noon.post(ask | {"model": "claude-haiku-4-5"})
    assert report(noon, USAGE, *by("model"))["data"][0]["group"]["model"] == "claude-haiku-4-5-20251001"


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({}, (401, "authentication_error", "x-api-key header is required")),
        ({"x-api-key": "sk-ant-api03-made-up"}, (401, "authentication_error", "invalid x-api-key")),
        ({"x-api-key": "sk-ant-admin"}, (400, "invalid_request_error", "anthropic-version: header is required")),
        (
            {"x-api-key": "sk-ant-admin", "anthropic-version": "2026-10-21"},
            (400, "invalid_request_error", "anthropic-beta: this endpoint requires analytics-usage-cost-2026-08-24"),
        ),
    ],
)
@pytest.mark.parametrize("path", [USAGE, COST])
def test_the_report_takes_an_admin_key_a_version_and_the_beta(
    noon: Desk, path: str, headers: Json, refused: tuple[int, str, str]
) -> None:
    assert refusal(get(noon, path, headers=headers)) == refused


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"starting_at": None}, "starting_at: Field required"),
        ({"starting_at": "2026-11-18"}, "starting_at: '2026-11-18' is not an RFC 3339 timestamp with a time zone"),
        ({"starting_at": "soon"}, "starting_at: 'soon' is not"),
        ({"starting_at": "2025-12-31T23:59:59Z"}, "no earlier than 2026-01-01"),
        ({"ending_at": "2026-11-18T00:00:00Z"}, "ending_at: must be after starting_at"),
        ({"ending_at": "2026-12-19T00:00:01Z"}, "at most 31 days"),
        ({"ending_at": "2026-11-19T00:00:01Z", "time_bucket_width": "1m"}, "24 hours"),
        ({"ending_at": None, "time_bucket_width": "1d"}, "ending_at: required"),
        ({"time_bucket_width": "1w"}, "Input should be '1m', '1h', '1d'; it is '1w'"),
        ({"group_by[]": "token_type"}, "'api_key_id'; it is 'token_type'"),
        ({"group_by": "model"}, "group_by: Extra inputs are not permitted"),
        ({"order_by": "amount"}, "it is 'amount'"),
        ({"limit": "0"}, "limit: '0' is not between 1 and 1000"),
        ({"limit": "1001"}, "limit: '1001'"),
        ({"page": "page_x"}, "page: 'page_x' is not a page token"),
        ({"page": "page_LTE="}, "page: 'page_LTE=' is not a page token"),
    ],
)
def test_a_wrong_query_is_refused_with_what_is_accepted(noon: Desk, query: dict[str, str | None], said: str) -> None:
    asked = {name: value for name, value in (dict(DAY) | query).items() if value is not None}
    answer = noon.client.get(USAGE, params=asked, headers=ADMIN)
    status, kind, message = refusal(answer)
    assert (status, kind) == (400, "invalid_request_error")
    assert said in message


def test_the_longest_range_is_31_days(noon: Desk) -> None:
    query = {"starting_at": "2026-11-18T00:00:00Z", "ending_at": "2026-12-19T00:00:00Z"}
    assert noon.client.get(USAGE, params=query, headers=ADMIN).status_code == 200
