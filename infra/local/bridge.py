"""The metrics bridge: EMF log lines become CloudWatch metrics, as they do on AWS, so that the real alarms ring.

The emulator keeps the functions' log lines but does not read the metrics in them. Sources are the log groups of the
deployed functions and the output file of the app under uvicorn.
"""

import datetime as dt
import json
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from infra.local.emulator import Emulator
from infra.local.processes import LocalStackError

POLL_SECONDS: Final = 0.25
OVERLAP_MS: Final = 10_000  # lines of one moment may arrive late and out of order
Point = tuple[str, dict[str, Any]]  # namespace, MetricDatum


def points(line: str) -> Iterator[Point]:
    """The metric data in one log line; nothing when it is no EMF.

    Source: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
    """
    if '"_aws"' not in line:
        return
    try:
        document = json.loads(line)
        blocks = document["_aws"]["CloudWatchMetrics"]
        at = dt.datetime.fromtimestamp(document["_aws"]["Timestamp"] / 1000, dt.UTC)
    except (KeyError, TypeError, ValueError):
        return
    for block in blocks:
        for names in block["Dimensions"]:
            dimensions = [{"Name": name, "Value": str(document[name])} for name in names]
            for metric in block["Metrics"]:
                value = document[metric["Name"]]
                values = value if isinstance(value, list) else [value]
                datum = {"MetricName": metric["Name"], "Dimensions": dimensions, "Timestamp": at, "Values": values}
                yield block["Namespace"], {**datum, "Unit": metric.get("Unit", "None")}


@dataclass(slots=True)
class Bridge:
    """Reads new log lines and puts their metrics, once each."""

    emulator: Emulator
    log_groups: Sequence[str]
    files: Sequence[Path] = ()
    _seen: set[tuple[str, str]] = field(default_factory=set)
    _since: int = 0  # milliseconds since the epoch
    _offsets: dict[Path, int] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _failure: Exception | None = None
    lines: list[str] = field(default_factory=list)  # everything read, for the tests that look for leaks

    def pump(self) -> int:
        """Put the metrics of every line not seen before; gives how many data points there were."""
        began = int(time.time() * 1000)
        found = [point for line in self._new_lines() for point in points(line)]
        self._since = began - OVERLAP_MS
        for namespace in {namespace for namespace, _ in found}:
            data = [datum for name, datum in found if name == namespace]
            for start in range(0, len(data), 500):
                self.emulator.client("cloudwatch").put_metric_data(
                    Namespace=namespace, MetricData=data[start : start + 500]
                )
        return len(found)

    def start(self) -> None:
        """Pump in the background until `end`."""

        def run() -> None:
            try:
                while not self._stop.wait(POLL_SECONDS):
                    self.pump()
            except Exception as error:  # noqa: BLE001  a thread's failure is told to whoever waits for its work
                self._failure = error

        self._thread = threading.Thread(target=run, name="metrics-bridge", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise `LocalStackError` when pumping has failed."""
        if self._failure:
            raise LocalStackError(f"the metrics bridge failed: {self._failure!r}") from self._failure

    def end(self) -> None:
        """Stop pumping."""
        self._stop.set()
        if self._thread:
            self._thread.join()

    def _new_lines(self) -> Iterator[str]:
        logs = self.emulator.client("logs")
        for group in self.log_groups:
            yield from self._kept(self._new_messages(logs, group))
        for file in self.files:
            yield from self._kept(self._new_file_lines(file))

    def _kept(self, lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            self.lines.append(line)
            yield line

    def _new_messages(self, logs: Any, group: str) -> list[str]:
        """Messages of streams not seen before: the emulator writes one stream for each invocation, all at once."""
        try:
            pages = list(logs.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=self._since))
        except logs.exceptions.ResourceNotFoundException:
            return []  # the function has not run yet
        events = [event for page in pages for event in page["events"]]
        new = [event for event in events if (group, event["logStreamName"]) not in self._seen]
        self._seen.update((group, event["logStreamName"]) for event in new)
        return [str(event["message"]) for event in new]

    def _new_file_lines(self, file: Path) -> list[str]:
        with file.open("rb") as stream:
            stream.seek(self._offsets.get(file, 0))
            whole, newline, _ = stream.read().rpartition(b"\n")
        self._offsets[file] = self._offsets.get(file, 0) + len(whole) + len(newline)
        return whole.decode("utf-8", "replace").splitlines()
