"""What all commands share at the terminal: the console, the common options, and one line for a mistake."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, Final

import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

from cost_router.core.errors import NotConfigured, StoreError
from infra.operate.dead_letters import QueueProblem
from infra.operate.groups import GroupProblem
from infra.operate.job_file import BadJobs
from infra.operate.judge import JudgeProblem
from infra.operate.labelled import BadLabels
from infra.operate.labelling import BadSample
from infra.operate.report import BadReport
from infra.operate.routing import RoutingProblem
from infra.operate.samples import NoSamples
from infra.operate.submit import SubmitStopped
from infra.operate.target import NoTarget
from infra.operate.tenants import KeyProblem

# Piped output is not cut to the width of a terminal that is not there.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)

Stack = Annotated[str | None, typer.Option("--stack", help="CloudFormation stack; the local stack when left out")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]


class SendFailed(RuntimeError):
    """The router answered with an error, or not at all."""


MENDABLE: Final = (
    *(NoTarget, KeyProblem, QueueProblem, BadReport, SendFailed),
    *(BadJobs, BadLabels, SubmitStopped, GroupProblem, RoutingProblem),
    *(NoSamples, BadSample, JudgeProblem),
    *(NotConfigured, StoreError, ClientError, BotoCoreError),
)


def says_what_is_wrong(command: Callable[..., None]) -> Callable[..., None]:
    """Problems that a user can mend end the command with one line and code 1, not with a traceback."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except MENDABLE as error:
            console.print(f"cost-router: {error}", style="red", markup=False, soft_wrap=True)
            raise typer.Exit(1) from error

    return run
