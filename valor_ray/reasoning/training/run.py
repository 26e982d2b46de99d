"""`valor train reasoning` from queries to report; what carries the work (Ray, or this process) is a TrainHost.

    train: go back to the newest checkpoint ─► evaluate version 0 ─► host.learn: the steps ─► choose, evaluate ─► page

Step s makes version s of the policy out of version s - 1. Who does what, in which process, and what it waits for:

    driver             assignments of s, one a shard                                       schedule.assignments
       │
    rollout worker     turn(s)         BLOCKS until version s - 1 - max_lag is published   buffer.RolloutBuffer  ◄──┐
    (Ray Data)                         a curriculum chooses its queries then               curriculum.Learnability  │
       │               sample          by the policy replicas (Serve); kept in samples/    rollout.roll_out         │
       │               reward          sandbox pool, judges (Serve); BLOCKS while the      reward.Rewarder          │
       │                               judge is down                                                                │
    driver             record          rollouts.jsonl, before anybody learns from it       folder.Recorder          │
       │               put(s)          into the buffer (an actor of its own)               buffer.RolloutBuffer     │
       │                                                                                                            │
    learner process    batch(s)        BLOCKS until all shards of s are put                buffer.RolloutBuffer     │
    (Ray Train)        loss, update    trl's GRPO: now it is version s                     learner.grpo_trainer     │
       │               publish(s)      BLOCKS until every replica carries it, then gives   runs.publications      ──┘
       │                               turns to step s + 1 + max_lag
    driver             step_done       metrics.jsonl, curves, a line for the user          step_records.StepRecords
       │
    learner process    checkpoint      one step in grpo.save_every; the buffer forgets s   runs.checkpoints

So rollouts of the next steps are taken while the learner works, and at most max_lag versions ahead of it; what is too
old all the same when its step comes leaves the batch. With `--in-process` (local.py) workers and driver are tasks of
one event loop, the learner is the calling thread, and the calls are the same. Recorded rollouts of steps that no
checkpoint holds enter at put(s). On Ray: deployments/reasoning.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from valor_ray.errors import ConfigError
from valor_ray.judges.audit import Audit
from valor_ray.models.vllm.prompting import check_fitting
from valor_ray.ports import Policy
from valor_ray.reasoning.curriculum import Learnability
from valor_ray.reasoning.learner.learn import LearnerEnd, check_shape, check_transfer, learn, say_slow
from valor_ray.reasoning.learner.models import start_model
from valor_ray.reasoning.training.choice import Choice, StopSignals
from valor_ray.reasoning.training.cut_replies import CutReplies
from valor_ray.reasoning.training.folder import Recorder, TrainFolder
from valor_ray.reasoning.training.host import RunningHost, TrainHost, TrainWork
from valor_ray.reasoning.training.rollout import RolloutResult
from valor_ray.reasoning.training.schedule import Assignment, assignments, check_enough
from valor_ray.reasoning.training.step_records import StepRecords, restore_records
from valor_ray.records import START_VERSION, Query
from valor_ray.report.reasoning.page import REPORT, write_train_page
from valor_ray.runs.record_file import RecordFile, read_records
from valor_ray.runs.trackers import check_trackers
from valor_ray.runs.weight_channel import FileChannel, to_nobody

if TYPE_CHECKING:
    from valor_ray.config.tree import Config
    from valor_ray.reasoning.training.local import Replay
    from valor_ray.wiring import OpenEyes

Say = Callable[[str], None]


class Evaluation(Protocol):
    """benchmarks.held_out.HeldOut: the one who knows answers, and gives figures only."""

    async def ask(self, policy: Policy, eyes: OpenEyes, step: int, say: Say) -> dict[str, Any]: ...


def train(
    run: Path,
    config: Config,
    queries: Sequence[Query],
    host: TrainHost,
    evaluation: Evaluation | None,
    *,
    say: Say,
    learner: bool = True,
    signals: StopSignals | None = None,
) -> dict[str, Any]:
    """Train until all steps are made, going on where the folder stands; returns the report.

    Called by the command, in the driver; waits for all that the picture above shows, and is what a kill cuts short.
    evaluation: asked before the first and after the last step. learner: False takes rollouts only, of shuffled queries.
    signals: by which a checkpoint is chosen without labels; None: none is.
    Raises ConfigError for what the user must change, JudgeError, PolicyError, ServiceError, StorageError.
    """
    check_shape(config.grpo)
    check_transfer(config)
    check_trackers(config.grpo.tracker_projects())
    check_enough(config.grpo, len(queries))
    check_fitting(
        ((query.query_id, query.question) for query in queries),
        start_model(config.policy.model),
        config.policy,
    )
    folder = TrainFolder(run)
    steps = config.grpo.number_of_steps(len(queries))
    with folder.locked():
        folder.prepare(config)
        folder.keep_queries(queries)
        plan = list(assignments(queries, config.grpo, folder.shards(config), config.reward.audit_every))
        chosen = learner and config.grpo.curriculum == "learnability"
        curriculum = Learnability(queries, config.grpo) if chosen else None
        state = _State(folder, config, steps, say, signals if learner else None, curriculum)
        state.go_back(learner)
        if learner:
            say_slow(config.grpo, say)
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
    check_trackers(config.grpo.tracker_projects())
    folder = TrainFolder(run)
    with folder.locked():
        folder.prepare(config)
        state = _State(folder, config, source.steps, say)
        state.go_back(learner=True)
        say_slow(config.grpo, say)
        with state.records() as step_done:
            channel = FileChannel(folder.weights, config.grpo.max_lag + 2, to_nobody, first=True)
            end = learn(config, folder.checkpoints, source.steps, source, channel, say, step_done)
        return state.report(end)


class _State:
    """One start of a run, whose folder is locked: what is done already, what is to do."""

    def __init__(
        self,
        folder: TrainFolder,
        config: Config,
        steps: int,
        say: Say,
        signals: StopSignals | None = None,
        curriculum: Learnability | None = None,
    ) -> None:
        self.choice = Choice(folder, config, signals, say)
        self.folder, self.config, self.steps, self.say = folder, config, steps, say
        self.curriculum = curriculum
        self.done = 0  # updates that the newest checkpoint holds
        self.recorded: list[RolloutResult] = []  # of steps that the learner has yet to make
        self._known: set[tuple[int, int]] = set()  # (step, shard) of assignments that are recorded
        self.audit = Audit(config.reward)
        self.cut = CutReplies(config, folder.shards(config))

    def go_back(self, learner: bool) -> None:
        self.done = self.folder.checkpoints.newest()
        self.steps = max(self.steps, self.done)  # a run is not made shorter than it is
        self.folder.go_back(self.done)
        restore_records(self.folder, self.config, self.done)
        after = self.done if learner else 0
        for outcome in self.folder.recorded(0 if self.curriculum else after):
            if outcome.step <= after:
                if self.curriculum:
                    self.curriculum.saw(outcome.rollouts)
                continue
            self._known.add((outcome.step, outcome.shard))
            if warning := self.cut.add(outcome):
                self.say(warning)
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
        if any(version == START_VERSION for rollout in outcome.rollouts for version, _ in rollout.versions):
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
        asked = evaluation is None or all(self.evaluated(step) for step in self._measured())
        return self.done >= self.steps and asked and not self.choice.missing(self.steps)

    def work(
        self, running: RunningHost, todo: Sequence[Assignment], evaluation: Evaluation | None, learner: bool
    ) -> LearnerEnd | None:
        """Evaluate, learn, choose, evaluate: of these what no earlier start has done.

        The choice is made before the weights that it is among are asked for the truth.
        """
        if learner and self.done == 0:
            self.choice.measure_start(running)
            self._evaluate(running, evaluation, 0)
        elif learner and (self.choice.lacks_start() or not (evaluation is None or self.evaluated(0))):
            self.say(
                "version 0 was not measured when the engines carried it, and cannot be any more: gain and choice are "
                "without it (`valor eval` measures the start policy)"
            )
        end: LearnerEnd | None = None
        if todo or (learner and self.done < self.steps):
            end = self._learn(running, todo, learner)
        if learner:
            self.choice.measure(running, self.folder.checkpoints.newest(), self._carried)
            self.choice.write()
        if learner and (end is None or end.stopped is None):
            for step in self._measured():
                self._evaluate(running, evaluation, step)
        return end

    def _learn(self, running: RunningHost, todo: Sequence[Assignment], learner: bool) -> LearnerEnd:
        with closing(Recorder(self.folder)) as recorder, self.records() as step_done:

            def record(outcome: RolloutResult) -> None:
                recorder.record(outcome)
                if warning := self.cut.add(outcome):
                    self.say(warning)
                for canary in outcome.audit:
                    if alarm := self.audit.add(canary):
                        self.say(alarm)

            work = TrainWork(
                config=self.config,
                folder=self.folder,
                steps=self.steps,
                assignments=todo,
                recorded=self.recorded,
                record=record,
                step_done=step_done,
                say=self.say,
                shards=self.folder.shards(self.config),
                learner=learner,
                curriculum=self.curriculum,
            )
            return running.learn(work)

    def _measured(self) -> list[int]:
        """Steps whose checkpoints are asked the held-out questions when training is over, the last one last."""
        every = self.config.grpo.eval_every
        steps = [*(range(every, self.steps, every) if every else ()), self.steps]
        return [step for step in steps if self.folder.checkpoints.has_model(step)]

    def records(self) -> StepRecords:
        return StepRecords(self.folder, self.config, self.done, self.steps, self.say)

    def evaluated(self, step: int) -> bool:
        return any(record["step"] == step for record in read_records(self.folder.evaluation))

    def _evaluate(self, running: RunningHost, evaluation: Evaluation | None, step: int) -> None:
        if evaluation is None or self.evaluated(step):
            return
        self.say(f"asking the held-out questions, version {step}")
        if step:
            running.carry(step, self._carried(step))
        figures = running.call(evaluation.ask(running.policy, running.eyes, step, self.say))
        with closing(RecordFile(self.folder.evaluation, keep=True)) as file:
            file.append(figures)
        right, (low, high) = figures["accuracy"], figures["ci"]
        self.say(
            f"version {step}: {right:.1%} [{low:.1%}, {high:.1%}] of {figures['n']} held-out questions right"
        )

    def _carried(self, step: int) -> Path:
        """What the run's own engines load of a checkpoint: they have the base, where adapters are trained."""
        checkpoints = self.folder.checkpoints
        if self.config.grpo.lora_rank is not None:
            return checkpoints.checkpoint(step)
        return checkpoints.policy_weights(step)

    def report(self, end: LearnerEnd | None) -> dict[str, Any]:
        stopped = end.stopped if end is not None else None
        newest = self.folder.checkpoints.newest()
        if newest and not self.folder.checkpoints.has_model(newest):
            self.say(
                f"the checkpoint of step {newest} is for going on alone: it has no model that could be measured or "
                "chosen. With grpo.fsdp and grpo.ema those of the last step and of every grpo.eval_every and "
                "stopping.every steps have one"
            )
        write_train_page(self.folder.path, stopped)
        return dict(json.loads((self.folder.path / REPORT).read_text(encoding="utf-8")))
