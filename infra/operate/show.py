"""Tables at the terminal."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from rich.console import Console
from rich.table import Table

from infra.operate.report import Figures, Row, rows, totals


def usd(amount: Decimal) -> str:
    """Dollars to the micro-dollar; amounts below that show every digit."""
    sign, size = "-" if amount < 0 else "", abs(amount)
    return f"{sign}${size:.6f}" if size == 0 or size >= Decimal("0.000001") else f"{sign}${size:f}"


def percent(part: Decimal, whole: Decimal) -> str:
    """A share, or a dash when there is no whole."""
    return f"{part / whole * 100:.1f} %" if whole else "-"


def cost_report(console: Console, entries: Sequence[Row], by: str, latency: Mapping[str, str] | None = None) -> None:
    """Print the cost report: a row for each key with its share, and the sum; `latency` is told by key when known."""
    table = Table(title=f"Cost report by {by}", title_justify="left")
    table.add_column(by)
    names = ("requests", "share", "actual", "of it classifier", "baseline (all opus)", "saved", "saved %")
    for name in (*names, *(("latency",) if latency else ())):
        table.add_column(name, justify="right")
    total = totals(entries)
    for key, figures in rows(entries, by).items():
        table.add_row(*_cells(key, figures, total), *((latency.get(key, "-"),) if latency else ()))
    table.add_section()
    table.add_row(*_cells("total", total, total), style="bold")
    console.print(table)


def _cells(key: str, figures: Figures, total: Figures) -> tuple[str, ...]:
    return (
        key,
        str(figures.requests),
        percent(Decimal(figures.requests), Decimal(total.requests)),
        usd(figures.cost_usd),
        usd(figures.classifier_cost_usd),
        usd(figures.baseline_usd),
        usd(figures.saved_usd),
        percent(figures.saved_usd, figures.baseline_usd),
    )
