"""The CDK app: `python -m infra.aws.app` synthesises what `cdk deploy` deploys.

Settings come from the CDK context (`infra/aws/config.py`): `-c name=value`, `cdk.json`, or CDK_CONTEXT_JSON.
"""

import datetime as dt
import json
import os
import sys
from pathlib import Path
from typing import Any, Final

from aws_cdk import Annotations, App, Validations
from cdk_nag import AwsSolutionsChecks

from infra.aws.bundle import BundleError
from infra.aws.config import BadConfig, Config
from infra.aws.stack import CostRouterStack
from infra.catalogue.discounts import BadDiscounts
from infra.catalogue.findings import CatalogueProblem, check, deployed_findings

CDK_JSON: Final = Path(__file__).parents[2] / "cdk.json"
NO_BUNDLING: Final[dict[str, Any]] = {"aws:cdk:bundling-stacks": []}


def defaults() -> dict[str, Any]:
    """The context of `cdk.json`, which only the CDK command reads by itself: one template, whoever synthesises."""
    context: dict[str, Any] = json.loads(CDK_JSON.read_text(encoding="utf-8"))["context"]
    return context


def stack_name(config: Config) -> str:
    """The stack's name, in CloudFormation and in the assembly."""
    return f"claude-cost-router-{config.env}"


def make_stack(app: App, config: Config, today: dt.date) -> CostRouterStack:
    """The stack of one environment under cdk-nag's rules; a finding without a reason ends the synthesis.

    So does a model of the lineup without a price on the UTC day `today`, or retired by then: `CatalogueProblem`. Old
    prices and deprecated models are warnings, which the CDK command prints.
    """
    warnings = check(deployed_findings(config.lineup, today))
    stack = CostRouterStack(app, stack_name(config), config=config)
    for warning in warnings:
        Annotations.of(stack).add_warning_v2(f"cost-router:{warning.kind}", warning.says)
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    return stack


def synth(config: Config, outdir: Path, *, bundling: bool = True, today: dt.date | None = None) -> Path:
    """Synthesise into `outdir` and return the template's path; the assets' folders are named in `*.assets.json`."""
    app = App(outdir=str(outdir), context=defaults() | ({} if bundling else NO_BUNDLING))
    stack = make_stack(app, config, today or utc_today())
    app.synth()
    return outdir / stack.template_file


def utc_today() -> dt.date:
    """The machine's UTC day."""
    return dt.datetime.now(dt.UTC).date()


def main() -> int:
    """Synthesise from the context that the CDK command gives, into the folder that it wants, or `cdk.out`."""
    app = App(context=defaults(), outdir=os.environ.get("CDK_OUTDIR", "cdk.out"))
    try:
        config, today = Config.from_context(app.node.get_all_context()), utc_today()
        make_stack(app, config, today)
        app.synth()
    except (BadConfig, BadDiscounts, BundleError, CatalogueProblem) as error:
        print(f"cost-router: {error}", file=sys.stderr)
        return 1
    if "CDK_OUTDIR" not in os.environ:  # else the CDK command prints the warnings
        for warning in deployed_findings(config.lineup, today):
            print(f"cost-router: warning: {warning.says}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
