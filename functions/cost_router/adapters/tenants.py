"""The `tenants` table: who a gateway key belongs to, and the tenant's policy.

Items: `key#SHA256` -> tenant, disabled, disabled_after (epoch seconds); `tenant#NAME` -> label_key, floor, ceiling,
tags, daily_budget_usd, monthly_budget_usd, session_budget_usd, session_rpm, reads_account, senders, allows, options,
disabled. What else is in the table: `adapters/plans.py`.
What was read is kept for a minute, so a change takes effect within that time; a rotated key ends on the second.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from boto3.dynamodb.types import TypeDeserializer

from cost_router.adapters.aws import Aws, error_code
from cost_router.contract import DEFAULT_TENANT, DEFAULT_TENANT_KEY, Table
from cost_router.core import guards
from cost_router.core.budget import Limits
from cost_router.core.errors import NotConfigured, StoreError
from cost_router.core.ports import Clock
from cost_router.core.request import OPTIONS, Tenant
from cost_router.core.words import Tier

CACHE_SECONDS: Final = 60.0
REMEMBERED: Final = 10_000
_read = TypeDeserializer().deserialize


@dataclass(slots=True)
class DynamoTenants:
    """`Tenants` in DynamoDB, with a cache of a minute; unknown keys are not cached."""

    aws: Aws
    table: str
    clock: Clock
    _cache: dict[str, tuple[float, float, Tenant]] = field(default_factory=dict)

    async def by_key(self, key_hash: str) -> Tenant | None:
        """The tenant whose gateway key has this SHA-256, unless the key or the tenant is disabled."""
        cached = self._remembered(f"key#{key_hash}")
        if cached:
            return cached
        key = await self._item(f"key#{key_hash}")
        if key is None or key.get("disabled"):
            return None
        end = _end(key)
        if end <= self.clock.now().timestamp():
            return None
        tenant = await self._tenant(str(key["tenant"]))
        return self._remember(f"key#{key_hash}", tenant, end)

    async def by_name(self, name: str) -> Tenant | None:
        """The tenant called so, unless it is disabled; the default tenant is made when it is missing."""
        cached = self._remembered(f"tenant#{name}")
        if cached:
            return cached
        tenant = await self._tenant(name)
        if tenant is None and name == DEFAULT_TENANT and await self._item(DEFAULT_TENANT_KEY) is None:
            await self._make_default()
            tenant = await self._tenant(name)
        return self._remember(f"tenant#{name}", tenant)

    async def limits(self) -> dict[str, Limits]:
        """The limits of every tenant that is not disabled, by name; raises `StoreError`, `NotConfigured`."""
        names = {"#pk": Table.TENANTS_KEY}
        tenants = {"FilterExpression": "begins_with(#pk, :tenant)", "ExpressionAttributeNames": names}
        values = {":tenant": {"S": "tenant#"}}
        found = {}
        async for item in self.aws.items("scan", TableName=self.table, ExpressionAttributeValues=values, **tenants):
            row = {name: _read(value) for name, value in item.items()}
            name = str(row[Table.TENANTS_KEY]).removeprefix("tenant#")
            if not row.get("disabled"):
                found[name] = _tenant(name, row).limits
        return found

    async def _tenant(self, name: str) -> Tenant | None:
        item = await self._item(f"tenant#{name}")
        return None if item is None or item.get("disabled") else _tenant(name, item)

    async def _item(self, pk: str) -> dict[str, Any] | None:
        reply = await self.aws.call(
            "dynamodb", "get_item", TableName=self.table, Key={Table.TENANTS_KEY: {"S": pk}}, ConsistentRead=True
        )
        item = reply.get("Item")
        return None if item is None else {name: _read(value) for name, value in item.items()}

    async def _make_default(self) -> None:
        """A label key for jobs without a tenant; of two that make one at once, the first one's stays."""
        item = {Table.TENANTS_KEY: {"S": DEFAULT_TENANT_KEY}, "label_key": {"B": os.urandom(32)}}
        missing = f"attribute_not_exists({Table.TENANTS_KEY})"
        try:
            await self.aws.call("dynamodb", "put_item", TableName=self.table, Item=item, ConditionExpression=missing)
        except StoreError as error:
            if error_code(error.__cause__) != "ConditionalCheckFailedException":
                raise

    def _remembered(self, pk: str) -> Tenant | None:
        until, end, tenant = self._cache.get(pk, (0.0, 0.0, None))
        # The end of a rotated key is a time of day: the monotonic clock may stand still while a function is frozen.
        return tenant if until > self.clock.monotonic() and end > self.clock.now().timestamp() else None

    def _remember(self, pk: str, tenant: Tenant | None, end: float = math.inf) -> Tenant | None:
        if tenant:
            if len(self._cache) >= REMEMBERED:
                self._cache.clear()
            self._cache[pk] = (self.clock.monotonic() + CACHE_SECONDS, end, tenant)
        return tenant


def _end(key: Mapping[str, Any]) -> float:
    """Epoch seconds at which a rotated key ends; never, when nothing is said."""
    end = key.get("disabled_after")
    try:
        return math.inf if end is None else float(end)
    except (TypeError, ValueError) as error:
        raise NotConfigured(f"a key of tenant {key['tenant']!r} has a wrong disabled_after: {end!r}") from error


def _tenant(name: str, item: Mapping[str, Any]) -> Tenant:
    """The tenant in an item; items are made by the commands, but a hand may have edited one."""
    try:
        return Tenant(
            name=name,
            label_key=bytes(item["label_key"]),
            floor=Tier.parse(item["floor"]) if item.get("floor") else None,
            ceiling=Tier.parse(item["ceiling"]) if item.get("ceiling") else None,
            tags={str(key): str(value) for key, value in (item.get("tags") or {}).items()},
            limits=Limits(
                daily_usd=_dollars(item, "daily_budget_usd"),
                monthly_usd=_dollars(item, "monthly_budget_usd"),
                session_usd=_dollars(item, "session_budget_usd"),
                session_per_minute=int(item["session_rpm"]) if item.get("session_rpm") else None,
            ),
            reads_account=bool(item.get("reads_account")),
            senders=frozenset(map(str, item.get("senders") or ())),
            allows=guards.permissions(map(str, item.get("allows") or ())),
            options=frozenset(map(str, item.get("options") or ())) & frozenset(OPTIONS),
        )
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise NotConfigured(f"tenant {name!r} is not written as it should be: {error}") from error


def _dollars(item: Mapping[str, Any], name: str) -> Decimal | None:
    return Decimal(item[name]) if item.get(name) else None
