"""A dashboard's body is read as CloudWatch reads it, from a CloudWatch of the test's own."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from infra.pictures.board import BadBoard, Reader, resolved
from infra.pictures.page import page

NOW = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)
SPEND = ["ClaudeCostRouter", "SpendUSD", "service", "cost-router-prod"]
SEARCH = "SEARCH('{ClaudeCostRouter,model,service} service=\"cost-router-prod\" MetricName=\"SpendUSD\"', 'Sum', 300)"
Point = tuple[tuple[str, ...], int, float]  # dimension values, minutes before NOW, value


@dataclass
class CloudWatch:
    """Sums values by period; knows one metric with several dimensions, and one alarm in alarm."""

    points: list[Point]

    def get_paginator(self, operation: str) -> "Pages":
        return Pages(self, operation)


@dataclass
class Pages:
    cloudwatch: CloudWatch
    operation: str

    def paginate(self, **asked: Any) -> Iterator[dict[str, Any]]:
        yield getattr(self, self.operation)(asked)

    def describe_alarms(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"MetricAlarms": [{"AlarmName": "rings", "StateValue": "ALARM"}]}

    def list_metrics(self, _: dict[str, Any]) -> dict[str, Any]:
        found = dict.fromkeys(values for values, _, _ in self.cloudwatch.points)
        names = ("service", "model")
        metrics = [[{"Name": n, "Value": v} for n, v in zip(names, values, strict=False)] for values in found]
        return {"Metrics": [{"Dimensions": dimensions} for dimensions in metrics]}

    def get_metric_data(self, asked: dict[str, Any]) -> dict[str, Any]:
        [query] = asked["MetricDataQueries"]
        stat = query["MetricStat"]
        wanted = {dimension["Value"] for dimension in stat["Metric"]["Dimensions"]}
        sums: dict[float, float] = {}
        for values, minutes, value in self.cloudwatch.points:
            at = NOW - dt.timedelta(minutes=minutes)
            if set(values) == wanted and asked["StartTime"] <= at < asked["EndTime"]:
                period = at.timestamp() // stat["Period"] * stat["Period"]
                sums[period] = sums.get(period, 0.0) + value
        times = [dt.datetime.fromtimestamp(period, dt.UTC) for period in reversed(sums)]
        return {"MetricDataResults": [{"Timestamps": times, "Values": list(reversed(sums.values()))}]}


WHOLE = ("cost-router-prod",)


def reader(*points: Point) -> Reader:
    return Reader(CloudWatch(list(points)), NOW)


def series(found: Reader, *metrics: list[Any], start: dt.datetime | None = None) -> list[Any]:
    return found.series({"metrics": list(metrics)}, start or NOW - dt.timedelta(days=1))


def test_values_are_summed_by_period_and_are_in_order_of_time() -> None:
    [spend] = series(
        reader((WHOLE, 12, 1.0), (WHOLE, 11, 2.0), (WHOLE, 4, 4.0)), [*SPEND, {"stat": "Sum", "label": "spend"}]
    )
    assert [value for _, value in spend.points] == [3.0, 4.0]
    assert (spend.label, spend.period, spend.last, spend.whole) == ("spend", 300, 4.0, 7.0)


def test_a_day_long_period_begins_at_midnight_so_the_last_value_is_todays() -> None:
    day = [*SPEND, {"stat": "Sum", "period": 86_400}]
    [spend] = series(reader((WHOLE, 13 * 60, 1.0), (WHOLE, 11 * 60, 2.0), (WHOLE, 1, 4.0)), day)
    assert [value for _, value in spend.points] == [1.0, 6.0]


def test_a_search_gives_a_line_for_each_model_and_none_for_the_sum_over_all() -> None:
    found = reader(
        (WHOLE, 4, 3.0), ((*WHOLE, "opus"), 4, 1.0), ((*WHOLE, "haiku"), 4, 2.0), (("other", "opus"), 4, 9.0)
    )
    lines = series(found, [{"expression": SEARCH, "label": "${PROP('Dim.model')}"}])
    assert [(line.label, line.last) for line in lines] == [("haiku", 2.0), ("opus", 1.0)]


def test_fill_puts_zeros_over_the_whole_time_but_makes_nothing_of_nothing() -> None:
    hidden = [*SPEND, {"stat": "Sum", "id": "n0", "visible": False}]
    filled = [{"expression": "FILL(n0, 0)", "label": "spend"}]
    start = NOW - dt.timedelta(minutes=20)
    [spend] = series(reader((WHOLE, 9, 5.0)), filled, hidden, start=start)
    assert (spend.label, [value for _, value in spend.points]) == ("spend", [0.0, 0.0, 5.0, 0.0])
    assert series(reader(), filled, hidden, start=start)[0].points == []


def test_the_band_is_the_same_hour_of_earlier_days_and_widens_with_its_number() -> None:
    days = [(WHOLE, day * 1440 + 10, value) for day, value in zip(range(1, 14), [1.0, 3.0] * 7, strict=False)]
    days += [(WHOLE, day * 1440 + 5, 2.0) for day in range(1, 14)]
    properties = {"metrics": [[*SPEND, {"stat": "Sum", "id": "m0"}], [{"expression": "ANOMALY_DETECTION_BAND(m0, 3)"}]]}
    band = reader(*days, (WHOLE, 10, 50.0)).band(properties, NOW - dt.timedelta(hours=1))
    assert band
    [(at, low, high)] = band.edges
    assert (band.width, at) == (3.0, (NOW - dt.timedelta(minutes=10)).timestamp())
    assert low == 0.0, "spend has no values below zero"
    assert high == pytest.approx(4.1217, abs=0.0001)


def test_without_enough_earlier_days_there_is_no_band() -> None:
    properties = {"metrics": [[*SPEND, {"stat": "Sum", "id": "m0"}], [{"expression": "ANOMALY_DETECTION_BAND(m0, 3)"}]]}
    band = reader((WHOLE, 10, 50.0)).band(properties, NOW - dt.timedelta(hours=1))
    assert band
    assert band.edges == []


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ([{"expression": "m1 / m2", "label": "x"}], "m1 / m2"),
        (["ClaudeCostRouter", "SpendUSD", ".", "x"], r"'\.'"),
        (["ClaudeCostRouter", "SpendUSD", "service"], "accepted: namespace"),
    ],
)
def test_what_cannot_be_drawn_is_quoted(metric: list[Any], said: str) -> None:
    with pytest.raises(BadBoard, match=said):
        series(reader(), metric)


def test_what_cloudformation_fills_in_is_named_by_its_logical_id() -> None:
    alarm = {"Type": "AWS::CloudWatch::Alarm", "Properties": {"AlarmName": "stack-Spend50"}}
    parts = ['{"a": "', {"Ref": "AWS::Region"}, " ", {"Fn::GetAtt": ["Jobs", "QueueName"]}, " "]
    parts += [{"Fn::GetAtt": ["Ring", "Arn"]}, '"}']
    board = {"Type": "AWS::CloudWatch::Dashboard", "Properties": {"DashboardBody": {"Fn::Join": ["", parts]}}}
    body = resolved({"Resources": {"Ring": alarm, "Board": board}})
    assert body == {"a": "us-east-1 Jobs arn:aws:cloudwatch:us-east-1:000000000000:alarm:stack-Spend50"}


def widget(kind: str, **properties: Any) -> dict[str, Any]:
    return {"type": kind, "x": 6, "y": 1, "width": 8, "height": 6, "properties": {"title": "T <1>", **properties}}


def drawn(found: Reader, *widgets: dict[str, Any]) -> str:
    return page({"start": "-P1D", "widgets": widgets}, found, title="board", note="SIMULATED")


def test_a_widget_stands_where_cloudwatch_puts_it_and_what_is_written_is_escaped() -> None:
    html = drawn(reader(), widget("metric", view="singleValue", metrics=[SPEND]))
    assert '<section style="grid-column:7/span 8;grid-row:2/span 6"><h3>T &lt;1&gt;</h3>' in html
    assert "SIMULATED" in html


def test_a_graph_without_values_says_so() -> None:
    graph = widget("metric", view="timeSeries", metrics=[[*SPEND, {"stat": "Sum"}]])
    assert "No data in this time" in drawn(reader(), graph)
    assert "No data in this time" not in drawn(reader((WHOLE, 5, 1.0)), graph)


def test_a_dial_past_a_mark_has_the_marks_colour() -> None:
    marks = [{"value": 40, "color": "#e88b01"}, {"value": 47.5, "color": "#d13212"}]
    dial = widget("metric", view="gauge", metrics=[[*SPEND, {"stat": "Maximum"}]])
    dial["properties"] |= {"yAxis": {"left": {"min": 0, "max": 50}}, "annotations": {"horizontal": marks}}
    assert drawn(reader((WHOLE, 5, 39.9)), dial).count('<path style="stroke:#') == 0
    assert '<path style="stroke:#e88b01"' in drawn(reader((WHOLE, 5, 40.0)), dial)
    assert '<path style="stroke:#d13212"' in drawn(reader((WHOLE, 5, 47.5)), dial)
    assert "47.50</text>" in drawn(reader((WHOLE, 5, 47.5)), dial)


def test_alarms_have_their_state_and_unknown_ones_have_none() -> None:
    html = drawn(
        reader(), widget("alarm", alarms=["arn:aws:cloudwatch:r:0:alarm:rings", "arn:aws:cloudwatch:r:0:alarm:new"])
    )
    assert '<li class="bad"><b>In alarm</b>rings</li>' in html
    assert '<li class="dim"><b>Insufficient data</b>new</li>' in html


@pytest.mark.parametrize(
    ("properties", "said"), [({"view": "pie"}, "'pie'"), ({"view": "gauge", "start": "-PT8H"}, "-PT8H")]
)
def test_a_view_or_a_time_that_is_not_drawn_is_quoted(properties: dict[str, Any], said: str) -> None:
    with pytest.raises(BadBoard, match=said):
        drawn(reader(), widget("metric", metrics=[SPEND], **properties))
