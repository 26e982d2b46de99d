"""The host of `valor eval` on Ray: the apps that answering needs, and a stream of questions through workers."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from deployments.evaluation.workers import AnswerWorker, Apps, Order, PictureFile, PictureReader
from deployments.ray_data import Pool, data_context, results_of, roomy, through_pool
from valor_ray.asking.kept import Replied
from valor_ray.config.models import resolve_model
from valor_ray.config.tree import Config
from valor_ray.placement.serving import serving_placement
from valor_ray.selecting.select import Select
from valor_ray.wiring import vlm_cache, writer_cache

if TYPE_CHECKING:
    from ray.serve import Application

_AT_ONCE = (
    16  # questions of a worker, unless the caller says: enough for batches, and few enough pictures in memory
)
_MOST_BLOCKS = 4000  # of the stream; beyond, a block has several questions
_OTHER_PARTS = 8  # actors and replicas that want room beside workers and replicas


@dataclass(frozen=True)
class RayEvalHost:
    """Answers questions on this machine's own Ray, or on the cluster of RAY_ADDRESS. `valor eval` makes one."""

    config: Config
    folder: Path  # of the run: names the apps, and keeps what the gateways are answered
    pictures: PictureFile
    at_once: int | None  # questions in work, all workers together; None: enough to keep the replicas busy
    say: Callable[[str], None]

    def replies(self, orders: Sequence[Order]) -> Generator[Replied, None, None]:
        """What came of each, as they come; starts what answering needs, and ends it when it is closed.

        A question that nobody replied to is a Replied that says so. Raises ConfigError before anything is started,
        ServiceError when a part does not start or Ray fails, ProgramError where programs cannot be run.
        """
        os.environ.setdefault(
            "RAY_BACKEND_LOG_LEVEL", "fatal"
        )  # Ray Data's actors make it print a false alarm
        from deployments.parts.following import check_followed
        from deployments.serving import apps_up, check_placed, check_policy, running_ray

        config, chosen = self.config, orders[0].select
        check_policy(config.policy)
        for model in (config.detector.model, config.depth.model):
            resolve_model(model)
        if config.detector.follow is not None:
            self.say(check_followed(config.detector.follow, "detector.follow"))
        config.vlm.check_keys(config.vlm_part)
        if chosen is not Select.VOTE:
            config.judge.check_keys("judge")
        workers = max(1, config.policy.replicas)
        config = roomy(config, _OTHER_PARTS + 2 * workers + config.vlm.replicas + config.judge.replicas)
        names, apps = self._apps(chosen)
        with running_ray(config, self.say):
            check_placed(config, self.say, partial(serving_placement, config))
            with apps_up(config, apps, self.say):
                self.say(f"asking {len(orders)} questions")
                yield from self._streamed(orders, config, names, workers)

    def _apps(self, chosen: Select) -> tuple[Apps, Mapping[str, tuple[str, Application]]]:
        """Their names, and the apps by their one deployment."""
        from deployments.app import (
            eye_apps,
            eye_name,
            gateway_app,
            gateway_name,
            policy_app,
            policy_name,
            writer_app,
        )

        config, run = self.config, str(self.folder)
        policy = policy_app(config, None)
        if config.policy.endpoint is not None:
            policy = writer_app(config, writer_cache(config, self.folder), patient=True)
        asked = {config.vlm_part: config.vlm} | ({} if chosen is Select.VOTE else {"judge": config.judge})
        folders = {
            part: str(vlm_cache(self.folder) if part == "vlm" else self.folder / "judge_cache")
            for part in asked
        }
        gateways = {part: gateway_name(folders[part], part) for part in asked}
        eyes = {part: (eye_name(part, run), app) for part, app in eye_apps(config).items()}
        names = Apps(
            policy_name(run),
            eyes["detector"][0],
            eyes["depth"][0],
            gateways[config.vlm_part],
            gateways.get("judge"),
        )
        return names, {
            **{
                str(part): (gateways[part], gateway_app(endpoint, folders[part], part))
                for part, endpoint in asked.items()
            },
            **eyes,
            "policy": (names.policy, policy),
        }

    def _streamed(
        self, orders: Sequence[Order], config: Config, names: Apps, workers: int
    ) -> Generator[Replied, None, None]:
        import ray.data

        data_context()
        rows = -(-len(orders) // _MOST_BLOCKS)
        blocks = [
            pa.table(
                {"order": pa.array([pickle.dumps(each) for each in orders[at : at + rows]], pa.binary())}
            )
            for at in range(0, len(orders), rows)
        ]
        at_once = self.at_once or _AT_ONCE * workers
        workers = min(workers, at_once)
        arguments = (config, names, orders[0].select, self._pictures(config))
        pool = Pool(AnswerWorker, arguments, workers, max(1, at_once // (workers * rows)))
        for result in results_of(through_pool(ray.data.from_arrow(blocks), pool)):
            yield pickle.loads(result)

    def _pictures(self, config: Config) -> Any:
        """How workers have the pictures: on a cluster from this machine, so that no disk need be shared."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        if config.ray.address() is None:
            return self.pictures
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        reader = ray.remote(PictureReader).options(num_cpus=0, max_concurrency=32, scheduling_strategy=here)
        return reader.remote(self.pictures, config.images)
