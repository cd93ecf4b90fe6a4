"""Gateway keys and the tenants that own them. A key is shown once, when it is made; the table has its SHA-256 only."""

import datetime as dt
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from cost_router.contract import Table
from cost_router.core.words import Tier
from cost_router.handlers.hints import NAME
from infra.operate.target import Target

ID_LENGTH: Final = 12  # hex digits of the hash that name a key
PREFIX: Final = "ccr-"  # so that a leaked key is recognised for what it is
_read, _write = TypeDeserializer().deserialize, TypeSerializer().serialize


class KeyProblem(ValueError):
    """A key or tenant cannot be made or found; the message quotes it."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a tenant may; None leaves a field open."""

    floor: str | None = None
    ceiling: str | None = None
    tags: Mapping[str, str] | None = None


def create(target: Target, tenant: str, policy: Policy, now: dt.datetime) -> str:
    """Make a key for `tenant`, and the tenant when it is new; gives the key, which cannot be read again.

    For a tenant that is there already, the fields that `policy` names are changed and the others stay.
    """
    _check(tenant, policy)
    dynamodb = target.client("dynamodb")
    fields = {"floor": policy.floor, "ceiling": policy.ceiling, "tags": dict(policy.tags) if policy.tags else None}
    given = {name: value for name, value in fields.items() if value is not None}
    names = {f"#{name}": name for name in (*given, "label_key", "created_at")}
    changes = ", ".join(
        [
            "#label_key = if_not_exists(#label_key, :label_key)",
            "#created_at = if_not_exists(#created_at, :created_at)",
            *(f"#{name} = :{name}" for name in given),
        ]
    )
    values: dict[str, object] = {
        ":label_key": secrets.token_bytes(32),
        ":created_at": now.isoformat(timespec="seconds"),
    }
    values |= {f":{name}": value for name, value in given.items()}
    dynamodb.update_item(
        TableName=target.tables["tenants"],
        Key={Table.TENANTS_KEY: {"S": f"tenant#{tenant}"}},
        UpdateExpression=f"SET {changes}",
        ExpressionAttributeNames=names,
        ExpressionAttributeValues={name: _write(value) for name, value in values.items()},
    )
    key = PREFIX + secrets.token_urlsafe(32)
    item = {
        Table.TENANTS_KEY: f"key#{_hash(key)}",
        "tenant": tenant,
        "created_at": now.isoformat(timespec="seconds"),
        "hint": key[:8],
    }
    dynamodb.put_item(TableName=target.tables["tenants"], Item={name: _write(value) for name, value in item.items()})
    return key


def list_keys(target: Target) -> list[dict[str, Any]]:
    """Every key with its tenant's policy: id, hint, tenant, created_at, disabled, floor, ceiling, tags."""
    items = _items(target)
    tenants = {pk: item for pk, item in items.items() if pk.startswith("tenant#")}
    keys = [(pk, item) for pk, item in items.items() if pk.startswith("key#")]
    return [
        {
            "id": pk.removeprefix("key#")[:ID_LENGTH],
            "hint": key["hint"] + "...",
            "tenant": key["tenant"],
            "created_at": key["created_at"],
            "disabled": bool(key.get("disabled")),
            **{name: tenants.get(f"tenant#{key['tenant']}", {}).get(name) for name in ("floor", "ceiling", "tags")},
        }
        for pk, key in sorted(keys, key=lambda pair: (pair[1]["tenant"], pair[1]["created_at"]))
    ]


def disable(target: Target, name: str) -> int:
    """Disable a key by its id (as `list` shows it), or all keys of a tenant; gives how many were in force.

    Raises `KeyProblem` when there is none of that name.
    """
    keys = {pk: item for pk, item in _items(target).items() if pk.startswith("key#")}
    found = [pk for pk, item in keys.items() if name in {pk.removeprefix("key#")[:ID_LENGTH], item["tenant"]}]
    if not found:
        known = ", ".join(f"{pk.removeprefix('key#')[:ID_LENGTH]} ({item['tenant']})" for pk, item in keys.items())
        raise KeyProblem(f"no key or tenant is called {name!r}; there are: {known or 'none yet'}")
    dynamodb = target.client("dynamodb")
    in_force = [pk for pk in found if not keys[pk].get("disabled")]
    for pk in in_force:
        dynamodb.update_item(
            TableName=target.tables["tenants"],
            Key={Table.TENANTS_KEY: {"S": pk}},
            UpdateExpression="SET disabled = :yes",
            ExpressionAttributeValues={":yes": {"BOOL": True}},
        )
    return len(in_force)


def _items(target: Target) -> dict[str, dict[str, Any]]:
    """Everything in the table by primary key, without the tenants' secrets."""
    pages = target.client("dynamodb").get_paginator("scan").paginate(TableName=target.tables["tenants"])
    items = (
        {name: _read(value) for name, value in item.items() if name != "label_key"}
        for page in pages
        for item in page["Items"]
    )
    return {str(item[Table.TENANTS_KEY]): item for item in items}


def _check(tenant: str, policy: Policy) -> None:
    if not NAME.fullmatch(tenant):
        raise KeyProblem(f"tenant {tenant!r}; accepted: letters, digits, '_', '.' and '-', 64 at the most")
    bounds = {}
    for name, value in (("floor", policy.floor), ("ceiling", policy.ceiling)):
        try:
            bounds[name] = Tier.parse(value) if value else None
        except ValueError as error:
            raise KeyProblem(f"{name}: {error}") from None
    if bounds["floor"] and bounds["ceiling"] and bounds["floor"] > bounds["ceiling"]:
        raise KeyProblem(f"floor {policy.floor!r} is above ceiling {policy.ceiling!r}: nothing could be served")
    for name, value in (policy.tags or {}).items():
        if not NAME.fullmatch(name) or not NAME.fullmatch(value):
            raise KeyProblem(f"tag {name}={value!r}; accepted: letters, digits, '_', '.' and '-' on both sides")


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
