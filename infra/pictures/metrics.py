"""The metrics of simulated traffic: the last day's through the deployed code's own telemetry, the rest made up here."""

import contextlib
import datetime as dt
import io
import random
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from cost_router.adapters.telemetry import PowertoolsTelemetry
from cost_router.contract import NAMESPACE, SERVICE_DIMENSION, SERVICE_PREFIX, Metric
from infra.local.bridge import Point, points
from infra.pictures.traffic import A_DAY, SEED, SLOT, Traffic

MOST: Final = 500  # data in one call
OURS: Final = {  # of the last day: hours before its end, and what happened then
    Metric.BUDGET_STEPS: {3.5: 1, 9.0: 1},
    Metric.SWEPT: {13.4: 1},
}
DRIFT_USD: Final = (0.0, 0.0, 0.0, 0.013, 0.0, 0.0, 0.0, 0.0, 0.002, 0.0, 0.0, 0.0)  # from yesterday backwards
AWS: Final = {"4XXError": 0.08, "5XXError": 0.01, "ApproximateNumberOfMessagesVisible": 0.0}  # share of ones, else zero


def put(cloudwatch: Any, data: Iterable[Point]) -> None:
    """Put the data, in as few calls as CloudWatch takes."""
    found: dict[str, list[dict[str, Any]]] = {}
    for namespace, datum in data:
        found.setdefault(namespace, []).append(datum)
    for namespace, all_of_it in found.items():
        for first in range(0, len(all_of_it), MOST):
            cloudwatch.put_metric_data(Namespace=namespace, MetricData=all_of_it[first : first + MOST])


def metrics_of(traffic: Traffic, stage: str, board: Mapping[str, Any]) -> Iterator[Point]:
    """All that the dashboard of `stage` shows."""
    yield from _emitted(traffic, stage)
    yield from _made_up(traffic, stage)
    yield from _of_aws(traffic, board)


def _emitted(traffic: Traffic, stage: str) -> Iterator[Point]:
    """What the deployed code writes for each request, as the bridge reads it, at the time of the request."""
    with contextlib.redirect_stdout(io.StringIO()):
        telemetry = PowertoolsTelemetry.make(stage)
    for at, record in traffic.records:
        with contextlib.redirect_stdout(io.StringIO()) as written:
            telemetry.done(record)
        for line in written.getvalue().splitlines():
            for namespace, datum in points(line):
                yield namespace, datum | {"Timestamp": at}


def _made_up(traffic: Traffic, stage: str) -> Iterator[Point]:
    now, month = traffic.now, Decimal(0)  # summed as money; CloudWatch takes doubles
    for slot, dollars in traffic.rate.items():
        month = dollars if slot.day == 1 and slot.time() == dt.time(0) else month + dollars
        if slot < now - A_DAY - SLOT:
            yield _ours(stage, Metric.SPEND, slot, float(dollars))
        yield _ours(stage, Metric.SPEND_THIS_MONTH, slot, float(month))
    for name, happened in OURS.items():
        for hours, count in happened.items():
            yield _ours(stage, name, now - dt.timedelta(hours=hours), count)
    for back, drift in enumerate(DRIFT_USD, start=1):
        yield _ours(stage, Metric.LEDGER_DRIFT, now - A_DAY * back, drift)


def _ours(stage: str, name: str, at: dt.datetime, value: float) -> Point:
    dimensions = [{"Name": SERVICE_DIMENSION, "Value": SERVICE_PREFIX + stage}]
    return NAMESPACE, {"MetricName": name, "Dimensions": dimensions, "Timestamp": at, "Values": [value]}


def _of_aws(traffic: Traffic, board: Mapping[str, Any]) -> Iterator[Point]:
    metrics = [metric for widget in board["widgets"] for metric in widget["properties"].get("metrics", ())]
    chance = random.Random(SEED)  # noqa: S311  a picture is to be the same every time
    for namespace, name, *rest in (metric for metric in metrics if isinstance(metric[0], str)):
        if not namespace.startswith("AWS/"):
            continue
        words = [word for word in rest if isinstance(word, str)]
        dimensions = [{"Name": key, "Value": value} for key, value in zip(words[::2], words[1::2], strict=True)]
        for number in range(A_DAY // SLOT):
            value = float(chance.random() < AWS[name])
            at = traffic.now - A_DAY + SLOT * number
            yield namespace, {"MetricName": name, "Dimensions": dimensions, "Timestamp": at, "Values": [value]}
