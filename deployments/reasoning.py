"""Trains the policy on Ray: the engine behind `valor train reasoning`, and the same thing as a job.

    valor train reasoning --run runs/first
    ray job submit -- python -m jobs.train_reasoning --run /shared/runs/first

Takes the options of `valor train reasoning`. On a cluster, the run folder must be one that all nodes see.

Ray Serve holds policy replicas and judges; Ray Data streams assignments through rollout workers, which wait for their
turn, sample, and judge; the driver records what comes back and hands it to the buffer; Ray Train runs the learner,
which takes steps from the buffer and publishes new weights to the replicas.
"""

from __future__ import annotations

import logging
import os
import pickle
import threading
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from valor_ray.config.tree import Config
from valor_ray.errors import JudgeError, PolicyError, QuestionError, ServiceError, StorageError, ValorError
from valor_ray.reasoning.learner.learn import LearnerEnd, Published, learn
from valor_ray.reasoning.training.folder import FolderSamples, TrainFolder
from valor_ray.reasoning.training.host import RolloutStep, TrainWork
from valor_ray.reasoning.training.rollout import RolloutResult
from valor_ray.runs.publications import version_name

if TYPE_CHECKING:
    from ray.data import Dataset

T = TypeVar("T")
MOST_FAILURES = 3  # of the learner's processes, each begun again from the newest checkpoint
_FATAL: dict[str, type[ValorError]] = {
    "judge": JudgeError,
    "policy": PolicyError,
    "question": QuestionError,
    "service": ServiceError,
    "storage": StorageError,
}
_NO_ROOM = 30  # times that Ray Train waits a minute for room for the learner: a node may be on its way
_PARTING_S = 120.0  # for the learner to end when rollouts have failed
_AHEAD = 4  # assignments beyond the lag that a worker holds, so that none waits for Ray Data
_WATCH_S = 5.0  # between looks at the judge
_PUBLISH_S = 600.0  # for all replicas to carry new weights; a replica that starts again takes minutes


class RolloutWorker:
    """A worker of the pool: samples by the Serve policy, syntax by the node's sandbox, judges by the Serve gateway."""

    def __init__(self, config: Config, folder: str, buffer: Any) -> None:
        from ray import serve

        from deployments.actors.sandbox_pool import RemoteSyntax, open_pool
        from deployments.app import judging_name, policy_name
        from deployments.ports import RemoteJudge, RemotePolicy
        from valor_ray.reasoning.reward import Rewarder

        run = TrainFolder(Path(folder))
        judge = RemoteJudge(serve.get_deployment_handle("judge", judging_name(str(run.cache))))
        policy = RemotePolicy(serve.get_deployment_handle("policy", policy_name(folder)))
        rewarder = Rewarder(RemoteSyntax(open_pool(config.sandbox)), judge, config.reward)
        self._buffer = buffer
        self._step = RolloutStep(config, policy, rewarder, FolderSamples(run.samples))

    async def __call__(self, assignments: pa.Table) -> pa.Table:
        """One assignment in, one row out: its outcome, or what ended the run; nothing when the run has stopped."""
        found = []
        for packed in assignments["order"].to_pylist():
            assignment = pickle.loads(packed)
            try:
                if await self._buffer.turn.remote(assignment.step):
                    found.append(("", pickle.dumps(await self._step(assignment))))
            except tuple(_FATAL.values()) as error:  # told to the driver in a row: Ray Data would wrap it
                found.append((error.code, str(error).encode()))
        return pa.table(
            {
                "error": pa.array([error for error, _ in found], pa.string()),
                "outcome": pa.array([content for _, content in found], pa.binary()),
            }
        )


class RayTrainHost:
    """train_engine.TrainHost on this machine's own Ray, or on the cluster of RAY_ADDRESS."""

    @contextmanager
    def running(self, config: Config, folder: TrainFolder, say: Callable[[str], None]) -> Iterator[_RayRun]:
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        from deployments.serving import training

        with training(config, folder.path.resolve(), folder.cache.resolve(), say) as policy:
            yield _RayRun(config, folder, policy)


class _RayRun:
    def __init__(self, config: Config, folder: TrainFolder, policy: Any) -> None:
        from deployments.ports import RemotePolicy

        self.policy = RemotePolicy(policy, patient=True)
        self._config, self._folder = config, TrainFolder(folder.path.resolve())

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        import asyncio

        return asyncio.run(work)

    def carry(self, step: int, folder: Path) -> None:
        from deployments.actors.publications import publish

        publish(str(self._folder.path), version_name(step), folder.resolve(), [], _PUBLISH_S)

    def learn(self, work: TrainWork) -> LearnerEnd:
        import ray

        from deployments.actors.buffer import open_buffer

        buffer = open_buffer(work.config, work.shards)
        for outcome in work.recorded:
            ray.get(buffer.put.remote(pickle.dumps(outcome)))
        if not work.learner:
            ray.get(buffer.published.remote(work.steps))
            for outcome in outcomes(work, self._folder, buffer):
                work.record(outcome)
            return LearnerEnd(0, None)
        learner = _Learner(work, self._folder, buffer)
        learner.start()
        try:
            with _judge_watched(self._folder, work.say):
                for outcome in outcomes(work, self._folder, buffer):
                    work.record(outcome)
                    ray.get(buffer.put.remote(pickle.dumps(outcome)))
        except BaseException:
            ray.get(buffer.stop.remote("rollouts have failed"))
            learner.join(_PARTING_S)
            raise
        learner.join()
        ray.kill(buffer)
        return learner.end()


@contextmanager
def _judge_watched(folder: TrainFolder, say: Callable[[str], None]) -> Iterator[None]:
    """Says when the judge does not answer, and when it does again, for as long as the block lasts."""
    from ray import serve

    from deployments.app import judging_name
    from deployments.ports import judge_trouble

    judge = serve.get_deployment_handle("judge", judging_name(str(folder.cache)))
    over = threading.Event()

    def watch() -> None:
        said = seen = ""
        while not over.wait(_WATCH_S):
            before, seen = seen, judge_trouble(judge)
            if seen == before != said:  # seen twice: one slow answer on a busy machine is no trouble
                say(seen or "the judge answers again")
                said = seen

    thread = threading.Thread(target=watch, name="judge-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class _Learner:
    """Ray Train in a thread of the driver, and a second thread that takes what the learner notes."""

    def __init__(self, work: TrainWork, folder: TrainFolder, buffer: Any) -> None:
        self._work, self._folder, self._buffer = work, folder, buffer
        self._end: LearnerEnd | None = None
        self._error: BaseException | None = None
        self._fitting = threading.Thread(target=self._fit, name="ray-train", daemon=True)
        self._listening = threading.Thread(target=self._listen, name="learner-notes", daemon=True)
        self._over = threading.Event()

    def start(self) -> None:
        self._listening.start()
        self._fitting.start()

    def join(self, timeout_s: float | None = None) -> None:
        """timeout_s: a learner that waits for room on the cluster does not hear that the run has ended."""
        self._fitting.join(timeout_s)
        self._over.set()
        self._listening.join(timeout_s)

    def end(self) -> LearnerEnd:
        """Raises ServiceError when the learner's processes have failed for good."""
        if isinstance(self._error, ValorError):
            raise self._error
        if self._error is not None:
            cause = str(self._error).strip().splitlines()
            raise ServiceError(
                f"The learner failed: {cause[-1] if cause else type(self._error).__name__} "
                "Logs: /tmp/ray/session_latest/logs/train. The same command goes on from the last checkpoint."
            ) from self._error
        if self._end is None:
            raise ServiceError(
                "The learner ended without a word. Logs: /tmp/ray/session_latest/logs/train. The same command goes on "
                "from the last checkpoint."
            )
        return self._end

    def _fit(self) -> None:
        import ray
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        grpo = self._work.config.grpo
        logging.getLogger("ray.train").setLevel(logging.ERROR)
        resources = {"CPU": 0.5} | ({"GPU": grpo.num_gpus} if grpo.num_gpus else {})
        trainer = TorchTrainer(
            learner_process,
            train_loop_config={
                "config": self._work.config,
                "folder": str(self._folder.path),
                "steps": self._work.steps,
                "buffer": self._buffer,
            },
            scaling_config=ScalingConfig(
                num_workers=grpo.workers, use_gpu=grpo.num_gpus > 0, resources_per_worker=resources
            ),
            run_config=RunConfig(
                name="learner",
                storage_path=str(self._folder.path / "ray_train"),
                failure_config=FailureConfig(max_failures=MOST_FAILURES, controller_failure_limit=_NO_ROOM),
            ),
        )
        reason = "the learner failed"
        try:
            trainer.fit()
            reason = "the learner is done"
        except Exception as error:  # noqa: BLE001  # told by end(): a thread has nobody to raise to
            self._error = error
        ray.get(self._buffer.stop.remote(reason))

    def _listen(self) -> None:
        import ray

        try:
            self._take_notes()
        except Exception as error:  # noqa: BLE001  # a full disk, a board that fails: the run ends, and end() says why
            self._error = error if isinstance(error, ValorError) else _unrecorded(error)
            ray.get(self._buffer.stop.remote("the run's records cannot be written"))

    def _take_notes(self) -> None:
        import ray

        take: dict[str, Callable[[Any], None]] = {
            "say": self._work.say,
            "step": self._work.step_done,
            "end": self._ended,
        }
        while True:
            over = self._over.is_set()
            for kind, content in ray.get(self._buffer.notes.remote(0.1 if over else 1.0)):
                take[kind](content)
            if over:
                return

    def _ended(self, end: LearnerEnd) -> None:
        self._end = end


def _unrecorded(error: Exception) -> ServiceError:
    return ServiceError(
        f"A step could not be recorded: {type(error).__name__}: {error} The same command goes on from the last "
        "checkpoint."
    )


def learner_process(given: dict[str, Any]) -> None:
    """What each process of Ray Train runs."""
    import ray
    from ray.train import get_context
    from ray.train.huggingface.transformers import prepare_trainer

    buffer, config = given["buffer"], given["config"]
    link = _Link(config, given["folder"], buffer)
    first = get_context().get_world_rank() == 0

    def note(kind: str, content: Any) -> None:
        if first:
            ray.get(buffer.note.remote(kind, content))

    end = learn(
        config,
        TrainFolder(Path(given["folder"])),
        given["steps"],
        link,
        link,
        lambda line: note("say", line),
        lambda record: note("step", dict(record)),
        prepare_trainer,
    )
    note("end", end)


class _Link:
    """learner.Source and learner.Publisher over the buffer's and the publications' actors."""

    def __init__(self, config: Config, folder: str, buffer: Any) -> None:
        self._folder, self._buffer = folder, buffer

    def batch(self, step: int) -> Any:
        import ray

        return ray.get(self._buffer.batch.remote(step))

    def checkpointed(self, step: int) -> None:
        import ray

        ray.get(self._buffer.checkpointed.remote(step))

    def publish(self, step: int, folder: Path, probe: list[tuple[list[int], list[int]]]) -> Published:
        import ray

        from deployments.actors.publications import publish

        answers = publish(self._folder, version_name(step), folder, probe, _PUBLISH_S)
        ray.get(self._buffer.published.remote(step))
        return Published(len(answers), [answer.logprobs for answer in answers])


def outcomes(work: TrainWork, folder: TrainFolder, buffer: Any) -> Generator[RolloutResult, None, None]:
    """The outcomes of the rollout workers, as they come. Raises JudgeError, PolicyError, ServiceError."""
    from ray.exceptions import RayError

    if not work.assignments:
        return
    # Without prefetching: it holds each outcome back until the next one is there, which may be waiting for this one.
    rows = dataset(work, folder, buffer).iter_batches(
        batch_size=None, batch_format="pyarrow", prefetch_batches=0
    )
    try:
        for batch in rows:
            for error, content in zip(batch["error"].to_pylist(), batch["outcome"].to_pylist(), strict=True):
                if error:
                    raise _FATAL[error](content.decode())
                yield pickle.loads(content)
    except RayError as error:
        cause = str(error).strip().splitlines()[-1]
        raise ServiceError(
            f"Ray could not go on: {type(error).__name__}: {cause} Logs: /tmp/ray/session_latest/logs. "
            "The same command goes on where this one stopped."
        ) from error


def dataset(work: TrainWork, folder: TrainFolder, buffer: Any) -> Dataset:
    """The assignments, a block each, streaming through the workers in their order, a few steps' at a time."""
    import ray.data
    from ray.data import ActorPoolStrategy, DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = -1  # a judge may be down for hours
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    waiting = work.config.grpo.max_lag + _AHEAD  # assignments in a worker, most of which wait for their turn
    rows = ray.data.from_arrow(
        [
            pa.table({"order": pa.array([pickle.dumps(assignment)], pa.binary())})
            for assignment in work.assignments
        ]
    )
    return rows.map_batches(
        RolloutWorker,
        fn_constructor_args=(work.config, str(folder.path), buffer),
        batch_size=None,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(
            size=work.shards,
            max_tasks_in_flight_per_actor=waiting,
            max_concurrent_calls_per_actor=waiting,
        ),
        num_cpus=0.25,
    )
