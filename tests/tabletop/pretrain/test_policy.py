"""Pre-training of the policy: stopped, it goes on as if it had not been, and what it writes loads."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from valor_ray.models.checkpoint import check_language_model
from valor_ray.program.parse import parse_reply
from valor_ray.tabletop.pretrain import policy
from valor_ray.tabletop.pretrain.policy_check import fits
from valor_ray.tabletop.pretrain.policy_text import loader
from valor_ray.tabletop.questions import FAMILIES
from valor_ray.tabletop.replies.mixture import MIXTURE
from valor_ray.tabletop.replies.write import STYLES, flawed, right
from valor_ray.tabletop.sample_questions import free_blueprint


@pytest.fixture(scope="module")
def tokenizer():
    return policy.build_tokenizer()


def test_a_stopped_run_goes_on_and_writes_a_whole_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenizer
) -> None:
    monkeypatch.setattr(policy, "check_samples", lambda *_: {})
    monkeypatch.setattr(policy, "build_tokenizer", lambda: tokenizer)
    policy.train(tmp_path, steps=1, batch=2)
    first = torch.load(tmp_path / "state.pt", weights_only=True)
    figures = policy.train(tmp_path, steps=2, batch=2)
    second = torch.load(tmp_path / "state.pt", weights_only=True)
    assert (first["step"], second["step"]) == (1, 2)
    assert second["optimizer"]["state"][0]["step"] == 2  # the optimiser went on too
    assert figures == json.loads((tmp_path / "figures.json").read_text())
    assert (figures["steps"], figures["texts"], figures["tokens"]) == (2, 4, second["tokens"])
    check_language_model(tmp_path)
    written = AutoModelForCausalLM.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(written[name], value) for name, value in second["model"].items())
    assert len(AutoTokenizer.from_pretrained(tmp_path)) == written["lm_head.weight"].shape[0]


def test_the_stream_of_texts_depends_on_the_step_alone(tokenizer) -> None:
    def taken(step: int, workers: int, count: int) -> list[torch.Tensor]:
        stream = loader(tokenizer, 2, step, workers)
        return [next(stream)[0] for _ in range(count)]

    all_of_it = taken(0, 0, 36)
    for step, workers in ((0, 2), (20, 0), (20, 2)):
        again = taken(step, workers, 16)
        assert all(torch.equal(a, b) for a, b in zip(all_of_it[step:], again, strict=False))


@pytest.mark.parametrize("family", FAMILIES)
def test_replies_of_the_mixture_name_the_phrases_asked_about_and_others_do_not(family: str) -> None:
    rng = np.random.default_rng(1)
    for style in STYLES:
        blueprint = free_blueprint(rng, family)
        while " " not in blueprint.a and family != "nested":  # bare shapes have nothing to drop
            blueprint = free_blueprint(rng, family)
        assert fits(parse_reply(right(blueprint, style, rng)).code, blueprint)
        for kind, _share in MIXTURE[family]:
            assert fits(parse_reply(flawed(blueprint, [kind], style, rng)).code, blueprint)
        assert not fits(parse_reply(flawed(blueprint, ["other_thing"], style, rng)).code, blueprint)
    assert not fits("final_answer = (", blueprint)
