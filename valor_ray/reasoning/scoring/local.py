"""The host without Ray: sandbox and judge gateway in this process. For small files, tests and debugging."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Generator
from functools import partial
from pathlib import Path
from typing import Any

from valor_ray.reasoning.score_row import score_row
from valor_ray.reasoning.scoring.host import Work
from valor_ray.reasoning.scoring.work import shard_rows
from valor_ray.runs.at_once import as_ready, taken

IN_WORK = 64  # replies at a time: up to four calls each


class LocalScoreHost:
    """scoring.host.ScoreHost."""

    def __init__(self) -> None:
        self._judges: Any = None

    def rows(self, work: Work) -> Generator[dict[str, Any], None, None]:
        return taken(self._records(work))

    def trouble(self) -> str:
        from valor_ray.judges.gateway.connect import gateways_of

        down = [] if self._judges is None else [g for g in gateways_of(self._judges) if not g.up]
        return "".join(f"{gateway.config.address} does not answer; " for gateway in down) + "waiting" * bool(
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
            score = partial(score_row, rewarder=rewarder)
            async with contextlib.aclosing(as_ready(shard_rows(work.shards), score, IN_WORK)) as records:
                async for record in records:
                    yield record
