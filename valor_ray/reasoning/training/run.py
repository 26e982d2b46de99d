"""`valor train reasoning` from queries to report; what carries the work (Ray, or this process) is a TrainHost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from valor_ray.config.models import resolve_model
from valor_ray.errors import ConfigError
from valor_ray.judges.audit import Audit
from valor_ray.models.vllm.prompting import check_fitting
from valor_ray.ports import Policy
from valor_ray.reasoning.learner.learn import LearnerEnd, check_shape, learn
from valor_ray.reasoning.training.folder import Recorder, TrainFolder
from valor_ray.reasoning.training.host import RunningHost, TrainHost, TrainWork
from valor_ray.reasoning.training.rollout import RolloutResult
from valor_ray.reasoning.training.schedule import Assignment, assignments, check_enough, number_of_steps
from valor_ray.records import JUDGED, START_VERSION
from valor_ray.report.reasoning.page import REPORT, write_train_page
from valor_ray.runs.board import Board
from valor_ray.runs.folder import RecordFile, read_records

if TYPE_CHECKING:
    from valor_ray.config.tree import Config
    from valor_ray.queries.read import Query
    from valor_ray.reasoning.training.local import Replay

Say = Callable[[str], None]


class Evaluation(Protocol):
    """benchmarks.held_out.HeldOut: the one who knows answers, and gives figures only."""

    async def ask(self, policy: Policy, step: int, say: Say) -> dict[str, Any]: ...


def train(
    run: Path,
    config: Config,
    queries: Sequence[Query],
    host: TrainHost,
    evaluation: Evaluation | None,
    *,
    say: Say,
    learner: bool = True,
) -> dict[str, Any]:
    """Train until all steps are made, going on where the folder stands; returns the report.

    evaluation: asked before the first and after the last step. learner: False takes rollouts only.
    Raises ConfigError for what the user must change, JudgeError, PolicyError, ServiceError, StorageError.
    """
    check_shape(config.grpo)
    check_enough(config.grpo, len(queries))
    check_fitting(
        ((query.query_id, query.question) for query in queries),
        resolve_model(config.policy.model),
        config.policy,
    )
    folder = TrainFolder(run)
    steps = number_of_steps(config.grpo, len(queries))
    with folder.locked():
        folder.prepare(config)
        folder.keep_queries(queries)
        plan = list(assignments(queries, config.grpo, folder.shards(config), config.reward.audit_every))
        state = _State(folder, config, steps, say)
        state.go_back(learner)
        todo = state.todo(plan, learner)
        if not todo and (not learner or state.finished(evaluation)):
            say(f"all {state.steps} steps have been {'made' if learner else 'recorded'} by an earlier run")
            return state.report(None)
        with host.running(config, folder, say) as running:
            end = state.work(running, todo, evaluation, learner)
        return state.report(end)


def replay(run: Path, config: Config, source: Replay, *, say: Say) -> dict[str, Any]:
    """Train on the rollouts that another run has recorded, without host and judge; returns the report."""
    check_shape(config.grpo)
    folder = TrainFolder(run)
    with folder.locked():
        folder.prepare(config)
        state = _State(folder, config, source.steps, say)
        state.go_back(learner=True)
        with state.records() as step_done:
            end = learn(config, folder, source.steps, source, source, say, step_done)
        return state.report(end)


def plan(config: Config, queries: Sequence[Query]) -> dict[str, Any]:
    """What a run would do, without doing it. Raises ConfigError as the run would."""
    check_shape(config.grpo)
    grpo = config.grpo
    steps = number_of_steps(grpo, len(queries))
    todo = list(assignments(queries, grpo, config.policy.replicas, config.reward.audit_every))
    replies = steps * grpo.prompts * grpo.samples
    most = sum(len(assignment.queries) for assignment in todo) * grpo.samples
    calls, judge = len(JUDGED) * replies, config.judge
    priced = judge.base_url is None or judge.price_in > 0 or judge.price_out > 0
    cost = calls * (_TOKENS_IN * judge.price_in + _TOKENS_OUT * judge.price_out) / 1e6
    assumed = f"{_TOKENS_IN} + {_TOKENS_OUT} tokens a call, at judge.price_in and judge.price_out"
    return {
        "queries": len(queries),
        "steps": steps,
        "epochs": round(steps * grpo.prompts / len(queries), 2),
        "replies": replies,
        "replies_with_reserve": most,
        "micro_batches_per_step": grpo.prompts * grpo.samples // (grpo.micro_batch * grpo.workers),
        "judge_calls": calls,
        "judge_calls_at_most": len(JUDGED) * (most + sum(assignment.canaries for assignment in todo)),
        "judge_cost_usd": round(cost, 2) if priced else None,
        "cost_assumes": assumed if priced else "no price: set judge.price_in and judge.price_out",
        "checkpoints": -(-steps // grpo.save_every),
        "policy_replicas": config.policy.replicas,
        "learner_processes": grpo.workers,
    }


_TOKENS_IN, _TOKENS_OUT = 1200, 80  # of a judge call on a real reply; for the estimate only


class _State:
    """One start of a run, whose folder is locked."""

    def __init__(self, folder: TrainFolder, config: Config, steps: int, say: Say) -> None:
        self.folder, self.config, self.steps, self.say = folder, config, steps, say
        self.done = 0  # updates that the newest checkpoint holds
        self.recorded: list[RolloutResult] = []  # of steps that the learner has yet to make
        self._known: set[tuple[int, int]] = set()  # (step, shard) of assignments that are recorded
        self.audit = Audit(config.reward)

    def go_back(self, learner: bool) -> None:
        self.done = self.folder.step_of(self.folder.newest_checkpoint())
        self.steps = max(self.steps, self.done)  # a run is not made shorter than it is
        self.folder.go_back(self.done)
        for outcome in self.folder.recorded(self.done if learner else 0):
            self._known.add((outcome.step, outcome.shard))
            if learner:
                self._check_learnable(outcome)
                self.recorded.append(outcome)
        for record in read_records(self.folder.audit):
            self.audit.add(record)
        if self.done or self._known:
            self.say(
                f"going on: {self.done} of {self.steps} steps made, {len(self._known)} assignments of later steps "
                "recorded"
            )

    def _check_learnable(self, outcome: RolloutResult) -> None:
        """Raises ConfigError for rollouts taken without a learner: at later steps they would all be too old."""
        if any(version == START_VERSION for row in outcome.rollouts for version, _ in row["versions"]):
            raise ConfigError(
                f"--run {self.folder.path} holds rollouts taken without a learner (--rollouts-only). To learn from "
                f"them: valor train reasoning --replay {self.folder.path} --run another_folder"
            )

    def todo(self, plan: Sequence[Assignment], learner: bool) -> list[Assignment]:
        """Assignments that are not recorded yet."""
        first = self.done if learner else 0
        return [
            assignment
            for assignment in plan
            if assignment.step > first and (assignment.step, assignment.shard) not in self._known
        ]

    def finished(self, evaluation: Evaluation | None) -> bool:
        return self.done >= self.steps and (evaluation is None or self.evaluated(self.steps))

    def work(
        self, running: RunningHost, todo: Sequence[Assignment], evaluation: Evaluation | None, learner: bool
    ) -> LearnerEnd | None:
        if learner and self.done == 0:
            self._evaluate(running, evaluation, 0)
        end: LearnerEnd | None = None
        with closing(Recorder(self.folder)) as recorder, self.records() as step_done:

            def record(outcome: RolloutResult) -> None:
                recorder.record(outcome)
                for canary in outcome.audit:
                    if alarm := self.audit.add(canary):
                        self.say(alarm)

            if todo or (learner and self.done < self.steps):
                work = TrainWork(
                    self.config,
                    self.folder,
                    self.steps,
                    todo,
                    self.recorded,
                    record,
                    step_done,
                    self.say,
                    self.folder.shards(self.config),
                    learner,
                )
                end = running.learn(work)
        if learner and (end is None or end.stopped is None):
            for step in self._measured():
                self._evaluate(running, evaluation, step)
        return end

    def _measured(self) -> list[int]:
        """Steps whose checkpoints are asked the held-out questions when training is over, the last one last."""
        every = self.config.grpo.eval_every
        kept = [
            step
            for step in (range(every, self.steps, every) if every else ())
            if self.folder.checkpoint(step).exists()
        ]
        return [*kept, self.steps]

    def records(self) -> _Steps:
        return _Steps(self.folder, self.config, self.done, self.steps, self.say)

    def evaluated(self, step: int) -> bool:
        return any(record["step"] == step for record in read_records(self.folder.evaluation))

    def _evaluate(self, running: RunningHost, evaluation: Evaluation | None, step: int) -> None:
        if evaluation is None or self.evaluated(step):
            return
        self.say(f"asking the held-out questions, version {step}")
        if step:
            running.carry(step, self.folder.policy_weights(step))
        found = running.call(evaluation.ask(running.policy, step, self.say))
        with closing(RecordFile(self.folder.evaluation, keep=True)) as file:
            file.append(found)
        low, high = found["ci"]
        self.say(
            f"version {step}: {found['accuracy']:.1%} [{low:.1%}, {high:.1%}] of {found['n']} held-out questions right"
        )

    def report(self, end: LearnerEnd | None) -> dict[str, Any]:
        stopped = end.stopped if end is not None else None
        write_train_page(self.folder.path, stopped)
        return dict(json.loads((self.folder.path / REPORT).read_text(encoding="utf-8")))


class _Steps:
    """Takes the metrics records of steps: file, TensorBoard, a line for the user with the time that is left."""

    def __init__(self, folder: TrainFolder, config: Config, done: int, steps: int, say: Say) -> None:
        self._folder, self._config, self._done, self._steps, self._say = folder, config, done, steps, say
        self._newest = done
        self._first: tuple[int, float] | None = (
            None  # first step of this start, which also waits for the start itself
        )

    def __enter__(self) -> Callable[[Mapping[str, Any]], None]:
        self._file = RecordFile(self._folder.metrics, keep=True)
        self._board = Board(self._folder.path, self._done + 1, self._config.grpo.wandb_project)
        return self._take

    def __exit__(self, *error: object) -> None:
        self._file.close()
        self._board.close()

    def _take(self, record: Mapping[str, Any]) -> None:
        step, now = record["step"], time.monotonic()
        if step <= self._newest:
            return  # made again by a learner that was started again from its checkpoint: the same figures
        self._newest = step
        self._file.append(record)
        self._board.write(record)
        self._first = self._first or (step, now)
        since = step - self._first[0]
        left = (now - self._first[1]) / since * (self._steps - step) / 60 if since else None
        seconds = record["seconds"]
        parts = ", ".join(f"{name} {seconds[name]:.1f}" for name in ("wait", "learn", "publish"))
        self._say(
            f"step {step}/{self._steps}: reward {_text(record['reward'])}, all heads {_text(record['all_heads'])}, "
            f"kl {_text(record['kl'])}, {record['useful_groups']} useful groups ({parts} s)"
            + ("" if left is None else f", about {left:.0f} min left")
        )


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
