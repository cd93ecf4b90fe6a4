"""The SDK client: which key it holds, and when that is read again."""

import asyncio
from typing import Any

import pytest
from anthropic import AsyncAnthropicAWS
from botocore.exceptions import ClientError

from cost_router.adapters.aws import Aws
from cost_router.adapters.clients import KeyedClient, SignedClient
from cost_router.contract import SECRET_PLACEHOLDER
from cost_router.core.errors import NotConfigured, StoreError
from tests.builders import FakeClock, run


class Secrets:
    """A Secrets Manager client with one secret; `None` means that it cannot be reached."""

    def __init__(self, value: str | None) -> None:
        self.value = value
        self.reads = 0

    def get_secret_value(self, *, SecretId: str) -> dict[str, Any]:  # noqa: N803  boto3's name
        assert SecretId == "arn"
        self.reads += 1
        if self.value is None:
            raise ClientError({"Error": {"Code": "InternalServiceError", "Message": ""}}, "GetSecretValue")
        return {"SecretString": self.value}


def keyed(value: str | None) -> tuple[KeyedClient, Secrets, FakeClock]:
    secrets, clock, aws = Secrets(value), FakeClock(), Aws()
    aws._clients["secretsmanager"] = secrets
    return KeyedClient(aws, "arn", "http://127.0.0.1:9", clock), secrets, clock


def test_the_key_is_read_once_for_many_and_the_client_shared() -> None:
    make, secrets, _ = keyed(" sk-1\n")

    async def many() -> list[object]:
        return list(await asyncio.gather(*(make() for _ in range(10))))

    clients = run(many())
    assert len({id(client) for client in clients}) == 1
    assert secrets.reads == 1
    client = run(make())
    assert (client.api_key, client.max_retries) == ("sk-1", 0)


@pytest.mark.parametrize(("seconds", "key"), [(299.0, "sk-1"), (300.0, "sk-2")])
def test_a_rotated_key_is_picked_up_after_five_minutes(seconds: float, key: str) -> None:
    make, secrets, clock = keyed("sk-1")
    run(make())
    secrets.value = "sk-2"
    clock.advance(seconds)
    assert run(make()).api_key == key


def test_an_unchanged_key_keeps_the_client_and_its_connections() -> None:
    make, secrets, clock = keyed("sk-1")
    first = run(make())
    clock.advance(300.0)
    assert run(make()) is first
    assert secrets.reads == 2


def test_the_last_key_goes_on_serving_while_the_secret_cannot_be_read() -> None:
    make, secrets, clock = keyed("sk-1")
    first = run(make())
    secrets.value = None
    clock.advance(300.0)
    assert run(make()) is first


def test_without_any_key_read_a_secret_that_cannot_be_read_is_a_store_error() -> None:
    make, _, _ = keyed(None)
    with pytest.raises(StoreError, match=r"secretsmanager\.get_secret_value: InternalServiceError"):
        run(make())


@pytest.mark.parametrize("value", ["", "  ", SECRET_PLACEHOLDER])
def test_a_secret_without_a_key_says_how_to_store_one(value: str) -> None:
    make, secrets, _ = keyed(value)
    with pytest.raises(NotConfigured, match="output AnthropicSecretArn, with: aws secretsmanager put-secret-value"):
        run(make())
    secrets.value = "sk-1"
    assert run(make()).api_key == "sk-1"  # at once: nothing was remembered


def test_the_key_is_in_no_representation() -> None:
    make, _, _ = keyed("sk-secret")
    run(make())
    assert "sk-secret" not in repr(make)


def test_provider_aws_signs_and_has_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    make = SignedClient("wrkspc_1", None)
    client = run(make())
    assert isinstance(client, AsyncAnthropicAWS)
    assert (client.workspace_id, client.max_retries, run(make()) is client) == ("wrkspc_1", 0, True)
