"""The demo's two turns in one running app: it starts with the bases, and goes over to what was trained from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valor_ray.config.models import resolve_model
from valor_ray.config.tree import Config
from valor_ray.models.shipped import on_bases

_PARTS = ("policy", "detector")
_CARRY_S = 240.0  # for the replicas to load tiny weights, on a busy machine


@dataclass(frozen=True)
class BaseAndTrained:
    """What the app starts with, and what it is to go over to."""

    config: Config
    trained: Mapping[str, str]  # part -> its model
    runs: Mapping[str, Path]  # part -> folder of which its replicas take what is published

    @property
    def policy_run(self) -> str | None:
        """As of `deployments.serving.serving`."""
        return str(self.runs["policy"]) if "policy" in self.trained else None

    def go_over(self) -> None:
        """Publish the trained weights; returns when all replicas, at least one of each part, carry them.

        Raises CheckpointError, PolicyError, ServiceError: with some that do not, there is nothing to compare.
        """
        from deployments.actors.publications import publish

        for part, model in self.trained.items():
            publish(str(self.runs[part]), model, Path(resolve_model(model)), (), _CARRY_S)


def turns(config: Config, folder: Path) -> BaseAndTrained | None:
    """Two turns where the settings name shipped trained weights; None: there is one, with the settings as they are.

    folder: for what is published, on this machine. A writer behind an endpoint, a detector that follows a run and a
    cluster, whose other machines may not see the folder, have one turn. Raises ConfigError.
    """
    start, _ = on_bases(config)
    named = {part: getattr(config, part).model for part in _PARTS}
    trained = {part: model for part, model in named.items() if getattr(start, part).model != model}
    alone = config.policy.endpoint is not None or config.detector.follow is not None
    if not trained or alone or config.ray.address() is not None:
        return None
    runs = {part: folder / part for part in trained}
    for run in runs.values():
        run.mkdir(parents=True, exist_ok=True)
    changes: dict[str, Any] = {
        "grpo": start.grpo.model_copy(update={"lora_rank": None})
    }  # published are whole weights
    if "detector" in trained:
        changes["detector"] = start.detector.model_copy(update={"follow": str(runs["detector"].resolve())})
    return BaseAndTrained(start.model_copy(update=changes), trained, runs)
