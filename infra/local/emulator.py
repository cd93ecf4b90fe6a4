"""MiniStack: AWS on a free loopback port, without Docker. Its Lambdas run in this interpreter."""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.config import Config

from infra.local.processes import Children, free_port, listens

REGION: Final = "us-east-1"
SECRET: Final = "emulated"  # noqa: S105  the emulator takes any
ACCOUNT: Final = "000000000000"
_FAST = Config(retries={"mode": "standard", "max_attempts": 3}, connect_timeout=5, read_timeout=60)


@dataclass(frozen=True, slots=True)
class Emulator:
    """A running MiniStack."""

    endpoint: str
    _clients: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def client(self, service: str) -> Any:
        """The boto3 client of the emulated service, made at first use."""
        if service not in self._clients:
            self._clients[service] = self._make(service)
        return self._clients[service]

    def _make(self, service: str) -> Any:
        return boto3.client(  # type: ignore[call-overload]  # by name
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=ACCOUNT,
            aws_secret_access_key=SECRET,
            config=_FAST,
        )

    def environment(self) -> dict[str, str]:
        """Environment variables that point any AWS SDK or the CDK command at the emulator."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }


def start_emulator(children: Children) -> Emulator:
    """Start MiniStack and wait until it answers; loopback only."""
    port = free_port()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "COST_ROUTER_"))}
    env |= {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": "127.0.0.1",
        "S3_PERSIST": "0",
        "AWS_ACCESS_KEY_ID": ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }
    env.pop("LOG_LEVEL", None)  # the functions inherit it, and Powertools would obey it
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # every Lambda starts a process: without bytecode each compiles anew
    child = children.start("ministack", [sys.executable, "-m", "ministack"], env, cwd=Path(children.folder))
    child.wait_until(lambda: listens(port))
    return Emulator(f"http://127.0.0.1:{port}")
