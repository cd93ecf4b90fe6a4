"""Bar charts as inline SVG: exact dollars in, coordinates out. Colours are the page's, by class."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from html import escape
from itertools import count, takewhile
from typing import Final

from cost_router.core.pricing import dollars

WIDTH, HEIGHT = 560, 240
LEFT, RIGHT, TOP, BOTTOM = 64, 8, 10, 26  # room for the axes' words
MOST_LABELS: Final = 10
MOST_STEPS: Final = 4
STEPS: Final = (Decimal(1), Decimal(2), Decimal(5))


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a column; pieces above zero are stacked upwards, those below it downwards."""

    name: str
    usd: Decimal
    style: str  # a class of the page


def columns(heading: str, stacks: Mapping[str, Sequence[Part]]) -> str:
    """A chart with a column for each key, in order; nothing is drawn for parts of zero dollars."""
    ups = [_sum(part.usd for part in parts if part.usd > 0) for parts in stacks.values()]
    downs = [_sum(part.usd for part in parts if part.usd < 0) for parts in stacks.values()]
    ticks = axis(min(downs, default=Decimal(0)), max(ups, default=Decimal(0)))
    low, span = ticks[0], ticks[-1] - ticks[0]

    def y(usd: Decimal) -> float:
        return HEIGHT - BOTTOM - float((usd - low) / span) * (HEIGHT - TOP - BOTTOM)

    room = (WIDTH - LEFT - RIGHT) / max(1, len(stacks))
    every = -(-len(stacks) // MOST_LABELS)
    drawn = [
        f'<line class="{"zero" if tick == 0 else "grid"}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" '
        f'y2="{y(tick):.1f}"/><text class="tick" x="{LEFT - 8}" y="{y(tick) + 4:.1f}">{_amount(tick)}</text>'
        for tick in ticks
    ]
    for place, (key, parts) in enumerate(stacks.items()):
        x, up, down = LEFT + place * room, Decimal(0), Decimal(0)
        for part in (part for part in parts if part.usd):
            top, foot = (up + part.usd, up) if part.usd > 0 else (down, down + part.usd)
            up, down = (top, down) if part.usd > 0 else (up, foot)
            drawn.append(
                f'<rect class="{part.style}" x="{x + room * 0.14:.1f}" width="{room * 0.72:.1f}" y="{y(top):.1f}" '
                f'height="{max(0.5, y(foot) - y(top)):.1f}">'
                f"<title>{escape(key)} {escape(part.name)}: {_amount(part.usd)}</title></rect>"
            )
        if place % every == 0:
            drawn.append(f'<text class="key" x="{x + room / 2:.1f}" y="{HEIGHT - 8}">{escape(key)}</text>')
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(heading)}">{"".join(drawn)}</svg>'


def axis(low: Decimal, high: Decimal) -> list[Decimal]:
    """Round amounts from `low` or below to `high` or above, zero among them, at most seven."""
    reach = max(high, -low)
    if not reach:
        return [Decimal(0), Decimal(1)]
    power = reach.adjusted() - 1
    sizes = (step.scaleb(power + more) for more in range(3) for step in STEPS)
    step = next(size for size in sizes if size * MOST_STEPS >= reach)
    below = [-step * number for number in takewhile(lambda n: step * (n - 1) < -low, count(1))]
    above = [step * number for number in takewhile(lambda n: step * (n - 1) < high, count(1))]
    return [*reversed(below), Decimal(0), *above]


def _amount(usd: Decimal) -> str:
    return f"{'-' if usd < 0 else ''}${dollars(abs(usd))}"


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, Decimal(0))
