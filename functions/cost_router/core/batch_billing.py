"""What a batch line may cost and has cost: batch prices throughout, all token buckets at half the realtime price.

The baseline is opus at the realtime price: without the router the line would have been a plain call.
"""

import dataclasses
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from cost_router.core import ledger, pricing
from cost_router.core.batch_lane import Aside, Line
from cost_router.core.budget import Reservation, Scope
from cost_router.core.catalogue import Catalogue, Model
from cost_router.core.errors import NoPrice, UnknownModel
from cost_router.core.ledger import Entry, Shadow
from cost_router.core.pricing import BATCH, Usage
from cost_router.core.terms import GLOBAL


@dataclass(frozen=True, slots=True)
class LineBilling:
    """Prices lines; raises `NoPrice` and `UnknownModel` when the catalogue of this version lacks their model."""

    catalogue: Catalogue
    baseline: Model

    def with_money(self, line: Line, scopes: Sequence[Scope], at: dt.datetime) -> Line:
        """The line with its upper bound at batch price, to be put aside at that moment."""
        bound = pricing.upper_bound(
            self._model(line),
            prompt_tokens=line.most_prompt_tokens,
            max_tokens=line.max_tokens,
            on=at.date(),
            processing=BATCH,
            terms=line.terms,
        )
        return dataclasses.replace(line, aside=Aside(bound, at, tuple(scopes)))

    def reservation(self, line: Line) -> Reservation:
        """The money of a line that is in a batch."""
        aside = money_of(line)
        lost = self._entry(line, aside.amount_usd, flags=(ledger.AMBIGUOUS,))
        return Reservation(line.entry_id, aside.amount_usd, aside.scopes, aside.until, lost)

    def entry(self, line: Line, usage: Usage, message_id: str | None) -> Entry:
        """The entry of an answered line. One at a place without a known price was paid for all the same."""
        on = money_of(line).at.date()
        if usage.inference_geo == GLOBAL and line.terms.inference_geo:  # not told: it is the one that was asked for
            usage = dataclasses.replace(usage, inference_geo=line.terms.inference_geo)
        try:
            cost = pricing.cost(self._model(line), usage, on=on, processing=BATCH)
        except NoPrice:
            return self.ambiguous(line, message_id)
        judge = line.purpose == ledger.JUDGE  # without the router nobody would have asked for it
        baseline = Decimal(0) if judge else pricing.cost_elsewhere(self.baseline, usage, on=on)
        shadow = self._shadow(line, usage, on)
        return self._entry(
            line, cost, usage=usage, baseline_usd=baseline, upstream_request_id=message_id, shadow=shadow
        )

    def ambiguous(self, line: Line, message_id: str | None) -> Entry:
        """The entry of a line that may have been paid for, nobody tells how much: all that was put aside."""
        amount = money_of(line).amount_usd
        return self._entry(line, amount, upstream_request_id=message_id, flags=(ledger.AMBIGUOUS,))

    def tier_of(self, line: Line) -> str:
        """The word for the tier that serves the line."""
        return self._model(line).tier.word

    def _shadow(self, line: Line, usage: Usage, on: dt.date) -> Shadow | None:
        """What a candidate would have done, with what the answer would have cost there, where that has a price."""
        if line.shadow is None:
            return None
        try:
            model = self.catalogue.model(line.shadow.model)
            cost = pricing.cost_elsewhere(model, usage, on=on, processing=BATCH)
        except (NoPrice, UnknownModel):
            return line.shadow
        return dataclasses.replace(line.shadow, cost_usd=cost)

    def _model(self, line: Line) -> Model:
        return self.catalogue.model(line.model)

    def _entry(self, line: Line, cost_usd: Decimal, **known: Any) -> Entry:
        model = self._model(line)
        entry = Entry(
            entry_id=line.entry_id,
            at=money_of(line).at,
            request_id=line.request_id,
            upstream_request_id=None,
            tenant=line.tenant,
            tags=line.tags,
            label=line.label,
            cause=line.cause,
            tier=model.tier,
            model=model.id,
            purpose=line.purpose,
            usage=Usage(),
            cost_usd=cost_usd,
            baseline_usd=Decimal(0),
            processing=BATCH,
            asked=line.asked,
            reservation=line.entry_id,
            job=line.job,
            arm=line.arm,
            shadow=line.shadow,
        )
        return dataclasses.replace(entry, **known)


def money_of(line: Line) -> Aside:
    """What was put aside for a line of a batch; raises `ValueError` for one that is in none."""
    if line.aside is None:
        raise ValueError(f"line {line.entry_id} of job {line.job} is in no batch: nothing was put aside for it")
    return line.aside
