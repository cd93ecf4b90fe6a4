"""The collector function as deployed: its schedules call it with a task, every minute, hour and day.

`{"task": "day", "day": "2026-11-22"}` compares another day than yesterday.
"""

import asyncio
import datetime as dt
import os
from collections.abc import Coroutine, Mapping
from typing import Any

from cost_router.adapters.aws import Aws
from cost_router.contract import Task
from cost_router.handlers import wiring, wiring_bulk
from cost_router.handlers.settings import CollectorSettings, Settings

_aws = Aws()
_settings, _collecting = Settings.read(os.environ), CollectorSettings.read(os.environ)
_collector = wiring.collector(_collecting, _aws)
_rounds = wiring_bulk.batch_rounds(_settings, _collecting, _aws)
_loop = asyncio.new_event_loop()


def handler(event: Mapping[str, Any], _context: object) -> None:
    """Do the task of the event; a failure fails the function, which an alarm watches."""
    _loop.run_until_complete(_task(event))


def _task(event: Mapping[str, Any]) -> Coroutine[Any, Any, None]:
    match event.get("task"):
        case Task.MINUTE:
            return _collector.every_minute()
        case Task.BATCHES:
            return _rounds.every_minute()
        case Task.HOUR:
            return _collector.every_hour()
        case Task.DAY:
            day = event.get("day")
            return _collector.every_day(dt.date.fromisoformat(day) if day else None)
        case task:
            raise ValueError(f"task {task!r}; accepted: {Task.MINUTE}, {Task.BATCHES}, {Task.HOUR}, {Task.DAY}")
