"""The benchmarks by name: the modules of data/."""

from __future__ import annotations

from importlib import import_module

from valor_ray.benchmarks.truth import Benchmark


def benchmark(name: str) -> Benchmark:
    """Raises ModuleNotFoundError when there is none of that name."""
    found: Benchmark = import_module(f"valor_ray.benchmarks.data.{name}").BENCHMARK
    return found
