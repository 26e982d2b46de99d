"""Training without Ray: the host of one process on a policy that is quick, and the replay of recorded rollouts."""

from __future__ import annotations

import asyncio
import gc
import re
import threading
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_run as tiny
import torch
from rollout_of import rollout_of

from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError, JudgeError, PolicyError
from valor_ray.reasoning.training import folder as train_folder
from valor_ray.reasoning.training import local as train_local
from valor_ray.reasoning.training.folder import Recorder, TrainFolder
from valor_ray.reasoning.training.local import LocalTrainHost, Replay
from valor_ray.reasoning.training.rollout import RolloutResult
from valor_ray.reasoning.training.run import replay, train
from valor_ray.records import Head, Query, Reply, Reward, Sampling, Verdict
from valor_ray.runs.record_file import read_records

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_policy(tmp_path_factory.mktemp("policy"))


def quiet(line: str) -> None:
    pass


# replay


class Recorded(tiny.Hand):  # type: ignore[name-defined, misc]
    """Rollouts by hand which are recorded as a run records them, a shard for each group."""

    def __init__(self, run: Path, shards: int = 1) -> None:
        super().__init__()
        self.run, self.shards = run, shards

    def batch(self, step: int) -> Any:
        step_batch = super().batch(step)
        recorder = Recorder(TrainFolder(self.run))
        for shard in range(self.shards):
            rows = [
                replace(row, shard=shard) for row in step_batch.all_rows if row.group % self.shards == shard
            ]
            recorder.record(RolloutResult(step, shard, rows, [], 0.0, 0.0))
        recorder.close()
        return step_batch


@pytest.mark.parametrize("shards", [1, 2])
def test_replay_of_a_run_ends_with_its_weights(policy: Path, tmp_path: Path, shards: int) -> None:
    config = tiny.settings(policy)
    _, records = tiny.run_learner(config, tmp_path / "first", Recorded(tmp_path / "first", shards))
    report = replay(tmp_path / "again", config, Replay(config, tmp_path / "first"), say=quiet)
    assert report["steps"] == 3 and report["max_lag"] == 0
    assert tiny.difference(tiny.weights(tmp_path / "first"), tiny.weights(tmp_path / "again")) <= 1e-6
    for then, now in zip(records, read_records(tmp_path / "again" / "metrics.jsonl"), strict=True):
        for name in ("loss", "grad_norm", "kl", "reward", "ratio_max"):
            assert now[name] == pytest.approx(then[name], abs=1e-6), name


def test_rollouts_taken_without_a_learner_are_learnt_from_by_a_replay(policy: Path, tmp_path: Path) -> None:
    config = tiny.settings(policy)
    tiny.run_learner(config, tmp_path / "first", Recorded(tmp_path / "first"))
    path = TrainFolder(tmp_path / "first").rollouts
    path.write_text(re.sub(r'"step-00000\d"', '"base"', path.read_text()))
    replay(tmp_path / "again", config, Replay(config, tmp_path / "first"), say=quiet)
    lags = [record["lag_max"] for record in read_records(tmp_path / "again" / "metrics.jsonl")]
    assert lags == [0, 1, 2]  # all by the start weights, and none is too old


def test_replay_that_was_killed_goes_on_to_the_same_weights(policy: Path, tmp_path: Path) -> None:
    config = tiny.settings(policy)
    tiny.run_learner(config, tmp_path / "first", Recorded(tmp_path / "first"))

    class Killed(BaseException):
        pass

    class Dies(Replay):
        def batch(self, step: int) -> Any:
            if step == 3:
                raise Killed
            return super().batch(step)

    with pytest.raises(Killed):
        replay(tmp_path / "again", config, Dies(config, tmp_path / "first"), say=quiet)
    asked = []

    class Told(Replay):
        def batch(self, step: int) -> Any:
            asked.append(step)
            return super().batch(step)

    replay(tmp_path / "again", config, Told(config, tmp_path / "first"), say=quiet)
    assert asked == [3]
    assert tiny.difference(tiny.weights(tmp_path / "first"), tiny.weights(tmp_path / "again")) <= 1e-6


def record_steps(run: Path, *places: tuple[int, int]) -> None:
    run.mkdir(exist_ok=True)
    recorder = Recorder(TrainFolder(run))
    for step, shard in places:
        recorder.record(RolloutResult(step, shard, [rollout_of(step, shard, shard)] * 4, [], 0.0, 0.0))
    recorder.close()


def steps_of(source: Replay, *steps: int) -> list[list[int]]:
    """The shards that each step's batch holds, in order."""
    shards = []
    for step in steps:
        batch = source.batch(step)
        assert batch is not None and {row.step for row in batch.rows} == {step}
        shards.append([row.shard for row in batch.rows[::4]])
    return shards


def test_replay_reads_the_rollouts_once_however_many_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [(step, shard) for step in range(1, 31) for shard in range(2)]
    record_steps(tmp_path, *places)
    read: Counter[str] = Counter()

    def counted(path: Path) -> Any:
        for record in read_records(path):
            read[record["rollout_id"]] += 1
            yield record

    source = Replay(Config.load("local"), tmp_path)
    monkeypatch.setattr(train_folder, "read_records", counted)
    assert steps_of(source, *range(1, 31)) == [[0, 1]] * 30
    assert set(read.values()) == {4} and len(read) == 60


def test_replay_finds_a_step_whose_orders_came_among_later_ones(tmp_path: Path) -> None:
    record_steps(tmp_path, (1, 1), (2, 0), (1, 0), (3, 0), (2, 1), (3, 1))
    source = Replay(Config.load("local"), tmp_path)
    assert source.steps == 3 and steps_of(source, 1, 2, 3) == [[0, 1]] * 3


def test_replay_begins_at_any_step_and_shards_may_be_lost(tmp_path: Path) -> None:
    record_steps(tmp_path, (1, 0), (1, 1), (2, 1), (4, 0))
    source = Replay(Config.load("local"), tmp_path)
    assert steps_of(source, 2) == [[1]]
    empty = source.batch(3)
    assert empty is not None and empty.rows == []
    assert steps_of(source, 4) == [[0]]


@pytest.mark.parametrize("content", [None, ""])
def test_folder_without_rollouts_cannot_be_replayed(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "rollouts.jsonl").write_text(content)
    with pytest.raises(ConfigError, match=r"--replay .*training run"):
        Replay(Config.load("local"), tmp_path)


def test_run_with_larger_steps_cannot_be_replayed(tmp_path: Path) -> None:
    record_steps(tmp_path, *((1, shard) for shard in range(3)))
    with pytest.raises(ConfigError, match=r"12 replies.*grpo\.prompts 2 x grpo\.samples 5.*config\.yaml"):
        Replay(Config.load("local", ["grpo.prompts=2", "grpo.samples=5"]), tmp_path)


# the host of one process


class Model:
    """The tiny policy as VllmPolicy: samples, scores, takes weights."""

    def __init__(self, folder: Path) -> None:
        self.version = "start"
        self._load(folder)
        self.asked: list[tuple[str, list[str]]] = []
        self.threads: set[str] = set()
        self.fails: Exception | None = None

    def _load(self, folder: Path) -> None:
        from transformers import Qwen3ForCausalLM

        self.model = Qwen3ForCausalLM.from_pretrained(folder, dtype=torch.float32)

    async def load_weights(self, folder: Path, version: str) -> None:
        self._load(folder)
        self.version = version

    async def score(self, probe: list[tuple[list[int], list[int]]]) -> list[list[float]]:
        return [tiny.logprobs_of(self.model, list(prompt), list(tokens)) for prompt, tokens in probe]

    async def sample(
        self, questions: Sequence[str], *, n: int, seed: int, sampling: Sampling
    ) -> list[list[Reply]]:
        self.asked.append((self.version, list(questions)))
        self.threads.add(threading.current_thread().name)
        if self.fails is not None:
            raise self.fails
        await asyncio.sleep(0.01)
        generator = torch.Generator().manual_seed(seed)
        return [[self._reply(generator) for _ in range(n)] for _ in questions]

    def _reply(self, generator: torch.Generator) -> Reply:
        tokens = torch.randint(3, 400, (6,), generator=generator).tolist()
        logprobs = tiny.logprobs_of(self.model, [5, 6, 7], tokens)
        return Reply(
            str(tokens[0]), tuple(tokens), tuple(logprobs), self.version, "stop", (5, 6, 7), ((self.version, 6),)
        )  # fmt: skip


async def by_token(question: str, reply: str) -> Reward:
    return Reward(int(reply) / 400, {head: Verdict(int(reply) > 200) for head in Head})


QUERIES = [Query(f"q{i}", f"How many balls are on table {i}?") for i in range(6)]


def in_process(
    run: Path, config: Config, model: Model, monkeypatch: pytest.MonkeyPatch, rewarder: Any = by_token
) -> dict[str, Any]:
    @asynccontextmanager
    async def parts(config: Config, folder: TrainFolder, rewarding: Any) -> AsyncIterator[Any]:
        yield model, rewarding

    monkeypatch.setattr(train_local, "_parts", parts)
    return train(run, config, QUERIES, LocalTrainHost(rewarder), None, say=quiet)


@pytest.mark.parametrize("lag", [0, 1])
def test_run_in_one_process_trains_and_its_lag_is_bounded(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lag: int
) -> None:
    model = Model(policy)
    report = in_process(
        tmp_path, tiny.settings(policy, f"grpo.max_lag={lag}", "grpo.steps=4"), model, monkeypatch
    )
    metrics = list(read_records(tmp_path / "metrics.jsonl"))
    assert report["steps"] == 4 and [row["step"] for row in metrics] == [1, 2, 3, 4]
    assert all(row["logprob_gap"] < 1e-4 and row["dropped_stale"] == 0 for row in metrics)
    assert max(row["lag_max"] for row in metrics) <= lag and model.version == "step-000004"
    assert model.threads == {"rollouts"}
    if not lag:
        assert [version for version, _ in model.asked] == [f"step-{step:06d}" for step in range(4)]


def test_run_in_one_process_goes_on_and_samples_nothing_twice(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny.settings(policy, "grpo.max_lag=0", "grpo.save_every=2")
    in_process(tmp_path / "whole", config, Model(policy), monkeypatch)

    async def dies(question: str, reply: str) -> Reward:
        if len(first.asked) == 3:
            raise JudgeError("the key was refused")
        return await by_token(question, reply)

    first, second = Model(policy), Model(policy)
    with pytest.raises(JudgeError):
        in_process(tmp_path / "cut", config, first, monkeypatch, dies)
    in_process(tmp_path / "cut", config, second, monkeypatch)
    assert second.asked == []  # the samples of step 3 were kept
    assert (tmp_path / "cut" / "rollouts.jsonl").read_text().count('"step": 3') == 8
    assert tiny.difference(tiny.weights(tmp_path / "whole"), tiny.weights(tmp_path / "cut")) <= 1e-6


def test_run_killed_with_a_curriculum_goes_on_with_the_queries_that_it_would_have_chosen(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their choice in step 4 hangs on what came of those of steps 1 and 2, which a checkpoint holds."""
    config = tiny.settings(
        policy, "grpo.max_lag=0", "grpo.save_every=2", "grpo.steps=4", "grpo.curriculum=learnability"
    )

    async def mixed(question: str, reply: str) -> Reward:
        """Nothing can be learnt from tables 0 to 2."""
        return Reward(1.0, {}) if question[-2] in "012" else await by_token(question, reply)

    async def dies(question: str, reply: str) -> Reward:
        if (tmp_path / "cut" / "metrics.jsonl").read_text().count("\n") == 3:
            raise JudgeError("the key was refused")
        return await mixed(question, reply)

    in_process(tmp_path / "whole", config, Model(policy), monkeypatch, mixed)
    with pytest.raises(JudgeError):
        in_process(tmp_path / "cut", config, Model(policy), monkeypatch, dies)
    assert [path.name for path in (tmp_path / "cut" / "checkpoints").iterdir()] == ["step-000002"]
    in_process(tmp_path / "cut", config, Model(policy), monkeypatch, mixed)
    whole, cut = (
        [
            (row["rollout_id"], row["query_id"], row["reply"])
            for row in read_records(tmp_path / run / "rollouts.jsonl")
        ]
        for run in ("whole", "cut")
    )
    assert whole == cut and len({name for name, _, _ in whole}) == len(whole)
    assert tiny.difference(tiny.weights(tmp_path / "whole"), tiny.weights(tmp_path / "cut")) <= 1e-6
    figures = [
        [
            (row["visited"], row["learnability"], row["equal_groups"])
            for row in read_records(tmp_path / run / "metrics.jsonl")
        ]
        for run in ("whole", "cut")
    ]
    assert figures[0] == figures[1] and [visited > 0 for visited, _, _ in figures[0]] == [False, *[True] * 3]


@pytest.mark.parametrize("error", [PolicyError("the policy has died"), JudgeError("the key was refused")])
def test_what_ends_the_rollouts_ends_the_run_with_its_own_message(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    model = Model(policy)
    model.fails = error
    with pytest.raises(type(error), match=str(error)):
        in_process(tmp_path, tiny.settings(policy), model, monkeypatch)
    assert "rollouts" not in {thread.name for thread in threading.enumerate()}


def test_an_error_leaves_nobody_on_the_event_loop_and_says_nothing_of_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ended: list[str] = []

    async def judged(name: str, refused: asyncio.Future[None]) -> None:
        try:
            await asyncio.shield(refused)
        finally:
            ended.append(name)

    async def rollouts() -> None:
        refused: asyncio.Future[None] = asyncio.Future()
        asyncio.get_running_loop().call_soon(refused.set_exception, JudgeError("the key was refused"))
        # the first tells; the last was still to hear of it, or waits for something else
        await asyncio.gather(judged("a", refused), judged("b", refused), judged("c", asyncio.Future()))

    with pytest.raises(JudgeError), train_local.event_loop() as loop:
        asyncio.run_coroutine_threadsafe(rollouts(), loop).result()
    gc.collect()
    assert sorted(ended) == ["a", "b", "c"] and loop.is_closed()
    assert not [record for record in caplog.records if record.name == "asyncio"]
