"""The host of `valor mine` on Ray: two streams, and the Serve apps that each needs."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from deployments.mining.workers import PictureWorker, ProgramWorker
from deployments.ray_data import Pool, data_context, results_of, roomy, through_pool
from valor_ray.config.models import resolve_model
from valor_ray.config.tree import Config
from valor_ray.grounding.mine.outcome import Order, Outcome
from valor_ray.placement.grounding import mining_placement
from valor_ray.records import Query

_QUERIES_AT_ONCE, _QUERIES_A_BLOCK = 32, 4  # per worker; rows that come back together
_PICTURES_AT_ONCE = 8  # per worker, so that calls to the verifier overlap
_MOST_BLOCKS = 4000  # of a stream; beyond, a block has several rows, up to
_MOST_ROWS = _PICTURES_AT_ONCE // 2
_OTHER_PARTS = 6  # actors and replicas that want room beside workers and gateway


class RayMineHost:
    """mine.host.MineHost on this machine's own Ray, or on the cluster of RAY_ADDRESS. `valor mine` makes one."""

    @contextmanager
    def running(self, config: Config, cache: Path, say: Callable[[str], None]) -> Iterator[_RayMining]:
        # Ray Data's actors make it print a false alarm
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        from deployments.serving import check_placed, check_policy, running_ray

        check_policy(config.policy)
        resolve_model(config.detector.model)
        config = roomy(config, _OTHER_PARTS + config.vlm.replicas + config.grounding.workers)
        with running_ray(config, say):
            check_placed(config, say, partial(mining_placement, config))
            yield _RayMining(config, cache, say)


class _RayMining:
    """mine.host.Mining. Each phase starts what it needs and takes it down again."""

    def __init__(self, config: Config, cache: Path, say: Callable[[str], None]) -> None:
        from deployments.metrics.grounding import MineMetrics

        self._config, self._cache, self._say = config, cache, say
        self._part = config.vlm_part
        self._gateway: Any = None
        self._metrics = MineMetrics(cache.parent.name)  # the answers lie in the run folder

    def programs(self, queries: Sequence[Query]) -> Generator[Outcome, None, None]:
        from deployments.app import policy_app, policy_name, writer_app
        from deployments.serving import apps_up
        from valor_ray.wiring import writer_cache

        name, config = policy_name(str(self._cache)), self._config
        app = policy_app(config, None)
        if config.policy.endpoint is not None:
            app = writer_app(config, writer_cache(config, self._cache.parent), patient=True)
        with apps_up(config, {"policy": (name, app)}, self._say, ends=True):
            self._say("writing programs")
            at_once = _QUERIES_AT_ONCE // _QUERIES_A_BLOCK
            pool = Pool(ProgramWorker, (config, name), config.policy.replicas, at_once)
            yield from self._metrics.counted(_outcomes(queries, _QUERIES_A_BLOCK, pool))

    def pictures(self, orders: Sequence[Order]) -> Generator[Outcome, None, None]:
        from deployments.app import eye_apps, eye_name, gateway_app, gateway_name
        from deployments.serving import apps_up

        config, part, folder = self._config, self._part, str(self._cache)
        gateway, detector = gateway_name(folder, part), eye_name("detector", folder)
        rows = min(_MOST_ROWS, -(-len(orders) // _MOST_BLOCKS))
        pool = Pool(
            PictureWorker,
            (config, detector, gateway, part),
            config.grounding.workers,
            _PICTURES_AT_ONCE // rows,
        )
        apps = {
            str(part): (gateway, gateway_app(config.vlm, folder, part)),
            "detector": (detector, eye_apps(config)["detector"]),
        }
        with apps_up(config, apps, self._say) as handles:
            self._gateway = handles[part]
            self._say("mining")
            try:
                yield from self._metrics.counted(_outcomes(orders, rows, pool))
            finally:
                self._gateway = None

    def trouble(self) -> str:
        if (gateway := self._gateway) is None:
            return ""  # and nothing imported: the main thread may be at it, and two importing Ray break each other
        from deployments.parts.judge_watch import judge_trouble

        return judge_trouble(gateway, self._part)


def _outcomes(items: Sequence[Any], rows: int, pool: Pool) -> Generator[Outcome, None, None]:
    """The items, `rows` of them a block, through the pool; outcomes as they come."""
    import ray.data

    data_context()
    blocks = [
        pa.table({"order": pa.array([pickle.dumps(each) for each in items[at : at + rows]], pa.binary())})
        for at in range(0, len(items), rows)
    ]
    for result in results_of(through_pool(ray.data.from_arrow(blocks), pool)):
        yield pickle.loads(result)
