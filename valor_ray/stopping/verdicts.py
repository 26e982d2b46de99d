"""What the judges say of the replies to a held-back question: scene tests of all, text heads of the first few."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from valor_ray.config.judging import RewardConfig
from valor_ray.ports import Judge, SceneRuns, SyntaxCheck
from valor_ray.reasoning.reward import Rewarder, reward_value
from valor_ray.reasoning.scenes.check import SceneTests
from valor_ray.records import JUDGED, Head, Reward

if TYPE_CHECKING:
    from valor_ray.config.training import StoppingConfig

_NO_TEXT = dict.fromkeys((head.value for head in JUDGED), 0.0)
_SCENES = RewardConfig(**{**_NO_TEXT, "scenes": 0.9, "syntax": 0.1})


@dataclass(frozen=True)
class Judged:
    """Of one question's replies; means 0..1, None where no verdict is known."""

    scenes: float | None
    text: float | None
    reward: float | None  # by the run's own weights
    calls: int
    cost_usd: float


class Judges:
    """Called once a question; waits for the judge, then for the sandbox."""

    def __init__(
        self,
        judge: Judge,
        syntax: SyntaxCheck,
        runs: SceneRuns,
        weights: RewardConfig,
        config: StoppingConfig,
    ) -> None:
        self._weights, self._judged = weights, config.judged
        self._text = text_weights(weights)
        both = {name.value: weight / 2 for name, weight in self._text.weights().items()}
        tests = SceneTests(judge, runs)
        self._all = Rewarder(syntax, judge, RewardConfig(**{**_NO_TEXT, **both, "scenes": 0.5}), tests)
        self._scenes = Rewarder(syntax, judge, _SCENES, tests)

    async def __call__(self, question: str, replies: Sequence[str]) -> Judged:
        """Raises JudgeError when every further call must fail too (a refused key)."""
        first = dict.fromkeys(replies[: self._judged])
        others = [text for text in dict.fromkeys(replies) if text not in first]
        judged = dict(
            zip(
                [*first, *others],
                await asyncio.gather(
                    *(self._all(question, text) for text in first),
                    *(self._scenes(question, text) for text in others),
                ),
                strict=True,
            )
        )
        used = [usage for reward in judged.values() for usage in reward.usage.values()]
        asked = [judged[text] for text in replies[: self._judged]]
        return Judged(
            scenes=_mean([_scenes(judged[text]) for text in replies]),
            text=_mean([reward_value(one.verdicts, self._text) for one in asked]),
            reward=_mean([reward_value(one.verdicts, self._weights, one.left_out) for one in asked]),
            calls=sum(usage.tries for usage in used),
            cost_usd=sum(usage.cost_usd for usage in used),
        )


def text_weights(weights: RewardConfig) -> RewardConfig:
    """The heads of plan and program with syntax, weighted as in training; the paper's where training asks none."""
    if not weights.judged():
        return RewardConfig()
    left = 1 - weights.scenes
    scaled = {name: getattr(weights, name) / left for name in (*_NO_TEXT, Head.SYNTAX.value)}
    return weights.model_copy(update={**scaled, "scenes": 0.0})


def _scenes(judged: Reward) -> float | None:
    """A reply without the format answers no scene; None: the head does not apply, or there is no verdict."""
    if judged.verdicts[Head.FORMAT].value is not True:
        return None if Head.SCENES in judged.left_out else 0.0
    verdict = judged.verdicts.get(Head.SCENES)
    return None if verdict is None or verdict.value is None else float(verdict.value)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
