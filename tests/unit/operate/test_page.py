import datetime as dt
import re
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import pytest

from infra.operate.charts import Part, axis, columns
from infra.operate.page import page, short
from infra.operate.what_if import named_lineup, with_lineup
from tests.unit.operate.entries import DAY, ambiguous, classifier, entry, report_of

EVIL = "<script>alert('x')</script>&\"'"


class Reader(HTMLParser):
    """The tags of a page and the balance of those that are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "line", "rect"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in {"line", "rect"}:
            assert self.open.pop() == tag


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    assert reader.open == []
    return reader


def test_what_users_wrote_is_escaped_everywhere() -> None:
    evil: dict[str, Any] = {"tenant": EVIL, "tags": {EVIL: EVIL}, "model": EVIL, "label": EVIL}
    what_if, _ = with_lineup([entry(**evil)], named_lineup("article"), "opus")
    html = page(
        report_of(entry(**evil), by=f"tag:{EVIL}", what_if=what_if, deployment=EVIL, notes=(EVIL,), baseline=EVIL)
    )
    assert "<script" not in html
    assert html.count("&lt;script&gt;") > 8
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in read(html).tags}


def test_the_page_fetches_nothing() -> None:
    html = page(report_of(classifier(), entry(), ambiguous()))
    assert not re.search(r"https?:|url\(|@import", html)
    assert not {"src", "href", "onload", "onclick"} & {name for _, attrs in read(html).tags for name in attrs}


def test_the_figures_and_where_they_come_from_are_on_the_page() -> None:
    html = page(report_of(classifier(), entry(), simulated=True, budget_usd=Decimal(25), deployment="prod-stack"))
    for figure in ("$0.000235", "$0.006000", "$0.005765", "96.1 %", "$0.000085", "$0.000470", "$25.00"):
        assert figure in html
    assert "straight-line forecast" in html
    for words in ("2026-11-23 12:00 UTC", "prod-stack", "simulated"):
        assert words in html.partition("<footer>")[2]


@pytest.mark.parametrize("entries", [[], [classifier()], [ambiguous()]])
def test_a_page_of_next_to_nothing_can_be_made(entries: list[dict[str, Any]]) -> None:
    read(page(report_of(*entries)))


def test_a_negative_saving_is_drawn_below_zero_and_told_as_bad() -> None:
    html = page(report_of(classifier()))
    assert '<b class="bad" title="-$0.000085" data-figure="saved">' in html
    assert 'rect class="bad"' in html


def test_a_page_of_several_days_has_a_column_and_a_row_for_each() -> None:
    yesterday = DAY - dt.timedelta(days=1)
    html = page(report_of(days={yesterday: [], DAY: [entry()]}))
    assert "Spend per day" in html
    assert "2026-11-22 to 2026-11-23" in html
    assert '<th scope="row">2026-11-22</th>' in html


def test_figures_are_told_to_the_cent_from_a_dollar_on() -> None:
    assert short(Decimal("0.999999")) == "$0.999999"
    assert short(Decimal(1)) == "$1.00"
    assert short(Decimal("-1234.567")) == "-$1,234.57"


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        ("0", "0", ["0", "1"]),
        ("0", "4", ["0", "1", "2", "3", "4"]),
        ("0", "4.1", ["0", "2", "4", "6"]),
        ("0", "0.000235", ["0", "0.0001", "0.0002", "0.0003"]),
        ("-3", "8", ["-4", "-2", "0", "2", "4", "6", "8"]),
        ("-7", "0", ["-8", "-6", "-4", "-2", "0"]),
    ],
)
def test_an_axis_has_few_round_ticks_that_hold_everything(low: str, high: str, ticks: list[str]) -> None:
    assert axis(Decimal(low), Decimal(high)) == [Decimal(tick) for tick in ticks]


def test_parts_of_a_column_are_stacked_without_a_gap() -> None:
    svg = columns("Spend", {"11-23": [Part("a", Decimal(1), "c0"), Part("b", Decimal(3), "c1")]})
    (top_a, tall_a), (top_b, tall_b) = [
        (float(top), float(tall)) for top, tall in re.findall(r'<rect[^>]* y="([\d.]+)" height="([\d.]+)"', svg)
    ]
    assert top_b + tall_b == pytest.approx(top_a, abs=0.2)
    assert tall_b == pytest.approx(3 * tall_a, abs=0.3)
