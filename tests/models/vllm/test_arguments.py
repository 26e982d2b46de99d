"""What the engine is started with, for each profile and card, as a snapshot: no vLLM runs."""

from __future__ import annotations

import pytest

from valor_ray.config.tree import Config
from valor_ray.models.vllm.arguments import engine_arguments

SAME = {
    "logprobs_mode": "processed_logprobs",
    "disable_log_stats": True,
    "generation_config": "vllm",
    "worker_extension_cls": "valor_ray.models.vllm.weights.WeightLoading",
}


def given(profile: str, *words: str, cpu: bool = False) -> dict[str, object]:
    arguments = engine_arguments(Config.load(profile, list(words)).policy, "MODEL", cpu=cpu)
    assert {name: arguments.pop(name) for name in SAME} == SAME and arguments.pop("model") == "MODEL"
    return arguments


def test_local_on_cpu() -> None:
    assert given("local", cpu=True) == {
        "dtype": "float32",
        "max_model_len": 1024,
        "enforce_eager": True,
        "tensor_parallel_size": 1,
        "enable_chunked_prefill": False,
    }


def test_a_gpu_gets_what_the_settings_say_and_else_what_vllm_takes() -> None:
    bare = given("gpu", "policy.max_num_seqs=null", "policy.max_batched_tokens=null")
    assert bare == {
        "dtype": "bfloat16", "max_model_len": 8192, "enforce_eager": False, "tensor_parallel_size": 1,
    }  # fmt: skip
    assert given(
        "gpu", "policy.num_gpus=2", "policy.kv_cache_gib=1.5", "policy.gpu_memory_utilization=0.5"
    ) == {
        **given("gpu"),
        "tensor_parallel_size": 2,
        "kv_cache_memory_bytes": 3 * 2**29,
        "gpu_memory_utilization": 0.5,
    }


def test_a_share_of_a_gpu_and_pretended_ones_are_one_engine() -> None:
    assert given("gpu", "policy.num_gpus=0.5")["tensor_parallel_size"] == 1
    assert given("gpu", "policy.num_gpus=2", cpu=True)["tensor_parallel_size"] == 1


@pytest.mark.parametrize(
    ("profile", "memory", "sequences", "tokens"),
    [
        ("gpu", None, 256, 16384),
        ("gpu-1x24", 0.78, 16, 4096),
        ("gpu-1x80", 0.42, 128, 16384),
        ("gpu-2", None, 256, 16384),
        ("gpu-4x8", None, 256, 16384),
    ],
)
def test_each_profile(profile: str, memory: float | None, sequences: int, tokens: int) -> None:
    arguments = given(profile)
    assert arguments.get("gpu_memory_utilization") == memory
    assert (arguments["max_num_seqs"], arguments["max_num_batched_tokens"]) == (sequences, tokens)


@pytest.mark.parametrize("profile", ["gpu", "gpu-4x8"])
def test_a_step_of_training_is_one_wave(profile: str) -> None:
    config = Config.load(profile, [])
    a_replica = -(-config.grpo.prompts * config.grpo.samples // config.policy.replicas)
    assert a_replica <= int(str(given(profile)["max_num_seqs"]))
