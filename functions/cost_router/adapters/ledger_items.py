"""How the ledger looks in the `ledger` table: its items, and how much each counter moves with what.

| partition key | sort key | what |
|---|---|---|
| `entries#DAY` | entry id | an entry; written once, never changed |
| `counters#DAY`, `counters#MONTH` | `account`, `tenant#NAME`, `session#TENANT/ID` | sums |
| `reservations` | reservation id | money put aside, until it is settled or swept |
| `pace#MINUTE` | `session#TENANT/ID` | how many requests a session has made; expires |
| `alerts#DAY`, `alerts#MONTH` | scope and step | an alert that has been sent |
| `feedback#DAY` | request id | what was said of an answer, by its request's day (`adapters/feedback.py`) |
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from cost_router.contract import Table
from cost_router.core.budget import Pace, Period, Reservation, Scope
from cost_router.core.ledger import ANSWER, CLASSIFIER, Entry, Shadow, usage_in
from cost_router.core.pricing import TOKENS, Usage, dollars
from cost_router.core.terms import GLOBAL, STANDARD
from cost_router.core.words import Label, Tier

COMMITTED: Final = "committed_usd"
RESERVATIONS: Final = "reservations"
SESSION: Final = "session"
KEPT_FOR: Final = dt.timedelta(days=2)  # of what counts for a minute, or for a session's day
Address = tuple[str, str]  # partition key and sort key
Sums = dict[Address, dict[str, Decimal | int]]
Item = dict[str, Any]  # as DynamoDB's own API has it
_write: Final[Any] = TypeSerializer().serialize
_read: Final = TypeDeserializer().deserialize


def write(value: Any) -> Any:
    """A value as DynamoDB takes it; numbers in the one form that it gives back, so that a repetition looks the same."""
    return _write(_canonical(value))


def _canonical(value: Any) -> Any:
    if isinstance(value, Decimal):
        return Decimal(dollars(value))
    if isinstance(value, Mapping):
        return {name: _canonical(part) for name, part in value.items()}
    return [_canonical(part) for part in value] if isinstance(value, list) else value


def key(address: Address) -> Item:
    """The primary key of an item."""
    return {Table.LEDGER_PK: {"S": address[0]}, Table.LEDGER_SK: {"S": address[1]}}


def entry_address(entry: Entry) -> Address:
    """Where an entry stands."""
    return f"entries#{entry.day}", entry.entry_id


def counter_address(scope: Scope, at: dt.datetime) -> Address:
    """Where a scope's sums stand."""
    return f"counters#{scope.period.of(at)}", scope.key


def pace_address(pace: Pace, at: dt.datetime) -> Address:
    """Where the requests of a session's minute are counted."""
    return f"pace#{at:%Y-%m-%dT%H:%M}", pace.key


def reservation_address(reservation: Reservation) -> Address:
    """Where a reservation stands."""
    return RESERVATIONS, reservation.id


def expiry(at: dt.datetime) -> Item:
    """The time to live of what is not kept."""
    return {"N": str(int((at + KEPT_FOR).timestamp()))}


def row(entry: Entry) -> dict[str, Any]:
    """The attributes of an entry (DESIGN section 8); None where there is nothing to say."""
    return {
        "entry_id": entry.entry_id,
        "at": entry.at.isoformat(timespec="milliseconds"),
        "request_id": entry.request_id,
        "upstream_request_id": entry.upstream_request_id,
        "tenant": entry.tenant,
        "tags": dict(entry.tags),
        "label": entry.label.value if entry.label else None,
        "cause": entry.cause,
        "tier": entry.tier.word,
        "model": entry.model,
        "asked": entry.asked,
        "purpose": entry.purpose,
        "processing": entry.processing,
        **{bucket: getattr(entry.usage, bucket) for bucket in TOKENS},
        **terms_row(entry.usage),
        "cost_usd": entry.cost_usd,
        "baseline_usd": entry.baseline_usd,
        "cache_saved_usd": entry.cache_saved_usd or None,
        "reservation": entry.reservation,
        "job": entry.job,
        "arm": entry.arm,
        **shadow_row(entry.shadow),
        "flags": list(entry.flags),
    }


def terms_row(usage: Usage) -> dict[str, Any]:
    """What an answer's price depends on beside its tokens; nothing where it is as usual."""
    told = {
        "web_search_requests": usage.web_search_requests,
        "speed": usage.speed if usage.speed != STANDARD else None,
        "inference_geo": usage.inference_geo if usage.inference_geo != GLOBAL else None,
    }
    return {name: value for name, value in told.items() if value}


def shadow_row(shadow: Shadow | None) -> dict[str, Any]:
    """What a candidate would have done with a request; nothing where none looked at it."""
    if shadow is None:
        return {}
    return {
        "shadow_label": shadow.label.value if shadow.label else None,
        "shadow_tier": shadow.tier.word,
        "shadow_model": shadow.model,
        "shadow_cost_usd": shadow.cost_usd,
    }


def entry_item(entry: Entry) -> Item:
    """The item of an entry."""
    return {**key(entry_address(entry)), **_written(row(entry))}


def entry_in(attributes: Mapping[str, Any]) -> Entry:
    """The entry whose attributes `row` gave."""
    return Entry(
        entry_id=attributes["entry_id"],
        at=dt.datetime.fromisoformat(attributes["at"]),
        request_id=attributes["request_id"],
        upstream_request_id=attributes.get("upstream_request_id"),
        tenant=attributes["tenant"],
        tags=attributes["tags"],
        label=Label(attributes["label"]) if attributes.get("label") else None,
        cause=attributes["cause"],
        tier=Tier.parse(attributes["tier"]),
        model=attributes["model"],
        purpose=attributes["purpose"],
        usage=usage_in(attributes),
        cost_usd=attributes["cost_usd"],
        baseline_usd=attributes["baseline_usd"],
        processing=attributes["processing"],
        flags=tuple(attributes["flags"]),
        asked=attributes.get("asked", ""),
        reservation=attributes.get("reservation"),
        job=attributes.get("job"),
        arm=attributes.get("arm"),
        cache_saved_usd=attributes.get("cache_saved_usd", Decimal(0)),
        shadow=_shadow_in(attributes),
    )


def _shadow_in(attributes: Mapping[str, Any]) -> Shadow | None:
    """What `shadow_row` gave."""
    if not attributes.get("shadow_model"):
        return None
    label, tier = attributes.get("shadow_label"), Tier.parse(attributes["shadow_tier"])
    return Shadow(Label(label) if label else None, tier, attributes["shadow_model"], attributes.get("shadow_cost_usd"))


def reservation_item(reservation: Reservation) -> Item:
    """The item of a reservation; it holds the entry that is booked when nobody settles it."""
    attributes = {
        "amount_usd": reservation.amount_usd,
        "until": reservation.until.isoformat(timespec="milliseconds"),
        "scopes": [{"key": scope.key, "period": scope.period.value} for scope in reservation.scopes],
        "if_lost": {name: value for name, value in row(reservation.if_lost).items() if value is not None},
    }
    return {**key(reservation_address(reservation)), **_written(attributes)}


def reservation_in(item: Mapping[str, Any]) -> Reservation:
    """The reservation in an item; without the limits of its scopes, which only mattered when it was made."""
    attributes = read(item)
    return Reservation(
        id=attributes[Table.LEDGER_SK],
        amount_usd=attributes["amount_usd"],
        scopes=tuple(Scope(row["key"], None, Period(row["period"])) for row in attributes["scopes"]),
        until=dt.datetime.fromisoformat(attributes["until"]),
        if_lost=entry_in(attributes["if_lost"]),
    )


def partition(table: str, pk: str) -> dict[str, Any]:
    """The arguments of a query for all items under a partition key."""
    return {
        "TableName": table,
        "KeyConditionExpression": "#pk = :pk",
        "ExpressionAttributeNames": {"#pk": Table.LEDGER_PK},
        "ExpressionAttributeValues": {":pk": {"S": pk}},
    }


def read(item: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of an item as Python values; numbers are `Decimal`."""
    return {name: _read(value) for name, value in item.items()}


def sums(entries: Iterable[Entry], settled: Iterable[Reservation], sessions: Sequence[Scope]) -> Sums:
    """What each counter grows by; `sessions`: what the entries count for beside account and tenant."""
    found: Sums = defaultdict(lambda: defaultdict(lambda: Decimal(0)))
    for entry in entries:
        scopes = [Scope(name, None, period) for name in entry.scopes for period in Period]
        for scope in (*scopes, *sessions):
            counter = found[counter_address(scope, entry.at)]
            counter["cost_usd"] += entry.cost_usd
            counter[COMMITTED] += entry.cost_usd
            counter["baseline_usd"] += entry.baseline_usd
            counter["classifier_cost_usd"] += entry.cost_usd if entry.purpose == CLASSIFIER else Decimal(0)
            counter["answers"] += entry.calls if entry.purpose == ANSWER else 0
            counter["calls"] += entry.calls
    for reservation in settled:
        for scope in reservation.scopes:
            found[counter_address(scope, reservation.at)][COMMITTED] -= reservation.amount_usd
    return found


def sessions_of(reservations: Iterable[Reservation]) -> list[Scope]:
    """The sessions among the scopes of a request's reservations."""
    found = {scope.key: scope for row in reservations for scope in row.scopes if scope.kind == SESSION}
    return list(found.values())


def _written(attributes: Mapping[str, Any]) -> Item:
    return {name: write(value) for name, value in attributes.items() if value is not None}
