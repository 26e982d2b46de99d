"""Pre-training of the depth model: it resumes where it stopped, and its file is one that MoGe itself loads."""

from pathlib import Path

import numpy as np
import pytest
import torch
from moge.model.v2 import MoGeModel

from valor_ray.tabletop.pretrain import depth as pretrain_depth
from valor_ray.tabletop.pretrain.depth import SIDE, SceneBuffer, Training, held_out_scenes, measure
from valor_ray.tabletop.scenes import SPLIT_SEEDS


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrain_depth, "BATCH", 2)
    monkeypatch.setattr(pretrain_depth, "BUFFER", 4)


@pytest.fixture
def buffer() -> SceneBuffer:
    scenes = SceneBuffer(0)
    scenes.render(5)
    return scenes


def test_buffer_keeps_the_latest_scenes_at_the_side_the_backbone_sees(buffer: SceneBuffer):
    assert (buffer.filled, buffer.next_scene) == (4, 5)
    rgb, depth, inside = buffer.batch(np.random.default_rng(0), 3)
    assert rgb.shape == (3, 3, SIDE, SIDE)
    assert 0 <= rgb.min() < rgb.max() <= 1
    assert depth.shape == inside.shape == (3, SIDE, SIDE)
    assert depth.min() > 0.3
    assert inside.any()


def test_training_and_evaluation_scenes_never_meet():
    assert not set(SPLIT_SEEDS["train"]) & set(SPLIT_SEEDS["held_out"])


def test_resumed_run_takes_the_step_that_the_stopped_one_would_have_taken(
    buffer: SceneBuffer, tmp_path: Path
):
    files = tmp_path / "model.pt", tmp_path / "model.state"
    first = Training.start(files[1])
    first.learn(buffer, 0.0)
    first.save(*files)
    second = Training.start(files[1])
    assert second.step == 1
    assert second.learn(buffer, 0.5) == pytest.approx(first.learn(buffer, 0.5), rel=1e-4)
    np.testing.assert_allclose(
        *(t.model.scale_head[2].bias.detach().numpy() for t in (first, second)), rtol=1e-4
    )


def test_written_file_loads_with_moges_own_loader_and_is_measured(tmp_path: Path):
    files = tmp_path / "model.pt", tmp_path / "model.state"
    training = Training.start(files[1])
    training.save(*files)
    model = MoGeModel.from_pretrained(files[0])
    for name, tensor in training.average.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], tensor, rtol=2e-3, atol=1e-4)
    figures = measure(model.eval(), held_out_scenes("wood", 1))
    assert figures.scenes == 1
    assert 0 < figures.abs_rel < 2
