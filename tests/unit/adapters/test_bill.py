"""The provider's bill through the SDK: against the stand-in, and against a server that says what a test tells it to."""

import datetime as dt
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx2
import pytest
from anthropic import AsyncAnthropic
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cost_router.adapters import bill
from cost_router.adapters.bill import AnthropicBill
from cost_router.core.errors import NotConfigured, StoreError
from cost_router.core.pricing import Usage
from cost_router.core.statement import Billed, Statement
from infra.local.standin.app import create_app
from tests.builders import run
from tests.unit.adapters.upstream import listening, refusal, trickling

DAY = dt.date(2026, 11, 18)
NOON = dt.datetime(2026, 11, 18, 12, tzinfo=dt.UTC)
ADMIN_KEY = "sk-ant-admin01-made-up"
HAIKU, SONNET, OPUS = "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"


@asynccontextmanager
async def opened(url: str, key: str, **options: Any) -> AsyncIterator[AnthropicBill]:
    """A bill whose client is closed at the end, and would retry if it were let."""
    async with AsyncAnthropic(api_key=key, base_url=url, max_retries=2) as client:

        async def make() -> AsyncAnthropic:
            return client

        yield AnthropicBill(make, **options)


def statement(url: str, key: str = ADMIN_KEY, day: dt.date = DAY, **options: Any) -> Statement:
    async def read() -> Statement:
        async with opened(url, key, **options) as made:
            return await made.statement(day)

    return run(read())


@pytest.fixture
def standin() -> Iterator[str]:
    """A stand-in at noon of the day."""
    with listening(create_app(NOON.timestamp)) as url:
        yield url


def ask(url: str, model: str, key: str = "any", **more: Any) -> dict[str, Any]:
    body = {"model": model, "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]} | more
    answer = httpx2.post(f"{url}/v1/messages", json=body, headers={"x-api-key": key, "anthropic-version": "2026-10-21"})
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["usage"])


def test_a_day_without_calls_is_an_empty_statement(standin: str) -> None:
    assert statement(standin) == Statement((), NOON)


def test_tokens_and_dollars_come_by_bucket(standin: str) -> None:
    text = [{"type": "text", "text": "long " * 2_000, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    wrote, read = ask(standin, HAIKU, system=text), ask(standin, HAIKU, system=text)
    written = wrote["cache_creation"]["ephemeral_1h_input_tokens"]
    assert (written, read["cache_read_input_tokens"]) == (3_250, 3_250)  # 10,000 bytes
    [row] = statement(standin).rows
    fresh = wrote["input_tokens"] + read["input_tokens"]
    out = wrote["output_tokens"] + read["output_tokens"]
    assert (row.model, row.processing) == (HAIKU, "realtime")
    assert row.usage == Usage(fresh, 3_250, 0, 3_250, out)
    assert row.usd == {
        "input": fresh * Decimal("0.0000001"),
        "cache_read": Decimal("0.0000325"),
        "cache_write_1h": Decimal("0.00065"),
        "output": out * Decimal("0.0000005"),
    }
    assert row.list_usd == sum(row.usd.values())


def test_pages_are_followed_to_the_end(standin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for model in (HAIKU, SONNET, OPUS):
        ask(standin, model)
    whole = statement(standin)
    monkeypatch.setattr(bill, "ROWS_A_PAGE", 1)
    assert [row.model for row in whole.rows] == [HAIKU, OPUS, SONNET]
    assert statement(standin) == whole


def test_only_the_day_that_was_asked_for_is_in_it(standin: str) -> None:
    ask(standin, HAIKU)
    assert statement(standin, day=DAY - dt.timedelta(days=1)).rows == ()


def test_other_traffic_is_left_out_by_workspace_and_by_key(standin: str) -> None:
    ask(standin, HAIKU, key="ours")
    ask(standin, OPUS, key="theirs")
    ours = httpx2.get(f"{standin}/_meter").json()["calls"][0]["api_key_id"]
    assert [row.model for row in statement(standin, api_key_id=ours).rows] == [HAIKU]
    assert len(statement(standin, workspace_id="wrkspc_standin").rows) == 2
    assert statement(standin, workspace_id="wrkspc_elsewhere").rows == ()


def test_a_statement_says_how_far_the_data_reaches(standin: str) -> None:
    httpx2.post(f"{standin}/_script", json={"report_delay": 300}).raise_for_status()
    assert statement(standin).refreshed_at == NOON - dt.timedelta(minutes=5)


def test_a_key_that_is_no_admin_key_is_refused_with_where_to_get_one(standin: str) -> None:
    with pytest.raises(NotConfigured, match=r"invalid x-api-key.*platform\.claude\.com/settings/admin-keys") as error:
        statement(standin, "sk-ant-api03-secret")
    assert "sk-ant-api03-secret" not in str(error.value)


def test_a_refused_query_is_told_in_the_apis_words(standin: str) -> None:
    with pytest.raises(StoreError, match=r"refused: .*400.*within the last 365 days"):
        statement(standin, day=dt.date(2025, 12, 31))


@dataclass
class Provider:
    """What the reports say next, and how often they were asked."""

    url: str = ""
    usage: list[Any] = field(default_factory=list)
    cost: list[Any] = field(default_factory=list)
    reply: Response | None = None
    asked: int = 0


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()

    async def report(request: Request) -> Response:
        made.asked += 1
        rows = made.usage if request.url.path.endswith("usage") else made.cost
        return made.reply or JSONResponse({"data": rows, "has_more": False, "next_page": None})

    with listening(Starlette(routes=[Route("/v1/organizations/analytics/{kind}", report)])) as made.url:
        yield made


def used(tier: str | None = "standard", model: str | None = HAIKU, **changes: Any) -> dict[str, Any]:
    tokens = {"uncached_input_tokens": 10, "cache_read_input_tokens": 0, "output_tokens": 2, "total_tokens": 12}
    writes = {"cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}}
    return {"group": {"model": model, "service_tier": tier}, "usage": {**tokens, **writes, **changes}}


def cost(
    token_type: str | None, amount: str, tier: str | None = "standard", model: str | None = HAIKU, **changes: Any
) -> dict[str, Any]:
    group = {"model": model, "service_tier": tier, "token_type": token_type}
    return {"group": group, "cost": {"amount": amount, "list_amount": "200", "currency": "USD", **changes}}


def test_amounts_are_cents_and_list_prices_are_kept_apart(provider: Provider) -> None:
    provider.usage = [used()]
    provider.cost = [cost("uncached_input_tokens", "123.78912"), cost("output_tokens", "0.00005")]
    usd = {"input": Decimal("1.2378912"), "output": Decimal("0.0000005")}
    assert statement(provider.url).rows == (Billed(HAIKU, "realtime", Usage(10, 0, 0, 0, 2), usd, Decimal(4)),)
    assert statement(provider.url).refreshed_at is None


def test_service_tiers_are_processings_and_unknown_ones_keep_their_names(provider: Provider) -> None:
    provider.usage = [used("batch"), used("priority"), used(None)]
    assert [(row.processing, row.usd) for row in statement(provider.url).rows] == [
        ("(no tier)", None),
        ("batch", None),
        ("priority", None),
    ]


def test_dollars_that_are_no_tokens_price_are_other_and_none_is_lost(provider: Provider) -> None:
    provider.cost = [cost(None, "5", None, None), cost("new_kind_of_tokens", "7"), cost(None, "1")]
    assert [(row.model, row.usage, row.usd) for row in statement(provider.url).rows] == [
        ("(no model)", None, {"other": Decimal("0.05")}),
        (HAIKU, None, {"other": Decimal("0.08")}),
    ]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"cost": [cost("output_tokens", "1", currency="EUR")]}, "an amount in 'EUR'; accepted: 'USD'"),
        ({"cost": [cost("output_tokens", "much")]}, "not what it should be"),
        ({"cost": [cost("output_tokens", "NaN")]}, "'NaN' is not an amount of cents"),
        ({"usage": [used(output_tokens=None)]}, "output_tokens: None is not a number of tokens"),
        ({"usage": [{"group": None}]}, "not what it should be"),
    ],
)
def test_a_report_that_cannot_be_booked_is_an_error(provider: Provider, rows: dict[str, Any], said: str) -> None:
    provider.usage, provider.cost = rows.get("usage", []), rows.get("cost", [])
    with pytest.raises(StoreError, match=said):
        statement(provider.url)


@pytest.mark.parametrize("status", [429, 500, 529])
def test_a_failure_is_not_retried_here(provider: Provider, status: int) -> None:
    provider.reply = refusal(status, "api_error")
    with pytest.raises(StoreError, match=f"refused with {status}"):
        statement(provider.url)
    assert provider.asked == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_without_the_permission_is_not_configured(provider: Provider, status: int) -> None:
    provider.reply = refusal(status, "permission_error")
    with pytest.raises(NotConfigured, match="sk-ant-admin"):
        statement(provider.url)


def test_a_page_of_html_is_an_error(provider: Provider) -> None:
    provider.reply = Response("<html>", media_type="text/html")
    with pytest.raises(StoreError, match="usage and cost report"):
        statement(provider.url)


def test_a_report_that_does_not_end_is_given_up(provider: Provider) -> None:
    provider.reply = trickling(0.01)
    with pytest.raises(StoreError, match="did not arrive: TimeoutError"):
        statement(provider.url, seconds=0.2)


def test_nobody_there_is_an_error() -> None:
    with pytest.raises(StoreError, match="did not arrive: APIConnectionError"):
        statement("http://127.0.0.1:9")
