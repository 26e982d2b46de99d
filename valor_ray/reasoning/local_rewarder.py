"""The reward over a sandbox of this process, without Ray."""

from __future__ import annotations

from typing import TYPE_CHECKING

from valor_ray.reasoning.reward import Rewarder
from valor_ray.reasoning.scenes.check import SceneTests
from valor_ray.reasoning.scenes.run import ScenesOfPrograms
from valor_ray.reasoning.syntax import SyntaxOfPrograms

if TYPE_CHECKING:
    from valor_ray.config.judging import RewardConfig
    from valor_ray.ports import Judge
    from valor_ray.program.sandbox import Sandbox


def local_rewarder(weights: RewardConfig, judge: Judge, sandbox: Sandbox) -> Rewarder:
    """Called by the hosts of scoring and training that work in one process; scene tests only where they count."""
    scenes = SceneTests(judge, ScenesOfPrograms(sandbox)) if weights.scenes else None
    return Rewarder(SyntaxOfPrograms(sandbox), judge, weights, scenes)
