"""Draw docs/dashboard.png and docs/report.png from simulated traffic, or the local stack's dashboard into a file.

`python -m infra.pictures` starts an emulator, fills its CloudWatch, and needs Chromium on PATH.
`python -m infra.pictures dashboard.html` reads what the running local stack (`make up`) shows at this moment.
"""

import argparse
import datetime as dt
import json
import tempfile
from pathlib import Path
from typing import Any, Final

from cost_router.contract import Metric
from infra.aws.config import Config
from infra.local.deploy import synthesise
from infra.local.emulator import start_emulator
from infra.local.processes import Children
from infra.operate.page import page as report_page
from infra.operate.report import Report
from infra.operate.target import find_target
from infra.pictures.board import Reader, resolved
from infra.pictures.chromium import look
from infra.pictures.metrics import metrics_of, put
from infra.pictures.page import page as board_page
from infra.pictures.traffic import BUDGET_USD, MONTH_USD, Traffic, simulate

DOCS: Final = Path(__file__).parents[2] / "docs"
CONFIG: Final = Config(env="prod", daily_budget_usd=BUDGET_USD, monthly_budget_usd=MONTH_USD)
AT: Final = dt.time(18, 40)  # UTC, of yesterday: most of a day, and the midnight before it
REPORT_DAYS: Final = 7
WIDTHS: Final = {"dashboard": 1456, "report": 1160}  # pixels
SCALE: Final = 0.75  # readable, and below 300 kB
SIMULATED: Final = (
    "SIMULATED traffic, in an emulated CloudWatch: the layout is CloudWatch's, the drawing by python -m infra.pictures."
    " Prices and metric names are real; alarms stand as these values have them."
)
LIVE: Final = "The layout is CloudWatch's, the drawing by python -m infra.pictures."


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(prog="python -m infra.pictures", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, help="write the local stack's dashboard here, as HTML")
    file = parser.parse_args().file
    if file:
        file.write_text(live(dt.datetime.now(dt.UTC)), encoding="utf-8")
        print(f"written: {file}")
        return
    yesterday = dt.datetime.combine(dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1), AT, dt.UTC)
    traffic = simulate(yesterday)
    with tempfile.TemporaryDirectory(prefix="pictures-") as folder:
        pages = {"dashboard": dashboard(traffic, Path(folder)), "report": report_page(report(traffic))}
        for name, html in pages.items():
            source, png = Path(folder) / f"{name}.html", DOCS / f"{name}.png"
            source.write_text(html, encoding="utf-8")
            png.write_bytes(look(source, width=WIDTHS[name], scale=SCALE).png)
            print(f"written: docs/{png.name} ({png.stat().st_size / 1000:.0f} kB)")


def live(now: dt.datetime) -> str:
    """The dashboard that is deployed in the local stack, with its metrics up to `now`."""
    cloudwatch = find_target(None).client("cloudwatch")
    [board] = cloudwatch.list_dashboards()["DashboardEntries"]
    body = json.loads(cloudwatch.get_dashboard(DashboardName=board["DashboardName"])["DashboardBody"])
    return board_page(body, Reader(cloudwatch, now), title=board["DashboardName"], note=LIVE)


def dashboard(traffic: Traffic, folder: Path) -> str:
    """The dashboard that `cdk deploy` makes, filled with the traffic's metrics."""
    template = json.loads(synthesise(CONFIG, folder / "cdk.out", bundling=False).read_text(encoding="utf-8"))
    board, children = resolved(template), Children(folder)
    try:
        cloudwatch = start_emulator(children).client("cloudwatch")
        put(cloudwatch, metrics_of(traffic, CONFIG.env, board))
        for alarm in (r["Properties"] for r in template["Resources"].values() if r["Type"] == "AWS::CloudWatch::Alarm"):
            _set_alarm(cloudwatch, alarm, traffic)
        return board_page(board, Reader(cloudwatch, traffic.now), title="claude-cost-router-prod", note=SIMULATED)
    finally:
        children.end()


def _set_alarm(cloudwatch: Any, alarm: dict[str, Any], traffic: Traffic) -> None:
    """As it would stand at the traffic's end; the emulator judges by the machine's clock, which is later."""
    # CloudWatch compares doubles, so its threshold is one.
    ringing = alarm.get("MetricName") == Metric.SPEND_TODAY and float(traffic.spent) >= alarm["Threshold"]
    name = alarm["AlarmName"]
    cloudwatch.put_metric_alarm(AlarmName=name, EvaluationPeriods=1, ComparisonOperator=alarm["ComparisonOperator"])
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM" if ringing else "OK", StateReason="simulated")


def report(traffic: Traffic) -> Report:
    """The cost report over the traffic's last days."""
    days = sorted(traffic.days)[-REPORT_DAYS:]
    return Report(
        days={day: traffic.days[day] for day in days},
        by="model",
        now=traffic.now,
        deployment="simulated",
        simulated=True,
        budget_usd=BUDGET_USD,
        notes=("SIMULATED traffic: no such requests were ever sent, not even to the stand-in. Prices are real.",),
    )


if __name__ == "__main__":
    main()
