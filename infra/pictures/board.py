"""A CloudWatch dashboard's body, and the values of its metrics.

Source: docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html
"""

import datetime as dt
import json
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from infra.pictures.lines import Points

SEARCH: Final = re.compile(r"""SEARCH\('\{([^,]+),([^}]+)\} (.*)', '(\w+)', (\d+)\)""")
WHERE: Final = re.compile(r'(\w+)="([^"]*)"')
OF_DIMENSION: Final = re.compile(r"\$\{PROP\('Dim\.(\w+)'\)\}")
BAND: Final = re.compile(r"ANOMALY_DETECTION_BAND\((\w+), ([\d.]+)\)")
FILL: Final = re.compile(r"FILL\((\w+), 0\)")
BACK: Final = re.compile(r"-P(\d+)D")
PERIOD: Final = 300  # seconds, when the body says none
LEARNED_FROM: Final = dt.timedelta(days=13)  # the emulator keeps two weeks
NEIGHBOURS: Final = 6  # five-minute values each side of the same time of other days
FEWEST: Final = 20  # earlier values for a band
A_DAY: Final = 86_400


class BadBoard(ValueError):
    """The body has something that this cannot draw; the message quotes it."""


@dataclass(frozen=True, slots=True)
class Series:
    """One metric over the time of its widget."""

    label: str
    points: Points
    period: int  # seconds
    statistic: str

    @property
    def last(self) -> float | None:
        """The newest value, if there is any."""
        return self.points[-1][1] if self.points else None

    @property
    def whole(self) -> float | None:
        """One value for the whole time: the sum of sums, the largest of the rest."""
        values = [value for _, value in self.points]
        return (sum(values) if self.statistic == "Sum" else max(values)) if values else None


@dataclass(frozen=True, slots=True)
class Band:
    """Where a metric is expected."""

    width: float  # standard deviations
    edges: Sequence[tuple[float, float, float]]  # epoch seconds, lower and upper edge


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads metrics as the dashboard would show them at `now`."""

    cloudwatch: Any
    now: dt.datetime

    def start(self, properties: Mapping[str, Any], board: Mapping[str, Any]) -> dt.datetime:
        """Where a widget begins: its own range, or the dashboard's."""
        said = properties.get("start", board.get("start", "-P1D"))
        found = BACK.fullmatch(said)
        if not found:
            raise BadBoard(f"start {said!r}; accepted: -P<days>D")
        return self.now - dt.timedelta(days=int(found[1]))

    def series(self, properties: Mapping[str, Any], start: dt.datetime) -> list[Series]:
        """The lines of a metric widget, without its band."""
        return [found for metric in properties["metrics"] for found in self._series(metric, properties, start)]

    def band(self, properties: Mapping[str, Any], start: dt.datetime) -> "Band | None":
        """The band that a widget asks for: here, mean and standard deviations of the same hour on earlier days.

        CloudWatch's own model knows weekdays and trends and cannot be had here; the legend says which band it is.
        """
        for metric in properties["metrics"]:
            if found := BAND.fullmatch(_options(metric).get("expression", "")):
                [learned] = self._series(_by_id(properties, found[1]), properties, start - LEARNED_FROM)
                width = float(found[2])  # a number of deviations, not money
                return Band(width, list(_expected(learned, start.timestamp(), width)))
        return None

    def states(self, arns: Sequence[str]) -> dict[str, str]:
        """The state of each alarm, by name."""
        names = [arn.rpartition(":alarm:")[2] for arn in arns]
        pages = self.cloudwatch.get_paginator("describe_alarms").paginate(AlarmNames=names)
        found = {alarm["AlarmName"]: alarm["StateValue"] for page in pages for alarm in page["MetricAlarms"]}
        return {name: found.get(name, "INSUFFICIENT_DATA") for name in names}

    def _series(self, metric: Sequence[Any], properties: Mapping[str, Any], start: dt.datetime) -> Iterator[Series]:
        options = _options(metric)
        expression = options.get("expression", "")
        if BAND.fullmatch(expression) or not options.get("visible", True):
            return
        if filled := FILL.fullmatch(expression):
            hidden = _by_id(properties, filled[1])
            [known] = self._series([*hidden[:-1], _options(hidden) | {"visible": True}], properties, start)
            yield _filled(known, options["label"], start.timestamp(), self.now.timestamp())
            return
        if expression:
            yield from self._search(expression, options.get("label", ""), start)
            return
        words = [word for word in metric if isinstance(word, str)]
        if len(words) % 2 or any(set(word) == {"."} for word in words):
            raise BadBoard(f"metric {metric!r}; accepted: namespace, name, and dimensions in full")
        dimensions = dict(zip(words[2::2], words[3::2], strict=True))
        period, statistic = options.get("period", PERIOD), options.get("stat", properties.get("stat", "Average"))
        points = self._points((words[0], words[1], dimensions), statistic, period, start)
        yield Series(options.get("label", words[1]), points, period, statistic)

    def _search(self, expression: str, label: str, start: dt.datetime) -> Iterator[Series]:
        found = SEARCH.fullmatch(expression)
        if not found:
            raise BadBoard(
                f"expression {expression!r}; accepted: SEARCH('{{namespace,dimensions}} ...', 'stat', period)"
            )
        namespace, names, where, statistic, period = found.groups()
        wanted = dict(WHERE.findall(where))
        name = wanted.pop("MetricName")
        pages = self.cloudwatch.get_paginator("list_metrics").paginate(Namespace=namespace, MetricName=name)
        for metric in sorted((m for page in pages for m in page["Metrics"]), key=lambda m: json.dumps(m["Dimensions"])):
            dimensions = {dimension["Name"]: dimension["Value"] for dimension in metric["Dimensions"]}
            if set(dimensions) == set(names.split(",")) and wanted.items() <= dimensions.items():
                points = self._points((namespace, name, dimensions), statistic, int(period), start)
                yield Series(_said(label, dimensions), points, int(period), statistic)

    def _points(
        self, metric: tuple[str, str, Mapping[str, str]], statistic: str, period: int, start: dt.datetime
    ) -> Points:
        namespace, name, dimensions = metric
        query = {
            "Id": "m",
            "MetricStat": {
                "Metric": {
                    "Namespace": namespace,
                    "MetricName": name,
                    "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
                },
                "Period": period,
                "Stat": statistic,
            },
        }
        aligned = dt.datetime.fromtimestamp(start.timestamp() // period * period, dt.UTC)
        pages = self.cloudwatch.get_paginator("get_metric_data").paginate(
            MetricDataQueries=[query], StartTime=aligned, EndTime=self.now, ScanBy="TimestampAscending"
        )
        return sorted(
            (at.timestamp(), value)
            for page in pages
            for result in page["MetricDataResults"]
            for at, value in zip(result["Timestamps"], result["Values"], strict=True)
        )


def _options(metric: Sequence[Any]) -> dict[str, Any]:
    return metric[-1] if isinstance(metric[-1], dict) else {}


def _by_id(properties: Mapping[str, Any], id_: str) -> Sequence[Any]:
    """The metric of a widget that an expression names."""
    [found] = [metric for metric in properties["metrics"] if _options(metric).get("id") == id_]
    return list(found)


def _said(label: str, dimensions: Mapping[str, str]) -> str:
    return OF_DIMENSION.sub(lambda match: dimensions[match[1]], label)


def _filled(known: Series, label: str, start: float, end: float) -> Series:
    """With zero where there is no value; a metric without any value stays empty."""
    values = dict(known.points)
    first = int(start // known.period * known.period)
    times = range(first, int(end), known.period) if known.points else range(0)
    points = [(float(at), values.get(at, 0.0)) for at in times]  # epoch seconds; values as CloudWatch has them, doubles
    return Series(label, points, known.period, known.statistic)


def _expected(learned: Series, start: float, width: float) -> Iterator[tuple[float, float, float]]:
    values = dict(learned.points)
    for at, _ in learned.points:
        if at < start:
            continue
        around = [
            at - day * A_DAY + step * learned.period
            for day in range(1, 14)
            for step in range(-NEIGHBOURS, NEIGHBOURS + 1)
        ]
        earlier = [values[moment] for moment in around if moment in values]
        if len(earlier) >= FEWEST:
            middle, spread = statistics.fmean(earlier), statistics.stdev(earlier)
            yield at, max(0.0, middle - width * spread), middle + width * spread


def resolved(template: Mapping[str, Any]) -> dict[str, Any]:
    """The dashboard's body in a synthesised template; what CloudFormation would fill in is named by its logical id."""
    resources = template["Resources"]
    [body] = [r["Properties"]["DashboardBody"] for r in resources.values() if r["Type"] == "AWS::CloudWatch::Dashboard"]

    def text(part: Any) -> str:
        if isinstance(part, str):
            return part
        if "Ref" in part:
            return "us-east-1" if part["Ref"] == "AWS::Region" else str(part["Ref"])
        name, attribute = part["Fn::GetAtt"]
        if attribute == "Arn":
            return f"arn:aws:cloudwatch:us-east-1:000000000000:alarm:{resources[name]['Properties']['AlarmName']}"
        return str(name)

    found: dict[str, Any] = json.loads("".join(text(part) for part in body["Fn::Join"][1]))
    return found
