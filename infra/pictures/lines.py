"""Lines over time as inline SVG, the way CloudWatch draws them: metric values are doubles. Colours are the page's."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from html import escape
from typing import Final

from cost_router.core.pricing import dollars
from infra.operate.charts import axis

LEFT, RIGHT, TOP, BOTTOM = 52, 12, 10, 24  # room for the axes' words, in pixels
HOURS: Final = 4  # between words of the time axis, when it is a day or so
MOST_WORDS: Final = 7
A_DAY: Final = 86_400.0
LONG: Final = 2 * A_DAY  # from here on the time axis has days
Points = Sequence[tuple[float, float]]  # epoch seconds and value, in order


@dataclass(frozen=True, slots=True)
class Line:
    """A series; values further apart than its period are not joined, because between them nothing is known."""

    name: str
    points: Points
    period: float  # seconds
    style: str  # a class of the page


@dataclass(frozen=True, slots=True)
class Mark:
    """A level across the chart, with its words."""

    value: float
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Lines over the same time and the same axis of values."""

    heading: str
    start: float  # epoch seconds
    end: float
    lines: Sequence[Line]
    stacked: bool = False
    marks: Sequence[Mark] = ()
    band: Sequence[tuple[float, float, float]] = ()  # time, lower and upper edge

    def svg(self, width: int, height: int) -> str:
        """The chart, as large as that in pixels."""
        layers: Sequence[tuple[Line, Points]] = (
            _stack(self.lines) if self.stacked else [(line, ()) for line in self.lines]
        )
        values = [value for line, _ in layers for _, value in line.points]
        values += [mark.value for mark in self.marks] + [high for _, _, high in self.band]
        ticks = axis(Decimal(repr(min([0.0, *values]))), Decimal(repr(max([0.0, *values]))))
        # What is drawn are CloudWatch's doubles; nothing is booked from them.
        scale = _Scale(self.start, self.end, float(ticks[0]), float(ticks[-1]), width, height)
        drawn = [*_grid(scale, ticks), *_clock(scale), *_band(scale, self.band)]
        for line, floor in reversed(layers) if self.stacked else layers:
            drawn += _line(scale, line, floor, filled=self.stacked)
        drawn += [part for mark in self.marks for part in _mark(scale, mark)]
        label = escape(self.heading)
        return (
            f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
            f'aria-label="{label}">{"".join(drawn)}</svg>'
        )


@dataclass(frozen=True, slots=True)
class _Scale:
    start: float
    end: float
    low: float
    high: float
    width: int
    height: int

    def x(self, at: float) -> float:
        return LEFT + (at - self.start) / (self.end - self.start) * (self.width - LEFT - RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.height - BOTTOM - share * (self.height - TOP - BOTTOM)


def _stack(lines: Sequence[Line]) -> Sequence[tuple[Line, Points]]:
    """Each line on top of those before it, and what it stands on; where a line has no value it adds nothing."""
    times = sorted({at for line in lines for at, _ in line.points})
    below = dict.fromkeys(times, 0.0)
    found = []
    for line in lines:
        own = dict(line.points)
        above = {at: below[at] + own.get(at, 0.0) for at in times}
        found.append((Line(line.name, list(above.items()), line.period, line.style), list(below.items())))
        below = above
    return found


def _grid(scale: _Scale, ticks: Sequence[Decimal]) -> Iterator[str]:
    for tick in ticks:
        y = scale.y(float(tick))
        kind = "zero" if tick == 0 else "grid"
        yield f'<line class="{kind}" x1="{LEFT}" x2="{scale.width - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        sign = "-" if tick < 0 else ""
        yield f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}">{sign}{_thousands(dollars(abs(tick)))}</text>'


def _thousands(number: str) -> str:
    whole, point, rest = number.partition(".")
    return f"{int(whole):,}{point}{rest}"


def _clock(scale: _Scale) -> Iterator[str]:
    days = scale.end - scale.start > LONG
    step = A_DAY * -(-(scale.end - scale.start) // (A_DAY * MOST_WORDS)) if days else HOURS * 3600.0
    at = (scale.start // step + 1) * step
    while at < scale.end:
        moment, x = dt.datetime.fromtimestamp(at, dt.UTC), scale.x(at)
        midnight = moment.hour == 0 and not days
        words = moment.strftime("%m-%d" if days or midnight else "%H:%M")
        if midnight:
            yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{scale.height - BOTTOM}"/>'
        yield f'<text class="key" x="{x:.1f}" y="{scale.height - 7}">{words}</text>'
        at += step


def _band(scale: _Scale, band: Sequence[tuple[float, float, float]]) -> Iterator[str]:
    if band:
        upper = [f"{scale.x(at):.1f},{scale.y(high):.1f}" for at, _, high in band]
        lower = [f"{scale.x(at):.1f},{scale.y(low):.1f}" for at, low, _ in reversed(band)]
        yield f'<polygon class="band" points="{" ".join(upper + lower)}"/>'


def _line(scale: _Scale, line: Line, floor: Points, *, filled: bool) -> Iterator[str]:
    base = dict(floor)
    for run in _runs(line):
        path = " ".join(f"{scale.x(at):.1f},{scale.y(value):.1f}" for at, value in run)
        if filled:
            foot = " ".join(f"{scale.x(at):.1f},{scale.y(base[at]):.1f}" for at, _ in reversed(run))
            yield f'<polygon class="{line.style} area" points="{path} {foot}"/>'
        if len(run) == 1:
            [(at, value)] = run
            yield f'<circle class="{line.style}" cx="{scale.x(at):.1f}" cy="{scale.y(value):.1f}" r="2.5"/>'
        else:
            yield f'<polyline class="{line.style} line" points="{path}"/>'


def _runs(line: Line) -> list[list[tuple[float, float]]]:
    found: list[list[tuple[float, float]]] = []
    for point in line.points:
        if found and point[0] - found[-1][-1][0] <= line.period:
            found[-1].append(point)
        else:
            found.append([point])
    return found


def _mark(scale: _Scale, mark: Mark) -> Iterator[str]:
    y = scale.y(mark.value)
    yield f'<line class="mark" x1="{LEFT}" x2="{scale.width - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
    yield f'<text class="marked" x="{scale.width - RIGHT - 2}" y="{y - 4:.1f}">{escape(mark.says)}</text>'
