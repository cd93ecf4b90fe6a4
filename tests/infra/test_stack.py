"""Tables, queues, bucket, outputs and the template as a whole."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cost_router.contract import Output, Table
from infra.aws import storage
from infra.aws.app import synth
from infra.aws.config import Config
from tests.infra.conftest import Template

TABLE = "AWS::DynamoDB::Table"
# W3005: CDK states a dependency on a function's role beside the one that a property implies.
CFN_LINT = (str(Path(sys.executable).parent / "cfn-lint"), "--ignore-checks", "W3005", "--")


@pytest.mark.parametrize(
    ("start", "keys", "ttl", "recovery"),
    [
        ("StorageLabels", [Table.LABELS_KEY], Table.TTL, False),
        ("StorageJobs", [Table.JOBS_KEY], Table.TTL, False),
        ("StorageRequests", [Table.REQUESTS_KEY], Table.TTL, False),
        ("StorageTenants", [Table.TENANTS_KEY], None, True),
        ("StorageLedger", [Table.LEDGER_PK, Table.LEDGER_SK], Table.TTL, True),
    ],
)
def test_tables(streaming: Template, start: str, keys: list[str], ttl: str | None, recovery: bool) -> None:  # noqa: FBT001
    table = streaming.only(TABLE, start)
    assert [key["AttributeName"] for key in table["KeySchema"]] == keys
    assert [key["KeyType"] for key in table["KeySchema"]] == ["HASH", "RANGE"][: len(keys)]
    assert {attribute["AttributeType"] for attribute in table["AttributeDefinitions"]} == {"S"}
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["SSESpecification"] == {"SSEEnabled": True}
    assert table.get("TimeToLiveSpecification", {}).get("AttributeName") == ttl
    specification = table.get("PointInTimeRecoverySpecification", {})
    assert specification.get("PointInTimeRecoveryEnabled", False) is recovery


def test_what_cannot_be_made_again_outlives_the_stack_unless_told_otherwise(
    streaming: Template, buffered: Template
) -> None:
    kept = (("StorageLedger", TABLE), ("StorageTenants", TABLE), ("StorageResults", "AWS::S3::Bucket"))
    for start, type_ in kept:
        assert streaming.resource(start, type_)["DeletionPolicy"] == "Retain"
        assert buffered.resource(start, type_)["DeletionPolicy"] == "Delete"
    for start in ("StorageLabels", "StorageJobs", "StorageRequests"):
        assert streaming.resource(start, TABLE)["DeletionPolicy"] == "Delete"


def test_the_jobs_queue_outwaits_the_function_and_gives_up_late(streaming: Template) -> None:
    jobs = streaming.only("AWS::SQS::Queue", "QueueingJobs")
    assert jobs["VisibilityTimeout"] == 6 * streaming.only("AWS::Lambda::Function", "Batch")["Timeout"] == 5_400
    assert jobs["RedrivePolicy"]["maxReceiveCount"] == 1_000
    assert jobs["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0].startswith("QueueingDeadLetters")
    for queue in streaming.of_type("AWS::SQS::Queue").values():
        assert queue["SqsManagedSseEnabled"] is True
        assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600


def test_plain_http_is_denied(streaming: Template) -> None:
    policies = ("AWS::SQS::QueuePolicy", "AWS::S3::BucketPolicy", "AWS::SNS::TopicPolicy")
    for policy in [found for type_ in policies for found in streaming.of_type(type_).values()]:
        denied = [found for found in policy["PolicyDocument"]["Statement"] if found["Effect"] == "Deny"]
        assert [found["Condition"] for found in denied] == [{"Bool": {"aws:SecureTransport": "false"}}]


def test_the_bucket_is_closed_encrypted_and_forgets_results_but_not_the_ledger(streaming: Template) -> None:
    bucket = streaming.only("AWS::S3::Bucket")
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    rules = bucket["LifecycleConfiguration"]["Rules"]
    expiring = {rule["Prefix"]: rule["ExpirationInDays"] for rule in rules if "ExpirationInDays" in rule}
    assert expiring == {"results/": 30, "answers/": 30, "batches/": 90, "jobs/": 15, "accepted/": 15, "samples/": 30}
    assert {rule["Status"] for rule in rules} == {"Enabled"}


def test_outputs_are_those_of_the_contract(streaming: Template) -> None:
    named = {value for name, value in vars(Output).items() if not name.startswith("_")}
    assert set(streaming.body["Outputs"]) == named


def test_everything_that_takes_tags_has_both(streaming: Template) -> None:
    for start, type_ in (
        ("Router", "AWS::Lambda::Function"),
        ("StorageLedger", TABLE),
        ("Api", "AWS::ApiGateway::Stage"),
    ):
        tags = {tag["Key"]: tag["Value"] for tag in streaming.only(type_, start)["Tags"]}
        assert tags == {"project": "claude-cost-router", "environment": "prod"}


def test_cloudformation_lint_finds_nothing(streaming: Template, buffered: Template, signed: Template) -> None:
    paths = [str(template.path) for template in (streaming, buffered, signed)]
    done = subprocess.run([*CFN_LINT, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_cdk_nag_has_nothing_unacknowledged(streaming: Template, buffered: Template, signed: Template) -> None:
    for template in (streaming, buffered, signed):  # a finding would have ended the synthesis
        report = (template.path.parent / "validation-report.json").read_text(encoding="utf-8")
        assert json.loads(report)["pluginReports"] == []


def test_a_finding_without_a_reason_ends_the_synthesis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(*_arguments: Any) -> None:
        pass

    monkeypatch.setattr(storage, "acknowledge", forget)
    with pytest.raises(RuntimeError, match="AwsSolutions-S1"):
        synth(Config(), tmp_path, bundling=False)
    assert "AwsSolutions-S1" in (tmp_path / "validation-report.json").read_text(encoding="utf-8")
