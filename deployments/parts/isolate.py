"""Run a model over a batch without letting one bad item fail the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

Item = TypeVar("Item")
Ready = TypeVar("Ready")
Result = TypeVar("Result")


async def run_batch(
    model: Callable[[list[Item]], list[Result]], items: list[Item]
) -> list[Result | BaseException]:
    """Results in the order of `items`, from a thread so that the replica goes on answering health checks.

    When the batch fails, its items run one by one and only those that fail alone come back as exceptions.
    """
    (outcome,) = await asyncio.gather(asyncio.to_thread(model, items), return_exceptions=True)
    if not isinstance(outcome, BaseException):
        return list(outcome)
    if len(items) == 1:
        return [outcome]
    return [(await run_batch(model, [item]))[0] for item in items]


async def run_prepared(
    prepare: Callable[[Item], Awaitable[Ready]],
    model: Callable[[list[Ready]], list[Result]],
    items: list[Item],
) -> list[Result | BaseException]:
    """`run_batch` over what is made of each item first, all at the same time; one that cannot be prepared comes back as
    its exception and is no part of the batch."""
    prepared = await asyncio.gather(*map(prepare, items), return_exceptions=True)
    ready = [one for one in prepared if not isinstance(one, BaseException)]
    results = await run_batch(model, ready) if ready else None
    left = iter(results or ())
    return [one if isinstance(one, BaseException) else next(left) for one in prepared]
