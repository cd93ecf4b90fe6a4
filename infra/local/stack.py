"""The local stack: the emulator with the deployed template, the stand-in, the app under uvicorn, and the bridge.

`running_stack()` is one stack for the length of a `with` block (the demo, the tests); `background.supervise` keeps one
until it is told to stop (`make up`).
"""

import contextlib
import datetime as dt
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from cost_router.contract import Env, Output
from infra.aws.config import Config
from infra.local.bridge import Bridge
from infra.local.deploy import deploy
from infra.local.emulator import REGION, Emulator, start_emulator
from infra.local.processes import Children, free_port, listens
from infra.operate.keys import Policy, create
from infra.operate.target import Target, local_target, tables_of

ROOT: Final = Path(__file__).parents[2]
FUNCTIONS: Final = ROOT / "functions"
TENANT: Final = "demo"
FUNCTION_NAMES: Final = (Output.ROUTER_FUNCTION, Output.BATCH_FUNCTION, Output.COLLECTOR_FUNCTION)
STAND_IN_ADMIN_KEY: Final = "sk-ant-admin-stand-in"
STAND_IN_KEY: Final = "stand-in"
STAGE: Final = "local"


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where Claude is: the real API, or the stand-in."""

    url: str  # empty: the SDK's own
    key: str
    meter_url: str | None  # of the stand-in; None with the real API

    @property
    def simulated(self) -> bool:
        """Whether answers come from the stand-in."""
        return self.meter_url is not None


@dataclass(frozen=True, slots=True)
class LocalStack:
    """A running local stack."""

    emulator: Emulator
    upstream: Upstream
    config: Config
    outputs: Mapping[str, str]
    description: Mapping[str, Any]  # the content of .local/stack.json
    bridge: Bridge
    folder: Path

    @property
    def target(self) -> Target:
        """The stack as the operator's commands see it."""
        return local_target(self.description)


@contextlib.contextmanager
def running_stack(
    folder: Path, *, daily_budget_usd: Decimal | None = None, sample_percent: int = 0
) -> Iterator[LocalStack]:
    """A local stack in `folder` (logs, synthesised template), ended with the block whatever happens."""
    folder.mkdir(parents=True, exist_ok=True)
    children = Children(folder)
    bridge: Bridge | None = None
    try:
        upstream = find_upstream(children)
        emulator = start_emulator(children)
        config = local_config(upstream, emulator, daily_budget_usd, sample_percent)
        outputs = deploy(emulator, config, folder / "cdk.out")
        secret = outputs[Output.SECRET_ARN]
        emulator.client("secretsmanager").put_secret_value(SecretId=secret, SecretString=upstream.key)
        if upstream.simulated:
            admin = outputs[Output.ADMIN_SECRET_ARN]
            emulator.client("secretsmanager").put_secret_value(SecretId=admin, SecretString=STAND_IN_ADMIN_KEY)
        log, streaming_url = start_uvicorn(children, emulator, outputs)
        groups = [f"/aws/lambda/{outputs[name]}" for name in FUNCTION_NAMES]
        bridge = Bridge(emulator, _log_groups(emulator, outputs) or groups, [log])
        bridge.start()
        description = describe(emulator, upstream, outputs, streaming_url)
        key = create(local_target({**description, "gateway_key": None}), TENANT, Policy(), dt.datetime.now(dt.UTC))
        yield LocalStack(emulator, upstream, config, outputs, {**description, "gateway_key": key}, bridge, folder)
    finally:
        if bridge:
            bridge.end()
        children.end()


def find_upstream(children: Children) -> Upstream:
    """The real API when `ANTHROPIC_API_KEY` is set (`ANTHROPIC_BASE_URL` is honoured), else a stand-in started here."""
    key = os.environ.get("ANTHROPIC_API_KEY")
    if key:
        return Upstream(os.environ.get("ANTHROPIC_BASE_URL", ""), key, None)
    ready = Path(tempfile.mkdtemp(prefix="stand-in-")) / "url"
    command = [sys.executable, "-m", "infra.local.standin", "--port", "0", "--ready-file", str(ready)]
    child = children.start("stand-in", command, dict(os.environ), cwd=ROOT)
    child.wait_until(lambda: ready.is_file() and bool(ready.read_text(encoding="utf-8").strip()))
    url = ready.read_text(encoding="utf-8").strip()
    return Upstream(url, STAND_IN_KEY, url)


def local_config(
    upstream: Upstream, emulator: Emulator, daily_budget_usd: Decimal | None, sample_percent: int
) -> Config:
    """The deploy-time settings of a local stack: buffered, source only, nothing kept."""
    return Config(
        env=STAGE,
        public_url=f"{emulator.endpoint}/restapis/{{api}}/{STAGE}/_user_request_",
        streaming=False,
        local=True,
        retain_data=False,
        upstream_url=upstream.url,
        daily_budget_usd=daily_budget_usd,
        sample_percent=sample_percent,
        spend_anomaly=None,  # the emulator has no metric math
        log_retention_days=1,
        reconcile=upstream.simulated,  # with the real API an operator may want to give an admin key by hand
    )


def describe(emulator: Emulator, upstream: Upstream, outputs: Mapping[str, str], streaming_url: str) -> dict[str, Any]:
    """What `.local/stack.json` says, without the gateway key."""
    return {
        "base_url": outputs[Output.BASE_URL],
        "streaming_url": streaming_url,
        "queue_url": outputs[Output.QUEUE_URL],
        "dead_letter_queue_url": outputs[Output.DEAD_LETTER_QUEUE_URL],
        "results_bucket": outputs[Output.RESULTS_BUCKET],
        "tables": tables_of(outputs),
        "aws_endpoint_url": emulator.endpoint,
        "region": REGION,
        "upstream_url": upstream.url or "https://api.anthropic.com",
        "meter_url": upstream.meter_url,
        "simulated": upstream.simulated,
        "sample_percent": int(outputs[Output.SAMPLE_PERCENT]),
    }


def function_environment(emulator: Emulator, outputs: Mapping[str, str]) -> dict[str, str]:
    """The variables that the stack gave the router function."""
    name = outputs[Output.ROUTER_FUNCTION]
    configuration = emulator.client("lambda").get_function_configuration(FunctionName=name)
    variables: dict[str, str] = configuration["Environment"]["Variables"]
    return variables


def start_uvicorn(
    children: Children,
    emulator: Emulator,
    outputs: Mapping[str, str],
    deadline_seconds: str = "895",
    stream_deadline_seconds: str = "895",
) -> tuple[Path, str]:
    """The same app on the same tables, started by the script and the variables that the web adapter uses on AWS.

    Gives its log and its URL.
    """
    port = free_port()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "ANTHROPIC_", "PYTHON"))}
    env |= function_environment(emulator, outputs) | emulator.environment()
    env |= {
        "AWS_LWA_PORT": str(port),
        "LAMBDA_TASK_ROOT": str(FUNCTIONS),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        Env.PUBLIC_URL: "",  # it has a URL of its own
        Env.DEADLINE_SECONDS: deadline_seconds,
        Env.STREAM_DEADLINE_SECONDS: stream_deadline_seconds,
    }
    child = children.start("uvicorn", [str(FUNCTIONS / "cost_router" / "start.sh")], env, cwd=FUNCTIONS)
    child.wait_until(lambda: listens(port))
    return child.log, f"http://127.0.0.1:{port}"


def _log_groups(emulator: Emulator, outputs: Mapping[str, str]) -> list[str]:
    """Where the functions log: the stack may have given them groups of their own."""
    client = emulator.client("lambda")
    configurations = [client.get_function_configuration(FunctionName=outputs[name]) for name in FUNCTION_NAMES]
    groups = [configuration.get("LoggingConfig", {}).get("LogGroup") for configuration in configurations]
    return [group for group in groups if group]


def write_description(stack: LocalStack, file: Path) -> None:
    """Write `.local/stack.json`, whole or not at all, for this user only: it holds a gateway key."""
    draft = file.with_suffix(".draft")
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(stack.description, indent=2) + "\n", encoding="utf-8")
    draft.replace(file)
