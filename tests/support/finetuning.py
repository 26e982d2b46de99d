"""Fine-tuning runs as tests make them up: a small set, a scripted learner, an offline world that renders nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from bases import BASES
from mined import saved_picture

from valor_ray.config.models import DetectorConfig
from valor_ray.config.tree import Config
from valor_ray.grounding.dataset.negatives import Region
from valor_ray.grounding.dataset.training import TrainingImage
from valor_ray.grounding.finetune.host import FinetuneEnd, FinetuneTask
from valor_ray.runs.checkpoints import FolderCheckpoints, Keep, write_metrics
from valor_ray.runs.record_file import read_records
from valor_ray.runs.weight_channel import publish_by_file

STEPS = 6


def config(*overrides: str) -> Config:
    return Config.load(
        "local", [*BASES, f"finetune.steps={STEPS}", "finetune.batch=2", "finetune.save_every=2", *overrides]
    )


def make_set(folder: Path, pictures: int = 8, *, confirmed: bool = True, mine: bool = False) -> Path:
    """A set of noise, each picture with a box; mine: as a run folder of `valor mine`, which is returned."""
    dataset = folder / "dataset" if mine else folder
    dataset.mkdir(parents=True)
    if mine:
        (folder / "run.json").write_text('{"kind": "mine"}\n')
    lines = []
    for n in range(pictures):
        path = folder / "pictures" / f"{n}.png"
        picture = saved_picture(path, 90 + n, 80)
        box = Region((10.0, 12.0, 40.0 + n, 50.0), "red ball")
        kept, refused = ((box,), ()) if confirmed else ((), (box,))
        image = TrainingImage(
            n + 1, picture.key, str(path), 90 + n, 80, False, kept, ("blue cube",), refused, ()
        )
        lines.append(json.dumps(image.to_record()) + "\n")
    (dataset / "train.jsonl").write_text("".join(lines))
    about = {"root": None, "synonyms": [], "next_image_id": pictures + 1, "counts": {"images": pictures}}
    (dataset / "dataset.json").write_text(json.dumps(about))
    return folder


def make_general(folder: Path, pictures: int = 2) -> Path:
    """A general set of noise: COCO instances JSON beside its pictures."""
    images, boxes = [], []
    for n in range(1, pictures + 1):
        saved_picture(folder / f"{n}.png", 90, 80)
        images.append({"id": n, "file_name": f"{n}.png", "width": 90, "height": 80})
        box = {"bbox": [10, 10, 30, 30], "area": 900, "iscrowd": 0}
        boxes.append({"id": n, "image_id": n, "category_id": 1, **box})
    path = folder / "coco.json"
    categories = [{"id": 1, "name": "red ball"}]
    path.write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))
    return path


class World:
    """host.Offline: mines a made-up set, renders noise, knows the truth or not."""

    def __init__(self, folder: Path, truth: bool = True, scenes: int = 3) -> None:
        self.folder, self.truth, self.scenes = folder, truth, scenes
        self.asked: list[str] = []
        self.models: dict[str, str] = {}

    def mine(self) -> Path:
        self.asked.append("mine")
        return self.folder / "mined" if (self.folder / "mined").exists() else self._mined()

    def _mined(self) -> Path:
        return make_set(self.folder / "mined", mine=True)

    def replay_pictures(self) -> Path:
        self.asked.append("replay")
        saved_picture(self.folder / "replay/pictures/a.png", 90, 80)
        return self.folder / "replay/pictures"

    def general(self) -> Path:
        self.asked.append("general")
        return make_general(self.folder / "general")

    def evaluate(self, models: Mapping[str, DetectorConfig]) -> dict[str, Any] | None:
        self.asked.append("evaluate")
        self.models = {name: model.model for name, model in models.items()}
        return held_out(list(models)) | {"scenes": self.scenes} if self.truth else None


def held_out(models: list[str]) -> dict[str, Any]:
    """As tabletop.finetune.held_out gives it."""
    ap = {"start": 50.0, "end": 64.0}
    gain = {"ap50": 14.0, "ap50_ci": [11.0, 17.0], "map": 8.0, "map_ci": [6.0, 10.0]}
    sets = {"together": ["lamp", "quilt"]}
    return {
        "scenes": 3,
        "sets": sets,
        "models": {
            name: {
                "sets": {"together": {"objects": 9, "ap50": ap[name], "map": ap[name] / 2}},
                "by_label": {},
            }
            for name in models
        },
        "gains": [{"model": "end", "over": "start", "sets": {"together": gain}, "by_label": {}}]
        if "end" in models
        else [],
    }


def step_record(step: int) -> dict[str, Any]:
    return {
        "step": step, "loss": 10.0 / step, "parts": {"layer0": 10.0 / step}, "learning_rate": 1e-4, "grad_norm": 1.0,
        "boxes": 4, "seconds": 0.5, "pictures_per_s": 8.0,
    }  # fmt: skip


class Host:
    """host.FinetuneHost over a learner that only counts: it keeps checkpoints, goes on from them, and selects.

    stop_at: the step after which the driver is killed, once. passed: what the gate says. trouble: raised by announce
    before it publishes, late: after. no_gpu: raised where the host starts.
    """

    def __init__(self, passed: bool = True) -> None:
        self.passed = passed
        self.stop_at: int | None = None
        self.trouble: Exception | None = None
        self.late: Exception | None = None
        self.no_gpu: Exception | None = None
        self.tasks: list[FinetuneTask] = []
        self.announced: list[tuple[str, Path]] = []
        self.started = 0

    @contextmanager
    def running(self, config: Config, run: Path, say: Callable[[str], None]) -> Iterator[Host]:
        if self.no_gpu is not None:
            raise self.no_gpu
        self.started += 1
        yield self

    def learn(self, task: FinetuneTask, step_done: Callable[[Mapping[str, Any]], None]) -> FinetuneEnd:
        self.tasks.append(task)
        checkpoints = FolderCheckpoints(task.run / "checkpoints")
        checkpoints.folder.mkdir(exist_ok=True)
        newest = checkpoints.newest()
        records = checkpoints.metrics(newest)
        for record in records:
            step_done(record)
        for step in range(newest + 1, STEPS + 1):
            records.append(step_record(step))
            if step % task.config.finetune.save_every == 0:
                checkpoints.part.mkdir()
                write_metrics(checkpoints.part, records)
                checkpoints.keep(checkpoints.part, step, Keep(2))
            step_done(records[-1])
            if step == self.stop_at:
                self.stop_at = None
                raise KeyboardInterrupt
        self._select(task.run)
        return FinetuneEnd(STEPS, newest, 7, 1)

    def _select(self, run: Path) -> None:
        chosen = run / "chosen"
        chosen.mkdir(exist_ok=True)
        (chosen / "model.safetensors").write_bytes(np.arange(8, dtype=np.uint8).tobytes())
        selection = {
            "alpha": 0.5 if self.passed else None,
            "held_back": [
                {"alpha": 0.0, "ap50": 60.0, "map": 40.0},
                {"alpha": 0.5, "ap50": 70.0, "map": 45.0},
            ],
            "general": {
                "start": {"map": 71.0, "ap50": 90.0, "pictures": 2},
                "end": {"map": 70.5, "ap50": 90.0},
            },
            "passed": self.passed,
            "words": "general mAP 71.0 -> 70.5",
            "weights": str(chosen) if self.passed else None,
        }
        (run / "selection.json").write_text(json.dumps(selection))

    def announce(self, version: str, folder: Path) -> int:
        if self.trouble is not None:
            trouble, self.trouble = self.trouble, None
            raise trouble
        self.announced.append((version, folder))
        publish_by_file(folder.parent.parent, version, folder)
        if self.late is not None:
            late, self.late = self.late, None
            raise late
        return 2


def steps(folder: Path) -> list[int]:
    return [record["step"] for record in read_records(folder / "metrics.jsonl")]
