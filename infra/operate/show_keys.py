"""Keys and tenants at the terminal."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table


def key_table(columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> Table:
    """Rows of keys, as `infra.operate.keys` gives them, under these columns."""
    table = Table()
    for name in columns:
        table.add_column(name, overflow="fold")  # a cell is folded, never cut
    for row in rows:
        shown = {**row, "created_at": _minute(row["created_at"])}
        if row["disabled_after"] and not row["disabled"]:
            shown["disabled"] = f"after {_minute(row['disabled_after'])}"
        table.add_row(*(cell(shown[name]) for name in columns))
    return table


def budgets(row: Mapping[str, Any]) -> str | None:
    """A tenant's budgets, short enough for a table."""
    spans = {"daily_budget_usd": "a day", "monthly_budget_usd": "a month"}
    return ", ".join(f"${row[name]} {span}" for name, span in spans.items() if row[name]) or None


def _minute(instant: str) -> str:
    """An ISO 8601 time, short enough for a table."""
    return instant[:16].replace("T", " ")


def cell(value: object) -> str:
    """A member of a policy in a few words; a dash where there is nothing to say."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={text}" for name, text in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(value) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)
