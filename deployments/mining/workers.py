"""Ray Data's workers: of queries, which become programs' phrases, and of pictures, which become checked boxes."""

from __future__ import annotations

import pickle
from asyncio import gather
from collections.abc import Coroutine, Iterable
from typing import Any

import pyarrow as pa

from deployments.ray_data import PoolWorker
from valor_ray.config.judging import Part
from valor_ray.config.tree import Config
from valor_ray.grounding.mine.outcome import Outcome, picture_outcome, program_outcome


class ProgramWorker(PoolWorker):
    """A worker of the first stream: the Serve policy writes programs, the node's sandbox runs them."""

    def __init__(self, config: Config, policy: str) -> None:
        """policy: name of its app."""
        from ray import serve

        from deployments.actors.sandbox_pool import RemotePhrases, open_pool
        from deployments.ports import RemotePolicy

        self._policy = RemotePolicy(serve.get_deployment_handle("policy", policy), patient=True)
        self._phrases = RemotePhrases(open_pool(config.sandbox))
        self._seed = config.grounding.seed

    async def work(self, rows: pa.Table) -> list[bytes]:
        """An outcome for each query. Raises PolicyError, ProgramError, ServiceError."""
        queries = map(pickle.loads, rows["order"].to_pylist())
        return await _packed(program_outcome(q, self._policy, self._phrases, self._seed) for q in queries)


class PictureWorker(PoolWorker):
    """A worker of the second stream: the Serve detector proposes boxes, the verifier's gateway checks them."""

    def __init__(self, config: Config, detector: str, gateway: str, part: Part) -> None:
        """detector, gateway: names of their apps. part: of the gateway's deployment."""
        from ray import serve

        from deployments.http.by_url.fetch import fetch
        from deployments.ports import RemoteDetector, RemoteJudge

        self._config, self._fetch = config, fetch
        self._detector = RemoteDetector(serve.get_deployment_handle("detector", detector), patient=True)
        self._judge = RemoteJudge(serve.get_deployment_handle(part, gateway), part)

    async def work(self, rows: pa.Table) -> list[bytes]:
        """An outcome for each order. Raises JudgeError, ServiceError."""
        orders = map(pickle.loads, rows["order"].to_pylist())
        return await _packed(
            picture_outcome(order, self._detector, self._judge, self._config, self._fetch) for order in orders
        )


async def _packed(outcomes: Iterable[Coroutine[Any, Any, Outcome]]) -> list[bytes]:
    return [pickle.dumps(outcome) for outcome in await gather(*outcomes)]
