"""GroundingDINO behind the Detector port's shape, without Ray: pictures and phrases in, labelled boxes out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch

from valor_ray.config.models import DetectorConfig
from valor_ray.errors import CheckpointError
from valor_ray.models.grounding_dino.boxes import Thresholds, caption_detections
from valor_ray.models.grounding_dino.load import load_detector
from valor_ray.models.grounding_dino.phrases import Caption, SpecialTokens, plan_captions
from valor_ray.records import Detection, Picture

HARD_WIRED = SpecialTokens(cls=101, sep=102, dot=1012, pad=0)  # ids that the model's own code compares with
# longer pictures are padded: their feature maps would hold fewer places than there are queries
_MOST_ELONGATED = 8  # long side over short side
_LONG_SIDE = 1333 / 800  # longest over shortest side of the network's input, as published


@dataclass(frozen=True)
class _Job:
    picture: int  # place in the call
    caption: Caption


@dataclass(frozen=True)
class Scored:
    """What the network says of one picture under one caption."""

    picture: int  # place in the call
    caption: Caption
    chances: np.ndarray  # (queries, tokens), 0..1
    boxes: np.ndarray  # (queries, 4): x1, y1, x2, y2 px, not clipped


class GroundingDino:
    """A loaded detector: labelled boxes of any phrases in any pictures.

    Held by a detector replica, or by `wiring` in one process. Not thread-safe: one call at a time.
    Making one blocks while weights load, `detect` for its forward passes: neither belongs on an event loop.
    """

    def __init__(self, config: DetectorConfig) -> None:
        """`config.model`: a folder or hub id in transformers format, or an original-format `.pth`.

        Raises CheckpointError when the weights are incomplete or do not fit.
        """
        self.config = config
        loaded = load_detector(config.model)
        self._device = "cuda" if config.num_gpus and torch.cuda.is_available() else "cpu"
        self.model = loaded.model.to(self._device).eval()
        self._pictures = loaded.image_processor
        self._tokenizer = loaded.tokenizer
        self._budget = int(self.model.config.max_text_len)
        self._size = input_size(config.image_side)
        self.input_side = config.image_side or int(self._pictures.size["shortest_edge"])  # px
        special = SpecialTokens(
            self._tokenizer.cls_token_id,
            self._tokenizer.sep_token_id,
            self._tokenizer.convert_tokens_to_ids("."),
            self._tokenizer.pad_token_id,
        )
        if special != HARD_WIRED:
            raise CheckpointError(
                f"the tokenizer of {config.model} has {special} but GroundingDINO is written for {HARD_WIRED}: "
                "use a BERT-uncased tokenizer, or one that keeps these ids"
            )

    def captions(self, phrases: Sequence[str]) -> list[Caption]:
        """The prompts by which the phrases are put to the model."""
        return plan_captions(phrases, self._tokens, HARD_WIRED, self._budget)

    def detect(
        self,
        pictures: Sequence[Picture],
        phrases: Sequence[Sequence[str]],
        box_threshold: float | None = None,
    ) -> list[list[Detection]]:
        """Boxes of each picture's own phrases, best score first; boxes are corner pixels clipped to the picture.

        A box is reported once a caption, under the phrase that fits it best, spelt as it was asked. `box_threshold`
        replaces the configured one (mining uses a low one). No phrase, or phrases without words, give no boxes.
        """
        thresholds = Thresholds(
            self.config.box_threshold if box_threshold is None else box_threshold, self.config.text_threshold
        )
        detections: list[list[Detection]] = [[] for _ in pictures]
        for each in self.score(pictures, phrases):
            picture = pictures[each.picture]
            size = (picture.width, picture.height)
            detections[each.picture] += caption_detections(
                each.chances, each.boxes, each.caption, size, thresholds
            )
        return [sorted(boxes, key=lambda box: -box.score) for boxes in detections]

    def score(self, pictures: Sequence[Picture], phrases: Sequence[Sequence[str]]) -> Iterator[Scored]:
        """Each picture under each caption of its own phrases, batch after batch: pictures of one size come together."""
        captions = {asked: self.captions(asked) for asked in set(map(tuple, phrases))}
        jobs = [
            _Job(place, caption) for place, asked in enumerate(phrases) for caption in captions[tuple(asked)]
        ]
        for batch in _batches(jobs, pictures, self.config.max_batch):
            for job, (chances, boxes) in zip(batch, self._forward(pictures, batch), strict=True):
                yield Scored(job.picture, job.caption, chances, boxes)

    def _tokens(self, phrase: str) -> list[int]:
        return list(self._tokenizer(phrase, add_special_tokens=False)["input_ids"])

    @torch.inference_mode()
    def _forward(
        self, pictures: Sequence[Picture], batch: Sequence[_Job]
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Token scores (queries, tokens) and corner boxes (queries, 4) in pixels of every job."""
        shown = [at_most_elongated(pictures[job.picture].rgb) for job in batch]
        options = {"size": self._size} if self._size else {}
        inputs = self._pictures(
            images=shown, return_tensors="pt", input_data_format="channels_last", **options
        )
        longest = max(len(job.caption.token_ids) for job in batch)
        input_ids = torch.full((len(batch), longest), HARD_WIRED.pad)
        for row, job in enumerate(batch):
            input_ids[row, : len(job.caption.token_ids)] = torch.tensor(job.caption.token_ids)
        out = self.model(
            pixel_values=inputs["pixel_values"].to(self._device),
            pixel_mask=inputs["pixel_mask"].to(self._device),
            input_ids=input_ids.to(self._device),
            attention_mask=(input_ids != HARD_WIRED.pad).long().to(self._device),
        )
        chances = out.logits.sigmoid().float().cpu().numpy()
        centre, half = out.pred_boxes[..., :2], out.pred_boxes[..., 2:] / 2
        corners = torch.cat([centre - half, centre + half], -1).float().cpu().numpy()
        scales = [np.array([rgb.shape[1], rgb.shape[0]] * 2, np.float32) for rgb in shown]
        return [(chances[row], corners[row] * scale) for row, scale in enumerate(scales)]


def _batches(jobs: list[_Job], pictures: Sequence[Picture], most: int) -> Iterator[list[_Job]]:
    """At most `most` jobs a batch, and pictures of one size only: a padded picture would get other boxes (scores moved
    by 0.1), and so a picture's boxes would depend on its neighbours."""

    def shape(job: _Job) -> tuple[int, ...]:
        return pictures[job.picture].rgb.shape

    for _shape, same in groupby(sorted(jobs, key=lambda job: (shape(job), job.picture)), key=shape):
        equal = list(same)
        yield from (equal[start : start + most] for start in range(0, len(equal), most))


def input_size(side: int | None) -> dict[str, int] | None:
    return None if side is None else {"shortest_edge": side, "longest_edge": round(side * _LONG_SIDE)}


def at_most_elongated(rgb: np.ndarray) -> np.ndarray:
    """The picture, padded below or on the right with black when one side is more than eight times the other."""
    height, width = rgb.shape[:2]
    tall, wide = max(height, -(-width // _MOST_ELONGATED)), max(width, -(-height // _MOST_ELONGATED))
    if (tall, wide) == (height, width):
        return rgb
    return np.pad(rgb, ((0, tall - height), (0, wide - width), (0, 0)))
