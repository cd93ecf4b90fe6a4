"""One synthesis per variant and session: most of the time is jsii's, not ours."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from infra.aws.app import synth
from infra.aws.config import Config


@dataclass(frozen=True)
class Template:
    """A synthesised CloudFormation template, with the questions that tests ask it."""

    path: Path
    body: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> "Template":
        return cls(path, json.loads(path.read_text(encoding="utf-8")))

    def of_type(self, type_: str) -> dict[str, dict[str, Any]]:
        """Properties by logical id."""
        return {
            id_: resource.get("Properties", {})
            for id_, resource in self.body["Resources"].items()
            if resource["Type"] == type_
        }

    def only(self, type_: str, start: str = "") -> dict[str, Any]:
        """Properties of the one resource of this type whose logical id starts so."""
        (properties,) = (found for id_, found in self.of_type(type_).items() if id_.startswith(start))
        return properties

    def resource(self, start: str, type_: str) -> dict[str, Any]:
        """The whole resource, with its policies."""
        (found,) = (
            resource
            for id_, resource in self.body["Resources"].items()
            if id_.startswith(start) and resource["Type"] == type_
        )
        return dict(found)

    def environment(self, start: str) -> dict[str, Any]:
        variables: dict[str, Any] = self.only("AWS::Lambda::Function", start)["Environment"]["Variables"]
        return variables

    def statements(self, start: str) -> list[dict[str, Any]]:
        statements: list[dict[str, Any]] = self.only("AWS::IAM::Policy", start)["PolicyDocument"]["Statement"]
        return statements


def _template(tmp_path_factory: pytest.TempPathFactory, config: Config) -> Template:
    return Template.read(synth(config, tmp_path_factory.mktemp("cdk"), bundling=False))


@pytest.fixture(scope="session")
def streaming(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """What `cdk deploy` deploys by default, with a budget, an address and the daily comparison with the bill."""
    config = Config(env="prod", daily_budget_usd=Decimal(50), alert_email="ops@example.com", reconcile=True)
    return _template(tmp_path_factory, config)


@pytest.fixture(scope="session")
def buffered(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """What the emulator runs."""
    config = Config(
        env="local",
        public_url="http://127.0.0.1:9/restapis/{api}/local/_user_request_",
        streaming=False,
        local=True,
        retain_data=False,
        upstream_url="http://127.0.0.1:9",
        lineup="article",
        spend_anomaly=None,
        sample_percent=5,
    )
    return _template(tmp_path_factory, config)


@pytest.fixture(scope="session")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """Claude Platform on AWS: requests signed with the functions' roles."""
    return _template(tmp_path_factory, Config(provider="aws", workspace_id="wrkspc_01ABC"))
