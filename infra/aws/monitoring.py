"""What rings: money first. Every alarm goes to one SNS topic."""

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

SPEND_STEPS: Final = (50, 80, 100)  # percent of the daily budget
SLOW_SHARE: Final = Decimal("0.8")  # of the classifier's deadline: past it, labels are guesses
SERVER_ERRORS: Final = 5  # in five minutes; one may be a client's own cut
OLD_JOB: Final = Duration.hours(6)  # waiting for rate limits is normal, waiting this long is not
MINUTE: Final = Duration.minutes(1)
FIVE_MINUTES: Final = Duration.minutes(5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """An alarm: what it watches, from where on it rings, and what it says to the person it wakes."""

    id: str
    metric: cloudwatch.IMetric
    at_least: Decimal | float
    says: str
    periods: int = 1
    missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING


class Monitoring(Construct):
    """Alarms on spend and health, and the topic they ring on."""

    def __init__(self, scope: Construct, id_: str, *, rings: Iterable[Ring], alert_email: str) -> None:
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
        self.alarms = [self._alarm(ring) for ring in rings]

    def _alarm(self, ring: Ring) -> cloudwatch.Alarm:
        alarm = cloudwatch.Alarm(
            self,
            ring.id,
            alarm_name=f"{Stack.of(self).stack_name}-{ring.id}",  # it is the subject of the e-mail
            metric=ring.metric,
            threshold=float(ring.at_least),  # CloudWatch takes doubles
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            evaluation_periods=ring.periods,
            treat_missing_data=ring.missing,
            alarm_description=ring.says,
        )
        alarm.add_alarm_action(actions.SnsAction(self.topic))
        return alarm


def spend_rings(m: Metrics, daily_budget_usd: Decimal | None) -> Iterator[Ring]:
    """One ring for each step of the daily budget, if there is one."""
    for step in SPEND_STEPS if daily_budget_usd else ():
        yield Ring(
            id=f"Spend{step}",
            metric=m.ours(Metric.SPEND_TODAY, "Maximum", MINUTE),
            at_least=(daily_budget_usd or Decimal(0)) * step / 100,
            says=f"Claude spend of this UTC day has reached {step} % of the daily budget of ${daily_budget_usd}.",
            # Without requests nothing is spent and nothing emitted: the state stays what it was. The first request of a
            # new UTC day brings the gauge, and the alarm, back.
            missing=cloudwatch.TreatMissingData.IGNORE,
        )


def health_rings(m: Metrics, classifier_deadline_seconds: Decimal) -> Iterator[Ring]:
    """Labels get slow, requests or bookings fail, jobs get stuck."""
    yield Ring(
        id="ClassifierSlow",
        metric=m.ours(Metric.CLASSIFIER_LATENCY, "p95", FIVE_MINUTES),
        at_least=classifier_deadline_seconds * 1000 * SLOW_SHARE,
        periods=3,
        says="The slowest classifier calls near the deadline, after which requests go to the middle tier unlabelled.",
    )
    errors = f"The API answered {SERVER_ERRORS} or more requests with 5xx within five minutes."
    yield Ring(id="RouterErrors", metric=m.server_errors(FIVE_MINUTES), at_least=SERVER_ERRORS, says=errors)
    failures = "Ledger entries could not be written; they are whole in the functions' logs: ledger_entry_not_written."
    yield Ring(id="LedgerFailures", metric=m.ours(Metric.LEDGER_FAILURES, "Sum", MINUTE), at_least=1, says=failures)
    set_aside = "Jobs were set aside on the dead-letter queue; each has the reason as a message attribute."
    yield Ring(id="DeadLetters", metric=m.dead_letters(MINUTE), at_least=1, says=set_aside)
    waiting = "A job has been waiting for hours: rate limits are lower than the load, or the batch function fails."
    yield Ring(id="OldJobs", metric=m.oldest_job(FIVE_MINUTES), at_least=OLD_JOB.to_seconds(), says=waiting)
