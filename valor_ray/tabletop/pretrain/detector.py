"""Pre-training of the tabletop detector: `python -m valor_ray.tabletop.pretrain.detector --out DIR --minutes N`.

Trains on the seen looks only. A checkpoint with the optimiser's state is written every minute, so the same command
goes on after a kill; the folder that users load is the moving average of the weights with the best mAP on val scenes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from valor_ray.models.grounding_dino.heads import Forward
from valor_ray.models.grounding_dino.losses import detection_loss
from valor_ray.models.grounding_dino.mends import apply_mends
from valor_ray.tabletop.pretrain.detector_model import frozen_copy, new_detector, save_detector
from valor_ray.tabletop.pretrain.detector_scenes import cached_scenes, sample_batch
from valor_ray.tabletop.pretrain.detector_words import vocabulary
from valor_ray.tabletop.pretrain.measure_detector import class_ap
from valor_ray.tabletop.scenes import SEEN_LOOKS, SPLIT_SEEDS, UNSEEN_LOOKS

BATCH, PEAK_LR, WARM_UP, WEIGHT_DECAY, CLIP, EMA = 8, 1e-3, 100, 1e-4, 0.5, 0.998
EMA_EVERY = 4  # steps
SIDES = (128, 160)  # px: most of the learning on small pictures, the fine placing of boxes on larger ones
GROW_AT = 0.55  # share of the time after which the pictures grow
SAVE_EVERY_S, REPORT_EVERY_S = 60.0, 150.0


@dataclass
class RunState:
    """Where a run stands; stored in its checkpoint."""

    step: int = 0
    seconds: float = 0.0  # spent in training steps and reports, over all starts of the run
    best: float = -1.0  # mAP on seen val scenes
    history: list[dict[str, float]] = field(default_factory=list)


def learning_rate(step: int, done: float) -> float:
    """Warm-up by step, flat until half of the time, then a cosine to 2 %. `done` is the share of time used, 0..1."""
    warm = min(1.0, (step + 1) / WARM_UP)
    fall = max(0.0, min(1.0, 2 * done - 1))
    return PEAK_LR * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * fall)))


class Run:
    """One pre-training run in a folder, resumable at any point."""

    def __init__(self, out: Path, minutes: float, scene_count: int, val_count: int) -> None:
        self.out, self.limit = out, minutes * 60
        self.state_file = out / "state.pt"
        store = out / "scenes"
        self.train = cached_scenes(store, SPLIT_SEEDS["train"].start, scene_count, SEEN_LOOKS, say)
        first = SPLIT_SEEDS["val"].start
        self.val = {
            "seen": cached_scenes(store, first, val_count, SEEN_LOOKS, say),
            **{look: cached_scenes(store, first, val_count // 2, (look,), say) for look in UNSEEN_LOOKS},
        }
        torch.manual_seed(0)
        self.model = new_detector()
        self.forward = Forward(self.model)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=PEAK_LR, weight_decay=WEIGHT_DECAY, fused=True
        )
        self.average = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.progress = RunState()
        if self.state_file.exists():
            self._resume()

    @property
    def side(self) -> int:
        """Shortest side of the pictures at this point of the run, px."""
        return SIDES[self.progress.seconds / self.limit >= GROW_AT]

    def _resume(self) -> None:
        state = torch.load(self.state_file, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average = state["average"]
        self.progress = RunState(**state["progress"])
        say(f"going on from step {self.progress.step}, {self.progress.seconds / 60:.1f} min")

    def save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
            "progress": asdict(self.progress),
        }
        part = self.state_file.with_suffix(".part")
        torch.save(state, part)
        os.replace(part, self.state_file)

    def report(self, losses: dict[str, float]) -> None:
        """Measure the averaged weights on val scenes, log the figures, keep the weights when they are the best."""
        model = frozen_copy(self.average)
        row = {"step": float(self.progress.step), "minutes": round(self.progress.seconds / 60, 2)}
        row["side"] = self.side
        for name, scenes in self.val.items():
            ap50, full = class_ap(model, scenes, self.side)
            row |= {f"{name}_ap50": round(ap50, 4), f"{name}_map": round(full, 4)}
        row |= {f"loss_{name}": round(value, 3) for name, value in losses.items()}
        self.progress.history.append(row)
        say(json.dumps(row))
        if row["seen_map"] > self.progress.best:
            self.progress.best = row["seen_map"]
            save_detector(model, self.side, self.out / "best")

    def step(self, tokens: dict[str, int]) -> dict[str, float]:
        at = self.progress
        rng = np.random.default_rng([at.step, 3])
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(at.step, at.seconds / self.limit)
        batch = sample_batch(self.train, BATCH, self.side, rng, tokens)
        parts = detection_loss(self.forward(batch.pixels, batch.input_ids, batch.text_mask), batch.targets)
        self.optimizer.zero_grad()
        torch.stack(list(parts.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimizer.step()
        at.step += 1
        if at.step % EMA_EVERY == 0:
            self._follow()
        return {name: value.item() for name, value in parts.items()}

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the averaged weights (and batch statistics) towards the present ones."""
        step = self.progress.step
        keep = min(EMA, (1 + step) / (10 + step)) ** EMA_EVERY
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - keep)

    def go(self) -> None:
        """Train until the time is used up."""
        at, tokens = self.progress, vocabulary()
        self.model.train()
        smooth: dict[str, float] = {}
        saved = reported = time.monotonic()
        while at.seconds < self.limit:
            begun = time.monotonic()
            losses = self.step(tokens)
            smooth = {name: 0.98 * smooth.get(name, value) + 0.02 * value for name, value in losses.items()}
            if at.step in (1, 10, 30) or at.step % 100 == 0:
                say(
                    f"step {at.step} {at.seconds / 60:.1f} min "
                    + str({k: round(v, 3) for k, v in smooth.items()})
                )
            if begun - reported > REPORT_EVERY_S:
                self.report(smooth)
                reported = time.monotonic()
            at.seconds += time.monotonic() - begun
            if begun - saved > SAVE_EVERY_S:
                self.save()
                saved = time.monotonic()
        self.report(smooth)
        self.save()


def say(line: str) -> None:
    print(time.strftime("%H:%M:%S"), line, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="run folder; best/ in it is the checkpoint")
    parser.add_argument("--minutes", type=float, default=55, help="training time, without rendering")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--scenes", type=int, default=7000, help="training scenes to render once")
    parser.add_argument("--val-scenes", type=int, default=160)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    say(f"mends applied: {', '.join(apply_mends()) or 'none'}")
    run = Run(options.out, options.minutes, options.scenes, options.val_scenes)
    say(f"{sum(p.numel() for p in run.model.parameters()):,} parameters")
    run.go()


if __name__ == "__main__":
    main()
