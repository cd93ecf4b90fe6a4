"""The same work on many things, some at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

T = TypeVar("T")
AT_ONCE: Final = 16


async def for_each(things: Sequence[Any], work: Callable[[Any], Awaitable[T]]) -> list[T]:
    """`work` on each, some at a time; gives what it gave, in order. The first failure is raised when all have ended."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(thing: Any) -> T:
        async with gate:
            return await work(thing)

    done = await asyncio.gather(*(one(thing) for thing in things), return_exceptions=True)
    given: list[T] = []
    for outcome in done:
        if isinstance(outcome, BaseException):
            raise outcome
        given.append(outcome)
    return given
