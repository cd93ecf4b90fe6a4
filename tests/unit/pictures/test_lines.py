"""Lines over time: gaps stay gaps, stacks add up, marks stand at their level."""

import re
from typing import Any

import pytest

from infra.pictures.lines import Chart, Line, Mark

START = 1_795_392_000.0  # 2026-11-23T00:00:00Z
HOUR = 3600.0


def chart(*lines: Line, **more: Any) -> str:
    """A chart of 500 by 200 pixels inside its margins."""
    usual: dict[str, Any] = {"heading": "h", "start": START, "end": START + 24 * HOUR, "lines": lines}
    return Chart(**(usual | more)).svg(564, 234)


def polylines(svg: str) -> list[list[tuple[float, float]]]:
    found = re.findall(r'<polyline [^>]*points="([^"]+)"', svg)
    return [[(float(x), float(y)) for x, y in (pair.split(",") for pair in path.split())] for path in found]


def test_values_stand_at_their_time_and_level() -> None:
    line = Line("a", [(START, 0.0), (START + 12 * HOUR, 4.0)], 12 * HOUR, "c0")
    assert polylines(chart(line)) == [[(52.0, 210.0), (302.0, 10.0)]]


def test_what_is_missing_is_a_gap_and_a_single_value_a_dot() -> None:
    times = (0, 1, 2, 5, 8, 9)
    svg = chart(Line("a", [(START + hour * HOUR, 1.0) for hour in times], HOUR, "c0"))
    assert [len(run) for run in polylines(svg)] == [3, 2]
    assert svg.count("<circle") == 1


def test_a_stack_adds_up_also_where_one_line_has_no_value() -> None:
    first = Line("a", [(START, 1.0), (START + HOUR, 1.0)], HOUR, "c0")
    second = Line("b", [(START + HOUR, 3.0)], HOUR, "c1")
    upper, lower = polylines(chart(first, second, stacked=True))  # drawn from the top down
    assert [y for _, y in upper] == [160.0, 10.0]
    assert [y for _, y in lower] == [160.0, 160.0]


def test_a_mark_widens_the_axis_and_says_what_it_is() -> None:
    svg = chart(Line("a", [(START, 1.0)], HOUR, "c0"), marks=[Mark(4.0, "Budget <$4>")])
    assert '<line class="mark" x1="52" x2="552" y1="10.0" y2="10.0"/>' in svg
    assert "Budget &lt;$4&gt;</text>" in svg


def test_values_below_zero_have_room_below_zero() -> None:
    assert ">-2</text>" in chart(Line("a", [(START, -2.0)], HOUR, "c0"))


@pytest.mark.parametrize(
    ("days", "words"), [(1, ["04:00", "08:00", "12:00", "16:00", "20:00"]), (7, ["11-24", "11-25"])]
)
def test_the_time_axis_has_hours_for_a_day_and_days_for_longer(days: int, words: list[str]) -> None:
    svg = chart(end=START + days * 24 * HOUR)
    assert re.findall(r'<text class="key"[^>]*>([^<]+)', svg)[: len(words)] == words
