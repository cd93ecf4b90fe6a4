"""A dashboard as one self-contained HTML page, laid out on CloudWatch's 24 columns."""

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any, Final

from infra.pictures.board import BadBoard, Band, Reader, Series
from infra.pictures.lines import Chart, Line, Mark, Points

TEMPLATE: Final = Path(__file__).with_name("board.html")
COLUMN: Final = 60  # pixels
ROW: Final = 46
GAP: Final = 8
PADDING: Final = 12
NOTCH: Final = 13  # each side of the middle of a dial
COLOURS: Final = 7  # classes c0 to c6 of the template
LINE: Final = 24  # of the title, and of the legend
WRAPPED: Final = 16  # a further line of the legend
LETTER: Final = 6  # about
SWATCH: Final = 31  # a legend's colour and the gap after its name
MOODS: Final = {"OK": "good", "ALARM": "bad", "INSUFFICIENT_DATA": "dim"}
STATES: Final = {"OK": "OK", "ALARM": "In alarm", "INSUFFICIENT_DATA": "Insufficient data"}
Widget = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Room:
    """What a widget has for its drawing, in pixels."""

    width: int
    height: int


def page(board: Mapping[str, Any], reader: Reader, *, title: str, note: str) -> str:
    """The page; `note` says where its values come from."""
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(title),
        note=escape(note),
        widgets="".join(_placed(widget, board, reader) for widget in board["widgets"]),
    )


def _placed(widget: Widget, board: Mapping[str, Any], reader: Reader) -> str:
    x, y, width, height = (widget[name] for name in ("x", "y", "width", "height"))
    place = f"grid-column:{x + 1}/span {width};grid-row:{y + 1}/span {height}"
    if widget["type"] == "text":
        words = widget["properties"]["markdown"].lstrip("# ")
        return f'<h2 style="{place}">{escape(words)}</h2>'
    properties = widget["properties"]
    inside = _alarms(properties, reader) if widget["type"] == "alarm" else _metrics(widget, board, reader)
    return f'<section style="{place}"><h3>{escape(properties["title"])}</h3>{inside}</section>'


def _metrics(widget: Widget, board: Mapping[str, Any], reader: Reader) -> str:
    properties = widget["properties"]
    start = reader.start(properties, board)
    found = reader.series(properties, start)
    room = _Room(widget["width"] * COLUMN - GAP - 2 * PADDING, widget["height"] * ROW - GAP - 2 * PADDING - LINE)
    view = properties.get("view")
    if view == "singleValue":
        return _figures(found, whole=properties.get("setPeriodToTimeRange", False))
    if view == "gauge":
        return _gauge(properties, found[0].last, room)
    if view == "timeSeries":
        return _graph(properties, found, reader.band(properties, start), room, (start, reader.now))
    raise BadBoard(f"view {view!r}; accepted: timeSeries, singleValue, gauge")


def _graph(
    properties: Mapping[str, Any],
    found: Sequence[Series],
    band: Band | None,
    room: "_Room",
    span: tuple[dt.datetime, dt.datetime],
) -> str:
    styled = [(series, f"c{place % COLOURS}") for place, series in enumerate(found)]
    chart = Chart(
        heading=properties["title"],
        start=span[0].timestamp(),
        end=span[1].timestamp(),
        lines=[Line(series.label, _since(span[0], series), series.period, style) for series, style in styled],
        stacked=properties.get("stacked", False),
        marks=[Mark(line["value"], line["label"]) for line in properties.get("annotations", {}).get("horizontal", ())],
        band=band.edges if band else (),
    )
    names = [(series.label, style) for series, style in styled]
    if band:
        names.append((f"expected: the same hour of other days ± {band.width:g} sd", "band"))
    legend = "".join(f'<li><i class="{style}"></i>{escape(name)}</li>' for name, style in names)
    empty = "" if any(series.points for series in found) else '<p class="empty">No data in this time</p>'
    wide = sum(LETTER * len(name) + SWATCH for name, _ in names)
    lines = -(-wide // room.width)
    return f'{chart.svg(room.width, room.height - LINE - (lines - 1) * WRAPPED)}{empty}<ul class="legend">{legend}</ul>'


def _since(start: dt.datetime, series: Series) -> Points:
    """The values from there on: the first period of a metric may have begun earlier."""
    return [(at, value) for at, value in series.points if at >= start.timestamp()]


def _figures(found: Sequence[Series], *, whole: bool) -> str:
    rows = "".join(
        f"<li><b>{_figure(series.whole if whole else series.last)}</b><span>{escape(series.label)}</span></li>"
        for series in found
    )
    return f'<ul class="figures">{rows}</ul>'


def _figure(value: float | None) -> str:
    if value is None:
        return "&ndash;"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


def _gauge(properties: Mapping[str, Any], value: float | None, room: "_Room") -> str:
    """A dial over half a circle; what is past a mark has the mark's colour."""
    low, high = (properties["yAxis"]["left"][name] for name in ("min", "max"))
    x, radius = room.width / 2, min(room.width / 2 - 20, room.height - 46)
    y = radius + 14

    def arc(first: float, last: float, style: str) -> str:
        (x1, y1), (x2, y2) = (
            (x - radius * math.cos(math.pi * share), y - radius * math.sin(math.pi * share)) for share in (first, last)
        )
        return (
            f'<path style="stroke:{style}" d="M{x1:.1f} {y1:.1f} A{radius:.1f} {radius:.1f} 0 0 1 {x2:.1f} {y2:.1f}"/>'
        )

    marks = properties.get("annotations", {}).get("horizontal", ())
    share = 0.0 if value is None else min(1.0, max(0.0, (value - low) / (high - low)))
    reached = [mark["color"] for mark in marks if value is not None and value >= mark["value"]]
    parts = [arc(0, 1, "var(--line)"), arc(0, share, (["var(--c0)", *reached])[-1]) if share else ""]
    for mark in marks:
        at = math.pi * (mark["value"] - low) / (high - low)
        (x1, y1), (x2, y2) = (
            (x - reach * math.cos(at), y - reach * math.sin(at)) for reach in (radius - NOTCH, radius + NOTCH)
        )
        parts.append(
            f'<line style="stroke:{mark["color"]}" class="notch" '
            f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
        )
    ends = (
        f'<text class="key" x="{x - radius:.1f}" y="{y + 22:.1f}">{low:g}</text>'
        f'<text class="key" x="{x + radius:.1f}" y="{y + 22:.1f}">{high:g}</text>'
    )
    middle = f'<text class="reading" x="{x:.1f}" y="{y - 6:.1f}">{_figure(value)}</text>'
    return (
        f'<svg class="gauge" width="{room.width}" height="{room.height}" role="img" '
        f'aria-label="{escape(properties["title"])}">{"".join(parts)}{ends}{middle}</svg>'
    )


def _alarms(properties: Mapping[str, Any], reader: Reader) -> str:
    tiles = "".join(
        f'<li class="{MOODS[state]}"><b>{STATES[state]}</b>{escape(name)}</li>'
        for name, state in reader.states(properties["alarms"]).items()
    )
    return f'<ul class="alarms">{tiles}</ul>'
