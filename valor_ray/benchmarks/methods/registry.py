"""A method by its name."""

from __future__ import annotations

from importlib import import_module

from valor_ray.benchmarks.methods.method import Method

NAMES = {  # and where they stand
    "valor": ("valor", "METHOD"),
    "direct": ("direct", "METHOD"),
    "viper": ("viper", "METHOD"),
    "visprog": ("visprog", "METHOD"),
    "visprog-depth": ("visprog", "WITH_DEPTH"),
    "vadar": ("vadar", "METHOD"),
}


def method(name: str) -> Method:
    """name: one of NAMES."""
    module, attribute = NAMES[name]
    chosen: Method = getattr(import_module(f"valor_ray.benchmarks.methods.{module}"), attribute)
    return chosen
