"""Pictures and captions for detector pre-training: a cache of rendered scenes, and batches drawn from it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from valor_ray.models.grounding_dino.losses import Targets
from valor_ray.tabletop.pretrain.detector_words import (
    STYLE_SHARES,
    STYLES,
    matches,
    sample_prompt,
    vocabulary,
)
from valor_ray.tabletop.render import render
from valor_ray.tabletop.scenes import COLOURS, SHAPES, sample_scene

RENDER_SIDE = 256
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # ImageNet's, as in the image processor
_STD = np.array([0.229, 0.224, 0.225], np.float32)
_MOST_OBJECTS = 8


_ARRAYS = {
    "rgb": (np.uint8, (RENDER_SIDE, RENDER_SIDE, 3)),
    "boxes": (np.float32, (_MOST_OBJECTS, 4)),
    "kinds": (np.int16, (_MOST_OBJECTS,)),
}


@dataclass(frozen=True)
class Scenes:
    """Rendered scenes in order of seed."""

    rgb: np.ndarray  # uint8 (scenes, 256, 256, 3)
    boxes: np.ndarray  # float32 (scenes, 8, 4), pixels
    kinds: np.ndarray  # int16 (scenes, 8): colour * 4 + shape, -1 where there is no object

    def __len__(self) -> int:
        return len(self.rgb)

    def objects(self, index: int) -> tuple[np.ndarray, list[tuple[str, str]]]:
        """Boxes (objects, 4) in pixels, and their (colour, shape)."""
        here = self.kinds[index] >= 0
        named = [
            (COLOURS[kind // len(SHAPES)], SHAPES[kind % len(SHAPES)]) for kind in self.kinds[index][here]
        ]
        return self.boxes[index][here], named


def cached_scenes(
    folder: Path, first: int, count: int, looks: Sequence[str], say: Callable[[str], None] = print
) -> Scenes:
    """Scenes of seeds first…first+count, looks in turn, from `folder`; what is missing there is rendered and kept."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{'-'.join(looks)}-{first}-{count}"
    progress = folder / f"{stem}.json"
    done = json.loads(progress.read_text())["done"] if progress.exists() else 0
    mode = "r+" if done else "w+"
    arrays = {
        name: np.lib.format.open_memmap(folder / f"{stem}.{name}.npy", mode, kind, (count, *shape))
        for name, (kind, shape) in _ARRAYS.items()
    }
    scenes = Scenes(**arrays)
    for index in range(done, count):
        _fill(scenes, index, first + index, looks[index % len(looks)])
        if index % 500 == 499 or index == count - 1:
            for array in arrays.values():
                array.flush()
            progress.write_text(json.dumps({"done": index + 1}))
            say(f"rendered {index + 1} of {count} scenes ({'/'.join(looks)})")
    return scenes


def render_scenes(first: int, count: int, look: str) -> Scenes:
    """Scenes of seeds first…first+count in one look, in memory only."""
    scenes = Scenes(**{name: np.zeros((count, *shape), kind) for name, (kind, shape) in _ARRAYS.items()})
    for index in range(count):
        _fill(scenes, index, first + index, look)
    return scenes


def _fill(scenes: Scenes, index: int, seed: int, look: str) -> None:
    picture = render(sample_scene(seed, look), RENDER_SIDE)
    scenes.rgb[index] = picture.rgb
    scenes.kinds[index] = -1
    for place, item in enumerate(picture.objects):
        scenes.boxes[index, place] = item.bbox
        scenes.kinds[index, place] = COLOURS.index(item.colour) * len(SHAPES) + SHAPES.index(item.shape)


@dataclass(frozen=True)
class Batch:
    pixels: torch.Tensor  # (batch, 3, side, side), normalised
    input_ids: torch.Tensor  # (batch, tokens)
    text_mask: torch.Tensor  # (batch, tokens) int64
    targets: list[Targets]


def encode_caption(phrases: Sequence[str], tokens: dict[str, int]) -> tuple[list[int], list[range]]:
    """Ids of "[CLS] a . b . [SEP]" for phrases of known words or nouns spelt in pieces, and each phrase's span."""
    ids, spans = [tokens["[CLS]"]], []
    for phrase in phrases:
        start = len(ids)
        for word in phrase.split():
            if word in tokens:
                ids.append(tokens[word])
            else:
                ids.extend([tokens[word[0]], *(tokens[f"##{letter}"] for letter in word[1:])])
        spans.append(range(start, len(ids)))
        ids.append(tokens["."])
    return [*ids, tokens["[SEP]"]], spans


def prepare(rgb: np.ndarray, side: int, box: tuple[float, float, float, float] | None = None) -> np.ndarray:
    """Network input (3, side, side) from a picture or a part of it, resized as the image processor does."""
    small = Image.fromarray(rgb).resize((side, side), Image.Resampling.BILINEAR, box=box)
    return ((np.asarray(small, np.float32) / 255 - _MEAN) / _STD).transpose(2, 0, 1)


def _window(rng: np.random.Generator, boxes: np.ndarray) -> tuple[float, float, float, float]:
    """A random part of the picture that holds some object and cuts none in half."""
    whole = (0.0, 0.0, float(RENDER_SIDE), float(RENDER_SIDE))
    if rng.random() < 0.4:
        return whole
    for _ in range(6):
        wide, tall = RENDER_SIDE * rng.uniform(0.65, 1, 2)
        x, y = rng.uniform(0, RENDER_SIDE - wide), rng.uniform(0, RENDER_SIDE - tall)
        window = np.array([x, y, x + wide, y + tall])
        kept = _inside(boxes, window)
        if ((kept > 0.6) | (kept < 0.02)).all() and (kept > 0.6).any():
            return float(x), float(y), float(x + wide), float(y + tall)
    return whole


def _inside(boxes: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Share of each box's area inside the window."""
    sides = np.minimum(boxes[:, 2:], window[2:]) - np.maximum(boxes[:, :2], window[:2])
    return sides.clip(min=0).prod(1) / (boxes[:, 2:] - boxes[:, :2]).prod(1)


def _example(
    scenes: Scenes, index: int, side: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, list[tuple[str, str]]]:
    """Pixels, relative centre boxes and names of one augmented scene."""
    boxes, named = scenes.objects(index)
    window = np.array(_window(rng, boxes))
    kept = _inside(boxes, window) > 0.6
    named = [name for name, keep in zip(named, kept, strict=True) if keep]
    corners = boxes[kept].reshape(-1, 2, 2).clip(window[:2], window[2:])
    corners = (corners - window[:2]) / (window[2:] - window[:2])
    pixels = prepare(scenes.rgb[index], side, tuple(window))
    if rng.random() < 0.5:
        pixels = np.ascontiguousarray(pixels[:, :, ::-1])
        corners[:, :, 0] = 1 - corners[:, ::-1, 0]
    return pixels, np.concatenate([corners.mean(1), corners[:, 1] - corners[:, 0]], 1), named


def sample_batch(
    scenes: Scenes, size: int, side: int, rng: np.random.Generator, tokens: dict[str, int]
) -> Batch:
    """One training batch; its captions share a style, so they are about equally long."""
    style = STYLES[int(rng.choice(len(STYLES), p=STYLE_SHARES))]
    pixels, captions, spans, boxes, hits = [], [], [], [], []
    for index in rng.integers(len(scenes), size=size):
        picture, centred, named = _example(scenes, int(index), side, rng)
        phrases = sample_prompt(rng, style, named)
        ids, where = encode_caption(phrases, tokens)
        pixels.append(picture)
        captions.append(ids)
        spans.append(where)
        boxes.append(centred)
        hits.append([[matches(phrase, *name) for phrase in phrases] for name in named])
    return _collate(pixels, captions, spans, boxes, hits)


def _collate(
    pixels: list[np.ndarray],
    captions: list[list[int]],
    spans: list[list[range]],
    boxes: list[np.ndarray],
    hits: list[list[list[bool]]],
) -> Batch:
    longest = max(map(len, captions))
    input_ids = torch.zeros(len(captions), longest, dtype=torch.long)
    text_mask = torch.zeros_like(input_ids)
    targets = []
    for row, ids in enumerate(captions):
        input_ids[row, : len(ids)] = torch.tensor(ids)
        text_mask[row, : len(ids)] = 1
        wanted = torch.zeros(len(boxes[row]), longest)
        for place, named_by in enumerate(hits[row]):
            for span, hit in zip(spans[row], named_by, strict=True):
                if hit:
                    wanted[place, span.start : span.stop] = 1
        named = wanted.any(1)
        targets.append(Targets(torch.as_tensor(boxes[row], dtype=torch.float32)[named], wanted[named]))
    return Batch(torch.from_numpy(np.stack(pixels)), input_ids, text_mask, targets)


def caption_batch(scenes: Scenes, indices: Sequence[int], phrases: Sequence[str], side: int) -> Batch:
    """Whole pictures with one caption for all: for evaluation, without targets."""
    ids, _spans = encode_caption(phrases, vocabulary())
    input_ids = torch.tensor([ids] * len(indices))
    pixels = torch.from_numpy(np.stack([prepare(scenes.rgb[index], side) for index in indices]))
    return Batch(pixels, input_ids, torch.ones_like(input_ids), [])
