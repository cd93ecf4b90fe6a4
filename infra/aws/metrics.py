"""The metrics that alarms and dashboard read: ours by `contract.py`, and AWS's own."""

from dataclasses import dataclass

from aws_cdk import Duration
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs

from cost_router.contract import MODEL_DIMENSION, NAMESPACE, SERVICE_DIMENSION, SERVICE_PREFIX


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """The metrics of one environment."""

    stage: str
    rest_api: apigateway.RestApi
    jobs: sqs.Queue
    dead_letter_queue: sqs.Queue
    collector: lambda_.Function

    def ours(self, name: str, statistic: str, period: Duration, label: str | None = None) -> cloudwatch.Metric:
        """One of `contract.Metric`, over all models; a label is for graphs, it makes an alarm metric math."""
        return cloudwatch.Metric(
            namespace=NAMESPACE,
            metric_name=name,
            dimensions_map={SERVICE_DIMENSION: SERVICE_PREFIX + self.stage},
            statistic=statistic,
            period=period,
            label=label,
        )

    def by_model(self, name: str, statistic: str, period: Duration) -> cloudwatch.SearchExpression:
        """One of `contract.Metric`, a line for each model that was used in the last two weeks.

        A search, because callers may pin models outside the lineup and lineups change: no list would stay right, and
        one of the whole catalogue would be mostly empty. Alarms cannot watch a search; dashboards can.
        Source: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/search-expression-syntax.html
        """
        where = f'{SERVICE_DIMENSION}="{SERVICE_PREFIX}{self.stage}" MetricName="{name}"'
        dimensions = f"{{{NAMESPACE},{MODEL_DIMENSION},{SERVICE_DIMENSION}}}"
        return cloudwatch.SearchExpression(
            expression=f"SEARCH('{dimensions} {where}', '{statistic}', {period.to_seconds():.0f})",
            label=f"${{PROP('Dim.{MODEL_DIMENSION}')}}",
            period=period,
        )

    def server_errors(self, period: Duration) -> cloudwatch.Metric:
        """Answers of 5xx, the gateway's own included."""
        return self.rest_api.deployment_stage.metric_server_error(statistic="Sum", period=period)

    def collector_errors(self, period: Duration) -> cloudwatch.Metric:
        """Rounds of the collector that failed."""
        return self.collector.metric_errors(statistic="Sum", period=period)

    def client_errors(self, period: Duration) -> cloudwatch.Metric:
        """Answers of 4xx."""
        return self.rest_api.deployment_stage.metric_client_error(statistic="Sum", period=period)

    def dead_letters(self, period: Duration) -> cloudwatch.Metric:
        """Jobs on the dead-letter queue."""
        return self.dead_letter_queue.metric_approximate_number_of_messages_visible(statistic="Maximum", period=period)

    def waiting_jobs(self, period: Duration) -> cloudwatch.Metric:
        """Jobs on the queue."""
        return self.jobs.metric_approximate_number_of_messages_visible(statistic="Maximum", period=period)

    def oldest_job(self, period: Duration) -> cloudwatch.Metric:
        """Age of the oldest job on the queue, in seconds."""
        return self.jobs.metric_approximate_age_of_oldest_message(statistic="Maximum", period=period)
