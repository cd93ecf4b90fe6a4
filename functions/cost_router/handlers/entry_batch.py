"""The batch function as deployed: its parts are made once per process, its event loop lives as long."""

import asyncio
import os
from collections.abc import Mapping
from typing import Any, Protocol

from cost_router.adapters.aws import Aws
from cost_router.handlers import wiring_bulk
from cost_router.handlers.settings import BatchSettings, Settings

_settings, _batch = Settings.read(os.environ), BatchSettings.read(os.environ)
_door = wiring_bulk.queue_door(_settings, _batch, Aws())
_loop = asyncio.new_event_loop()


class Context(Protocol):
    """What is used of Lambda's context."""

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda ends the function."""


def handler(event: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Drain one batch of the jobs queue; answers with the messages that stay on it."""
    return _loop.run_until_complete(_door.drain(event, context.get_remaining_time_in_millis() / 1000))
