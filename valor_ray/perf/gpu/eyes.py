"""The parts `detector` and `depth`: models of the published sizes, behind our own loading and calling."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from valor_ray.config.models import CHECKPOINTS
from valor_ray.config.tree import Config
from valor_ray.perf.gpu import shapes
from valor_ray.perf.gpu.attempt import Say
from valor_ray.perf.gpu.card import Card, most_memory_gib, start_counting_memory, wait_for
from valor_ray.records import Picture

_SIDES = (800, 1333)  # px: height and width of the pictures
_TINY_SIDES = (96, 160)
_LIMIT_S = 15.0  # of measuring a part
_CALLS = 10  # measured at most
_PHRASES = ["orange cone", "green cylinder", "red ball"]


def check_detector(card: Card, tiny: bool, say: Say) -> dict[str, Any]:
    """Pictures a second of `GroundingDino.detect`: preparing the pictures, the network (float32), boxes and phrases."""
    from valor_ray.models.grounding_dino.detector import GroundingDino

    start_counting_memory(card)
    with tempfile.TemporaryDirectory() as folder:
        parameters = write_detector(shapes.detector(tiny), Path(folder), tiny)
        say(f"detector: {parameters / 1e6:.0f} M parameters")
        share = 0.25 if card.on_gpu else 0
        config = Config.load("gpu", [f"detector.model={folder}", f"detector.num_gpus={share}"]).detector
        start_counting_memory(card)
        detector = GroundingDino(config)
    pictures = _pictures(config.max_batch, tiny)
    phrases = [_PHRASES] * len(pictures)
    return {
        "shape": "tabletop:detector" if tiny else "IDEA-Research/grounding-dino-tiny",
        "parameters": parameters,
        **_measured(card, pictures, lambda: detector.detect(pictures, phrases)),
    }


def check_depth(card: Card, tiny: bool, say: Say) -> dict[str, Any]:
    """Pictures a second of `MoGe.depth`: the network in float16 on a GPU, and the fit of focal length and shift.

    {"skipped"} where MoGe, or scipy and OpenCV, which it imports, are not installed: they are larger than all the rest.
    """
    missing = [name for name in ("moge", "utils3d", "scipy", "cv2") if find_spec(name) is None]
    if missing:
        say(f"depth: skipped, without {', '.join(missing)}")
        return {"skipped": f"not installed: {', '.join(missing)}"}
    from valor_ray.models.moge.depth import MoGe

    start_counting_memory(card)
    with tempfile.TemporaryDirectory() as folder:
        parameters = _write_depth(shapes.moge(tiny), Path(folder))
        say(f"depth: {parameters / 1e6:.0f} M parameters")
        share = 0.5 if card.on_gpu else 0
        config = Config.load("gpu", [f"depth.model={folder}", f"depth.num_gpus={share}"]).depth
        depth = MoGe(config)
    pictures = _pictures(config.max_batch, tiny)
    return {
        "shape": "tabletop:depth" if tiny else "Ruicheng/moge-2-vitl-normal",
        "parameters": parameters,
        **_measured(card, pictures, lambda: depth.depth(pictures)),
    }


def write_detector(shape: Any, folder: Path, tiny: bool) -> int:
    """Random weights with the tabletop's tokenizer, in transformers format; the number of parameters."""
    import torch
    from transformers import GroundingDinoForObjectDetection

    torch.manual_seed(0)
    model = GroundingDinoForObjectDetection(shape)
    model.save_pretrained(folder)
    shipped = CHECKPOINTS / "detector"
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(shipped / name, folder)
    processor = json.loads((shipped / "processor_config.json").read_text())
    height, width = picture_sides(tiny)
    processor["image_processor"]["size"] = {"shortest_edge": height, "longest_edge": width}
    (folder / "processor_config.json").write_text(json.dumps(processor))
    return sum(weight.numel() for weight in model.parameters())


def _write_depth(shape: dict[str, Any], folder: Path) -> int:
    """Random weights in MoGe's format; the number of parameters."""
    import torch
    from moge.model.v2 import MoGeModel

    from valor_ray.models.moge.backbone import register_backbones
    from valor_ray.models.moge.depth import MODEL_FILE

    register_backbones()
    torch.manual_seed(0)
    model = MoGeModel(**shape)
    torch.save({"model_config": shape, "model": model.state_dict()}, folder / MODEL_FILE)
    return sum(weight.numel() for weight in model.parameters())


def picture_sides(tiny: bool) -> tuple[int, int]:
    """Height and width, px."""
    return _TINY_SIDES if tiny else _SIDES


def _pictures(count: int, tiny: bool) -> list[Picture]:
    draw = np.random.default_rng(0)
    height, width = picture_sides(tiny)
    return [
        Picture(draw.integers(0, 256, (height, width, 3), dtype=np.uint8), f"noise-{number}")
        for number in range(count)
    ]


def _measured(card: Card, pictures: Sequence[Picture], call: Callable[[], object]) -> dict[str, Any]:
    """Speed of a call with all the pictures, and the most memory, after one that warms up."""
    call()
    wait_for(card)
    seconds: list[float] = []
    until = time.monotonic() + _LIMIT_S
    while len(seconds) < _CALLS and (not seconds or time.monotonic() < until):
        started = time.monotonic()
        call()
        wait_for(card)
        seconds.append(time.monotonic() - started)
    return {
        "pictures": {"count": len(pictures), "height": pictures[0].height, "width": pictures[0].width},
        "calls": len(seconds),
        "pictures_per_s": round(len(pictures) * len(seconds) / sum(seconds), 2),
        "memory_gib": most_memory_gib(card),
    }
