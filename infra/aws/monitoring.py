"""What rings: money first. Every alarm goes to one SNS topic."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from cost_router.contract import Metric
from infra.aws.metrics import Metrics

SPEND_STEPS: Final = (50, 80, 100)  # percent of the account's daily or monthly budget
SURGE_PERIODS: Final = 3  # of five minutes: one dear request fills one of them, a loop that runs away all three
AMBIGUOUS: Final = 5  # in an hour: one is a cut connection, five are a deadline too short or a network that fails
DRIFT_USD: Final = Decimal("0.01")  # below it the provider's own figures are rounded
HOUR: Final = Duration.hours(1)
SLOW_SHARE: Final = Decimal("0.8")  # of the classifier's deadline: past it, labels are guesses
GUESSES: Final = 10  # in five minutes; one is a slow call
SERVER_ERRORS: Final = 5  # in five minutes; one may be a client's own cut
OLD_JOB: Final = Duration.hours(6)  # waiting for rate limits is normal, waiting this long is not
MINUTE: Final = Duration.minutes(1)
FIVE_MINUTES: Final = Duration.minutes(5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the account's spend is held against; None where there is nothing."""

    daily_budget_usd: Decimal | None = None
    monthly_budget_usd: Decimal | None = None
    spend_anomaly: Decimal | None = None  # width of the band of expected spend, in standard deviations


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """An alarm: what it watches, from where on it rings, and what it says to the person it wakes."""

    id: str
    metric: cloudwatch.IMetric
    at_least: Decimal | float
    says: str
    periods: int = 1
    missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Surge:
    """An alarm on a rate that leaves, upwards, the band in which CloudWatch expects it at this hour and weekday.

    Billed as three metrics, about $0.30 a month: the rate and both edges of the band. The alarm makes CloudWatch learn
    the band, from up to two weeks; until it has one nothing rings.
    Source: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Anomaly_Detection.html
    """

    id: str
    metric: cloudwatch.Metric
    width: Decimal  # of the band, in standard deviations
    periods: int  # in a row
    says: str


class Monitoring(Construct):
    """Alarms on spend and health, and the topic they ring on."""

    def __init__(
        self, scope: Construct, id_: str, *, rings: Iterable[Ring], surges: Iterable[Surge], alert_email: str
    ) -> None:
        super().__init__(scope, id_)
        # Not encrypted: alarms cannot publish under the key that AWS manages, a key of ours costs $1 a month, and the
        # messages say no more than the alarms' names and figures.
        self.topic = sns.Topic(self, "Alerts", display_name="Claude Cost Router alerts", enforce_ssl=True)
        # A topic with a policy of its own loses SNS's default one, which lets the account's alarms publish.
        self.topic.grant_publish(
            iam.ServicePrincipal(
                "cloudwatch.amazonaws.com", conditions={"StringEquals": {"aws:SourceAccount": Stack.of(self).account}}
            )
        )
        if alert_email:
            self.topic.add_subscription(subscriptions.EmailSubscription(alert_email))
        self.alarms = [*(self._alarm(ring) for ring in rings), *(self._surge(surge) for surge in surges)]
        for alarm in self.alarms:
            alarm.add_alarm_action(actions.SnsAction(self.topic))

    def _alarm(self, ring: Ring) -> cloudwatch.Alarm:
        return cloudwatch.Alarm(
            self,
            ring.id,
            alarm_name=self._name(ring.id),
            metric=ring.metric,
            threshold=float(ring.at_least),  # CloudWatch takes doubles
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            evaluation_periods=ring.periods,
            treat_missing_data=ring.missing,
            alarm_description=ring.says,
        )

    def _surge(self, surge: Surge) -> cloudwatch.Alarm:
        return cloudwatch.AnomalyDetectionAlarm(
            self,
            surge.id,
            alarm_name=self._name(surge.id),
            metric=surge.metric,
            std_devs=float(surge.width),  # a number of deviations, not money
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_UPPER_THRESHOLD,
            evaluation_periods=surge.periods,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            alarm_description=surge.says,
        )

    def _name(self, id_: str) -> str:
        """It is the subject of the e-mail."""
        return f"{Stack.of(self).stack_name}-{id_}"


def spend_rings(m: Metrics, limits: Limits) -> Iterator[Ring]:
    """One ring for each step of the account's daily and of its monthly budget, of those that there are."""
    spans = (
        ("Spend", Metric.SPEND_TODAY, limits.daily_budget_usd, "UTC day", "daily"),
        ("Month", Metric.SPEND_THIS_MONTH, limits.monthly_budget_usd, "UTC month", "monthly"),
    )
    for (start, gauge, budget, span, name), step in itertools.product(spans, SPEND_STEPS):
        if budget is None:
            continue
        yield Ring(
            id=f"{start}{step}",
            metric=m.ours(gauge, "Maximum", MINUTE),
            at_least=budget * step / 100,
            says=f"Claude spend of this {span} has reached {step} % of the {name} budget of ${budget}.",
            # Without requests nothing is spent and nothing emitted: the state stays what it was. The first request of a
            # new UTC day or month brings the gauge, and the alarm, back.
            missing=cloudwatch.TreatMissingData.IGNORE,
        )


def surges(m: Metrics, limits: Limits) -> Iterator[Surge]:
    """The rate of spend, if its band has a width.

    It needs no budget: a loop that runs away at three in the morning is told long before a day's budget is gone.
    """
    if limits.spend_anomaly is not None:
        yield Surge(
            id="SpendRate",
            metric=m.ours(Metric.SPEND, "Sum", FIVE_MINUTES),
            width=limits.spend_anomaly,
            periods=SURGE_PERIODS,
            says="Claude spend has been above what is usual at this hour and weekday for fifteen minutes; see the log "
            "lines of the last quarter of an hour, by tenant.",
        )


def money_rings(m: Metrics) -> Iterator[Ring]:
    """What is paid and not known for sure, what no ledger entry explains, what no budget held back."""
    reached = "A budget of a tenant or of the month has reached a step; the message on this topic says which, and when."
    yield Ring(id="BudgetSteps", metric=m.ours(Metric.BUDGET_STEPS, "Sum", MINUTE), at_least=1, says=reached)
    unsure = (
        f"{AMBIGUOUS} or more calls within an hour ended without usage and were booked at the most they can have cost."
    )
    yield Ring(id="Ambiguous", metric=m.ours(Metric.AMBIGUOUS, "Sum", HOUR), at_least=AMBIGUOUS, says=unsure)
    yield Ring(
        id="LedgerDrift",
        metric=m.ours(Metric.LEDGER_DRIFT, "Maximum", FIVE_MINUTES),
        at_least=DRIFT_USD,
        says=f"Ledger and provider differ by ${DRIFT_USD} or more for a day; `cost-router reconcile` shows the lines.",
        # A day is reconciled once: until the next one is, its state is what is known.
        missing=cloudwatch.TreatMissingData.IGNORE,
    )
    free = "Claude was called without a reservation, because the budget store could not be reached: no budget held."
    yield Ring(id="Unreserved", metric=m.ours(Metric.UNRESERVED, "Sum", MINUTE), at_least=1, says=free)


def health_rings(m: Metrics, classifier_deadline_seconds: Decimal) -> Iterator[Ring]:
    """Labels get slow, requests or bookings fail, jobs get stuck."""
    yield Ring(
        id="ClassifierSlow",
        metric=m.ours(Metric.CLASSIFIER_LATENCY, "p95", FIVE_MINUTES),
        at_least=classifier_deadline_seconds * 1000 * SLOW_SHARE,
        periods=3,
        says="The slowest classifier calls near the deadline, after which requests go to the middle tier unlabelled.",
    )
    skipped = (
        "The classifier failed several times in a row and is not asked for a while: requests without a known label go "
        "to the middle tier. The log lines are classifier_failed and classifier_held_back."
    )
    yield Ring(
        id="ClassifierSkipped", metric=m.ours(Metric.CLASSIFIER_SKIPPED, "Sum", MINUTE), at_least=1, says=skipped
    )
    guessed = (
        f"{GUESSES} or more labels within five minutes were guesses: the classifier failed, was late, or its model is "
        "refused; the log line classifier_failed says why. Guessed requests run on the middle tier."
    )
    failing = m.ours(Metric.CLASSIFIER_FAILURES, "Sum", FIVE_MINUTES)
    yield Ring(id="ClassifierFailing", metric=failing, at_least=GUESSES, says=guessed)
    errors = f"The API answered {SERVER_ERRORS} or more requests with 5xx within five minutes."
    yield Ring(id="RouterErrors", metric=m.server_errors(FIVE_MINUTES), at_least=SERVER_ERRORS, says=errors)
    failures = "Ledger entries could not be written; they are whole in the functions' logs: ledger_entry_not_written."
    yield Ring(id="LedgerFailures", metric=m.ours(Metric.LEDGER_FAILURES, "Sum", MINUTE), at_least=1, says=failures)
    rounds = (
        "A round of the collector failed; its log tells why. While rounds fail, lost calls are not booked, gauges "
        "stand still, and tenants' alerts, exports and the comparison with the bill do not come."
    )
    yield Ring(id="CollectorErrors", metric=m.collector_errors(FIVE_MINUTES), at_least=1, says=rounds)
    stopped = (
        "Claude refuses every call for the account's sake: its key, its billing or its spend limit. The bulk lane has "
        "stopped and asks again every few minutes; its jobs wait on the queue. The log line is lane_stopped."
    )
    yield Ring(id="LaneStopped", metric=m.ours(Metric.LANE_STOPPED, "Sum", FIVE_MINUTES), at_least=1, says=stopped)
    set_aside = "Jobs were set aside on the dead-letter queue; `cost-router dead-letters list` tells why."
    yield Ring(id="DeadLetters", metric=m.dead_letters(MINUTE), at_least=1, says=set_aside)
    waiting = "A job has been waiting for hours: rate limits are lower than the load, or the batch function fails."
    yield Ring(id="OldJobs", metric=m.oldest_job(FIVE_MINUTES), at_least=OLD_JOB.to_seconds(), says=waiting)
