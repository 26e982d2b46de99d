"""What vLLM's engine is started with, from the settings. Pure: no vLLM is imported."""

from __future__ import annotations

from typing import Any

from valor_ray.config.models import PolicyConfig
from valor_ray.models.vllm.weights import WORKER_EXTENSION


def engine_arguments(config: PolicyConfig, model: str, *, cpu: bool) -> dict[str, Any]:
    """Of vllm.AsyncEngineArgs. model: as `loadable` gives it. cpu: on vLLM's CPU platform.

    Those of the GPU alone are given where a setting says so; vLLM's own defaults hold for the rest.
    """
    chosen = {
        "kv_cache_memory_bytes": None if config.kv_cache_gib is None else int(config.kv_cache_gib * 2**30),
        "gpu_memory_utilization": config.gpu_memory_utilization,
    }
    both = {"max_num_seqs": config.max_num_seqs, "max_num_batched_tokens": config.max_batched_tokens}
    return {
        "model": model,
        "dtype": config.dtype,
        "max_model_len": config.max_model_len,
        "enforce_eager": config.enforce_eager,
        "logprobs_mode": "processed_logprobs",
        "disable_log_stats": True,
        "generation_config": "vllm",
        "worker_extension_cls": WORKER_EXTENSION,
        "tensor_parallel_size": 1 if cpu else max(1, int(config.num_gpus)),
        # A prompt cut in two takes back the random number of its first part, which ends an engine on CPU
        # ("CPU Generator does not use offset") as soon as many seeded requests come together.
        **({"enable_chunked_prefill": False} if cpu else {}),
        **{name: value for name, value in (both if cpu else both | chosen).items() if value is not None},
    }
