"""Training in one process without Ray: the same steps, for debugging; and the replay of recorded rollouts."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from valor_ray.errors import ConfigError
from valor_ray.reasoning.learner.learn import LearnerEnd, learn
from valor_ray.reasoning.training.advantage import Use
from valor_ray.reasoning.training.folder import TrainFolder, samples_at
from valor_ray.reasoning.training.host import RolloutStep, TrainWork, new_buffer
from valor_ray.reasoning.training.rollout import RolloutResult
from valor_ray.records import START_VERSION
from valor_ray.runs.folder import REASONING, check_kind
from valor_ray.runs.publications import version_name
from valor_ray.runs.store.place import objects_of
from valor_ray.runs.weight_channel import FileChannel, Probe, Published

if TYPE_CHECKING:
    from valor_ray.config.tree import Config
    from valor_ray.models.vllm.policy import VllmPolicy
    from valor_ray.reasoning.learner.ports import Leave, StepBatch
    from valor_ray.reasoning.reward import Rewarding
    from valor_ray.reasoning.training.buffer import RolloutBuffer
    from valor_ray.reasoning.training.schedule import Assignment
    from valor_ray.wiring import Eyes

T = TypeVar("T")


class LocalTrainHost:
    """host.TrainHost in one process: the same steps without Ray, for debugging and for machines without it.

    Called by `train`; policy, judges and sandbox live on an event loop in a thread, the learner in the calling thread.
    Entering waits for vLLM to start; leaving waits for all of them to end.
    """

    def __init__(self, rewarding: Rewarding | None = None) -> None:
        """rewarding: rewards that come from elsewhere than the judges of the settings, which are not started then."""
        self._rewarding = rewarding

    @contextlib.contextmanager
    def running(self, config: Config, folder: TrainFolder, say: Callable[[str], None]) -> Iterator[_LocalRun]:
        with event_loop() as loop:
            parts = _parts(config, folder, self._rewarding)
            say("starting vLLM in this process")
            policy, rewarder = asyncio.run_coroutine_threadsafe(parts.__aenter__(), loop).result()
            try:
                yield _LocalRun(config, folder, loop, policy, rewarder)
            finally:
                asyncio.run_coroutine_threadsafe(parts.__aexit__(None, None, None), loop).result()


@contextlib.contextmanager
def event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread of its own; leaving cancels what still runs on it and waits for that."""
    entered: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def until_left() -> None:
        left = asyncio.Event()
        entered.set_result((asyncio.get_running_loop(), left))
        await left.wait()

    thread = threading.Thread(target=lambda: asyncio.run(until_left()), name="rollouts", daemon=True)
    thread.start()
    loop, left = entered.result()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(left.set)
        thread.join()


@contextlib.asynccontextmanager
async def _parts(
    config: Config, folder: TrainFolder, rewarding: Rewarding | None
) -> AsyncIterator[tuple[VllmPolicy, Rewarding]]:
    from valor_ray.models.vllm.policy import VllmPolicy
    from valor_ray.program.sandbox import Sandbox
    from valor_ray.reasoning.local_rewarder import local_rewarder
    from valor_ray.wiring import judging

    policy = VllmPolicy(config.policy, config.grpo.lora_rank)
    try:
        await policy.start()
        if rewarding is not None:
            yield policy, rewarding
            return
        async with judging(config.judge, folder.cache) as judge, Sandbox(config.sandbox) as sandbox:
            yield policy, local_rewarder(config.reward, judge, sandbox)
    finally:
        policy.close()


class _LocalRun:
    def __init__(
        self,
        config: Config,
        folder: TrainFolder,
        loop: asyncio.AbstractEventLoop,
        policy: VllmPolicy,
        rewarder: Rewarding,
    ) -> None:
        self.policy = policy
        self._config, self._loop = config, loop
        self._step = RolloutStep(config, policy, rewarder, samples_at(folder.samples))

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def eyes(self) -> contextlib.AbstractAsyncContextManager[Eyes]:
        from valor_ray.wiring import eyes

        return eyes(self._config)

    def carry(self, step: int, folder: Path) -> None:
        self.call(self.policy.load_weights(folder, version_name(step)))

    def learn(self, work: TrainWork) -> LearnerEnd:
        buffer = new_buffer(work.config, work.shards, work.curriculum)
        producing = asyncio.run_coroutine_threadsafe(self._produce(buffer, work), self._loop)
        end = None
        try:
            if work.learner:
                link = _LocalLink(self, buffer)
                keep = work.config.grpo.max_lag + 2
                objects = objects_of(work.folder.path)
                channel = FileChannel(work.folder.weights, keep, link.announce, first=True, objects=objects)
                checkpoints = work.folder.checkpoints
                end = learn(work.config, checkpoints, work.steps, link, channel, work.say, work.step_done)
                self.call(buffer.stop(end.stopped or "all steps are made"))
            else:
                self.call(buffer.published(work.steps))
            producing.result()
        finally:
            producing.cancel()
        return end or LearnerEnd(0, None)

    async def _produce(self, buffer: RolloutBuffer, work: TrainWork) -> None:
        """Recorded outcomes first, then assignments, as many at a time as may have their turn."""
        try:
            for outcome in work.recorded:
                await buffer.put(outcome)
            at_once = asyncio.Semaphore((work.config.grpo.max_lag + 1) * work.shards)

            async def one(assignment: Assignment) -> None:
                async with at_once:
                    if mine := await buffer.turn(assignment):
                        outcome = await self._step(mine)
                        work.record(outcome)
                        await buffer.put(outcome)

            async with asyncio.TaskGroup() as tasks:
                for assignment in work.assignments:
                    tasks.create_task(one(assignment))
        except BaseExceptionGroup as group:
            first = group.exceptions[0]
            await buffer.stop(f"{type(first).__name__}: {first}")
            raise first from group
        except BaseException as error:
            await buffer.stop(f"{type(error).__name__}: {error}")
            raise


class _LocalLink:
    """learner.ports.BatchSource on a buffer of this process, and what a FileChannel tells its policy."""

    def __init__(self, run: _LocalRun, buffer: RolloutBuffer) -> None:
        self._run, self._buffer = run, buffer

    def batch(self, step: int) -> StepBatch | Leave | None:
        return self._run.call(self._buffer.batch(step))

    def checkpointed(self, step: int) -> None:
        self._run.call(self._buffer.checkpointed(step))

    def announce(self, step: int, folder: Path, probe: Probe) -> Published:
        async def load() -> list[list[float]]:
            await self._run.policy.load_weights(folder, version_name(step))
            scores = await self._run.policy.score(probe)
            await self._buffer.published(step)
            return scores

        return Published(1, [self._run.call(load())])


class Replay:
    """learner.ports.BatchSource over the rollouts that another run has recorded.

    One pass over the file: steps are asked for in order, from any one on. Memory: the steps that are recorded among
    each other, as they are with a lag.
    """

    def __init__(self, config: Config, source: Path) -> None:
        """Raises ConfigError when `source` is no training run, holds no rollouts, or larger steps than `config`'s."""
        check_kind(source, REASONING, "--replay")
        self._config, self._folder = config, TrainFolder(source)
        self._shards: Counter[int] = Counter()  # step -> assignments recorded of it
        self._start_weights = False  # all were sampled without a learner
        used: Counter[int] = Counter()
        for outcome in self._folder.recorded(0):
            self._shards[outcome.step] += 1
            self._start_weights |= any(
                rollout.versions[0][0] == START_VERSION for rollout in outcome.rollouts
            )
            used[outcome.step] += sum(rollout.fate == Use.USED for rollout in outcome.rollouts)
        if not self._shards:
            raise ConfigError(
                f"--replay {source}: no rollouts recorded there. Give the folder of a training run."
            )
        grpo, most = config.grpo, max(used.values())
        if most > grpo.prompts * grpo.samples:
            raise ConfigError(
                f"--replay {source}: its steps have up to {most} replies, more than grpo.prompts {grpo.prompts} x "
                f"grpo.samples {grpo.samples}. Give the profile and settings of that run (its config.yaml)."
            )
        self.steps = max(self._shards)
        self._reading: Iterator[RolloutResult] | None = None
        self._read: dict[int, list[RolloutResult]] = defaultdict(list)

    def batch(self, step: int) -> StepBatch | Leave | None:
        if self._reading is None:
            self._reading = self._folder.recorded(step - 1)
        while len(self._read[step]) < self._shards[step]:
            outcome = next(self._reading)
            self._read[outcome.step].append(outcome)
        return asyncio.run(self._batch(step, self._read.pop(step)))

    async def _batch(self, step: int, outcomes: Sequence[RolloutResult]) -> StepBatch | Leave | None:
        buffer = new_buffer(self._config, len(outcomes), any_lag=self._start_weights)
        for outcome in outcomes:
            await buffer.put(outcome)
        return await buffer.batch(step)

    def checkpointed(self, step: int) -> None:
        pass
