"""Tenants: what each may, how much of its budget is spent, and changes of that, checked before anything is written."""

import datetime as dt
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from cost_router.contract import Table
from cost_router.core import guards
from cost_router.core.pricing import dollars
from cost_router.core.request import OPTIONS
from cost_router.core.words import Tier
from cost_router.handlers.hints import NAME
from infra.operate.target import Target

NONE: Final = "none"  # the word that takes a field away
BUDGET: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")
PRINCIPAL: Final = re.compile(r"[A-Z0-9]{12,128}")
BOUNDS: Final = ("floor", "ceiling")
BUDGETS: Final = ("daily_budget_usd", "monthly_budget_usd", "session_budget_usd")
POLICY: Final = (*BOUNDS, "tags", *BUDGETS, "session_rpm", "reads_account", "senders", "allows", "options")
MOST_RPM: Final = 10_000
Item = Mapping[str, Any]
read_value, write_value = TypeDeserializer().deserialize, TypeSerializer().serialize


class KeyProblem(ValueError):
    """A key or tenant cannot be made, changed or found; the message quotes it."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a tenant may; None leaves a field open."""

    floor: str | None = None
    ceiling: str | None = None
    tags: Mapping[str, str] | None = None
    daily_budget_usd: Decimal | None = None
    monthly_budget_usd: Decimal | None = None
    session_budget_usd: Decimal | None = None  # of one session in a UTC day
    session_rpm: int | None = None  # requests of one session in a minute
    reads_account: bool | None = None  # whether its keys may see what all tenants spend
    senders: list[str] | None = None  # unique ids of the IAM principals that may drop its jobs
    allows: list[str] | None = None  # words of `core/guards.py`: fields that multiply the bill; empty: none of them
    options: list[str] | None = None  # words of `OPTIONS`: hints that hold for requests that say nothing else


def put_tenant(target: Target, tenant: str, policy: Policy, now: dt.datetime) -> None:
    """Make the tenant; of one that is there already, change the fields that `policy` names and no others."""
    if not NAME.fullmatch(tenant):
        raise KeyProblem(f"tenant {tenant!r}; accepted: letters, digits, '_', '.' and '-', 64 at the most")
    given = {name: getattr(policy, name) for name in POLICY if getattr(policy, name) is not None}
    stored = _item(target, tenant)
    _check(given, stored)
    if stored.get("disabled"):
        raise KeyProblem(f"tenant {tenant!r} is disabled; `cost-router keys set {tenant} --enable` first")
    made = {"label_key": secrets.token_bytes(32), "created_at": now.isoformat(timespec="seconds")}
    _update(target, tenant, given, made, stored)


def change_tenant(target: Target, tenant: str, changes: Item) -> None:
    """Change what is given of a tenant: fields of `Policy`, and `disabled`; None takes a field away.

    Raises `KeyProblem` for an unknown tenant, and when it was changed or deleted meanwhile.
    """
    stored = _known(target, tenant)
    _check(changes, stored)
    _update(target, tenant, changes, {}, stored)


def tenant_today(target: Target, tenant: str, day: dt.date) -> dict[str, Any]:
    """A tenant's policy, what it spent in the UTC day and month, and what is left; dollars as decimal strings."""
    item = _known(target, tenant)
    today, month = (_spent(target, tenant, span) for span in (day.isoformat(), f"{day:%Y-%m}"))
    return {
        "tenant": tenant,
        "created_at": item.get("created_at"),
        "disabled": bool(item.get("disabled")),
        **policy_json(item),
        "day": day.isoformat(),
        "spent_usd": dollars(today),
        "left_usd": _left(item.get("daily_budget_usd"), today),
        "month_spent_usd": dollars(month),
        "month_left_usd": _left(item.get("monthly_budget_usd"), month),
    }


def policy_json(item: Item) -> dict[str, Any]:
    """The policy in a tenant's item; dollars as decimal strings, None for what is open."""
    found = {name: item.get(name) for name in POLICY}
    found |= {name: dollars(item[name]) for name in BUDGETS if item.get(name) is not None}
    rpm = item.get("session_rpm")
    found |= {"session_rpm": None if rpm is None else int(rpm), "reads_account": bool(item.get("reads_account"))}
    return found | {name: sorted(item.get(name) or ()) for name in ("allows", "options")}


def parse_budget(text: str) -> Decimal:
    """US dollars in the words of a command; raises `KeyProblem`."""
    if not BUDGET.fullmatch(text) or not Decimal(text):
        raise KeyProblem(f"budget {text!r}; accepted: US dollars above 0, such as 25 or 0.50, to the micro-dollar")
    return Decimal(text)


def parse_rpm(text: str) -> int:
    """Requests a minute in the words of a command; raises `KeyProblem`."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_RPM):
        raise KeyProblem(f"session rpm {text!r}; accepted: a whole number from 1 to {MOST_RPM}")
    return int(text)


def parse_tags(text: str) -> dict[str, str]:
    """`service=search,customer=acme`; raises `KeyProblem`."""
    tags: dict[str, str] = {}
    for part in text.split(","):
        name, _, value = (word.strip() for word in part.partition("="))
        if not NAME.fullmatch(name) or not NAME.fullmatch(value) or name in tags:
            raise KeyProblem(
                f"tags {text!r}: {part!r}; accepted: NAME=VALUE of letters, digits, '_', '.' and '-', each name once"
            )
        tags[name] = value
    return tags


def parse_senders(text: str) -> list[str]:
    """Unique ids of IAM principals, as `aws iam get-role --query Role.RoleId` tells them; raises `KeyProblem`."""
    found = [part.strip() for part in text.split(",")]
    if not all(PRINCIPAL.fullmatch(part) for part in found):
        raise KeyProblem(
            f"senders {text!r}; accepted: unique ids of roles or users, such as AROAEXAMPLEID,AIDAEXAMPLEID"
        )
    return sorted(set(found))


def parse_allows(text: str) -> list[str]:
    """`speed,cache_1h`, or `none`; raises `KeyProblem`."""
    try:
        return [] if text == NONE else sorted(guards.permissions(part.strip() for part in text.split(",")))
    except ValueError as error:
        raise KeyProblem(f"allow {text!r}: {error}, {NONE}") from None


def parse_options(text: str) -> list[str]:
    """`speculate,max_tokens`, or `none`; raises `KeyProblem`."""
    found = [] if text == NONE else [part.strip() for part in text.split(",")]
    for part in found:
        if part not in OPTIONS:
            raise KeyProblem(f"options {text!r}: {part!r}; accepted: {', '.join(OPTIONS)}, {NONE}")
    return sorted(set(found))


def read_items(target: Target) -> dict[str, dict[str, Any]]:
    """Everything in the tenants table by primary key, without the tenants' secrets."""
    pages = target.client("dynamodb").get_paginator("scan").paginate(TableName=target.tables["tenants"])
    items = (
        {name: read_value(value) for name, value in item.items() if name != "label_key"}
        for page in pages
        for item in page["Items"]
    )
    return {str(item[Table.TENANTS_KEY]): item for item in items}


def _spent(target: Target, tenant: str, span: str) -> Decimal:
    """What a tenant spent in a UTC day or month."""
    key = {Table.LEDGER_PK: {"S": f"counters#{span}"}, Table.LEDGER_SK: {"S": f"tenant#{tenant}"}}
    reply = target.client("dynamodb").get_item(TableName=target.tables["ledger"], Key=key, ConsistentRead=True)
    counter = reply.get("Item", {})
    return Decimal(read_value(counter["cost_usd"])) if "cost_usd" in counter else Decimal(0)


def _left(budget: Decimal | None, spent: Decimal) -> str | None:
    return None if budget is None else dollars(max(Decimal(0), budget - spent))


def _item(target: Target, tenant: str) -> dict[str, Any]:
    """The tenant's item; empty when there is none."""
    key = {Table.TENANTS_KEY: {"S": f"tenant#{tenant}"}}
    reply = target.client("dynamodb").get_item(TableName=target.tables["tenants"], Key=key, ConsistentRead=True)
    return {name: read_value(value) for name, value in reply.get("Item", {}).items()}


def _known(target: Target, tenant: str) -> dict[str, Any]:
    item = _item(target, tenant)
    if not item:
        known = sorted(pk.removeprefix("tenant#") for pk in read_items(target) if pk.startswith("tenant#"))
        raise KeyProblem(f"no tenant is called {tenant!r}; there are: {', '.join(known) or 'none yet'}")
    return item


def _check(changes: Item, stored: Item) -> None:
    """Refuse tiers that are none, and a floor above the ceiling, be it given now or stored before."""
    after, tiers = {**stored, **changes}, {}
    for name in BOUNDS:
        try:
            tiers[name] = None if after.get(name) is None else Tier.parse(after[name])
        except ValueError as error:
            raise KeyProblem(f"{name}: {error}") from None
    if tiers["floor"] and tiers["ceiling"] and tiers["floor"] > tiers["ceiling"]:
        raise KeyProblem(f"floor {after['floor']!r} is above ceiling {after['ceiling']!r}: nothing could be served")


def _update(target: Target, tenant: str, changes: Item, made: Item, stored: Item) -> None:
    """One write, on the condition that the bounds still are those which were checked.

    `made` is written where it is missing. Without it, the tenant has to be there still: a deleted one stays deleted.
    """
    names = {f"#{name}" for name in (*changes, *made, *BOUNDS)}
    put = {name: value for name, value in changes.items() if value is not None}
    sets = [f"#{name} = :{name}" for name in put] + [f"#{name} = if_not_exists(#{name}, :{name})" for name in made]
    removes = [f"#{name}" for name, value in changes.items() if value is None]
    seen = {name: stored[name] for name in BOUNDS if name in stored}
    conditions = [f"#{name} = :seen_{name}" if name in seen else f"attribute_not_exists(#{name})" for name in BOUNDS]
    if not made:
        conditions.append(f"attribute_exists({Table.TENANTS_KEY})")
    values = {f":{name}": value for name, value in {**put, **made}.items()}
    values |= {f":seen_{name}": value for name, value in seen.items()}
    clauses = [("SET", sets), ("REMOVE", removes)]
    more = {"ExpressionAttributeValues": {name: write_value(value) for name, value in values.items()}} if values else {}
    try:
        target.client("dynamodb").update_item(
            TableName=target.tables["tenants"],
            Key={Table.TENANTS_KEY: {"S": f"tenant#{tenant}"}},
            UpdateExpression=" ".join(f"{word} {', '.join(parts)}" for word, parts in clauses if parts),
            ConditionExpression=" AND ".join(conditions),
            ExpressionAttributeNames={name: name.removeprefix("#") for name in names},
            **more,
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        raise KeyProblem(f"tenant {tenant!r} was changed or deleted meanwhile; nothing was written") from error
