"""The `ledger` table: entries, counters and money put aside, written in transactions (`ledger_items.py` has the items).

A second booking of the same entries fails its condition and changes nothing, so that a lost reply may be repeated.
`committed_usd` of a counter is what is spent or put aside; a conditional write on it is what budgets rest on.
"""

import datetime as dt
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from botocore.exceptions import ClientError

from cost_router.adapters import ledger_items as items
from cost_router.adapters.aws import Aws, error_code
from cost_router.adapters.ledger_items import COMMITTED, RESERVATIONS, Address, Sums
from cost_router.contract import Table
from cost_router.core.backoff import full_jitter
from cost_router.core.budget import Pace, Reservation, Scope, Standing, refusal, too_fast
from cost_router.core.errors import StoreError
from cost_router.core.ledger import Entry, reversal, swept
from cost_router.core.ports import Chance, Clock, Row

TRIES: Final = 12  # transactions on one counter conflict rather than queue
TRY_SECONDS: Final = 10.0
BATCH: Final = 100  # keys of one BatchGetItem, DynamoDB's limit
# What no repetition mends. Anything else may pass, or may even have been written: the entries' condition tells.
HOPELESS: Final = frozenset(
    {"ValidationError", "ValidationException", "AccessDeniedException", "ResourceNotFoundException"}
)
FAILED: Final = "ConditionalCheckFailed"
NEW: Final = f"attribute_not_exists({Table.LEDGER_PK})"
THERE: Final = f"attribute_exists({Table.LEDGER_PK})"


@dataclass(frozen=True, slots=True)
class DynamoLedger:
    """A `Ledger` in DynamoDB."""

    aws: Aws
    table: str
    clock: Clock
    chance: Chance

    async def book(self, entries: Sequence[Entry], settled: Sequence[Reservation]) -> None:
        """Write entries and counters and give back what was put aside, in one transaction; once.

        The entries of one request are booked together or not at all. A reservation that is gone was swept, or never
        made; what was swept is reversed. Raises `StoreError`.
        """
        written, kept = list(entries), list(settled)
        while written or kept:
            checked = [*map(self._put, written), *(self._delete(items.reservation_address(row)) for row in kept)]
            moved = items.sums(written, kept, items.sessions_of(settled))
            reasons = await self._transact([*checked, *self._move(moved)])
            if FAILED not in reasons or FAILED in reasons[: len(written)]:
                return  # in the second case it was booked before: the reply of that transaction was lost
            gone = [row for row, reason in zip(kept, reasons[len(written) :], strict=False) if reason == FAILED]
            kept = [row for row in kept if row not in gone]
            written += [reversal(row.if_lost) for row in gone if await self._is_there(swept(row.if_lost))]

    async def reserve(self, reservation: Reservation) -> None:
        """Put money aside under all scopes or none; the same again changes nothing.

        Raises `BudgetExhausted` when a scope's budget does not cover it, `PaceExceeded` when its session is too fast,
        and `StoreError`.
        """
        scopes, pace = reservation.scopes, reservation.pace
        for scope in scopes:
            if scope.limit_usd is not None and reservation.amount_usd > scope.limit_usd:
                raise refusal(scope)
        put = {"TableName": self.table, "Item": items.reservation_item(reservation), "ConditionExpression": NEW}
        counted = [self._count(pace, reservation)] if pace else []
        set_aside = [self._set_aside(reservation, scope) for scope in scopes]
        reasons = await self._transact([{"Put": put}, *set_aside, *counted])
        if not reasons or reasons[0] == FAILED:
            return  # in the second case it was put aside before: the reply of that transaction was lost
        for scope, reason in zip(scopes, reasons[1:], strict=False):
            if reason == FAILED:
                raise refusal(scope)
        if pace:
            raise too_fast(pace, reservation.at)

    async def standings(self, at: dt.datetime, scopes: Sequence[Scope]) -> list[Standing]:
        """How far each scope has come in its day or month around `at`. Raises `StoreError`."""
        addresses = [items.counter_address(scope, at) for scope in scopes]
        found = await self._read(addresses)
        return [_standing(scope, found.get(address, {})) for scope, address in zip(scopes, addresses, strict=True)]

    async def outstanding(self) -> list[Reservation]:
        """All that is put aside and neither settled nor swept. Raises `StoreError`."""
        asked = items.partition(self.table, RESERVATIONS)
        return [items.reservation_in(item) async for item in self.aws.items("query", **asked)]

    async def entries(self, day: str) -> AsyncIterator[Row]:
        """The entries of a UTC day `YYYY-MM-DD`, in no order; iterating raises `StoreError`."""
        async for item in self.aws.items("query", **items.partition(self.table, f"entries#{day}")):
            yield items.read(item)

    async def sweep(self, reservation: Reservation) -> bool:
        """Book what was put aside as spent, for one ambiguous payment; false when it has been settled meanwhile."""
        lost = swept(reservation.if_lost)
        moved = items.sums([lost], [reservation], items.sessions_of([reservation]))
        given_back = self._delete(items.reservation_address(reservation))
        reasons = await self._transact([self._put(lost), given_back, *self._move(moved)])
        return FAILED not in reasons

    async def _read(self, addresses: Sequence[Address]) -> dict[Address, dict[str, Any]]:
        """Items by address; up to a hundred in one round trip, unless DynamoDB leaves some for another."""
        wanted = [items.key(address) for address in dict.fromkeys(addresses)]
        found: dict[Address, dict[str, Any]] = {}
        attempt = 0
        while wanted:
            asked = {self.table: {"Keys": wanted[:BATCH], "ConsistentRead": True}}
            reply = await self.aws.call("dynamodb", "batch_get_item", RequestItems=asked)
            for item in reply["Responses"].get(self.table, ()):
                attributes = items.read(item)
                found[attributes[Table.LEDGER_PK], attributes[Table.LEDGER_SK]] = attributes
            left = reply.get("UnprocessedKeys", {}).get(self.table, {}).get("Keys", [])
            wanted = [*left, *wanted[BATCH:]]
            if left:
                attempt += 1
                if attempt == TRIES:
                    raise StoreError("dynamodb.batch_get_item: UnprocessedKeys")
                await self.clock.sleep(full_jitter(attempt, self.chance.fraction(), base=0.02, cap=1.0))
        return found

    async def _is_there(self, entry: Entry) -> bool:
        return bool(await self._read([items.entry_address(entry)]))

    async def _transact(self, parts: Sequence[Mapping[str, Any]]) -> list[str]:
        """Write all parts or none; gives nothing when written, or the reason of each part when a condition failed.

        Conflicts on the day's counter, throttling and lost replies are tried again with jitter, for some seconds: the
        parts' conditions make that safe. Raises `StoreError`.
        """
        until, token = self.clock.monotonic() + TRY_SECONDS, self.chance.token()
        attempt = 0
        while True:
            attempt += 1
            try:
                # The same token makes a repetition after a lost reply harmless for ten minutes, whatever came between.
                await self.aws.call("dynamodb", "transact_write_items", TransactItems=parts, ClientRequestToken=token)
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
        address = items.counter_address(scope, reservation.at)
        (update,) = self._move({address: {COMMITTED: reservation.amount_usd}})
        update["Update"]["ConditionExpression"] = f"attribute_not_exists({COMMITTED}) OR {COMMITTED} <= :room"
        update["Update"]["ExpressionAttributeValues"][":room"] = items.write(room)
        return update

    def _count(self, pace: Pace, reservation: Reservation) -> dict[str, Any]:
        """One more request of a session in this minute, unless it has made all that it may."""
        update = self._add(items.pace_address(pace, reservation.at), {"requests": 1}, passing=reservation.at)
        update["Update"]["ConditionExpression"] = "attribute_not_exists(requests) OR requests < :most"
        update["Update"]["ExpressionAttributeValues"][":most"] = items.write(pace.per_minute)
        return update

    def _move(self, moved: Sums) -> list[dict[str, Any]]:
        """Add to counters; a session's is not kept for long."""
        now = self.clock.now()
        return [
            self._add(address, amounts, now if address[1].startswith(items.SESSION) else None)
            for address, amounts in moved.items()
        ]

    def _put(self, entry: Entry) -> dict[str, Any]:
        return {"Put": {"TableName": self.table, "Item": items.entry_item(entry), "ConditionExpression": NEW}}

    def _delete(self, address: Address) -> dict[str, Any]:
        return {"Delete": {"TableName": self.table, "Key": items.key(address), "ConditionExpression": THERE}}

    def _add(
        self, address: Address, sums: Mapping[str, Decimal | int], passing: dt.datetime | None = None
    ) -> dict[str, Any]:
        """Add to an item's numbers; `passing`: it expires some time after that moment."""
        names = {f"#n{place}": name for place, name in enumerate(sums)}
        values: dict[str, Any] = {f":v{place}": items.write(value) for place, value in enumerate(sums.values())}
        adds = "ADD " + ", ".join(f"#n{place} :v{place}" for place in range(len(sums)))
        if passing:
            adds += " SET #ttl = :ttl"
            names["#ttl"], values[":ttl"] = Table.TTL, items.expiry(passing)
        return {
            "Update": {
                "TableName": self.table,
                "Key": items.key(address),
                "UpdateExpression": adds,
                "ExpressionAttributeNames": names,
                "ExpressionAttributeValues": values,
            }
        }


def _standing(scope: Scope, counter: Mapping[str, Any]) -> Standing:
    return Standing(scope, counter.get("cost_usd", Decimal(0)), counter.get(COMMITTED, Decimal(0)))


def _reasons(error: BaseException | None) -> list[str]:
    """Why a transaction was cancelled, part by part; nothing when it failed as a whole."""
    response: Mapping[str, Any] = error.response if isinstance(error, ClientError) else {}
    return [str(reason.get("Code")) for reason in response.get("CancellationReasons", ())]
