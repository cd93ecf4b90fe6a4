"""The three functions: one bundle, one role and one log group each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_event_sources as sources
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from cost_router.contract import HEALTH_PATH, Env, Task
from infra.aws.nag import acknowledge

MEMORY_MB: Final = 512  # waiting on Claude is the largest AWS line of the bill, and it is charged by memory
COLLECTOR_TIMEOUT: Final = Duration.minutes(15)  # a day of a million entries takes a minute or two to export
BATCH_SIZE: Final = 10
ADAPTER_PORT: Final = "8080"
# AWS's own layer of the Lambda Web Adapter 1.0 for zip functions, in every region.
ADAPTER_LAYER: Final = "arn:{partition}:lambda:{region}:753240598075:layer:LambdaAdapterLayerArm64:27"
# The adapter hands on the path without the stage (it takes the event's `path`), so no base path is removed.
ADAPTER_ENVIRONMENT: Final = {
    "AWS_LAMBDA_EXEC_WRAPPER": "/opt/bootstrap",  # runs $LAMBDA_TASK_ROOT/$_HANDLER: the start script
    "AWS_LWA_INVOKE_MODE": "response_stream",
    "AWS_LWA_PORT": ADAPTER_PORT,
    "AWS_LWA_READINESS_CHECK_PATH": HEALTH_PATH,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """How a function runs."""

    code: lambda_.Code
    handler: str
    timeout: Duration
    environment: Mapping[str, str]
    log_retention: logs.RetentionDays


class Router(Construct):
    """Answers HTTPS calls through the alias `live`, whose versions start from a snapshot."""

    def __init__(self, scope: Construct, id_: str, *, runtime: Runtime, streaming: bool) -> None:
        super().__init__(scope, id_)
        self.function = _function(self, runtime, snap_start=True, adapter=streaming)
        # CDK removes the versions before the current one: each stored snapshot costs about $2 a month.
        self.alias = lambda_.Alias(self, "Live", alias_name="live", version=self.function.current_version)


class Batch(Construct):
    """Drains the jobs queue; a failed job returns to the queue without its neighbours."""

    def __init__(
        self, scope: Construct, id_: str, *, runtime: Runtime, queue: sqs.IQueue, max_concurrency: int
    ) -> None:
        super().__init__(scope, id_)
        self.function = _function(self, runtime, snap_start=False, adapter=False)
        # By it the function knows the messages that it has sent itself: SQS tells who sent one.
        role_id = self.function.role.node.default_child.attr_role_id  # type: ignore[union-attr]  # a role of ours has one
        self.function.add_environment(Env.BATCH_ROLE_ID, role_id)
        self.function.add_event_source(
            sources.SqsEventSource(
                queue,
                batch_size=BATCH_SIZE,
                max_batching_window=Duration.seconds(1),
                report_batch_item_failures=True,
                max_concurrency=max_concurrency,  # rather than reserved concurrency, which would return jobs unseen
            )
        )


class Collector(Construct):
    """Looks after what no request does, on schedules."""

    def __init__(self, scope: Construct, id_: str, *, runtime: Runtime) -> None:
        super().__init__(scope, id_)
        self.function = _function(self, runtime, snap_start=False, adapter=False)
        self._every(Task.MINUTE, events.Schedule.rate(Duration.minutes(1)))
        # A task of its own: packing may take minutes, which gauges and alerts should not wait for.
        self._every(Task.BATCHES, events.Schedule.rate(Duration.minutes(1)))
        # A few minutes past, so that the hour before is whole.
        self._every(Task.HOUR, events.Schedule.cron(minute="7"))
        # The provider's report is hours behind: twice, in case the first comes too early.
        self._every(Task.DAY, events.Schedule.cron(hour="6,18", minute="13"))

    def _every(self, task: str, schedule: events.Schedule) -> None:
        told = events.RuleTargetInput.from_object({"task": task})
        # A round that failed is not tried again: the next one does all that it left.
        target = targets.LambdaFunction(self.function, event=told, retry_attempts=0)
        events.Rule(self, f"Every{task.capitalize()}", schedule=schedule, targets=[target])


def _function(scope: Construct, runtime: Runtime, *, snap_start: bool, adapter: bool) -> lambda_.Function:
    log_group = logs.LogGroup(scope, "Logs", retention=runtime.log_retention, removal_policy=RemovalPolicy.DESTROY)
    role = iam.Role(scope, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    log_group.grant_write(role)
    function = lambda_.Function(
        scope,
        "Function",
        code=runtime.code,
        handler=runtime.handler,
        runtime=lambda_.Runtime.PYTHON_3_13,
        architecture=lambda_.Architecture.ARM_64,
        memory_size=MEMORY_MB,
        timeout=runtime.timeout,
        environment={**runtime.environment, **(ADAPTER_ENVIRONMENT if adapter else {})},
        layers=[_adapter_layer(scope)] if adapter else None,
        snap_start=lambda_.SnapStartConf.ON_PUBLISHED_VERSIONS if snap_start else None,
        log_group=log_group,
        role=role,
    )
    reason = "The bundle's wheels and bytecode are made for python3.13; both change together."
    acknowledge(function, "AwsSolutions-L1", reason)
    return function


def _adapter_layer(scope: Construct) -> lambda_.ILayerVersion:
    stack = Stack.of(scope)
    arn = ADAPTER_LAYER.format(partition=stack.partition, region=stack.region)
    return lambda_.LayerVersion.from_layer_version_arn(scope, "Adapter", arn)
