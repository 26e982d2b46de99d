"""From a set's pictures to what the detector is trained on: pixels, a caption of each, and its targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from valor_ray.errors import ConfigError, ImageError
from valor_ray.grounding.dataset.captions import TrainingCaption, Words, caption_rng, training_captions
from valor_ray.grounding.dataset.pictures import load_picture
from valor_ray.grounding.dataset.training import TrainingImage, read_about, read_synonyms, training_images
from valor_ray.grounding.learner.split import split, usable
from valor_ray.grounding.learner.targets import CaptionTargets
from valor_ray.models.grounding_dino.detector import HARD_WIRED, at_most_elongated, input_size
from valor_ray.models.grounding_dino.load import LoadedDetector
from valor_ray.models.grounding_dino.phrases import normal_form

if TYPE_CHECKING:
    from valor_ray.config.finetune import FinetuneConfig
    from valor_ray.config.tree import Config

COMPLETE = "complete"  # in dataset.json: what is no box and not ignored in its pictures is background
_SIDED = frozenset(("left", "right", "leftmost", "rightmost", "lefthand", "righthand"))
_KEPT_BYTES = 512 * 2**20  # of pixels that are remembered


@dataclass(frozen=True)
class Example:
    """A picture with one of its captions."""

    pixels: torch.Tensor  # (3, height, width), normalised
    caption: TrainingCaption
    size: tuple[float, float]  # px of the picture: width and height that `pixels` shows
    mirrored: bool
    elsewhere: float  # weight of "no" where nothing is known


@dataclass(frozen=True)
class Batch:
    """Examples of one size of pixels, as the model takes them."""

    pixels: torch.Tensor  # (batch, 3, height, width)
    input_ids: torch.Tensor  # (batch, tokens)
    text_mask: torch.Tensor  # (batch, tokens) int64
    targets: list[CaptionTargets]


class Reader:
    """How a detector reads pictures and text: at training as at inference."""

    def __init__(self, loaded: LoadedDetector, config: Config) -> None:
        self._loaded, self._limits = loaded, config.images
        size = input_size(config.detector.image_side)
        self._options = {} if size is None else {"size": size}
        self.words = Words(
            lambda text: list(loaded.tokenizer(text, add_special_tokens=False)["input_ids"]),
            HARD_WIRED,
            int(loaded.model.config.max_text_len),
        )
        self._kept: dict[str, tuple[torch.Tensor, tuple[float, float]]] = {}
        self._bytes = 0

    def pixels(self, image: TrainingImage) -> tuple[torch.Tensor, tuple[float, float]]:
        """Network input (3, height, width), and the width and height in px that it shows. Raises ImageError."""
        if image.key in self._kept:
            return self._kept[image.key]
        shown = at_most_elongated(load_picture(image, self._limits).rgb)
        inputs = self._loaded.image_processor(
            images=[shown], return_tensors="pt", input_data_format="channels_last", **self._options
        )
        pixels, size = inputs["pixel_values"][0], (float(shown.shape[1]), float(shown.shape[0]))
        if self._bytes < _KEPT_BYTES:
            self._bytes += pixels.nbytes
            self._kept[image.key] = (pixels, size)
        return pixels, size


class ExampleSet:
    """The pictures of one set, those held back apart. Deterministic: an example is of seed, epoch and picture."""

    def __init__(
        self, folder: Path, reader: Reader, config: FinetuneConfig, *, held_back: bool = False
    ) -> None:
        """held_back: whether some pictures are (a mined set), or all are drawn (a set to rehearse).

        Raises ConfigError: the folder holds no set, or one of another version.
        """
        self._reader, self._config = reader, config
        self._synonyms = read_synonyms(folder)
        self._elsewhere = 1.0 if read_about(folder).get(COMPLETE) else 0.0
        images = training_images(folder)
        self.images, self.held_back = split(images, config) if held_back else (usable(images), [])
        if not self.images:
            raise ConfigError(
                f"{folder} holds no picture of which anything is known: there is nothing to learn."
            )
        # a set, not of those held back: what they alone show must not be known
        self.phrases = sorted({each.phrase for image in self.images for each in image.positives})

    def __len__(self) -> int:
        return len(self.images)

    def draw(self, step: int, count: int, first: int, past: int) -> list[Example]:
        """Examples `first` to `past` of the `count` that a step takes; epochs follow each other without a gap.

        Raises ConfigError naming a picture that cannot be had.
        """
        return [
            self._example(*divmod(step * count + place, len(self.images))) for place in range(first, past)
        ]

    def _example(self, epoch: int, place: int) -> Example:
        order = np.random.default_rng([self._config.seed, epoch]).permutation(len(self.images))
        image = self.images[order[place]]
        rng = caption_rng(self._config.seed, epoch, image.key)
        captions = training_captions(
            image, self._reader.words, self._synonyms, rng, self.phrases, self._config.further_phrases
        )
        caption = captions[int(rng.integers(len(captions)))]
        try:
            pixels, size = self._reader.pixels(image)
        except ImageError as error:
            raise ConfigError(f"A picture of the set cannot be had: {error}") from error
        mirrored = rng.random() < self._config.flip and not any(map(knows_sides, caption.phrases))
        return Example(pixels.flip(-1) if mirrored else pixels, caption, size, mirrored, self._elsewhere)


def knows_sides(phrase: str) -> bool:
    """Whether the mirrored picture would show something else under this phrase."""
    return not _SIDED.isdisjoint(normal_form(phrase).split())


def batches(examples: Sequence[Example], hard: bool) -> Iterator[Batch]:
    """One batch for each size of pixels: padding would move the predictions."""

    def shape(example: Example) -> tuple[int, ...]:
        return tuple(example.pixels.shape)

    for _shape, same in groupby(sorted(examples, key=shape), key=shape):
        yield _batch(list(same), hard)


def _batch(examples: list[Example], hard: bool) -> Batch:
    longest = max(len(example.caption.token_ids) for example in examples)
    input_ids = torch.full((len(examples), longest), HARD_WIRED.pad)
    for row, example in enumerate(examples):
        input_ids[row, : len(example.caption.token_ids)] = torch.tensor(example.caption.token_ids)
    targets = [
        CaptionTargets.of(
            example.caption,
            example.size,
            longest,
            elsewhere=example.elsewhere,
            hard=hard,
            mirrored=example.mirrored,
        )
        for example in examples
    ]
    pixels = torch.stack([example.pixels for example in examples])
    return Batch(pixels, input_ids, (input_ids != HARD_WIRED.pad).long(), targets)
