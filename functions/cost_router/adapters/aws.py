"""AWS clients, made at first use, and their errors as `StoreError`."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from cost_router.core.errors import StoreError

# A store that does not answer must not eat the request's deadline. Lambda restores snapshots: no socket before use.
_CONFIG = Config(
    connect_timeout=1,
    read_timeout=3,
    retries={"mode": "standard", "total_max_attempts": 2},
    max_pool_connections=50,
)
# S3 takes no other signature on buckets made since 2020, and botocore would sign URLs with an older one.
_S3_CONFIG = _CONFIG.merge(Config(signature_version="s3v4"))


class Aws:
    """boto3 clients by service name, shared by threads, called off the event loop."""

    def __init__(self, clients: Mapping[str, Any] | None = None) -> None:
        """Clients at hand are used as they are; the others are made from the environment."""
        self._clients: dict[str, Any] = dict(clients or {})
        self._lock = threading.Lock()

    def client(self, service: str) -> Any:
        """The client of a service."""
        with self._lock:
            if service not in self._clients:
                config = _S3_CONFIG if service == "s3" else _CONFIG
                self._clients[service] = boto3.client(service, config=config)  # type: ignore[call-overload]  # by name
            return self._clients[service]

    async def call(self, service: str, operation: str, **arguments: Any) -> Any:
        """Call `client(service).operation(**arguments)` in a thread; raises `StoreError` from botocore's errors."""

        def run() -> Any:
            method: Callable[..., Any] = getattr(self.client(service), operation)
            return method(**arguments)

        try:
            return await asyncio.to_thread(run)
        except (BotoCoreError, ClientError) as error:
            raise StoreError(f"{service}.{operation}: {error_code(error)}") from error

    async def items(self, operation: str, **arguments: Any) -> AsyncIterator[dict[str, Any]]:
        """The items of a DynamoDB `query` or `scan`, page after page; raises `StoreError`."""
        while True:
            reply = await self.call("dynamodb", operation, **arguments)
            for item in reply["Items"]:
                yield item
            if "LastEvaluatedKey" not in reply:
                return
            arguments["ExclusiveStartKey"] = reply["LastEvaluatedKey"]


def error_code(error: BaseException | None) -> str:
    """AWS's code of an error, or its class when it never reached AWS."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "Unknown"))
    return type(error).__name__
