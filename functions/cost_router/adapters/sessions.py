"""What is known of prompt caches, in the `labels` table beside the labels, with a time to live of its own.

Items: `session#HASH` -> a conversation as its last answer left it, and what other models still have of it;
`prefix#HASH` -> when each model has seen a prefix. Times are epoch milliseconds. Reads need not be consistent: what is
missed is a marker or a session, which costs little.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cost_router.adapters.aws import Aws
from cost_router.adapters.ledger_items import read, write
from cost_router.contract import Table
from cost_router.core.sessions import LIVES, Session, Warm
from cost_router.core.terms import FIVE_MINUTES

SESSION: Final = "session#"
PREFIX: Final = "prefix#"
MILLISECONDS: Final = 1000


@dataclass(frozen=True, slots=True)
class DynamoSessions:
    """A `SessionStore` in DynamoDB."""

    aws: Aws
    table: str

    async def get(self, key: str, now: dt.datetime) -> Session | None:
        """The conversation, while something of it is warm; what another version has written is a miss."""
        item = await _get(self.aws, self.table, SESSION + key)
        try:
            found = Session(
                model=item["model"],
                warm=int(item["warm"]),
                fresh=int(item["fresh"]),
                output=int(item["output"]),
                estimated=int(item["estimated"]),
                turns=int(item["turns"]),
                at=_time(item["at"]),
                ttl=item["ttl"],
                others=_lasting(item.get("others", {}), now),  # older versions wrote none
            )
            return found if found.is_warm(now) else None
        except (AttributeError, KeyError, TypeError, ValueError):
            return None

    async def put(self, key: str, session: Session) -> None:
        """Keep it until its cache is cold."""
        told = {
            "model": session.model,
            "warm": session.warm,
            "fresh": session.fresh,
            "output": session.output,
            "estimated": session.estimated,
            "turns": session.turns,
            "at": _number(session.at),
            "ttl": session.ttl,
            "others": {
                model: {"warm": warm.tokens, "at": _number(warm.at), "ttl": warm.ttl}
                for model, warm in session.others.items()
            },
        }
        await _put(self.aws, self.table, SESSION + key, told, session.at + LIVES[session.ttl])


@dataclass(frozen=True, slots=True)
class DynamoPrefixes:
    """A `PrefixStore` in DynamoDB."""

    aws: Aws
    table: str

    async def get(self, key: str, now: dt.datetime) -> Mapping[str, dt.datetime]:
        """Model id -> when it has seen the prefix, unless all of that is too long ago."""
        item = await _get(self.aws, self.table, PREFIX + key)
        try:
            seen = {str(model): _time(at) for model, at in item["seen"].items()}
        except (AttributeError, KeyError, TypeError, ValueError):
            return {}
        return {model: at for model, at in seen.items() if now < at + LIVES[FIVE_MINUTES]}

    async def put(self, key: str, seen: Mapping[str, dt.datetime]) -> None:
        """Keep the times until the last one is too long ago."""
        told = {"seen": {model: _number(at) for model, at in seen.items()}}
        await _put(self.aws, self.table, PREFIX + key, told, max(seen.values()) + LIVES[FIVE_MINUTES])


async def _get(aws: Aws, table: str, key: str) -> dict[str, Any]:
    reply = await aws.call("dynamodb", "get_item", TableName=table, Key={Table.LABELS_KEY: {"S": key}})
    return read(reply.get("Item", {}))


async def _put(aws: Aws, table: str, key: str, told: Mapping[str, Any], until: dt.datetime) -> None:
    expires = int(until.timestamp()) + 1  # never before it is really over: who reads compares with the exact time
    item = {Table.LABELS_KEY: key, Table.TTL: expires, **told}
    await aws.call("dynamodb", "put_item", TableName=table, Item={name: write(value) for name, value in item.items()})


def _lasting(told: Mapping[str, Any], now: dt.datetime) -> Mapping[str, Warm]:
    """What the models still have; raises `KeyError` for a time to live that is not known."""
    found = {model: Warm(int(row["warm"]), _time(row["at"]), row["ttl"]) for model, row in told.items()}
    return {model: warm for model, warm in found.items() if warm.lasts(now)}


def _number(at: dt.datetime) -> int:
    return round(at.timestamp() * MILLISECONDS)


def _time(number: Any) -> dt.datetime:
    return dt.datetime.fromtimestamp(int(number) / MILLISECONDS, dt.UTC)
