"""What each function may do, action by action; only the collector may scan."""

from typing import Final

from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_

from cost_router.contract import DEFAULT_TENANT_KEY, EXPORT_PREFIX
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


def run_jobs(function: lambda_.Function, storage: Storage, queueing: Queueing) -> None:
    """Drain the queue (its event source brings receive, delete and visibility), deliver, set aside."""
    storage.jobs.grant(function, "dynamodb:UpdateItem")
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


def _acknowledge_objects(function: lambda_.Function, storage: Storage, objects: str, reason: str) -> None:
    bucket = storage.results.stack.get_logical_id(storage.results.node.default_child)  # type: ignore[arg-type]  # a bucket has one
    acknowledge(function.role or function, f"AwsSolutions-IAM5[Resource::<{bucket}.Arn>/{objects}]", reason)
