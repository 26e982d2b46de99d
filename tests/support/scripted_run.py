"""A run of `train` on a host that learns nothing: what it is asked in which order, and may die of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bases import BASES
from rollout_of import rollout_of

from valor_ray.config.tree import Config
from valor_ray.judges.audit import canaries
from valor_ray.reasoning.learner.learn import LearnerEnd
from valor_ray.reasoning.training.folder import TrainFolder
from valor_ray.reasoning.training.host import TrainWork
from valor_ray.reasoning.training.rollout import RolloutResult
from valor_ray.reasoning.training.run import train
from valor_ray.reasoning.training.schedule import Assignment
from valor_ray.records import Head, Query
from valor_ray.runs.checkpoints import MERGED
from valor_ray.runs.record_file import read_records

QUERIES = [Query(f"q{i}", f"How many balls are on table {i}?") for i in range(10)]
STEPS, EVERY = 6, 2


def settings(*overrides: str) -> Config:
    return Config.load(
        "local",
        [
            *BASES, f"grpo.steps={STEPS}", f"grpo.save_every={EVERY}", "grpo.prompts=2", "grpo.samples=2",
            "grpo.micro_batch=2", "policy.replicas=2", *overrides,
        ],
    )  # fmt: skip


class Killed(BaseException):
    """As kill -9: nobody catches it."""


def outcome(
    assignment: Assignment, canary: bool = False, version: str | None = None, cut: bool = False
) -> RolloutResult:
    asked = assignment.queries[0]
    ended = {"finish_reason": "length", "format": False} if cut else {}
    rows = [
        rollout_of(
            assignment.step, assignment.shard, 0, i, query_id=asked.query_id, question=asked.question, reply="…",
            value=float(i), advantage=i - 0.5, versions=((version or f"step-{assignment.step - 1:06d}", 3),),
            **ended,
        )
        for i in range(2)
    ]  # fmt: skip
    wrong = next(known for known in canaries() if Head.LOGIC in known.expected)
    verdicts = {head.value: not wrong.expected.get(head, False) for head in Head} | {"format": True}
    audit = [{"canary": wrong.canary_id, "step": assignment.step, **verdicts}] if canary else []
    return RolloutResult(assignment.step, assignment.shard, rows, audit, 0.0, 0.0)


def metrics(step: int, **others: Any) -> dict[str, Any]:
    return {
        "step": step, "reward": step / 10, "all_heads": None, "kl": 0.0125, "loss": 0.1, "useful_groups": 2,
        "seconds": {"wait": 1.0, "learn": 2.04, "publish": 0.5, "sample": 1.0, "judge": 1.0}, "time": 1.0,
    } | others  # fmt: skip


class Engine:
    """host.TrainHost and its RunningHost: records assignments and makes steps as the real ones would."""

    policy: Any = "the policy"

    def __init__(
        self,
        *,
        kill_at: int = 0,
        stop_at: int = 0,
        bad_judge: bool = False,
        cut: bool = False,
        sharded: bool = False,
        log: list[str] | None = None,
    ) -> None:
        """kill_at: the step in which everything dies. stop_at: the step at which the learner gives up. sharded: a
        checkpoint has a model at the last step, and where it is kept to be measured."""
        self.sharded = sharded
        self.kill_at, self.stop_at, self.bad_judge, self.cut = kill_at, stop_at, bad_judge, cut
        self.log: list[str] = [] if log is None else log
        self.work: TrainWork | None = None

    @contextmanager
    def running(self, config: Config, folder: TrainFolder, say: Callable[[str], None]) -> Iterator[Engine]:
        self.log.append("start")
        yield self
        self.log.append("end")

    def call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(work)

    def eyes(self) -> Any:
        return "the eyes of the host"

    def carry(self, step: int, folder: Path) -> None:
        assert folder.is_dir() and f"step-{step:06d}" in folder.parts
        self.log.append(f"carry {step}")

    def learn(self, work: TrainWork) -> LearnerEnd:
        self.work = work
        self.log.append("learn")
        if not work.learner:
            for assignment in work.assignments:
                self._sample(work, assignment)
            return LearnerEnd(0, None)
        done = work.folder.checkpoints.newest()
        for step in range(done + 1, work.steps + 1):
            for assignment in work.assignments:
                if assignment.step == step:
                    self._sample(work, assignment)
            if step == self.stop_at:
                return LearnerEnd(done, "the loss of step 3 is nan")
            self._step(work, step)
        return LearnerEnd(work.steps, None)

    def _sample(self, work: TrainWork, assignment: Assignment) -> None:
        if assignment.step == self.kill_at and assignment.shard:
            raise Killed  # the first half of this step is recorded
        work.record(outcome(assignment, self.bad_judge, None if work.learner else "base", self.cut))

    def _step(self, work: TrainWork, step: int) -> None:
        work.step_done(metrics(step))
        if step % EVERY == 0:
            made = work.folder.checkpoints.checkpoint(step)
            made.mkdir()
            model = ["model.safetensors", "config.json"]
            if self.sharded:
                kept = step == work.steps or any(step % every == 0 for every in work.config.kept_every)
                model = [f"{MERGED}/{name}" for name in model if kept]
            for name in (*model, "trainer_state.json", "optimizer.pt"):
                (made / name).parent.mkdir(exist_ok=True)
                (made / name).write_text(f"{Path(name).name} {step}")


class Evaluation:
    """run.Evaluation with made-up figures; may die while it asks."""

    def __init__(self, log: list[str], dies_at: int | None = None) -> None:
        self.log, self.dies_at = log, dies_at

    async def ask(self, policy: Any, eyes: Any, step: int, say: Callable[[str], None]) -> dict[str, Any]:
        assert policy == "the policy" and eyes() == "the eyes of the host"
        self.log.append(f"evaluate {step}")
        if step == self.dies_at:
            raise Killed
        return {
            "step": step, "n": 100, "accuracy": 0.5 + step / 100, "ci": [0.4, 0.6], "well_formed": 0.9,
            "by_family": {"count": {"n": 100, "right": 50 + step}}, "seconds": 1.0,
        }  # fmt: skip


class Signals:
    """choice.StopSignals with made-up figures; the version `best` is to be taken; may die at one."""

    asked = "these"

    def __init__(self, log: list[str], best: int, dies_at: int | None = None) -> None:
        self.log, self.best, self.dies_at = log, best, dies_at

    async def measure(self, sampler: Any, eyes: Any, steps: Any, carry: Any, record: Any, say: Any) -> None:
        assert sampler == "the policy" and eyes() == "the eyes of the host"
        for step in steps:
            carry(step)
            self.log.append(f"signals {step}")
            if step == self.dies_at:
                raise Killed
            record({"step": step, "asked": self.asked})

    def choose(self, records: Any, kl: Any, alarm: str) -> dict[str, Any]:
        self.log.append(f"choose among {[row['step'] for row in records]}")
        signals = [{"step": row["step"], "kl": kl[row["step"]]} for row in records]
        return {
            "step": self.best,
            "why": "so",
            "score": 0.5,
            "by": ["agreement"],
            "over_last": {},
            "signals": signals,
        }


def start(
    run: Path,
    *overrides: str,
    said: list[str] | None = None,
    evaluate: bool = True,
    dies_at: int | None = None,
    learner: bool = True,
    best: int | None = None,
    signals_die_at: int | None = None,
    **host: Any,
) -> tuple[dict[str, Any] | None, Engine]:
    """One start of a run: its report (None when it was killed) and the host that it had."""
    made = Engine(**host)
    try:
        report = train(
            run,
            settings(*overrides),
            QUERIES,
            made,
            Evaluation(made.log, dies_at) if evaluate else None,
            say=([] if said is None else said).append,
            learner=learner,
            signals=None if best is None else Signals(made.log, best, signals_die_at),
        )
    except Killed:
        return None, made
    return report, made


def steps_in(path: Path) -> list[int]:
    return [row["step"] for row in read_records(path)]
