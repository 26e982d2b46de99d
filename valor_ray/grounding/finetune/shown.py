"""examples.jsonl: what start and new weights see in held-back pictures, for the page. Of the verifier, not of truth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.runs.record_file import replace_text

if TYPE_CHECKING:
    from valor_ray.config.tree import Config
    from valor_ray.grounding.dataset.training import TrainingImage
    from valor_ray.models.grounding_dino.detector import GroundingDino
    from valor_ray.records import Picture

EXAMPLES = "examples.jsonl"  # in the run folder (report/finetuning/examples.py)
_MOST = 12  # pictures


def write_examples(config: Config, dataset: Path, weights: Path, run: Path) -> None:
    """Boxes by the start weights and by `weights` of all that was asked in the first held-back pictures.

    Called by the first learner process after the selection; blocks for two dozen forward passes. What is there is not
    made again. Raises ImageError, CheckpointError, StorageError.
    """
    from valor_ray.grounding.dataset.pictures import load_picture
    from valor_ray.grounding.dataset.training import training_images
    from valor_ray.grounding.learner.split import split
    from valor_ray.models.grounding_dino.detector import GroundingDino

    if (run / EXAMPLES).exists():
        return
    images = split(training_images(dataset), config.finetune)[1][:_MOST]
    pictures = [load_picture(image, config.images) for image in images]
    start = _seen(GroundingDino(config.detector), pictures, images)
    new = config.detector.model_copy(update={"model": str(weights)})
    end = _seen(GroundingDino(new), pictures, images)
    rows = [
        {
            "image": image.path,
            "width": image.width,
            "height": image.height,
            "phrases": _phrases(image),
            "start": before,
            "end": after,
            "verified": [{"bbox": each.bbox, "phrase": each.phrase} for each in image.positives],
        }
        for image, before, after in zip(images, start, end, strict=True)
    ]
    replace_text(run / EXAMPLES, "".join(json.dumps(row) + "\n" for row in rows))


def _phrases(image: TrainingImage) -> list[str]:
    boxes = [each.phrase for each in (*image.positives, *image.hard_negatives, *image.ignored)]
    return list(dict.fromkeys([*boxes, *image.absent]))


def _seen(
    detector: GroundingDino, pictures: Sequence[Picture], images: Sequence[TrainingImage]
) -> list[list[dict[str, Any]]]:
    """Of each picture: the boxes of its phrases by this detector, at its own threshold."""
    boxes = detector.detect(pictures, [_phrases(image) for image in images])
    return [
        [
            {
                "bbox": [float(side) for side in box.bbox],
                "phrase": box.label,
                "score": round(float(box.score), 4),
            }
            for box in each
        ]
        for each in boxes
    ]
