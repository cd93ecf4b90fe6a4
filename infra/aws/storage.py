"""The five tables and the results bucket."""

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_s3 as s3
from constructs import Construct

from cost_router.contract import ACCEPTED_PREFIX, ANSWERS_PREFIX, BATCH_PREFIX, JOBS_PREFIX, SAMPLES_PREFIX, Table
from infra.aws.nag import acknowledge


class Storage(Construct):
    """Labels, jobs and receipts of requests pass and go with the stack; `retain` keeps ledger, tenants and results."""

    def __init__(self, scope: Construct, id_: str, *, retain: bool, results_ttl_days: int) -> None:
        super().__init__(scope, id_)
        policy = RemovalPolicy.RETAIN if retain else RemovalPolicy.DESTROY
        self.labels = self._passing_table("Labels", Table.LABELS_KEY)
        self.requests = self._passing_table("Requests", Table.REQUESTS_KEY)
        self.jobs = self._passing_table("Jobs", Table.JOBS_KEY)
        self.jobs.add_global_secondary_index(  # sparse: what waits for, or is in, a Message Batch
            index_name=Table.JOBS_INDEX,
            partition_key=_string(Table.JOBS_BATCH),
            sort_key=_string(Table.JOBS_SINCE),
        )
        self.tenants = self._kept_table("Tenants", Table.TENANTS_KEY, None, policy)
        # What counts for a minute or for a session expires; entries and counters do not have the attribute.
        self.ledger = self._kept_table("Ledger", Table.LEDGER_PK, Table.LEDGER_SK, policy, ttl=Table.TTL)
        self.results = self._bucket(results_ttl_days, policy)

    def _passing_table(self, id_: str, key: str) -> dynamodb.Table:
        table = dynamodb.Table(
            self,
            id_,
            partition_key=_string(key),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=dynamodb.TableEncryption.AWS_MANAGED,
            time_to_live_attribute=Table.TTL,
            removal_policy=RemovalPolicy.DESTROY,
        )
        reason = "Items live for days, and what they tell is in ledger or results too, or is made again."
        acknowledge(table, "AwsSolutions-DDB3", reason)
        return table

    def _kept_table(
        self, id_: str, key: str, sort_key: str | None, policy: RemovalPolicy, ttl: str | None = None
    ) -> dynamodb.Table:
        return dynamodb.Table(
            self,
            id_,
            partition_key=_string(key),
            sort_key=_string(sort_key) if sort_key else None,
            time_to_live_attribute=ttl,
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=dynamodb.TableEncryption.AWS_MANAGED,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            removal_policy=policy,
        )

    def _bucket(self, ttl_days: int, policy: RemovalPolicy) -> s3.Bucket:
        bucket = s3.Bucket(
            self,
            "Results",
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            lifecycle_rules=[
                s3.LifecycleRule(prefix="results/", expiration=Duration.days(ttl_days)),
                s3.LifecycleRule(prefix=f"{ANSWERS_PREFIX}/", expiration=Duration.days(ttl_days)),
                # Bodies go with their results. What stays belongs to a process that died; a budget may let jobs wait
                # for a month.
                s3.LifecycleRule(prefix=f"{BATCH_PREFIX}/", expiration=Duration.days(90)),
                # A message waits for two weeks at the most, and what it points to no longer.
                s3.LifecycleRule(prefix=f"{JOBS_PREFIX}/", expiration=Duration.days(15)),
                s3.LifecycleRule(prefix=f"{ACCEPTED_PREFIX}/", expiration=Duration.days(15)),  # the same
                s3.LifecycleRule(prefix=f"{SAMPLES_PREFIX}/", expiration=Duration.days(30)),
                s3.LifecycleRule(abort_incomplete_multipart_upload_after=Duration.days(1)),
            ],
            removal_policy=policy,
        )
        reason = "Written by one function, read within the account; CloudTrail data events serve an audit."
        acknowledge(bucket, "AwsSolutions-S1", reason)
        return bucket


def _string(name: str) -> dynamodb.Attribute:
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)
