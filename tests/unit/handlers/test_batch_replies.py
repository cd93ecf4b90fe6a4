"""Results of a batch as one body, within a request's time."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator

import pytest

from cost_router.core.errors import DeadlinePassed
from cost_router.core.message_batches import MessageBatch
from cost_router.handlers.batch_replies import joined, json_lines
from tests.builders import NOW, run

BATCH = MessageBatch("msgbatch_1", "acme", 3, NOW - dt.timedelta(hours=1))


async def rows(stops: asyncio.Event | None = None) -> AsyncIterator[bytes]:
    yield b"2"
    if stops:
        await stops.wait()
    yield b"3"


def test_results_are_lines() -> None:
    assert run(joined(json_lines(b"1", rows()), BATCH, 10.0)) == b"1\n2\n3\n"


def test_results_that_cannot_be_read_in_time_say_where_they_can() -> None:
    async def go() -> bytes:
        return await joined(json_lines(b"1", rows(asyncio.Event())), BATCH, 0.01)

    with pytest.raises(DeadlinePassed, match=r"3 lines could not be .*cost-router results msgbatch_1"):
        run(go())
