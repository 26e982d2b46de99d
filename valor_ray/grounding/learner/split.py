"""Which pictures of a set are trained on, and which are held back to choose the weights by. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from valor_ray.grounding.dataset.training import TrainingImage

if TYPE_CHECKING:
    from valor_ray.config.finetune import FinetuneConfig

_DRAW = 7  # apart from the seeds of order and captions


def usable(images: Iterable[TrainingImage]) -> list[TrainingImage]:
    """The pictures of which anything is known."""
    return [image for image in images if image.positives or image.absent or image.hard_negatives]


def split(
    images: Iterable[TrainingImage], config: FinetuneConfig
) -> tuple[list[TrainingImage], list[TrainingImage]]:
    """(trained on, held back), each in the set's order; what the settings leave out is taken from the first alone, so
    that all ways of training are measured alike.

    Those held back have confirmed boxes: without any, there would be nothing to choose by. At least one is held back,
    and one with a box stays, where two have boxes.
    """
    known = usable(images)
    boxed = [place for place, image in enumerate(known) if image.positives]
    count = min(max(1, round(config.held_back * len(known))), len(boxed) - 1)
    order = np.random.default_rng([config.seed, _DRAW]).permutation(len(boxed))
    apart = {boxed[place] for place in order[: max(count, 0)]}
    trained = (_wanted(image, config) for place, image in enumerate(known) if place not in apart)
    return usable(trained), [image for place, image in enumerate(known) if place in apart]


def _wanted(image: TrainingImage, config: FinetuneConfig) -> TrainingImage:
    return replace(
        image,
        absent=image.absent if config.absent else (),
        hard_negatives=image.hard_negatives if config.hard_negatives else (),
    )
