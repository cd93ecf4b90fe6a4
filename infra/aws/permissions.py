"""What each function may do, action by action; only the collector may scan."""

from typing import Final

from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_

from cost_router.contract import (
    ACCEPTED_PREFIX,
    ANSWERS_PREFIX,
    BATCH_PREFIX,
    DEFAULT_TENANT_KEY,
    EXPORT_PREFIX,
    JOBS_PREFIX,
    SAMPLES_PREFIX,
    Table,
)
from infra.aws.nag import acknowledge
from infra.aws.queueing import Queueing
from infra.aws.storage import Storage

LEDGER: Final = ("dynamodb:BatchGetItem", "dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:UpdateItem")


def answer(function: lambda_.Function, storage: Storage) -> None:
    """Label, book and know the tenant: what answering a request takes."""
    storage.labels.grant(function, "dynamodb:GetItem", "dynamodb:PutItem")
    # A transaction is allowed by the actions of its parts; what is deleted are reservations, when they are settled.
    storage.ledger.grant(function, *LEDGER)
    storage.tenants.grant(function, "dynamodb:GetItem")


def report(function: lambda_.Function, storage: Storage) -> None:
    """Read the ledger's entries, and nothing else of it, for `GET /v1/spend`."""
    entries = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["entries#*"]}}
    function.add_to_role_policy(
        iam.PolicyStatement(actions=["dynamodb:Query"], resources=[storage.ledger.table_arn], conditions=entries)
    )


def log_requests(function: lambda_.Function, storage: Storage) -> None:
    """Write what requests have cost, and tell it, for `GET /v1/requests/{id}`."""
    storage.requests.grant(function, "dynamodb:BatchWriteItem", "dynamodb:GetItem")


def keep_answers(function: lambda_.Function, storage: Storage) -> None:
    """Keep answers that are too large to be sent, and sign URLs that give them: these allow what the signer may do."""
    _objects(function, storage, ANSWERS_PREFIX, "s3:GetObject", "s3:PutObject")


def keep_samples(function: lambda_.Function, storage: Storage) -> None:
    """Keep a share of the requests, prompts and answers, where the operator has asked for it; read none of them."""
    _objects(function, storage, SAMPLES_PREFIX, "s3:PutObject")


def keep_batches(function: lambda_.Function, storage: Storage, queueing: Queueing) -> None:
    """Accept, tell and cancel batches over HTTPS, each of which is a group of jobs, and give their results."""
    _on_keys(function, storage, ["accepted#msgbatch_*"], "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem")
    _on_keys(function, storage, ["group#msgbatch_*"], "dynamodb:BatchGetItem", "dynamodb:UpdateItem")
    index = f"{storage.jobs.table_arn}/index/{Table.JOBS_INDEX}"
    function.add_to_role_policy(
        iam.PolicyStatement(actions=["dynamodb:Query"], resources=[index], conditions=_keys(["accepted#*"]))
    )
    function.add_to_role_policy(iam.PolicyStatement(actions=["sqs:SendMessage"], resources=[queueing.jobs.queue_arn]))
    _objects(function, storage, ACCEPTED_PREFIX, "s3:PutObject")  # nobody else may write there
    results = "results/msgbatch_*"
    function.add_to_role_policy(
        iam.PolicyStatement(actions=["s3:GetObject"], resources=[storage.results.arn_for_objects(results)])
    )
    _acknowledge_objects(function, storage, results, "Results of batches over HTTPS, and of no other group.")
    listed = {"StringLike": {"s3:prefix": [results]}}
    function.add_to_role_policy(
        iam.PolicyStatement(actions=["s3:ListBucket"], resources=[storage.results.bucket_arn], conditions=listed)
    )


def unpack_batches(function: lambda_.Function, storage: Storage, queueing: Queueing) -> None:
    """Put the lines of batches over HTTPS on the queue."""
    _objects(function, storage, ACCEPTED_PREFIX, "s3:DeleteObject", "s3:GetObject")
    function.add_to_role_policy(iam.PolicyStatement(actions=["sqs:SendMessage"], resources=[queueing.jobs.queue_arn]))


def run_jobs(function: lambda_.Function, storage: Storage, queueing: Queueing) -> None:
    """Drain the queue (its event source brings receive, delete and visibility), deliver, set aside."""
    _on_items(function, storage, "dynamodb:GetItem", "dynamodb:UpdateItem")
    function.add_to_role_policy(  # jobs without a tenant belong to one that is made when it is missing, and no other
        iam.PolicyStatement(
            actions=["dynamodb:PutItem"],
            resources=[storage.tenants.table_arn],
            conditions={"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [DEFAULT_TENANT_KEY]}},
        )
    )
    function.add_to_role_policy(
        iam.PolicyStatement(
            actions=["s3:GetObject", "s3:PutObject"], resources=[storage.results.arn_for_objects("results/*")]
        )
    )
    _objects(function, storage, JOBS_PREFIX, "s3:GetObject", "s3:PutObject")
    function.add_to_role_policy(  # without it a missing key is 403, as if the bucket were not ours
        iam.PolicyStatement(actions=["s3:ListBucket"], resources=[storage.results.bucket_arn])
    )
    function.add_to_role_policy(
        iam.PolicyStatement(actions=["sqs:SendMessage"], resources=[queueing.dead_letters.queue_arn])
    )
    reason = "One object per job under results/, and nothing else in the bucket."
    _acknowledge_objects(function, storage, "results/*", reason)


def collect(function: lambda_.Function, storage: Storage) -> None:
    """Read and sweep the ledger, read all tenants' limits, write the exported ledger."""
    storage.ledger.grant(function, *LEDGER, "dynamodb:Query")
    storage.tenants.grant(function, "dynamodb:Scan")
    objects = f"{EXPORT_PREFIX}/*"
    function.add_to_role_policy(
        iam.PolicyStatement(actions=["s3:PutObject"], resources=[storage.results.arn_for_objects(objects)])
    )
    _acknowledge_objects(function, storage, objects, "One file per day under that prefix, and nothing else.")


def park_lines(function: lambda_.Function, storage: Storage) -> None:
    """Keep jobs of the batch lane until they are packed, and jobs of paused groups until they are resumed."""
    _objects(function, storage, BATCH_PREFIX, "s3:DeleteObject", "s3:GetObject", "s3:PutObject")


def run_batches(function: lambda_.Function, storage: Storage) -> None:
    """Pack what is parked, and deliver what has come back."""
    _on_items(function, storage, "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem")
    index = f"{storage.jobs.table_arn}/index/{Table.JOBS_INDEX}"
    function.add_to_role_policy(iam.PolicyStatement(actions=["dynamodb:Query"], resources=[index]))
    _objects(function, storage, BATCH_PREFIX, "s3:DeleteObject", "s3:GetObject")
    _objects(function, storage, "results", "s3:PutObject")
    function.add_to_role_policy(  # without it a missing key is 403, as if the bucket were not ours
        iam.PolicyStatement(actions=["s3:ListBucket"], resources=[storage.results.bucket_arn])
    )


def look_after_groups(function: lambda_.Function, storage: Storage, queueing: Queueing) -> None:
    """Count groups, put held jobs back on the queue, tell of groups that are finished."""
    _on_items(function, storage, "dynamodb:BatchGetItem")
    function.add_to_role_policy(iam.PolicyStatement(actions=["sqs:SendMessage"], resources=[queueing.jobs.queue_arn]))
    bus = events.EventBus.from_event_bus_name(function, "DefaultBus", "default")
    function.add_to_role_policy(iam.PolicyStatement(actions=["events:PutEvents"], resources=[bus.event_bus_arn]))


def _on_items(function: lambda_.Function, storage: Storage, *actions: str) -> None:
    """On the jobs table, but not on its index: `grant` would add all of them."""
    function.add_to_role_policy(iam.PolicyStatement(actions=list(actions), resources=[storage.jobs.table_arn]))


def _on_keys(function: lambda_.Function, storage: Storage, keys: list[str], *actions: str) -> None:
    """On those items of the jobs table whose key looks so."""
    function.add_to_role_policy(
        iam.PolicyStatement(actions=list(actions), resources=[storage.jobs.table_arn], conditions=_keys(keys))
    )


def _keys(keys: list[str]) -> dict[str, dict[str, list[str]]]:
    return {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": keys}}


def _objects(function: lambda_.Function, storage: Storage, prefix: str, *actions: str) -> None:
    """On the objects under a prefix of the bucket."""
    objects = f"{prefix}/*"
    resource = storage.results.arn_for_objects(objects)
    function.add_to_role_policy(iam.PolicyStatement(actions=list(actions), resources=[resource]))
    _acknowledge_objects(function, storage, objects, "One object per job or answer under that prefix, no more.")


def _acknowledge_objects(function: lambda_.Function, storage: Storage, objects: str, reason: str) -> None:
    bucket = storage.results.stack.get_logical_id(storage.results.node.default_child)  # type: ignore[arg-type]  # a bucket has one
    acknowledge(function.role or function, f"AwsSolutions-IAM5[Resource::<{bucket}.Arn>/{objects}]", reason)
