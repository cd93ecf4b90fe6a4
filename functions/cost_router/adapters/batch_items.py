"""How lines and batches look in the `jobs` table: what is asked about is an attribute, the rest of a line one text."""

import dataclasses
import datetime as dt
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from cost_router.adapters.jobs_table import LEASE, LINE, OPEN, STATE, text
from cost_router.contract import Table
from cost_router.core.batch_lane import Aside, Batch, Line, State
from cost_router.core.budget import Period, Scope
from cost_router.core.ledger import Shadow
from cost_router.core.terms import Terms
from cost_router.core.words import Label, Tier

Item = Mapping[str, Any]  # as DynamoDB's own API has it


def written(line: Line) -> str:
    """A line as JSON."""
    aside = line.aside
    return json.dumps(
        {
            "request_id": line.request_id,
            "group": line.group,
            "custom_id": line.custom_id,
            "tenant": line.tenant,
            "tags": dict(line.tags),
            "session": line.session,
            "label": line.label.value if line.label else None,
            "cause": line.cause,
            "model": line.model,
            "asked": line.asked,
            "most_prompt_tokens": line.most_prompt_tokens,
            "max_tokens": line.max_tokens,
            "effort": line.effort,
            "body_bytes": line.body_bytes,
            "classifier_cost_usd": str(line.classifier_cost_usd),
            "parked_at": line.parked_at.isoformat(),
            "spent_usd": str(line.spent_usd),
            "answer_by": _iso(line.answer_by),
            "terms": dataclasses.asdict(line.terms),
            "tries": line.tries,
            "purpose": line.purpose,
            "arm": line.arm,
            "shadow": _shadow_written(line.shadow) if line.shadow else None,
            "aside": _aside_written(aside) if aside else None,
        }
    )


def line_in(item: Item) -> Line:
    """The line of an item."""
    row = json.loads(item[LINE]["S"])
    return Line(
        **{
            **row,
            "label": Label(row["label"]) if row["label"] else None,
            "classifier_cost_usd": Decimal(row["classifier_cost_usd"]),
            "parked_at": dt.datetime.fromisoformat(row["parked_at"]),
            "spent_usd": Decimal(row["spent_usd"]),
            "answer_by": _time(row["answer_by"]),
            "terms": Terms(**row["terms"]),
            "shadow": _shadow_in(row["shadow"]) if row.get("shadow") else None,
            "aside": _aside_in(row["aside"]) if row["aside"] else None,
        }
    )


def batch_key(batch: Batch) -> str:
    """What a batch's item is called; no job has such a name, for it lacks a slash."""
    return f"batch#{batch.marker}"


def batch_item(batch: Batch) -> Item:
    """The item of a batch that is not closed."""
    optional = {
        "submitted_at": _iso(batch.submitted_at),
        "upstream_id": batch.upstream_id,
        "cancel_at": _iso(batch.cancel_at),
        "canceled_at": _iso(batch.canceled_at),
        "groups": ",".join(batch.groups),  # no name has a comma
    }
    return {
        Table.JOBS_KEY: {"S": batch_key(batch)},
        Table.JOBS_BATCH: {"S": OPEN},
        Table.JOBS_SINCE: {"S": f"{batch.began_at.isoformat()}#{batch.marker}"},
        STATE: {"S": batch.state.value},
        LEASE: {"S": batch.lease.isoformat()},
        "marker": {"S": batch.marker},
        "began_at": {"S": batch.began_at.isoformat()},
        "lines": {"N": str(batch.lines)},
        **{name: {"S": value} for name, value in optional.items() if value},
    }


def batch_in(item: Item) -> Batch:
    """The batch of an item."""
    return Batch(
        marker=item["marker"]["S"],
        state=State(item[STATE]["S"]),
        began_at=dt.datetime.fromisoformat(item["began_at"]["S"]),
        lease=dt.datetime.fromisoformat(item[LEASE]["S"]),
        lines=int(item["lines"]["N"]),
        submitted_at=_time(text(item, "submitted_at")),
        upstream_id=text(item, "upstream_id") or None,
        cancel_at=_time(text(item, "cancel_at")),
        canceled_at=_time(text(item, "canceled_at")),
        groups=tuple(filter(None, text(item, "groups").split(","))),
    )


def _shadow_written(shadow: Shadow) -> dict[str, Any]:
    """Its cost comes with the answer's."""
    return {"label": shadow.label, "tier": shadow.tier.word, "model": shadow.model}


def _shadow_in(row: Mapping[str, Any]) -> Shadow:
    return Shadow(Label(row["label"]) if row["label"] else None, Tier.parse(row["tier"]), row["model"])


def _aside_written(aside: Aside) -> dict[str, Any]:
    scopes = [[scope.key, str(scope.limit_usd), scope.period.value] for scope in aside.scopes]
    return {"amount_usd": str(aside.amount_usd), "at": aside.at.isoformat(), "scopes": scopes}


def _aside_in(row: Mapping[str, Any]) -> Aside:
    scopes = tuple(Scope(key, Decimal(limit), Period(period)) for key, limit, period in row["scopes"])
    return Aside(Decimal(row["amount_usd"]), dt.datetime.fromisoformat(row["at"]), scopes)


def _iso(at: dt.datetime | None) -> str | None:
    return at.isoformat() if at else None


def _time(text: str | None) -> dt.datetime | None:
    return dt.datetime.fromisoformat(text) if text else None
