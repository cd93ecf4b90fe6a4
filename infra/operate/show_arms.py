"""The comparison of arms at the terminal and on the report's page."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from html import escape
from typing import Final

from rich.console import Console
from rich.table import Table

from cost_router.core.words import TIER_WORDS
from infra.operate.arms import LABELS, Arm, Comparison, Shadowed
from infra.operate.show import percent, usd

HEADINGS: Final = (
    *("arm", "requests", "cost", "per request", "of it classifier", "saved"),
    *(*LABELS[:-1], "no label", *TIER_WORDS, "mean score"),
)


def print_arms(console: Console, made: Comparison | None) -> None:
    """Print the arms side by side, and what a candidate in shadow would have done; nothing without a candidate."""
    if made is None:
        return
    console.print(_table("Arms compared", HEADINGS, arm_rows(made)))
    if made.shadow and made.shadow.requests:
        console.print(_table("Labels: control down, candidate in shadow across", *matrix(made.shadow.labels)))
    for line in sentences(made):
        console.print(line, markup=False, soft_wrap=True)


def arms_html(made: Comparison | None) -> str:
    """The same as a section of the report's page."""
    if made is None:
        return ""
    tables = _html("Arms compared", HEADINGS, arm_rows(made))
    if made.shadow and made.shadow.requests:
        tables += _html("Labels: control down, candidate in shadow across", *matrix(made.shadow.labels))
    said = "".join(f"<li>{escape(line)}</li>" for line in sentences(made))
    return tables + (f'<section><ul class="remarks">{said}</ul></section>' if said else "")


def arm_rows(made: Comparison) -> list[tuple[str, ...]]:
    """A row for each arm, under `HEADINGS`."""
    return [_cells(name, arm) for name, arm in made.arms.items()]


def matrix(pairs: Mapping[tuple[str, str], int]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Headings and rows: how often a label of the control met which of the candidate's."""
    rows = [(label, *(str(pairs.get((label, other), 0)) for other in LABELS)) for label in LABELS]
    return ("", *LABELS), rows


def sentences(made: Comparison) -> Iterator[str]:
    """What the figures say in words, and what they do not say."""
    if made.shadow:
        yield from _of_shadow(made.shadow)


def _of_shadow(shadow: Shadowed) -> Iterator[str]:
    if shadow.requests:
        share = percent(Decimal(shadow.agreed), Decimal(shadow.requests))
        yield f"In shadow the candidate gave {shadow.agreed} of {shadow.requests} requests the same label ({share})."
    if shadow.priced:
        gap = shadow.would_usd - shadow.cost_usd
        yield (
            f"Its models would have answered for {usd(shadow.would_usd)} what cost {usd(shadow.cost_usd)}: "
            f"{usd(abs(gap))} {'less' if gap < 0 else 'more'}, priced with the tokens of the answers as they were; "
            "another tokenizer counts otherwise, another model writes otherwise."
        )
    yield f"Looking on has cost {usd(shadow.classifier_cost_usd)} for labels of its own."


def _cells(name: str, arm: Arm) -> tuple[str, ...]:
    figures, answers = arm.figures, Decimal(arm.labels.total())
    each, mean = arm.per_request_usd, arm.rated.mean
    return (
        name,
        str(figures.requests),
        usd(figures.cost_usd),
        "-" if each is None else usd(each),
        usd(figures.classifier_cost_usd),
        usd(figures.saved_usd),
        *(percent(Decimal(arm.labels[label]), answers) for label in LABELS),
        *(percent(Decimal(arm.tiers[tier]), answers) for tier in TIER_WORDS),
        "-" if mean is None else str(mean),
    )


def _table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left")
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left")
    for row in rows:
        table.add_row(*row)
    return table


def _html(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    return (
        f"<section><h2>{escape(title)}</h2><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></section>"
    )
