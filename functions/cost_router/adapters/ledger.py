"""The `ledger` table: entries and the counters of the day, written in one transaction.

`entries#DAY` / ENTRY_ID holds an entry and is never changed. `counters#DAY` / `account` and `counters#DAY` /
`tenant#NAME` hold sums. A second booking of the same entries fails its condition and changes nothing, so that a lost
reply may be repeated.
"""

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
from cost_router.core.errors import StoreError
from cost_router.core.ledger import ANSWER, CLASSIFIER, Entry
from cost_router.core.ports import Chance, Clock

TRIES: Final = 12  # transactions on one counter conflict rather than queue
TRY_SECONDS: Final = 10.0
# What no repetition mends. Anything else may pass, or may even have been written: the entries' condition tells.
HOPELESS: Final = frozenset(
    {"ValidationError", "ValidationException", "AccessDeniedException", "ResourceNotFoundException"}
)
_write = TypeSerializer().serialize
_read = TypeDeserializer().deserialize


@dataclass(frozen=True, slots=True)
class DynamoLedger:
    """A `Ledger` in DynamoDB."""

    aws: Aws
    table: str
    clock: Clock
    chance: Chance

    async def book(self, entries: Sequence[Entry]) -> None:
        """Write entries and counters in one transaction; entries already written change nothing.

        The entries of one request are booked together or not at all. Conflicts on the day's counter, throttling and
        lost replies are tried again with jitter, for some seconds. Raises `StoreError`.
        """
        until = self.clock.monotonic() + TRY_SECONDS
        puts = [self._put(entry) for entry in entries]
        transaction = [*puts, *(self._add(key, sums) for key, sums in _sums(entries).items())]
        for attempt in range(1, TRIES + 1):
            try:
                await self.aws.call("dynamodb", "transact_write_items", TransactItems=transaction)
            except StoreError as error:
                reasons = _reasons(error.__cause__)
                if "ConditionalCheckFailed" in reasons:
                    return  # booked before: the reply of that transaction was lost
                if attempt == TRIES or reasons & HOPELESS or self.clock.monotonic() > until:
                    raise
                await self.clock.sleep(full_jitter(attempt, self.chance.fraction(), base=0.02, cap=1.0))
            else:
                return

    async def spent(self, day: str) -> Decimal:
        """Dollars that the account has spent on the UTC day `YYYY-MM-DD`. Raises `StoreError`."""
        reply = await self.aws.call(
            "dynamodb",
            "get_item",
            TableName=self.table,
            Key=_key(f"counters#{day}", "account"),
            ConsistentRead=True,
            ProjectionExpression="cost_usd",
        )
        item = reply.get("Item")
        return Decimal(_read(item["cost_usd"])) if item else Decimal(0)

    def _put(self, entry: Entry) -> dict[str, Any]:
        item = {name: _write(value) for name, value in row(entry).items() if value is not None}
        condition = f"attribute_not_exists({Table.LEDGER_PK})"
        return {"Put": {"TableName": self.table, "Item": item, "ConditionExpression": condition}}

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
        "cost_usd": entry.cost_usd,
        "baseline_usd": entry.baseline_usd,
        "flags": list(entry.flags),
    }


def _sums(entries: Iterable[Entry]) -> dict[tuple[str, str], dict[str, Decimal | int]]:
    """What each counter grows by."""
    sums: dict[tuple[str, str], dict[str, Decimal | int]] = defaultdict(lambda: defaultdict(lambda: Decimal(0)))
    for entry in entries:
        for scope in ("account", f"tenant#{entry.tenant}"):
            counter = sums[f"counters#{entry.day}", scope]
            counter["cost_usd"] += entry.cost_usd
            counter["baseline_usd"] += entry.baseline_usd
            counter["classifier_cost_usd"] += entry.cost_usd if entry.purpose == CLASSIFIER else Decimal(0)
            counter["answers"] += entry.purpose == ANSWER
            counter["calls"] += 1
    return sums


def _key(pk: str, sk: str) -> dict[str, dict[str, str]]:
    return {Table.LEDGER_PK: {"S": pk}, Table.LEDGER_SK: {"S": sk}}


def _reasons(error: BaseException | None) -> frozenset[str]:
    """Why a transaction failed: the reasons of its cancellation, and the error's own code."""
    response: Mapping[str, Any] = error.response if isinstance(error, ClientError) else {}
    return frozenset(
        [str(reason.get("Code")) for reason in response.get("CancellationReasons", ())] + [error_code(error)]
    )
