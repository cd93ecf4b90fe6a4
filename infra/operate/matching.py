"""The ledger's entries against the stand-in's meter, call by call: only locally, a provider's report has sums alone.

An entry and a metered call are the same call when they bear the same upstream request id. An ambiguous entry may have
none, because no answer came back: it is taken to be the nearest call of its model that no entry names, if there is one
within half a minute.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cost_router.core.ledger import AMBIGUOUS
from cost_router.core.ports import Row
from cost_router.core.statement import BUCKETS

NEAR: Final = dt.timedelta(seconds=30)
Call = Mapping[str, Any]  # a row of `GET /_meter`


@dataclass(frozen=True, slots=True)
class Matching:
    """Which calls are in one and not in the other."""

    same: int  # calls that both have, with equal tokens
    different: tuple[tuple[Row, Call], ...]  # both have them, with other tokens, another model or processing
    only_in_ledger: tuple[Row, ...]
    only_in_meter: tuple[Call, ...]
    ambiguous: tuple[tuple[Row, Call | None], ...]  # entries at their upper bound, and the call that was billed, if any

    @property
    def agrees(self) -> bool:
        """Whether every call is in both, as far as usage is known."""
        return not (self.different or self.only_in_ledger or self.only_in_meter)

    def json(self) -> dict[str, Any]:
        """Counts, and the ids of what does not match."""
        return {
            "same": self.same,
            "different": [_entry(row) for row, _ in self.different],
            "only_in_ledger": [_entry(row) for row in self.only_in_ledger],
            "only_in_meter": [_call(call) for call in self.only_in_meter],
            "ambiguous": [{**_entry(row), "billed": call is not None} for row, call in self.ambiguous],
        }


def match(day: dt.date, entries: Iterable[Row], calls: Iterable[Call]) -> Matching:
    """Pair the entries of a UTC day with the calls metered on it."""
    left: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        if call["at"].startswith(day.isoformat()):
            left[call["request_id"]].append(call)
    ordered = sorted(entries, key=lambda entry: str(entry["at"]))
    named: list[tuple[Row, Call | None]] = [
        (entry, _take(left, entry)) for entry in ordered if AMBIGUOUS not in entry["flags"]
    ]
    ambiguous = [(entry, _take(left, entry)) for entry in ordered if AMBIGUOUS in entry["flags"]]
    unsure = [(entry, call or _nearest(left, entry)) for entry, call in ambiguous]
    pairs = [(entry, call) for entry, call in named if call is not None]
    return Matching(
        same=sum(_equal(entry, call) for entry, call in pairs),
        different=tuple((entry, call) for entry, call in pairs if not _equal(entry, call)),
        only_in_ledger=tuple(entry for entry, call in named if call is None),
        only_in_meter=tuple(call for same_id in left.values() for call in same_id),
        ambiguous=tuple(unsure),
    )


def names_of(matching: Matching) -> Sequence[str]:
    """One sentence for each call that is not the same in both."""
    ledger = [f"only in the ledger: {_told(_entry(row))}" for row in matching.only_in_ledger]
    meter = [f"only in the meter: {_told(_call(call))}" for call in matching.only_in_meter]
    other = [
        f"not the same in both: {_told(_entry(row))}, {_booked(row)}; metered as {call['model']} {call['processing']}, "
        f"{_metered(call)}"
        for row, call in matching.different
    ]
    return [*ledger, *meter, *other]


def _take(left: Mapping[str, list[Call]], entry: Row) -> Call | None:
    """The call that an entry names, taken out of those that are left; of several, one that is equal."""
    found = left.get(str(entry.get("upstream_request_id")), [])
    return _remove(found, min(found, key=lambda call: not _equal(entry, call))) if found else None


def _nearest(left: Mapping[str, list[Call]], entry: Row) -> Call | None:
    near = [
        call
        for same_id in left.values()
        for call in same_id
        if entry.get("upstream_request_id") is None
        and (call["model"], call["purpose"]) == (entry["model"], entry["purpose"])
        and _apart(entry, call) <= NEAR
    ]
    if not near:
        return None
    call = min(near, key=lambda call: _apart(entry, call))
    return _remove(left[call["request_id"]], call)


def _remove(calls: list[Call], call: Call) -> Call:
    calls.remove(call)
    return call


def _apart(entry: Row, call: Call) -> dt.timedelta:
    return abs(dt.datetime.fromisoformat(entry["at"]) - dt.datetime.fromisoformat(call["at"]))


def _equal(entry: Row, call: Call) -> bool:
    same = (entry["model"], entry["processing"]) == (call["model"], call["processing"])
    return same and _booked(entry) == _metered(call)


def _booked(entry: Row) -> tuple[int, ...]:
    return tuple(int(entry[name]) for name in BUCKETS.values())


def _metered(call: Call) -> tuple[int, ...]:
    """Tokens in the order of `BUCKETS`: read here, not by the code that read them for the ledger."""
    usage = call["usage"]
    written = usage["cache_creation"]
    return (
        usage["input_tokens"],
        usage["cache_read_input_tokens"],
        written["ephemeral_5m_input_tokens"],
        written["ephemeral_1h_input_tokens"],
        usage["output_tokens"],
    )


def _entry(entry: Row) -> dict[str, Any]:
    names = ("entry_id", "at", "model", "purpose", "upstream_request_id")
    return {name: entry.get(name) for name in names} | {"cost_usd": str(entry["cost_usd"])}


def _call(call: Call) -> dict[str, Any]:
    return {name: call[name] for name in ("request_id", "at", "model", "purpose", "usage")}


def _told(row: Mapping[str, Any]) -> str:
    return f"{row.get('entry_id') or row['request_id']} ({row['purpose']} by {row['model']} at {row['at']})"
