"""The stack, read as a paragraph: constructs, what each function is told and may do, outputs."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from aws_cdk import CfnOutput, Duration, Stack, Tags
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from cost_router.contract import Env, Handler, Output
from infra.aws import bundle, permissions
from infra.aws.access import ClaudeAccess
from infra.aws.api import Api, ApiStage
from infra.aws.config import Config
from infra.aws.dashboard import Dashboard
from infra.aws.functions import COLLECTOR_TIMEOUT, Batch, Collector, Router, Runtime
from infra.aws.metrics import Metrics
from infra.aws.monitoring import Limits, Monitoring, health_rings, money_rings, spend_rings, surges
from infra.aws.queueing import Queueing
from infra.aws.storage import Storage

BOOKING_SECONDS: Final = 30  # a function outlives its gateway: what was paid is booked, whoever has stopped waiting
LAMBDA_SECONDS: Final = 900
DESCRIPTION: Final = "Claude Cost Router: each request on the cheapest Claude tier that can do it."


class CostRouterStack(Stack):
    """Everything of one environment."""

    def __init__(self, scope: Construct, id_: str, *, config: Config) -> None:
        super().__init__(scope, id_, description=DESCRIPTION)
        self.config = config
        code = bundle.code(local=config.local, domain_examples=config.domain_examples, discounts=config.discounts)

        self.storage = Storage(self, "Storage", retain=config.retain_data, results_ttl_days=config.results_ttl_days)
        batch_timeout = Duration.seconds(config.job_seconds)
        self.queueing = Queueing(self, "Queueing", function_timeout=batch_timeout)
        self.access = ClaudeAccess(
            self, "Claude", provider=config.provider, workspace_id=config.workspace_id, reconcile=config.reconcile
        )
        self.router = Router(
            self,
            "Router",
            streaming=config.streaming,
            runtime=self._runtime(
                code,
                Handler.ROUTER_STREAMING if config.streaming else Handler.ROUTER_BUFFERED,
                Duration.seconds(min(config.gateway_timeout_seconds + BOOKING_SECONDS, LAMBDA_SECONDS)),
                self._environment() | self._router_environment(),
            ),
        )
        self.batch = Batch(
            self,
            "Batch",
            queue=self.queueing.jobs,
            max_concurrency=config.job_functions,
            runtime=self._runtime(code, Handler.BATCH, batch_timeout, self._environment() | self._batch_environment()),
        )
        collecting = self._runtime(
            code, Handler.COLLECTOR, COLLECTOR_TIMEOUT, self._environment() | self._collector_environment()
        )
        self.collector = Collector(self, "Collector", runtime=collecting)
        self.api = self._api(self.router.alias)
        self.base_url = self._address()
        self._permit()
        self._watch()
        self._tell()
        Tags.of(self).add("project", "claude-cost-router")
        Tags.of(self).add("environment", config.env)

    def _runtime(self, code: lambda_.Code, handler: str, timeout: Duration, environment: Mapping[str, str]) -> Runtime:
        return Runtime(
            code=code,
            handler=handler,
            timeout=timeout,
            environment=environment,
            log_retention=log_retention(self.config.log_retention_days),
        )

    def _environment(self) -> dict[str, str]:
        """What all functions are told."""
        c = self.config
        return {
            Env.STAGE: c.env,
            Env.LINEUP: c.lineup,
            Env.PROVIDER: c.provider,
            Env.SECRET_ARN: self.access.secret_arn,
            Env.WORKSPACE_ID: c.workspace_id,
            Env.UPSTREAM_URL: c.upstream_url,
            Env.LABELS_TABLE: self.storage.labels.table_name,
            Env.LEDGER_TABLE: self.storage.ledger.table_name,
            Env.TENANTS_TABLE: self.storage.tenants.table_name,
            Env.LABEL_TTL_DAYS: str(c.label_ttl_days),
            Env.DAILY_BUDGET_USD: _dollars(c.daily_budget_usd),
            Env.MONTHLY_BUDGET_USD: _dollars(c.monthly_budget_usd),
            Env.SESSION_BUDGET_USD: _dollars(c.session_budget_usd),
            Env.SESSION_RPM: str(c.session_rpm or ""),
            Env.LADDER: c.ladder,
            Env.WITHOUT_STORE: c.without_store,
            Env.CLASSIFIER_DEADLINE_SECONDS: f"{c.classifier_deadline_seconds:f}",
        }

    def _router_environment(self) -> dict[str, str]:
        return {
            Env.DEADLINE_SECONDS: str(self.config.deadline_seconds),
            Env.STREAM_DEADLINE_SECONDS: str(self.config.stream_deadline_seconds),
            Env.MAX_BODY_BYTES: str(self.config.max_body_bytes),
            Env.REQUESTS_TABLE: self.storage.requests.table_name,
            Env.JOBS_TABLE: self.storage.jobs.table_name,
            Env.RESULTS_BUCKET: self.storage.results.bucket_name,
            Env.JOBS_QUEUE_URL: self.queueing.jobs.queue_url,
            Env.SAMPLE_PERCENT: str(self.config.sample_percent),
        }

    def _batch_environment(self) -> dict[str, str]:
        return {
            Env.JOBS_TABLE: self.storage.jobs.table_name,
            Env.RESULTS_BUCKET: self.storage.results.bucket_name,
            Env.JOBS_QUEUE_URL: self.queueing.jobs.queue_url,
            Env.DEAD_LETTER_QUEUE_URL: self.queueing.dead_letters.queue_url,
            Env.JOB_CONCURRENCY: str(self.config.job_concurrency),
            Env.JOB_FUNCTIONS: str(self.config.job_functions),
            Env.HEADROOM_PERCENT: str(self.config.headroom_percent),
        }

    def _collector_environment(self) -> dict[str, str]:
        return {
            Env.JOBS_TABLE: self.storage.jobs.table_name,
            Env.RESULTS_BUCKET: self.storage.results.bucket_name,
            Env.JOBS_QUEUE_URL: self.queueing.jobs.queue_url,
            Env.ADMIN_SECRET_ARN: self.access.admin_secret_arn,
            Env.BILL_WORKSPACE_ID: self.config.bill_workspace_id,
            Env.BILL_API_KEY_ID: self.config.bill_api_key_id,
        }

    def _api(self, function: lambda_.IFunction) -> Api:
        return Api(
            self,
            "Api",
            function=function,
            stage=ApiStage(
                name=self.config.env,
                streaming=self.config.streaming,
                timeout=Duration.seconds(self.config.gateway_timeout_seconds),
                throttle_rate=self.config.throttle_rate,
                throttle_burst=self.config.throttle_burst,
            ),
            log_retention=log_retention(self.config.log_retention_days),
        )

    def _address(self) -> str:
        """The base URL that callers use; the router is told the one that their requests do not tell."""
        public_url = self.config.public_url.replace("{api}", self.api.rest_api.rest_api_id)
        self.router.function.add_environment(Env.PUBLIC_URL, public_url)
        return public_url or self.api.url

    def _permit(self) -> None:
        for function in (self.router.function, self.batch.function):
            permissions.answer(function, self.storage)
            self.access.allow(function)
        self.access.allow_counting(self.router.function)
        permissions.report(self.router.function, self.storage)
        permissions.log_requests(self.router.function, self.storage)
        if not self.config.streaming:  # the web adapter sends them, however large
            permissions.keep_answers(self.router.function, self.storage)
        if self.config.sample_percent:
            permissions.keep_samples(self.router.function, self.storage)
        permissions.keep_batches(self.router.function, self.storage, self.queueing)
        permissions.run_jobs(self.batch.function, self.storage, self.queueing)
        permissions.unpack_batches(self.batch.function, self.storage, self.queueing)
        permissions.park_lines(self.batch.function, self.storage)
        permissions.collect(self.collector.function, self.storage)
        self.access.allow_bill(self.collector.function)
        permissions.run_batches(self.collector.function, self.storage)
        permissions.look_after_groups(self.collector.function, self.storage, self.queueing)
        self.access.allow_batches(self.collector.function)

    def _watch(self) -> None:
        c, queues = self.config, self.queueing
        metrics = Metrics(
            stage=c.env,
            rest_api=self.api.rest_api,
            jobs=queues.jobs,
            dead_letter_queue=queues.dead_letters,
            collector=self.collector.function,
        )
        limits = Limits(
            daily_budget_usd=c.daily_budget_usd, monthly_budget_usd=c.monthly_budget_usd, spend_anomaly=c.spend_anomaly
        )
        rings = [
            *spend_rings(metrics, limits),
            *money_rings(metrics),
            *health_rings(metrics, c.classifier_deadline_seconds),
        ]
        rates = surges(metrics, limits)
        self.monitoring = Monitoring(self, "Monitoring", rings=rings, surges=rates, alert_email=c.alert_email)
        self.collector.function.add_environment(Env.ALERTS_TOPIC, self.monitoring.topic.topic_arn)
        self.monitoring.topic.grant_publish(self.collector.function)
        self.dashboard = Dashboard(self, "Dashboard", metrics=metrics, alarms=self.monitoring.alarms, limits=limits)

    def _tell(self) -> None:
        outputs = {
            Output.BASE_URL: self.base_url,
            Output.QUEUE_URL: self.queueing.jobs.queue_url,
            Output.DEAD_LETTER_QUEUE_URL: self.queueing.dead_letters.queue_url,
            Output.RESULTS_BUCKET: self.storage.results.bucket_name,
            Output.LABELS_TABLE: self.storage.labels.table_name,
            Output.LEDGER_TABLE: self.storage.ledger.table_name,
            Output.JOBS_TABLE: self.storage.jobs.table_name,
            Output.TENANTS_TABLE: self.storage.tenants.table_name,
            Output.REQUESTS_TABLE: self.storage.requests.table_name,
            Output.ALERTS_TOPIC: self.monitoring.topic.topic_arn,
            Output.ROUTER_FUNCTION: self.router.function.function_name,
            Output.BATCH_FUNCTION: self.batch.function.function_name,
            Output.COLLECTOR_FUNCTION: self.collector.function.function_name,
            Output.DASHBOARD: self.dashboard.dashboard.dashboard_name,
            Output.SAMPLE_PERCENT: str(self.config.sample_percent),
        }
        if self.access.secret_arn:
            outputs[Output.SECRET_ARN] = self.access.secret_arn
        if self.access.admin_secret_arn:
            outputs[Output.ADMIN_SECRET_ARN] = self.access.admin_secret_arn
        for name, value in outputs.items():
            CfnOutput(self, name, value=value)


def _dollars(amount: Decimal | None) -> str:
    return "" if amount is None else f"{amount:f}"


def log_retention(days: int) -> logs.RetentionDays:
    """CDK's word for a number of days that CloudWatch Logs accepts."""
    words = {1: "ONE_DAY", 3: "THREE_DAYS", 5: "FIVE_DAYS", 7: "ONE_WEEK", 14: "TWO_WEEKS", 30: "ONE_MONTH"}
    words |= {60: "TWO_MONTHS", 90: "THREE_MONTHS", 120: "FOUR_MONTHS", 180: "SIX_MONTHS", 365: "ONE_YEAR"}
    words |= {731: "TWO_YEARS", 1096: "THREE_YEARS", 1827: "FIVE_YEARS", 3653: "TEN_YEARS"}
    return logs.RetentionDays[words[days]]
