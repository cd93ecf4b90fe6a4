"""The report's page in headless Chromium. Without one these are skipped, but in CI they fail."""

import os
import re
import zlib
from decimal import Decimal
from pathlib import Path

import pytest

from cost_router.core.pricing import dollars
from infra.operate.page import page
from infra.operate.report import Report
from infra.pictures.chromium import NAMES, Seen, find_chromium, look
from tests.unit.operate.entries import ambiguous, classifier, entry, report_of

FIGURE = re.compile(r'<b class="\w*" title="(-?)\$([\d.]+)" data-figure="([\w-]+)">')


@pytest.fixture(autouse=True)
def _chromium() -> None:
    if not find_chromium():
        told = f"none of {', '.join(NAMES)} is on PATH"
        if "CI" in os.environ:
            pytest.fail(f"{told}; .ci/run installs Debian's when it runs as root")
        pytest.skip(told)


def report() -> Report:
    """Three models over an afternoon, with a loss and a budget."""
    sonnet = {
        "tier": "sonnet",
        "model": "claude-sonnet-5-5",
        "cost_usd": Decimal("1.25"),
        "baseline_usd": Decimal("2.5"),
    }
    opus = {"tier": "opus", "model": "claude-opus-5-5", "cost_usd": Decimal(3), "baseline_usd": Decimal(3)}
    afternoon = {"at": "2026-11-23T11:30:00.000+00:00"}
    rows = [classifier(), entry(), entry("r2", **sonnet), entry("r3", **opus, **afternoon), ambiguous("r4")]
    return report_of(*rows, budget_usd=Decimal(25))


def opened(tmp_path: Path, html: str, *, width: int = 1280, dark: bool = False) -> Seen:
    file = tmp_path / "page.html"
    file.write_text(html, encoding="utf-8")
    return look(file, width=width, dark=dark)


def values(png: bytes) -> int:
    """How many different bytes the pixels of a picture have; a blank one has hardly any."""
    data, at = b"", 8
    while at < len(png):
        length = int.from_bytes(png[at : at + 4], "big")
        data += png[at + 8 : at + 8 + length] if png[at + 4 : at + 8] == b"IDAT" else b""
        at += length + 12
    return len(set(zlib.decompress(data)))


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False)])
def test_the_report_opens_without_a_complaint_and_asks_nobody_for_anything(
    tmp_path: Path,
    width: int,
    dark: bool,  # noqa: FBT001  a column of the table
) -> None:
    seen = opened(tmp_path, page(report()), width=width, dark=dark)
    assert seen.complaints == ()
    assert seen.requests == ((tmp_path / "page.html").as_uri(),)
    assert seen.content_width <= width, "the page does not scroll sideways"
    assert [chart["name"] for chart in seen.charts] == [
        "Spend per hour (UTC), by model",
        "Saved per hour (UTC), against all opus",
    ]
    for chart in seen.charts:
        assert chart["height"] > 100
        assert chart["width"] > 250
    assert values(seen.png) > 100


def test_the_figures_in_the_browser_are_those_of_the_reports_json(tmp_path: Path) -> None:
    made = report().json()
    found = {name: sign + amount for sign, amount, name in FIGURE.findall(opened(tmp_path, page(report())).dom)}
    total = made["totals"]
    assert {name: dollars(Decimal(amount)) for name, amount in found.items()} == {
        "actual": total["cost_usd"],
        "baseline": total["baseline_usd"],
        "saved": total["saved_usd"],
        "classifier": total["classifier_cost_usd"],
        "forecast": made["forecast_usd"],
        "budget": made["budget_left_usd"],
        "ambiguous": made["ambiguous"]["cost_usd"],
    }
    assert (total["cost_usd"], total["saved_usd"]) == ("4.270235", "1.235765")


def test_dark_is_dark(tmp_path: Path) -> None:
    assert opened(tmp_path, page(report()), dark=True).png != opened(tmp_path, page(report())).png


def test_a_page_that_complains_fetches_scrolls_and_shows_nothing_is_found_out(tmp_path: Path) -> None:
    bad = (
        '<body style="margin:0;background:#fff"><script>console.error("no"); undefined_name()</script>'
        '<img src="http://127.0.0.1:9/pixel.png" style="visibility:hidden"><div style="width:2000px;height:1px"></div>'
    )
    seen = opened(tmp_path, bad)
    assert any("console.error" in said for said in seen.complaints)
    assert any("Uncaught" in said for said in seen.complaints)
    assert "http://127.0.0.1:9/pixel.png" in seen.requests
    assert seen.content_width == 2000
    assert values(seen.png) < 20
