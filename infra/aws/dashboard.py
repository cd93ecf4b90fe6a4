"""The dashboard: money first, then traffic, then health."""

from decimal import Decimal
from typing import Final

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from cost_router.contract import Metric
from infra.aws.metrics import Metrics

TIERS: Final = ("haiku", "sonnet", "opus")
FIVE: Final = Duration.minutes(5)
DAY: Final = Duration.days(1)


class Dashboard(Construct):
    """One dashboard; CloudWatch chooses its name, because names are shared by all regions of an account."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        metrics: Metrics,
        alarms: list[cloudwatch.Alarm],
        daily_budget_usd: Decimal | None,
    ) -> None:
        super().__init__(scope, id_)
        self._metrics = metrics
        self.dashboard = cloudwatch.Dashboard(self, "Board", default_interval=Duration.days(1))
        self.dashboard.add_widgets(*self._money(daily_budget_usd))
        self.dashboard.add_widgets(*self._traffic())
        self.dashboard.add_widgets(*self._health())
        self.dashboard.add_widgets(cloudwatch.AlarmStatusWidget(title="Alarms", alarms=list(alarms), width=24))

    def _money(self, budget: Decimal | None) -> list[cloudwatch.IWidget]:
        m = self._metrics
        # CloudWatch takes doubles.
        line = [cloudwatch.HorizontalAnnotation(value=float(budget), label="Daily budget")] if budget else []
        today = m.ours(Metric.SPEND_TODAY, "Maximum", FIVE)
        return [
            cloudwatch.GraphWidget(title="Spend of the UTC day, USD", left=[today], left_annotations=line, width=8),
            self._graph("Spend by tier, USD", [m.ours(Metric.SPEND, "Sum", FIVE, tier) for tier in TIERS]),
            cloudwatch.SingleValueWidget(
                title="Last day, USD",
                metrics=[m.ours(name, "Sum", DAY) for name in (Metric.SPEND, Metric.SAVED)],
                width=8,
            ),
        ]

    def _traffic(self) -> list[cloudwatch.IWidget]:
        m = self._metrics
        jobs = (Metric.JOBS_DONE, Metric.JOBS_FAILED, Metric.JOBS_DEFERRED)
        labels = (Metric.CACHE_HITS, Metric.CACHE_MISSES, Metric.CLASSIFIER_FAILURES)
        return [
            self._graph("Requests by tier", [m.ours(Metric.REQUESTS, "Sum", FIVE, tier) for tier in TIERS]),
            self._graph("Labels", [m.ours(name, "Sum", FIVE) for name in labels]),
            self._graph("Jobs", [*(m.ours(name, "Sum", FIVE) for name in jobs), m.waiting_jobs(FIVE)]),
        ]

    def _health(self) -> list[cloudwatch.IWidget]:
        m = self._metrics
        troubles = (Metric.ERRORS, Metric.RATE_LIMITS, Metric.FALLBACKS, Metric.AMBIGUOUS, Metric.LEDGER_FAILURES)
        latencies = [m.ours(name, "p95", FIVE) for name in (Metric.LATENCY, Metric.CLASSIFIER_LATENCY)]
        return [
            self._graph("Latency p95, ms", latencies),
            self._graph("Troubles", [m.ours(name, "Sum", FIVE) for name in troubles]),
            self._graph(
                "Answers of 4xx and 5xx, dead letters",
                [m.client_errors(FIVE), m.server_errors(FIVE), m.dead_letters(FIVE)],
            ),
        ]

    def _graph(self, title: str, metrics: list[cloudwatch.Metric]) -> cloudwatch.GraphWidget:
        return cloudwatch.GraphWidget(title=title, left=list(metrics), width=8)
