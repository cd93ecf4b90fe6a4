"""A reconciliation at the terminal: the difference line by line, and what is to be known beside."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cost_router.core.drift import Line, Part
from cost_router.core.statement import OTHER
from infra.operate.matching import names_of
from infra.operate.reconcile import Reconciliation
from infra.operate.show import usd

UNKNOWN: Final = "unknown"


def print_reconciliation(console: Console, made: Reconciliation) -> None:
    """Print the table and the sentences."""
    title = f"Ledger against the provider's bill, {made.drift.day.isoformat()} (UTC): ours, theirs, ours less theirs"
    table = Table(title=Text(title), title_justify="left")
    for name in ("model", "bucket"):
        table.add_column(name, overflow="fold")
    for name in ("our tokens", "their tokens", "difference", "ours", "theirs", "difference", "unexplained"):
        table.add_column(name, justify="right")
    for line in made.drift.lines:
        _add(table, line)
    console.print(table)
    for sentence in remarks(made):
        console.print(sentence, markup=False, soft_wrap=True)


def _add(table: Table, line: Line) -> None:
    """A line's buckets that have something in them, its ambiguous entries, and its sum."""
    name = Text(line.model if line.processing == "realtime" else f"{line.model} {line.processing}")
    for part in line.parts:
        if any((part.our_tokens, part.their_tokens, part.our_usd, part.their_usd)):
            table.add_row(name, part.bucket, *_cells(part), "")
            name = Text()
    if line.ambiguous_calls:
        table.add_row(name, f"ambiguous ({line.ambiguous_calls})", *[""] * 3, usd(line.ambiguous_usd), *[""] * 3)
        name = Text()
    ours = line.booked_usd + line.ambiguous_usd
    sums = (usd(ours), _usd(line.billed_usd), _usd(line.difference_usd), _usd(line.unexplained_usd))
    table.add_row(name, "sum", "", "", "", *sums, style="bold" if line.agrees else "bold red", end_section=True)


def _cells(part: Part) -> tuple[str, ...]:
    tokens = None if part.our_tokens is None or part.their_tokens is None else part.our_tokens - part.their_tokens
    money = None if part.our_usd is None or part.their_usd is None else part.our_usd - part.their_usd
    counts = [UNKNOWN if count is None else str(count) for count in (part.our_tokens, part.their_tokens, tokens)]
    if part.bucket == OTHER:
        counts = ["-"] * 3
    return (*counts, _usd(part.our_usd), _usd(part.their_usd), _usd(money))


def _usd(amount: Decimal | None) -> str:
    return UNKNOWN if amount is None else usd(amount)


def remarks(made: Reconciliation) -> Iterator[str]:
    """The verdict, and why a difference may be what it is."""
    drift = made.drift
    yield f"Unexplained drift: {usd(drift.drift_usd)}. Explained by ambiguous entries: {usd(drift.explained_usd)}."
    for line in drift.lines:
        yield from _about(line)
    if drift.complete is False and drift.refreshed_at:
        yield (
            f"The provider's figures reach to {drift.refreshed_at:%Y-%m-%d %H:%M:%S} UTC, not to the end of the day: "
            "what it lacks may be on its way."
        )
    if made.calls:
        yield (
            f"Call by call: {made.calls.same} are the same in ledger and meter, {len(made.calls.ambiguous)} ambiguous, "
            f"{sum(call is not None for _, call in made.calls.ambiguous)} of them billed."
        )
        yield from names_of(made.calls)
    if made.simulated:
        yield "The provider is the stand-in: calls are simulated, its prices are those of genai-prices."
    yield "The books agree." if made.agrees else "The books do not agree."


def _about(line: Line) -> Iterator[str]:
    if line.billed_usd is None:
        yield f"{line.model} {line.processing}: the provider reports tokens but no dollars, so its drift is unknown."
    if line.in_bill and not line.calls + line.ambiguous_calls:
        yield (
            f"{line.model} {line.processing}: nothing is booked for it. Other traffic of the organisation is left out "
            "with --workspace or --api-key-id."
        )
    if not line.in_catalogue:
        yield f"{line.model}: not in the catalogue, so its buckets cannot be priced here."
    if None not in {line.billed_usd, line.list_usd} and line.billed_usd != line.list_usd:
        yield f"{line.model} {line.processing}: billed {_usd(line.billed_usd)}, at list prices {_usd(line.list_usd)}."
