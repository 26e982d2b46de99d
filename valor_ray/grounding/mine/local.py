"""The host without Ray: policy, sandbox, detector and gateway in this process. For small sets and debugging."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.grounding.mine.outcome import Order, Outcome, picture_outcome, program_outcome
from valor_ray.grounding.mine.phrases import program_phrases
from valor_ray.grounding.mine.step import Fetch
from valor_ray.records import Query
from valor_ray.runs.at_once import as_ready, taken

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

QUERIES_AT_ONCE = 32  # as many as the policy's engine takes together on a small machine
PICTURES_AT_ONCE = 8  # so that calls to the verifier overlap


class LocalMineHost:
    """host.MineHost."""

    def __init__(self, fetch: Fetch | None = None) -> None:
        """fetch: how pictures behind URLs are read; None: not at all."""
        self._fetch = fetch

    @contextlib.contextmanager
    def running(self, config: Config, cache: Path, say: Callable[[str], None]) -> Iterator[_LocalMining]:
        yield _LocalMining(config, cache, self._fetch, say)


class _LocalMining:
    """host.Mining; each phase has an event loop of its own, which runs while an outcome is waited for."""

    def __init__(self, config: Config, cache: Path, fetch: Fetch | None, say: Callable[[str], None]) -> None:
        self._config, self._cache, self._fetch, self._say = config, cache, fetch, say
        self._judges: Any = None

    def programs(self, queries: Sequence[Query]) -> Generator[Outcome, None, None]:
        return taken(self._programs(queries))

    def pictures(self, orders: Sequence[Order]) -> Generator[Outcome, None, None]:
        return taken(self._pictures(orders))

    def trouble(self) -> str:
        from valor_ray.judges.gateway.connect import gateways_of

        down = [] if self._judges is None else [each for each in gateways_of(self._judges) if not each.up]
        return "".join(f"{gateway.config.address} does not answer; waiting" for gateway in down)

    async def _programs(self, queries: Sequence[Query]) -> AsyncGenerator[Outcome, None]:
        from valor_ray.program.sandbox import Sandbox
        from valor_ray.wiring import policy

        self._say("starting the policy in this process")
        async with (
            policy(self._config, self._cache.parent) as writes,
            Sandbox(self._config.sandbox) as sandbox,
        ):
            work = partial(
                program_outcome,
                policy=writes,
                phrases_of=partial(program_phrases, sandbox=sandbox),
                seed=self._config.grounding.seed,
            )
            async with contextlib.aclosing(as_ready(queries, work, QUERIES_AT_ONCE)) as outcomes:
                async for outcome in outcomes:
                    yield outcome

    async def _pictures(self, orders: Sequence[Order]) -> AsyncGenerator[Outcome, None]:
        from valor_ray.models.grounding_dino.detector import GroundingDino
        from valor_ray.wiring import InProcessDetector, judging

        config = self._config
        async with judging(config.vlm, self._cache, config.vlm_part) as self._judges:
            detector = InProcessDetector(GroundingDino(config.detector))
            work = partial(
                picture_outcome, detector=detector, judge=self._judges, config=config, fetch=self._fetch
            )
            async with contextlib.aclosing(as_ready(orders, work, PICTURES_AT_ONCE)) as outcomes:
                async for outcome in outcomes:
                    yield outcome
        self._judges = None
