"""Weights that change in a running engine, checked against transformers; here with tied embeddings, where vLLM errs."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

from valor_ray.config.models import CHECKPOINTS
from valor_ray.config.tree import Config
from valor_ray.errors import CheckpointError, PolicyError
from valor_ray.models.vllm import policy as vllm_policy
from valor_ray.models.vllm.policy import VllmPolicy
from valor_ray.models.vllm.weights import check_weights, read_weights

PROBE = [([5, 6, 7, 8], list(range(20, 60))), ([9, 30], [40, 50, 60, 70])]


def tied_checkpoint(folder: Path, seed: int, hidden: int = 128, shards: str = "1GB") -> Path:
    """A random Qwen3 with tied embeddings, whose distributions are far from uniform."""
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=len(AutoTokenizer.from_pretrained(CHECKPOINTS / "policy")),
        hidden_size=hidden,
        head_dim=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=256,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        initializer_range=0.1,
        eos_token_id=2,
        pad_token_id=0,
        dtype="float32",
    )
    Qwen3ForCausalLM(config).save_pretrained(folder, max_shard_size=shards)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(CHECKPOINTS / "policy" / name, folder)
    return folder


def transformers_logprobs(folder: Path, prompt: list[int], tokens: list[int]) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        logits = model(torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 : -1]
    return logits.log_softmax(-1).gather(1, torch.tensor(tokens)[:, None])[:, 0]


def gap(scores: list[list[float]], folder: Path) -> float:
    """Largest difference between the engine's log-probabilities of PROBE and transformers'."""
    return max(
        float((torch.tensor(mine) - transformers_logprobs(folder, prompt, tokens)).abs().max())
        for mine, (prompt, tokens) in zip(scores, PROBE, strict=True)
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three versions of one model; the last is in several files."""
    at = tmp_path_factory.mktemp("tied")
    return [tied_checkpoint(at / str(seed), seed, shards="1GB" if seed < 2 else "200KB") for seed in range(3)]


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def policy(folders: list[Path], loop: asyncio.Runner) -> Iterator[VllmPolicy]:
    policy = VllmPolicy(Config.load("local", [f"policy.model={folders[0]}", "policy.max_tokens=700"]).policy)
    loop.run(policy.start())
    yield policy
    policy.close()


@pytest.mark.timeout(300)
def test_tied_weights_loaded_in_place_are_those_of_transformers(
    policy: VllmPolicy, folders: list[Path], loop: asyncio.Runner
) -> None:
    assert gap(loop.run(policy.score(PROBE)), folders[0]) < 1e-4
    assert len(list(folders[2].glob("*.safetensors"))) > 1
    for number in (1, 2, 0):
        loop.run(policy.load_weights(folders[number], f"step-00000{number}"))
        scores = loop.run(policy.score(PROBE))
        assert gap(scores, folders[number]) < 1e-4 < 0.1 < gap(scores, folders[(number + 1) % 3])
        assert policy.version == f"step-00000{number}"


@pytest.mark.timeout(300)
def test_the_probe_sees_a_head_that_kept_its_old_packed_copy(
    policy: VllmPolicy, folders: list[Path], loop: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = policy._engine.collective_rpc

    async def without_repacking(method: str, **others: object) -> object:
        return None if method == "repack_tied_head" else await real(method, **others)

    loop.run(policy.load_weights(folders[0], "step-000000"))
    with monkeypatch.context() as patch:
        patch.setattr(policy._engine, "collective_rpc", without_repacking)
        loop.run(policy.load_weights(folders[1], "step-000001"))
    assert gap(loop.run(policy.score(PROBE)), folders[1]) > 0.1
    loop.run(policy.load_weights(folders[1], "step-000001"))
    assert gap(loop.run(policy.score(PROBE)), folders[1]) < 1e-4


@pytest.mark.timeout(300)
def test_weights_that_do_not_fit_are_refused_and_change_nothing(
    policy: VllmPolicy, folders: list[Path], loop: asyncio.Runner, tmp_path: Path
) -> None:
    loop.run(policy.load_weights(folders[1], "step-000001"))
    before = loop.run(policy.score(PROBE))
    cut = tmp_path / "cut"
    shutil.copytree(folders[0], cut)
    with (cut / "model.safetensors").open("rb+") as file:
        file.truncate(100_000)
    for folder, words in (
        (tied_checkpoint(tmp_path / "wide", 5, hidden=64), "of another shape"),
        (CHECKPOINTS / "policy", "unexpected"),
        (cut, "cut short"),
        (tmp_path / "nothing", "missing"),
    ):
        with pytest.raises(CheckpointError, match=words):
            loop.run(policy.load_weights(folder, "step-000009"))
    assert policy.version == "step-000001" and loop.run(policy.score(PROBE)) == before
    loop.run(policy.healthy())


def test_every_shard_is_read_once(folders: list[Path]) -> None:
    names = [name for name, _ in read_weights(folders[2])]
    assert len(names) == len(set(names)) == len([name for name, _ in read_weights(folders[0])])
    check_weights(folders[2], Qwen3Config.from_pretrained(folders[0]))


@pytest.mark.timeout(300)
def test_an_engine_with_half_of_its_new_weights_answers_nothing_more(
    policy: VllmPolicy,
    folders: list[Path],
    loop: asyncio.Runner,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Last of this file: the engine is useless afterwards."""
    half = tmp_path / "half"
    model = AutoModelForCausalLM.from_pretrained(folders[2])
    state = {name: tensor for name, tensor in model.state_dict().items() if "layers.1.mlp" not in name}
    model.save_pretrained(half, state_dict=state)
    monkeypatch.setattr(vllm_policy, "check_weights", lambda folder, config: None)

    async def load_while_sampling() -> None:
        sampling = asyncio.create_task(policy.generate("How many red boxes are there?", n=8, seed=1))
        while not policy._engine.output_processor.request_states:
            await asyncio.sleep(0.01)
        with pytest.raises(CheckpointError, match="mixture of old and new"):
            await policy.load_weights(half, "step-000009")
        with pytest.raises(PolicyError, match="gave up a request"):
            await sampling

    loop.run(load_while_sampling())
    for call in (policy.healthy(), policy.generate("How many red boxes are there?"), policy.score(PROBE)):
        with pytest.raises(PolicyError, match="useless"):
            loop.run(call)
