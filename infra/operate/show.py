"""Tables at the terminal."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cost_router.core.ports import Row
from cost_router.core.spend import Figures
from infra.operate.feedback import rated, rated_by
from infra.operate.report import Report, rows, totals


def usd(amount: Decimal) -> str:
    """Dollars to the micro-dollar; amounts below that show every digit."""
    sign, size = "-" if amount < 0 else "", abs(amount)
    return f"{sign}${size:.6f}" if size == 0 or size >= Decimal("0.000001") else f"{sign}${size:f}"


def percent(part: Decimal, whole: Decimal) -> str:
    """A share, or a dash when there is no whole."""
    return f"{part / whole * 100:.1f} %" if whole else "-"


def cost_report(
    console: Console,
    entries: Sequence[Row],
    by: str,
    latency: Mapping[str, str] | None = None,
    compared: str = "all opus",
) -> None:
    """Print the cost report: a row for each key with its share, and the sum; `latency` is told by key when known."""
    table = _table(f"Cost report by {by}", by, compared, ("latency",) if latency else ())
    total = totals(entries)
    for key, figures in rows(entries, by).items():
        table.add_row(Text(key), *_cells(figures, total), *((latency.get(key, "-"),) if latency else ()))
    table.add_section()
    table.add_row("total", *_cells(total, total), style="bold")
    console.print(table)


def print_report(console: Console, made: Report) -> None:
    """Print a report: the days when there are several, the rows, what-if, and what is to be known beside."""
    if len(made.days) > 1:
        table = _table("Cost report by day", "day (UTC)", made.compared)
        for day, entries in made.days.items():
            table.add_row(day.isoformat(), *_cells(totals(entries), made.total))
        console.print(table)
    cost_report(console, made.entries, made.by, compared=made.compared)
    if made.what_if:
        title = f"What if the lineup were {made.what_if.lineup}: by {made.by}"
        table, total = _table(title, made.by, made.compared), totals(made.what_if.entries)
        for key, figures in rows(made.what_if.entries, made.by).items():
            table.add_row(Text(key), *_cells(figures, total))
        table.add_section()
        table.add_row("total", *_cells(total, total), style="bold")
        console.print(table)
    if made.feedback:
        console.print(_feedback(made))
    for line in (*remarks(made), *made.notes):
        console.print(line, markup=False, soft_wrap=True)


def remarks(made: Report) -> list[str]:
    """What a report says in sentences: today, forecast, budget, ambiguous payments, feedback, what-if, simulation."""
    said = []
    if made.today_usd is not None:
        said.append(f"Today so far: {usd(made.today_usd)}.")
        if made.forecast_usd is not None:
            said.append(f"Straight-line forecast for the whole of today: {usd(made.forecast_usd)}.")
    if made.budget_usd is not None and made.left_usd is not None:
        said.append(f"Left of today's budget of {usd(made.budget_usd)}: {usd(made.left_usd)}.")
    if made.total.cache_saved_usd:
        said.append(f"Saved by the router's cache markers, beside what is above: {usd(made.total.cache_saved_usd)}.")
    if made.ambiguous:
        amount = usd(totals(made.ambiguous).cost_usd)
        said.append(f"Ambiguous payments (no usage came back, upper bound booked): {len(made.ambiguous)}, {amount}.")
    given = rated(made.feedback)
    if given.mean is not None:
        plural = "" if given.requests == 1 else "s"
        said.append(f"Feedback on {given.requests} request{plural}: mean score {given.mean}.")
    if made.what_if:
        cost = totals(made.what_if.entries).cost_usd
        gap = cost - made.total.cost_usd
        said.append(
            f"With lineup {made.what_if.lineup} the same tokens would have cost {usd(cost)}: "
            f"{usd(abs(gap))} {'less' if gap < 0 else 'more'} than was paid."
        )
    if made.simulated:
        said.append("Claude's answers came from the stand-in: simulated; prices are real.")
    return said


def _feedback(made: Report) -> Table:
    table = Table(title=Text(f"Feedback by {made.by}"), title_justify="left")
    table.add_column(Text(made.by))
    for name in ("requests", "mean score"):
        table.add_column(name, justify="right")
    for key, found in rated_by(made.feedback, made.by).items():
        table.add_row(Text(key), str(found.requests), str(found.mean))
    return table


def _table(title: str, key: str, compared: str, more: Sequence[str] = ()) -> Table:
    table = Table(title=Text(title), title_justify="left")
    table.add_column(Text(key))
    names = ("requests", "share", "actual", "of it classifier", f"baseline ({compared})", "saved", "saved %")
    for name in (*names, *more):
        table.add_column(name, justify="right")
    return table


def _cells(figures: Figures, total: Figures) -> tuple[str, ...]:
    return (
        str(figures.requests),
        percent(Decimal(figures.requests), Decimal(total.requests)),
        usd(figures.cost_usd),
        usd(figures.classifier_cost_usd),
        usd(figures.baseline_usd),
        usd(figures.saved_usd),
        percent(figures.saved_usd, figures.baseline_usd),
    )
