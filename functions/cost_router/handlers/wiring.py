"""The composition root: settings in, ready parts out. Tests call it with fakes in place of the adapters."""

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from typing import Any, Final

from cost_router.adapters.alerts import SnsAlerts
from cost_router.adapters.aws import Aws
from cost_router.adapters.bill import AnthropicBill
from cost_router.adapters.claude import AnthropicClaude, ClientMaker
from cost_router.adapters.clients import NO_ADMIN_KEY, KeyedClient, SignedClient
from cost_router.adapters.exports import S3Exports
from cost_router.adapters.jobs_table import JobsTable
from cost_router.adapters.labels import DynamoLabels
from cost_router.adapters.ledger import DynamoLedger
from cost_router.adapters.plans import DynamoPlans, Makers
from cost_router.adapters.schema_check import JsonSchemas
from cost_router.adapters.sessions import DynamoPrefixes, DynamoSessions
from cost_router.adapters.system import SystemChance, SystemClock
from cost_router.adapters.telemetry import PowertoolsTelemetry
from cost_router.adapters.tenants import DynamoTenants
from cost_router.adapters.transactions import Transactions
from cost_router.core.arms import CONTROL, Arm
from cost_router.core.caching import Caching
from cost_router.core.calls import Caller
from cost_router.core.cascade import Cascade
from cost_router.core.catalogue import Catalogue
from cost_router.core.collecting import Collector
from cost_router.core.deciding import Decider
from cost_router.core.labelling import Labeller, Memory
from cost_router.core.ports import Clock
from cost_router.core.preclassifier import Preclassifier
from cost_router.core.router import Router
from cost_router.core.rubric import Rubric
from cost_router.core.serving import Server
from cost_router.core.sightings import Sightings
from cost_router.core.turns import Turns
from cost_router.core.verifier import Verifier
from cost_router.handlers.outside import Outside
from cost_router.handlers.settings import CollectorSettings, Settings

MEMORY_TTL: Final = dt.timedelta(hours=1)  # the table knows when a label really expires


def outside(settings: Settings, aws: Aws) -> Outside:
    """The real outside: Claude, DynamoDB, CloudWatch, the machine."""
    clock, chance, telemetry = SystemClock(), SystemChance(), PowertoolsTelemetry.make(settings.stage)

    def plans(control: Arm, makers: Makers) -> DynamoPlans:
        return DynamoPlans(aws, settings.tenants_table, clock, telemetry, control, makers)

    return Outside(
        claude=AnthropicClaude(client_maker(settings, aws, clock)),
        labels=DynamoLabels(aws, settings.labels_table, settings.label_ttl),
        ledger=ledger(settings, aws),
        tenants=DynamoTenants(aws, settings.tenants_table, clock),
        plans=plans,
        telemetry=telemetry,
        clock=clock,
        chance=chance,
        sessions=DynamoSessions(aws, settings.labels_table),
        prefixes=DynamoPrefixes(aws, settings.labels_table),
    )


def ledger(settings: Settings, aws: Aws) -> DynamoLedger:
    """The ledger's table."""
    return DynamoLedger(aws, settings.ledger_table, SystemClock(), SystemChance())


def jobs_table(name: str, aws: Aws) -> JobsTable:
    """The `jobs` table."""
    return JobsTable(aws, name, Transactions(aws, SystemClock(), SystemChance()))


def router(settings: Settings, out: Outside, turns: Turns | None = None) -> Router:
    """The router over an outside, real or not; with `turns` it keeps to the account's limits."""
    models = catalogue()
    lineup = models.lineup(settings.lineup, data("lineups.json"))
    caller = Caller(out.claude, out.ledger, out.clock, out.chance, out.telemetry, settings.without_store, turns)
    decider = Decider(
        catalogue=models,
        plans=out.plans(Arm(CONTROL, lineup, rubric(data("rubric.json"))), makers(models)),
        labeller=_labeller(settings, out, caller),
        caching=Caching(out.sessions, Sightings(out.prefixes, out.telemetry), out.clock, out.telemetry),
        caller=caller,
        ledger=out.ledger,
        clock=out.clock,
        telemetry=out.telemetry,
        limits=settings.limits,
        ladder=settings.ladder,
    )
    server = Server(decider, caller, out.clock)
    verifier = Verifier(caller, out.clock, out.chance, out.telemetry, settings.classifier_deadline_seconds)
    return Router(
        lineup=lineup,
        decider=decider,
        server=server,
        cascade=Cascade(decider, server, verifier, JsonSchemas(), out.telemetry),
        caller=caller,
        ledger=out.ledger,
        clock=out.clock,
        chance=out.chance,
        telemetry=out.telemetry,
        log=out.requests,
        sampler=out.sampler,
    )


def _labeller(settings: Settings, out: Outside, caller: Caller) -> Labeller:
    return Labeller(
        caller=caller,
        store=out.labels,
        memory=Memory(min(settings.label_ttl, MEMORY_TTL)),
        deadline_seconds=settings.classifier_deadline_seconds,
        clock=out.clock,
        chance=out.chance,
        telemetry=out.telemetry,
    )


def rubric(content: Mapping[str, Any]) -> Rubric:
    """A rubric with the deployment's own examples; raises `ValueError`."""
    try:
        return Rubric.parse(content, data("domain_examples.json", missing={}))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"the rubric is not written as it should be: {error!r}") from error


def makers(models: Catalogue) -> Makers:
    """What an operator's settings of routing may name."""

    def preclassifier(content: Mapping[str, Any] | None) -> Preclassifier:
        return Preclassifier.parse(data("preclassifier.json") if content is None else content)

    def candidates(content: Mapping[str, Any]) -> Rubric:
        """Its labels are never taken for those of another, also where its author has left the version as it was."""
        made = rubric(content)
        return replace(made, version=f"{made.version}/{hashlib.sha256(made.system.encode()).hexdigest()[:16]}")

    return Makers(lambda name: models.lineup(name, data("lineups.json")), candidates, preclassifier)


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
        catalogue=catalogue(),
        bill=_bill(settings, aws, clock) if settings.admin_secret_arn else None,
    )


def _bill(settings: CollectorSettings, aws: Aws, clock: Clock) -> AnthropicBill:
    client = KeyedClient(aws, settings.admin_secret_arn, settings.upstream_url, clock, NO_ADMIN_KEY)
    return AnthropicBill(client, settings.bill_workspace_id, settings.bill_api_key_id)


def catalogue() -> Catalogue:
    """All models at the customer's own prices: everything that is booked or compared is priced by these."""
    return Catalogue(data("catalogue.json"), data("discounts.json", missing={}))


def data(name: str, missing: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    """A data file of the bundle; `missing` stands in for one that need not be there."""
    file = resources.files("cost_router") / "data" / name
    if missing is not None and not file.is_file():
        return missing
    loaded: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return loaded


def client_maker(settings: Settings, aws: Aws, clock: Clock) -> ClientMaker:
    """What makes clients of the provider that the deployment chose."""
    if settings.provider == "aws":
        return SignedClient(settings.workspace_id, settings.upstream_url)
    return KeyedClient(aws, settings.secret_arn, settings.upstream_url, clock)
