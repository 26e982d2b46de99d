"""The host without Ray: sandbox and judge gateway in this process. For small files, tests and debugging."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

from valor_ray.reasoning.reward import Rewarding
from valor_ray.reasoning.score_row import score_row
from valor_ray.reasoning.scoring.host import Work
from valor_ray.reasoning.scoring.work import shard_rows

IN_WORK = 64  # replies at a time: up to four calls each


class LocalScoreHost:
    """scoring.host.ScoreHost."""

    def __init__(self) -> None:
        self._judges: Any = None

    def rows(self, work: Work) -> Generator[dict[str, Any], None, None]:
        with asyncio.Runner() as runner:
            records = self._records(work)
            try:
                while (record := runner.run(anext(records, None))) is not None:
                    yield record
            finally:
                runner.run(records.aclose())

    def trouble(self) -> str:
        from valor_ray.judges.gateway.connect import gateways_of

        down = [] if self._judges is None else [g for g in gateways_of(self._judges) if not g.up]
        return "".join(f"{gateway.config.base_url} does not answer; " for gateway in down) + "waiting" * bool(
            down
        )

    async def _records(self, work: Work) -> AsyncGenerator[dict[str, Any], None]:
        from valor_ray.program.sandbox import Sandbox
        from valor_ray.reasoning.local_rewarder import local_rewarder
        from valor_ray.wiring import judging

        config = work.config
        assert config.judge.cache_dir is not None
        async with (
            judging(config.judge, Path(config.judge.cache_dir)) as judge,
            Sandbox(config.sandbox) as sandbox,
        ):
            self._judges = judge
            rewarder = local_rewarder(config.reward, judge, sandbox)
            async with contextlib.aclosing(records_of(work.shards, rewarder)) as records:
                async for record in records:
                    yield record


async def records_of(
    shards: Path, rewarder: Rewarding, in_work: int = IN_WORK
) -> AsyncGenerator[dict[str, Any], None]:
    """The record of every prepared row, as they get ready; `in_work` rows at a time, the next ones not read yet."""
    rows = shard_rows(shards)
    tasks: set[asyncio.Task[dict[str, Any]]] = set()
    try:
        while True:
            while len(tasks) < in_work and (row := next(rows, None)) is not None:
                tasks.add(asyncio.create_task(score_row(row, rewarder)))
            if not tasks:
                return
            done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted(done, key=_failed):  # what there is comes before an end
                yield task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.exception() is not None
