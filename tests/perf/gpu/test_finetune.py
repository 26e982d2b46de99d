"""Fine-tuning as the check runs it, at the tabletop's sizes."""

from pathlib import Path
from typing import Any

import pytest

from valor_ray.grounding.dataset.training import training_images
from valor_ray.perf.gpu import finetune
from valor_ray.perf.gpu.card import Card, card
from valor_ray.perf.gpu.eyes import picture_sides

CPU = card("cpu")


@pytest.mark.timeout(300)
def test_a_few_steps_lower_the_loss_of_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune, "STEPS", 3)
    figures = finetune.check_finetune(CPU, True, print)
    assert figures["steps"] == 3 and figures["step_s"] > 0 and figures["memory_gib"] is None
    assert figures["boxes"] == 3 * finetune.BATCH and figures["grad_norm"] > 0
    assert 0 < figures["loss_last"] < figures["loss"]
    assert figures["replay_loss_last"] > 0
    assert figures["pictures"] == {"count": 2, "rehearsed": 1, "height": 96, "width": 160}


def test_a_loss_that_does_not_fall_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def still(*_args: Any) -> Any:
        parts = {"layer0": 2.0, "replay_layer0": 1.0}
        return [
            {"loss": 3.0, "parts": parts, "seconds": 1.0},
            {"loss": 2.0, "parts": parts, "seconds": 1.0},
        ], 0.0

    monkeypatch.setattr(finetune, "_run", still)
    with pytest.raises(RuntimeError, match=r"from 2\.0 to 2\.0"):
        finetune.check_finetune(CPU, True, print)


def test_without_scipy_it_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune, "find_spec", lambda name: None)
    assert finetune.check_finetune(CPU, True, print) == {"skipped": "not installed: scipy"}


def test_it_learns_with_the_settings_of_the_gpu_profile_on_one_card() -> None:
    config = finetune.settings(Card("cuda", "any", 79.3, "9.0", None), Path("model")).finetune
    assert (config.num_gpus, config.workers, config.batch, config.replayed) == (1, 1, 2, 1)
    assert config.freeze == ("text", "backbone") and config.encoder_loss == "one_to_one"


def test_the_boxes_of_its_set_lie_inside_the_pictures(tmp_path: Path) -> None:
    height, width = picture_sides(tiny=False)
    finetune.write_set(tmp_path / "set", (height, width))
    images = list(training_images(tmp_path / "set"))
    assert len(images) == finetune.BATCH + 1 and len({image.key for image in images}) == len(images)
    for image in images:
        assert Path(image.path).is_file() and (image.height, image.width) == (height, width)
        for x1, y1, x2, y2 in (region.bbox for region in image.positives):
            assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
