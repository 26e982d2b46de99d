"""Boxes and pictures as mining records them, in one line each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from valor_ray.config.grounding import GroundingConfig
from valor_ray.grounding.dataset import export as exporting
from valor_ray.judges.boxes.geometry import without_box
from valor_ray.records import BOX_CHECKS, BoxDecision, CheckedBox, MinedImage

# What the checks said, in order: y kept, n dropped, u dropped as unsure, ? no verdict
VERDICTS = {"y": True, "n": False, "u": False, "?": None}
KEPT, COARSE, CROP, DUPLICATE, MISSING = "yyy", "n", "yn", "yyn", "y?"


def _box(label: str, bbox=(10.0, 10.0, 50.0, 50.0), said: str = KEPT, score: float = 0.5) -> CheckedBox:
    decisions = tuple(
        BoxDecision(stage, VERDICTS[mark], f"because {mark}", "vlm", mark == "u")
        for stage, mark in zip(BOX_CHECKS, said, strict=False)
    )
    return CheckedBox(tuple(map(float, bbox)), label, score, decisions)


def _mined(name: str, *boxes: CheckedBox, asked=(), size=(200, 100), key: str = "", **other) -> MinedImage:
    """Of phrases without a box the verifier says that nothing is there; presence: what it says instead."""
    phrases = tuple(dict.fromkeys([*asked, *(box.label for box in boxes)]))
    other.setdefault("presence", dict.fromkeys(without_box(phrases, boxes), "absent"))
    return MinedImage(
        image=name,
        key=key or hashlib.sha256(name.encode()).hexdigest(),
        width=size[0],
        height=size[1],
        query_ids=(f"q-{name}",),
        phrases=phrases,
        boxes=boxes,
        detector="base",
        **other,
    )


@pytest.fixture
def box() -> Callable[..., CheckedBox]:
    return _box


@pytest.fixture
def mined() -> Callable[..., MinedImage]:
    return _mined


@pytest.fixture
def export(tmp_path: Path) -> Callable[..., exporting.DatasetCounts]:
    """Writes into tmp_path/run/dataset."""

    def run(*records: MinedImage, **settings) -> exporting.DatasetCounts:
        return exporting.export(
            iter(records),
            tmp_path / "run/dataset",
            GroundingConfig(**{"all_rejected": "negative"} | settings),
        )

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run/dataset"
