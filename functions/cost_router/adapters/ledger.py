"""The `ledger` table: entries, the counters of the day and money put aside, written in transactions.

`entries#DAY` / ENTRY_ID holds an entry and is never changed. `counters#DAY` / `account` and `counters#DAY` /
`tenant#NAME` hold sums. A second booking of the same entries fails its condition and changes nothing, so that a lost
reply may be repeated. `reservations#DAY` / ID holds money put aside: `committed_usd` of a counter is what is spent or
put aside, and a conditional write on it is what budgets rest on.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from cost_router.adapters.aws import Aws, error_code
from cost_router.contract import Table
from cost_router.core.backoff import full_jitter
from cost_router.core.budget import ACCOUNT, Reservation, Scope, Standing, refusal
from cost_router.core.errors import StoreError
from cost_router.core.ledger import ANSWER, CLASSIFIER, Entry
from cost_router.core.ports import Chance, Clock
from cost_router.core.pricing import Usage
from cost_router.core.terms import GLOBAL, STANDARD

TRIES: Final = 12  # transactions on one counter conflict rather than queue
TRY_SECONDS: Final = 10.0
# What no repetition mends. Anything else may pass, or may even have been written: the entries' condition tells.
HOPELESS: Final = frozenset(
    {"ValidationError", "ValidationException", "AccessDeniedException", "ResourceNotFoundException"}
)
FAILED: Final = "ConditionalCheckFailed"
COMMITTED: Final = "committed_usd"
NEW: Final = f"attribute_not_exists({Table.LEDGER_PK})"
_write = TypeSerializer().serialize
_read = TypeDeserializer().deserialize


@dataclass(frozen=True, slots=True)
class DynamoLedger:
    """A `Ledger` in DynamoDB."""

    aws: Aws
    table: str
    clock: Clock
    chance: Chance

    async def book(self, entries: Sequence[Entry], settled: Sequence[Reservation]) -> None:
        """Write entries and counters and give back what was put aside, in one transaction; once.

        The entries of one request are booked together or not at all. Raises `StoreError`.
        """
        checked = [*(self._put(entry) for entry in entries), *(self._give_back(row) for row in settled)]
        changes = [self._add(key, sums) for key, sums in _sums(entries, settled).items()]
        reasons = await self._transact([*checked, *changes])
        if entries and FAILED in reasons[len(entries) : len(checked)] and FAILED not in reasons[: len(entries)]:
            # Somebody else has given the reservations back; the payments still have to be written.
            await self._transact([*checked[: len(entries)], *(self._add(*pair) for pair in _sums(entries, ()).items())])

    async def reserve(self, reservation: Reservation) -> None:
        """Put money aside under all scopes or none; the same again changes nothing.

        Raises `BudgetExhausted` when a scope's budget does not cover it, and `StoreError`.
        """
        amount = reservation.amount_usd
        for scope in reservation.scopes:
            if scope.limit_usd is not None and amount > scope.limit_usd:
                raise refusal(scope)
        key = _key(f"reservations#{reservation.day}", reservation.id)
        item = {**key, "amount_usd": _write(amount), "at": _write(self.clock.now().isoformat())}
        put = {"TableName": self.table, "Item": item, "ConditionExpression": NEW}
        reasons = await self._transact(
            [{"Put": put}, *(self._set_aside(reservation, scope) for scope in reservation.scopes)]
        )
        if not reasons or reasons[0] == FAILED:
            return  # in the second case it was put aside before: the reply of that transaction was lost
        for scope, reason in zip(reservation.scopes, reasons[1:], strict=True):
            if reason == FAILED:
                raise refusal(scope)

    async def standings(self, day: str, scopes: Sequence[Scope]) -> list[Standing]:
        """How far each scope has come on the UTC day `YYYY-MM-DD`. Raises `StoreError`."""
        return list(await asyncio.gather(*(self._standing(day, scope) for scope in scopes)))

    async def _standing(self, day: str, scope: Scope) -> Standing:
        reply = await self.aws.call(
            "dynamodb",
            "get_item",
            TableName=self.table,
            Key=_key(f"counters#{day}", scope.key),
            ConsistentRead=True,
            ProjectionExpression="cost_usd, committed_usd",
        )
        item = {name: Decimal(_read(value)) for name, value in reply.get("Item", {}).items()}
        return Standing(scope, item.get("cost_usd", Decimal(0)), item.get("committed_usd", Decimal(0)))

    async def _transact(self, items: Sequence[Mapping[str, Any]]) -> list[str]:
        """Write all items or none; gives nothing when written, or the reason of each item when a condition failed.

        Conflicts on the day's counter, throttling and lost replies are tried again with jitter, for some seconds: the
        items' conditions make that safe. Raises `StoreError`.
        """
        until = self.clock.monotonic() + TRY_SECONDS
        attempt = 0
        while True:
            attempt += 1
            try:
                await self.aws.call("dynamodb", "transact_write_items", TransactItems=items)
            except StoreError as error:
                reasons = _reasons(error.__cause__)
                if FAILED in reasons:
                    return reasons
                hopeless = HOPELESS.intersection([*reasons, error_code(error.__cause__)])
                if attempt == TRIES or hopeless or self.clock.monotonic() > until:
                    raise
                await self.clock.sleep(full_jitter(attempt, self.chance.fraction(), base=0.02, cap=1.0))
            else:
                return []

    def _set_aside(self, reservation: Reservation, scope: Scope) -> dict[str, Any]:
        """A condition cannot add, so the room is computed here and `committed_usd` is one attribute."""
        room = (scope.limit_usd or Decimal(0)) - reservation.amount_usd
        update = self._add((f"counters#{reservation.day}", scope.key), {COMMITTED: reservation.amount_usd})
        update["Update"]["ConditionExpression"] = f"attribute_not_exists({COMMITTED}) OR {COMMITTED} <= :room"
        update["Update"]["ExpressionAttributeValues"][":room"] = _write(room)
        return update

    def _give_back(self, reservation: Reservation) -> dict[str, Any]:
        key = _key(f"reservations#{reservation.day}", reservation.id)
        there = f"attribute_exists({Table.LEDGER_PK})"
        return {"Delete": {"TableName": self.table, "Key": key, "ConditionExpression": there}}

    def _put(self, entry: Entry) -> dict[str, Any]:
        item = {name: _write(value) for name, value in row(entry).items() if value is not None}
        return {"Put": {"TableName": self.table, "Item": item, "ConditionExpression": NEW}}

    def _add(self, key: tuple[str, str], sums: Mapping[str, Decimal | int]) -> dict[str, Any]:
        names = {f"#n{place}": name for place, name in enumerate(sums)}
        values = {f":v{place}": _write(value) for place, value in enumerate(sums.values())}
        adds = ", ".join(f"#n{place} :v{place}" for place in range(len(sums)))
        return {
            "Update": {
                "TableName": self.table,
                "Key": _key(*key),
                "UpdateExpression": f"ADD {adds}",
                "ExpressionAttributeNames": names,
                "ExpressionAttributeValues": values,
            }
        }


def row(entry: Entry) -> dict[str, Any]:
    """The item of an entry, with the attributes of DESIGN section 8; None where there is nothing to say."""
    return {
        Table.LEDGER_PK: f"entries#{entry.day}",
        Table.LEDGER_SK: entry.entry_id,
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
        "purpose": entry.purpose,
        "processing": entry.processing,
        "input_tokens": entry.usage.input_tokens,
        "cache_read_input_tokens": entry.usage.cache_read_input_tokens,
        "cache_creation_5m_input_tokens": entry.usage.cache_creation_5m_input_tokens,
        "cache_creation_1h_input_tokens": entry.usage.cache_creation_1h_input_tokens,
        "output_tokens": entry.usage.output_tokens,
        **terms_row(entry.usage),
        "cost_usd": entry.cost_usd,
        "baseline_usd": entry.baseline_usd,
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


Sums = dict[tuple[str, str], dict[str, Decimal | int]]


def _sums(entries: Iterable[Entry], settled: Iterable[Reservation]) -> Sums:
    """What each counter grows by."""
    sums: Sums = defaultdict(lambda: defaultdict(lambda: Decimal(0)))
    for entry in entries:
        for scope in (ACCOUNT, f"tenant#{entry.tenant}"):
            counter = sums[f"counters#{entry.day}", scope]
            counter["cost_usd"] += entry.cost_usd
            counter[COMMITTED] += entry.cost_usd
            counter["baseline_usd"] += entry.baseline_usd
            counter["classifier_cost_usd"] += entry.cost_usd if entry.purpose == CLASSIFIER else Decimal(0)
            counter["answers"] += entry.purpose == ANSWER
            counter["calls"] += 1
    for reservation in settled:
        for budgeted in reservation.scopes:
            sums[f"counters#{reservation.day}", budgeted.key][COMMITTED] -= reservation.amount_usd
    return sums


def _key(pk: str, sk: str) -> dict[str, dict[str, str]]:
    return {Table.LEDGER_PK: {"S": pk}, Table.LEDGER_SK: {"S": sk}}


def _reasons(error: BaseException | None) -> list[str]:
    """Why a transaction was cancelled, item by item; nothing when it failed as a whole."""
    response: Mapping[str, Any] = error.response if isinstance(error, ClientError) else {}
    return [str(reason.get("Code")) for reason in response.get("CancellationReasons", ())]
