"""What a vLLM engine did, as vLLM's own metrics through Ray: requests, queue, KV cache, tokens, preemptions."""

from __future__ import annotations

from typing import Any


def engine_metrics() -> list[Any]:
    """For VllmPolicy's `stat_loggers`, in a policy replica: vLLM tags each metric with the replica and the engine."""
    from vllm.v1.metrics.ray_wrappers import RayPrometheusStatLogger

    return [RayPrometheusStatLogger]
