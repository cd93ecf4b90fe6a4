"""The composition root of the bulk lane: the entrance from the queue, and the collector's rounds."""

from dataclasses import dataclass

from cost_router.adapters.attempts import DynamoAttempts
from cost_router.adapters.aws import Aws
from cost_router.adapters.batch_store import DynamoBatchStore
from cost_router.adapters.batches import AnthropicBatches
from cost_router.adapters.groups import BusEvents, DynamoGroups
from cost_router.adapters.job_store import DynamoJobs
from cost_router.adapters.kept import KeptMessages, LargeParams
from cost_router.adapters.ledger_lines import DynamoLines
from cost_router.adapters.message_batches import DynamoMessageBatches, S3BatchFiles
from cost_router.adapters.outbox import SqsOutbox
from cost_router.adapters.queue import SqsQueue
from cost_router.adapters.results import S3Results
from cost_router.adapters.system import SystemChance, SystemClock
from cost_router.adapters.telemetry import PowertoolsTelemetry
from cost_router.adapters.tenants import DynamoTenants
from cost_router.core.batch_billing import LineBilling
from cost_router.core.batch_choosing import Chooser
from cost_router.core.batch_packing import Packer
from cost_router.core.batch_ports import Batches, BatchStore, LineLedger
from cost_router.core.batch_rounds import BatchRounds
from cost_router.core.batch_settling import Settler
from cost_router.core.breaker import Breaker
from cost_router.core.groups import GroupEvents, Groups
from cost_router.core.job_ports import JobStore
from cost_router.core.jobs import JobRunner
from cost_router.core.message_batches import BatchFiles, MessageBatches
from cost_router.core.pacing import Pacer
from cost_router.core.ports import Attempts, Chance, Clock, Ledger, Policies, Results, Telemetry
from cost_router.core.releasing import Releaser, Returns
from cost_router.core.turns import Turns
from cost_router.handlers import wiring
from cost_router.handlers.batch import Queue, QueueDoor
from cost_router.handlers.intake import Intake, Params
from cost_router.handlers.outside import Outside
from cost_router.handlers.settings import BatchSettings, CollectorSettings, Settings
from cost_router.handlers.unpacking import Outbox, Unpacker


@dataclass(frozen=True, slots=True)
class DoorParts:
    """What is outside the rules of the entrance, beside `Outside`."""

    jobs: JobStore
    lines: BatchStore
    groups: Groups
    results: Results
    params: Params
    attempts: Attempts
    queue: Queue
    batches: MessageBatches
    files: BatchFiles
    outbox: Outbox


def queue_door(settings: Settings, batch: BatchSettings, aws: Aws) -> QueueDoor:
    """The entrance over the real outside."""
    table, messages = wiring.jobs_table(batch.jobs_table, aws), KeptMessages(aws, batch.results_bucket)
    parts = DoorParts(
        jobs=DynamoJobs(table, messages),
        lines=DynamoBatchStore(table, messages),
        groups=DynamoGroups(table),
        results=S3Results(aws, batch.results_bucket),
        params=LargeParams(aws, batch.results_bucket),
        attempts=DynamoAttempts(table),
        queue=SqsQueue(aws, batch.jobs_queue_url, batch.dead_letter_queue_url),
        batches=DynamoMessageBatches(table),
        files=S3BatchFiles(aws, batch.results_bucket),
        outbox=SqsOutbox(aws, batch.jobs_queue_url, batch.results_bucket, SystemClock(), SystemChance()),
    )
    return door(settings, batch, wiring.outside(settings, aws), parts)


def door(settings: Settings, batch: BatchSettings, out: Outside, parts: DoorParts) -> QueueDoor:
    """The entrance over an outside, real or not; its router keeps to the account's limits."""
    pacer = Pacer(workers=batch.job_functions, headroom=batch.headroom)
    turns = Turns(pacer, Breaker(), out.clock, out.chance, out.telemetry)
    runner = JobRunner(
        router=wiring.router(settings, out, turns),
        results=parts.results,
        jobs=parts.jobs,
        lines=parts.lines,
        groups=parts.groups,
        clock=out.clock,
        chance=out.chance,
    )
    intake = Intake(out.tenants, parts.params, parts.jobs, out.clock, batch.role_id)
    unpacker = Unpacker(parts.batches, parts.files, parts.groups, parts.outbox, out.clock)
    return QueueDoor(runner, intake, unpacker, parts.attempts, parts.queue, out, batch.job_concurrency)


@dataclass(frozen=True, slots=True)
class LaneParts:
    """Everything outside the rules of the rounds."""

    batches: Batches
    store: BatchStore
    jobs: JobStore
    groups: Groups
    queue: Returns
    events: GroupEvents
    ledger: Ledger
    lines: LineLedger
    policies: Policies
    results: Results
    clock: Clock
    chance: Chance
    telemetry: Telemetry


def batch_rounds(settings: Settings, collecting: CollectorSettings, aws: Aws) -> BatchRounds:
    """The rounds over the real outside."""
    clock, ledger = SystemClock(), wiring.ledger(settings, aws)
    table, messages = wiring.jobs_table(collecting.jobs_table, aws), KeptMessages(aws, collecting.results_bucket)
    parts = LaneParts(
        batches=AnthropicBatches(wiring.client_maker(settings, aws, clock)),
        store=DynamoBatchStore(table, messages),
        jobs=DynamoJobs(table, messages),
        groups=DynamoGroups(table),
        queue=SqsQueue(aws, collecting.jobs_queue_url),
        events=BusEvents(aws, collecting.results_bucket, settings.stage),
        ledger=ledger,
        lines=DynamoLines(ledger),
        policies=DynamoTenants(aws, settings.tenants_table, clock),
        results=S3Results(aws, collecting.results_bucket),
        clock=clock,
        chance=SystemChance(),
        telemetry=PowertoolsTelemetry.make(settings.stage),
    )
    return lane(settings, parts)


def lane(settings: Settings, out: LaneParts) -> BatchRounds:
    """The rounds over an outside, real or not."""
    catalogue, clock, telemetry = wiring.catalogue(), out.clock, out.telemetry
    billing = LineBilling(catalogue, catalogue.lineup(settings.lineup, wiring.data("lineups.json")).baseline)
    settler = Settler(out.batches, out.store, out.lines, out.results, billing, clock, telemetry)
    packer = Packer(
        batches=out.batches,
        store=out.store,
        lines=out.lines,
        policies=out.policies,
        billing=billing,
        settler=settler,
        chooser=Chooser(out.store, out.ledger, out.policies, billing, settings.limits, clock, telemetry),
        clock=clock,
        chance=out.chance,
        telemetry=telemetry,
    )
    releaser = Releaser(
        groups=out.groups,
        jobs=out.jobs,
        lines=out.store,
        results=out.results,
        queue=out.queue,
        events=out.events,
        clock=clock,
        telemetry=telemetry,
    )
    return BatchRounds(out.store, out.groups, packer, settler, releaser, clock, telemetry)
