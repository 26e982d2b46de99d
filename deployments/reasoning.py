"""Trains the policy on Ray: what carries `valor train reasoning`, and the same thing as a job.

    valor train reasoning --run runs/first
    ray job submit -- python -m jobs.train_reasoning --run /shared/runs/first

Takes the options of `valor train reasoning`. On a cluster, the run folder must be one that all nodes see, or a URL.

Ray Serve holds policy replicas and judges; Ray Data streams assignments through rollout workers, which wait for their
turn, sample, and judge; the driver records what comes back and hands it to the buffer; Ray Train runs the learner,
which takes steps from the buffer and publishes new weights to the replicas.
"""

from __future__ import annotations

import os
import pickle
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from deployments.actors.rewarding import remote_rewarder
from deployments.failures import log_place
from deployments.learner.leaving import leave_machine, same_in_all, watch_notice
from deployments.learner.ray_train import LearnerTask, RayLearner, noting
from deployments.ray_data import Pool, PoolWorker, data_context, results_of, through_pool
from valor_ray.config.tree import Config
from valor_ray.reasoning.learner.learn import LearnerEnd, learn
from valor_ray.reasoning.learner.ports import LearnerLeaves
from valor_ray.reasoning.training.folder import TrainFolder, samples_at
from valor_ray.reasoning.training.host import RolloutStep, TrainWork
from valor_ray.reasoning.training.rollout import RolloutResult
from valor_ray.runs.publications import Transfer, version_name, version_step
from valor_ray.runs.store.place import objects_of
from valor_ray.runs.weight_channel import FileChannel, Probe, Published, WeightChannel, published_by

if TYPE_CHECKING:
    from ray.data import Dataset

    from valor_ray.reasoning.learner.live_channel import Told
    from valor_ray.wiring import Eyes

T = TypeVar("T")
_PARTING_S = 120.0  # for the learner to end when rollouts have failed
_AHEAD = 4  # assignments beyond the lag that a worker holds, so that none waits for Ray Data
_PUBLISH_S = 600.0  # for all replicas to carry new weights; a replica that starts again takes minutes


class RolloutWorker(PoolWorker):
    """A worker of the pool: samples by the Serve policy, programs in the node's sandbox, judges by the Serve gateway.

    It waits for its turn at the buffer, which comes when the weights are new enough.
    """

    def __init__(self, config: Config, folder: str, buffer: Any) -> None:
        from ray import serve

        from deployments.app import policy_name
        from deployments.ports import RemotePolicy

        run = TrainFolder(Path(folder))
        policy = RemotePolicy(serve.get_deployment_handle("policy", policy_name(folder)))
        rewarder = remote_rewarder(config, str(run.cache))
        self._buffer = buffer
        self._step = RolloutStep(config, policy, rewarder, samples_at(run.samples))

    async def work(self, rows: pa.Table) -> list[bytes]:
        """The outcome of the block's one assignment; nothing when the run has stopped."""
        outcomes = []
        for packed in rows["order"].to_pylist():
            if mine := await self._buffer.turn.remote(pickle.loads(packed)):
                outcomes.append(pickle.dumps(await self._step(mine)))
        return outcomes


class RayTrainHost:
    """training.host.TrainHost on this machine's own Ray, or on the cluster of RAY_ADDRESS.

    `valor train reasoning` makes one and `reasoning.training.run` uses it. `running` waits until policy and judge are
    up, and takes down what it has started.
    """

    def __init__(self, *, evaluated: bool = True, learns: bool = True) -> None:
        """evaluated, learns: whether `eyes` and a learner will be wanted, so that what they need can be checked and
        kept free before anything starts."""
        self._evaluated, self._learns = evaluated, learns

    @contextmanager
    def running(self, config: Config, folder: TrainFolder, say: Callable[[str], None]) -> Iterator[_RayRun]:
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        from deployments.serving import training

        run, answers = folder.path.resolve(), folder.cache.resolve()
        with training(config, run, answers, say, evaluated=self._evaluated, learns=self._learns) as policy:
            yield _RayRun(config, folder, policy, say)


class _RayRun:
    def __init__(self, config: Config, folder: TrainFolder, policy: Any, say: Callable[[str], None]) -> None:
        from deployments.ports import RemotePolicy

        self.policy = RemotePolicy(policy, patient=True)
        self._config, self._folder = config, TrainFolder(folder.path.resolve())
        self._say = say

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        import asyncio

        return asyncio.run(work)

    @asynccontextmanager
    async def eyes(self) -> AsyncIterator[Eyes]:
        """Both models in processes of their own, so that neither the driver nor a cluster's head needs a GPU."""
        from deployments.ports import RemoteDepth, RemoteDetector
        from deployments.serving import seeing
        from valor_ray.wiring import Eyes

        async with seeing(self._config, self._folder.path, self._say) as handles:
            yield Eyes(
                RemoteDetector(handles["detector"], patient=True), RemoteDepth(handles["depth"], patient=True)
            )

    def carry(self, step: int, folder: Path) -> None:
        from deployments.actors.publications import publish

        publish(str(self._folder.path), version_name(step), folder.resolve(), [], _PUBLISH_S)

    def learn(self, work: TrainWork) -> LearnerEnd:
        import ray

        from deployments.actors.buffer import open_buffer
        from deployments.metrics.training import measured

        work = measured(work, self._folder.path.name)
        buffer = open_buffer(work.config, work.shards, work.curriculum)
        for outcome in work.recorded:
            ray.get(buffer.put.remote(pickle.dumps(outcome)))
        if work.learner:
            return self._learn(work, buffer)
        ray.get(buffer.published.remote(work.steps))
        for outcome in outcomes(work, self._folder, buffer):
            work.record(outcome)
        return LearnerEnd(0, None)

    def _learn(self, work: TrainWork, buffer: Any) -> LearnerEnd:
        import ray
        from ray import serve

        from deployments.app import gateway_name
        from deployments.parts.judge_watch import judge_watched

        grpo = work.config.grpo
        given = {
            "config": work.config,
            "folder": str(self._folder.path),
            "steps": work.steps,
            "buffer": buffer,
        }
        learner = RayLearner(
            LearnerTask(
                learner_process,
                given,
                grpo.workers,
                grpo.num_gpus,
                self._folder.path / "ray_train",
                gloo=grpo.device == "cpu",
            ),
            buffer,
            {"say": work.say, "step": work.step_done},
            lambda reason: ray.get(buffer.stop.remote(reason)),
        )
        learner.start()
        try:
            judge = serve.get_deployment_handle("judge", gateway_name(str(self._folder.cache), "judge"))
            with judge_watched(judge, work.say):
                for outcome in outcomes(work, self._folder, buffer):
                    work.record(outcome)
                    ray.get(buffer.put.remote(pickle.dumps(outcome)))
        except BaseException:
            ray.get(buffer.stop.remote("rollouts have failed"))
            learner.join(_PARTING_S)
            raise
        learner.join()
        ray.kill(buffer)
        end: LearnerEnd = learner.end()
        return end


def learner_process(given: dict[str, Any]) -> None:
    """What each process of Ray Train runs."""
    from ray.train import get_context
    from ray.train.huggingface.transformers import prepare_trainer

    config, folder, buffer = given["config"], TrainFolder(Path(given["folder"])), given["buffer"]
    start, note = same_in_all(uuid.uuid4().hex), noting(buffer)
    link = _RayLink(given["folder"], buffer, start)
    first = get_context().get_world_rank() == 0
    log_place("learner")
    watch_notice(lambda: buffer.leave.remote(start))
    try:
        end = learn(
            config,
            folder.checkpoints,
            given["steps"],
            link,
            _channel(config, folder, link, first),
            lambda line: note("say", line),
            lambda record: note("step", dict(record)),
            prepare_trainer,
        )
    except LearnerLeaves as leaves:
        leave_machine(leaves.step, note)
    note("end", end)


def _channel(config: Config, folder: TrainFolder, link: _RayLink, first: bool) -> WeightChannel:
    objects = objects_of(folder.path)
    files = FileChannel(folder.weights, config.grpo.max_lag + 2, link.announce, first, objects)
    if config.policy.weight_transfer is None:
        return files
    import ray
    from accelerate.utils import broadcast_object_list
    from ray.train import get_context

    from valor_ray.reasoning.learner.live_channel import LiveChannel

    return LiveChannel(
        files,
        link.members,
        link.announce_live,
        lambda own: broadcast_object_list([own])[0],
        backend=config.policy.weight_transfer,
        engine_ranks=max(1, int(config.policy.num_gpus)),
        rank=get_context().get_world_rank(),
        address=ray.util.get_node_ip_address,
    )


class _RayLink:
    """learner.ports.BatchSource over the buffer's actor, and what a FileChannel announces to the policy replicas."""

    def __init__(self, folder: str, buffer: Any, start: str) -> None:
        self._folder, self._buffer, self._start = folder, buffer, start

    def batch(self, step: int) -> Any:
        import ray

        return ray.get(self._buffer.batch.remote(step, self._start))

    def checkpointed(self, step: int) -> None:
        import ray

        ray.get(self._buffer.checkpointed.remote(step))

    def announce(self, step: int, folder: Path, probe: Probe) -> Published:
        import ray

        from deployments.actors.publications import publish

        answers = publish(self._folder, version_name(step), folder, probe, _PUBLISH_S)
        ray.get(self._buffer.published.remote(step))
        return published_by(answers)

    def members(self) -> tuple[str, ...]:
        from deployments.actors.publications import following

        return following(self._folder)

    def announce_live(self, version: str, transfer: Transfer, probe: Probe) -> Told:
        """What a LiveChannel tells the policy replicas."""
        import ray

        from deployments.actors.publications import publish_live, withdraw_live
        from valor_ray.reasoning.learner.live_channel import Told

        answers = publish_live(self._folder, version, transfer, probe, _PUBLISH_S)

        def wait() -> Published:
            told = answers()
            ray.get(self._buffer.published.remote(version_step(version)))
            return published_by(told)

        return Told(wait, lambda replica, reason: withdraw_live(self._folder, replica, version, reason))


def outcomes(work: TrainWork, folder: TrainFolder, buffer: Any) -> Generator[RolloutResult, None, None]:
    """The outcomes of the rollout workers, as they come. Raises JudgeError, PolicyError, ServiceError."""
    if work.assignments:
        for outcome in results_of(dataset(work, folder, buffer)):
            yield pickle.loads(outcome)


def dataset(work: TrainWork, folder: TrainFolder, buffer: Any) -> Dataset:
    """The assignments, a block each, streaming through the workers in their order, a few steps' at a time."""
    import ray.data

    data_context()
    blocks = [
        pa.table({"order": pa.array([pickle.dumps(assignment)], pa.binary())})
        for assignment in work.assignments
    ]
    workers = min(work.shards, work.config.policy.replicas)
    each = -(-work.shards // workers)  # of a step
    waiting = each * (work.config.grpo.max_lag + _AHEAD)  # in a worker, most of which wait for their turn
    pool = Pool(RolloutWorker, (work.config, str(folder.path), buffer), workers, waiting, waiting)
    return through_pool(ray.data.from_arrow(blocks), pool)
