"""`python -m valor_ray.tabletop.judge.boxes.fitting.fit`: fit the coefficients of the offline judge's look at boxes.

Only here does that part of the judge meet labels, once, before it is shipped: of scenes of the train split, in the seen
looks and in looks drawn at random (`crops.py`, `varied.py`). About 22 minutes on one core.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from valor_ray.tabletop.judge.boxes.fitting.crops import Framed, make_boxes
from valor_ray.tabletop.judge.boxes.sight import COEFFICIENTS, SIDE, SLOT
from valor_ray.tabletop.judge.fit import layout
from valor_ray.tabletop.judge.sight import COLOURS, SHAPES

if TYPE_CHECKING:
    import torch

_MARGIN = (SIDE - SLOT) // 2
_CHANNELS = (4, 16, 32, 64, 96)
_FRAMED = 0.5  # overlap from which a box frames its object
_FIRST_SHAPE, _FIRST_COLOUR = 6, 6 + len(SHAPES)


def _network() -> torch.nn.Module:
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for place, (into, out) in enumerate(pairwise(_CHANNELS), start=1):
                setattr(self, f"conv{place}", nn.Conv2d(into, out, 3, padding=1))
            self.hidden = nn.Linear(_CHANNELS[-1] * (SIDE // 16) ** 2 + 1, 128)
            self.head = nn.Linear(128, _FIRST_COLOUR + len(COLOURS))
            self.drop = nn.Dropout(0.15)

        def forward(self, pixels: torch.Tensor, aspect: torch.Tensor) -> torch.Tensor:
            flow = pixels
            for place in range(1, len(_CHANNELS)):
                flow = nn.functional.max_pool2d(getattr(self, f"conv{place}")(flow).relu(), 2)
            flat = flow.permute(0, 2, 3, 1).flatten(1)
            hidden = self.hidden(torch.cat([flat, aspect[:, None]], 1)).relu()
            out: torch.Tensor = self.head(self.drop(hidden))
            return out

    return Network()


def _seen(pixels: torch.Tensor, step: int) -> torch.Tensor:
    """uint8 (n, SIDE, SIDE, 4) as the network sees it: under another light, half of them without surroundings."""
    import torch

    known = (pixels[..., 3:] > 0).float()
    n = len(pixels)
    light = (1 + 0.15 * torch.randn(n, 1, 1, 1)) * (1 + 0.04 * torch.randn(n, 1, 1, 3))
    view = (pixels[..., :3].float() / 255 * light).clamp(0, 1) * 2 - 1
    view = torch.cat([view * known, known], -1)
    if step // 2 % 2:
        inner = slice(_MARGIN, SIDE - _MARGIN)
        whole = (
            known[:, inner, inner].flatten(1).amin(1) > 0
        )  # at the picture's edge a crop is laid otherwise
        mask = torch.zeros(1, SIDE, SIDE, 1)
        mask[:, inner, inner] = 1
        view = torch.where(whole[:, None, None, None], view * mask, view)
    return view.permute(0, 3, 1, 2)


def _loss(
    scores: torch.Tensor, boxes: dict[str, torch.Tensor], picked: torch.Tensor, flip: bool
) -> torch.Tensor:
    from torch.nn import functional as of

    fit, edges = boxes["overlap"][picked], boxes["edges"][picked]
    if flip:
        edges = edges[:, [2, 1, 0, 3]] * edges.new_tensor([-1, 1, -1, 1])
    asked = ~edges.isnan().any(1)
    loss = of.binary_cross_entropy_with_logits(scores[:, 0], (fit >= _FRAMED).float())
    loss = loss + of.binary_cross_entropy_with_logits(scores[:, 1], fit)
    loss = loss + 3 * of.smooth_l1_loss(scores[asked, 2:6], edges[asked], beta=0.1)
    for name, first, last in (
        ("shape", _FIRST_SHAPE, _FIRST_COLOUR),
        ("colour", _FIRST_COLOUR, _FIRST_COLOUR + len(COLOURS)),
    ):
        loss = loss + of.cross_entropy(
            scores[:, first:last], boxes[name][picked], ignore_index=-1, label_smoothing=0.02
        )
    return loss


def fit(framed: Framed, steps: int, batch: int = 128) -> dict[str, np.ndarray]:
    """Train the network; return its coefficients in the layout that sight.py reads (float16)."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = _network().to(memory_format=torch.channels_last)
    learner = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=2e-3)
    pace = torch.optim.lr_scheduler.OneCycleLR(learner, 3e-3, total_steps=steps, pct_start=0.1)
    boxes = {name: torch.from_numpy(getattr(framed, name)) for name in Framed.__dataclass_fields__}
    started, total = time.monotonic(), 0.0
    for step in range(steps):
        picked = torch.randint(len(framed.shape), (batch,))
        view = _seen(boxes["pixels"][picked], step)
        flip = step % 2 == 1
        view = (view.flip(3) if flip else view).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            scores = network(view, boxes["aspect"][picked])
        loss = _loss(scores.float(), boxes, picked, flip)
        learner.zero_grad()
        loss.backward()
        learner.step()
        pace.step()
        total += loss.item()
        if step % 200 == 199:
            passed = time.monotonic() - started
            print(f"step {step + 1}/{steps} loss {total / 200:.3f} {passed:.0f} s", flush=True)
            total = 0.0
    return layout(network)


def main() -> None:
    parser = argparse.ArgumentParser(prog="fit", description="Fit the offline judge's look at boxes.")
    parser.add_argument("--scenes", type=int, default=3000)
    parser.add_argument("--steps", type=int, default=7000)
    parser.add_argument("--out", type=Path, default=COEFFICIENTS)
    args = parser.parse_args()
    framed = make_boxes(args.scenes)
    print(f"{len(framed.shape)} boxes, {np.mean(framed.overlap >= _FRAMED):.2f} frame an object", flush=True)
    stored: dict[str, Any] = dict(fit(framed, args.steps))
    np.savez_compressed(args.out, **stored)
    print(f"{args.out}: {args.out.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
