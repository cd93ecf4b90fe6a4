"""Deploys the CDK template into the emulator as CloudFormation would: assets to the bucket, then create or update."""

import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from infra.aws.config import Config
from infra.local.emulator import ACCOUNT, REGION, Emulator
from infra.local.processes import LocalStackError

DEPLOY_SECONDS: Final = 180.0
BOOTSTRAP_PARAMETER: Final = "/cdk-bootstrap/hnb659fds/version"  # what `cdk bootstrap` leaves, and templates look for
BOOTSTRAP_VERSION: Final = "30"
ASSETS: Final = "cdk-hnb659fds-assets-${AWS::AccountId}-${AWS::Region}"  # the bucket that `cdk bootstrap` makes
ENDED: Final = ("COMPLETE", "FAILED")


def deploy(emulator: Emulator, config: Config, outdir: Path) -> dict[str, str]:
    """Synthesise `config` and bring the emulated stack to it; gives the stack's outputs."""
    template = synthesise(config, outdir)
    emulator.client("ssm").put_parameter(
        Name=BOOTSTRAP_PARAMETER, Value=BOOTSTRAP_VERSION, Type="String", Overwrite=True
    )
    upload_assets(emulator, outdir, template)
    name = template.name.removesuffix(".template.json")
    return apply_template(emulator, name, template)


def synthesise(config: Config, outdir: Path, *, bundling: bool = True) -> Path:
    """Synthesise with the Node of this virtual environment; jsii starts it when the CDK is imported, so not before."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    from infra.aws.app import synth  # noqa: PLC0415  jsii starts Node at import

    return synth(config, outdir, bundling=bundling)


def upload_assets(emulator: Emulator, outdir: Path, template: Path) -> None:
    """Put every file asset of the manifest where the template expects it."""
    s3 = emulator.client("s3")
    manifest = json.loads(
        (outdir / template.name.replace(".template.json", ".assets.json")).read_text(encoding="utf-8")
    )
    for asset in manifest["files"].values():
        source = outdir / asset["source"]["path"]
        if asset["source"]["packaging"] == "zip":
            source = Path(shutil.make_archive(str(source), "zip", source))
        for destination in asset["destinations"].values():
            bucket = _resolved(destination["bucketName"])
            s3.create_bucket(Bucket=bucket)
            s3.upload_file(str(source), bucket, _resolved(destination["objectKey"]))


def apply_template(emulator: Emulator, name: str, template: Path) -> dict[str, str]:
    """Create or update the stack and wait for the end; raises `LocalStackError` with the first failure."""
    cloudformation = emulator.client("cloudformation")
    exists = any(stack["StackName"] == name for stack in cloudformation.describe_stacks()["Stacks"])
    change = cloudformation.update_stack if exists else cloudformation.create_stack
    change(
        StackName=name,
        TemplateURL=_upload_template(emulator, template),
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
    )
    deadline = time.monotonic() + DEPLOY_SECONDS
    while True:
        stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        status = stack["StackStatus"]
        if status in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}:
            return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
        if status.endswith(ENDED) or time.monotonic() > deadline:
            raise LocalStackError(f"stack {name} is {status}: {_first_failure(cloudformation, name)}")
        time.sleep(0.1)  # a poll bounded by the deadline


def _upload_template(emulator: Emulator, template: Path) -> str:
    """Put the template in the bucket, as `cdk deploy` does: in the request itself it may have 51,200 bytes only."""
    s3, bucket = emulator.client("s3"), _resolved(ASSETS)
    s3.create_bucket(Bucket=bucket)
    s3.upload_file(str(template), bucket, template.name)
    return f"{emulator.endpoint}/{bucket}/{template.name}"


def _first_failure(cloudformation: Any, name: str) -> str:
    events: list[Mapping[str, Any]] = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    for event in reversed(events):
        if str(event.get("ResourceStatus", "")).endswith("FAILED"):
            return f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', 'no reason given')}"
    return "no failed resource among the events"


def _resolved(text: str) -> str:
    values = {"${AWS::AccountId}": ACCOUNT, "${AWS::Region}": REGION, "${AWS::Partition}": "aws"}
    for token, value in values.items():
        text = text.replace(token, value)
    return text
