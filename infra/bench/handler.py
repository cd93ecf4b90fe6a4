"""What the CPU measure runs, each in a process of its own: the bare SDK call, and the same through the router."""

import asyncio
import contextlib
import dataclasses
import datetime as dt
import io
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from http import HTTPStatus
from typing import Any, Final

from cost_router.contract import Env
from cost_router.core.arms import Plan
from cost_router.core.budget import Reservation, Scope, Standing
from cost_router.core.ports import Row
from cost_router.core.receipt import Receipt

BARE_CALL: Final = "from infra.bench.handler import bare; bare()"
ROUTED_CALL: Final = "from infra.bench.handler import routed; routed()"
WARM_UP: Final = 20
BODY: Final = {"max_tokens": 64, "messages": [{"role": "user", "content": "Is 97 a prime number? Answer yes or no."}]}


def environment(upstream_url: str) -> dict[str, str]:
    """The variables of a router function whose stores are never reached."""
    return {
        Env.STAGE: "bench",
        Env.LINEUP: "current",
        Env.PROVIDER: "anthropic",
        Env.SECRET_ARN: "none",
        Env.UPSTREAM_URL: upstream_url,
        Env.LABELS_TABLE: "none",
        Env.LEDGER_TABLE: "none",
        Env.TENANTS_TABLE: "none",
        Env.REQUESTS_TABLE: "none",
        Env.LABEL_TTL_DAYS: "7",
        Env.LADDER: "80,95",
        Env.WITHOUT_STORE: "refuse",
        Env.CLASSIFIER_DEADLINE_SECONDS: "3",
        Env.DEADLINE_SECONDS: "27",
        Env.STREAM_DEADLINE_SECONDS: "27",
        Env.MAX_BODY_BYTES: "5000000",
        Env.JOBS_TABLE: "none",
        Env.RESULTS_BUCKET: "none",
        Env.JOBS_QUEUE_URL: "none",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def bare() -> None:
    """Print CPU milliseconds of one call of the unmodified SDK."""
    import anthropic  # noqa: PLC0415  each process measures one thing

    client = anthropic.AsyncAnthropic(api_key="bench", base_url=os.environ["BENCH_URL"], max_retries=0)

    async def call() -> None:
        await client.messages.create(model="claude-haiku-5-5", **BODY)  # type: ignore[call-overload]  # a plain body

    _measure(call)


def routed() -> None:
    """Print CPU milliseconds of one request through the ASGI app, with every store in memory."""
    app = bench_app()
    with contextlib.redirect_stdout(io.StringIO()):  # log lines and metrics are made, as in Lambda, but not shown
        milliseconds = asyncio.run(_per_call(lambda: ask(app)))
    sys.stdout.write(f"{milliseconds}\n")


def bench_app() -> Any:
    """The deployed app but for its stores."""
    return _app(os.environ, None)


def app_over(aws: Any, around: Callable[[Any], Any], env: Mapping[str, str]) -> Any:
    """The deployed app with labels and ledger in DynamoDB, one tenant in memory, and something `around` its Claude."""
    return _app(env, aws, around)


def _app(env: Mapping[str, str], aws: Any, around: Callable[[Any], Any] = lambda claude: claude) -> Any:
    """The deployed app but for its tenants and, without `aws`, for its other stores."""
    from anthropic import AsyncAnthropic  # noqa: PLC0415  each process measures one thing

    from cost_router.adapters.aws import Aws  # noqa: PLC0415  each process measures one thing
    from cost_router.adapters.claude import AnthropicClaude  # noqa: PLC0415  each process measures one thing
    from cost_router.adapters.labels import DynamoLabels  # noqa: PLC0415  each process measures one thing
    from cost_router.adapters.requests import DynamoRequests  # noqa: PLC0415  each process measures one thing
    from cost_router.adapters.system import SystemChance, SystemClock  # noqa: PLC0415  each process measures one thing
    from cost_router.adapters.telemetry import PowertoolsTelemetry  # noqa: PLC0415  each process measures one thing
    from cost_router.core.request import Tenant  # noqa: PLC0415  each process measures one thing
    from cost_router.handlers import wiring, wiring_https  # noqa: PLC0415  each process measures one thing
    from cost_router.handlers.app import make_app  # noqa: PLC0415  each process measures one thing
    from cost_router.handlers.front import Front  # noqa: PLC0415  the same
    from cost_router.handlers.outside import Outside  # noqa: PLC0415  the same
    from cost_router.handlers.settings import RouterSettings, Settings  # noqa: PLC0415  each process measures one thing

    settings, https = Settings.read(env), RouterSettings.read(env)
    client = AsyncAnthropic(api_key="bench", base_url=settings.upstream_url, max_retries=0)

    async def make_client() -> AsyncAnthropic:
        return client

    stores = Memory(Tenant("bench", b"k" * 32))
    log = DynamoRequests(aws, https.requests_table) if aws else Forgotten()
    out = Outside(
        claude=around(AnthropicClaude(make_client)),
        labels=DynamoLabels(aws, settings.labels_table, settings.label_ttl) if aws else stores,
        ledger=wiring.ledger(settings, aws) if aws else stores,
        tenants=stores,
        plans=lambda control, _makers: Unset(Plan(control)),
        telemetry=PowertoolsTelemetry.make("bench"),
        clock=SystemClock(),
        chance=SystemChance(),
        **_caches(aws or Aws(), settings.labels_table),
        requests=log,
    )
    parts = wiring_https.parts(settings, https, aws or Aws(), log)  # no measure reaches batches and feedback
    parts = dataclasses.replace(parts, reader=stores)
    return make_app(Front(wiring.router(settings, out), out, https), parts)


def _caches(aws: Any, table: str) -> dict[str, Any]:
    """What is known of prompt caches; no measure marks its prompts, so it is never reached."""
    from cost_router.adapters.sessions import DynamoPrefixes, DynamoSessions  # noqa: PLC0415  each process measures one thing

    return {"sessions": DynamoSessions(aws, table), "prefixes": DynamoPrefixes(aws, table)}


@dataclass(frozen=True, slots=True)
class Unset:
    """No settings of routing: what they say is remembered for a minute, as tenants are."""

    plan: Plan

    async def current(self) -> Plan:
        """The plan."""
        return self.plan


class Forgotten:
    """A request log that keeps nothing."""

    async def put(self, _receipt: Receipt) -> None:
        """Receipts are made, and dropped."""

    async def get(self, _id: str, _now: dt.datetime) -> Receipt | None:
        """None."""


class Memory:
    """Labels, ledger and tenants that cost nothing: store time is not the router's."""

    def __init__(self, tenant: Any) -> None:
        self.tenant = tenant
        self.labels: dict[str, Any] = {}

    async def get(self, key: str, _now: dt.datetime) -> Any:
        """A label."""
        return self.labels.get(key)

    async def put(self, key: str, label: Any, _now: dt.datetime) -> None:
        """Keep a label."""
        self.labels[key] = label

    async def book(self, _entries: Sequence[Any], _settled: Sequence[Any]) -> None:
        """Entries are made, and dropped."""

    async def reserve(self, _reservation: Reservation) -> None:
        """There is always enough."""

    async def standings(self, _at: dt.datetime, scopes: Sequence[Scope]) -> list[Standing]:
        """Nothing is spent."""
        return [Standing(scope, Decimal(0), Decimal(0)) for scope in scopes]

    async def entries(self, _day: str) -> AsyncIterator[Row]:
        """None."""
        nothing: list[Row] = []
        for row in nothing:
            yield row

    async def by_key(self, _key_hash: str) -> Any:
        """The one tenant."""
        return self.tenant

    async def by_name(self, _name: str) -> Any:
        """The one tenant."""
        return self.tenant


async def ask(app: Any, model: str = "auto", text: str = "") -> None:
    """One request to an ASGI app, without a server; ends the process when it is not answered."""
    body = {"model": model, **BODY, **({"messages": [{"role": "user", "content": text}]} if text else {})}
    headers = [(b"x-api-key", b"bench"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/v1/messages", "headers": headers, "query_string": b""}
    status = 0
    messages = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]

    async def receive() -> dict[str, Any]:
        if not messages:
            await asyncio.Event().wait()  # the caller stays: the app waits for its leaving while it works
        return messages.pop()

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    await app(scope, receive, send)
    if status != HTTPStatus.OK:
        raise SystemExit(f"the router answered {status}")


def _measure(call: Callable[[], Awaitable[None]]) -> None:
    sys.stdout.write(f"{asyncio.run(_per_call(call))}\n")


async def _per_call(call: Callable[[], Awaitable[None]]) -> float:
    """CPU milliseconds a call, after some to warm up."""
    for _ in range(WARM_UP):
        await call()
    calls = int(os.environ["BENCH_CALLS"])
    began = time.process_time()
    for _ in range(calls):
        await call()
    return (time.process_time() - began) / calls * 1000
