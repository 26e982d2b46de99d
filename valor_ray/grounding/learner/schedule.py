"""The learning rate: a warm-up by step that does warm up (the released code's did nothing), then a cosine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from valor_ray.config.finetune import FinetuneConfig


def learning_rate(config: FinetuneConfig, step: int, steps: int) -> float:
    """Of update `step`, 0-based, of `steps`. The warm-up takes at most a tenth of a short run."""
    warm = min(config.warmup_steps, steps // 10)
    if step < warm:
        return config.learning_rate * (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    span = config.learning_rate - config.final_learning_rate
    return config.final_learning_rate + span * 0.5 * (1 + math.cos(math.pi * done))
