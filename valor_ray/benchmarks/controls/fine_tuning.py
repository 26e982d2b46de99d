"""Supervised fine-tuning on the start policy's full-reward samples (rejection sampling), at the run's judge calls.

    start policy ─► samples of the run's queries, judged ─► those with full reward ─► maximum likelihood, as many steps
                    until the run's calls are spent

Label-free, as the run is. The learner is the run's, with an advantage of 1 and no ratio (learner/micro_batches.py).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from valor_ray.benchmarks.controls.source import Source, Weights
from valor_ray.errors import ConfigError
from valor_ray.reasoning.learner.learn import learn
from valor_ray.reasoning.learner.ports import StepBatch
from valor_ray.reasoning.training.advantage import Use
from valor_ray.reasoning.training.folder import Recorder, TrainFolder
from valor_ray.reasoning.training.host import TrainHost, TrainWork
from valor_ray.reasoning.training.local import LocalTrainHost
from valor_ray.reasoning.training.schedule import Assignment, assignments
from valor_ray.reasoning.training.step_records import StepRecords, restore_records
from valor_ray.records import Rollout
from valor_ray.runs.record_file import replace_text
from valor_ray.runs.weight_channel import FileChannel, to_nobody

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

    Say = Callable[[str], None]

NAME = "sft_full_reward"
_FULL = 1 - 1e-9
_TIMES = (
    4  # assignments that are planned, in steps of the run: so many calls fewer may a sample of the start take
)
_MOST_AT_ONCE = 8  # steps of samples between two looks at what was spent


@dataclass(frozen=True)
class Gathered:
    """What judging the start policy's samples has brought."""

    examples: list[Rollout]  # full reward, advantage 1, no log-probabilities
    judged: int
    calls: int
    cost_usd: float


def fine_tune(source: Source, say: Say, host: TrainHost | None = None) -> tuple[Weights, dict[str, Any]]:
    """The weights, and what they were made of ({"judged", "examples", "calls", "cost_usd", "epochs"}).

    In this process; goes on where it was killed. Raises ConfigError: no sample with full reward, learning that stops
    before its first checkpoint, a folder of other settings; what sampling, judging and learning raise.
    """
    folder, config = TrainFolder(source.control(NAME)), _without_divergence(source.alone)

    def told(line: str) -> None:
        say(f"{NAME}: {line}")

    with folder.locked():
        folder.prepare(config)
        folder.keep_queries(source.training)
        gathered = _gather(source, folder, config, told, host or LocalTrainHost())
        steps = _learn(folder, config, gathered, told)
    rows = config.grpo.prompts * config.grpo.samples
    made = {
        "judged": gathered.judged,
        "examples": len(gathered.examples),
        "calls": gathered.calls,
        "cost_usd": round(gathered.cost_usd, 6),
        "epochs": round(steps * rows / len(gathered.examples), 2),
        "steps": steps,
    }
    return Weights(NAME, str(folder.checkpoints.policy_weights(steps))), made


def _without_divergence(config: Config) -> Config:
    """k3 estimates the divergence on samples of the policy that learns; on the start policy's it has no bound: one
    token, of log-probability -1 at the start and -22 at step 5, made a gradient of 1e5."""
    return config.model_copy(update={"grpo": config.grpo.model_copy(update={"kl": 0.0})})


# samples of the start policy


def _gather(source: Source, folder: TrainFolder, config: Config, say: Say, host: TrainHost) -> Gathered:
    """Sample and judge until the run's calls are spent; what went over them is left out."""
    done = folder.path / "gathered.json"  # its calls are spent
    if not done.exists():
        folder.go_back(0)  # cuts what a kill has torn
        grpo = config.grpo.model_copy(update={"steps": _TIMES * source.steps})
        plan = list(assignments(source.training, grpo, folder.shards(config)))
        spent, known = _recorded(folder)
        todo = [each for each in plan if (each.step, each.shard) not in known]
        if todo and spent < source.spent.calls:
            say(f"samples of the start policy, judged with the run's {source.spent.calls:,} calls")
            with host.running(config, folder, say) as running, closing(Recorder(folder)) as recorder:
                for block in _blocks(todo, lambda: _recorded(folder), source.spent.calls):
                    running.learn(
                        TrainWork(
                            config, folder, plan[-1].step, block, [], recorder.record, _nothing, say,
                            folder.shards(config), learner=False,
                        )
                    )  # fmt: skip
                    say(f"{_recorded(folder)[0]:,} of {source.spent.calls:,} calls")
        replace_text(done, json.dumps({"calls": _recorded(folder)[0]}) + "\n")
    folder.go_back(folder.checkpoints.newest())
    return chosen(folder, source.spent.calls)


def _blocks(
    todo: Sequence[Assignment], recorded: Callable[[], tuple[int, set[tuple[int, int]]]], calls: int
) -> Iterator[list[Assignment]]:
    """As many whole steps at a time as, by what a step has taken so far, hold half of what is left, one at least."""
    steps: dict[int, list[Assignment]] = defaultdict(list)
    for assignment in todo:
        steps[assignment.step].append(assignment)
    left = sorted(steps)
    while left:
        spent, known = recorded()
        if spent >= calls:
            return
        made = len({step for step, _ in known})
        fitting = int((calls - spent) * made / spent / 2) if spent else 1
        count = max(1, min(fitting, _MOST_AT_ONCE))
        now, left = left[:count], left[count:]
        yield [assignment for step in now for assignment in steps[step]]


def _recorded(folder: TrainFolder) -> tuple[int, set[tuple[int, int]]]:
    """Calls, and (step, shard) of what is recorded."""
    calls, known = 0, set()
    for outcome in folder.recorded(0):
        calls += sum(rollout.calls for rollout in outcome.rollouts)
        known.add((outcome.step, outcome.shard))
    return calls, known


def chosen(folder: TrainFolder, calls: int) -> Gathered:
    """The examples of the recorded assignments, in order of steps, that together took no more than `calls`.

    Raises ConfigError: none has full reward.
    """
    examples: list[Rollout] = []
    judged = spent = 0
    cost = 0.0
    for outcome in sorted(folder.recorded(0), key=lambda each: (each.step, each.shard)):
        taken = sum(rollout.calls for rollout in outcome.rollouts)
        if spent + taken > calls:
            break
        spent, judged = spent + taken, judged + len(outcome.rollouts)
        cost += sum(rollout.cost_usd for rollout in outcome.rollouts)
        examples += [
            replace(rollout, logprobs=(), advantage=1.0, fate=Use.USED.value)
            for rollout in outcome.rollouts
            if rollout.value is not None and rollout.value >= _FULL
        ]
    if not examples:
        raise ConfigError(
            f"None of {judged} samples of the start policy has full reward: there is nothing to fine-tune on. Leave "
            f"out {NAME} (--only)."
        )
    return Gathered(examples, judged, spent, cost)


# learning


class Examples:
    """learner.ports.BatchSource: as many examples a step as the run has rows, in an order of its own each epoch."""

    def __init__(self, examples: Sequence[Rollout], rows: int, seed: int) -> None:
        self._examples, self._rows, self._seed = examples, rows, seed

    def batch(self, step: int) -> StepBatch:
        """Of step s from 1: the same whenever it is asked for."""
        first = (step - 1) * self._rows
        rows = [self._examples[self._place(first + n)] for n in range(self._rows)]
        counts = dict.fromkeys(("equal_groups", "refilled", "dropped_missing", "dropped_stale"), 0)
        groups = {"groups": len(rows), "useful_groups": len(rows)}
        return StepBatch(step, rows, rows, groups | counts, [step - 1] * len(rows), 0.0, 0.0)

    def _place(self, position: int) -> int:
        epoch, place = divmod(position, len(self._examples))
        return int(np.random.default_rng([self._seed, 13, epoch]).permutation(len(self._examples))[place])

    def checkpointed(self, step: int) -> None:
        pass


def _learn(folder: TrainFolder, config: Config, gathered: Gathered, say: Say) -> int:
    """Updates made: the run's, unless learning was stopped."""
    grpo, steps = config.grpo, config.grpo.steps or 1
    done = folder.checkpoints.newest()
    if done >= steps:
        return done
    say(f"{steps} steps on {len(gathered.examples)} of {gathered.judged} samples")
    restore_records(folder, config, done)
    source = Examples(gathered.examples, grpo.prompts * grpo.samples, grpo.seed)
    channel = FileChannel(folder.weights, grpo.max_lag + 2, to_nobody, first=True)
    with StepRecords(folder, config, done, steps, say) as step_done:
        end = learn(config, folder.checkpoints, steps, source, channel, say, step_done)
    if end.stopped:
        if not end.steps:
            raise ConfigError(
                f"{NAME} learnt nothing before its first checkpoint: {end.stopped}. Leave it out (--only)."
            )
        say(f"ended after {end.steps} steps: {end.stopped}")
    return end.steps


def _nothing(record: object) -> None:
    pass
