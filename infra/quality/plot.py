"""Cost/quality curves as an SVG file of its own: share of dear calls across, quality up, a panel for each set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

import numpy as np

from infra.quality.curves import Curve
from infra.quality.policies import KEYWORDS, LENGTH, ORACLE, PRECLASSIFIER, RANDOM, RUBRIC

WIDTH, HEIGHT = 400, 300  # of a panel, in pixels
EDGE = 16  # right of the last panel, whose last figure stands out
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 34, 40
ACROSS: Final = 2  # panels in a row
LEGEND: Final = 22  # pixels of one of its lines
ROOM: Final = 130  # of a name in it
STEPS: Final = 5
POINTS: Final = 120  # of a line: more are not seen
COLOURS: Final = {
    RANDOM: "#9aa0a6",
    LENGTH: "#d97706",
    KEYWORDS: "#7c3aed",
    RUBRIC: "#059669",
    PRECLASSIFIER: "#2563eb",
    ORACLE: "#4b5563",
}
DASHED: Final = {RANDOM: "3 3", ORACLE: "6 3"}


@dataclass(frozen=True, slots=True)
class Panel:
    """The curves of one set, by policy."""

    heading: str
    curves: Mapping[str, Curve]


def svg(panels: Sequence[Panel]) -> str:
    """The whole picture."""
    across = min(ACROSS, len(panels))
    down = -(-len(panels) // across)
    names = [name for name in COLOURS if any(name in panel.curves for panel in panels)]
    in_line = WIDTH * across // ROOM
    width, height = WIDTH * across + EDGE, HEIGHT * down + LEGEND * -(-len(names) // in_line)
    drawn = [
        f'<g transform="translate({WIDTH * (place % across)},{HEIGHT * (place // across)})">{_panel(panel)}</g>'
        for place, panel in enumerate(panels)
    ]
    for place, name in enumerate(names):
        x, y = ROOM * (place % in_line) + 12, HEIGHT * down + LEGEND * (place // in_line) + LEGEND / 2
        drawn.append(_line(name, f"{x:.0f},{y:.0f} {x + 22:.0f},{y:.0f}"))
        drawn.append(f'<text x="{x + 27:.0f}" y="{y + 4:.0f}">{escape(name)}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="quality by share of dear calls" font-family="sans-serif" font-size="11" fill="#111">'
        f'<rect width="{width}" height="{height}" fill="#fff"/>{"".join(drawn)}</svg>\n'
    )


def _panel(panel: Panel) -> str:
    values = np.concatenate([curve.quality[0] for curve in panel.curves.values()])
    low, high = float(values.min()), float(values.max())
    span = high - low or 1.0

    def place(share: float, quality: float) -> tuple[float, float]:
        x = LEFT + share * (WIDTH - LEFT - RIGHT)
        return x, HEIGHT - BOTTOM - (quality - low) / span * (HEIGHT - TOP - BOTTOM)

    drawn = [f'<text x="{LEFT}" y="20" font-size="13" font-weight="bold">{escape(panel.heading)}</text>']
    for step in range(STEPS + 1):
        share, quality = step / STEPS, low + span * step / STEPS
        x, y = place(share, quality)
        drawn.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e5e7eb"/>')
        drawn.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{100 * quality:.0f} %</text>')
        drawn.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{100 * share:.0f} %</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    drawn.append(f'<text x="{middle:.0f}" y="{HEIGHT - 8}" text-anchor="middle">calls of the dear model</text>')
    for name, curve in panel.curves.items():
        shares = np.linspace(0, 1, POINTS)
        heights = np.interp(shares, curve.shares[0], curve.quality[0])
        points = (place(share, height) for share, height in zip(shares.tolist(), heights.tolist(), strict=True))
        drawn.append(_line(name, " ".join(f"{x:.1f},{y:.1f}" for x, y in points)))
    return "".join(drawn)


def _line(name: str, points: str) -> str:
    dashes = f' stroke-dasharray="{DASHED[name]}"' if name in DASHED else ""
    return f'<polyline points="{points}" fill="none" stroke="{COLOURS[name]}" stroke-width="1.8"{dashes}/>'
