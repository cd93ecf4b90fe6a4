"""The collector function as deployed: its schedules call it with a task, every minute or every hour."""

import asyncio
import os
from collections.abc import Mapping
from typing import Any, Final

from cost_router.adapters.aws import Aws
from cost_router.contract import Task
from cost_router.handlers import wiring
from cost_router.handlers.settings import CollectorSettings, Settings

_aws = Aws()
_settings, _collecting = Settings.read(os.environ), CollectorSettings.read(os.environ)
_collector = wiring.collector(_collecting, _aws)
_rounds = wiring.batch_rounds(_settings, _collecting, _aws)
_loop = asyncio.new_event_loop()
TASKS: Final = {
    Task.MINUTE: _collector.every_minute,
    Task.HOUR: _collector.every_hour,
    Task.BATCHES: _rounds.every_minute,
}


def handler(event: Mapping[str, Any], _context: object) -> None:
    """Do the task of the event; a failure fails the function, which an alarm watches."""
    task = event.get("task")
    if task not in TASKS:
        raise ValueError(f"task {task!r}; accepted: {', '.join(TASKS)}")
    _loop.run_until_complete(TASKS[task]())
