"""Our ledger against the provider's bill, model by model and bucket by bucket.

What counts as drift, and what ambiguous entries explain, is said in `drift.py`.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TypeVar

from cost_router.core import pricing
from cost_router.core.catalogue import Catalogue, Model
from cost_router.core.drift import ZERO, Drift, Line, Part
from cost_router.core.errors import NoPrice, UnknownModel
from cost_router.core.ledger import AMBIGUOUS, usage_in
from cost_router.core.ports import LedgerReader, ProviderBill, Row
from cost_router.core.pricing import MILLION, Usage
from cost_router.core.statement import BUCKETS, OTHER, Billed, Statement

Number = TypeVar("Number", int, Decimal)


async def reconcile_day(
    day: dt.date, ledger_reader: LedgerReader, provider_bill: ProviderBill, catalogue: Catalogue
) -> Drift:
    """Our UTC day against the provider's; raises `StoreError`, and `NotConfigured` when its key is refused."""
    statement = await provider_bill.statement(day)
    entries = [entry async for entry in ledger_reader.entries(day.isoformat())]
    return compare(day, entries, statement, catalogue)


def compare(day: dt.date, entries: Iterable[Row], statement: Statement, catalogue: Catalogue) -> Drift:
    """The drift of the UTC day: a line for everything that either side has, the largest amounts first."""
    booked: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for entry in entries:
        booked[_id(entry["model"], catalogue), entry["processing"]].append(entry)
    billed: dict[tuple[str, str], list[Billed]] = defaultdict(list)
    for row in statement.rows:
        billed[_id(row.model, catalogue), row.processing].append(row)
    lines = [
        _line(key, booked.get(key, ()), billed.get(key, ()), _model(key[0], catalogue), day)
        for key in sorted(booked.keys() | billed.keys())
    ]
    lines.sort(key=lambda line: max(line.booked_usd + line.ambiguous_usd, line.billed_usd or ZERO), reverse=True)
    return Drift(day, tuple(lines), statement.refreshed_at)


def _model(name: str, catalogue: Catalogue) -> Model | None:
    try:
        return catalogue.model(name)
    except UnknownModel:
        return None


def _id(name: str, catalogue: Catalogue) -> str:
    """The catalogue's id of a model that may be named by a dated alias; other names stay as they are."""
    model = _model(name, catalogue)
    return name if model is None else model.id


def _line(
    key: tuple[str, str], entries: Sequence[Row], rows: Sequence[Billed], model: Model | None, day: dt.date
) -> Line:
    sure = [entry for entry in entries if AMBIGUOUS not in entry["flags"]]
    unsure = [entry for entry in entries if AMBIGUOUS in entry["flags"]]
    booked = _cost(sure)
    usages = [usage_in(entry) for entry in sure]
    split = _sums(_split(usage, model, key[1], day) for usage in usages)
    if split is not None:
        split[OTHER] = booked - sum(split.values(), ZERO)
    billed = _sums(row.usd for row in rows)
    our_tokens = _sums(_tokens(usage) for usage in usages)
    their_tokens = _sums(None if row.usage is None else _tokens(row.usage) for row in rows)
    return Line(
        model=key[0],
        processing=key[1],
        in_catalogue=model is not None,
        calls=len(sure),
        booked_usd=booked,
        ambiguous_calls=len(unsure),
        ambiguous_usd=_cost(unsure),
        in_bill=bool(rows),
        billed_usd=None if billed is None else sum(billed.values(), ZERO),
        list_usd=_total([row.list_usd for row in rows]),
        parts=_parts(our_tokens, their_tokens, split, billed),
    )


def _cost(entries: Iterable[Row]) -> Decimal:
    return sum((entry["cost_usd"] for entry in entries), ZERO)


def _total(amounts: Sequence[Decimal | None]) -> Decimal | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known, ZERO) if len(known) == len(amounts) else None


def _tokens(usage: Usage) -> dict[str, int]:
    return {bucket: getattr(usage, name) for bucket, name in BUCKETS.items()}


def _split(usage: Usage, model: Model | None, processing: str, day: dt.date) -> dict[str, Decimal] | None:
    """What each bucket cost by the day's prices; None when the catalogue has none."""
    if model is None:
        return None
    try:
        row = pricing.price_row(model, usage.prompt_tokens, on=day, processing=processing, speed=usage.speed)
    except NoPrice:
        return None
    return {bucket: tokens * getattr(row, bucket) / MILLION for bucket, tokens in _tokens(usage).items()}


def _sums(parts: Iterable[Mapping[str, Number] | None]) -> dict[str, Number] | None:
    """Sums by bucket; what one part does not tell, the whole does not tell."""
    found: dict[str, Number] = {}
    for part in parts:
        if part is None:
            return None
        for bucket, amount in part.items():
            found[bucket] = found[bucket] + amount if bucket in found else amount
    return found


def _parts(
    our_tokens: Mapping[str, int] | None,
    their_tokens: Mapping[str, int] | None,
    our_usd: Mapping[str, Decimal] | None,
    their_usd: Mapping[str, Decimal] | None,
) -> tuple[Part, ...]:
    """A part for each bucket; `OTHER` has no tokens."""
    return tuple(
        Part(
            bucket,
            None if our_tokens is None or bucket == OTHER else our_tokens.get(bucket, 0),
            None if their_tokens is None or bucket == OTHER else their_tokens.get(bucket, 0),
            None if our_usd is None else our_usd.get(bucket, ZERO),
            None if their_usd is None else their_usd.get(bucket, ZERO),
        )
        for bucket in (*BUCKETS, OTHER)
    )
