"""GRPO on rewards that mean nothing: the run's own rewards, dealt anew by the call alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from valor_ray.benchmarks.controls.source import Source, Weights
from valor_ray.errors import ConfigError
from valor_ray.reasoning.training.folder import TrainFolder
from valor_ray.reasoning.training.local import LocalTrainHost
from valor_ray.reasoning.training.run import train
from valor_ray.records import Head, Reward, Verdict
from valor_ray.runs.record_file import read_records

Say = Callable[[str], None]
NAME = "random_rewards"


class RandomRewards:
    """reasoning.reward.Rewarding: a reward of the run, drawn by seed, question and reply, whatever these say.

    So it is the same whenever it is asked for, for equal replies too, and a killed training goes on with the same.
    """

    def __init__(self, rewards: Sequence[Mapping[str, Any]], seed: int) -> None:
        """rewards: {"value", head: verdict or None} of rollouts that have a reward; one at least."""
        self._rewards, self._seed = rewards, seed

    async def __call__(self, question: str, reply: str) -> Reward:
        call = "\0".join((str(self._seed), question, reply))
        drawn = int.from_bytes(hashlib.sha256(call.encode(errors="replace")).digest()[:8])
        dealt = self._rewards[drawn % len(self._rewards)]
        verdicts = {
            head: Verdict(dealt[head.value], "drawn at random", "random")
            for head in Head
            if dealt.get(head.value) is not None
        }
        return Reward(dealt["value"], verdicts)


def train_on_random_rewards(source: Source, say: Say) -> Weights:
    """The run's steps on its queries, in this process, with its rewards dealt at random. Goes on where it was killed.

    Raises ConfigError: a folder of other settings, a run without rewards, training that stops before its first
    checkpoint; what training raises.
    """
    names = ("value", *(head.value for head in Head))
    rewards = [
        {name: row.get(name) for name in names}
        for row in read_records(source.folder.rollouts)
        if row.get("value") is not None and row["step"] <= source.steps
    ]
    if not rewards:
        raise ConfigError(f"{source.folder.rollouts} holds no rewards: leave out {NAME} (--only).")
    folder, config = source.control(NAME), source.alone
    host = LocalTrainHost(RandomRewards(rewards, config.grpo.seed))
    report = train(folder, config, source.training, host, None, say=lambda line: say(f"{NAME}: {line}"))
    checkpoints = TrainFolder(folder).checkpoints
    if report.get("stopped"):
        if not checkpoints.newest():
            raise ConfigError(
                f"{NAME} learnt nothing before its first checkpoint: {report['stopped']}. Leave it out (--only)."
            )
        say(f"{NAME}: ended after {report['steps']} steps: {report['stopped']}")
    return Weights(NAME, str(checkpoints.policy_weights(checkpoints.newest())))
