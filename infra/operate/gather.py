"""Makes a report of a deployment: reads its ledger, its lineup and its budget, and prices what was asked."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from infra.catalogue.discounts import BadDiscounts, read_discounts
from infra.operate import deployment
from infra.operate.feedback import read_feedback
from infra.operate.report import BadReport, Report, days_asked, read_days, rows
from infra.operate.target import Target
from infra.operate.what_if import BASELINES, Discounts, against, baseline_notes, named_lineup, price_notes, with_lineup


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of `cost-router report`, in the words of the command."""

    day: str | None = None
    days: int | None = None
    by: str = "model"
    baseline: str = "opus"
    what_if: str | None = None
    discounts: Path | None = None


def gather(target: Target, asked: Asked, now: dt.datetime) -> Report:
    """The report asked for, at the UTC time `now`; raises `BadReport` before anything is read, when it is wrong."""
    days = days_asked(asked.day, asked.days, now.date())
    rows((), asked.by)  # a wrong word is told before anything is read
    if asked.baseline not in BASELINES:
        raise BadReport(f"baseline {asked.baseline!r}; accepted: {', '.join(BASELINES)}")
    discounts = _discounts(asked.discounts)
    other = named_lineup(asked.what_if, discounts) if asked.what_if else None
    lineup, notes = deployment.deployed_lineup(target, discounts)
    read = {day: against(found, asked.baseline, lineup) for day, found in read_days(target, days).items()}
    entries = [entry for found in read.values() for entry in found]
    notes += baseline_notes(entries, asked.baseline, lineup)
    if other or asked.baseline != BASELINES[0]:
        notes += price_notes(entries, discounts)
    what_if = None
    if other:
        what_if, about = with_lineup(entries, other, asked.baseline)
        notes += about
    return Report(
        days=read,
        by=asked.by,
        now=now,
        deployment=target.name,
        simulated=deployment.simulated(target),
        baseline=asked.baseline,
        budget_usd=deployment.daily_budget(target),
        what_if=what_if,
        feedback=read_feedback(target, days),
        notes=tuple(notes),
    )


def _discounts(file: Path | None) -> Discounts | None:
    try:
        return read_discounts(file) if file else None
    except BadDiscounts as error:
        raise BadReport(str(error)) from error
