"""Shipped weights that training gave, beside the bases: the package's own files under other names, and origin.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from valor_ray.config import models
from valor_ray.models.shipped import ORIGIN, WEIGHTS, sha256_of

TRAINED = (
    "policy.model=tabletop:trained-policy",
    "detector.model=tabletop:trained-detector",
)  # as of `--set`
LINE = (
    "training starts from tabletop:policy and tabletop:detector, the bases of tabletop:trained-policy and "
    "tabletop:trained-detector"
)


def ship_trained(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In `folder` from now on lies what ships: the bases, `trained-policy` and `trained-detector`."""
    own = models.CHECKPOINTS
    folder.mkdir(exist_ok=True)
    for part in ("policy", "detector", "depth"):
        (folder / part).symlink_to(own / part)
    for part in ("policy", "detector"):
        trained = folder / f"trained-{part}"
        trained.mkdir()
        for file in (own / part).iterdir():
            (trained / file.name).symlink_to(file)
        write_origin(trained, f"tabletop:{part}")
    monkeypatch.setattr(models, "CHECKPOINTS", folder)
    return folder


def write_origin(trained: Path, base: str, **other: Any) -> None:
    """origin.json of a folder whose weights are the base's own; other: fields that say something else."""
    digest = sha256_of(trained / WEIGHTS)
    said = {
        "base": base, "base_sha256": digest, "sha256": digest, "commit": "0123abc", "command": "valor train …",
        "seed": 3, "steps": 80,
    }  # fmt: skip
    (trained / ORIGIN).write_text(json.dumps(said | other), encoding="utf-8")
