"""Folders of adapters without an engine; what fits one is tested with it, in vllm/test_adapters.py."""

from pathlib import Path

import pytest
import trained_adapters as trained
from transformers import AutoConfig

from valor_ray.errors import CheckpointError, ConfigError
from valor_ray.models.adapters import (
    Adapters,
    check_adapters,
    linear_layers,
    read_adapters,
    write_unchanging,
)
from valor_ray.models.checkpoint import ADAPTER_CONFIG
from valor_ray.models.vllm.adapters import adapter_arguments

PROJECTIONS = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]


def test_a_folder_says_its_base_and_rank(tmp_path: Path) -> None:
    folder = trained.save(trained.with_adapters(), tmp_path / "adapters")
    assert read_adapters(folder) == Adapters("tabletop:policy", trained.RANK)
    assert read_adapters(trained.SHIPPED) is None and read_adapters(Path("owner/name")) is None
    (folder / ADAPTER_CONFIG).write_text('{"r": 4}')
    with pytest.raises(CheckpointError, match="names no base_model_name_or_path"):
        read_adapters(folder)


def test_layers_are_those_that_peft_gives_adapters_to(tmp_path: Path) -> None:
    layers = linear_layers(AutoConfig.from_pretrained(trained.SHIPPED))
    given = {
        name.removeprefix("base_model.model.")
        for name, module in trained.with_adapters().named_modules()
        if hasattr(module, "lora_A")
    }
    assert layers.keys() == given and len(given) == 4 * len(PROJECTIONS)
    assert layers["model.layers.0.self_attn.k_proj"] == (64, 192)
    check_adapters(
        trained.save(trained.with_adapters(), tmp_path / "adapters"),
        AutoConfig.from_pretrained(trained.SHIPPED),
        trained.RANK,
    )


def test_adapters_that_change_nothing_fit(tmp_path: Path) -> None:
    config = AutoConfig.from_pretrained(trained.SHIPPED)
    write_unchanging(tmp_path, config)
    check_adapters(tmp_path, config, 1)


def test_an_engine_has_room_for_the_next_rank_that_vllm_knows() -> None:
    layers = linear_layers(AutoConfig.from_pretrained(trained.SHIPPED))
    assert [adapter_arguments(rank, layers)["max_lora_rank"] for rank in (1, 4, 16, 17)] == [1, 8, 16, 32]
    assert adapter_arguments(4, layers)["lora_target_modules"] == PROJECTIONS
    with pytest.raises(ConfigError, match=r"at most 512.*`merged` folder"):
        adapter_arguments(513, layers)
