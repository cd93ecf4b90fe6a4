"""The composition root: settings in, ready parts out. Tests call it with fakes in place of the adapters."""

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

from cost_router.adapters.alerts import SnsAlerts
from cost_router.adapters.attempts import DynamoAttempts
from cost_router.adapters.aws import Aws
from cost_router.adapters.batch_store import DynamoBatchStore
from cost_router.adapters.batches import AnthropicBatches
from cost_router.adapters.bill import AnthropicBill
from cost_router.adapters.claude import AnthropicClaude, ClientMaker
from cost_router.adapters.clients import NO_ADMIN_KEY, KeyedClient, SignedClient
from cost_router.adapters.exports import S3Exports
from cost_router.adapters.labels import DynamoLabels
from cost_router.adapters.ledger import DynamoLedger
from cost_router.adapters.ledger_lines import DynamoLines
from cost_router.adapters.queue import SqsQueue
from cost_router.adapters.results import S3Results
from cost_router.adapters.system import SystemChance, SystemClock
from cost_router.adapters.telemetry import PowertoolsTelemetry
from cost_router.adapters.tenants import DynamoTenants
from cost_router.core.batch_billing import LineBilling
from cost_router.core.batch_packing import Packer
from cost_router.core.batch_ports import Batches, BatchStore, LineLedger
from cost_router.core.batch_rounds import BatchRounds
from cost_router.core.batch_settling import Settler
from cost_router.core.calls import Caller
from cost_router.core.catalogue import Catalogue
from cost_router.core.collecting import Collector
from cost_router.core.deciding import Decider
from cost_router.core.jobs import JobRunner
from cost_router.core.labelling import Labeller, Memory
from cost_router.core.ports import (
    Chance,
    Claude,
    Clock,
    LabelStore,
    Ledger,
    Policies,
    Results,
    Telemetry,
    Tenants,
)
from cost_router.core.router import Router
from cost_router.core.rubric import Rubric
from cost_router.handlers.settings import BatchSettings, CollectorSettings, Settings

MEMORY_TTL: Final = dt.timedelta(hours=1)  # the table knows when a label really expires


@dataclass(frozen=True, slots=True)
class Outside:
    """Everything outside the rules."""

    claude: Claude
    labels: LabelStore
    ledger: Ledger
    tenants: Tenants
    telemetry: Telemetry
    clock: Clock
    chance: Chance


def outside(settings: Settings, aws: Aws) -> Outside:
    """The real outside: Claude, DynamoDB, CloudWatch, the machine."""
    clock, chance = SystemClock(), SystemChance()
    return Outside(
        claude=AnthropicClaude(_client_maker(settings, aws, clock)),
        labels=DynamoLabels(aws, settings.labels_table, settings.label_ttl),
        ledger=ledger(settings, aws),
        tenants=DynamoTenants(aws, settings.tenants_table, clock),
        telemetry=PowertoolsTelemetry.make(settings.stage),
        clock=clock,
        chance=chance,
    )


def ledger(settings: Settings, aws: Aws) -> DynamoLedger:
    """The ledger's table."""
    return DynamoLedger(aws, settings.ledger_table, SystemClock(), SystemChance())


def router(settings: Settings, out: Outside) -> Router:
    """The router over an outside, real or not."""
    catalogue = _catalogue()
    lineup = catalogue.lineup(settings.lineup, data("lineups.json"))
    caller = Caller(out.claude, out.ledger, out.clock, out.chance, out.telemetry, settings.without_store)
    labeller = Labeller(
        caller=caller,
        store=out.labels,
        memory=Memory(min(settings.label_ttl, MEMORY_TTL)),
        rubric=Rubric.parse(data("rubric.json"), data("domain_examples.json", missing={})),
        model=lineup.classifier,
        deadline_seconds=settings.classifier_deadline_seconds,
        clock=out.clock,
        chance=out.chance,
        telemetry=out.telemetry,
    )
    decider = Decider(
        catalogue=catalogue,
        lineup=lineup,
        labeller=labeller,
        caller=caller,
        ledger=out.ledger,
        clock=out.clock,
        telemetry=out.telemetry,
        limits=settings.limits,
        ladder=settings.ladder,
    )
    return Router(
        lineup=lineup,
        decider=decider,
        caller=caller,
        ledger=out.ledger,
        clock=out.clock,
        chance=out.chance,
        telemetry=out.telemetry,
    )


def job_runner(settings: BatchSettings, the_router: Router, aws: Aws) -> JobRunner:
    """The runner of jobs over the same router."""
    return JobRunner(
        router=the_router,
        results=S3Results(aws, settings.results_bucket),
        attempts=DynamoAttempts(aws, settings.jobs_table),
        lines=DynamoBatchStore(aws, settings.jobs_table, settings.results_bucket),
        clock=the_router.clock,
        chance=the_router.chance,
    )


def collector(settings: CollectorSettings, aws: Aws) -> Collector:
    """The collector over the real outside."""
    clock = SystemClock()
    ledger = DynamoLedger(aws, settings.ledger_table, clock, SystemChance())
    return Collector(
        ledger=ledger,
        reservations=ledger,
        ledger_reader=ledger,
        policies=DynamoTenants(aws, settings.tenants_table, clock),
        alerts=SnsAlerts(aws, settings.ledger_table, settings.alerts_topic, f"claude-cost-router-{settings.stage}"),
        exports=S3Exports(aws, settings.results_bucket),
        clock=clock,
        telemetry=PowertoolsTelemetry.make(settings.stage),
        catalogue=_catalogue(),
        bill=_bill(settings, aws, clock) if settings.admin_secret_arn else None,
    )


def _bill(settings: CollectorSettings, aws: Aws, clock: Clock) -> AnthropicBill:
    client = KeyedClient(aws, settings.admin_secret_arn, settings.upstream_url, clock, NO_ADMIN_KEY)
    return AnthropicBill(client, settings.bill_workspace_id, settings.bill_api_key_id)


def batch_rounds(settings: Settings, collecting: CollectorSettings, aws: Aws) -> BatchRounds:
    """The rounds of the batch lane over the real outside."""
    clock, chance = SystemClock(), SystemChance()
    ledger = DynamoLedger(aws, settings.ledger_table, clock, chance)
    parts = LaneParts(
        batches=AnthropicBatches(_client_maker(settings, aws, clock)),
        store=DynamoBatchStore(aws, collecting.jobs_table, collecting.results_bucket),
        ledger=ledger,
        lines=DynamoLines(ledger),
        policies=DynamoTenants(aws, settings.tenants_table, clock),
        results=S3Results(aws, collecting.results_bucket),
        clock=clock,
        chance=chance,
        telemetry=PowertoolsTelemetry.make(settings.stage),
    )
    return lane(settings, parts)


@dataclass(frozen=True, slots=True)
class LaneParts:
    """Everything outside the rules of the batch lane."""

    batches: Batches
    store: BatchStore
    ledger: Ledger
    lines: LineLedger
    policies: Policies
    results: Results
    clock: Clock
    chance: Chance
    telemetry: Telemetry


def lane(settings: Settings, out: LaneParts) -> BatchRounds:
    """The batch lane over an outside, real or not."""
    catalogue = _catalogue()
    billing = LineBilling(catalogue, catalogue.lineup(settings.lineup, data("lineups.json")).baseline)
    settler = Settler(out.batches, out.store, out.lines, out.results, billing, out.clock, out.telemetry)
    packer = Packer(
        batches=out.batches,
        store=out.store,
        ledger=out.ledger,
        lines=out.lines,
        policies=out.policies,
        billing=billing,
        settler=settler,
        limits=settings.limits,
        clock=out.clock,
        chance=out.chance,
        telemetry=out.telemetry,
    )
    return BatchRounds(out.store, packer, settler, out.clock, out.telemetry)


def _catalogue() -> Catalogue:
    """All models at the customer's own prices: everything that is booked or compared is priced by these."""
    return Catalogue(data("catalogue.json"), data("discounts.json", missing={}))


def queue(settings: BatchSettings, aws: Aws) -> SqsQueue:
    """The jobs queue."""
    return SqsQueue(aws, settings.jobs_queue_url, settings.dead_letter_queue_url)


def data(name: str, missing: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    """A data file of the bundle; `missing` stands in for one that need not be there."""
    file = resources.files("cost_router") / "data" / name
    if missing is not None and not file.is_file():
        return missing
    loaded: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return loaded


def _client_maker(settings: Settings, aws: Aws, clock: Clock) -> ClientMaker:
    if settings.provider == "aws":
        return SignedClient(settings.workspace_id, settings.upstream_url)
    return KeyedClient(aws, settings.secret_arn, settings.upstream_url, clock)
