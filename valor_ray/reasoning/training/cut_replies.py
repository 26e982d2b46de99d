"""Watches how many replies are cut at the token limit: a reply without its end has no program, and teaches nothing."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from valor_ray.errors import ConfigError
from valor_ray.reasoning.training.rollout import RolloutResult

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

_SAID_FROM = 0.1  # share of a step's replies; more than some are cut in every run
_SAID_AGAIN = 0.2  # when the share has grown by so much


@dataclass
class _Step:
    shards: int = 0
    replies: int = 0
    cut: int = 0
    formed: int = 0  # of the cut ones: with a whole program all the same
    longest: int = 0  # tokens of a cut one


class CutReplies:
    """`train` tells it of every outcome, in the driver, recorded ones of earlier starts too; it waits for nobody."""

    def __init__(self, config: Config, shards: int) -> None:
        self._limit, self._room, self._shards = config.grpo.max_tokens, config.policy.max_model_len, shards
        self._steps: dict[int, _Step] = defaultdict(_Step)
        self._said = _SAID_FROM - _SAID_AGAIN

    def add(self, outcome: RolloutResult) -> str:
        """What the user should hear of a step that is complete; "": nothing.

        Raises ConfigError when all of a step's replies were cut, none of them with a program.
        """
        step = self._steps[outcome.step]
        cut = [rollout for rollout in outcome.rollouts if rollout.finish_reason == "length"]
        step.shards += 1
        step.replies += len(outcome.rollouts)
        step.cut += len(cut)
        step.formed += sum(rollout.format is True for rollout in cut)
        step.longest = max([step.longest, *(len(rollout.token_ids) for rollout in cut)])
        if step.shards < self._shards:
            return ""
        del self._steps[outcome.step]
        share = step.cut / max(step.replies, 1)
        if share == 1 and not step.formed:
            raise ConfigError(
                f"All {step.replies} replies of step {outcome.step} were cut at {self._setting(step)}: none has a "
                "whole program, so there is nothing to learn from. Raise it (paper: 2000), and give the run another "
                "folder (--run): this one keeps its replies."
            )
        if share < self._said + _SAID_AGAIN:
            return ""
        self._said = share
        return (
            f"WARNING: {step.cut} of {step.replies} replies of step {outcome.step} ({share:.0%}) were cut at "
            f"{self._setting(step)}. A reply without its end has no program and the reward 0: raise it, in another "
            "--run, unless the policy is meant to write less."
        )

    def _setting(self, step: _Step) -> str:
        """What has cut them off."""
        if step.longest < self._limit:  # the prompt has taken what the context has
            return f"policy.max_model_len {self._room} (prompt and reply together)"
        return f"grpo.max_tokens {self._limit}"
