"""Pre-training of the policy: stopped, it goes on from its last checkpoint, and what it writes loads."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from valor_ray.models.checkpoint import check_language_model
from valor_ray.tabletop.pretrain import policy


def test_a_stopped_run_goes_on_and_writes_a_whole_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(policy, "copy_fidelity", lambda model, tokenizer: {})
    policy.train(tmp_path, steps=1, batch=2, threads=1)
    first = torch.load(tmp_path / "state.pt", weights_only=True)
    capsys.readouterr()
    policy.train(tmp_path, steps=2, batch=2, threads=1)
    second = torch.load(tmp_path / "state.pt", weights_only=True)
    assert (first["step"], second["step"]) == (1, 2)
    assert second["optimizer"]["state"][0]["step"] == 2  # the optimiser went on too
    assert "step 0 " not in capsys.readouterr().out
    check_language_model(tmp_path)
    written = AutoModelForCausalLM.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(written[name], value) for name, value in second["model"].items())
    assert len(AutoTokenizer.from_pretrained(tmp_path)) == written["lm_head.weight"].shape[0]
