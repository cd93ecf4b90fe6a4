"""Log lines and EMF metrics through Powertools. No prompt, answer or error message of Claude ever gets here.

Requests overlap in one process under uvicorn, so nothing is kept between calls: each record makes its own metric set
(`EphemeralMetrics`) and its own log line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from traceback import extract_tb
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from cost_router.adapters.ledger_items import row, shadow_row, terms_row
from cost_router.contract import MODEL_DIMENSION, NAMESPACE, SERVICE_PREFIX, Metric
from cost_router.core.feedback import Feedback
from cost_router.core.ledger import Entry
from cost_router.core.pricing import BATCH, dollars
from cost_router.core.record import SPECULATION_ABANDONED, SPECULATION_USED, Collected, Record

SERVER_ERROR = 500
LOOKS = frozenset(
    {"batches", "count_tokens", "feedback", "models", "receipt", "spend"}
)  # kinds of what is told for nothing
UNFINISHED = frozenset({"deferred", "parked", "held", "already_done", "set_aside", "unpacked"})


@dataclass(frozen=True, slots=True)
class PowertoolsTelemetry:
    """`Telemetry` on standard output, where Lambda's log driver takes it up."""

    stage: str
    logger: Logger

    @classmethod
    def make(cls, stage: str) -> "PowertoolsTelemetry":
        """Telemetry of one deployment."""
        return cls(stage, Logger(service=SERVICE_PREFIX + stage, utc=True))

    def done(self, record: Record) -> None:
        """One request or job has ended."""
        self.logger.info(record.kind, extra=_fields(record))
        if record.kind in LOOKS:  # no request for an answer: it would only thin out latency and cost
            return
        metrics = self._metrics()
        for name, unit, value in _measures(record):
            metrics.add_metric(name, unit, value)
        metrics.flush_metrics()
        if record.model and record.kind != "route":
            self._of_model(record.model, record)

    def collected(self, told: Collected) -> None:
        """The collector has made a round."""
        found: list[tuple[str, MetricUnit, Any]] = [
            (Metric.SPEND_TODAY, MetricUnit.NoUnit, told.spend_today_usd),
            (Metric.SPEND_THIS_MONTH, MetricUnit.NoUnit, told.spend_month_usd),
            (Metric.SWEPT, MetricUnit.Count, told.swept or None),
            (Metric.AMBIGUOUS, MetricUnit.Count, told.swept or None),
            (Metric.BUDGET_STEPS, MetricUnit.Count, told.steps or None),
        ]
        metrics = self._metrics()
        for name, unit, value in found:
            if value is not None:
                metrics.add_metric(name, unit, value)
        metrics.flush_metrics()

    def stopped(self, status: int | None, wait: float) -> None:
        """The account is at fault: the bulk lane calls nothing for `wait` seconds."""
        self.logger.error("lane_stopped", extra={"status": status, "seconds": wait})
        metrics = self._metrics()
        metrics.add_metric(Metric.LANE_STOPPED, MetricUnit.Count, 1)
        metrics.flush_metrics()

    def drifted(self, day: str, drift_usd: Decimal, explained_usd: Decimal) -> None:
        """A day of the ledger has been compared with the provider's bill."""
        told = {"day": day, "drift_usd": dollars(drift_usd), "explained_usd": dollars(explained_usd)}
        self.logger.info("reconciled", extra=told)
        metrics, drift = self._metrics(), drift_usd
        metrics.add_metric(Metric.LEDGER_DRIFT, MetricUnit.NoUnit, drift)  # type: ignore[arg-type]  # Powertools takes any number
        metrics.flush_metrics()

    def rated(self, feedback: Feedback) -> None:
        """Somebody has said how good an answer was; the comment stays where it is kept."""
        self.logger.info("routing_quality", extra=_rating(feedback))
        metrics, score = self._metrics(), feedback.score
        metrics.add_metric(Metric.QUALITY, MetricUnit.NoUnit, score)  # type: ignore[arg-type]  # Powertools takes any number
        metrics.flush_metrics()

    def unbooked(self, entries: Sequence[Entry], error: Exception) -> None:
        """Entries could not be written to the ledger: they go to the log, whole, and are counted."""
        for entry in entries:
            plain = {name: str(value) if isinstance(value, Decimal) else value for name, value in row(entry).items()}
            self.logger.error("ledger_entry_not_written", extra={"entry": plain, "error": str(error)})
        metrics = self._metrics()
        metrics.add_metric(Metric.LEDGER_FAILURES, MetricUnit.Count, len(entries))
        metrics.flush_metrics()

    def defect(self, request_id: str, error: Exception) -> None:
        """The router itself failed: where, but not the message, which might quote the request."""
        frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in extract_tb(error.__traceback__)]
        self.logger.error("defect", extra={"request_id": request_id, "error": type(error).__name__, "frames": frames})

    def note(self, event: str, **fields: object) -> None:
        """Something an operator should be able to find."""
        self.logger.warning(event, extra=fields)

    def _of_model(self, model: str, record: Record) -> None:
        """The request and its spend once more, by model. What a failed or deferred one has cost was paid as well."""
        answered = record.status < SERVER_ERROR and _counts(record)
        cost: Any = record.bill.cost_usd  # Powertools takes any number, its types say float
        if not (answered or cost):
            return
        by_model = self._metrics()
        by_model.add_dimension(MODEL_DIMENSION, model)
        by_model.add_metric(Metric.SPEND, MetricUnit.NoUnit, cost)
        if answered:
            by_model.add_metric(Metric.REQUESTS, MetricUnit.Count, 1)
        by_model.flush_metrics()

    def _metrics(self) -> EphemeralMetrics:
        return EphemeralMetrics(namespace=NAMESPACE, service=SERVICE_PREFIX + self.stage)


def _fields(record: Record) -> dict[str, Any]:
    """The log line of DESIGN: which model, why, how many tokens, how much money, for whom."""
    return {
        "request_id": record.request_id,
        "upstream_request_id": record.upstream_request_id,
        "job": record.job,
        "lane": record.lane,
        "tenant": record.tenant,
        "tags": dict(record.tags),
        "model_used": record.model,
        "tier": record.tier.word if record.tier else None,
        "complexity_label": record.label,
        "cause": record.cause,
        "arm": record.arm,
        **_shadow(record),
        "speculation": record.speculation,
        "adapted": list(record.adapted),
        "label_cache": record.cache,
        "input_tokens": record.usage.input_tokens,
        "cache_read_input_tokens": record.usage.cache_read_input_tokens,
        "cache_creation_5m_input_tokens": record.usage.cache_creation_5m_input_tokens,
        "cache_creation_1h_input_tokens": record.usage.cache_creation_1h_input_tokens,
        "output_tokens": record.usage.output_tokens,
        **terms_row(record.usage),
        "cost_usd": dollars(record.bill.cost_usd),
        "classifier_cost_usd": dollars(record.bill.classifier_cost_usd),
        "baseline_usd": dollars(record.bill.baseline_usd),
        "cache_saved_usd": dollars(record.bill.cache_saved_usd),
        "latency_ms": round(record.latency_ms, 1),
        "classifier_ms": None if record.classifier_ms is None else round(record.classifier_ms, 1),
        "status": record.status,
        "cascade": record.cascade,
        "escalated": record.escalated or None,
        "outcome": record.outcome,
        "error": record.error,
    }


def _shadow(record: Record) -> dict[str, Any]:
    """What a candidate that only looked on would have done."""
    told = shadow_row(record.shadow)
    cost = told.get("shadow_cost_usd")
    return told if cost is None else told | {"shadow_cost_usd": dollars(cost)}


def _rating(feedback: Feedback) -> dict[str, Any]:
    """The log line of a feedback, with the names that the request's own line has."""
    return {
        "request_id": feedback.request_id,
        "tenant": feedback.tenant,
        "tags": dict(feedback.tags),
        "model_used": feedback.model,
        "tier": feedback.tier.word if feedback.tier else None,
        "complexity_label": feedback.label,
        "cause": feedback.cause,
        "arm": feedback.arm,
        "cost_usd": dollars(feedback.cost_usd),
        "baseline_usd": dollars(feedback.baseline_usd),
        "score": f"{feedback.score:f}",
    }


def _counts(record: Record) -> bool:
    """Whether the record ends something: a job put back, or parked, will be counted when it is done."""
    return record.outcome not in UNFINISHED


def _measures(record: Record) -> list[tuple[str, MetricUnit, Any]]:
    """Metrics of one record; counts of zero are left out, a sum does not miss them."""
    count = MetricUnit.Count
    found: list[tuple[str, MetricUnit, Any]] = [
        (Metric.SPEND, MetricUnit.NoUnit, record.bill.cost_usd),
        (Metric.SAVED, MetricUnit.NoUnit, record.bill.saved_usd),
    ]
    if record.bill.cache_saved_usd:
        found.append((Metric.CACHE_SAVED, MetricUnit.NoUnit, record.bill.cache_saved_usd))
    if _counts(record):
        if record.lane != BATCH:  # a batch may take a day: that is no latency
            found.append((Metric.LATENCY, MetricUnit.Milliseconds, record.latency_ms))
        found.append((Metric.REQUESTS, count, 1))
    if record.spend_today_usd is not None:
        found.append((Metric.SPEND_TODAY, MetricUnit.NoUnit, record.spend_today_usd))
    if record.classifier_ms is not None:
        found.append((Metric.CLASSIFIER_LATENCY, MetricUnit.Milliseconds, record.classifier_ms))
    counts = {
        Metric.CACHE_HITS: record.cache == "hit",
        Metric.CACHE_MISSES: record.cache == "miss",
        Metric.CLASSIFIER_FAILURES: record.classifier_failed,
        Metric.CLASSIFIER_SKIPPED: record.classifier_skipped,
        Metric.SPECULATIONS_USED: record.speculation == SPECULATION_USED,
        Metric.SPECULATIONS_ABANDONED: record.speculation == SPECULATION_ABANDONED,
        Metric.FALLBACKS: record.fallback,
        Metric.ESCALATIONS: record.escalated,
        Metric.RATE_LIMITS: record.rate_limits,
        Metric.AMBIGUOUS: record.ambiguous,
        Metric.UNRESERVED: record.unreserved,
        Metric.ERRORS: record.status >= SERVER_ERROR,
        Metric.JOBS_DONE: record.outcome == "done",
        Metric.JOBS_FAILED: record.outcome == "failed",
        Metric.JOBS_DEFERRED: record.outcome == "deferred",
    }
    return found + [(name, count, int(value)) for name, value in counts.items() if value]
