"""The MoGe-2 adapter on small checkpoints made on the spot in the official format."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from valor_ray.config.models import DepthConfig
from valor_ray.depth_map import depth_at
from valor_ray.errors import CheckpointError, ConfigError
from valor_ray.models.moge.depth import MoGe
from valor_ray.records import Picture
from valor_ray.tabletop.pretrain.depth import MODEL_CONFIG, build_model


def _picture(height: int, width: int, seed: int = 0) -> Picture:
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    rgb.setflags(write=False)
    return Picture(rgb, hashlib.sha256(rgb.tobytes()).hexdigest())


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    weights = build_model().state_dict()
    weights["mask_head.output_blocks.2.bias"] += 5  # nothing masked
    return weights


def _save(path: Path, weights: dict[str, torch.Tensor], **changes: object) -> Path:
    torch.save({"model_config": MODEL_CONFIG, "model": weights} | changes, path)
    return path


def _load(path: Path, **settings: object) -> MoGe:
    return MoGe(DepthConfig(model=str(path), **settings))


@pytest.fixture(scope="module")
def checkpoint(weights: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _save(tmp_path_factory.mktemp("depth") / "model.pt", weights)


@pytest.fixture(scope="module")
def moge(checkpoint: Path) -> MoGe:
    return _load(checkpoint, max_batch=3)


def test_depth_map_has_the_size_of_the_picture_and_finite_metres(moge: MoGe):
    (depth_map,) = moge.depth([_picture(60, 100)])
    assert depth_map.depth.shape == (60, 100)
    assert depth_map.depth.dtype == np.float32
    assert np.isfinite(depth_map.depth).all()
    assert type(depth_map.focal_px) is float
    assert not depth_map.depth.flags.writeable


def test_batches_of_mixed_sizes_give_what_single_pictures_give_in_order(moge: MoGe):
    sizes = [(64, 64), (64, 96), (64, 64), (96, 64), (64, 64), (64, 64), (64, 96)]
    pictures = [_picture(*size, seed=index) for index, size in enumerate(sizes)]
    together = moge.depth(pictures)
    for picture, depth_map in zip(pictures, together, strict=True):
        (alone,) = moge.depth([picture])
        np.testing.assert_allclose(depth_map.depth, alone.depth, rtol=1e-3)
        assert depth_map.focal_px == pytest.approx(alone.focal_px, rel=1e-3)


@pytest.mark.parametrize(
    ("pixels", "passes"),
    [(3 * 64 * 64, [3, 2]), (10**9, [3, 2]), (2 * 64 * 64, [2, 2, 1]), (64 * 64, [1] * 5), (1, [1] * 5)],
)
def test_large_pictures_share_a_pass_with_fewer(
    moge: MoGe, monkeypatch: pytest.MonkeyPatch, pixels: int, passes: list[int]
) -> None:
    sizes: list[int] = []

    def infer(pictures: list[Picture]) -> list[str]:
        sizes.append(len(pictures))
        return [picture.key for picture in pictures]

    monkeypatch.setattr("valor_ray.models.moge.depth._PIXELS_AT_ONCE", pixels)
    monkeypatch.setattr(moge, "_infer", infer)
    pictures = [_picture(64, 64, seed) for seed in range(5)]
    assert moge.depth(pictures) == [picture.key for picture in pictures]
    assert sizes == passes


def test_no_pictures_give_no_maps(moge: MoGe):
    assert moge.depth([]) == []


def test_image_side_scales_the_work_down_not_the_map(checkpoint: Path):
    picture = _picture(120, 160)
    (small,) = _load(checkpoint, image_side=60).depth([picture])
    assert small.depth.shape == (120, 160)
    assert len(np.unique(small.depth)) <= 60 * 80 < 120 * 160


def test_pixels_that_the_model_masks_are_infinite(weights: dict[str, torch.Tensor], tmp_path: Path):
    masked = weights | {"mask_head.output_blocks.2.bias": torch.tensor([-100.0])}
    (depth_map,) = _load(_save(tmp_path / "model.pt", masked)).depth([_picture(64, 64)])
    assert np.isposinf(depth_map.depth).all()


def test_half_precision_weights_and_folders_load(
    weights: dict[str, torch.Tensor], tmp_path: Path, moge: MoGe
):
    _save(tmp_path / "model.pt", {name: tensor.half() for name, tensor in weights.items()})
    picture = _picture(64, 64)
    metres = depth_at(_load(tmp_path).depth([picture])[0], [16, 16, 48, 48])
    assert metres == pytest.approx(depth_at(moge.depth([picture])[0], [16, 16, 48, 48]), rel=0.02)


def test_missing_unexpected_and_misshapen_tensors_are_named(weights: dict[str, torch.Tensor], tmp_path: Path):
    wrong = dict(weights)
    wrong["scale_head.2.bias"] = torch.zeros(7)
    wrong["surplus.weight"] = wrong.pop("encoder.backbone.cls_token")
    with pytest.raises(CheckpointError) as caught:
        _load(_save(tmp_path / "model.pt", wrong))
    for part in (
        "1 missing: encoder.backbone.cls_token",
        "1 unexpected: surplus.weight",
        "scale_head.2.bias",
    ):
        assert part in str(caught.value)


def test_absent_file_and_folder_without_weights_are_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="not found"):
        _load(tmp_path / "no.pt")
    with pytest.raises(CheckpointError, match=r"model\.pt is missing"):
        _load(tmp_path)


def test_hub_that_cannot_be_reached_is_a_checkpoint_error(monkeypatch: pytest.MonkeyPatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match=r"Cannot fetch model\.pt of owner/absent"):
        MoGe(DepthConfig(model="owner/absent"))


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_truncated_file_is_a_checkpoint_error(checkpoint: Path, tmp_path: Path, share: float):
    whole = checkpoint.read_bytes()
    cut = tmp_path / "model.pt"
    cut.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match="cut short or not a MoGe checkpoint"):
        _load(cut)


def test_file_that_is_no_moge_checkpoint_is_refused(weights: dict[str, torch.Tensor], tmp_path: Path):
    torch.save(weights, tmp_path / "bare.pt")
    with pytest.raises(CheckpointError, match="no `model_config`"):
        _load(tmp_path / "bare.pt")
    encoder = MODEL_CONFIG["encoder"] | {"backbone": "dinov9_huge"}
    unknown = _save(tmp_path / "unknown.pt", weights, model_config=MODEL_CONFIG | {"encoder": encoder})
    with pytest.raises(CheckpointError, match="dinov9_huge"):
        _load(unknown)
