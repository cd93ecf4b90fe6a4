"""The `ledger` table: entries, counters and money put aside, written in transactions (`ledger_items.py` has the items).

A second booking of the same entries fails its condition and changes nothing, so that a lost reply may be repeated.
`committed_usd` of a counter is what is spent or put aside; a conditional write on it is what budgets rest on.
"""

import datetime as dt
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from cost_router.adapters import ledger_items as items
from cost_router.adapters.aws import Aws
from cost_router.adapters.ledger_items import COMMITTED, RESERVATIONS, Address, Sums
from cost_router.adapters.transactions import FAILED, TRIES, Transactions
from cost_router.contract import Table
from cost_router.core.budget import Pace, Reservation, Scope, Standing, refusal, too_fast
from cost_router.core.errors import StoreError
from cost_router.core.ledger import Entry, reversal, swept
from cost_router.core.ports import Chance, Clock, Row

BATCH: Final = 100  # keys of one BatchGetItem, DynamoDB's limit
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

        What was booked before is left out, so that the same may be repeated, also in other company. A reservation that
        is gone was swept, settled or never made; what was swept is reversed. Raises `StoreError`.
        """
        written, kept = list(entries), list(settled)
        while written or kept:
            checked = [*map(self._put, written), *(self._delete(items.reservation_address(row)) for row in kept)]
            moved = items.sums(written, kept, items.sessions_of(settled))
            reasons = await self._transactions.write([*checked, *self._move(moved)])
            if FAILED not in reasons:
                return
            gone = [row for row, reason in zip(kept, reasons[len(written) :], strict=False) if reason == FAILED]
            kept = [row for row in kept if row not in gone]
            written = [entry for entry, reason in zip(written, reasons, strict=False) if reason != FAILED]
            written += [reversal(row.if_lost) for row in gone if await self._is_there(swept(row.if_lost))]

    async def reserve(self, reservation: Reservation) -> None:
        """Put money aside under all scopes or none; the same again changes nothing.

        Raises `BudgetExhausted` when a scope's budget does not cover it, `PaceExceeded` when its session is too fast,
        and `StoreError`.
        """
        await self.reserve_together([reservation])

    async def reserve_together(self, reservations: Sequence[Reservation]) -> None:
        """`reserve` for several of the same scopes, moment and pace: all that are not there yet, or none."""
        missing = list(reservations)
        while missing:
            scopes, pace, at = missing[0].scopes, missing[0].pace, missing[0].at
            amount = sum((row.amount_usd for row in missing), Decimal(0))
            for scope in scopes:
                if scope.limit_usd is not None and amount > scope.limit_usd:
                    raise refusal(scope, amount)
            puts = [self._put_new(items.reservation_item(row)) for row in missing]
            counted = [self._count(pace, at)] if pace else []
            reasons = await self._transactions.write(
                [*puts, *(self._set_aside(amount, scope, at) for scope in scopes), *counted]
            )
            if not reasons:
                return
            if FAILED not in reasons[: len(puts)]:
                refused = [scope for scope, why in zip(scopes, reasons[len(puts) :], strict=False) if why == FAILED]
                raise refusal(refused[0], amount) if refused or not pace else too_fast(pace, at)
            # Put aside before: the reply of that transaction was lost.
            missing = [row for row, reason in zip(missing, reasons, strict=False) if reason != FAILED]

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
        reasons = await self._transactions.write([self._put(lost), given_back, *self._move(moved)])
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
                await self._transactions.pause(attempt)
        return found

    @property
    def _transactions(self) -> Transactions:
        return Transactions(self.aws, self.clock, self.chance)

    async def _is_there(self, entry: Entry) -> bool:
        return bool(await self._read([items.entry_address(entry)]))

    def _set_aside(self, amount: Decimal, scope: Scope, at: dt.datetime) -> dict[str, Any]:
        """A condition cannot add, so the room is computed here and `committed_usd` is one attribute."""
        room = (scope.limit_usd or Decimal(0)) - amount
        (update,) = self._move({items.counter_address(scope, at): {COMMITTED: amount}})
        update["Update"]["ConditionExpression"] = f"attribute_not_exists({COMMITTED}) OR {COMMITTED} <= :room"
        update["Update"]["ExpressionAttributeValues"][":room"] = items.write(room)
        return update

    def _count(self, pace: Pace, at: dt.datetime) -> dict[str, Any]:
        """One more request of a session in this minute, unless it has made all that it may."""
        update = self._add(items.pace_address(pace, at), {"requests": 1}, passing=at)
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
        return self._put_new(items.entry_item(entry))

    def _put_new(self, item: Mapping[str, Any]) -> dict[str, Any]:
        return {"Put": {"TableName": self.table, "Item": item, "ConditionExpression": NEW}}

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
