"""Broken language-model folders are named before an engine sees them."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from valor_ray.errors import CheckpointError
from valor_ray.models.checkpoint import check_language_model
from valor_ray.tabletop.pretrain.policy import build_model


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policy")
    build_model(300).save_pretrained(folder)
    (folder / "tokenizer.json").write_text("{}")
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "policy")


def test_a_complete_folder_passes(folder: Path) -> None:
    check_language_model(folder)


def test_a_missing_config_is_named(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        check_language_model(folder)


def test_a_missing_tokenizer_is_named(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match="no tokenizer"):
        check_language_model(folder)


def test_a_missing_shard_is_named(folder: Path) -> None:
    shard, weights = "model-00002-of-00002.safetensors", folder / "model.safetensors"
    names = list(load_file(weights))
    weights.rename(folder / "model-00001-of-00002.safetensors")
    weight_map = {name: shard if i else "model-00001-of-00002.safetensors" for i, name in enumerate(names)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(CheckpointError, match=rf"{shard} is missing"):
        check_language_model(folder)


def test_a_truncated_shard_is_named(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="cut short"):
        check_language_model(folder)


def test_mismatched_keys_are_listed(folder: Path) -> None:
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    tensors.pop("model.norm.weight")
    tensors["lm_head.weight"] = torch.zeros(7, 192)
    tensors["extra"] = torch.zeros(1)
    save_file(tensors, weights)
    with pytest.raises(CheckpointError) as caught:
        check_language_model(folder)
    message = str(caught.value)
    assert "1 missing: model.norm.weight" in message
    assert "1 unexpected: extra" in message
    assert "1 of another shape: lm_head.weight" in message
