"""The cost report as one self-contained HTML page: inline style and SVG, no script, nothing fetched.

Every key is escaped: tags and tenants are what users wrote.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from html import escape
from pathlib import Path
from string import Template
from typing import Final

from cost_router.core.ports import Row
from cost_router.core.spend import Figures
from infra.operate.charts import Part, columns
from infra.operate.report import BadReport, Report, rows, totals
from infra.operate.show import percent, remarks, usd
from infra.operate.show_arms import arms_html

TEMPLATE: Final = Path(__file__).with_name("page.html")
COLOURS: Final = 6  # classes c0 to c5 of the template; what comes after shares the last
ALWAYS_BY: Final = ("model", "label", "tenant")
HEADINGS: Final = ("requests", "actual", "classifier", "baseline", "saved", "saved %")


def write_page(made: Report, file: Path) -> None:
    """Write the page to a file; raises `BadReport` when it cannot be written."""
    try:
        file.write_text(page(made), encoding="utf-8")
    except OSError as error:
        raise BadReport(f"html {str(file)!r} cannot be written: {error.strerror}") from error


def page(made: Report) -> str:
    """The page."""
    first, last = min(made.days), max(made.days)
    span = first.isoformat() if first == last else f"{first.isoformat()} to {last.isoformat()}"
    when = made.now.isoformat(sep=" ", timespec="minutes").removesuffix("+00:00")
    who = "the stand-in: simulated; prices are real" if made.simulated else "Claude"
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title="What Claude cost",
        under=f"{escape(made.deployment)}, {span} (UTC), compared with {escape(made.compared)}",
        cards=_cards(made),
        charts=_charts(made),
        sentences=_sentences(made),
        tables=_tables(made),
        footer=f"Made {when} UTC for deployment {escape(made.deployment)} by cost-router report. "
        f"Answers came from {who}. US dollars; savings are net of classifier calls and of failed or abandoned calls.",
    )


def short(amount: Decimal) -> str:
    """Dollars for a big figure: to the cent from a dollar on, to the micro-dollar below."""
    return f"{'-' if amount < 0 else ''}${abs(amount):,.2f}" if abs(amount) >= 1 else usd(amount)


def _cards(made: Report) -> str:
    total = made.total
    mood = "bad" if total.saved_usd < 0 else "good"
    cards = [
        _card("actual", total.cost_usd, f"paid for {total.requests:,} request{'' if total.requests == 1 else 's'}"),
        _card("baseline", total.baseline_usd, f"the same answers {made.compared}"),
        _card("saved", total.saved_usd, f"saved: {percent(total.saved_usd, total.baseline_usd)} of the baseline", mood),
        _card("classifier", total.classifier_cost_usd, "of what was paid, for labelling"),
    ]
    if made.forecast_usd is not None:
        cards.append(_card("forecast", made.forecast_usd, "today, as a straight-line forecast"))
    if made.left_usd is not None and made.budget_usd is not None:
        cards.append(_card("budget", made.left_usd, f"left of today's budget of {short(made.budget_usd)}"))
    if made.what_if:
        cards.append(_card("what-if", totals(made.what_if.entries).cost_usd, f"with lineup {made.what_if.lineup}"))
    if made.ambiguous:
        said = f"ambiguous payments: {len(made.ambiguous)}, booked at their upper bound"
        cards.append(_card("ambiguous", totals(made.ambiguous).cost_usd, said, "bad"))
    return "".join(cards)


def _card(name: str, amount: Decimal, said: str, mood: str = "") -> str:
    figure = f'<b class="{mood}" title="{usd(amount)}" data-figure="{name}">{short(amount)}</b>'
    return f'<div class="card">{figure}<span>{escape(said)}</span></div>'


def _charts(made: Report) -> str:
    unit, buckets = _buckets(made)
    models = list(rows(made.entries, "model"))
    styles = {model: f"c{min(place, COLOURS - 1)}" for place, model in enumerate(models)}
    spend = {
        key: [Part(model, figures.cost_usd, styles.get(model, "c5")) for model, figures in _by_model(found, models)]
        for key, found in buckets.items()
    }
    saved = {key: [_saving(totals(found).saved_usd)] for key, found in buckets.items()}
    legend = "".join(f'<li><i class="{style}"></i>{escape(model)}</li>' for model, style in styles.items())
    drawn = (
        (f"Spend per {unit}, by model", spend, f'<ul class="legend">{legend}</ul>'),
        (f"Saved per {unit}, against {made.compared}", saved, ""),
    )
    return "".join(
        f"<section><h2>{escape(heading)}</h2>{columns(heading, stacks)}{below}</section>"
        for heading, stacks, below in drawn
    )


def _buckets(made: Report) -> tuple[str, Mapping[str, Sequence[Row]]]:
    """The entries of each day, or of each hour when the report is about one day."""
    if len(made.days) > 1:
        return "day", {day.isoformat()[5:]: entries for day, entries in made.days.items()}
    hours: dict[str, list[Row]] = {f"{hour:02}": [] for hour in range(24)}
    for entry in made.entries:
        hours[entry["at"][11:13]].append(entry)
    return "hour (UTC)", hours


def _by_model(entries: Sequence[Row], order: Sequence[str]) -> list[tuple[str, Figures]]:
    """Figures by model, stacked in the same order in every column."""
    place = {model: number for number, model in enumerate(order)}
    return sorted(rows(entries, "model").items(), key=lambda pair: place.get(pair[0], len(order)))


def _saving(amount: Decimal) -> Part:
    return Part("saved" if amount >= 0 else "lost", amount, "good" if amount >= 0 else "bad")


def _sentences(made: Report) -> str:
    said = "".join(f"<li>{escape(line)}</li>" for line in remarks(made))
    noted = "".join(f"<li>{escape(line)}</li>" for line in made.notes)
    return (f'<section><ul class="remarks">{said}</ul></section>' if said else "") + (
        f'<section class="note"><h2>To be noted</h2><ul class="remarks">{noted}</ul></section>' if noted else ""
    )


def _tables(made: Report) -> str:
    found = [_table(by, rows(made.entries, by), made.total) for by in dict.fromkeys((*ALWAYS_BY, made.by))]
    if made.what_if:
        entries = made.what_if.entries
        found.append(_table(f"{made.by}, what if {made.what_if.lineup}", rows(entries, made.by), totals(entries)))
    found.append(arms_html(made.arms))
    if len(made.days) > 1:
        days = {day.isoformat(): totals(entries) for day, entries in sorted(made.days.items(), reverse=True)}
        found.append(_table("day", days, made.total))
    return "".join(found)


def _table(by: str, found: Mapping[str, Figures], total: Figures) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in ("", *HEADINGS))
    body = "".join(f'<tr><th scope="row">{escape(key)}</th>{_cells(figures)}</tr>' for key, figures in found.items())
    return (
        f"<section><h2>By {escape(by)}</h2><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
        f'<tfoot><tr><th scope="row">total</th>{_cells(total)}</tr></tfoot></table></section>'
    )


def _cells(figures: Figures) -> str:
    mood = "bad" if figures.saved_usd < 0 else "good"
    plain = (
        f"{figures.requests:,}",
        usd(figures.cost_usd),
        usd(figures.classifier_cost_usd),
        usd(figures.baseline_usd),
    )
    saved = (usd(figures.saved_usd), percent(figures.saved_usd, figures.baseline_usd))
    return "".join(f"<td>{text}</td>" for text in plain) + "".join(f'<td class="{mood}">{text}</td>' for text in saved)
