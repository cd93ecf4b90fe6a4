"""The SDK client for the provider chosen at deploy time.

`anthropic`: the key comes from Secrets Manager and is read again after five minutes, so that a rotated key is picked
up; while Secrets Manager cannot be reached, the key that was read last goes on serving.
`aws`: Claude Platform on AWS; requests are signed with the function's own role and there is no key.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from anthropic import AsyncAnthropic, AsyncAnthropicAWS

from cost_router.adapters.aws import Aws
from cost_router.contract import SECRET_PLACEHOLDER
from cost_router.core.errors import NotConfigured, StoreError
from cost_router.core.ports import Clock

KEY_SECONDS: Final = 300.0
NO_KEY: Final = (
    "this deployment has no Anthropic key yet; its operator stores one in the secret of the stack's output "
    "AnthropicSecretArn, with: aws secretsmanager put-secret-value"
)
NO_ADMIN_KEY: Final = (
    "this deployment has no Admin API key yet, so its ledger is not compared with the bill; its operator stores one in "
    "the secret of the stack's output AdminSecretArn, with: aws secretsmanager put-secret-value"
)


@dataclass(slots=True)
class KeyedClient:
    """Makes the client for provider `anthropic`."""

    aws: Aws
    secret_arn: str
    base_url: str | None
    clock: Clock
    missing: str = NO_KEY  # what is told while the secret holds no key
    _client: AsyncAnthropic | None = field(default=None, repr=False)
    _key: str = field(default="", repr=False)
    _until: float = 0.0
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def __call__(self) -> AsyncAnthropic:
        """The client; raises `NotConfigured` without a key, `StoreError` when the secret cannot be read."""
        async with self._lock:
            if self._client is not None and self.clock.monotonic() < self._until:
                return self._client
            try:
                key = await self._read_key()
            except StoreError:
                if self._client is None:
                    raise
                key = self._key
            self._until = self.clock.monotonic() + KEY_SECONDS
            if self._client is None or key != self._key:
                self._key = key
                self._client = AsyncAnthropic(api_key=key, base_url=self.base_url, max_retries=0)
            return self._client

    async def _read_key(self) -> str:
        reply = await self.aws.call("secretsmanager", "get_secret_value", SecretId=self.secret_arn)
        key = str(reply.get("SecretString", "")).strip()
        if not key or key == SECRET_PLACEHOLDER:
            raise NotConfigured(self.missing)
        return key


@dataclass(slots=True)
class SignedClient:
    """Makes the client for provider `aws`."""

    workspace_id: str
    base_url: str | None
    _client: AsyncAnthropic | None = field(default=None, repr=False)

    async def __call__(self) -> AsyncAnthropic:
        """The client; it takes the region and the credentials from the function's environment."""
        if self._client is None:
            self._client = AsyncAnthropicAWS(workspace_id=self.workspace_id, base_url=self.base_url, max_retries=0)
        return self._client
