"""Work on many things, some at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def each(items: Iterable[T], work: Callable[[T], Awaitable[None]], concurrency: int) -> None:
    """`work` on each item in turn, `concurrency` at a time. The first error ends all, and is raised as it is."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(worker())
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed


async def as_ready(
    items: Iterable[T], work: Callable[[T], Awaitable[R]], at_once: int
) -> AsyncGenerator[R, None]:
    """What `work` gives of each item, as it gets ready; `at_once` items at a time, the next ones not begun yet.

    An error ends all, and is raised when what was ready beside it has been given.
    """
    waiting = iter(items)
    tasks: set[asyncio.Future[R]] = set()
    try:
        while True:
            while len(tasks) < at_once and (item := next(waiting, None)) is not None:
                tasks.add(asyncio.ensure_future(work(item)))
            if not tasks:
                return
            done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted(done, key=_failed):
                yield task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _failed(task: asyncio.Future[Any]) -> bool:
    return task.exception() is not None


def taken(given: AsyncGenerator[T, None]) -> Generator[T, None, None]:
    """What an asynchronous generator gives, none of it None, for a caller that is not asynchronous.

    It has an event loop of its own, which runs while something is waited for.
    """
    with asyncio.Runner() as runner:
        try:
            while (each := runner.run(anext(given, None))) is not None:
                yield each
        finally:
            runner.run(given.aclose())
