"""The collector function as deployed: its schedules call it every minute and every hour."""

import asyncio
import os
from collections.abc import Mapping
from typing import Any, Final

from cost_router.adapters.aws import Aws
from cost_router.contract import Task
from cost_router.handlers import wiring
from cost_router.handlers.settings import CollectorSettings

_collector = wiring.collector(CollectorSettings.read(os.environ), Aws())
_loop = asyncio.new_event_loop()
TASKS: Final = {Task.MINUTE: _collector.every_minute, Task.HOUR: _collector.every_hour}


def handler(event: Mapping[str, Any], _context: object) -> None:
    """Do the task of the event; a failure fails the function, which an alarm watches."""
    task = event.get("task")
    if task not in TASKS:
        raise ValueError(f"task {task!r}; accepted: {', '.join(TASKS)}")
    _loop.run_until_complete(TASKS[task]())
