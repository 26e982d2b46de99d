"""The reward as the workers of `valor score` and of training pay it out: the node's sandbox, the gateway of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from valor_ray.reasoning.reward import Rewarder
from valor_ray.reasoning.scenes.check import SceneTests

if TYPE_CHECKING:
    from valor_ray.config.tree import Config


def remote_rewarder(config: Config, answers: str) -> Rewarder:
    """Called once in each worker; opens the sandbox pool of its node. Scene tests only where they count.

    answers: the folder where the judges' answers are kept, which names the gateway.
    """
    from ray import serve

    from deployments.actors.sandbox_pool import RemoteSceneRuns, RemoteSyntax, open_pool
    from deployments.app import gateway_name
    from deployments.ports import RemoteJudge

    judge = RemoteJudge(serve.get_deployment_handle("judge", gateway_name(answers, "judge")))
    pool = open_pool(config.sandbox)
    scenes = SceneTests(judge, RemoteSceneRuns(pool)) if config.reward.scenes else None
    return Rewarder(RemoteSyntax(pool), judge, config.reward, scenes)
