"""Functions, their environment and what they may do."""

import ast
import inspect
import json
from typing import Any

import pytest

from cost_router import contract
from cost_router.contract import Env
from cost_router.core import message_batches
from cost_router.handlers import settings
from tests.infra.conftest import Template

BOTH = {
    Env.STAGE,
    Env.LINEUP,
    Env.PROVIDER,
    Env.SECRET_ARN,
    Env.WORKSPACE_ID,
    Env.UPSTREAM_URL,
    Env.LABELS_TABLE,
    Env.LEDGER_TABLE,
    Env.TENANTS_TABLE,
    Env.LABEL_TTL_DAYS,
    Env.DAILY_BUDGET_USD,
    Env.MONTHLY_BUDGET_USD,
    Env.SESSION_BUDGET_USD,
    Env.SESSION_RPM,
    Env.LADDER,
    Env.WITHOUT_STORE,
    Env.CLASSIFIER_DEADLINE_SECONDS,
}
ROUTER = BOTH | {
    Env.DEADLINE_SECONDS,
    Env.STREAM_DEADLINE_SECONDS,
    Env.MAX_BODY_BYTES,
    Env.PUBLIC_URL,
    Env.REQUESTS_TABLE,
    Env.JOBS_TABLE,
    Env.RESULTS_BUCKET,
    Env.JOBS_QUEUE_URL,
    Env.SAMPLE_PERCENT,
}
BATCH = BOTH | {
    Env.JOBS_TABLE,
    Env.RESULTS_BUCKET,
    Env.JOBS_QUEUE_URL,
    Env.DEAD_LETTER_QUEUE_URL,
    Env.JOB_CONCURRENCY,
    Env.JOB_FUNCTIONS,
    Env.HEADROOM_PERCENT,
    Env.BATCH_ROLE_ID,
}
COLLECTOR = BOTH | {
    Env.JOBS_TABLE,
    Env.RESULTS_BUCKET,
    Env.JOBS_QUEUE_URL,
    Env.ALERTS_TOPIC,
    Env.ADMIN_SECRET_ARN,
    Env.BILL_WORKSPACE_ID,
    Env.BILL_API_KEY_ID,
}
SIGNED_ACTIONS = {  # a single action stands alone in a statement, several in a list
    "Router": ["aws-external-anthropic:CountTokens", "aws-external-anthropic:CreateInference"],
    "Batch": "aws-external-anthropic:CreateInference",
}
LEDGER_ACTIONS = {f"dynamodb:{action}" for action in ("BatchGetItem", "DeleteItem", "PutItem", "UpdateItem")}
ADAPTER = {
    "AWS_LAMBDA_EXEC_WRAPPER": "/opt/bootstrap",
    "AWS_LWA_INVOKE_MODE": "response_stream",
    "AWS_LWA_PORT": "8080",
    "AWS_LWA_READINESS_CHECK_PATH": "/health",
}


def read_by(*classes: type) -> set[str]:
    """Variables that settings classes read, from their source."""
    nodes = (node for class_ in classes for node in ast.walk(ast.parse(inspect.getsource(class_))))
    return {
        getattr(Env, node.attr)
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Env"
    }


def test_streaming_runs_the_start_script_behind_the_adapter(streaming: Template) -> None:
    router = streaming.only("AWS::Lambda::Function", "Router")
    assert router["Handler"] == "cost_router/start.sh"
    assert router["Timeout"] == 900
    assert router["SnapStart"] == {"ApplyOn": "PublishedVersions"}
    assert "753240598075:layer:LambdaAdapterLayerArm64:27" in json.dumps(router["Layers"])
    assert {"Ref": "AWS::Region"} in router["Layers"][0]["Fn::Join"][1]
    assert {name: value for name, value in streaming.environment("Router").items() if name in ADAPTER} == ADAPTER


def test_buffered_runs_mangum_without_the_adapter(buffered: Template) -> None:
    router = buffered.only("AWS::Lambda::Function", "Router")
    assert router["Handler"] == contract.Handler.ROUTER_BUFFERED
    assert router["Timeout"] == 29 + 30, "it outlives its gateway, to book what was paid"
    assert "Layers" not in router
    assert not ADAPTER.keys() & buffered.environment("Router").keys()


def test_each_function_is_told_what_it_reads_and_nothing_else(streaming: Template, buffered: Template) -> None:
    assert streaming.environment("Router").keys() == ROUTER | ADAPTER.keys()
    assert buffered.environment("Router").keys() == ROUTER
    for template in (streaming, buffered):
        assert template.environment("Batch").keys() == BATCH
        assert template.environment("Collector").keys() == COLLECTOR


def test_the_code_reads_what_the_stack_sets() -> None:
    assert read_by(settings.Settings, settings.RouterSettings) == ROUTER
    assert read_by(settings.Settings, settings.BatchSettings) == BATCH
    assert read_by(settings.Settings, settings.CollectorSettings) == COLLECTOR


def test_settings_accept_the_environment_of_the_stack(streaming: Template, buffered: Template) -> None:
    for template in (streaming, buffered):
        plain = {
            start: {name: value if isinstance(value, str) else "made-at-deploy" for name, value in found.items()}
            for start in ("Router", "Batch", "Collector")
            for found in [template.environment(start)]
        }
        settings.Settings.read(plain["Router"])
        settings.RouterSettings.read(plain["Router"])
        settings.BatchSettings.read(plain["Batch"])
        settings.Settings.read(plain["Collector"])
        settings.CollectorSettings.read(plain["Collector"])


def test_values_of_the_environment_come_from_the_config(streaming: Template, buffered: Template) -> None:
    on, off = streaming.environment("Router"), buffered.environment("Router")
    assert (on[Env.STAGE], on[Env.LINEUP], on[Env.DAILY_BUDGET_USD]) == ("prod", "current", "50")
    assert (off[Env.STAGE], off[Env.LINEUP], off[Env.DAILY_BUDGET_USD]) == ("local", "article", "")
    assert (on[Env.DEADLINE_SECONDS], off[Env.DEADLINE_SECONDS]) == ("895", "24")
    assert (on[Env.STREAM_DEADLINE_SECONDS], off[Env.STREAM_DEADLINE_SECONDS]) == ("895", "24")
    assert off[Env.UPSTREAM_URL] == "http://127.0.0.1:9"


@pytest.mark.parametrize("start", ["Router", "Batch", "Collector"])
def test_functions_run_small_on_arm_with_a_log_of_limited_age(streaming: Template, start: str) -> None:
    function = streaming.only("AWS::Lambda::Function", start)
    assert (function["Runtime"], function["Architectures"], function["MemorySize"]) == ("python3.13", ["arm64"], 512)
    assert streaming.only("AWS::Logs::LogGroup", start)["RetentionInDays"] == 30
    assert function["LoggingConfig"]["LogGroup"]["Ref"].startswith(start)


def test_calls_go_to_the_alias_live(streaming: Template) -> None:
    assert streaming.only("AWS::Lambda::Alias")["Name"] == "live"
    (alias,) = streaming.of_type("AWS::Lambda::Alias")
    permissions = streaming.of_type("AWS::Lambda::Permission").values()
    (gateway,) = [found for found in permissions if found["Principal"] == "apigateway.amazonaws.com"]
    assert gateway["FunctionName"] == {"Ref": alias}


def test_each_function_has_its_own_role(streaming: Template) -> None:
    roles = {json.dumps(function["Role"]) for function in streaming.of_type("AWS::Lambda::Function").values()}
    assert len(roles) == 3
    for role in streaming.of_type("AWS::IAM::Role").values():
        assert "Policies" not in role


def test_no_action_has_a_wildcard_and_resources_only_for_objects_under_a_prefix(
    streaming: Template, signed: Template
) -> None:
    for template in (streaming, signed):
        for start in ("Router", "Batch", "Collector"):
            for statement in template.statements(start):
                assert "*" not in json.dumps(statement["Action"]), statement
        prefixes = {
            "Router": ["/accepted/*", "/results/msgbatch_*"],
            "Batch": ["/accepted/*", "/batches/*", "/jobs/*", "/results/*"],
            "Collector": ["/batches/*", "/ledger/*", "/results/*"],
        }
        for start, objects in prefixes.items():
            wild = [found for found in template.statements(start) if "*" in json.dumps(found["Resource"])]
            assert sorted({path for found in wild for path in _paths(found)}) == objects
            actions = {action for found in wild for action in _list(found["Action"])}
            assert actions <= {"s3:DeleteObject", "s3:GetObject", "s3:PutObject"}
            deleting = [found for found in wild if "s3:DeleteObject" in found["Action"]]
            forgotten = {"Router": [], "Batch": ["/accepted/*", "/batches/*"], "Collector": ["/batches/*"]}
            assert sorted(path for found in deleting for path in _paths(found)) == forgotten[start]


def test_where_answers_are_sent_whole_the_router_may_keep_the_large_ones_and_sign_for_them(
    streaming: Template, buffered: Template
) -> None:
    found = [one for one in buffered.statements("Router") if "/answers/*" in json.dumps(one["Resource"])]
    (statement,) = found
    assert statement["Action"] == ["s3:GetObject", "s3:PutObject"]
    assert "/answers/*" not in json.dumps(streaming.statements("Router"))


def test_only_where_samples_are_kept_the_router_may_write_them_and_nobody_reads_them(
    streaming: Template, buffered: Template, signed: Template
) -> None:
    writing = [one["Action"] for one in buffered.statements("Router") if "/samples/*" in json.dumps(one["Resource"])]
    assert writing == ["s3:PutObject"]
    assert "/samples/*" not in json.dumps([*buffered.statements("Batch"), *buffered.statements("Collector")])
    for off in (streaming, signed):
        assert off.environment("Router")[Env.SAMPLE_PERCENT] == "0"
        for start in ("Router", "Batch", "Collector"):
            assert "/samples/*" not in json.dumps(off.statements(start))
    assert buffered.environment("Router")[Env.SAMPLE_PERCENT] == "5"
    outputs = [template.body["Outputs"][contract.Output.SAMPLE_PERCENT]["Value"] for template in (streaming, buffered)]
    assert outputs == ["0", "5"]


def test_the_router_reaches_batches_over_https_and_their_groups_and_no_other_job(streaming: Template) -> None:
    statements = [found for found in streaming.statements("Router") if "StorageJobs" in json.dumps(found["Resource"])]
    keys = {
        tuple(_list(found["Action"])): found["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
        for found in statements
    }
    assert keys == {
        ("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"): ["accepted#msgbatch_*"],
        ("dynamodb:BatchGetItem", "dynamodb:UpdateItem"): ["group#msgbatch_*"],
        ("dynamodb:Query",): ["accepted#*"],
    }
    assert message_batches.PREFIX == "msgbatch_"
    (query,) = [found for found in statements if found["Action"] == "dynamodb:Query"]
    assert query["Resource"]["Fn::Join"][1][-1] == "/index/by_batch"


def test_the_router_lists_and_reads_results_of_batches_over_https_only(streaming: Template) -> None:
    statements = [found for found in streaming.statements("Router") if "StorageResults" in json.dumps(found)]
    bucket, *objects = sorted(statements, key=lambda found: "Condition" not in found)
    assert (bucket["Action"], bucket["Condition"]) == (
        "s3:ListBucket",
        {"StringLike": {"s3:prefix": ["results/msgbatch_*"]}},
    )
    assert {found["Action"]: _paths(found) for found in objects} == {
        "s3:PutObject": ["/accepted/*"],
        "s3:GetObject": ["/results/msgbatch_*"],
    }


def test_nobody_but_the_router_writes_what_was_accepted_over_https(streaming: Template) -> None:
    reading = {"s3:DeleteObject", "s3:GetObject"}
    for start, actions in (("Router", {"s3:PutObject"}), ("Batch", reading), ("Collector", set())):
        found = [one for one in streaming.statements(start) if "/accepted/*" in json.dumps(one["Resource"])]
        assert {action for one in found for action in _list(one["Action"])} == actions


def test_the_batch_function_knows_its_own_role_as_sqs_tells_it(streaming: Template) -> None:
    (role, attribute) = streaming.environment("Batch")[Env.BATCH_ROLE_ID]["Fn::GetAtt"]
    assert attribute == "RoleId"
    assert streaming.only("AWS::Lambda::Function", "Batch")["Role"] == {"Fn::GetAtt": [role, "Arn"]}


def allowed(template: Template, start: str, on: str) -> set[str]:
    """Actions that a function may take on the resource whose logical id starts so, without conditions."""
    return {
        action
        for statement in template.statements(start)
        if f'"{on}' in json.dumps(statement["Resource"]) and "Condition" not in statement
        for action in _list(statement["Action"])
    }


def _paths(statement: dict[str, Any]) -> list[str]:
    """What of the bucket a statement is about."""
    return [resource["Fn::Join"][1][1] for resource in _list(statement["Resource"])]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize(
    ("start", "on", "actions"),
    [
        ("Router", "StorageLabels", {"dynamodb:GetItem", "dynamodb:PutItem"}),
        ("Router", "StorageLedger", LEDGER_ACTIONS),
        ("Router", "StorageTenants", {"dynamodb:GetItem"}),
        ("Router", "StorageRequests", {"dynamodb:BatchWriteItem", "dynamodb:GetItem"}),
        ("Router", "StorageJobs", set()),
        ("Router", "StorageResults", {"s3:GetObject", "s3:PutObject"}),
        ("Router", "QueueingJobs", {"sqs:SendMessage"}),
        ("Router", "ClaudeAnthropicKey", {"secretsmanager:GetSecretValue"}),
        ("Batch", "StorageLabels", {"dynamodb:GetItem", "dynamodb:PutItem"}),
        ("Batch", "StorageLedger", LEDGER_ACTIONS),
        ("Batch", "StorageTenants", {"dynamodb:GetItem"}),
        ("Batch", "StorageRequests", set()),
        ("Batch", "StorageJobs", {"dynamodb:GetItem", "dynamodb:UpdateItem"}),
        ("Batch", "StorageResults", {"s3:DeleteObject", "s3:GetObject", "s3:PutObject", "s3:ListBucket"}),
        ("Batch", "QueueingDeadLetters", {"sqs:SendMessage"}),
        ("Batch", "ClaudeAnthropicKey", {"secretsmanager:GetSecretValue"}),
        ("Collector", "StorageLabels", set()),
        ("Collector", "StorageRequests", set()),
        ("Collector", "StorageLedger", LEDGER_ACTIONS | {"dynamodb:Query"}),
        ("Collector", "StorageTenants", {"dynamodb:Scan"}),
        (
            "Collector",
            "StorageJobs",
            {
                "dynamodb:BatchGetItem",
                "dynamodb:GetItem",
                "dynamodb:PutItem",
                "dynamodb:Query",
                "dynamodb:UpdateItem",
            },
        ),
        ("Collector", "QueueingJobs", {"sqs:SendMessage"}),
        ("Collector", "StorageResults", {"s3:DeleteObject", "s3:GetObject", "s3:PutObject", "s3:ListBucket"}),
        ("Collector", "MonitoringAlerts", {"sns:Publish"}),
        ("Collector", "ClaudeAnthropicKey", {"secretsmanager:GetSecretValue"}),
        ("Collector", "ClaudeAdminKey", {"secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"}),
    ],
)
def test_permissions_are_these(streaming: Template, start: str, on: str, actions: set[str]) -> None:
    assert allowed(streaming, start, on) == actions


def test_the_collector_queries_the_index_of_jobs_and_not_the_table(streaming: Template) -> None:
    (statement,) = [
        found
        for found in streaming.statements("Collector")
        if "dynamodb:Query" in found["Action"] and "StorageJobs" in json.dumps(found["Resource"])
    ]
    assert (statement["Action"], statement["Resource"]["Fn::Join"][1][-1]) == ("dynamodb:Query", "/index/by_batch")


def test_batch_may_receive_delete_defer_and_send_jobs(streaming: Template) -> None:
    """It sends the lines of batches over HTTPS."""
    actions = allowed(streaming, "Batch", "QueueingJobs")
    moves = ("ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "SendMessage")
    assert {f"sqs:{move}" for move in moves} <= actions


def test_batch_may_make_the_default_tenant_and_no_other(streaming: Template) -> None:
    (statement,) = [found for found in streaming.statements("Batch") if "Condition" in found]
    assert statement["Action"] == "dynamodb:PutItem"
    assert statement["Condition"] == {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["tenant#default"]}}


def test_the_collector_is_called_by_its_schedules_and_a_failed_round_is_not_repeated(
    streaming: Template,
) -> None:
    rules = streaming.of_type("AWS::Events::Rule").values()
    told = {rule["Targets"][0]["Input"]: rule["ScheduleExpression"] for rule in rules}
    assert {json.loads(task)["task"]: schedule for task, schedule in told.items()} == {
        "minute": "rate(1 minute)",
        "batches": "rate(1 minute)",
        "hour": "cron(7 * * * ? *)",
        "day": "cron(13 6,18 * * ? *)",
    }
    for target in (rule["Targets"][0] for rule in rules):
        assert target["RetryPolicy"]["MaximumRetryAttempts"] == 0
        assert target["Arn"]["Fn::GetAtt"][0].startswith("Collector")


def test_the_router_may_read_entries_of_the_ledger_and_nothing_else_of_it(streaming: Template) -> None:
    (statement,) = [
        found
        for found in streaming.statements("Router")
        if "Condition" in found and "StorageLedger" in json.dumps(found["Resource"])
    ]
    assert statement["Action"] == "dynamodb:Query"
    assert statement["Condition"] == {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["entries#*"]}}


def test_batch_drains_the_queue_job_by_job(streaming: Template) -> None:
    source = streaming.only("AWS::Lambda::EventSourceMapping")
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert source["ScalingConfig"] == {"MaximumConcurrency": 5}
    assert source["BatchSize"] == 10
    assert source["EventSourceArn"]["Fn::GetAtt"][0].startswith("QueueingJobs")


@pytest.mark.parametrize(
    ("start", "function", "variable"),
    [
        ("ClaudeAnthropicKey", "Router", Env.SECRET_ARN),
        ("ClaudeAdminKey", "Collector", Env.ADMIN_SECRET_ARN),
    ],
)
def test_a_secret_is_made_with_a_text_that_the_code_knows_is_no_key(
    streaming: Template, start: str, function: str, variable: str
) -> None:
    secret = streaming.only("AWS::SecretsManager::Secret", start)
    assert secret["SecretString"] == contract.SECRET_PLACEHOLDER
    assert "put-secret-value" in secret["Description"]
    (id_,) = [found for found in streaming.of_type("AWS::SecretsManager::Secret") if found.startswith(start)]
    assert streaming.environment(function)[variable] == {"Ref": id_}


def test_without_the_comparison_with_the_bill_there_is_no_secret_for_it(buffered: Template) -> None:
    assert [id_[: len("ClaudeAnthropicKey")] for id_ in buffered.of_type("AWS::SecretsManager::Secret")] == [
        "ClaudeAnthropicKey"
    ]
    assert buffered.environment("Collector")[Env.ADMIN_SECRET_ARN] == ""


def test_provider_aws_has_no_secret_and_may_call_one_workspace(signed: Template) -> None:
    assert not signed.of_type("AWS::SecretsManager::Secret")
    assert contract.Output.SECRET_ARN not in signed.body["Outputs"]
    for start in ("Router", "Batch"):
        environment = signed.environment(start)
        assert (environment[Env.PROVIDER], environment[Env.SECRET_ARN]) == ("aws", "")
        assert environment[Env.WORKSPACE_ID] == "wrkspc_01ABC"
        (statement,) = [found for found in signed.statements(start) if "anthropic" in json.dumps(found)]
        assert statement["Action"] == SIGNED_ACTIONS[start]
        assert statement["Resource"]["Fn::Join"][1][-1] == ":workspace/wrkspc_01ABC"
    (batches,) = [found for found in signed.statements("Collector") if "anthropic" in json.dumps(found)]
    assert batches["Action"] == [
        "aws-external-anthropic:CancelBatchInference",
        "aws-external-anthropic:CreateBatchInference",
        "aws-external-anthropic:GetBatchInference",
        "aws-external-anthropic:ListBatchInferences",
    ]
