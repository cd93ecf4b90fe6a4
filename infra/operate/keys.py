"""Gateway keys. A key is shown once, when it is made; the table has its SHA-256 only."""

import datetime as dt
import hashlib
import math
import secrets
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from botocore.exceptions import ClientError

from cost_router.contract import Table
from infra.operate.target import Target
from infra.operate.tenants import KeyProblem, Policy, policy_json, put_tenant, read_items, tenant_today, write_value

__all__ = ["KeyProblem", "Policy", "create", "disable", "list_keys", "rotate", "show"]

ID_LENGTH: Final = 12  # hex digits of the hash that name a key
PREFIX: Final = "ccr-"  # so that a leaked key is recognised for what it is
Item = Mapping[str, Any]


def create(target: Target, tenant: str, policy: Policy, now: dt.datetime) -> str:
    """Make a key for `tenant`, and the tenant when it is new; gives the key, which cannot be read again.

    For a tenant that is there already, the fields that `policy` names are changed and the others stay.
    """
    put_tenant(target, tenant, policy, now)
    key = _new_key()
    target.client("dynamodb").put_item(TableName=target.tables["tenants"], Item=_key_item(key, tenant, now))
    return key


def list_keys(target: Target, now: dt.datetime) -> list[dict[str, Any]]:
    """Every key with its tenant's policy, in order of tenant and age.

    `disabled` says whether the key is refused at `now`, for its own sake or for its tenant's; `disabled_after` is when
    a rotated key ends.
    """
    items = read_items(target)
    return [
        _key_json(pk, key, tenant, now) | {"tenant": key["tenant"]} | policy_json(tenant)
        for pk, key in _keys(items).items()
        for tenant in [items.get(f"tenant#{key['tenant']}", {})]
    ]


def show(target: Target, tenant: str, now: dt.datetime) -> dict[str, Any]:
    """A tenant: its policy, today's spend, what is left of its budget, and its keys."""
    found = tenant_today(target, tenant, now.date())
    keys = _keys(read_items(target)).items()
    return found | {"keys": [_key_json(pk, key, found, now) for pk, key in keys if key["tenant"] == tenant]}


def rotate(target: Target, key_id: str, grace: dt.timedelta, now: dt.datetime) -> dict[str, Any]:
    """Make a new key for the tenant of `key_id` and let the old one end after `grace`, or at once; both or neither.

    Gives `tenant`, `key` (the new one, which cannot be read again), `old` and `disabled_after` (None: at once).
    """
    keys = _keys(read_items(target))
    found = [pk for pk in keys if _id(pk) == key_id]
    if len(found) != 1:
        raise KeyProblem(f"no key has the id {key_id!r}; there are: {_names(keys)}")
    [pk], old = found, keys[found[0]]
    if old.get("disabled") or "disabled_after" in old:
        raise KeyProblem(f"key {key_id!r} is disabled or rotated already; `cost-router keys create` makes another")
    ends = math.ceil((now + grace).timestamp()) if grace else None
    name, value = ("disabled", {"BOOL": True}) if ends is None else ("disabled_after", {"N": str(ends)})
    key, table = _new_key(), target.tables["tenants"]
    update = {
        "TableName": table,
        "Key": {Table.TENANTS_KEY: {"S": pk}},
        "UpdateExpression": f"SET {name} = :value",
        "ConditionExpression": f"attribute_exists({Table.TENANTS_KEY}) AND attribute_not_exists(disabled)"
        " AND attribute_not_exists(disabled_after)",
        "ExpressionAttributeValues": {":value": value},
    }
    put = {"TableName": table, "Item": _key_item(key, old["tenant"], now)}
    tenant = {
        "TableName": table,
        "Key": {Table.TENANTS_KEY: {"S": f"tenant#{old['tenant']}"}},
        "ConditionExpression": f"attribute_exists({Table.TENANTS_KEY})",
    }
    try:
        target.client("dynamodb").transact_write_items(
            TransactItems=[{"Put": put}, {"Update": update}, {"ConditionCheck": tenant}]
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "TransactionCanceledException":
            raise
        raise KeyProblem(
            f"key {key_id!r} or its tenant was changed or deleted meanwhile; nothing was written"
        ) from error
    return {"tenant": old["tenant"], "key": key, "old": key_id, "disabled_after": _instant(ends)}


def disable(target: Target, name: str) -> int:
    """Disable a key by its id (as `list` shows it), or all keys of a tenant; gives how many were not disabled before.

    Raises `KeyProblem` when there is none of that name.
    """
    keys = _keys(read_items(target))
    found = [pk for pk, item in keys.items() if name in {_id(pk), item["tenant"]}]
    if not found:
        raise KeyProblem(f"no key or tenant is called {name!r}; there are: {_names(keys)}")
    return sum(_disable(target, pk) for pk in found if not keys[pk].get("disabled"))


def _disable(target: Target, pk: str) -> bool:
    """Whether the key was there to be disabled: one that was deleted meanwhile stays deleted."""
    try:
        target.client("dynamodb").update_item(
            TableName=target.tables["tenants"],
            Key={Table.TENANTS_KEY: {"S": pk}},
            UpdateExpression="SET disabled = :yes",
            ConditionExpression=f"attribute_exists({Table.TENANTS_KEY})",
            ExpressionAttributeValues={":yes": {"BOOL": True}},
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        return False
    return True


def _keys(items: Mapping[str, Item]) -> dict[str, Item]:
    """The keys among the table's items, in order of tenant and age."""
    keys = [(pk, item) for pk, item in items.items() if pk.startswith("key#")]
    return dict(sorted(keys, key=lambda pair: (pair[1]["tenant"], pair[1]["created_at"])))


def _key_json(pk: str, key: Item, tenant: Item, now: dt.datetime) -> dict[str, Any]:
    ends = key.get("disabled_after")
    ended = ends is not None and Decimal(ends) <= Decimal(now.timestamp())
    return {
        "id": _id(pk),
        "hint": key["hint"] + "...",
        "created_at": key["created_at"],
        "disabled": bool(key.get("disabled") or ended or not tenant or tenant.get("disabled")),
        "disabled_after": _instant(ends),
    }


def _instant(epoch: Decimal | int | None) -> str | None:
    return None if epoch is None else dt.datetime.fromtimestamp(int(epoch), dt.UTC).isoformat()


def _id(pk: str) -> str:
    return pk.removeprefix("key#")[:ID_LENGTH]


def _names(keys: Mapping[str, Item]) -> str:
    return ", ".join(f"{_id(pk)} ({item['tenant']})" for pk, item in keys.items()) or "none yet"


def _new_key() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def _key_item(key: str, tenant: str, now: dt.datetime) -> dict[str, Any]:
    item = {
        Table.TENANTS_KEY: f"key#{hashlib.sha256(key.encode()).hexdigest()}",
        "tenant": tenant,
        "created_at": now.isoformat(timespec="seconds"),
        "hint": key[:8],
    }
    return {name: write_value(value) for name, value in item.items()}
