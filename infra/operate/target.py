"""Which deployment a command talks to: the local stack when it runs, or a CloudFormation stack by name."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from cost_router.contract import Output

STACK_FILE: Final = Path(".local") / "stack.json"


class NoTarget(RuntimeError):
    """There is no deployment to talk to; the message says how to name one."""


@dataclass(frozen=True, slots=True)
class Target:
    """A deployment, as the commands need it."""

    name: str
    base_url: str
    queue_url: str
    dead_letter_queue_url: str
    results_bucket: str
    tables: Mapping[str, str]  # labels, ledger, jobs, tenants, requests
    region: str | None
    endpoint_url: str | None = None
    gateway_key: str | None = None
    upstream_url: str | None = None  # of the Claude API, where it is not the SDK's own
    meter_url: str | None = None  # of the stand-in, where it is Claude
    sample_percent: int = 0  # of the requests with model `auto` that are kept with prompt and answer

    def client(self, service: str) -> Any:
        """A boto3 client in the deployment's account and region."""
        local = {"aws_access_key_id": "000000000000", "aws_secret_access_key": "emulated"} if self.endpoint_url else {}
        return boto3.client(  # type: ignore[call-overload]  # by name
            service, region_name=self.region, endpoint_url=self.endpoint_url, **local
        )


def find_target(stack: str | None, folder: Path = Path()) -> Target:
    """The deployment called `stack`, else the local stack; raises `NoTarget`."""
    if stack:
        return _deployed(stack)
    file = folder / STACK_FILE
    if not file.is_file():
        raise NoTarget(
            f"no local stack is running ({file} is not there); start one with `make up`, or use --stack NAME"
        )
    return local_target(json.loads(file.read_text(encoding="utf-8")))


def local_target(description: Mapping[str, Any]) -> Target:
    """The local stack that `.local/stack.json` describes."""
    return Target(
        name="local",
        base_url=description["base_url"],
        queue_url=description["queue_url"],
        dead_letter_queue_url=description["dead_letter_queue_url"],
        results_bucket=description["results_bucket"],
        tables=description["tables"],
        region=description["region"],
        endpoint_url=description["aws_endpoint_url"],
        gateway_key=description["gateway_key"],
        upstream_url=description["upstream_url"],
        meter_url=description["meter_url"],
        sample_percent=description.get("sample_percent", 0),
    )


def _deployed(stack: str) -> Target:
    try:
        found = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    except (BotoCoreError, ClientError) as error:
        raise NoTarget(
            f"stack {stack!r} cannot be read: {error} (region and credentials come from AWS_PROFILE, or from "
            "AWS_DEFAULT_REGION and AWS_ACCESS_KEY_ID)"
        ) from error
    outputs = {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}
    missing = [name for name in (Output.BASE_URL, Output.LEDGER_TABLE, Output.TENANTS_TABLE) if name not in outputs]
    if missing:
        raise NoTarget(f"stack {stack!r} is not a cost router: it has no output {missing[0]}")
    return Target(
        name=stack,
        base_url=outputs[Output.BASE_URL],
        queue_url=outputs[Output.QUEUE_URL],
        dead_letter_queue_url=outputs[Output.DEAD_LETTER_QUEUE_URL],
        results_bucket=outputs[Output.RESULTS_BUCKET],
        tables=tables_of(outputs),
        region=boto3.session.Session().region_name,
        sample_percent=int(outputs.get(Output.SAMPLE_PERCENT, 0)),  # a stack of an earlier version keeps none
    )


def tables_of(outputs: Mapping[str, str]) -> dict[str, str]:
    """The tables among a stack's outputs, by the names of `.local/stack.json`."""
    return {
        "labels": outputs[Output.LABELS_TABLE],
        "ledger": outputs[Output.LEDGER_TABLE],
        "jobs": outputs[Output.JOBS_TABLE],
        "tenants": outputs[Output.TENANTS_TABLE],
        "requests": outputs.get(Output.REQUESTS_TABLE, ""),  # a stack of an earlier version has none
    }
