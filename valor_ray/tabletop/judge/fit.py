"""`python -m valor_ray.tabletop.judge.fit`: fit the offline judge's coefficients on rendered pixels of seen looks.

This is the only part of the judge that meets labels, once, before it is shipped: of scenes of the train split in the
seen looks, half of them with another ground, light and noise painted in, so that the judge does not depend on a look.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from valor_ray.tabletop.judge.boxes.geometry import Box, overlap
from valor_ray.tabletop.judge.scene import padded, propose
from valor_ray.tabletop.judge.sight import COEFFICIENTS, COLOURS, SHAPES, SIDE, shrink
from valor_ray.tabletop.render import RenderedObject, Rendering, render
from valor_ray.tabletop.scenes import SEEN_LOOKS, SPLIT_SEEDS, Scene, image_rect, sample_scene

if TYPE_CHECKING:
    import torch

NONE = len(SHAPES)
_FIRST_SEED = SPLIT_SEEDS["train"].start + 600_000


@dataclass(frozen=True)
class Crops:
    pixels: np.ndarray  # uint8 (n, SIDE, SIDE, 3)
    aspect: np.ndarray  # float32 (n,): log(width / height)
    shape: np.ndarray  # int64 (n,): index in SHAPES, or NONE
    colour: np.ndarray  # int64 (n,): index in COLOURS, -1 where shape is NONE


def repaint(rgb: np.ndarray, ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another ground, lamp colour, contrast and sensor noise; the objects keep their shading."""
    picture = rgb.astype(np.float32) / 255
    if rng.random() < 0.7:
        side = int(rng.integers(3, 40))
        flecks = rng.random((side, side, 3)).astype(np.float32)
        tint = rng.random(3).astype(np.float32)
        flecks = tint + (flecks - 0.5) * rng.uniform(0.05, 0.6) + (flecks.mean(2, keepdims=True) - 0.5) * 0.3
        smooth = cv2.INTER_CUBIC if rng.random() < 0.5 else cv2.INTER_NEAREST
        ground = cv2.resize(flecks, rgb.shape[1::-1], interpolation=smooth)
        ground = ground * rng.uniform(0.4, 1.0)
        if rng.random() < 0.5:  # keep the shadows and lines of the rendered ground
            ground = ground * (picture.mean(2, keepdims=True) / picture.mean())
        picture = np.where(ids[..., None] < 0, ground, picture)
    dark = rng.uniform(0.6, 1.1)
    warm = np.exp(rng.uniform(-0.25, 0.25) * np.array([1, 0, -1]))  # from candle light to a blue sky
    lamp = dark * warm * np.clip(1 + rng.normal(0, 0.07, 3), 0.8, 1.2)
    picture = np.clip(picture, 0, 1) ** rng.uniform(0.85, 1.25) * lamp
    picture = picture + rng.normal(0, rng.uniform(0, 0.05), picture.shape)
    return (np.clip(picture, 0, 1) * 255).astype(np.uint8)


def _jitter(box: Box, rng: np.random.Generator) -> Box:
    """The box padded or tight, a little off."""
    wide, tall = box[2] - box[0], box[3] - box[1]
    pad = rng.choice([0.0, 0.05, 0.1, 0.2])
    left, top, right, bottom = pad + rng.uniform(-0.07, 0.07, 4)
    return (box[0] - left * wide, box[1] - top * tall, box[2] + right * wide, box[3] + bottom * tall)


def wrong_boxes(scene: Scene, rendering: Rendering, rng: np.random.Generator) -> list[Box]:
    """Boxes that frame no object: bare ground, clutter, parts of objects and boxes far too large."""
    size = len(rendering.rgb)
    boxes: list[Box] = []
    for _ in range(4):
        wide, tall = np.exp(rng.uniform(np.log(10), np.log(150), 2))
        x, y = rng.uniform(0, size - wide), rng.uniform(0, size - tall)
        boxes.append((x, y, x + wide, y + tall))
    for clutter in scene.clutter:
        x1, y1, x2, y2, _depth = image_rect(scene.camera, clutter)
        boxes.append(_jitter((x1 * size, y1 * size, x2 * size, y2 * size), rng))
    for thing in rendering.objects:
        x1, y1, x2, y2 = thing.bbox
        wide, tall = x2 - x1, y2 - y1
        grow = rng.uniform(0.25, 0.55) if rng.random() < 0.6 else rng.uniform(1.7, 3)
        x, y = rng.uniform(x1 - 0.3 * wide, x2 - 0.3 * wide), rng.uniform(y1 - 0.3 * tall, y2 - 0.3 * tall)
        boxes.append((x, y, x + wide * grow, y + tall * grow))
    true = [thing.bbox for thing in rendering.objects]
    return [box for box in boxes if all(overlap(box, other) < 0.35 for other in true)]


def cut(rgb: np.ndarray, box: Box) -> np.ndarray | None:
    """The part of the picture inside the box, or None when less than 5 px wide or tall."""
    x1, y1 = max(0, int(np.floor(box[0]))), max(0, int(np.floor(box[1])))
    x2, y2 = min(rgb.shape[1], int(np.ceil(box[2]))), min(rgb.shape[0], int(np.ceil(box[3])))
    return rgb[y1:y2, x1:x2] if min(x2 - x1, y2 - y1) >= 5 else None


def _compress(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What is left of a crop after the JPEG coding of a request."""
    if rng.random() < 0.4:
        return crop
    _, data = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(80, 96))])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))


def make_crops(scenes: int, first_seed: int = _FIRST_SEED) -> Crops:
    """Crops of `scenes` scenes, each as rendered and repainted: visible objects, wrong boxes, and what is proposed."""
    rows: list[tuple[np.ndarray, float, int, int]] = []
    for seed in range(first_seed, first_seed + scenes):
        rng = np.random.default_rng([seed, 17])
        look = SEEN_LOOKS[seed % len(SEEN_LOOKS)]
        scene = sample_scene(
            seed, "dusk" if rng.random() < 0.6 else look
        )  # dusk only for its clutter's places
        scene = dataclasses.replace(scene, look=look)
        rendering = render(scene)
        for painted in (False, True):
            rgb = repaint(rendering.rgb, with_clutter(scene, rendering), rng) if painted else rendering.rgb
            for box, shape, colour in _wanted(scene, rendering, rgb, rng):
                crop = cut(rgb, box)
                if crop is not None:
                    rows.append(
                        (shrink(_compress(crop, rng)), np.log(crop.shape[1] / crop.shape[0]), shape, colour)
                    )
    pixels, aspect, shape, colour = zip(*rows, strict=True)
    return Crops(np.stack(pixels), np.array(aspect, np.float32), np.array(shape), np.array(colour))


def _wanted(
    scene: Scene, rendering: Rendering, rgb: np.ndarray, rng: np.random.Generator
) -> list[tuple[Box, int, int]]:
    """Boxes with what they show. Of the proposals that the judge will meet: hits, and more of the misses."""
    seen = [thing for thing in rendering.objects if thing.visible >= 0.3]
    wanted = [(_jitter(o.bbox, rng), *_classes(o)) for o in seen for _ in range(2)]
    wanted += [(box, NONE, -1) for box in wrong_boxes(scene, rendering, rng)]
    proposed = propose(rgb)
    hits, misses = 0, 0
    for place in rng.permutation(len(proposed)):
        box = padded(proposed[place])
        fits = [overlap(proposed[place], thing.bbox) for thing in rendering.objects]
        best = int(np.argmax(fits)) if fits else 0
        if fits[best] > 0.7 and hits < 4 and rendering.objects[best] in seen:
            hits += 1
            wanted.append((box, *_classes(rendering.objects[best])))
        elif fits[best] < 0.4 and misses < 6:
            misses += 1
            wanted.append((box, NONE, -1))
    return wanted


def _classes(thing: RenderedObject) -> tuple[int, int]:
    return SHAPES.index(thing.shape), COLOURS.index(thing.colour)


def with_clutter(scene: Scene, rendering: Rendering) -> np.ndarray:
    """Object ids, with the surroundings of clutter marked as kept too (id 99)."""
    ids, size = rendering.ids.copy(), len(rendering.rgb)
    for clutter in scene.clutter:
        x1, y1, x2, y2, _depth = image_rect(scene.camera, clutter)
        part = ids[int(y1 * size) : int(y2 * size) + 1, int(x1 * size) : int(x2 * size) + 1]
        part[part < 0] = 99
    return ids


def _network() -> torch.nn.Module:
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(3, 20, 3, padding=1)
            self.conv2 = nn.Conv2d(20, 40, 3, padding=1)
            self.conv3 = nn.Conv2d(40, 64, 3, padding=1)
            self.hidden = nn.Linear(64 * (SIDE // 8) ** 2 + 1, 96)
            self.head = nn.Linear(96, len(SHAPES) + 1 + len(COLOURS))
            self.drop = nn.Dropout(0.2)

        def forward(self, pixels: torch.Tensor, aspect: torch.Tensor) -> torch.Tensor:
            flow = pixels
            for layer in (self.conv1, self.conv2, self.conv3):
                flow = nn.functional.max_pool2d(layer(flow).relu(), 2)
            flat = flow.permute(0, 2, 3, 1).flatten(1)
            hidden = self.hidden(torch.cat([flat, aspect[:, None]], 1)).relu()
            out: torch.Tensor = self.head(self.drop(hidden))
            return out

    return Network()


def fit(crops: Crops, epochs: int, batch: int = 128) -> dict[str, np.ndarray]:
    """Train the network; return its coefficients in the layout that sight.py reads (float16)."""
    import torch
    from torch.nn.functional import cross_entropy

    torch.manual_seed(0)
    network = _network().to(memory_format=torch.channels_last)
    steps = epochs * (len(crops.shape) // batch)
    learner = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-3)
    pace = torch.optim.lr_scheduler.OneCycleLR(learner, 3e-3, total_steps=steps, pct_start=0.1)
    pixels, aspect = torch.from_numpy(crops.pixels), torch.from_numpy(crops.aspect)
    shape, colour = torch.from_numpy(crops.shape), torch.from_numpy(crops.colour)
    started, total = time.monotonic(), 0.0
    for step in range(steps):
        picked = torch.randint(len(shape), (batch,))
        view = pixels[picked].permute(0, 3, 1, 2).float() / 127.5 - 1
        if step % 2:
            view, flipped = view.flip(3), aspect[picked]
        else:
            flipped = aspect[picked]
        scores = network(view.contiguous(memory_format=torch.channels_last), flipped)
        loss = cross_entropy(scores[:, : NONE + 1], shape[picked], label_smoothing=0.02)
        loss = loss + cross_entropy(
            scores[:, NONE + 1 :], colour[picked], ignore_index=-1, label_smoothing=0.02
        )
        learner.zero_grad()
        loss.backward()
        learner.step()
        pace.step()
        total += loss.item()
        if step % 200 == 199:
            print(
                f"step {step + 1}/{steps} loss {total / 200:.3f} {time.monotonic() - started:.0f} s",
                flush=True,
            )
            total = 0.0
    return layout(network)


def layout(network: torch.nn.Module) -> dict[str, np.ndarray]:
    stored = {}
    for name, value in network.state_dict().items():
        array = value.detach().numpy()
        if name.startswith("conv") and name.endswith("weight"):
            array = array.transpose(2, 3, 1, 0)
        elif name.endswith("weight"):
            array = array.T
        stored[name] = array.astype(np.float16)
    return stored


def main() -> None:
    parser = argparse.ArgumentParser(prog="fit", description="Fit the offline judge's coefficients.")
    parser.add_argument("--scenes", type=int, default=2500)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--out", type=Path, default=COEFFICIENTS)
    args = parser.parse_args()
    crops = make_crops(args.scenes)
    print(f"{len(crops.shape)} crops, {np.mean(crops.shape == NONE):.2f} without an object", flush=True)
    stored: dict[str, Any] = dict(fit(crops, args.epochs))
    np.savez_compressed(args.out, **stored)
    print(f"{args.out}: {args.out.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
