"""The dashboard: money, then budgets and bookings, then traffic, quality and health, on CloudWatch's 24 columns.

`python -m infra.pictures` draws it from simulated traffic into docs/dashboard.png: look at it after a change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from cost_router.contract import Metric
from infra.aws.metrics import Metrics
from infra.aws.monitoring import DRIFT_USD, Limits

FIVE: Final = Duration.minutes(5)  # of the graphs, and of the alarm on the rate of spend: its band is the one shown
HOUR: Final = Duration.hours(1)
DAY: Final = Duration.days(1)  # CloudWatch's days are UTC, as the budgets' are
COLUMNS: Final = 24
THIRD: Final = 8
AMBER: Final = "#e88b01"
RED: Final = "#d13212"
STEPS: Final = ((Decimal("0.8"), AMBER), (Decimal("0.95"), RED))  # of a budget, where the ladder caps the tier


class Dashboard(Construct):
    """One dashboard; CloudWatch chooses its name, because names are shared by all regions of an account."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        metrics: Metrics,
        alarms: list[cloudwatch.Alarm],
        limits: Limits,
    ) -> None:
        super().__init__(scope, id_)
        self._metrics = metrics
        self.dashboard = cloudwatch.Dashboard(
            self,
            "Board",
            default_interval=DAY,
            # Titles name their periods, and the band is learned for one: a longer range must not stretch them.
            period_override=cloudwatch.PeriodOverride.INHERIT,
        )
        self._row("Money, in US dollars; days and months are UTC", self._so_far(limits))
        self._row("", self._rates(limits.spend_anomaly))
        self._row("Budgets and bookings: best when empty", self._bookings())
        self._row("Traffic", self._traffic())
        self._row("Quality", self._quality())
        self._row("Health", self._health())
        self._row("", [cloudwatch.AlarmStatusWidget(title="Alarms", alarms=list(alarms), width=COLUMNS, height=4)])

    def _row(self, heading: str, widgets: Sequence[cloudwatch.IWidget]) -> None:
        if heading:
            self.dashboard.add_widgets(cloudwatch.TextWidget(markdown=f"## {heading}", width=COLUMNS, height=1))
        self.dashboard.add_widgets(*widgets)

    def _so_far(self, limits: Limits) -> list[cloudwatch.IWidget]:
        """What the day and the month have cost so far, against their budgets."""
        m = self._metrics
        today = m.ours(Metric.SPEND_TODAY, "Maximum", FIVE, "today")
        month = m.ours(Metric.SPEND_THIS_MONTH, "Maximum", HOUR, "this month")
        day = [m.ours(Metric.SPEND, "Sum", DAY, "spent"), m.ours(Metric.SAVED, "Sum", DAY, "saved")]
        return [
            _gauge("Spend today", today, limits.daily_budget_usd),
            cloudwatch.SingleValueWidget(title="This UTC day", metrics=list(day), width=4, height=6),
            Graph(
                title="Spend of the UTC day so far",
                metrics=[today],
                width=7,
                lines=_budget("Daily budget", limits.daily_budget_usd),
            ).widget(),
            Graph(
                title="Spend of the UTC month so far",
                metrics=[month],
                width=7,
                lines=_budget("Monthly budget", limits.monthly_budget_usd),
                start="-P31D",
            ).widget(),
        ]

    def _rates(self, width: Decimal | None) -> list[cloudwatch.IWidget]:
        rate = self._metrics.ours(Metric.SPEND, "Sum", FIVE, "spend")
        by_model = self._metrics.by_model(Metric.SPEND, "Sum", FIVE)
        money = {Metric.SPEND: "spent", Metric.SAVED: "saved", Metric.CACHE_SAVED: "saved by cache markers"}
        hourly = self._named(money, "Sum", HOUR)
        band = []
        if width is not None:
            band = [
                cloudwatch.Metric.anomaly_detection_for(
                    metric=rate,
                    std_devs=float(width),  # a number of deviations, not money
                    label="expected",
                    period=FIVE,
                )
            ]
        return [
            Graph(title="Spend per 5 minutes, by model", metrics=[by_model], stacked=True).widget(),
            Graph(title="Rate of spend, per 5 minutes", metrics=[rate, *band]).widget(),
            Graph(title="Spent and saved, per hour", metrics=hourly, signed=True).widget(),
        ]

    def _bookings(self) -> list[cloudwatch.IWidget]:
        names = {
            Metric.BUDGET_STEPS: "budget steps",
            Metric.AMBIGUOUS: "ambiguous payments",
            Metric.SWEPT: "swept reservations",
            Metric.UNRESERVED: "unreserved calls",
            Metric.LEDGER_FAILURES: "unwritten entries",
        }
        counts = self._named(names, "Sum", HOUR)
        drift = self._named({Metric.LEDGER_DRIFT: "unexplained"}, "Maximum", DAY)
        at = float(DRIFT_USD)  # CloudWatch takes doubles
        alarm = cloudwatch.HorizontalAnnotation(value=at, label=f"Alarm ${DRIFT_USD}", color=RED)
        return [
            cloudwatch.SingleValueWidget(
                title="In the time shown", metrics=list(counts), width=THIRD, height=6, set_period_to_time_range=True
            ),
            Graph(title="The same, per hour", metrics=self._counts(names, HOUR)).widget(),
            Graph(title="Ledger against the bill, per day", metrics=drift, lines=[alarm], start="-P14D").widget(),
        ]

    def _traffic(self) -> list[cloudwatch.IWidget]:
        labels = {
            Metric.CACHE_HITS: "label from cache",
            Metric.CACHE_MISSES: "label asked for",
            Metric.CLASSIFIER_FAILURES: "classifier failed",
            Metric.CLASSIFIER_SKIPPED: "classifier held back",
            Metric.SPECULATIONS_USED: "speculation used",
            Metric.SPECULATIONS_ABANDONED: "speculation abandoned",
        }
        jobs = {
            Metric.JOBS_DONE: "done",
            Metric.JOBS_FAILED: "failed",
            Metric.JOBS_DEFERRED: "deferred",
            Metric.LANE_STOPPED: "stopped: account at fault",
        }
        requests = self._metrics.by_model(Metric.REQUESTS, "Sum", FIVE)
        waiting = self._metrics.waiting_jobs(FIVE).with_(label="waiting")
        return [
            Graph(title="Requests per 5 minutes, by model", metrics=[requests], stacked=True).widget(),
            Graph(title="Labels per 5 minutes", metrics=self._counts(labels, FIVE)).widget(),
            Graph(title="Jobs per 5 minutes", metrics=[*self._counts(jobs, FIVE), waiting]).widget(),
        ]

    def _quality(self) -> list[cloudwatch.IWidget]:
        scores = [self._metrics.ours(Metric.QUALITY, how, HOUR, how.lower()) for how in ("Average", "Minimum")]
        escalated = self._counts({Metric.ESCALATIONS: "answered by the next tier"}, HOUR)
        return [
            Graph(title="Scores of answers per hour, 0 to 1", metrics=scores, width=2 * THIRD).widget(),
            Graph(title="Cascades per hour whose first answer failed", metrics=escalated).widget(),
        ]

    def _health(self) -> list[cloudwatch.IWidget]:
        m = self._metrics
        latencies = {Metric.LATENCY: "request", Metric.CLASSIFIER_LATENCY: "classifier"}
        troubles = {Metric.ERRORS: "errors", Metric.RATE_LIMITS: "rate limits", Metric.FALLBACKS: "fallbacks"}
        refused = [
            m.client_errors(FIVE).with_(label="4xx"),
            m.server_errors(FIVE).with_(label="5xx"),
            m.dead_letters(FIVE).with_(label="dead letters"),
        ]
        return [
            Graph(title="Latency p95, milliseconds", metrics=self._named(latencies, "p95", FIVE)).widget(),
            Graph(title="Troubles per 5 minutes", metrics=self._counts(troubles, FIVE)).widget(),
            Graph(title="Answers of 4xx and 5xx, dead letters", metrics=refused).widget(),
        ]

    def _named(self, names: Mapping[str, str], statistic: str, period: Duration) -> list[cloudwatch.Metric]:
        """Our metrics with the words that the legend has for them."""
        return [self._metrics.ours(name, statistic, period, word) for name, word in names.items()]

    def _counts(self, names: Mapping[str, str], period: Duration) -> list[cloudwatch.MathExpression]:
        """Counts as lines that fall back to zero: a count of zero is not emitted, and would be a gap."""
        return [
            cloudwatch.MathExpression(
                expression=f"FILL(n{place}, 0)",
                using_metrics={f"n{place}": self._metrics.ours(name, "Sum", period)},
                label=word,
                period=period,
            )
            for place, (name, word) in enumerate(names.items())
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Lines over time."""

    title: str
    metrics: Sequence[cloudwatch.IMetric]
    width: int = THIRD  # columns
    signed: bool = False  # values may be below zero
    stacked: bool = False
    lines: Sequence[cloudwatch.HorizontalAnnotation] = ()
    start: str | None = None  # how far back, when it is not the dashboard's range

    def widget(self) -> cloudwatch.GraphWidget:
        """The graph as CloudWatch takes it."""
        return cloudwatch.GraphWidget(
            title=self.title,
            left=list(self.metrics),
            left_annotations=list(self.lines),
            left_y_axis=cloudwatch.YAxisProps(min=None if self.signed else 0, show_units=False),
            stacked=self.stacked,
            start=self.start,
            width=self.width,
        )


def _gauge(title: str, metric: cloudwatch.Metric, budget: Decimal | None) -> cloudwatch.IWidget:
    """A dial from zero to the budget, amber and red in its last part; without a budget the figure alone."""
    if budget is None:
        return cloudwatch.SingleValueWidget(title=title, metrics=[metric], width=6, height=6)
    return cloudwatch.GaugeWidget(
        title=f"{title}, of ${budget}",
        metrics=[metric],
        left_y_axis=cloudwatch.YAxisProps(min=0, max=float(budget)),  # CloudWatch takes doubles
        annotations=[
            cloudwatch.HorizontalAnnotation(
                value=float(budget * share),  # as above
                color=colour,
                fill=cloudwatch.Shading.ABOVE,
                label=f"{share:.0%}",
            )
            for share, colour in STEPS
        ],
        width=6,
        height=6,
    )


def _budget(label: str, budget: Decimal | None) -> list[cloudwatch.HorizontalAnnotation]:
    if budget is None:
        return []
    at = float(budget)  # CloudWatch takes doubles
    return [cloudwatch.HorizontalAnnotation(value=at, label=f"{label} ${budget}", color=RED)]
