"""What a run has chosen becomes weights that ship, with where they come from."""

import json
import shutil
from pathlib import Path

import pytest
from bases import BASES
from shipped import ship_trained

from valor_ray.config import models
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.models.shipped import check_origin, told
from valor_ray.runs.folder import save_settings
from valor_ray.tabletop.pretrain import ship as module
from valor_ray.tabletop.pretrain.ship import ship


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = ship_trained(tmp_path / "checkpoints", monkeypatch)
    monkeypatch.setattr(module, "CHECKPOINTS", folder)
    return folder


def run_of(folder: Path, kind: str, *settings: str) -> Path:
    """A run that is at its end: its chosen model is the base's, with what training leaves beside it."""
    part = "policy" if kind == "reasoning" else "detector"
    shutil.copytree(models.CHECKPOINTS / part, folder / "chosen")
    (folder / "chosen" / "gate.json").write_text("{}")
    (folder / "run.json").write_text(json.dumps({"kind": kind}))
    save_settings(folder / "config.yaml", Config.load("local", [*BASES, *settings]))
    (folder / "take.json").write_text(json.dumps({"step": 60}))
    (folder / "learned.json").write_text(json.dumps({"steps": 550}))
    return folder


@pytest.mark.parametrize(
    ("kind", "name", "seed", "steps"),
    [("reasoning", "trained-policy", 7, 60), ("grounding", "trained-detector", 8, 550)],
)
def test_the_chosen_model_ships_with_its_origin(
    shipped: Path, tmp_path: Path, kind: str, name: str, seed: int, steps: int
) -> None:
    run = run_of(tmp_path / "run", kind, "grpo.seed=7", "finetune.seed=8")
    made = ship(run, name, "valor train", "0123abc")
    origin = check_origin(f"tabletop:{name}")
    assert origin is not None and (origin.seed, origin.steps, origin.commit) == (seed, steps, "0123abc")
    assert told(f"tabletop:{name}").endswith(f"(trained from {origin.base})")
    assert {path.name for path in made.iterdir()} - {"origin.json"} == {
        path.name for path in (shipped / origin.base.removeprefix("tabletop:")).iterdir()
    }


def test_the_base_is_known_by_its_weights_whatever_name_the_run_had_for_it(
    shipped: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(shipped / "policy", tmp_path / "base")
    run = run_of(tmp_path / "run", "reasoning", f"policy.model={copy}")
    ship(run, "trained-policy", "valor train", "0123abc")
    origin = check_origin("tabletop:trained-policy")
    assert origin is not None and origin.base == "tabletop:policy"


def test_what_cannot_ship_is_refused_and_changes_nothing(shipped: Path, tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", "reasoning")
    with pytest.raises(ConfigError, match="policy is no folder of trained weights"):
        ship(run, "policy", "c", "0123abc")
    (run / "take.json").write_text('{"step": 0}')
    with pytest.raises(ConfigError, match="chose the policy that it began with"):
        ship(run, "new", "c", "0123abc")
    other = run_of(tmp_path / "other", "reasoning", "policy.model=owner/name")
    with pytest.raises(ConfigError, match="owner/name, and no base with these weights ships"):
        ship(other, "new", "c", "0123abc")
    shutil.rmtree(run / "chosen")
    with pytest.raises(ConfigError, match="holds no model"):
        ship(run, "new", "c", "0123abc")
    assert not (shipped / "new").exists()
