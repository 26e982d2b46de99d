"""The benches of weights on their way, with a tiny model: what they give; how fast is for `valor bench` to say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from valor_ray.cli import main
from valor_ray.perf.weights import checkpoint, publish


def tiny(layers: int) -> tuple[Any, Any]:
    config = Qwen3Config(
        vocab_size=300, hidden_size=64, intermediate_size=96, num_hidden_layers=layers, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, tie_word_embeddings=True,
    )  # fmt: skip
    trained = Qwen3ForCausalLM(config)
    model = Qwen3ForCausalLM(config).to(torch.bfloat16)
    model.load_state_dict(trained.state_dict())
    return model, trained


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (publish, checkpoint):
        monkeypatch.setattr(module, "random_policy", tiny)


def bench(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    threads = torch.get_num_threads()
    assert main(["bench", *words, "--layers", "2", "--runs", "2", "--json"]) == 0
    torch.set_num_threads(threads)
    return dict(json.loads(capsys.readouterr().out))


def test_publish_bench_sends_all_ways_and_writes_no_file_live(capsys: pytest.CaptureFixture[str]) -> None:
    result = bench(capsys, "publish")
    assert result["files_written_live"] == 0 and result["work"]["bytes"] == 2 * result["work"]["parameters"]
    for side in ("ours", "baseline", "from_float32", "files"):
        assert len(result[side]["runs"]) == 2
    for ratio in ("ratio", "ratio_from_float32", "ratio_files"):
        assert result[ratio]["least"] <= result[ratio]["median"] <= result[ratio]["most"]


def test_checkpoint_bench_tells_how_long_the_learner_waits_and_what_is_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    result = bench(capsys, "checkpoint", "--out", str(tmp_path))
    assert len(result["ours"]["runs"]) == len(result["baseline"]["runs"]) == 2
    assert result["ours"]["until_written"] > 0 and result["bytes_per_parameter"] > 12
    assert list(tmp_path.iterdir()) == []
