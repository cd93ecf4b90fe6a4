"""The composition root of the HTTPS entrance: the endpoints and what each of them reaches."""

import dataclasses
from collections.abc import Mapping

from starlette.applications import Starlette

from cost_router.adapters.answers import S3Answers
from cost_router.adapters.aws import Aws
from cost_router.adapters.feedback import DynamoFeedback
from cost_router.adapters.groups import DynamoGroups
from cost_router.adapters.message_batches import DynamoMessageBatches, S3BatchFiles
from cost_router.adapters.outbox import SqsOutbox
from cost_router.adapters.requests import DynamoRequests
from cost_router.adapters.samples import S3Samples
from cost_router.adapters.system import SystemChance, SystemClock
from cost_router.adapters.telemetry import PowertoolsTelemetry
from cost_router.core.ports import RequestLog
from cost_router.core.routing_ports import SampleStore
from cost_router.core.sampling import Sampler
from cost_router.handlers import wiring
from cost_router.handlers.app import Parts, make_app
from cost_router.handlers.buffered import BufferedEntrance
from cost_router.handlers.feedback import FeedbackParts
from cost_router.handlers.front import Front
from cost_router.handlers.message_batches import BatchParts
from cost_router.handlers.outside import Outside
from cost_router.handlers.settings import RouterSettings, Settings
from cost_router.handlers.waiting import HEARTBEAT, Heartbeat


def app(env: Mapping[str, str], aws: Aws, heartbeat: Heartbeat = HEARTBEAT) -> Starlette:
    """The app over the real outside; raises `BadSetting` for an environment that will not do."""
    settings, https = Settings.read(env), RouterSettings.read(env)
    log = DynamoRequests(aws, https.requests_table)
    out = dataclasses.replace(wiring.outside(settings, aws), requests=log)
    out = dataclasses.replace(out, sampler=sampler(https, out, S3Samples(aws, https.results_bucket)))
    endpoints = dataclasses.replace(front(settings, https, out), heartbeat=heartbeat)
    return make_app(endpoints, parts(settings, https, aws, log))


def buffered(app: Starlette, env: Mapping[str, str], aws: Aws) -> BufferedEntrance:
    """Lambda's handler over the app, for the runtime in which replies are sent whole."""
    settings, https = Settings.read(env), RouterSettings.read(env)
    return BufferedEntrance(app, S3Answers(aws, https.results_bucket), PowertoolsTelemetry.make(settings.stage))


def front(settings: Settings, https: RouterSettings, out: Outside) -> Front:
    """What all endpoints share, over an outside, real or not."""
    return Front(wiring.router(settings, out), out, https)


def parts(settings: Settings, https: RouterSettings, aws: Aws, log: RequestLog) -> Parts:
    """What single endpoints need, over AWS."""
    return Parts(
        reader=wiring.ledger(settings, aws),
        requests=log,
        batches=batches(https, aws),
        feedback=FeedbackParts(DynamoFeedback(aws, settings.ledger_table), PowertoolsTelemetry.make(settings.stage)),
    )


def sampler(https: RouterSettings, out: Outside, store: SampleStore) -> Sampler | None:
    """What keeps samples, over an outside, real or not; None where none are kept."""
    return Sampler(store, https.sample_percent, out.clock, out.telemetry) if https.sample_percent else None


def batches(https: RouterSettings, aws: Aws) -> BatchParts:
    """What batches reach, over AWS."""
    table, bucket = wiring.jobs_table(https.jobs_table, aws), https.results_bucket
    return BatchParts(
        batches=DynamoMessageBatches(table),
        files=S3BatchFiles(aws, bucket),
        groups=DynamoGroups(table),
        outbox=SqsOutbox(aws, https.jobs_queue_url, bucket, SystemClock(), SystemChance()),
    )
