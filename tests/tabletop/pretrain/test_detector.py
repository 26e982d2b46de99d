import numpy as np
import pytest
import torch

from valor_ray.models.grounding_dino.mends import apply_mends
from valor_ray.tabletop.pretrain import detector as pretrain
from valor_ray.tabletop.pretrain.detector_scenes import cached_scenes, render_scenes, sample_batch
from valor_ray.tabletop.pretrain.detector_words import vocabulary
from valor_ray.tabletop.scenes import SEEN_LOOKS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    apply_mends()
    return tmp_path_factory.mktemp("run")


def start(folder):
    return pretrain.Run(folder, minutes=10, scene_count=12, val_count=2)


def test_a_killed_run_goes_on_from_its_last_checkpoint(folder):
    run = start(folder)
    run.model.train()
    for _ in range(pretrain.EMA_EVERY):
        losses = run.step(vocabulary())
    assert set(losses) == {"layer0", "layer1", "dense"} and all(np.isfinite(list(losses.values())))
    run.progress.seconds = 90.0
    run.save()
    again = start(folder)
    assert (again.progress.step, again.progress.seconds) == (pretrain.EMA_EVERY, 90.0)
    for name, value in run.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name])
        assert torch.equal(run.average[name], again.average[name])
    again.model.train()
    expected, resumed = run.step(vocabulary()), again.step(vocabulary())
    assert resumed == pytest.approx(expected, rel=1e-4)


def test_the_learning_rate_warms_up_stays_and_falls():
    assert pretrain.learning_rate(0, 0) == pytest.approx(pretrain.PEAK_LR / pretrain.WARM_UP)
    assert pretrain.learning_rate(500, 0.4) == pretrain.PEAK_LR
    assert pretrain.learning_rate(500, 0.75) == pytest.approx(0.51 * pretrain.PEAK_LR)
    assert pretrain.learning_rate(500, 1.0) == pytest.approx(0.02 * pretrain.PEAK_LR)


def test_a_cut_cache_is_completed_and_equals_what_is_rendered(tmp_path):
    whole = cached_scenes(tmp_path, 5, 4, SEEN_LOOKS, say=lambda _line: None)
    again = cached_scenes(tmp_path, 5, 4, SEEN_LOOKS, say=lambda _line: pytest.fail("rendered again"))
    assert np.array_equal(whole.rgb, again.rgb)
    fresh = render_scenes(5, 1, SEEN_LOOKS[0])
    assert np.array_equal(fresh.rgb[0], whole.rgb[0]) and np.array_equal(fresh.boxes[0], whole.boxes[0])


def test_targets_lie_inside_the_picture_and_name_real_tokens():
    scenes = render_scenes(0, 6, "wood")
    for seed in range(12):
        batch = sample_batch(scenes, 4, 128, np.random.default_rng(seed), vocabulary())
        assert batch.pixels.shape == (4, 3, 128, 128)
        for row, target in enumerate(batch.targets):
            corners = torch.cat(
                [
                    target.boxes[:, :2] - target.boxes[:, 2:] / 2,
                    target.boxes[:, :2] + target.boxes[:, 2:] / 2,
                ],
                1,
            )
            assert (corners > -1e-5).all() and (corners < 1 + 1e-5).all()
            assert (target.tokens.sum(1) > 0).all()
            assert not (target.tokens.bool() & ~batch.text_mask[row].bool()).any()
