"""Pre-training of the tabletop's depth model: MoGe-2's architecture on a small backbone, on rendered scenes.

    python -m valor_ray.tabletop.pretrain.depth --out FOLDER --minutes 25 --threads 1

Minutes are CPU time per thread. Run it again with the same folder to go on; with more minutes to train longer.
The losses are plain ones (ours), not the official alignment loss, which costs 4 CPU-seconds a step: every pixel of a
scene is known exactly, so nothing has to be aligned. Depth has no flaw planted: all looks are seen, the two named as
unseen for the detector less often.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from moge.model.v2 import MoGeModel

from valor_ray.depth_map import depth_at
from valor_ray.models.moge.backbone import register_backbones
from valor_ray.records import DepthMap
from valor_ray.tabletop.render import Rendering, render
from valor_ray.tabletop.scenes import FIELD_OF_VIEW, LOOKS, SPLIT_SEEDS, sample_scene

TOKENS = 16  # tokens a side, for square pictures
SIDE = 14 * TOKENS  # px that the backbone sees
PICTURE = 256  # px of the rendered pictures
LOOK_CYCLE = ("tiles", "wood", "tiles", "wood", "dusk", "tiles", "wood", "tiles", "wood", "loud")
BUFFER = 2500  # scenes kept for reuse: to render one costs as much as to learn from half a one
NEW_PER_STEP = 2
BATCH = 8
PEAK_LR = 1e-3
WARM_UP = 100  # steps
EMA = 0.998

WIDTHS = [96, 64, 32]  # at 1, 2 and 4 times the token grid
MODEL_CONFIG: dict[str, Any] = {
    "encoder": {"backbone": "valor_dinov2_mini14", "intermediate_layers": 4, "dim_out": 96},
    "neck": {
        "dim_in": [98, 2, 2],
        "dim_res_blocks": WIDTHS,
        "dim_out": None,
        "resamplers": ["conv_transpose"] * 2,
        "num_res_blocks": [1, 1, 1],
        "res_block_hidden_norm": "layer_norm",
    },
    "points_head": {
        "dim_in": WIDTHS,
        "dim_res_blocks": [32, 24, 16],
        "dim_out": [None, None, 3],
        "resamplers": ["conv_transpose"] * 2,
        "num_res_blocks": [0, 0, 0],
    },
    "mask_head": {
        "dim_in": WIDTHS,
        "dim_res_blocks": [8, 8, 8],
        "dim_out": [None, None, 1],
        "resamplers": ["bilinear"] * 2,
        "num_res_blocks": [0, 0, 0],
    },
    "scale_head": {"dims": [96, 96, 1]},
    "remap_output": "exp",
    "num_tokens_range": [TOKENS**2, TOKENS**2],
}


def build_model() -> MoGeModel:
    """The untrained model."""
    register_backbones()
    return MoGeModel(**MODEL_CONFIG)


class SceneBuffer:
    """The latest rendered training scenes, sampled with flips and changes of light."""

    def __init__(self, first_scene: int) -> None:
        self.next_scene = first_scene  # index into the train split
        self.rgb = np.empty((BUFFER, SIDE, SIDE, 3), np.uint8)
        self.depth = np.empty((BUFFER, SIDE, SIDE), np.float16)
        self.object = np.empty((BUFFER, SIDE, SIDE), bool)
        self.filled = 0

    def render(self, count: int) -> None:
        """Render the next scenes over the oldest ones."""
        nearest = ((np.arange(SIDE) + 0.5) * PICTURE / SIDE).astype(int)
        for _ in range(count):
            seeds = SPLIT_SEEDS["train"]
            seed = seeds[self.next_scene % len(seeds)]
            shown = render(sample_scene(seed, LOOK_CYCLE[self.next_scene % len(LOOK_CYCLE)]), PICTURE)
            picture = torch.from_numpy(shown.rgb).permute(2, 0, 1)[None].float()
            # The same resampling as MoGe does with a picture of this size.
            picture = F.interpolate(
                picture, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True
            )
            slot = self.next_scene % BUFFER if self.filled == BUFFER else self.filled
            self.rgb[slot] = picture[0].round().permute(1, 2, 0).numpy()
            self.depth[slot] = shown.depth[np.ix_(nearest, nearest)]
            self.object[slot] = shown.ids[np.ix_(nearest, nearest)] >= 0
            self.next_scene += 1
            self.filled = min(self.filled + 1, BUFFER)

    def batch(self, rng: np.random.Generator, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Pictures (B, 3, S, S) in 0..1, depth (B, S, S) in metres, object pixels (B, S, S)."""
        rows = rng.integers(0, self.filled, size)
        rgb = torch.from_numpy(self.rgb[rows]).permute(0, 3, 1, 2).float() / 255
        gamma = torch.from_numpy(rng.uniform(0.8, 1.25, (size, 1, 1, 1))).float()
        gain = torch.from_numpy(rng.uniform(0.88, 1.1, (size, 3, 1, 1))).float()
        rgb = (rgb**gamma * gain).clamp(0, 1)
        depth, inside = torch.from_numpy(self.depth[rows]).float(), torch.from_numpy(self.object[rows])
        flip = torch.from_numpy(rng.random(size) < 0.5)
        rgb[flip], depth[flip], inside[flip] = rgb[flip].flip(-1), depth[flip].flip(-1), inside[flip].flip(-1)
        return rgb, depth, inside


def _edges(difference: torch.Tensor) -> torch.Tensor:
    """Mean absolute change between neighbours, at 1, 2 and 4 px: sharp edges and flat faces."""
    total = difference.new_zeros(())
    for step in (1, 2, 4):
        total = total + (difference[:, step:] - difference[:, :-step]).abs().mean()
        total = total + (difference[:, :, step:] - difference[:, :, :-step]).abs().mean()
    return total / 6


def depth_loss(output: dict[str, torch.Tensor], depth: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """L1 on relative log-depth (objects weigh more), its edges, ray directions and metric scale; BCE on the mask."""
    points = output["points"].float()
    log_depth = depth.log()
    scale = log_depth.mean((1, 2))
    difference = points[..., 2].log() - (log_depth - scale[:, None, None])
    weight = 1 + 3 * inside.float()
    step = math.tan(FIELD_OF_VIEW / 2) * ((torch.arange(SIDE) + 0.5) * 2 / SIDE - 1)
    rays = torch.stack(torch.meshgrid(step, step, indexing="xy"), -1)
    ray_error = (points[..., :2] / points[..., 2:] - rays).abs().mean()
    scale_error = (output["metric_scale"].float().log() - scale).abs().mean()
    mask_error = -output["mask"].float().clamp_min(1e-4).log().mean()
    relative = (difference.abs() * weight).sum() / weight.sum()
    return relative + 0.5 * _edges(difference) + 0.5 * ray_error + 0.3 * scale_error + 0.05 * mask_error


@dataclass(frozen=True)
class DepthFigures:
    """Errors on held-out scenes, as shares (0.05 = 5 %)."""

    abs_rel: float  # mean |predicted - true| / true after scaling each picture by its median ratio
    abs_rel_metric: float  # the same without scaling
    object_ratio: float  # median error of the ratio of two objects' depths, read from boxes as programs do
    object_ratio_p90: float
    object_depth: float  # median error of an object's metric depth
    order_wrong: float  # share of object pairs, at least 5 % apart in depth, put in the wrong order
    scenes: int


def held_out_scenes(look: str, count: int) -> list[Rendering]:
    """Scenes that no training split holds."""
    return [render(sample_scene(seed, look), PICTURE) for seed in SPLIT_SEEDS["held_out"][:count]]


def _rounded(value: np.floating) -> float:
    return round(float(value), 4)


def measure(model: MoGeModel, scenes: list[Rendering]) -> DepthFigures:
    """Run MoGe's own inference on the scenes and compare with the exact depth."""
    scaled, metric, ratios, objects, order = [], [], [], [], []
    for scene in scenes:
        picture = torch.from_numpy(scene.rgb).permute(2, 0, 1).float() / 255
        depth = model.infer(picture, use_fp16=False, apply_mask=False)["depth"].numpy()
        scaled.append(np.abs(depth * np.median(scene.depth / depth) - scene.depth) / scene.depth)
        metric.append(np.abs(depth - scene.depth) / scene.depth)
        guess, true = DepthMap(depth, scene.focal_px), DepthMap(scene.depth, scene.focal_px)
        pairs = [(depth_at(guess, item.bbox), depth_at(true, item.bbox)) for item in scene.objects]
        objects += [abs(f - t) / t for f, t in pairs]
        for index, (f1, t1) in enumerate(pairs):
            for f2, t2 in pairs[:index]:
                ratios.append(abs((f1 / f2) / (t1 / t2) - 1))
                if abs(t1 / t2 - 1) > 0.05:
                    order.append((f1 > f2) != (t1 > t2))
    return DepthFigures(
        abs_rel=_rounded(np.mean(scaled)),
        abs_rel_metric=_rounded(np.mean(metric)),
        object_ratio=_rounded(np.median(ratios)),
        object_ratio_p90=_rounded(np.quantile(ratios, 0.9)),
        object_depth=_rounded(np.median(objects)),
        order_wrong=_rounded(np.mean(order)),
        scenes=len(scenes),
    )


@dataclass
class Training:
    """Everything that a resumed run needs."""

    model: MoGeModel
    average: MoGeModel  # exponential moving average of the weights: what is shipped
    optimiser: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0  # of CPU, per thread: what a starved run has not had does not count
    scenes: int = 0

    @classmethod
    def start(cls, state_file: Path) -> Training:
        """A fresh run, or the one whose state the file holds."""
        torch.manual_seed(0)
        model, average = build_model(), build_model()
        average.load_state_dict(model.state_dict())
        model.to(memory_format=torch.channels_last)  # a third less time a step on CPU
        decayed = [p for p in model.parameters() if p.ndim >= 2]
        plain = [p for p in model.parameters() if p.ndim < 2]
        groups = [{"params": decayed, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}]
        training = cls(model, average, torch.optim.AdamW(groups, lr=PEAK_LR, betas=(0.9, 0.98)))
        if state_file.exists():
            state = torch.load(state_file, map_location="cpu", weights_only=True)
            model.load_state_dict(state["model"])
            average.load_state_dict(state["average"])
            training.optimiser.load_state_dict(state["optimiser"])
            training.step, training.seconds, training.scenes = (
                state["step"],
                state["seconds"],
                state["scenes"],
            )
        return training

    def save(self, model_file: Path, state_file: Path) -> None:
        """Write both files so that a kill leaves the old ones or the new ones, never half a file."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "scenes": self.scenes,
        }
        weights = {k: v.half().contiguous() for k, v in self.average.state_dict().items()}
        for path, content in (
            (state_file, state),
            (model_file, {"model_config": MODEL_CONFIG, "model": weights}),
        ):
            part = path.with_suffix(".part")
            torch.save(content, part)
            os.replace(part, path)

    def learn(self, buffer: SceneBuffer, progress: float) -> float:
        """One step; progress 0..1 sets the learning rate. Returns the loss."""
        fall = 0.02 + 0.98 * (1 + math.cos(math.pi * min(progress, 1.0))) / 2
        for group in self.optimiser.param_groups:
            group["lr"] = PEAK_LR * fall * min(1.0, (self.step + 1) / WARM_UP)
        rgb, depth, inside = buffer.batch(np.random.default_rng([self.step, 3]), BATCH)
        with torch.autocast("cpu", torch.bfloat16):
            output = self.model(rgb, TOKENS**2)
        loss = depth_loss(output, depth, inside)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        keep = min(EMA, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for kept, new in zip(self.average.parameters(), self.model.parameters(), strict=True):
                kept.lerp_(new, 1 - keep)
        return float(loss.detach())


def _paths(out: Path) -> tuple[Path, Path]:
    """Model file and state file for a folder or a .pt file."""
    model_file = out if out.suffix == ".pt" else out / "model.pt"
    model_file.parent.mkdir(parents=True, exist_ok=True)
    return model_file, model_file.with_suffix(".state")


def pretrain(out: Path, minutes: float, threads: int) -> dict[str, Any]:
    """Train for so many minutes in all (earlier runs on the same `out` included); returns what the card reports."""
    torch.set_num_threads(threads)
    model_file, state_file = _paths(out)
    training = Training.start(state_file)
    buffer = SceneBuffer(training.scenes)
    watched = [scene for look in LOOKS for scene in held_out_scenes(look, 10)]
    size = sum(p.numel() for p in training.model.parameters())
    print(f"depth: from step {training.step}, {size:,} parameters", flush=True)
    buffer.render(256)
    last, logged, saved, losses = time.process_time(), training.seconds, time.monotonic(), []
    while training.seconds < 60 * minutes:
        buffer.render(NEW_PER_STEP)
        training.scenes = buffer.next_scene
        losses.append(training.learn(buffer, training.seconds / (60 * minutes)))
        now = time.process_time()
        training.seconds, last = training.seconds + (now - last) / threads, now
        if training.seconds - logged >= 120:
            figures = measure(training.average.eval(), watched)
            loss = np.mean(losses)
            print(
                f"{training.seconds / 60:.1f} min step {training.step} loss {loss:.4f} {figures}", flush=True
            )
            logged, losses = training.seconds, []
        if time.monotonic() - saved >= 60:
            training.save(model_file, state_file)
            saved = time.monotonic()
    training.save(model_file, state_file)
    return report(model_file, training)


def report(model_file: Path, training: Training) -> dict[str, Any]:
    """Measure the file as written, per look, and leave the figures beside it."""
    model = MoGeModel.from_pretrained(model_file).eval()
    card = {
        "steps": training.step,
        "minutes": round(training.seconds / 60, 1),
        "scenes": training.scenes,
        "parameters": sum(p.numel() for p in model.parameters()),
        "figures": {look: vars(measure(model, held_out_scenes(look, 50))) for look in LOOKS},
    }
    model_file.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n")
    return card


def main() -> None:
    parser = argparse.ArgumentParser(description="Pre-train the tabletop's depth model.")
    parser.add_argument("--out", type=Path, required=True, help="folder or .pt file")
    parser.add_argument("--minutes", type=float, default=25, help="CPU time in all, earlier runs included")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    print(json.dumps(pretrain(args.out, args.minutes, args.threads), indent=2))


if __name__ == "__main__":
    main()
